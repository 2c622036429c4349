/* distill/quantize/gemm_form.c - see gemm_form.h. */
#include "distill/quantize/gemm_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/gemm.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"

/* A full layer as it is written: y = alpha x W + beta b, W perhaps transposed already. */
typedef struct layer {
    lmb_vid w, b;    /* b: LMB_NONE without one                          */
    bool transposed; /* W is [out, in]                                   */
    float alpha, beta;
    int64_t out, in;
    int end; /* node whose output is y: its own, or the Add's    */
} layer;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* Numbers of its own, in memory. */
static bool stored(const lmb_graph *g, lmb_vid v, int reader)
{
    const lmb_value *x = &g->value[v];
    return x->node == LMB_NONE && x->role != LMB_ROLE_INPUT && x->data && x->dtype == LMB_F32 &&
           lmb_sole_reader(g, v) == reader;
}

/* One number for each output, or for all. */
static bool is_bias(const lmb_graph *g, lmb_vid v, int reader, int64_t out)
{
    const lmb_shape *s = &g->value[v].shape;
    int64_t n = lmb_shape_count(s);
    return stored(g, v, reader) && s->n <= 2 && (n == 1 || (n == out && s->d[s->n - 1] == out));
}

/* The Add of a bias behind the product at node i, and its operand; -1: none. */
static int bias_behind(const lmb_graph *g, int i, int64_t out, lmb_vid *b)
{
    lmb_vid y = g->node[i].out[0];
    int at = lmb_sole_reader(g, y);

    if (at < 0 || !is(&g->node[at], "Add"))
        return -1;
    *b = g->node[at].in[g->node[at].in[0] == y];
    return is_bias(g, *b, at, out) && lmb_shape_equal(&g->value[g->node[at].out[0]].shape, &g->value[y].shape) ? at
                                                                                                               : -1;
}

/* Is node i a full layer in other words than ours? */
static bool find_layer(const lmb_graph *g, int i, layer *l)
{
    const lmb_node *n = &g->node[i];
    bool product = is(n, "MatMul");
    lmb_gemm_attr a = { .alpha = 1, .beta = 1 };

    if ((!product && !is(n, "Gemm")) || g->value[n->in[0]].shape.n != 2 || g->value[n->in[1]].shape.n != 2 ||
        !stored(g, n->in[1], i))
        return false;
    if (!product)
        a = *(const lmb_gemm_attr *)n->attr;
    const lmb_shape *w = &g->value[n->in[1]].shape;
    *l = (layer){ .w = n->in[1],
                  .b = !product && n->n_in > 2 ? n->in[2] : LMB_NONE,
                  .transposed = a.transB != 0,
                  .alpha = a.alpha,
                  .beta = a.beta,
                  .out = w->d[a.transB == 0],
                  .in = w->d[a.transB != 0],
                  .end = i };
    if (a.transA || l->out < 1 || l->in < 1 || (l->b != LMB_NONE && !is_bias(g, l->b, i, l->out)))
        return false;
    if (product) {
        int add = bias_behind(g, i, l->out, &l->b);
        l->end = add < 0 ? i : add;
        l->b = add < 0 ? LMB_NONE : l->b;
    }
    return product || a.alpha != 1 || !a.transB ||
           (l->b != LMB_NONE && (a.beta != 1 || lmb_shape_count(&g->value[l->b].shape) != l->out));
}

/* The layer whose output node n makes; NULL: none. */
static bool ends_layer(const lmb_graph *g, const lmb_node *n, layer *l, int *node)
{
    *node = (int)(n - g->node);
    if (find_layer(g, *node, l))
        return l->end == *node;
    for (int k = 0; is(n, "Add") && k < 2; k++) {
        int before = g->value[n->in[k]].node;
        if (before != LMB_NONE && find_layer(g, before, l) && &g->node[l->end] == n) {
            *node = before;
            return true;
        }
    }
    return false;
}

static lmb_status emit_layer(lmb_rewrite *r, const layer *l, const lmb_node *n, lmb_vid x, lmb_vid *out, lmb_error *err)
{
    const lmb_value *w = &r->old->value[l->w], *b = l->b == LMB_NONE ? NULL : &r->old->value[l->b];
    const float *from = w->data;
    float *to = malloc(sizeof *to * (size_t)(l->out * l->in + 1)), *bias = malloc(sizeof *bias * (size_t)(l->out + 1));
    lmb_vid in[3] = { x, LMB_NONE, LMB_NONE };

    if (!to || !bias) {
        free(to);
        free(bias);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to rewrite %s", n->name);
    }
    for (int64_t o = 0; o < l->out; o++)
        for (int64_t i = 0; i < l->in; i++)
            to[o * l->in + i] = l->alpha * from[l->transposed ? o * l->in + i : i * l->out + o];
    for (int64_t o = 0; b && o < l->out; o++)
        bias[o] = l->beta * ((const float *)b->data)[lmb_shape_count(&b->shape) == 1 ? 0 : o];
    in[1] = lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, w->name, LMB_F32, LMB_SHAPE(l->out, l->in), to);
    if (b)
        in[2] = lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, b->name, LMB_F32, LMB_SHAPE(l->out), bias);
    free(to);
    free(bias);
    LMB_TRY(lmb_builder_status(&r->b));
    r->b.g->value[in[1]].decay = w->decay;
    r->b.g->value[in[1]].bits = w->bits;
    r->b.g->value[in[1]].frozen = w->frozen;
    if (b) {
        r->b.g->value[in[2]].decay = 0;
        r->b.g->value[in[2]].frozen = b->frozen;
    }
    out[0] = lmb_emit(&r->b, "Gemm", n->name, in, b ? 3 : 2, LMB_ATTRS(LMB_AINT("transB", 1)));
    LMB_TRY(lmb_builder_status(&r->b));
    return lmb_graph_rename(r->b.g, out[0], r->old->value[r->old->node[l->end].out[0]].name, err);
}

static lmb_status form_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    const lmb_graph *g = r->old;
    layer l;
    int node;

    if (ends_layer(g, n, &l, &node)) {
        *done = true;
        return emit_layer(r, &l, &g->node[node], r->map[g->node[node].in[0]], out, err);
    }
    if (find_layer(g, node, &l)) { /* a product whose Add makes the layer: it reads no weights any more */
        *done = true;
        out[0] = in[0];
    }
    return LMB_OK;
}

/* Weights and biases are made anew. */
static lmb_status form_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    const lmb_graph *g = r->old;
    int i = lmb_sole_reader(g, v), node;
    layer l;

    (void)err;
    if (i < 0 || g->value[v].node != LMB_NONE)
        return LMB_OK;
    bool gone = find_layer(g, i, &l) && (v == l.w || (v == l.b && l.end == i));
    if (!gone && ends_layer(g, &g->node[i], &l, &node))
        gone = v == l.w || v == l.b;
    if (gone) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_gemm_form(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = form_node, .value = form_value };
    return lmb_rewrite_run(&r, g, out, NULL, err);
}
