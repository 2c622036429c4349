/* distill/search/moves.c - see moves.h. */
#include "distill/search/moves.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/op.h"
#include "distill/prune/channels.h"
#include "distill/search/deployed.h"
#include "distill/search/move_bits.h"
#include "distill/search/move_blocks.h"

enum { SIZES = 3 };                                  /* of a class or rank that are tried at a time */
static const double rank_shares[] = { 0.75, 0.5, 0.25 };

void lmb_moves_free(lmb_moves *m)
{
    for (int i = 0; i < m->n_bases; i++)
        lmb_basis_destroy(m->basis[i]);
    free(m->basis);
    lmb_blocks_free(m->block, m->n_blocks);
    free(m->move);
    free(m->score);
    lmb_axis_map_destroy(m->map);
    memset(m, 0, sizeof *m);
}

lmb_status lmbi_moves_costs(const lmb_moves *m, const lmb_graph *g, lmb_latency *latency, double cost[LMB_COSTS],
                            lmb_error *err)
{
    lmb_deployed d;
    LMB_TRY(lmb_deployed_sketch(g, m->qat, &d, err));
    lmb_status st = lmb_deployed_costs(&d, latency, cost, err);
    lmb_deployed_free(&d);
    return st;
}

/* ---- applying ---- */

typedef struct worth { double score; int32_t channel; } worth;

static int least_first(const void *a, const void *b)
{
    const worth *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? -1 : 1) : x->channel < y->channel ? -1 : 1;
}

/* The channels of a class, those of least worth first. */
static lmb_status order_class(const lmb_moves *m, const lmb_axis_class *class, worth **out, lmb_error *err)
{
    worth *order = malloc(sizeof *order * ((size_t)class->channels + 1));

    if (!order)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to order %d channels", (int)class->channels);
    for (int32_t i = 0; i < class->channels; i++)
        order[i] = (worth){ m->score[class->first + i], class->first + i };
    qsort(order, (size_t)class->channels, sizeof *order, least_first);
    *out = order;
    return LMB_OK;
}

static lmb_status shrink(const lmb_moves *m, const int *which, int n, lmb_graph **out, lmb_error *err)
{
    bool *keep = malloc(sizeof *keep * ((size_t)m->map->n_channels + 1));
    lmb_status st = keep ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to shrink a model");

    for (int32_t c = 0; st == LMB_OK && c < m->map->n_channels; c++)
        keep[c] = true;
    for (int i = 0; i < n && st == LMB_OK; i++) {
        const lmb_move *move = &m->move[which[i]];
        worth *order = NULL;
        if (move->kind != LMB_MOVE_SHRINK)
            continue;
        st = order_class(m, &m->map->class[move->class], &order, err);
        if (st == LMB_OK) {
            for (int64_t k = 0; k < move->from - move->to; k++)
                keep[order[k].channel] = false;
            free(order);
        }
    }
    if (st == LMB_OK)
        st = lmb_pass_shrink(m->g, m->map, keep, out, NULL, err);
    free(keep);
    return st;
}

lmb_status lmb_moves_apply(const lmb_moves *m, const int *which, int n, lmb_graph **out, lmb_error *err)
{
    lmb_lowrank *factor = malloc(sizeof *factor * ((size_t)n + 1));
    lmb_graph *small = NULL;
    int k = 0;

    if (!factor)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d moves", n);
    for (int i = 0; i < n; i++) {
        const lmb_move *x = &m->move[which[i]];
        if (x->kind == LMB_MOVE_FACTOR) /* its layer keeps its shape: no move of this batch shrinks a class of it */
            factor[k++] = (lmb_lowrank){ x->what, x->to, x->rank_in, m->basis[x->basis] };
    }
    lmb_status st = shrink(m, which, n, &small, err);
    if (st == LMB_OK && k > 0) {
        st = lmb_pass_lowrank(small, factor, k, out, err);
        lmb_graph_destroy(small);
    } else if (st == LMB_OK) {
        *out = small;
    }
    free(factor);
    for (int i = 0; i < n && st == LMB_OK; i++)
        if (m->move[which[i]].kind == LMB_MOVE_BITS)
            lmbi_bits_apply(*out, &m->move[which[i]]);
    if (st == LMB_OK && (st = lmbi_blocks_apply(m, which, n, out, err)) != LMB_OK) {
        lmb_graph_destroy(*out);
        *out = NULL;
    }
    return st;
}

/* ---- finding ---- */

lmb_status lmbi_moves_add(lmb_moves *m, const lmb_move *move, lmb_latency *latency, lmb_error *err)
{
    double cost[LMB_COSTS];
    lmb_graph *after = NULL;
    lmb_error unknown = LMB_ERROR_INIT;

    if (m->n == m->room) {
        int room = 2 * m->room + 64;
        lmb_move *more = realloc(m->move, sizeof *more * (size_t)room);
        if (!more)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d moves", room);
        m->move = more;
        m->room = room;
    }
    m->move[m->n] = *move;
    LMB_TRY(lmb_moves_apply(m, &m->n, 1, &after, err));
    lmb_status st = lmbi_moves_costs(m, after, latency, cost, &unknown);
    lmb_graph_destroy(after);
    if (st == LMB_E_UNSUPPORTED)
        return LMB_OK;
    if (st != LMB_OK)
        return LMB_FAIL(err, st, "%s", unknown.msg);
    bool any = false;
    for (int i = 0; i < LMB_COSTS; i++) {
        m->move[m->n].gain[i] = m->cost[i] - cost[i];
        any |= m->move[m->n].gain[i] > 0;
    }
    m->n += any;
    return LMB_OK;
}

