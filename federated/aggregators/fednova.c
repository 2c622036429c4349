/* federated/aggregators/fednova.c - FedNova's server: changes that clients have divided by their travel are averaged,
 * and the mean takes a step of the mean travel: who made more steps does not pull harder.
 *
 * The vector is [w | travel]; clients do their part in federated/terms/terms.c. The last number of the model stays 0.
 *
 *   source  Wang, Liu, Liang, Joshi, Poor: Tackling the objective inconsistency problem. NeurIPS 2020,
 *           arXiv:2007.07481, eq. 7
 */
#include <stdlib.h>

#include "federated/aggregators/exact_sum.h"
#include "federated/aggregators/rows.h"

static lmb_status create(const void *config, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    lmbi_exact_sum *s;
    (void)config;
    if (l->n < 2)
        return LMB_FAIL(err, LMB_E_ARG, "fednova: %zu values are not a model and a travel", l->n);
    s = calloc(1, sizeof *s);
    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "fednova: no memory");
    lmb_status st = lmbi_exact_sum_open(s, "fednova", l, err);
    if (st != LMB_OK) {
        free(s);
        return st;
    }
    *state = s;
    return LMB_OK;
}

static void destroy(void *state)
{
    if (state)
        lmbi_exact_sum_close(state);
    free(state);
}

static void begin(void *state) { lmbi_exact_sum_begin(state); }

static void absorb(void *state, size_t at, const float *values, size_t count, uint64_t examples, bool add_weight)
{
    lmbi_exact_sum_add(state, at, values, count, examples, add_weight);
}

static lmb_status finish(void *state, float *out, lmb_error *err)
{
    const lmbi_exact_sum *s = state;

    LMB_TRY(lmbi_exact_sum_check(s, "fednova", err));
    double travel = lmbi_exact_mean(s, s->n - 1); /* both in the clients' unit, which cancels out */
    for (size_t i = 0; i + 1 < s->n; i++)
        out[i] = (float)(travel * lmbi_exact_mean(s, i));
    out[s->n - 1] = 0;
    return LMB_OK;
}

static int64_t *sums(void *state, int which, size_t *n, uint64_t **weight)
{
    return which ? NULL : lmbi_exact_sums(state, n, weight);
}

const lmb_aggregator lmbi_fednova = {
    .name = "fednova",
    .help = "mean of changes normalised by the steps behind them",
    .linear = true,
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .absorb = absorb,
    .finish = finish,
    .sums = sums,
    .term = "fednova",
};
