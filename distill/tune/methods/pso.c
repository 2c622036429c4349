/* distill/tune/methods/pso.c - a swarm: every particle is drawn to its own best place and to the best of all.
 *
 * A round moves every particle once. Velocities are worked out again from all rounds before, so that none need be
 * kept. Keys with a choice are places on the same line, in the order of the list.
 *
 *   source  Kennedy, Eberhart 1995; constriction: Clerc, Kennedy 2002, IEEE Trans. Evolutionary Computation 6(1):58-73
 */
#include <math.h>

#include "distill/tune/method.h"

enum { USE_START = 0, USE_SPEED = 3, USE_PULL = 4 };

typedef struct pso_config {
    double inertia, own, best, speed;
} pso_config;
static const lmb_field fields[] = {
    LMB_REAL(pso_config, inertia, 0.7298, 0, 1, "", "of the velocity before"),
    LMB_REAL(pso_config, own, 1.49618, 0, 4, "", "pull of a particle's own best place"),
    LMB_REAL(pso_config, best, 1.49618, 0, 4, "", "pull of the best place of all"),
    LMB_REAL(pso_config, speed, 0.5, 0.01, 1, "", "share of a range that a particle moves at most"), LMB_FIELD_END
};

static bool better(const lmb_tuned *a, const lmb_tuned *b) { return a->y[0] < b->y[0]; }

/* The trial that particle `i` (-1: any) has found best in rounds up to `round`. */
static const lmb_tuned *best_of(const lmb_method_view *v, int i, int round)
{
    const lmb_tuned *best = NULL;

    for (int t = 0; t < (round + 1) * v->per_round; t++)
        if ((i < 0 || t % v->per_round == i) && (!best || better(&v->trial[t], best)))
            best = &v->trial[t];
    return best;
}

/* Where particle i goes in key d after the rounds so far. */
static double next(const lmb_method_view *v, int i, int d)
{
    const pso_config *c = v->config;
    double speed = c->speed * (2 * lmbi_tune_uniform(v->seed, USE_SPEED, i, (uint32_t)d) - 1), x = 0;

    for (int round = 0; round < v->n / v->per_round; round++) {
        int64_t t = (int64_t)round * v->per_round + i;
        double at = v->trial[t].x[d], u = lmbi_tune_uniform(v->seed, USE_PULL, t, (uint32_t)(2 * d)),
               w = lmbi_tune_uniform(v->seed, USE_PULL, t, (uint32_t)(2 * d + 1));
        speed = c->inertia * speed + c->own * u * (best_of(v, i, round)->x[d] - at) +
                c->best * w * (best_of(v, -1, round)->x[d] - at);
        speed = fmax(-c->speed, fmin(c->speed, speed));
        x = at + speed;
        if (x < 0 || x > 1) /* at a wall it stands still */
            speed = 0;
    }
    return fmax(0, fmin(1, x));
}

static lmb_status propose(const lmb_method_view *v, double (*x)[LMB_TUNE_DIMS], lmb_error *err)
{
    (void)err;
    for (int i = 0; i < v->per_round; i++)
        for (int d = 0; d < v->space->n; d++)
            x[i][d] = v->n ? next(v, i, d) : lmbi_tune_uniform(v->seed, USE_START, i, (uint32_t)d);
    return LMB_OK;
}

static lmb_status check(const lmb_space *s, const void *config, int per_round, lmb_error *err)
{
    (void)s, (void)config;
    return per_round >= 2
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_ARG,
                          "tune.round is %d, and it is the number of particles of pso: give it 2 or more", per_round);
}

const lmb_method lmbi_method_pso = { "pso",
                                     "a swarm of recipes, drawn to the best",
                                     "Kennedy, Eberhart 1995",
                                     fields,
                                     sizeof(pso_config),
                                     false,
                                     check,
                                     NULL,
                                     propose, NULL };
