/* federated/aggregators/fedavg.c - the mean of the clients' changes, weighted by their examples.
 *
 * Idea: delta = sum_i examples_i * delta_i / sum_i examples_i, summed exactly (exact_sum.h). With momentum m the server
 * keeps a velocity v <- m v + delta and applies v (FedAvgM).
 *
 *   source   McMahan, Moore, Ramage, Hampson, Aguera y Arcas: Communication-efficient learning of deep networks
 *            from decentralized data. AISTATS 2017. Momentum: Hsu, Qi, Brown, arXiv:1909.06335.
 */
#include <stdlib.h>
#include <string.h>

#include "federated/aggregators/exact_sum.h"
#include "federated/aggregators/rows.h"

typedef struct config {
    double momentum;
} config;

static const lmb_field fields[] = {
    LMB_REAL(config, momentum, 0, 0, 0.999, "", "server momentum (FedAvgM); 0 is plain FedAvg"),
    LMB_FIELD_END,
};

typedef struct fedavg {
    lmbi_exact_sum sum;
    double momentum;
    float *velocity; /* (n), NULL without momentum */
} fedavg;

static void destroy(void *state)
{
    fedavg *s = state;
    if (!s)
        return;
    lmbi_exact_sum_close(&s->sum);
    free(s->velocity);
    free(s);
}

static lmb_status create(const void *cfg, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    fedavg *s = calloc(1, sizeof *s);
    lmb_status st;

    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "fedavg: no memory");
    s->momentum = ((const config *)cfg)->momentum;
    st = lmbi_exact_sum_open(&s->sum, "fedavg", l, err);
    if (st == LMB_OK && s->momentum > 0 && !(s->velocity = calloc(l->n, sizeof *s->velocity)))
        st = LMB_FAIL(err, LMB_E_NOMEM, "fedavg: no memory for the momentum of %zu values", l->n);
    if (st != LMB_OK) {
        destroy(s);
        return st;
    }
    *state = s;
    return LMB_OK;
}

static void begin(void *state) { lmbi_exact_sum_begin(&((fedavg *)state)->sum); }

static void absorb(void *state, size_t at, const float *values, size_t count, uint64_t examples, bool add_weight)
{
    lmbi_exact_sum_add(&((fedavg *)state)->sum, at, values, count, examples, add_weight);
}

static lmb_status finish(void *state, float *out, lmb_error *err)
{
    fedavg *s = state;
    LMB_TRY(lmbi_exact_sum_check(&s->sum, "fedavg", err));
    for (size_t i = 0; i < s->sum.n; i++) {
        float mean = (float)lmbi_exact_mean(&s->sum, i);
        if (s->velocity)
            mean = s->velocity[i] = (float)(s->momentum * (double)s->velocity[i] + (double)mean);
        out[i] = mean;
    }
    return LMB_OK;
}

static lmbi_exact_sum *exact(void *state) { return &((fedavg *)state)->sum; }

static int64_t *sums(void *state, int which, size_t *n, uint64_t **weight)
{
    return which ? NULL : lmbi_exact_sums(&((fedavg *)state)->sum, n, weight);
}

static const void *save(const void *state, size_t *bytes)
{
    const fedavg *s = state;
    *bytes = s->velocity ? s->sum.n * sizeof *s->velocity : 0;
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
    .exact = exact,
    .save = save,
    .load = load,
    .sums = sums,
};
