/* distill/search/step.c - a step: moves of the model where the search stands, candidates made of them, their round. See
 * search.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/search/internal.h"

enum { ROWS = 64 }; /* of a batch that gradients are taken from */

/* Moves that were part of rejected steps count double for each. */
static void learn(const lmbi_search *s, const lmb_moves *m, double *weight)
{
    for (int i = 0; i < m->n; i++) {
        weight[i] = 1;
        for (int k = 0; k < s->points->n; k++) {
            const lmb_point *p = &s->points->point[k];
            for (int j = 0; p->kind == LMB_POINT_STEP && !p->accepted && !p->beaten && j < p->n_moves; j++)
                weight[i] *= strcmp(p->move[j].what, m->move[i].what) == 0 ? 2 : 1;
        }
    }
}

/* A step's candidates as they come to be. */
typedef struct lineup {
    const lmb_moves *m;
    double *learnt, *weight; /* [m->n] of each move: what rejections have taught; and of the next candidate */
    int *which;              /* [m->n] */
    int n;                   /* candidates */
    lmb_point point[LMB_SEARCH_CANDIDATES];
} lineup;

static bool same_moves(const lmb_point *a, const lmb_point *b)
{
    bool same = a->n_moves == b->n_moves;
    for (int i = 0; same && i < a->n_moves; i++)
        same = a->move[i].kind == b->move[i].kind && a->move[i].to == b->move[i].to &&
               strcmp(a->move[i].what, b->move[i].what) == 0;
    return same;
}

/* One more candidate by the weights, if there is one that pays and that is another than those before. */
static lmb_status add_candidate(lmbi_search *s, lineup *r, const lmb_point *like, bool *added, lmb_error *err)
{
    lmb_point *p = &r->point[r->n];
    lmb_graph *after = NULL;
    double exchange[LMB_COSTS];
    int n = 0;

    *added = false;
    *p = *like;
    p->id += r->n;
    lmb_penalty_exchange(&p->penalty, p->goal, exchange);
    LMB_TRY(lmb_moves_choose(r->m, p->goal, p->step, r->weight, exchange, s->latency, r->which, &n, p->predicted,
                             &after, err));
    if (n == 0 || p->predicted[p->goal] > (1 - s->r->c->gain_min) * r->m->cost[p->goal]) {
        lmb_graph_destroy(after);
        return LMB_OK;
    }
    p->move = calloc((size_t)n, sizeof *p->move);
    lmb_status st = p->move ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d moves", n);
    for (int i = 0; st == LMB_OK && i < n; i++)
        p->move[p->n_moves++] = r->m->move[r->which[i]];
    *added = st == LMB_OK;
    for (int k = 0; k < r->n; k++)
        *added = *added && !same_moves(p, &r->point[k]);
    if (*added)
        st = lmbi_search_write(s, p->id, after, err);
    if (*added && st == LMB_OK)
        r->n++;
    else
        free(p->move);
    lmb_graph_destroy(after);
    return st;
}

/* Each technique alone makes one: what a move costs before training says little of how much training gives back, and
 * that differs more between techniques than between layers. */
static lmb_status add_alone(lmbi_search *s, lineup *r, const lmb_point *like, lmb_error *err)
{
    bool added;

    for (int kind = 0; kind < LMB_MOVE_KINDS && r->n < s->r->c->candidates; kind++) {
        for (int i = 0; i < r->m->n; i++)
            r->weight[i] = (int)r->m->move[i].kind == kind ? r->learnt[i] : INFINITY;
        LMB_TRY(add_candidate(s, r, like, &added, err));
    }
    return LMB_OK;
}

/* The best of all moves; each technique alone; and variants: what a candidate is made of counts four times for the
 * next. */
static lmb_status add_all(lmbi_search *s, lineup *r, const lmb_point *like, lmb_error *err)
{
    bool more = true;

    memcpy(r->weight, r->learnt, sizeof *r->weight * (size_t)r->m->n);
    LMB_TRY(add_candidate(s, r, like, &more, err));
    if (more)
        LMB_TRY(add_alone(s, r, like, err));
    while (more && r->n < s->r->c->candidates) {
        memcpy(r->weight, r->learnt, sizeof *r->weight * (size_t)r->m->n);
        for (int k = 0; k < r->n; k++)
            for (int j = 0; j < r->point[k].n_moves; j++)
                for (int i = 0; i < r->m->n; i++)
                    r->weight[i] *= strcmp(r->m->move[i].what, r->point[k].move[j].what) == 0 ? 4 : 1;
        LMB_TRY(add_candidate(s, r, like, &more, err));
    }
    return LMB_OK;
}

