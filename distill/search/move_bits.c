/* distill/search/move_bits.c - see move_bits.h. */
#include "distill/search/move_bits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/op.h"

static const int ladder[] = { 6, 4, 3, 2 };
enum { RUNGS = 2 }; /* of the ladder that are tried at a time */

void lmbi_bits_apply(lmb_graph *g, const lmb_move *move)
{
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role == LMB_ROLE_PARAMETER && strcmp(g->value[v].name, move->what) == 0)
            g->value[v].bits = (int)move->to;
}

/* The weights as so many bits have them: one scale a row, as WeightScale. */
static void rounded(const float *w, int64_t rows, int64_t each, int top, float *out)
{
    for (int64_t r = 0; r < rows; r++) {
        float most = 0;
        for (int64_t i = r * each; i < (r + 1) * each; i++)
            most = fmaxf(most, fabsf(w[i]));
        float s = most > 1e-12f ? most / (float)top : 1.0f;
        for (int64_t i = r * each; i < (r + 1) * each; i++)
            out[i] = rintf(w[i] / s) * s;
    }
}

static lmb_status find_layer(lmb_moves *m, const lmb_node *n, int bits_min, const lmb_taylor *taylor,
                             lmb_latency *latency, float *cut, lmb_error *err)
{
    const lmb_value *w = &m->g->value[n->in[1]];
    int64_t rows = w->shape.d[0], each = lmb_shape_count(&w->shape) / (rows ? rows : 1);
    int now = w->bits ? w->bits : LMB_BITS_MAX, tried = 0;

    for (size_t k = 0; k < sizeof ladder / sizeof *ladder && tried < RUNGS; k++) {
        if (ladder[k] >= now || ladder[k] < bits_min)
            continue;
        tried++;
        lmb_move move = { .kind = LMB_MOVE_BITS, .from = now, .to = ladder[k], .class = -1, .basis = -1 };
        snprintf(move.what, sizeof move.what, "%.150s", w->name);
        rounded(w->data, rows, each, lmb_bits_top(ladder[k]), cut);
        move.loss = lmb_taylor_weights(taylor, m->g, n->in[1], cut) + 1e-12;
        LMB_TRY(lmbi_moves_add(m, &move, latency, err));
    }
    return LMB_OK;
}

lmb_status lmbi_bits_find(lmb_moves *m, int bits_min, const lmb_taylor *taylor, lmb_latency *latency, lmb_error *err)
{
    for (int i = 0; i < m->g->n_nodes; i++) {
        const lmb_node *n = &m->g->node[i];
        if (strcmp(n->op->name, "Conv") && strcmp(n->op->name, "Gemm"))
            continue;
        const lmb_value *w = &m->g->value[n->in[1]];
        if (w->role != LMB_ROLE_PARAMETER || !w->data || w->dtype != LMB_F32 ||
            strlen(w->name) > 150) /* a longer name is no key */
            continue;
        float *cut = malloc(sizeof *cut * (size_t)(lmb_shape_count(&w->shape) + 1));
        lmb_status st = cut ? find_layer(m, n, bits_min, taylor, latency, cut, err)
                            : LMB_FAIL(err, LMB_E_NOMEM, "no memory to round %s", w->name);
        free(cut);
        LMB_TRY(st);
    }
    return LMB_OK;
}
