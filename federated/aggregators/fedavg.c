/* federated/aggregators/fedavg.c - the mean of the clients' changes, weighted by their examples.
 *
 * Idea: delta = sum_i examples_i * delta_i / sum_i examples_i. Floating-point sums depend on the order in which
 * clients happen to finish; so each value is rounded once to fixed point, and the sum runs in int64, where order
 * does not matter. How many fraction bits fit follows from what the configuration allows at most:
 *
 *     max_updates * max_examples * max_abs * 2^bits <= 2^62
 *
 * and with fewer than 20 of them the configuration is refused. With 64 clients of up to 2^20 examples and values
 * up to 8 there are 33: an error of 6e-11 a value, far below a float's own at the size of weights.
 *
 * With momentum m the server keeps a velocity v <- m v + delta and applies v (FedAvgM).
 *
 *   source   McMahan, Moore, Ramage, Hampson, Aguera y Arcas: Communication-efficient learning of deep networks
 *            from decentralized data. AISTATS 2017. Momentum: Hsu, Qi, Brown, arXiv:1909.06335.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "federated/aggregators/rows.h"

enum { MIN_BITS = 20, SUM_BITS = 62 };

typedef struct config {
    double momentum;
} config;

static const lmb_field fields[] = {
    LMB_REAL(config, momentum, 0, 0, 0.999, "", "server momentum (FedAvgM); 0 is plain FedAvg"),
    LMB_FIELD_END,
};

typedef struct fedavg {
    size_t n;
    double scale, momentum;
    uint64_t weight;
    int64_t *sum;    /* (n) */
    float *velocity; /* (n), NULL without momentum */
} fedavg;

static void destroy(void *state)
{
    fedavg *s = state;
    if (!s)
        return;
    free(s->sum);
    free(s->velocity);
    free(s);
}

static lmb_status create(const void *cfg, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    int bits = SUM_BITS - (int)ceil(log2((double)l->max_updates) + log2((double)l->max_examples) + log2(l->max_abs));
    fedavg *s;

    if (bits < MIN_BITS)
        return LMB_FAIL(err, LMB_E_ARG,
                        "fedavg: %llu clients of up to %llu examples with values up to %g leave %d bits for "
                        "fractions, %d are needed; lower target, max_examples or max_abs",
                        (unsigned long long)l->max_updates, (unsigned long long)l->max_examples, l->max_abs, bits,
                        MIN_BITS);
    s = calloc(1, sizeof *s);
    if (s) {
        s->n = l->n;
        s->scale = ldexp(1, bits);
        s->momentum = ((const config *)cfg)->momentum;
        s->sum = calloc(l->n, sizeof *s->sum);
        if (s->momentum > 0)
            s->velocity = calloc(l->n, sizeof *s->velocity);
    }
    if (!s || !s->sum || (s->momentum > 0 && !s->velocity)) {
        destroy(s);
        return LMB_FAIL(err, LMB_E_NOMEM, "fedavg: no memory for the sum of %zu values", l->n);
    }
    *state = s;
    return LMB_OK;
}

static void begin(void *state)
{
    fedavg *s = state;
    s->weight = 0;
    memset(s->sum, 0, s->n * sizeof *s->sum);
}

static void absorb(void *state, size_t at, const float *values, size_t count, uint64_t examples, bool add_weight)
{
    fedavg *s = state;
    for (size_t i = 0; i < count; i++)
        s->sum[at + i] += (int64_t)examples * llrint((double)values[i] * s->scale);
    if (add_weight)
        s->weight += examples;
}

static lmb_status finish(void *state, float *out, lmb_error *err)
{
    fedavg *s = state;
    if (!s->weight)
        return LMB_FAIL(err, LMB_E_NUMERIC, "fedavg: no update was absorbed, there is nothing to average");
    for (size_t i = 0; i < s->n; i++) {
        float mean = (float)((double)s->sum[i] / (double)s->weight / s->scale);
        if (s->velocity)
            mean = s->velocity[i] = (float)(s->momentum * (double)s->velocity[i] + (double)mean);
        out[i] = mean;
    }
    return LMB_OK;
}

static const void *save(const void *state, size_t *bytes)
{
    const fedavg *s = state;
    *bytes = s->velocity ? s->n * sizeof *s->velocity : 0;
    return s->velocity;
}

static lmb_status load(void *state, const void *saved, size_t bytes, lmb_error *err)
{
    fedavg *s = state;
    size_t want;
    save(s, &want);
    if (bytes != want)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "fedavg: the journal holds %zu bytes of momentum, this configuration has %zu; "
                        "set momentum as it was, or begin in a new state_dir",
                        bytes, want);
    if (bytes)
        memcpy(s->velocity, saved, bytes);
    return LMB_OK;
}

const lmb_aggregator lmbi_fedavg = {
    .name = "fedavg",
    .help = "mean of the changes, weighted by examples",
    .linear = true,
    .ring_safe = true,
    .fields = fields,
    .config_bytes = sizeof(config),
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .absorb = absorb,
    .finish = finish,
    .save = save,
    .load = load,
};
