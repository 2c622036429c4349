/* federated/aggregators/geometric_median.c - the point whose summed distance to all updates is least (RFA).
 *
 * Idea: Weiszfeld's iteration, smoothed: weights w_i = examples_i / max(nu, |x_i - z|), z = sum w_i x_i / sum w_i,
 * begun at the weighted mean. An update far away has little weight, whatever its size; up to half of the examples may
 * be hostile. Each iteration reads the updates twice.
 *
 *   source   Pillutla, Kakade, Harchaoui: Robust aggregation for federated learning. IEEE TSP 2022, algorithm 2.
 */
#include <math.h>
#include <stdlib.h>

#include "federated/aggregators/blocks.h"
#include "federated/aggregators/rows.h"

typedef struct config { int64_t iterations; double smoothing; } config;
static const lmb_field fields[] = {
    LMB_INT(config, iterations, 4, 1, 1000, "", "of Weiszfeld's method; the source finds 3 enough"),
    LMB_REAL(config, smoothing, 1e-6, 1e-12, 1, "", "the least distance that counts"), LMB_FIELD_END,
};

static void destroy(void *state) { free(state); }
static void begin(void *state) { (void)state; }

static lmb_status create(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    config *s = malloc(sizeof *s);
    (void)l;
    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for an aggregator");
    *s = *(const config *)c;
    *state = s;
    return LMB_OK;
}

/* out = sum w_i x_i / sum w_i */
static lmb_status weighted_mean(const lmb_updates *u, const double *w, float *out, lmb_error *err)
{
    lmbi_blocks b;
    bool more = true;
    double total = 0;
    lmb_status st;

    for (int i = 0; i < u->count; i++)
        total += w[i];
    LMB_TRY(lmbi_blocks_open(&b, u, err));
    while ((st = lmbi_blocks_next(&b, &more, err)) == LMB_OK && more)
        for (size_t k = 0; k < b.count; k++) {
            double sum = 0;
            for (int i = 0; i < u->count; i++)
                sum += w[i] * (double)b.rows[(size_t)i * b.width + k];
            out[b.at + k] = (float)(sum / total);
        }
    lmbi_blocks_close(&b);
    return st;
}

/* w_i = examples_i / max(smoothing, |x_i - z|) */
static lmb_status weigh(const lmb_updates *u, const float *z, double smoothing, double *w, lmb_error *err)
{
    lmbi_blocks b;
    bool more = true;
    lmb_status st;

    for (int i = 0; i < u->count; i++)
        w[i] = 0;
    LMB_TRY(lmbi_blocks_open(&b, u, err));
    while ((st = lmbi_blocks_next(&b, &more, err)) == LMB_OK && more)
        for (int i = 0; i < u->count; i++)
            for (size_t k = 0; k < b.count; k++) {
                double d = (double)b.rows[(size_t)i * b.width + k] - (double)z[b.at + k];
                w[i] += d * d;
            }
    for (int i = 0; i < u->count; i++)
        w[i] = (double)u->examples[i] / fmax(smoothing, sqrt(w[i]));
    lmbi_blocks_close(&b);
    return st;
}

static lmb_status all(void *state, const lmb_updates *u, float *out, lmb_error *err)
{
    const config *c = state;
    double *w = malloc(sizeof *w * (size_t)(u->count + 1));
    lmb_status st = LMB_OK;

    if (!w)
        return LMB_FAIL(err, LMB_E_NOMEM, "geometric_median: no memory for %d updates", u->count);
    if (u->count < 1)
        st = LMB_FAIL(err, LMB_E_NUMERIC, "geometric_median: no update arrived");
    for (int i = 0; i < u->count; i++)
        w[i] = (double)u->examples[i];
    if (st == LMB_OK)
        st = weighted_mean(u, w, out, err);
    for (int64_t k = 0; k < c->iterations && st == LMB_OK; k++) {
        st = weigh(u, out, c->smoothing, w, err);
        if (st == LMB_OK)
            st = weighted_mean(u, w, out, err);
    }
    free(w);
    return st;
}

const lmb_aggregator lmbi_geometric_median = { .name = "geometric_median",
                                               .help = "the point nearest to all updates (RFA)",
                                               .needs_all = true,
                                               .needs_plain = true,
                                               .fields = fields,
                                               .config_bytes = sizeof(config),
                                               .create = create,
                                               .destroy = destroy,
                                               .begin = begin,
                                               .all = all };
