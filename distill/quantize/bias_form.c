/* distill/quantize/bias_form.c - see bias_form.h. */
#include "distill/quantize/bias_form.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/passes/fold.h"

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* The constant scale of the DequantizeLinear that makes v, of `count` numbers; NULL: there is none. */
static const float *scale_of(const lmb_graph *g, lmb_vid v, int64_t count)
{
    const lmb_node *n = g->value[v].node == LMB_NONE ? NULL : &g->node[g->value[v].node];
    const lmb_value *s = n && is(n, "DequantizeLinear") ? &g->value[n->in[1]] : NULL;
    return s && s->data && s->dtype == LMB_F32 && lmb_shape_count(&s->shape) == count ? s->data : NULL;
}

/* Has n an f32 bias, one number for each of `k` channels, and scales around it? */
static bool has_float_bias(const lmb_graph *g, const lmb_node *n, int64_t *k)
{
    if ((!is(n, "Conv") && !is(n, "Gemm")) || n->n_in < 3 || n->in[2] == LMB_NONE)
        return false;
    const lmb_value *b = &g->value[n->in[2]];
    *k = lmb_shape_count(&b->shape);
    return b->data && b->dtype == LMB_F32 && b->shape.n == 1 && *k > 0 && scale_of(g, n->in[0], 1) &&
           scale_of(g, n->in[1], *k);
}

static lmb_status whole_steps(const lmb_graph *g, const lmb_node *n, int64_t k, int32_t *q, float *scale,
                              lmb_error *err)
{
    const float *b = g->value[n->in[2]].data, *x = scale_of(g, n->in[0], 1), *w = scale_of(g, n->in[1], k);

    for (int64_t c = 0; c < k; c++) {
        scale[c] = *x * w[c];
        double v = rint((double)b[c] / (double)scale[c]);
        if (!(fabs(v) <= INT32_MAX))
            return LMB_FAIL(
                err, LMB_E_UNSUPPORTED,
                "node %s: the bias %g of channel %lld is no s32 in steps of %g, its input's scale times its "
                "weights'; mend the file, or quantise the model again",
                n->name, (double)b[c], (long long)c, (double)scale[c]);
        q[c] = (int32_t)v;
    }
    return LMB_OK;
}

static lmb_vid constant(lmb_builder *b, const lmb_node *n, const char *what, lmb_dtype t, int64_t k, const void *data)
{
    char name[220];
    snprintf(name, sizeof name, "%.180s%s", n->name, what);
    return lmb_emit_value(b, LMB_ROLE_CONSTANT, name, t, LMB_SHAPE(k), data);
}

static lmb_status node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done, lmb_error *err)
{
    lmb_builder *b = &r->b;
    lmb_vid operand[3] = { in[0], in[1], LMB_NONE };
    char name[220];
    int64_t k;

    if (!has_float_bias(r->old, n, &k))
        return LMB_OK;
    int32_t *q = malloc(sizeof *q * (size_t)k);
    float *scale = malloc(sizeof *scale * (size_t)k);
    lmb_status st =
        q && scale ? whole_steps(r->old, n, k, q, scale, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for biases");
    if (st == LMB_OK) {
        lmb_vid steps = constant(b, n, ".bias_q", LMB_S32, k, q), s = constant(b, n, ".bias_scale", LMB_F32, k, scale);
        snprintf(name, sizeof name, "%.180s.bias.dequantized", n->name);
        operand[2] = lmb_emit(b, "DequantizeLinear", name, LMB_IN(steps, s), LMB_ATTRS(LMB_AINT("axis", 0)));
        st = lmb_builder_status(b);
    }
    free(q);
    free(scale);
    *done = true;
    return st == LMB_OK ? lmb_graph_node_like(b->g, n, operand, out, err) : st;
}

/* The f32 numbers go, where nobody else reads them. */
static lmb_status value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    int i = lmb_sole_reader(r->old, v);
    int64_t k;

    (void)err;
    if (i >= 0 && has_float_bias(r->old, &r->old->node[i], &k) && r->old->node[i].in[2] == v) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_integer_bias(const lmb_graph *qdq, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = node, .value = value };
    bool any = false;
    int64_t k;

    for (int i = 0; i < qdq->n_nodes && !any; i++)
        any = has_float_bias(qdq, &qdq->node[i], &k);
    *out = NULL;
    return any ? lmb_rewrite_run(&r, qdq, out, NULL, err) : LMB_OK;
}

bool lmb_is_integer_bias(const lmb_graph *g, const lmb_node *n)
{
    return is(n, "DequantizeLinear") && g->value[n->in[0]].data && g->value[n->in[0]].dtype == LMB_S32 &&
           g->value[n->in[1]].data && (n->n_in < 3 || n->in[2] == LMB_NONE || g->value[n->in[2]].data);
}

lmb_status lmb_float_bias(lmb_rewrite *r, const lmb_node *n, lmb_vid *out, lmb_error *err)
{
    const lmb_value *y = &r->old->value[n->out[0]];
    float *b = malloc(sizeof *b * (size_t)(lmb_shape_count(&y->shape) + 1));
    lmb_tensor in[3] = { 0 }, made = { LMB_F32, y->shape, b };
    lmb_step_info no_step = { 0, 0, NULL };

    if (!b)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for biases");
    for (int i = 0; i < n->n_in && i < 3; i++)
        if (n->in[i] != LMB_NONE)
            in[i] = (lmb_tensor){ r->old->value[n->in[i]].dtype, r->old->value[n->in[i]].shape,
                                  (void *)r->old->value[n->in[i]].data };
    lmb_run run = { n->attr, n->n_in, 1, in, &made, NULL, &no_step, NULL, NULL };
    lmb_status st = n->op->run(&run, err);
    if (st == LMB_OK) {
        out[0] = lmb_emit_value(&r->b, LMB_ROLE_CONSTANT, y->name, LMB_F32, y->shape, b);
        st = lmb_builder_status(&r->b);
    }
    free(b);
    return st;
}
