/* distill/search/penalty.c - see penalty.h. */
#include "distill/search/penalty.h"

#include <math.h>

/* The accuracy that counts as one: what may be lost, or a point. A drop of nearly nothing would make all else cheap. */
static double one_of(const lmb_budget *b) { return b->drop < 0 ? 0.01 : fmax(b->drop, 0.001); }

static double step(double multiplier, double rate, double violation)
{
    return fmax(0, multiplier + rate * fmin(violation, 1));
}

void lmb_penalty_update(lmb_penalty *p, const lmb_budget *b, double rate, const double cost[LMB_COSTS], double lost)
{
    for (int i = 0; i < LMB_COSTS; i++)
        if (b->limit[i] > 0)
            p->of[i] = step(p->of[i], rate, cost[i] / b->limit[i] - 1);
    if (b->drop >= 0)
        p->of[LMB_GOAL_ACCURACY] = step(p->of[LMB_GOAL_ACCURACY], rate, (lost - b->drop) / one_of(b));
}

double lmb_penalty_loss(const lmb_penalty *p, const lmb_budget *b, const double cost[LMB_COSTS], double wrong,
                        double lost)
{
    double sum = wrong / one_of(b);

    for (int i = 0; i < LMB_COSTS; i++)
        if (b->limit[i] > 0)
            sum += p->of[i] * (cost[i] / b->limit[i]);
    return b->drop < 0 ? sum : sum + p->of[LMB_GOAL_ACCURACY] * fmax(0, (lost - b->drop) / one_of(b));
}

void lmb_penalty_exchange(const lmb_penalty *p, lmb_goal goal, double out[LMB_COSTS])
{
    for (int i = 0; i < LMB_COSTS; i++)
        out[i] = i == (int)goal ? 0 : p->of[i] / (1 + p->of[goal]);
}
