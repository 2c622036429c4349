/* distill/quantize/clamp_pair.c - see clamp_pair.h. */
#include "distill/quantize/clamp_pair.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/passes/fold.h"
#include "core/passes/rewrite.h"

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }
bool lmb_is_clamp(const lmb_node *n) { return is(n, "Relu") || is(n, "Clip"); }

bool lmb_clamp_bytes(const lmb_graph *g, const lmb_node *clamp, float scale, int zero, float *lo, float *hi)
{
    float bound[2] = { is(clamp, "Relu") ? 0 : -INFINITY, INFINITY };

    for (int k = 0; k < 2 && is(clamp, "Clip"); k++) {
        const lmb_value *v = clamp->n_in > 1 + k && clamp->in[1 + k] != LMB_NONE ? &g->value[clamp->in[1 + k]] : NULL;
        if (v && (!v->data || v->dtype != LMB_F32))
            return false;
        if (v)
            bound[k] = *(const float *)v->data;
    }
    *lo = fmaxf(*lo, rintf(bound[0] / scale) + (float)zero);
    *hi = fminf(*hi, rintf(bound[1] / scale) + (float)zero);
    return true;
}

const lmb_node *lmb_clamp_end(const lmb_graph *g, lmb_vid x)
{
    int i = lmb_sole_reader(g, x);

    while (i >= 0 && lmb_is_clamp(&g->node[i]) && g->node[i].in[0] == x) {
        x = g->node[i].out[0];
        i = lmb_sole_reader(g, x);
    }
    return i >= 0 && is(&g->node[i], "QuantizeLinear") && g->node[i].in[0] == x ? &g->node[i] : NULL;
}

/* Do the clamps from n on, before q, take anything away that the bytes of q would hold? */
static bool bites(const lmb_graph *g, const lmb_node *n, const lmb_node *q)
{
    const lmb_value *s = &g->value[q->in[1]], *z = q->n_in > 2 && q->in[2] != LMB_NONE ? &g->value[q->in[2]] : NULL;
    float lo = 0, hi = 255;

    if (!s->data || s->dtype != LMB_F32 || lmb_shape_count(&s->shape) != 1 || !z || !z->data ||
        lmb_shape_count(&z->shape) != 1 || (z->dtype != LMB_U8 && z->dtype != LMB_S8))
        return false;
    int zero = z->dtype == LMB_U8 ? *(const uint8_t *)z->data : *(const int8_t *)z->data + 128;
    for (; n != q; n = &g->node[lmb_sole_reader(g, n->out[0])])
        if (!lmb_clamp_bytes(g, n, *(const float *)s->data, zero, &lo, &hi))
            return false;
    return lo > 0 || hi < 255;
}

/* A constant that may come later in the old graph. */
static lmb_vid constant(lmb_rewrite *r, lmb_vid v)
{
    const lmb_value *x = &r->old->value[v];
    return r->map[v] != LMB_NONE ? r->map[v]
                                 : lmb_emit_value(&r->b, LMB_ROLE_CONSTANT, x->name, x->dtype, x->shape, x->data);
}

static lmb_status node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done, lmb_error *err)
{
    const lmb_graph *g = r->old;
    int made = lmb_is_clamp(n) ? g->value[n->in[0]].node : LMB_NONE;
    const lmb_node *q = lmb_is_clamp(n) ? lmb_clamp_end(g, n->out[0]) : NULL;
    char name[2][220];

    if (!q || made == LMB_NONE || lmb_is_clamp(&g->node[made]) || is(&g->node[made], "DequantizeLinear") ||
        lmb_sole_reader(g, n->in[0]) < 0 || !bites(g, n, q))
        return LMB_OK;
    lmb_vid scale = constant(r, q->in[1]), zero = constant(r, q->in[2]), operand[3] = { LMB_NONE, in[1], in[2] };
    snprintf(name[0], sizeof name[0], "%.180s.unclamped.quantized", n->name);
    snprintf(name[1], sizeof name[1], "%.180s.unclamped", n->name);
    operand[0] = lmb_emit(&r->b, "QuantizeLinear", name[0], LMB_IN(in[0], scale, zero), LMB_NO_ATTRS);
    operand[0] = lmb_emit(&r->b, "DequantizeLinear", name[1], LMB_IN(operand[0], scale, zero), LMB_NO_ATTRS);
    LMB_TRY(lmb_builder_status(&r->b));
    *done = true;
    LMB_TRY(lmb_graph_node_like(r->b.g, n, operand, out, err));
    return lmb_graph_rename(r->b.g, out[0], g->value[n->out[0]].name, err);
}

lmb_status lmb_pass_clamp_pair(const lmb_graph *qdq, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = node };
    return lmb_rewrite_run(&r, qdq, out, NULL, err);
}
