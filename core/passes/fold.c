/* core/passes/fold.c - see fold.h. */
#include "core/passes/fold.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/state.h"
#include "core/ops/batch_norm.h"
#include "core/passes/rewrite.h"

int lmb_sole_reader(const lmb_graph *g, lmb_vid v)
{
    int reader = -1;
    for (int i = 0; i < g->n_outputs; i++)
        if (g->output[i].value == v)
            return -1;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->node[i].n_in; k++)
            if (g->node[i].in[k] == v) {
                if (reader >= 0 && reader != i)
                    return -1;
                reader = i;
            }
    return reader;
}

const lmb_node *lmb_norm_after(const lmb_graph *g, const lmb_node *conv)
{
    int i = strcmp(conv->op->name, "Conv") == 0 ? lmb_sole_reader(g, conv->out[0]) : -1;
    if (i < 0 || strcmp(g->node[i].op->name, "BatchNormalization") != 0 || g->node[i].n_out != 1)
        return NULL;
    const lmb_node *bn = &g->node[i];
    if (((const lmb_batch_norm_attr *)bn->attr)->training_mode || !g->value[conv->in[1]].data ||
        (conv->n_in > 2 && conv->in[2] != LMB_NONE && !g->value[conv->in[2]].data))
        return NULL;
    for (int k = 1; k < 5; k++)
        if (!g->value[bn->in[k]].data || lmb_sole_reader(g, bn->in[k]) != i)
            return NULL;
    return lmb_sole_reader(g, conv->in[1]) >= 0 ? bn : NULL;
}

static const float *content(const lmb_graph *g, lmb_vid v) { return g->value[v].data; }

static lmb_status emit_folded(lmb_rewrite *r, const lmb_node *conv, const lmb_node *bn, const lmb_vid *in, lmb_vid *out,
                              lmb_error *err)
{
    const lmb_graph *g = r->old;
    const lmb_value *w = &g->value[conv->in[1]];
    const lmb_batch_norm_attr *a = bn->attr;
    const float *scale = content(g, bn->in[1]), *bias = content(g, bn->in[2]), *mean = content(g, bn->in[3]),
                *var = content(g, bn->in[4]);
    const float *b = conv->n_in > 2 && conv->in[2] != LMB_NONE ? content(g, conv->in[2]) : NULL;
    int64_t k = w->shape.d[0], each = lmb_shape_count(&w->shape) / (k ? k : 1);
    float *fw = malloc(sizeof *fw * (size_t)(k * each + 1)), *fb = malloc(sizeof *fb * (size_t)(k + 1));
    char name[200];

    if (!fw || !fb) {
        free(fw);
        free(fb);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to fold %s", conv->name);
    }
    for (int64_t c = 0; c < k; c++) {
        double f = scale[c] / sqrt((double)var[c] + a->epsilon);
        for (int64_t i = 0; i < each; i++)
            fw[c * each + i] = (float)(((const float *)w->data)[c * each + i] * f);
        fb[c] = (float)(((b ? b[c] : 0) - mean[c]) * f + bias[c]);
    }
    snprintf(name, sizeof name, "%.180s.folded_bias", conv->name);
    lmb_vid operands[3] = { in[0], lmb_emit_value(&r->b, w->role, w->name, LMB_F32, w->shape, fw),
                            lmb_emit_value(&r->b, w->role, name, LMB_F32, LMB_SHAPE(k), fb) };
    free(fw);
    free(fb);
    LMB_TRY(lmb_builder_status(&r->b));
    r->b.g->value[operands[1]].bits = w->bits;
    r->b.g->value[operands[2]].decay = 0;
    for (int i = 1; i < 3; i++) /* what is not to be trained is not, as one with its normalisation */
        r->b.g->value[operands[i]].frozen = w->frozen && g->value[bn->in[1]].frozen;
    lmb_node like = *conv;
    like.n_in = 3;
    return lmb_graph_node_like(r->b.g, &like, operands, out, err);
}

/* Is this a BatchNormalization that the convolution before it takes in? */
static bool is_folded(const lmb_graph *g, const lmb_node *n)
{
    int before = strcmp(n->op->name, "BatchNormalization") == 0 ? g->value[n->in[0]].node : LMB_NONE;
    return before != LMB_NONE && lmb_norm_after(g, &g->node[before]) == n;
}

static lmb_status fold_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    const lmb_node *bn = lmb_norm_after(r->old, n);

    if (bn) {
        *done = true;
        return emit_folded(r, n, bn, in, out, err);
    }
    if (is_folded(r->old, n)) {
        out[0] = in[0];
        *done = true;
    }
    return LMB_OK;
}

/* Weights and statistics that are folded away, and the weights that are made anew, do not come along. */
static lmb_status fold_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    const lmb_graph *g = r->old;
    int i = lmb_sole_reader(g, v);

    (void)err;
    if (i < 0 || g->value[v].role == LMB_ROLE_INPUT)
        return LMB_OK;
    const lmb_node *n = &g->node[i];
    if (n->in[0] != v && (lmb_norm_after(g, n) || is_folded(g, n))) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_fold(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = fold_node, .value = fold_value };
    return lmb_rewrite_run(&r, g, out, NULL, err);
}

/* ---- a factor before a convolution ---- */

