/* distill/search/settle.c - points are measured, and one of a round is accepted. See search.h. */
#include <math.h>
#include <stdlib.h>

#include "distill/search/internal.h"

enum { TURNS = 3 };

bool lmbi_search_loses_little(const lmbi_search *s, const lmb_point *p, double slack)
{
    return s->budget.drop < 0 || p->limit <= s->budget.drop + slack;
}

/* One of its parent's shape has its parent's time. */
static bool of_its_parents_shape(const lmb_point *p) { return p->kind == LMB_POINT_FINISHED || !p->n_moves; }

static lmb_status open_point(const lmbi_search *s, int id, lmb_deployed *d, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];

    LMB_TRY(lmb_search_file(path, s->r->folder, id, "model.lmb", err));
    return lmb_deployed_read(path, d, err);
}

/* What a point's file costs, and what its answers say. */
static lmb_status weigh(lmbi_search *s, const lmbi_outcome *o, lmb_point *p, lmb_error *err)
{
    lmb_deployed d;

    LMB_TRY(open_point(s, p->id, &d, err));
    lmb_status st = lmb_deployed_costs(&d, s->latency, p->cost, err); /* all its ops are then in the table */
    if (st == LMB_OK)
        st = lmb_latency_whole(s->latency, &d, s->deadline, &p->timing, err);
    if (p->parent >= 0 && of_its_parents_shape(p) && s->points->point[p->parent].timing.p50 < p->timing.p50)
        p->timing = s->points->point[p->parent].timing;
    p->diverged = o->diverged;
    p->parameters = (double)lmb_edge_parameters(&d.model);
    p->arena = (double)lmb_edge_arena_bytes(&d.model);
    p->pair = o->pair;
    p->right = o->right;
    p->limit = lmb_paired_limit(&p->pair, s->r->c->confidence);
    lmb_deployed_free(&d);
    return st;
}

/* ---- times ---- */

/* On a machine that is `slow` times as slow: its times as they were, and the share that misses a deadline so much
 * later. */
static lmb_status take_off(lmbi_search *s, const lmb_deployed *d, lmb_point *p, double slow, lmb_error *err)
{
    lmb_timing t = p->timing;

    if (s->deadline > 0)
        LMB_TRY(lmb_latency_whole(s->latency, d, s->deadline * slow, &t, err));
    p->timing.missed = t.missed;
    p->timing.p50 /= slow;
    p->timing.p99 /= slow;
    p->timing.throughput *= slow;
    return LMB_OK;
}

/* The time of a parent now: a machine is not always as fast. */
static lmb_status time_parent(lmbi_search *s, const lmb_deployed *parent, double *us, lmb_error *err)
{
    lmb_timing t;

    LMB_TRY(lmb_latency_whole(s->latency, parent, s->deadline, &t, err));
    *us = t.p50;
    return LMB_OK;
}

static bool alike(double a, double b) { return fabs(a - b) <= LMB_POINT_NOISE * fmin(a, b); }

/* A step between two times of its parent, `*now` and one after, which is then the next step's first: their lesser is
 * what it is compared with. Once more where the machine has changed between the two, where the step took less when it
 * was weighed, and before it is said to be as slow as its parent: a moment in which it was disturbed is no reason. */
static lmb_status time_between(lmbi_search *s, const lmb_deployed *parent, const lmb_deployed *d, double *now,
                               lmb_point *p, lmb_error *err)
{
    double first = p->timing.p50;
    bool settled = false;

    for (int turn = 0; turn < TURNS && !settled; turn++) {
        double before = *now;
        lmb_timing t;
        LMB_TRY(lmb_latency_whole(s->latency, d, s->deadline, &t, err));
        LMB_TRY(time_parent(s, parent, now, err));
        double least = fmin(before, *now); /* the step was timed on a machine as fast as this, or a slower one */
        if (turn == 0 || t.p50 / least < p->timing.p50 / p->beside) {
            p->timing = t;
            p->beside = least;
        }
        settled = alike(before, *now) && t.p50 < least && t.p50 <= first * (1 + LMB_POINT_NOISE);
    }
    return LMB_OK;
}

