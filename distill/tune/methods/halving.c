/* distill/tune/methods/halving.c - successive halving: many trials of few epochs, the better ones again with more.
 *
 * A bracket begins with `round` points at random that get a small share of the epochs; one of `eta` of them goes on to
 * the next rung, where each gets eta times as many, until those of the last rung get all. Then another bracket begins,
 * with other points. A rung trains from the start, with its schedule over its own epochs: what a trial has learnt is
 * not kept, which costs less than half as much again with eta 3, and a model is never scored in the middle of a
 * schedule. Where a cost is measured those go on that NSGA-II would keep: by rank of the front, lonely ones first.
 *
 *   source  Jamieson, Talwalkar 2016, AISTATS, arXiv:1502.07943; Li et al. 2018 (Hyperband), JMLR 18(185):1-52,
 *           algorithm 1, whose brackets are these with other rungs; two goals: Schmucker et al. 2021, arXiv:2106.12639
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/tune/front.h"
#include "distill/tune/method.h"

enum { USE_START = 3 };

typedef struct halving_config {
    int64_t eta, rungs;
} halving_config;
static const lmb_field fields[] = {
    LMB_INT(halving_config, eta, 2, 2, 64, "", "one of so many goes on, with so many times the epochs"),
    LMB_INT(halving_config, rungs, 3, 2, 12, "", "of a bracket; the first gets 1 / eta^(rungs - 1) of the epochs"),
    LMB_FIELD_END
};

/* How many trials rung k has; at least one where check() has said so. */
static int rung_size(const halving_config *c, int per_round, int64_t k)
{
    int n = per_round;
    while (k-- > 0)
        n /= (int)c->eta;
    return n;
}

static lmb_status check(const lmb_space *s, const void *config, int per_round, lmb_error *err)
{
    const halving_config *c = config;

    (void)s;
    if (rung_size(c, per_round, c->rungs - 1) >= 1)
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_ARG,
                    "tune.round is %d, of which halving by %lld leaves nothing for rung %lld; give it %.0f or more",
                    per_round, (long long)c->eta, (long long)c->rungs,
                    pow((double)c->eta, (double)(c->rungs - 1)));
}

/* Which rung a trial is of, and where that begins. */
static int64_t find(const halving_config *c, int per_round, int trial, int *first)
{
    int bracket = 0;

    for (int64_t k = 0; k < c->rungs; k++)
        bracket += rung_size(c, per_round, k);
    *first = trial - trial % bracket;
    for (int64_t k = 0;; k++) {
        int n = rung_size(c, per_round, k);
        if (trial < *first + n)
            return k;
        *first += n;
    }
}

static void rung(const void *config, int per_round, int trial, lmb_rung *out)
{
    const halving_config *c = config;
    int64_t k = find(c, per_round, trial, &out->first);

    out->n = rung_size(c, per_round, k);
    out->share = pow((double)c->eta, (double)(k + 1 - c->rungs));
}

/* Rung k from the one before it, which begins at `from`. */
static lmb_status promote(const lmb_method_view *v, int from, int n, int keep, double (*x)[LMB_TUNE_DIMS],
                          lmb_error *err)
{
    lmb_front_point *p = calloc((size_t)n, sizeof *p);
    int *order = malloc(sizeof *order * (size_t)n);
    lmb_status st = p && order ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a rung of %d trials", n);

    for (int i = 0; st == LMB_OK && i < n; i++)
        memcpy(p[i].y, v->trial[from + i].y, sizeof p[i].y);
    if (st == LMB_OK) {
        lmb_front_rank(p, n);
        st = lmb_front_crowd(p, n, err);
    }
    if (st == LMB_OK)
        st = lmb_front_order(p, n, order, err);
    for (int i = 0; st == LMB_OK && i < keep; i++)
        memcpy(x[i], v->trial[from + order[i]].x, sizeof x[i]);
    free(p);
    free(order);
    return st;
}

static lmb_status propose(const lmb_method_view *v, double (*x)[LMB_TUNE_DIMS], lmb_error *err)
{
    const halving_config *c = v->config;
    int first, before;
    int64_t k = find(c, v->per_round, v->n, &first);

    if (k > 0) {
        (void)find(c, v->per_round, first - 1, &before);
        return promote(v, before, first - before, rung_size(c, v->per_round, k), x, err);
    }
    for (int i = 0; i < v->per_round; i++)
        for (int d = 0; d < v->space->n; d++)
            x[i][d] = lmbi_tune_uniform(v->seed, USE_START, v->n + i, (uint32_t)d);
    return LMB_OK;
}

const lmb_method lmbi_method_halving = { "halving",
                                         "successive halving: many for a few epochs, the better ones for more",
                                         "Jamieson, Talwalkar 2016",
                                         fields,
                                         sizeof(halving_config),
                                         true,
                                         check,
                                         NULL,
                                         propose,
                                         rung };
