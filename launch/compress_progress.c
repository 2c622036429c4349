/* launch/compress_progress.c - what a running search says of itself. See compress.h. */
#include <math.h>
#include <stdio.h>

#include "launch/compress.h"

/* Steps that have been tried, each with its candidates. */
static int steps_of(const lmb_points *p)
{
    int64_t last = -1;
    int n = 0;

    for (int i = 0; i < p->n; i++)
        if (p->point[i].kind == LMB_POINT_STEP && p->point[i].n_moves && p->point[i].round != last) {
            last = p->point[i].round;
            n++;
        }
    return n;
}

double lmb_compress_steps_left(const lmb_search_config *c, const lmb_points *p, double share)
{
    const lmb_point *last = &p->point[p->n - 1];
    double left = ceil(log2(share / c->step_min) + 1e-9);
    lmb_budget b;
    bool met;

    if (lmb_search_budget(c, &b, NULL) != LMB_OK)
        return 0;
    lmb_goal goal = lmb_budget_next(&b, last->cost, &met);
    if (!met)
        left = fmax(left, log(b.limit[goal] / last->cost[goal]) / log(1 - share));
    else if (goal == LMB_GOAL_ACCURACY)
        left = 0;
    return fmax(fmin(left, (double)c->steps - steps_of(p)), 0);
}

void lmb_compress_cost(const lmb_search_config *c, const lmb_point *p, char *out, size_t room)
{
    switch ((lmb_goal)c->objective) {
    case LMB_GOAL_LATENCY: snprintf(out, room, "%.1f us", p->cost[LMB_GOAL_LATENCY]); break;
    case LMB_GOAL_BYTES: snprintf(out, room, "%.0f bytes", p->cost[LMB_GOAL_BYTES]); break;
    case LMB_GOAL_MACS: snprintf(out, room, "%.3g MMACs", p->cost[LMB_GOAL_MACS] / 1e6); break;
    case LMB_GOAL_ACCURACY: snprintf(out, room, "%.2f %% right", 100 * lmb_point_accuracy(p)); break;
    }
}
