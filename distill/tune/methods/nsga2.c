/* distill/tune/methods/nsga2.c - NSGA-II: a population of recipes, the better half of parents and children goes on.
 *
 * A round is a generation, and its trials the population. Who the parents are follows from all generations before: of
 * each and its children, the best by rank and loneliness. Two costs: wrong answers, and what the deployed model
 * costs.
 *
 *   source  Deb et al. 2002 (front.h); crossover SBX: Deb, Agrawal 1995, Complex Systems 9:115-148; mutation: Deb,
 *           Goyal 1996
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/tune/front.h"
#include "distill/tune/method.h"

enum { USE_START = 0, USE_CHILD = 2, TRIES = 16, PER_TRY = 8 * LMB_TUNE_DIMS };

typedef struct nsga2_config {
    double crossover, mutation, crossover_index, mutation_index;
} nsga2_config;
static const lmb_field fields[] = {
    LMB_REAL(nsga2_config, crossover, 0.9, 0, 1, "", "share of children that mix two parents"),
    LMB_REAL(nsga2_config, mutation, 0, 0, 1, "", "share of keys that change at random; 0: one of them"),
    LMB_REAL(nsga2_config, crossover_index, 10, 0, 1000, "", "the larger, the nearer are children to a parent"),
    LMB_REAL(nsga2_config, mutation_index, 10, 0, 1000, "", "the larger, the smaller are changes"), LMB_FIELD_END
};

static lmb_status check(const lmb_space *s, const void *config, int per_round, lmb_error *err)
{
    (void)s, (void)config;
    return per_round >= 4
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_ARG, "tune.round is %d, and it is the population of nsga2: give it 4 or more",
                          per_round);
}

/* parent[per_round]: trials, the best first. */
static lmb_status choose_parents(const lmb_method_view *v, int *parent, lmb_error *err)
{
    int size = v->per_round, *pool = malloc(sizeof *pool * 4 * (size_t)size), *order = pool + 2 * size;
    lmb_front_point *p = malloc(sizeof *p * 2 * (size_t)size);
    lmb_status st = pool && p ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a population of %d", size);

    for (int from = 0; st == LMB_OK && from < v->n; from += size) {
        int n = 0;
        for (int i = 0; from > 0 && i < size; i++)
            pool[n++] = parent[i];
        for (int i = 0; i < size; i++)
            pool[n++] = from + i;
        for (int i = 0; i < n; i++)
            memcpy(p[i].y, v->trial[pool[i]].y, sizeof p[i].y);
        lmb_front_rank(p, n);
        st = lmb_front_crowd(p, n, err);
        if (st == LMB_OK)
            st = lmb_front_order(p, n, order, err);
        for (int i = 0; st == LMB_OK && i < size; i++)
            parent[i] = pool[order[i]];
    }
    free(pool);
    free(p);
    return st;
}

/* Between or beyond two parents, as near as they are to each other. */
static double cross(double a, double b, double index, double u, double which)
{
    double beta = u <= 0.5 ? pow(2 * u, 1 / (index + 1)) : pow(1 / (2 * (1 - u)), 1 / (index + 1));
    return 0.5 * ((which < 0.5 ? 1 + beta : 1 - beta) * a + (which < 0.5 ? 1 - beta : 1 + beta) * b);
}

static double mutate(double x, double index, double u)
{
    return x + (u < 0.5 ? pow(2 * u, 1 / (index + 1)) - 1 : 1 - pow(2 * (1 - u), 1 / (index + 1)));
}

static void child(const lmb_method_view *v, const int *parent, int64_t trial, int attempt, double x[LMB_TUNE_DIMS])
{
    const nsga2_config *c = v->config;
    uint32_t e = (uint32_t)(attempt * PER_TRY);
    int from[2];

    for (int k = 0; k < 2; k++) { /* the better of two at random: parents are in order */
        int a = (int)(lmbi_tune_uniform(v->seed, USE_CHILD, trial, e) * v->per_round),
            b = (int)(lmbi_tune_uniform(v->seed, USE_CHILD, trial, e + 1) * v->per_round);
        from[k] = parent[a < b ? a : b];
        e += 2;
    }
    bool mixed = lmbi_tune_uniform(v->seed, USE_CHILD, trial, e++) < c->crossover;
    double share = c->mutation > 0 ? c->mutation : 1.0 / v->space->n;
    for (int d = 0; d < v->space->n; d++, e += 5) {
        const lmb_param *p = &v->space->param[d];
        double a = v->trial[from[0]].x[d], b = v->trial[from[1]].x[d], u[5];
        for (uint32_t k = 0; k < 5; k++)
            u[k] = lmbi_tune_uniform(v->seed, USE_CHILD, trial, e + k);
        x[d] = a;
        if (mixed && u[0] < 0.5)
            x[d] = p->kind == LMB_PARAM_CHOICE ? b : cross(a, b, c->crossover_index, u[1], u[2]);
        if (u[3] < share)
            x[d] = p->kind == LMB_PARAM_CHOICE ? u[4] : mutate(x[d], c->mutation_index, u[4]);
        x[d] = lmb_param_snap(p, x[d]);
    }
}

static bool known(const lmb_method_view *v, const double *x, double (*others)[LMB_TUNE_DIMS], int n)
{
    size_t bytes = sizeof *x * (size_t)v->space->n;

    for (int i = 0; i < v->n; i++)
        if (memcmp(v->trial[i].x, x, bytes) == 0)
            return true;
    for (int i = 0; i < n; i++)
        if (memcmp(others[i], x, bytes) == 0)
            return true;
    return false;
}

static lmb_status propose(const lmb_method_view *v, double (*x)[LMB_TUNE_DIMS], lmb_error *err)
{
    if (v->n == 0) {
        for (int i = 0; i < v->per_round; i++)
            for (int d = 0; d < v->space->n; d++)
                x[i][d] = lmbi_tune_uniform(v->seed, USE_START, i, (uint32_t)d);
        return LMB_OK;
    }
    int *parent = malloc(sizeof *parent * (size_t)v->per_round);
    lmb_status st = parent ? choose_parents(v, parent, err)
                           : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a population of %d", v->per_round);
    for (int i = 0; st == LMB_OK && i < v->per_round; i++)
        for (int attempt = 0; attempt < TRIES; attempt++) { /* a child that has lived before teaches nothing */
            child(v, parent, v->n + i, attempt, x[i]);
            if (!known(v, x[i], x, i))
                break;
        }
    free(parent);
    return st;
}

const lmb_method lmbi_method_nsga2 = { "nsga2",
                                       "evolution towards the front of accuracy and cost",
                                       "Deb et al. 2002",
                                       fields,
                                       sizeof(nsga2_config),
                                       true,
                                       check,
                                       NULL,
                                       propose, NULL };