/* Where their parent takes longer than it did the machine is slower, and so much is taken off. */
static lmb_status beside_parent(lmbi_search *s, lmb_point *p, int n, lmb_error *err)
{
    lmb_deployed parent, d;
    double now;

    LMB_TRY(open_point(s, p->parent, &parent, err));
    lmb_status st = time_parent(s, &parent, &now, err);
    for (int i = 0; i < n && st == LMB_OK; i++) {
        st = open_point(s, p[i].id, &d, err);
        if (st != LMB_OK)
            break;
        st = time_between(s, &parent, &d, &now, &p[i], err);
        double slow = st == LMB_OK ? lmb_point_slowness(s->points, &p[i]) : 1;
        if (slow > 1)
            st = take_off(s, &d, &p[i], slow, err);
        lmb_deployed_free(&d);
    }
    lmb_deployed_free(&parent);
    return st;
}

static bool times_count(const lmbi_search *s, const lmb_point *p)
{
    return p->goal == LMB_GOAL_LATENCY || s->budget.limit[LMB_GOAL_LATENCY] > 0;
}

static lmb_status measure(lmbi_search *s, const lmbi_outcome *o, lmb_point *p, int n, lmb_error *err)
{
    for (int i = 0; i < n; i++)
        LMB_TRY(weigh(s, &o[i], &p[i], err));
    if (p->parent >= 0 && times_count(s, p) && !of_its_parents_shape(p) && !lmb_latency_frozen(s->latency))
        LMB_TRY(beside_parent(s, p, n, err));
    for (int i = 0; i < n; i++)
        p[i].cost[LMB_GOAL_LATENCY] = p[i].timing.p50;
    return LMB_OK;
}

/* ---- decisions ---- */

/* The last training has made nothing better: what it started from will do, and is at least as accurate. */
static bool in_vain(const lmbi_search *s, const lmb_point *p)
{
    return p->kind == LMB_POINT_FINISHED && p->before.won <= p->before.lost &&
           lmbi_search_loses_little(s, &s->points->point[p->parent], 0);
}

/* See penalty.h. What the last training leaves has one shape, whose times differ by chance alone. */
static double penalised(const lmbi_search *s, const lmb_point *p)
{
    bool counts = p->kind == LMB_POINT_STEP && p->goal != LMB_GOAL_ACCURACY && s->budget.drop >= 0;
    double saved = counts ? log2(p->cost[p->goal]) : 0;

    return saved + lmb_penalty_loss(&p->penalty, &s->budget, p->cost, 1 - lmb_point_accuracy(p), p->limit);
}

static bool could_do(const lmbi_search *s, const lmb_point *p, double slack)
{
    return p->kind == LMB_POINT_TEACHER ||
           (lmbi_search_loses_little(s, p, slack) && !lmb_point_saves_nothing(s->points, p));
}

/* Of a round's points that pass the one of the least penalised loss is accepted; of equal ones the first. */
static void decide(const lmbi_search *s, lmb_point *p, int n, double slack)
{
    int best = -1;

    for (int i = 0; i < n; i++)
        if (could_do(s, &p[i], slack) && !in_vain(s, &p[i]) &&
            (best < 0 || penalised(s, &p[i]) < penalised(s, &p[best])))
            best = i;
    for (int i = 0; i < n; i++) {
        p[i].accepted = i == best;
        p[i].beaten = i != best && could_do(s, &p[i], slack);
    }
}

lmb_status lmbi_search_settle(lmbi_search *s, lmb_point *p, const lmbi_outcome *o, int n, double slack, lmb_error *err)
{
    lmb_status st = measure(s, o, p, n, err);

    if (st != LMB_OK) {
        for (int i = 0; i < n; i++)
            free(p[i].move);
        return st;
    }
    decide(s, p, n, slack);
    LMB_TRY(lmb_points_add(s->journal, s->points, p, n, err));
    for (int i = 0; i < n; i++)
        lmbi_search_tell(s, s->points->n - n + i);
    return LMB_OK;
}
