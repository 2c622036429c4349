/* distill/quantize/observers/moving_average.c - ranges of batches, averaged: one odd batch moves it little. */
#include "distill/quantize/observer.h"

typedef struct config { double momentum; } config;
typedef struct seen { bool any; float lo, hi; } seen;
static const lmb_field rows[] = { LMB_REAL(config, momentum, 0.9, 0, 1, "", "memory: m old + (1 - m) batch"),
                                  LMB_FIELD_END };

static void see(const void *c, void *memory, const float *x, int64_t n, float lo, float hi)
{
    seen *s = memory;
    (void)c, (void)lo, (void)hi;
    s->any = true;
    lmb_observed_range(x, n, &s->lo, &s->hi);
}

static void merge(const void *c, void *into, const void *batch)
{
    seen *a = into;
    const seen *b = batch;
    float m = (float)((const config *)c)->momentum;
    *a = a->any ? (seen){ true, m * a->lo + (1 - m) * b->lo, m * a->hi + (1 - m) * b->hi } : *b;
}

static void range(const void *c, const void *memory, const lmb_grid *of, float lo, float hi, float *from, float *to)
{
    const seen *s = memory;
    (void)c, (void)of, (void)lo, (void)hi;
    *from = s->lo;
    *to = s->hi;
}

const lmb_observer lmb_observer_moving_average = {
    .name = "moving_average", .summary = "the range of a batch, averaged over batches",
    .source = "Jacob et al. 2018, arXiv:1712.05877, section 3.1", .fields = rows, .config_size = sizeof(config),
    .bytes = sizeof(seen), .see = see, .merge = merge, .range = range,
};
