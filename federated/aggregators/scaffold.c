/* federated/aggregators/scaffold.c - SCAFFOLD's server: the mean change of the model, and of the control variate c.
 *
 * The vector is [w | c], half and half. w moves by the mean of the changes, c by S / N times that of theirs, S clients
 * of the round, N of the federation. Both means are weighted by examples: the paper's are plain, as all its clients
 * have equally many, and a plain c beside a weighted w would lead to another optimum than the one of all samples.
 * Clients do the rest (federated/terms/terms.c).
 *
 *   source  Karimireddy et al.: SCAFFOLD. ICML 2020, arXiv:1910.06378, algorithm 1
 */
#include <stdlib.h>

#include "federated/aggregators/exact_sum.h"
#include "federated/aggregators/rows.h"

typedef struct config { int64_t clients; } config;
static const lmb_field fields[] = { LMB_INT(config, clients, 0, 0, 1e9, "clients",
                                            "of the whole federation; 0: those of a round are all there are"),
                                    LMB_FIELD_END };

typedef struct scaffold {
    lmbi_exact_sum sum;   /* [w | c]                            */
    lmbi_exact_sum count; /* its weight: how many were absorbed */
    uint64_t clients;
} scaffold;

static void destroy(void *state)
{
    scaffold *s = state;
    if (!s)
        return;
    lmbi_exact_sum_close(&s->sum);
    lmbi_exact_sum_close(&s->count);
    free(s);
}

static lmb_status create(const void *cfg, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    lmb_aggregator_limits one = *l;
    scaffold *s;
    lmb_status st;

    if (l->n % 2)
        return LMB_FAIL(err, LMB_E_ARG, "scaffold: %zu values are not a model and a control variate of the same size",
                        l->n);
    one.n = one.max_examples = 1;
    s = calloc(1, sizeof *s);
    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "scaffold: no memory");
    s->clients = (uint64_t)((const config *)cfg)->clients;
    st = lmbi_exact_sum_open(&s->sum, "scaffold", l, err);
    if (st == LMB_OK)
        st = lmbi_exact_sum_open(&s->count, "scaffold", &one, err);
    if (st != LMB_OK) {
        destroy(s);
        return st;
    }
    *state = s;
    return LMB_OK;
}

static void begin(void *state)
{
    scaffold *s = state;
    lmbi_exact_sum_begin(&s->sum);
    lmbi_exact_sum_begin(&s->count);
}

static void absorb(void *state, size_t at, const float *values, size_t count, uint64_t examples, bool add_weight)
{
    scaffold *s = state;

    lmbi_exact_sum_add(&s->sum, at, values, count, examples, add_weight);
    lmbi_exact_sum_add(&s->count, 0, values, 0, 1, add_weight);
}

static lmb_status finish(void *state, float *out, lmb_error *err)
{
    scaffold *s = state;
    double part = 1;

    LMB_TRY(lmbi_exact_sum_check(&s->sum, "scaffold", err));
    if (s->clients > s->count.weight)
        part = (double)s->count.weight / (double)s->clients;
    for (size_t i = 0; i < s->sum.n; i++)
        out[i] = (float)((i < s->sum.n / 2 ? 1 : part) * lmbi_exact_mean(&s->sum, i));
    return LMB_OK;
}

static int64_t *sums(void *state, int which, size_t *n, uint64_t **weight)
{
    scaffold *s = state;
    return which > 1 ? NULL : lmbi_exact_sums(which ? &s->count : &s->sum, n, weight);
}

const lmb_aggregator lmbi_scaffold = {
    .name = "scaffold",
    .help = "mean of the changes; clients correct their drift by control variates",
    .linear = true,
    .fields = fields,
    .config_bytes = sizeof(config),
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .absorb = absorb,
    .finish = finish,
    .sums = sums,
    .term = "scaffold",
};
