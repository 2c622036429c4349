/* distill/tune/methods/bayes.c - Bayesian optimisation: where a Gaussian process expects most improvement.
 *
 * The first trials are a Latin hypercube. Then, of many places at random and near the best, the one with the largest
 * expected improvement over the best mean that the process believes in (not the best value seen, which luck has a
 * part in). Places of one round are chosen one after the other, each time as if the one before had turned out as
 * expected.
 *
 *   source  gp.h; several at once: Ginsbourger, Le Riche, Carraro 2010 (kriging believer)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "distill/tune/gp.h"
#include "distill/tune/method.h"

enum { USE_START = 5, USE_ORDER = 6, USE_PLACES = 7, USE_NEAR = 8, MOST = 256, CENTRES = 5, START_MAX = 1024 };

typedef struct bayes_config {
    int64_t initial, places;
} bayes_config;
static const lmb_field fields[] = {
    LMB_INT(bayes_config, initial, 8, 2, START_MAX, "trials", "spread evenly before anything is modelled"),
    LMB_INT(bayes_config, places, 1000, 10, 100000, "",
            "at random, and half as many near the best, that are compared for each trial"),
    LMB_FIELD_END
};

/* Place `trial` of a Latin hypercube: in each key every one of `initial` strips is used once. */
static void spread(const lmb_method_view *v, int64_t trial, double *x)
{
    const bayes_config *c = v->config;
    uint32_t strip[START_MAX];

    for (int d = 0; d < v->space->n; d++) {
        lmb_rand r = lmb_rand_at(v->seed, LMB_RAND_TUNE, USE_ORDER, (uint64_t)d);
        for (uint32_t i = 0; i < c->initial; i++)
            strip[i] = i;
        lmb_rand_shuffle(&r, strip, (uint32_t)c->initial);
        x[d] = (strip[trial] + lmbi_tune_uniform(v->seed, USE_START, trial, (uint32_t)d)) / (double)c->initial;
    }
}

static bool tried(const lmb_gp *g, const double *x)
{
    for (int i = 0; i < g->n; i++)
        if (memcmp(g->x[i], x, sizeof *x * (size_t)g->dims) == 0)
            return true;
    return false;
}

/* The largest improvement so far, and where. */
typedef struct hope {
    const lmb_gp *g;
    double *scratch, incumbent, gain, deviation;
    double x[LMB_TUNE_DIMS];
    bool any;
} hope;

/* Places that were tried count only as long as there is no other. */
static bool consider(hope *h, const double *x)
{
    double mean, deviation;
    bool again = tried(h->g, x);

    if (again && h->any)
        return false;
    lmb_gp_at(h->g, x, h->scratch, &mean, &deviation);
    double gain = again ? -1 : lmb_expected_improvement(h->incumbent, mean, deviation);
    if (h->any && !(gain > h->gain || (gain == h->gain && deviation > h->deviation)))
        return false;
    h->gain = gain;
    h->deviation = deviation;
    h->any = !again;
    memcpy(h->x, x, sizeof h->x);
    return true;
}

/* Where the process believes in the smallest means, of the trials. */
static int centres(const lmb_gp *g, double *scratch, int at[CENTRES], double *least)
{
    double mean[CENTRES], m, deviation;
    int n = 0;

    for (int i = 0; i < g->n; i++) {
        int k = n < CENTRES ? n : CENTRES - 1;
        lmb_gp_at(g, g->x[i], scratch, &m, &deviation);
        if (n == CENTRES && m >= mean[k])
            continue;
        for (; k > 0 && m < mean[k - 1]; k--) {
            mean[k] = mean[k - 1];
            at[k] = at[k - 1];
        }
        mean[k] = m;
        at[k] = i;
        n += n < CENTRES;
    }
    *least = mean[0];
    return n;
}

/* From the best place so far a little along each key that is a number. */
static void refine(hope *h, const lmb_space *s)
{
    for (double step = 0.05; step > 0.002; step /= 2)
        for (int d = 0; d < s->n; d++)
            for (int sign = -1; s->param[d].kind != LMB_PARAM_CHOICE && sign <= 1; sign += 2) {
                double x[LMB_TUNE_DIMS];
                memcpy(x, h->x, sizeof x);
                x[d] = lmb_param_snap(&s->param[d], x[d] + sign * step);
                (void)consider(h, x);
            }
}