/* One number for each channel of [N, C, H, W], or one for all: the constant's content, else NULL. */
static const float *factor(const lmb_graph *g, lmb_vid v, int64_t channels, int64_t *n)
{
    const lmb_value *x = v == LMB_NONE ? NULL : &g->value[v];
    if (!x || x->role != LMB_ROLE_CONSTANT || x->dtype != LMB_F32 || !x->data || x->shape.n > 4)
        return NULL;
    *n = lmb_shape_count(&x->shape);
    bool one_each = *n == channels && x->shape.n >= 3 && x->shape.d[x->shape.n - 3] == channels;
    return *n == 1 || one_each ? x->data : NULL;
}

/* The Mul before Conv `conv` that its weights can take in, or NULL; *at: which operand is the constant. Padding is
 * zero, which a factor leaves as it is. */
static const lmb_node *factor_before(const lmb_graph *g, const lmb_node *conv, int *at)
{
    if (strcmp(conv->op->name, "Conv") != 0)
        return NULL;
    const lmb_value *w = &g->value[conv->in[1]];
    int i = g->value[conv->in[0]].node;
    int64_t n;
    if (i == LMB_NONE || lmb_shape_count(&w->shape) == 0 || strcmp(g->node[i].op->name, "Mul") != 0 ||
        w->node != LMB_NONE || !w->data || w->dtype != LMB_F32 || lmb_sole_reader(g, conv->in[0]) < 0 ||
        lmb_sole_reader(g, conv->in[1]) < 0)
        return NULL;
    const lmb_node *mul = &g->node[i];
    const lmb_shape *y = &g->value[mul->out[0]].shape;
    for (*at = 0; *at < 2; ++*at)
        if (y->n == 4 && w->shape.d[1] == y->d[1] && factor(g, mul->in[*at], y->d[1], &n) &&
            lmb_shape_count(&g->value[mul->in[1 - *at]].shape) == lmb_shape_count(y))
            return mul;
    return NULL;
}

static lmb_status factor_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                              lmb_error *err)
{
    const lmb_graph *g = r->old;
    int at, reader = strcmp(n->op->name, "Mul") == 0 ? lmb_sole_reader(g, n->out[0]) : -1;
    if (reader >= 0 && g->node[reader].in[0] == n->out[0] && factor_before(g, &g->node[reader], &at) == n) {
        out[0] = in[1 - at];
        *done = true;
        return LMB_OK;
    }
    const lmb_node *mul = factor_before(g, n, &at);
    if (!mul)
        return LMB_OK;
    const lmb_value *w = &g->value[n->in[1]];
    int64_t channels = w->shape.d[1], count = lmb_shape_count(&w->shape), each = count / (w->shape.d[0] * channels),
            numbers = 0;
    const float *f = factor(g, mul->in[at], channels, &numbers), *from = w->data;
    float *scaled = malloc(sizeof *scaled * (size_t)(count + 1));
    if (!scaled)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to fold %s", mul->name);
    for (int64_t i = 0; i < count; i++)
        scaled[i] = from[i] * f[numbers == 1 ? 0 : i / each % channels];
    lmb_vid operands[3] = { in[0], lmb_emit_value(&r->b, LMB_ROLE_CONSTANT, w->name, LMB_F32, w->shape, scaled),
                            n->n_in > 2 ? in[2] : LMB_NONE };
    free(scaled);
    LMB_TRY(lmb_builder_status(&r->b));
    *done = true;
    return lmb_graph_node_like(r->b.g, n, operands, out, err);
}

/* The weights that are made anew do not come along. */
static lmb_status factor_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    const lmb_graph *g = r->old;
    int at, i = lmb_sole_reader(g, v);
    (void)err;
    if (i >= 0 && strcmp(g->node[i].op->name, "Conv") == 0 && g->node[i].in[1] == v &&
        factor_before(g, &g->node[i], &at)) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

static lmb_status fold_factors(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = factor_node, .value = factor_value };
    return lmb_rewrite_run(&r, g, out, NULL, err);
}

/* ---- what a predictor runs ---- */

static lmb_status with_state(const lmb_graph *g, const float *state, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite copy = { 0 };
    lmb_state_layout *l = NULL;

    LMB_TRY(lmb_rewrite_run(&copy, g, out, NULL, err));
    lmb_status st = lmb_state_layout_create(*out, &l, err);
    if (st == LMB_OK)
        st = lmb_state_to_graph(l, state, *out, err);
    lmb_state_layout_destroy(l);
    if (st != LMB_OK) {
        lmb_graph_destroy(*out);
        *out = NULL;
    }
    return st;
}

lmb_status lmb_pass_deploy(const lmb_graph *g, const float *state, int64_t batch, lmb_graph **out, lmb_error *err)
{
    lmb_graph *filled = NULL, *folded = NULL, *scaled = NULL;
    lmb_status st = state ? with_state(g, state, &filled, err) : LMB_OK;

    if (st == LMB_OK)
        st = lmb_pass_fold(filled ? filled : g, &folded, err);
    if (st == LMB_OK)
        st = fold_factors(folded, &scaled, err);
    if (st == LMB_OK)
        st = lmb_pass_freeze(scaled, batch, out, err);
    lmb_graph_destroy(scaled);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(filled);
    return st;
}
