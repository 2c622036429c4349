/* distill/quantize/observers/histogram.h - what observers of a second pass count into: equal bins of the widest range.
 *
 * Counts are whole numbers: their order does not matter.
 */
#ifndef LMB_DISTILL_QUANTIZE_OBSERVERS_HISTOGRAM_H
#define LMB_DISTILL_QUANTIZE_OBSERVERS_HISTOGRAM_H

#include <stdint.h>

enum { LMBI_BINS = 2048 };
typedef struct lmbi_histogram { uint64_t bin[LMBI_BINS], n; } lmbi_histogram;

/* `see` and `merge` of lmb_observer (observer.h). */
static inline void lmbi_histogram_see(const void *config, void *memory, const float *x, int64_t n, float lo, float hi)
{
    lmbi_histogram *h = memory;
    double scale = hi > lo ? LMBI_BINS / ((double)hi - lo) : 0;

    (void)config;
    for (int64_t i = 0; i < n; i++) {
        double k = ((double)x[i] - lo) * scale;
        h->bin[!(k > 0) ? 0 : k >= LMBI_BINS ? LMBI_BINS - 1 : (int)k]++;
    }
    h->n += (uint64_t)n;
}

static inline void lmbi_histogram_merge(const void *config, void *into, const void *batch)
{
    lmbi_histogram *a = into;
    const lmbi_histogram *b = batch;

    (void)config;
    for (int i = 0; i < LMBI_BINS; i++)
        a->bin[i] += b->bin[i];
    a->n += b->n;
}

/* The range of bins a .. b - 1; at an end of the histogram the end itself, to the bit. */
static inline void lmbi_histogram_range(float lo, float hi, int a, int b, float *from, float *to)
{
    double width = ((double)hi - lo) / LMBI_BINS;

    *from = a ? (float)(lo + a * width) : lo;
    *to = b < LMBI_BINS ? (float)(lo + b * width) : hi;
}

/* What an observer that counts into one has in its table; its `range` is its own. */
#define LMBI_HISTOGRAM_OBSERVER                                                                                        \
    .bytes = sizeof(lmbi_histogram), .needs_range = true, .held = true, .see = lmbi_histogram_see,                     \
    .merge = lmbi_histogram_merge

#endif