/* Candidates of a step from `model`, their models in their files; none: nothing pays. */
static lmb_status choose(lmbi_search *s, const lmb_graph *model, const lmb_point *like, lineup *r, lmb_error *err)
{
    const lmb_search_config *c = s->r->c;
    lmb_taylor_config tc = { c->batches, ROWS, (uint64_t)(c->seed + like->id), c->tune.backend };
    lmb_moves_config mc = { c->tile, c->min_channels, { false }, c->bits_min, &s->qat };
    lmb_taylor *taylor = NULL;
    lmb_moves m = { 0 };
    lmb_status st;

    LMB_TRY(lmb_search_moves(c, mc.use, err));
    if (tc.batches * ROWS > s->r->train->n)
        tc.batches = s->r->train->n / ROWS;
    LMB_TRY_GOTO(st, done, lmb_taylor_create(model, s->r->train, &tc, &taylor, err));
    LMB_TRY_GOTO(st, done, lmb_moves_find(model, &mc, taylor, s->latency, &m, err));
    if (c->probe > 0)
        LMB_TRY_GOTO(st, done, lmbi_round_try(s, like->parent, like->id, &m, err));
    r->m = &m;
    r->which = malloc(sizeof *r->which * ((size_t)m.n + 1));
    r->learnt = malloc(sizeof *r->learnt * ((size_t)m.n + 1));
    r->weight = malloc(sizeof *r->weight * ((size_t)m.n + 1));
    if (!r->which || !r->learnt || !r->weight) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose of %d moves", m.n);
        goto done;
    }
    learn(s, &m, r->learnt);
    st = add_all(s, r, like, err);
done:
    lmb_moves_free(&m);
    lmb_taylor_destroy(taylor);
    free(r->which);
    free(r->learnt);
    free(r->weight);
    return st;
}

/* The multipliers of the next round: those of the last, moved by where the search stands now, and by what the last
 * round has lost at least. */
static lmb_penalty next_penalty(const lmbi_search *s, int from)
{
    const lmb_points *all = s->points;
    int end = all->n - 1;
    while (end > 0 && all->point[end].kind == LMB_POINT_FINISHED) /* the search has ended once, and goes on */
        end--;
    const lmb_point *last = &all->point[end], *best = last;
    lmb_penalty p = last->penalty;

    for (int i = end; i >= 0 && all->point[i].round == last->round; i--) {
        const lmb_point *x = &all->point[i];
        if (x->accepted || (!best->accepted && x->limit < best->limit))
            best = x;
    }
    lmb_penalty_update(&p, &s->budget, s->r->c->penalty, all->point[from].cost, best->limit);
    return p;
}

lmb_status lmbi_search_as_it_is(lmbi_search *s, lmb_error *err)
{
    lmb_point p = { .id = s->points->n,
                    .parent = 0,
                    .round = lmbi_search_next_round(s),
                    .kind = LMB_POINT_STEP,
                    .goal = s->points->point[0].goal,
                    .penalty = s->points->point[0].penalty };
    lmbi_outcome o;

    memcpy(p.predicted, s->points->point[0].predicted, sizeof p.predicted);
    LMB_TRY(lmb_latency_ready(s->latency, err));
    LMB_TRY(lmbi_search_write(s, p.id, s->start, err));
    LMB_TRY(lmbi_round_run(s, p.id, 1, &o, err));
    return lmbi_search_settle(s, &p, &o, 1, s->slack, err);
}

lmb_status lmbi_search_step(lmbi_search *s, int from, lmb_goal goal, double share, bool *paid, lmb_error *err)
{
    lmb_point like = { .id = s->points->n,
                       .parent = from,
                       .round = lmbi_search_next_round(s),
                       .kind = LMB_POINT_STEP,
                       .goal = goal,
                       .step = share,
                       .penalty = next_penalty(s, from) };
    lmbi_outcome outcome[LMB_SEARCH_CANDIDATES];
    lineup *r = calloc(1, sizeof *r);
    lmb_graph *model = NULL;

    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a step");
    lmb_status st = lmbi_search_read(s, from, &model, err);
    if (st == LMB_OK)
        st = choose(s, model, &like, r, err);
    *paid = r->n > 0;
    if (st == LMB_OK && r->n > 0)
        st = lmb_latency_ready(s->latency, err); /* nothing is trained that nobody could measure */
    if (st == LMB_OK && r->n > 0)
        st = lmbi_round_run(s, like.id, r->n, outcome, err);
    if (st == LMB_OK && r->n > 0)
        st = lmbi_search_settle(s, r->point, outcome, r->n, s->slack, err);
    else
        for (int i = 0; i < r->n; i++)
            free(r->point[i].move);
    lmb_graph_destroy(model);
    free(r);
    return st;
}
