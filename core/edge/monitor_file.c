/* core/edge/monitor_file.c - the counters of monitor.h as a file, and back. */
#include <math.h>

#include "core/edge/internal.h"
#include "core/edge/monitor.h"

#define MAGIC "\x89LMN\r\n\x1a\n"

enum {
    HEAD = 48,
    COUNTERS = 4 * (LMB_MONITOR_TIMES + LMB_MONITOR_MARGINS),
    CHANNEL = 8 * (3 + LMB_MONITOR_BINS),
    SAMPLE = 16
};

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    return p + 4;
}

static uint8_t *put64(uint8_t *p, uint64_t v) { return put32(put32(p, (uint32_t)v), (uint32_t)(v >> 32)); }

static size_t bytes_of(uint32_t channels, uint32_t classes, uint32_t samples)
{
    return HEAD + COUNTERS + (size_t)channels * CHANNEL + 4 * (size_t)classes + (size_t)samples * SAMPLE;
}

size_t lmb_monitor_file_bytes(const lmb_monitor *k)
{
    return bytes_of(k->channels, k->classes, k->n_unsure + k->n_strange);
}

static uint8_t *put_samples(uint8_t *p, const lmb_monitor_sample *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t score;
        memcpy(&score, &s[i].score, sizeof score);
        p = put32(put32(put64(p, s[i].number), score), s[i].answer);
    }
    return p;
}

size_t lmb_monitor_write(const lmb_monitor *k, void *out)
{
    uint8_t *file = (uint8_t *)out, *p = file + 16;
    const uint32_t head[6] = { k->channels, k->classes, k->looked, k->n_unsure, k->n_strange, 0 };
    for (int i = 0; i < 6; i++)
        p = put32(p, head[i]);
    p = put64(p, k->predictions);
    for (int i = 0; i < LMB_MONITOR_TIMES; i++)
        p = put32(p, k->times[i]);
    for (int i = 0; i < LMB_MONITOR_MARGINS; i++)
        p = put32(p, k->margins[i]);
    for (uint32_t c = 0; c < k->channels; c++) {
        const lmb_monitor_channel *h = &k->channel[c];
        p = put64(put64(put64(p, h->sum), h->squares), h->image_squares);
        for (int i = 0; i < LMB_MONITOR_BINS; i++)
            p = put64(p, h->bins[i]);
    }
    for (uint32_t i = 0; i < k->classes; i++)
        p = put32(p, k->answers[i]);
    p = put_samples(put_samples(p, k->unsure, k->n_unsure), k->strange, k->n_strange);
    memcpy(file, MAGIC, 8);
    put32(file + 8, 1);
    put32(file + 12, lmbi_edge_crc32c(0, file + 16, (size_t)(p - file) - 16));
    return (size_t)(p - file);
}

/* The shape of a file that is whole; the rest of it can then be read without a further look. */
static const char *check(const uint8_t *file, size_t n, uint32_t head[6])
{
    if (n < HEAD || memcmp(file, MAGIC, 8) != 0)
        return "not a monitor file: the first 8 bytes are not its magic";
    if (lmbi_edge_u16(file + 8) != 1)
        return "a monitor file of another version: use a newer Limbeck";
    for (int i = 0; i < 6; i++)
        head[i] = lmbi_edge_u32(file + 16 + 4 * i);
    if (head[0] > LMB_MONITOR_CHANNELS || head[1] > LMB_MONITOR_CLASSES || head[2] > LMB_MONITOR_PIXELS ||
        head[3] > LMB_MONITOR_KEEP || head[4] > LMB_MONITOR_KEEP || n != bytes_of(head[0], head[1], head[3] + head[4]))
        return "a monitor file whose size does not fit its header: cut short?";
    if (lmbi_edge_crc32c(0, file + 16, n - 16) != lmbi_edge_u32(file + 12))
        return "a damaged monitor file: its CRC-32C does not match";
    return NULL;
}

static const uint8_t *get_samples(const uint8_t *p, lmb_monitor_sample *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++, p += SAMPLE) {
        s[i].number = lmbi_edge_u64(p);
        s[i].score = lmbi_edge_f32(p + 8);
        s[i].answer = lmbi_edge_u32(p + 12);
    }
    return p;
}

static const uint8_t *get_channel(const uint8_t *p, lmb_monitor_channel *h)
{
    h->sum = lmbi_edge_u64(p);
    h->squares = lmbi_edge_u64(p + 8);
    h->image_squares = lmbi_edge_u64(p + 16);
    for (int i = 0; i < LMB_MONITOR_BINS; i++)
        h->bins[i] = lmbi_edge_u64(p + 24 + 8 * i);
    return p + CHANNEL;
}

lmb_monitor *lmb_monitor_read(const void *bytes, size_t n, void *memory, char *why_text, size_t why_cap)
{
    const lmbi_edge_why why = { why_text, why_cap };
    const uint8_t *file = (const uint8_t *)bytes, *p = file + HEAD;
    uint32_t head[6];
    const char *bad = check(file, n, head);
    if (bad) {
        lmbi_edge_fail(&why, LMB_EDGE_E_FORMAT, "%s", bad);
        return NULL;
    }
    const lmb_monitor_shape shape = { head[0], head[2], 0, head[1], 0 };
    lmb_monitor *k = lmb_monitor_init(memory, &shape);
    k->predictions = lmbi_edge_u64(file + 40);
    for (int i = 0; i < LMB_MONITOR_TIMES; i++, p += 4)
        k->times[i] = lmbi_edge_u32(p);
    for (int i = 0; i < LMB_MONITOR_MARGINS; i++, p += 4)
        k->margins[i] = lmbi_edge_u32(p);
    for (uint32_t c = 0; c < k->channels; c++)
        p = get_channel(p, &k->channel[c]);
    for (uint32_t i = 0; i < k->classes; i++, p += 4)
        k->answers[i] = lmbi_edge_u32(p);
    k->n_unsure = head[3];
    k->n_strange = head[4];
    get_samples(get_samples(p, k->unsure, k->n_unsure), k->strange, k->n_strange);
    return k;
}

lmb_edge_status lmb_monitor_expect(lmb_monitor *k, const void *reference, size_t n)
{
    const uint8_t *file = (const uint8_t *)reference, *p = file + HEAD + COUNTERS;
    uint32_t head[6];
    if (!file || check(file, n, head) || head[0] != k->channels || head[2] != k->looked)
        return LMB_EDGE_E_FORMAT;
    double images = (double)lmbi_edge_u64(file + 40);
    if (images < 2)
        return LMB_EDGE_E_FORMAT;
    for (uint32_t c = 0; c < k->channels; c++) {
        lmb_monitor_channel h;
        p = get_channel(p, &h);
        double mean = (double)h.sum / images, variance = (double)h.image_squares / images - mean * mean;
        k->mean[c] = (float)mean;
        k->steps[c] = (float)(1 / sqrt(variance > 1 ? variance : 1)); /* less than a step of one pixel says nothing */
    }
    k->expects = 1;
    return LMB_EDGE_OK;
}
