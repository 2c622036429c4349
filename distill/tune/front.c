/* distill/tune/front.c - see front.h. */
#include "distill/tune/front.h"

#include <math.h>
#include <stdlib.h>

bool lmb_front_beats(const lmb_front_point *a, const lmb_front_point *b)
{
    return a->y[0] <= b->y[0] && a->y[1] <= b->y[1] && (a->y[0] < b->y[0] || a->y[1] < b->y[1]);
}

void lmb_front_rank(lmb_front_point *p, int n)
{
    int left = n;

    for (int i = 0; i < n; i++)
        p[i].rank = -1;
    for (int rank = 0; left > 0; rank++) {
        /* Those that nobody without an earlier rank beats; who gets this rank now still counts. */
        for (int i = 0; i < n; i++) {
            bool beaten = p[i].rank >= 0;
            for (int k = 0; k < n && !beaten; k++)
                beaten = (p[k].rank < 0 || p[k].rank == rank) && lmb_front_beats(&p[k], &p[i]);
            if (!beaten) {
                p[i].rank = rank;
                left--;
            }
        }
    }
}

typedef struct placed {
    const lmb_front_point *p;
    int i, by;
} placed;

static int by_cost(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    double u = x->p->y[x->by], v = y->p->y[y->by];
    if (x->p->rank != y->p->rank)
        return x->p->rank - y->p->rank;
    return u != v ? (u < v ? -1 : 1) : x->i - y->i;
}

lmb_status lmb_front_crowd(lmb_front_point *p, int n, lmb_error *err)
{
    placed *o = malloc(sizeof *o * (size_t)(n + 1));

    if (!o)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to order %d points", n);
    for (int i = 0; i < n; i++)
        p[i].crowding = 0;
    for (int by = 0; by < 2; by++) {
        for (int i = 0; i < n; i++)
            o[i] = (placed){ &p[i], i, by };
        qsort(o, (size_t)n, sizeof *o, by_cost);
        for (int from = 0, to; from < n; from = to) {
            for (to = from; to < n && o[to].p->rank == o[from].p->rank; to++)
                ;
            double extent = o[to - 1].p->y[by] - o[from].p->y[by];
            p[o[from].i].crowding = p[o[to - 1].i].crowding = INFINITY;
            for (int k = from + 1; k + 1 < to && extent > 0 && isfinite(extent); k++)
                p[o[k].i].crowding += (o[k + 1].p->y[by] - o[k - 1].p->y[by]) / extent;
        }
    }
    free(o);
    return LMB_OK;
}

static int by_worth(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->p->rank != y->p->rank)
        return x->p->rank - y->p->rank;
    return x->p->crowding != y->p->crowding ? (x->p->crowding > y->p->crowding ? -1 : 1) : x->i - y->i;
}

lmb_status lmb_front_order(const lmb_front_point *p, int n, int *order, lmb_error *err)
{
    placed *o = malloc(sizeof *o * (size_t)(n + 1));

    if (!o)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to order %d points", n);
    for (int i = 0; i < n; i++)
        o[i] = (placed){ &p[i], i, 0 };
    qsort(o, (size_t)n, sizeof *o, by_worth);
    for (int i = 0; i < n; i++)
        order[i] = o[i].i;
    free(o);
    return LMB_OK;
}
