/* core/edge/monitor_check.c - is a monitor file one that monitor.c can have written? Its bytes come from a device in
 * the field: size, checksum, and then whether its sums are those of as many predictions as it says. What passes can be
 * read without a further look, and no sum of it overflows. */
#include "core/edge/monitor_file.h"

#include <float.h>

#include "core/edge/internal.h"

static size_t bytes_of(const lmbi_monitor_head *h)
{
    return h->bytes + LMBI_MONITOR_COUNTERS + (size_t)h->channels * LMBI_MONITOR_CHANNEL + 4 * (size_t)h->classes +
           ((size_t)h->unsure + h->strange) * LMBI_MONITOR_SAMPLE;
}

static const char *read_head(const uint8_t *file, size_t n, lmbi_monitor_head *h)
{
    if (n < LMBI_MONITOR_HEAD_1 || memcmp(file, LMBI_MONITOR_MAGIC, 8) != 0)
        return "not a monitor file: the first 8 bytes are not its magic";
    uint32_t version = lmbi_edge_u16(file + 8);
    if (version < 1 || version > 2)
        return "a monitor file of another version: use a newer Limbeck";
    h->bytes = version == 1 ? LMBI_MONITOR_HEAD_1 : LMBI_MONITOR_HEAD;
    h->channels = lmbi_edge_u32(file + 16);
    h->classes = lmbi_edge_u32(file + 20);
    h->looked = lmbi_edge_u32(file + 24);
    h->unsure = lmbi_edge_u32(file + 28);
    h->strange = lmbi_edge_u32(file + 32);
    h->model = lmbi_edge_u32(file + 36);
    h->predictions = lmbi_edge_u64(file + 40);
    if (h->channels > LMB_MONITOR_CHANNELS || h->classes > LMB_MONITOR_CLASSES || h->looked > LMB_MONITOR_PIXELS ||
        h->unsure > LMB_MONITOR_KEEP || h->strange > LMB_MONITOR_KEEP || n != bytes_of(h))
        return "a monitor file whose size does not fit its header: cut short?";
    if (lmbi_edge_crc32c(0, file + 16, n - 16) != lmbi_edge_u32(file + 12))
        return "a damaged monitor file: its CRC-32C does not match";
    h->release = version == 1 ? 0 : lmbi_edge_u64(file + 48);
    if (lmbi_edge_u16(file + 10) || (version == 1 && h->model))
        return "a monitor file with bytes set that its version leaves at zero";
    if (!h->channels || !h->looked || h->predictions > (uint64_t)1 << LMB_MONITOR_BITS)
        return "a monitor file of no pixels, or of more predictions than are counted";
    return NULL;
}

/* n counters of which each prediction raises one; those that have stopped at their largest value may lack some. */
static int adds_up(const uint8_t *p, int n, uint64_t predictions)
{
    uint64_t sum = 0;
    int stopped = 0;
    for (int i = 0; i < n; i++, p += 4) {
        sum += lmbi_edge_u32(p);
        stopped |= lmbi_edge_u32(p) == UINT32_MAX;
    }
    return sum == predictions || (stopped && sum < predictions);
}

/* A channel's sums lie between those of its bins' lowest and highest values; and of numbers q, whose sums over `looked`
 * pixels of an image are s: (sum s)^2 / images <= sum s^2 <= looked sum q^2. */
static int possible(const uint8_t *p, const lmbi_monitor_head *h)
{
    const uint64_t sum = lmbi_edge_u64(p), squares = lmbi_edge_u64(p + 8), images = lmbi_edge_u64(p + 16);
    const uint64_t all = h->predictions * h->looked;
    uint64_t count = 0, low = 0, low_squares = 0, high_squares = 0;
    for (uint32_t i = 0; i < LMB_MONITOR_BINS; i++) {
        uint64_t n = lmbi_edge_u64(p + 24 + 8 * i), from = 16 * i, to = from + 15;
        if (n > all - count)
            return 0;
        count += n;
        low += n * from;
        low_squares += n * from * from;
        high_squares += n * to * to;
    }
    return count == all && sum >= low && sum - low <= 15 * all && squares >= low_squares && squares <= high_squares &&
           images <= squares * h->looked &&
           (double)sum * (double)sum <= (double)h->predictions * (double)images * (1 + 1e-9);
}

static int samples_are_sound(const uint8_t *p, uint32_t n, uint32_t classes)
{
    for (uint32_t i = 0; i < n; i++, p += LMBI_MONITOR_SAMPLE) {
        float score = lmbi_edge_f32(p + 8);
        if (!(score >= 0 && score <= FLT_MAX) || lmbi_edge_u32(p + 12) >= (classes ? classes : 1))
            return 0;
    }
    return 1;
}

const char *lmbi_monitor_check(const void *bytes, size_t n, lmbi_monitor_head *h)
{
    const uint8_t *file = (const uint8_t *)bytes;
    const char *bad = read_head(file, n, h);
    if (bad)
        return bad;
    const uint8_t *p = file + h->bytes;
    const uint64_t answered = h->classes > 1 ? h->predictions : 0, kept = LMB_MONITOR_KEEP;
    if (!adds_up(p, LMB_MONITOR_TIMES, h->predictions) ||
        !adds_up(p + 4 * LMB_MONITOR_TIMES, LMB_MONITOR_MARGINS, answered))
        return "a monitor file whose times or margins are not of as many predictions as it says";
    p += LMBI_MONITOR_COUNTERS;
    for (uint32_t c = 0; c < h->channels; c++, p += LMBI_MONITOR_CHANNEL)
        if (!possible(p, h))
            return "a monitor file whose pixels are not of as many predictions as it says, or sums not of its pixels";
    if (!adds_up(p, (int)h->classes, answered))
        return "a monitor file whose answers are not of as many predictions as it says";
    if (h->unsure != (answered < kept ? answered : kept) || h->strange > h->predictions ||
        !samples_are_sound(p + 4 * (size_t)h->classes, h->unsure + h->strange, h->classes))
        return "a monitor file with samples that nobody can have kept: too many or few, no number, or no class";
    return NULL;
}
