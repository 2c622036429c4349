/* distill/search/choose.c - a batch of moves that takes a share of the cost away: see moves.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/search/move_blocks.h"
#include "distill/search/moves.h"

/* Does the class run through the weights of a layer? */
static bool class_has(const lmb_moves *m, int class, const char *weight)
{
    const lmb_axis_class *c = &m->map->class[class];
    for (int i = 0; i < c->n_members; i++)
        if (strcmp(m->g->value[c->member[i].value].name, weight) == 0)
            return true;
    return false;
}

/* Two moves that can not be made at once: of one class, of one layer, of a layer and a class that runs through it, or of
 * a block and what is in it. Fewer bits and fewer channels of a layer go together. */
static bool clash(const lmb_moves *m, const lmb_move *a, const lmb_move *b)
{
    if (a->kind == LMB_MOVE_BLOCK || b->kind == LMB_MOVE_BLOCK) /* of two blocks either may be in the other */
        return (a->kind == LMB_MOVE_BLOCK && lmbi_blocks_clash(m, a, b)) ||
               (b->kind == LMB_MOVE_BLOCK && lmbi_blocks_clash(m, b, a));
    if (a->kind == LMB_MOVE_BITS || b->kind == LMB_MOVE_BITS)
        return a->kind != LMB_MOVE_SHRINK && b->kind != LMB_MOVE_SHRINK && strcmp(a->what, b->what) == 0;
    if (a->kind == b->kind)
        return a->kind == LMB_MOVE_SHRINK ? a->class == b->class : a->basis == b->basis;
    return a->kind == LMB_MOVE_SHRINK ? class_has(m, a->class, b->what) : class_has(m, b->class, a->what);
}

static bool fits(const lmb_moves *m, const int *which, int n, int move)
{
    for (int i = 0; i < n; i++)
        if (clash(m, &m->move[which[i]], &m->move[move]))
            return false;
    return true;
}

/* A batch as it fills. */
typedef struct batch {
    const lmb_moves *m;
    lmb_goal goal;
    const double *weight, *exchange; /* see moves.h */
    double wanted;                   /* the cost it is to come down to */
    bool *gone;                      /* [m->n] is in it, or was tried */
    int *which, n;
    double *cost; /* [LMB_COSTS] of the model with it */
    lmb_graph **out;
} batch;

/* What a move gains, in units of the goal; beyond what is still wanted a gain is worth nothing, or the last move of a
 * batch would be a large one. <= 0: it makes other things dearer than that is worth. */
static double gain_of(const batch *b, const lmb_move *move)
{
    const double *now = b->m->cost;
    double gain = fmin(move->gain[b->goal], b->cost[b->goal] - b->wanted);

    for (int i = 0; b->exchange && i < LMB_COSTS; i++)
        if (b->exchange[i] > 0 && now[i] > 0)
            gain += b->exchange[i] * move->gain[i] * (now[b->goal] / now[i]);
    return gain;
}

/* The move of least loss for what it gains, of those that gain no more than `most` each. -1: none is left. */
static int next_move(const batch *b, double most)
{
    double least = INFINITY;
    int best = -1;

    for (int i = 0; i < b->m->n; i++) {
        const lmb_move *x = &b->m->move[i];
        if (b->gone[i] || x->gain[b->goal] <= 0 || x->gain[b->goal] > most || (b->weight && isinf(b->weight[i])))
            continue;
        double gain = gain_of(b, x), loss = x->loss * (b->weight ? b->weight[i] : 1);
        double ratio = gain > 0 ? loss / gain : INFINITY;
        if (best < 0 || ratio < least) {
            least = ratio;
            best = i;
        }
    }
    return best;
}

/* Fill the batch in the order of worth; a move that, beside the others, gains nothing is put back. */
static lmb_status fill(batch *b, double most, lmb_latency *latency, lmb_error *err)
{
    int move;

    while (b->cost[b->goal] > b->wanted && (move = next_move(b, most)) >= 0) {
        double after[LMB_COSTS];
        lmb_graph *g = NULL;
        lmb_error unknown = LMB_ERROR_INIT;
        b->gone[move] = true;
        if (!fits(b->m, b->which, b->n, move))
            continue;
        b->which[b->n] = move;
        LMB_TRY(lmb_moves_apply(b->m, b->which, b->n + 1, &g, err));
        lmb_status st = lmbi_moves_costs(b->m, g, latency, after, &unknown);
        if (st != LMB_OK || after[b->goal] >= b->cost[b->goal]) {
            lmb_graph_destroy(g);
            if (st != LMB_OK && st != LMB_E_UNSUPPORTED)
                return LMB_FAIL(err, st, "%s", unknown.msg);
            continue;
        }
        b->n++;
        memcpy(b->cost, after, sizeof after);
        lmb_graph_destroy(*b->out);
        *b->out = g;
    }
    return LMB_OK;
}

lmb_status lmb_moves_choose(const lmb_moves *m, lmb_goal goal, double step, const double *weight,
                            const double *exchange, lmb_latency *latency, int *which, int *n, double cost[LMB_COSTS],
                            lmb_graph **out, lmb_error *err)
{
    const double all = m->cost[goal];
    batch b = { m, goal, weight, exchange, (1 - step) * all, calloc((size_t)m->n + 1, sizeof *b.gone), which, 0, cost,
                out };

    *n = 0;
    *out = NULL;
    if (!b.gone)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose of %d moves", m->n);
    memcpy(cost, m->cost, sizeof m->cost);
    lmb_status st = fill(&b, step * all, latency, err);
    if (st == LMB_OK && cost[goal] > (1 - step / 2) * all) { /* there is not much in small moves: large ones, too */
        for (int i = 0; i < m->n; i++)
            b.gone[i] = false;
        for (int i = 0; i < b.n; i++)
            b.gone[which[i]] = true;
        st = fill(&b, all, latency, err);
    }
    if (st == LMB_OK) {
        *n = b.n;
    } else {
        lmb_graph_destroy(*out);
        *out = NULL;
    }
    free(b.gone);
    return st;
}
