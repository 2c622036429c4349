/* distill/search/answer.c - which point is the answer, and how things are said. See search.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "distill/search/internal.h"

lmb_status lmbi_search_why(lmbi_search *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->why, sizeof(((lmb_search_result *)0)->why), fmt, ap);
    va_end(ap);
    return LMB_OK;
}

static const char *const units[LMB_COSTS] = { "us", "bytes", "MACs" };

static const char *beaten_by(const lmb_point *p)
{
    return p->kind == LMB_POINT_FINISHED ? "no better for its training" : "beaten by another of its step";
}

void lmbi_search_tell(const lmbi_search *s, int point)
{
    const lmb_point *p = &s->points->point[point];
    char why[640];

    if (!s->r->watch.point)
        return;
    if (p->kind == LMB_POINT_TEACHER)
        snprintf(why, sizeof why, "the teacher as integers");
    else if (lmb_point_saves_nothing(s->points, p))
        snprintf(why, sizeof why, "rejected: it takes %.6g %s, and point %d, which it was made of, %.6g",
                 p->cost[p->goal], units[p->goal], p->parent, lmb_point_from(s->points, p));
    else if (s->budget.drop < 0)
        snprintf(why, sizeof why, "%s: accuracy has no limit",
                 p->accepted ? "accepted" : beaten_by(p));
    else
        snprintf(
            why, sizeof why,
            "%s: of %lld held-out samples %lld are lost and %lld won, so at most %.2f points (%g %% confidence) where %.2f may be",
            p->accepted ? "accepted"
            : p->beaten ? beaten_by(p)
                        : "rejected",
            (long long)p->pair.n, (long long)p->pair.lost, (long long)p->pair.won, 100 * p->limit,
            100 * s->r->c->confidence, 100 * (s->budget.drop + (p->kind == LMB_POINT_STEP ? s->slack : 0)));
    size_t n = strlen(why);
    if (p->before.n)
        n += (size_t)snprintf(why + n, sizeof why - n,
                              "; beside point %d, which it was trained on from, %lld won and %lld lost", p->parent,
                              (long long)p->before.won, (long long)p->before.lost);
    if (p->proof.n && n < sizeof why)
        snprintf(why + n, sizeof why - n,
                 "; the last training with the teacher wins %lld and loses %lld beside the same without: %s",
                 (long long)p->proof.won, (long long)p->proof.lost,
                 p->proof.won > p->proof.lost ? "the teacher's is kept" : "the teacher's is rejected");
    if (lmb_point_slowness(s->points, p) > 1 && (n = strlen(why)) < sizeof why)
        snprintf(why + n, sizeof why - n, "; point %d took %.2f times as long beside it as before, which is taken off",
                 p->parent, lmb_point_slowness(s->points, p));
    if (p->diverged && (n = strlen(why)) < sizeof why)
        snprintf(why + n, sizeof why - n, "; its training diverged and was taken back: a smaller learning rate, warm-up "
                                          "or clip may help");
    s->r->watch.point(s->r->watch.ctx, s->points, point, why);
}

/* How far a point is outside the limits: 0 inside, 1 for twice what is allowed. */
static double outside(const lmb_budget *b, const lmb_point *p)
{
    double most = 0;

    for (int i = 0; i < LMB_COSTS; i++)
        if (b->limit[i] > 0)
            most = fmax(most, p->cost[i] / b->limit[i] - 1);
    return b->drop < 0 ? most : fmax(most, (p->limit - b->drop) / fmax(b->drop, 0.001));
}

/* Of two points within the limits: is `a` the better answer? */
static bool better(const lmb_budget *b, const lmb_point *a, const lmb_point *than)
{
    if (b->objective == LMB_GOAL_ACCURACY)
        return a->right != than->right ? a->right > than->right
                                       : a->cost[LMB_GOAL_LATENCY] < than->cost[LMB_GOAL_LATENCY];
    double x = a->cost[b->objective], y = than->cost[b->objective];
    return x != y ? x < y : a->right > than->right;
}

/* Point i and its finished form, or the point that it is the finished form of, cost the same, however their measured
 * times may differ: of two within the limits the more accurate is meant; of equals the one that was not trained. */
static bool outdone(const lmb_budget *b, const lmb_points *p, int i)
{
    const lmb_point *x = &p->point[i];

    for (int k = 0; k < p->n; k++) {
        const lmb_point *y = &p->point[k];
        if (outside(b, y) > 0)
            continue;
        if (y->kind == LMB_POINT_FINISHED && y->parent == i && y->right > x->right)
            return true;
        if (x->kind == LMB_POINT_FINISHED && x->parent == k && y->right >= x->right)
            return true;
    }
    return false;
}

static void missed(const lmb_budget *b, const lmb_point *p, char *why, size_t cap)
{
    size_t n = strlen(why);

    n += (size_t)snprintf(why + n, cap - n, "; nothing is within all limits. Point %d is nearest", p->id);
    for (int i = 0; i < LMB_COSTS && n < cap; i++)
        if (b->limit[i] > 0 && p->cost[i] > b->limit[i])
            n += (size_t)snprintf(why + n, cap - n, ", with %.6g %s where %.6g are allowed", p->cost[i], units[i],
                                  b->limit[i]);
    if (b->drop >= 0 && p->limit > b->drop && n < cap)
        snprintf(why + n, cap - n, ", with a loss of up to %.2f points where %.2f are allowed", 100 * p->limit,
                 100 * b->drop);
}

void lmbi_search_answer(const lmbi_search *s, lmb_search_result *r)
{
    const lmb_budget *b = &s->budget;

    r->best = -1;
    for (int i = 0; i < r->points.n; i++) {
        const lmb_point *p = &r->points.point[i], *best = r->best < 0 ? NULL : &r->points.point[r->best];
        double a = outside(b, p), c = best ? outside(b, best) : 0;
        if (outdone(b, &r->points, i))
            continue;
        if (!best || (a <= 0 && c <= 0 ? better(b, p, best) : a < c))
            r->best = i;
    }
    r->met = outside(b, &r->points.point[r->best]) <= 0;
    if (!r->met)
        missed(b, &r->points.point[r->best], r->why, sizeof r->why);
}
