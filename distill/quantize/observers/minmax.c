/* distill/quantize/observers/minmax.c - the widest range ever seen: nothing saturates, one outlier costs resolution. */
#include <math.h>

#include "distill/quantize/observer.h"

typedef struct seen { bool any; float lo, hi; } seen;
static const lmb_field rows[] = { LMB_FIELD_END };

static void see(const void *config, void *memory, const float *x, int64_t n, float lo, float hi)
{
    seen *s = memory;
    (void)config, (void)lo, (void)hi;
    s->any = true;
    lmb_observed_range(x, n, &s->lo, &s->hi);
}

static void merge(const void *config, void *into, const void *batch)
{
    seen *a = into;
    const seen *b = batch;
    (void)config;
    *a = a->any ? (seen){ true, fminf(a->lo, b->lo), fmaxf(a->hi, b->hi) } : *b;
}

static void range(const void *config, const void *memory, const lmb_grid *of, float lo, float hi, float *from, float *to)
{
    const seen *s = memory;
    (void)config, (void)of, (void)lo, (void)hi;
    *from = s->lo;
    *to = s->hi;
}

const lmb_observer lmb_observer_minmax = {
    .name = "minmax",
    .summary = "the widest range of the calibration set",
    .source = "Jacob et al. 2018, arXiv:1712.05877",
    .fields = rows,
    .bytes = sizeof(seen),
    .see = see,
    .merge = merge,
    .range = range,
};