static void choose(const lmb_method_view *v, const lmb_gp *g, double *scratch, int64_t trial, double out[LMB_TUNE_DIMS])
{
    const bayes_config *c = v->config;
    const lmb_space *s = v->space;
    hope h = { .g = g, .scratch = scratch };
    int at[CENTRES] = { 0 }, n = centres(g, scratch, at, &h.incumbent);
    double x[LMB_TUNE_DIMS] = { 0 };

    for (int64_t i = 0; i < c->places; i++) {
        for (int d = 0; d < s->n; d++)
            x[d] = lmb_param_snap(&s->param[d],
                                  lmbi_tune_uniform(v->seed, USE_PLACES, trial, (uint32_t)(i * LMB_TUNE_DIMS + d)));
        (void)consider(&h, x);
    }
    lmb_rand r = lmb_rand_at(v->seed, LMB_RAND_TUNE, USE_NEAR, (uint64_t)trial);
    for (int64_t i = 0; i < c->places / 2; i++) {
        for (int d = 0; d < s->n; d++) {
            uint32_t e = (uint32_t)(2 * (i * LMB_TUNE_DIMS + d));
            double near = g->x[at[i % n]][d];
            if (s->param[d].kind == LMB_PARAM_CHOICE)
                near = lmb_rand_uniform(&r, e) < 0.2f ? lmb_rand_uniform(&r, e + 1) : near;
            else
                near += 0.1 * lmb_rand_normal(&r, e);
            x[d] = lmb_param_snap(&s->param[d], near);
        }
        (void)consider(&h, x);
    }
    refine(&h, s);
    memcpy(out, h.x, sizeof h.x);
}

/* ---- observations ---- */

typedef struct seen {
    double y;
    int trial;
} seen;

static int by_y(const void *a, const void *b)
{
    const seen *p = a, *q = b;
    return p->y != q->y ? (p->y < q->y ? -1 : 1) : p->trial - q->trial;
}

static int by_trial(const void *a, const void *b) { return ((const seen *)a)->trial - ((const seen *)b)->trial; }

/* All trials into g, one that failed with the worst value of the others; of more than MOST the best and the latest. */
static lmb_status observe(const lmb_method_view *v, lmb_gp *g, lmb_error *err)
{
    seen *o = malloc(sizeof *o * (size_t)v->n);
    double worst = 0;
    int n = v->n;

    if (!o)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d trials", v->n);
    for (int i = 0; i < v->n; i++)
        if (!v->trial[i].failed)
            worst = fmax(worst, v->trial[i].y[0]);
    for (int i = 0; i < v->n; i++)
        o[i] = (seen){ v->trial[i].failed ? worst : v->trial[i].y[0], i };
    if (n > MOST) {
        qsort(o, (size_t)(n - MOST / 2), sizeof *o, by_y); /* the latest stay where they are */
        memmove(o + MOST / 2, o + n - MOST / 2, sizeof *o * (MOST / 2));
        n = MOST;
        qsort(o, (size_t)n, sizeof *o, by_trial);
    }
    for (int i = 0; i < n; i++)
        lmb_gp_add(g, v->trial[o[i].trial].x, o[i].y);
    free(o);
    return LMB_OK;
}

static lmb_status model(const lmb_method_view *v, int first, double (*x)[LMB_TUNE_DIMS], lmb_error *err)
{
    int room = (v->n < MOST ? v->n : MOST) + v->per_round;
    double *scratch = malloc(sizeof *scratch * (size_t)room), mean, deviation;
    lmb_gp g;
    lmb_status st = scratch ? lmb_gp_create(v->space->n, room, &g, err)
                            : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d trials", v->n);

    if (st != LMB_OK) {
        free(scratch);
        return st;
    }
    for (int d = 0; d < v->space->n; d++)
        g.choice[d] = v->space->param[d].kind == LMB_PARAM_CHOICE;
    st = observe(v, &g, err);
    if (st == LMB_OK)
        st = lmb_gp_fit(&g, err);
    for (int i = first; st == LMB_OK && i < v->per_round; i++) {
        choose(v, &g, scratch, v->n + i, x[i]);
        lmb_gp_at(&g, x[i], scratch, &mean, &deviation);
        lmb_gp_add(&g, x[i], mean);
        if (i + 1 < v->per_round)
            st = lmb_gp_settle(&g, err);
    }
    lmb_gp_free(&g);
    free(scratch);
    return st;
}

static lmb_status propose(const lmb_method_view *v, double (*x)[LMB_TUNE_DIMS], lmb_error *err)
{
    const bayes_config *c = v->config;
    int spreads = (int)(c->initial - v->n); /* of this round; what a first round has more is at random */

    spreads = spreads < 0 ? 0 : spreads > v->per_round ? v->per_round : spreads;
    for (int i = 0; i < v->per_round; i++)
        for (int d = 0; d < v->space->n && i >= spreads; d++)
            x[i][d] = lmbi_tune_uniform(v->seed, USE_START, v->n + i, (uint32_t)d);
    for (int i = 0; i < spreads; i++)
        spread(v, v->n + i, x[i]);
    return v->n && spreads < v->per_round ? model(v, spreads, x, err) : LMB_OK;
}

const lmb_method lmbi_method_bayes = { "bayes",
                                       "where a Gaussian process expects most improvement",
                                       "Jones, Schonlau, Welch 1998",
                                       fields,
                                       sizeof(bayes_config),
                                       false,
                                       NULL,
                                       NULL,
                                       propose, NULL };