/* The next sizes below n that suit the kernels: multiples of the tile, of two tiles, of four. */
static int smaller(int64_t n, int64_t tile, int64_t least, int64_t to[SIZES])
{
    int k = 0;

    for (int64_t step = tile; k < SIZES && step <= 4 * tile; step *= 2) {
        int64_t size = (n - 1) / step * step;
        if (size >= least && size > 0 && (k == 0 || size < to[k - 1]))
            to[k++] = size;
    }
    return k;
}

static lmb_status find_shrinks(lmb_moves *m, const lmb_moves_config *c, lmb_latency *latency, lmb_error *err)
{
    for (int k = 0; k < m->map->n_classes; k++) {
        const lmb_axis_class *class = &m->map->class[k];
        int64_t to[SIZES];
        worth *order = NULL;
        if (!class->prunable || class->label == LMB_NONE)
            continue;
        LMB_TRY(order_class(m, class, &order, err));
        int n = smaller(class->channels, c->tile, c->min_channels, to);
        lmb_status st = LMB_OK;
        for (int i = 0; i < n && st == LMB_OK; i++) {
            lmb_move move = { .kind = LMB_MOVE_SHRINK, .from = class->channels, .to = to[i], .class = k, .basis = -1 };
            snprintf(move.what, sizeof move.what, "%.150s", m->g->value[class->label].name);
            for (int64_t j = 0; j < move.from - move.to; j++) /* the fewer are left, the more each is worth */
                move.loss += order[j].score * (double)move.from / (double)(move.from - j);
            move.loss += 1e-12;
            st = lmbi_moves_add(m, &move, latency, err);
        }
        free(order);
        LMB_TRY(st);
    }
    return LMB_OK;
}

static int64_t rank_at(int64_t full, double share, int64_t tile)
{
    int64_t r = (int64_t)ceil(share * (double)full / (double)tile) * tile;
    return r < full ? r : full;
}

static lmb_status find_ranks(lmb_moves *m, const lmb_moves_config *c, const lmb_node *node, int basis,
                             const lmb_taylor *taylor, lmb_latency *latency, lmb_error *err)
{
    const lmb_basis *b = m->basis[basis];
    const lmb_value *w = &m->g->value[node->in[1]];
    int64_t last = 0;
    float *cut = malloc(sizeof *cut * (size_t)(b->out * b->in * b->taps + 1));
    lmb_status st = cut ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to factorise %s", w->name);

    for (int i = 0; i < SIZES && st == LMB_OK; i++) {
        int64_t out = rank_at(b->taps > 1 ? b->out : b->rank, rank_shares[i], c->tile);
        int64_t in = b->taps > 1 ? rank_at(b->in, rank_shares[i], c->tile) : out;
        lmb_move move = {
            .kind = LMB_MOVE_FACTOR, .from = b->out, .to = out, .rank_in = in, .class = -1, .basis = basis
        };
        if (out < c->min_channels || in < c->min_channels || out == last ||
            (b->taps > 1 && (out > b->in * b->taps || in > b->out * b->taps)))
            continue;
        last = out;
        snprintf(move.what, sizeof move.what, "%.150s", w->name);
        st = lmb_basis_weights(b, out, in, cut, err);
        if (st != LMB_OK)
            break;
        move.loss = lmb_taylor_weights(taylor, m->g, node->in[1], cut) + 1e-12;
        st = lmbi_moves_add(m, &move, latency, err);
    }
    free(cut);
    return st;
}

static lmb_status find_factors(lmb_moves *m, const lmb_moves_config *c, const lmb_taylor *taylor, lmb_latency *latency,
                               lmb_error *err)
{
    m->basis = calloc((size_t)m->g->n_nodes + 1, sizeof *m->basis);
    if (!m->basis)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to factorise layers");
    for (int i = 0; i < m->g->n_nodes; i++) {
        const lmb_node *n = &m->g->node[i];
        if (!lmb_lowrank_fits(m->g, n))
            continue;
        LMB_TRY(lmb_basis_create(m->g, n, &m->basis[m->n_bases], err));
        m->n_bases++;
        LMB_TRY(find_ranks(m, c, n, m->n_bases - 1, taylor, latency, err));
    }
    return LMB_OK;
}

lmb_status lmb_moves_find(const lmb_graph *g, const lmb_moves_config *c, const lmb_taylor *taylor, lmb_latency *latency,
                          lmb_moves *out, lmb_error *err)
{
    lmb_moves m = { .g = g, .qat = c->qat };
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmbi_moves_costs(&m, g, latency, m.cost, err));
    LMB_TRY_GOTO(st, done, lmb_axis_map_create(g, &m.map, err));
    m.score = malloc(sizeof *m.score * ((size_t)m.map->n_channels + 1));
    if (!m.score) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to score %d channels", (int)m.map->n_channels);
        goto done;
    }
    LMB_TRY_GOTO(st, done, lmb_taylor_channels(taylor, g, m.map, m.score, err));
    if (c->use[LMB_MOVE_SHRINK])
        LMB_TRY_GOTO(st, done, find_shrinks(&m, c, latency, err));
    if (c->use[LMB_MOVE_FACTOR])
        LMB_TRY_GOTO(st, done, find_factors(&m, c, taylor, latency, err));
    if (c->use[LMB_MOVE_BITS] && c->bits_min && c->bits_min < LMB_BITS_MAX)
        LMB_TRY_GOTO(st, done, lmbi_bits_find(&m, (int)c->bits_min, taylor, latency, err));
    if (c->use[LMB_MOVE_BLOCK])
        LMB_TRY_GOTO(st, done, lmbi_blocks_find(&m, taylor, latency, err));
    *out = m;
    return LMB_OK;
done:
    lmb_moves_free(&m);
    return st;
}
