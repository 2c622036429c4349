/* federated/aggregators/fedopt.c - adaptive servers: the mean of the changes is a gradient for Adagrad, Adam or Yogi.
 *
 * Idea: with d the weighted mean of the changes (exact_sum.h),
 *
 *     m <- beta1 m + (1 - beta1) d
 *     v <- v + d^2                                 fedadagrad
 *     v <- beta2 v + (1 - beta2) d^2               fedadam
 *     v <- v - (1 - beta2) d^2 sign(v - d^2)       fedyogi
 *     change = eta m / (sqrt(v) + tau)
 *
 * v starts at tau^2. There is no bias correction, as in the source. tau is how small a change may be and still count:
 * an order below the size of a round's changes.
 *
 *   source   Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan: Adaptive federated optimization. ICLR
 *            2021, algorithm 2.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "federated/aggregators/exact_sum.h"
#include "federated/aggregators/rows.h"

typedef struct config { double eta, beta1, beta2, tau; } config;

static const lmb_field adagrad_fields[] = {
    LMB_REAL(config, eta, 0.1, 1e-9, 1e3, "", "the server's learning rate"),
    LMB_REAL(config, beta1, 0, 0, 0.9999, "", "memory of the mean change"),
    LMB_REAL(config, tau, 1e-3, 1e-12, 1e3, "", "adaptivity: changes far below it are not enlarged"), LMB_FIELD_END,
};
static const lmb_field adam_fields[] = {
    LMB_REAL(config, eta, 0.1, 1e-9, 1e3, "", "the server's learning rate"),
    LMB_REAL(config, beta1, 0.9, 0, 0.9999, "", "memory of the mean change"),
    LMB_REAL(config, beta2, 0.99, 0, 0.999999, "", "memory of its square"),
    LMB_REAL(config, tau, 1e-3, 1e-12, 1e3, "", "adaptivity: changes far below it are not enlarged"), LMB_FIELD_END,
};

typedef struct fedopt {
    lmbi_exact_sum sum;
    config c;
    double (*second)(const config *c, double v, double square);
    float *m; /* (2n): the mean change, then v */
} fedopt;

static double adagrad_second(const config *c, double v, double square) { return (void)c, v + square; }
static double adam_second(const config *c, double v, double square) { return c->beta2 * v + (1 - c->beta2) * square; }
static double yogi_second(const config *c, double v, double square)
{
    double step = (1 - c->beta2) * square;
    return v > square ? v - step : v < square ? v + step : v;
}

static void destroy(void *state)
{
    fedopt *s = state;
    if (!s)
        return;
    lmbi_exact_sum_close(&s->sum);
    free(s->m);
    free(s);
}

static lmb_status create(const char *name, double (*second)(const config *, double, double), const config *c,
                         const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    fedopt *s = calloc(1, sizeof *s);
    lmb_status st;

    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory", name);
    s->c = *c;
    s->second = second;
    st = lmbi_exact_sum_open(&s->sum, name, l, err);
    if (st == LMB_OK && !(s->m = calloc(2 * l->n, sizeof *s->m)))
        st = LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for two moments of %zu values", name, l->n);
    if (st != LMB_OK) {
        destroy(s);
        return st;
    }
    for (size_t i = 0; i < l->n; i++)
        s->m[l->n + i] = (float)(c->tau * c->tau);
    *state = s;
    return LMB_OK;
}

static lmb_status create_adagrad(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    return create("fedadagrad", adagrad_second, c, l, state, err);
}
static lmb_status create_adam(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    return create("fedadam", adam_second, c, l, state, err);
}
static lmb_status create_yogi(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    return create("fedyogi", yogi_second, c, l, state, err);
}

static void begin(void *state) { lmbi_exact_sum_begin(&((fedopt *)state)->sum); }

static void absorb(void *state, size_t at, const float *values, size_t count, uint64_t examples, bool add_weight)
{
    lmbi_exact_sum_add(&((fedopt *)state)->sum, at, values, count, examples, add_weight);
}

static lmb_status finish(void *state, float *out, lmb_error *err)
{
    fedopt *s = state;
    const config *c = &s->c;
    float *m = s->m, *v = s->m + s->sum.n;

    LMB_TRY(lmbi_exact_sum_check(&s->sum, "fedopt", err));
    for (size_t i = 0; i < s->sum.n; i++) {
        double d = lmbi_exact_mean(&s->sum, i);
        m[i] = (float)(c->beta1 * (double)m[i] + (1 - c->beta1) * d);
        v[i] = (float)s->second(c, (double)v[i], d * d);
        out[i] = (float)(c->eta * (double)m[i] / (sqrt((double)v[i]) + c->tau));
    }
    return LMB_OK;
}

static lmbi_exact_sum *exact(void *state) { return &((fedopt *)state)->sum; }

static int64_t *sums(void *state, int which, size_t *n, uint64_t **weight)
{
    return which ? NULL : lmbi_exact_sums(&((fedopt *)state)->sum, n, weight);
}

static const void *save(const void *state, size_t *bytes)
{
    const fedopt *s = state;
    *bytes = 2 * s->sum.n * sizeof *s->m;
    return s->m;
}

static lmb_status load(void *state, const void *saved, size_t bytes, lmb_error *err)
{
    fedopt *s = state;
    size_t want = 2 * s->sum.n * sizeof *s->m;

    if (bytes != want)
        return LMB_FAIL(
            err, LMB_E_FORMAT,
            "the journal holds %zu bytes of aggregator state, two moments of this model are %zu; configure the aggregator as "
            "it was, or begin in a new state_dir",
            bytes, want);
    memcpy(s->m, saved, bytes);
    for (size_t i = 0; i < s->sum.n; i++)
        if (!isfinite(s->m[i]) || !(s->m[s->sum.n + i] >= 0) || !isfinite(s->m[s->sum.n + i]))
            return LMB_FAIL(err, LMB_E_FORMAT,
                            "the journal's aggregator state is damaged at value %zu; begin in a new state_dir", i);
    return LMB_OK;
}

#define FEDOPT(text, about, rows, make)                                                                                \
    {                                                                                                                  \
        .name = text, .help = about, .linear = true, .ring_safe = true, .fields = rows,                                \
        .config_bytes = sizeof(config), .create = make, .destroy = destroy, .begin = begin, .absorb = absorb,          \
        .finish = finish, .save = save, .load = load, .exact = exact, .sums = sums,                                    \
    }

const lmb_aggregator lmbi_fedadagrad =
    FEDOPT("fedadagrad", "Adagrad on the mean of the changes", adagrad_fields, create_adagrad);
const lmb_aggregator lmbi_fedadam = FEDOPT("fedadam", "Adam on the mean of the changes", adam_fields, create_adam);
const lmb_aggregator lmbi_fedyogi = FEDOPT("fedyogi", "Yogi on the mean of the changes", adam_fields, create_yogi);
