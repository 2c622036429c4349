/* distill/quantize/observers/percentile.c - a range that leaves out the rarest values on both sides.
 *
 * A second pass counts into BINS equal bins of the widest range; each end moves inwards over whole bins as long as no
 * more than its half of the rest, (100 - percent) / 2 percent of the numbers, is left out. Counts are whole numbers:
 * their order does not matter.
 *   source   McKinstry et al. 2018, arXiv:1809.04191 (percentile calibration)
 */
#include "distill/quantize/observer.h"

enum { BINS = 2048 };
typedef struct config { double percent; } config;
typedef struct seen { uint64_t bin[BINS], n; } seen;
static const lmb_field rows[] = { LMB_REAL(config, percent, 99.99, 50, 100, "%", "of the numbers, that stay inside"), LMB_FIELD_END };

static void see(const void *c, void *memory, const float *x, int64_t n, float lo, float hi)
{
    seen *s = memory;
    double scale = hi > lo ? BINS / ((double)hi - lo) : 0;

    (void)c;
    for (int64_t i = 0; i < n; i++) {
        double k = ((double)x[i] - lo) * scale;
        s->bin[!(k > 0) ? 0 : k >= BINS ? BINS - 1 : (int)k]++;
    }
    s->n += (uint64_t)n;
}

static void merge(const void *c, void *into, const void *batch)
{
    seen *a = into;
    const seen *b = batch;

    (void)c;
    for (int i = 0; i < BINS; i++)
        a->bin[i] += b->bin[i];
    a->n += b->n;
}

static void range(const void *c, const void *memory, float lo, float hi, float *from, float *to)
{
    const seen *s = memory;
    double left_out = (double)s->n * (100 - ((const config *)c)->percent) / 200, width = ((double)hi - lo) / BINS;
    int a = 0, b = BINS;

    for (double sum = 0; a < b - 1 && sum + (double)s->bin[a] <= left_out; a++)
        sum += (double)s->bin[a];
    for (double sum = 0; b > a + 1 && sum + (double)s->bin[b - 1] <= left_out; b--)
        sum += (double)s->bin[b - 1];
    *from = a ? (float)(lo + a * width) : lo;
    *to = b < BINS ? (float)(lo + b * width) : hi;
}

const lmb_observer lmb_observer_percentile = {
    .name = "percentile", .summary = "a range without the rarest values", .source = "McKinstry et al. 2018, arXiv:1809.04191",
    .fields = rows, .config_size = sizeof(config), .bytes = sizeof(seen), .needs_range = true, .see = see, .merge = merge, .range = range,
};
