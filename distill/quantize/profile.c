/* distill/quantize/profile.c - see profile.h. */
#include "distill/quantize/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/ops/quantize.h"
#include "core/passes/rewrite.h"

static const lmb_profile x86 = { .name = "ort-x86",
                                 .summary = "u8 activations, any zero point: ONNX Runtime on x86 (the default)" };
static const lmb_profile arm = { .name = "ort-arm",
                                 .summary = "s8 activations, any zero point: ONNX Runtime and others on ARM",
                                 .s8 = true };
static const lmb_profile tensorrt = { .name = "tensorrt",
                                      .summary =
                                          "s8 activations, zero points 0: needs activations: symmetric, mean 128",
                                      .s8 = true,
                                      .symmetric = true,
                                      .zero_input = true };
static const lmb_profile universal = {
    .name = "universal",
    .summary = "u8 with zero point 128, the integers of s8 with 0: needs what tensorrt needs",
    .symmetric = true
};
static const lmb_profile pot = {
    .name = "pot",
    .summary = "all scales powers of two, the same bits on every runtime: needs scales: power_of_two",
    .power_of_two = true
};
static const lmb_profile weights7 = {
    .name = "weights7",
    .summary = "|w| <= 64, so that kernels of AVX2 fleets can not saturate: needs bits and ends 7",
    .weight_max = 64
};
static const lmb_profile int4 = { .name = "int4",
                                  .summary = "weights of 4 bits as INT4, opset 21 and IR version 10",
                                  .int4 = true };

const lmb_profile *const lmb_profiles[] = { &x86, &arm, &tensorrt, &universal, &pot, &weights7, &int4, NULL };

lmb_status lmb_profile_find(const char *name, const lmb_profile **out, lmb_error *err)
{
    const char *names[sizeof lmb_profiles / sizeof *lmb_profiles] = { NULL };

    for (int i = 0; lmb_profiles[i]; i++) {
        names[i] = lmb_profiles[i]->name;
        if (strcmp(name, names[i]) == 0) {
            *out = lmb_profiles[i];
            return LMB_OK;
        }
    }
    const char *near = lmb_nearest(name, names);
    return LMB_FAIL(err, LMB_E_ARG, "there is no profile '%s'%s%s%s", name, near ? "; did you mean " : "",
                    near ? near : "", near ? "?" : "; `limbeck export --help` lists them");
}

/* ---- what must hold ---- */

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }
static bool is_pair(const lmb_node *n) { return is(n, "QuantizeLinear") || is(n, "DequantizeLinear"); }
static const lmb_value *zero_of(const lmb_graph *g, const lmb_node *n)
{
    return n->n_in > 2 && n->in[2] != LMB_NONE ? &g->value[n->in[2]] : NULL;
}

/* A Q or DQ of bytes that flow: its zero point is a u8. */
static bool of_activation(const lmb_graph *g, const lmb_node *n)
{
    const lmb_value *z = zero_of(g, n);
    return is_pair(n) && z && z->dtype == LMB_U8 && z->data;
}

/* Raw bytes: what the model is fed. Its scale 1 and zero point 0 are the data's, not a choice. */
static bool of_input(const lmb_graph *g, const lmb_node *n)
{
    return is(n, "QuantizeLinear") && g->value[n->in[0]].role == LMB_ROLE_INPUT;
}

static lmb_status need(const lmb_node *n, const char *what, lmb_error *err)
{
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: %s", n->name, what);
}

static lmb_status check_node(const lmb_graph *g, const lmb_node *n, const lmb_profile *p, lmb_error *err)
{
    const lmb_value *scale = &g->value[n->in[1]], *q = &g->value[n->in[0]];

    if (p->symmetric && of_activation(g, n) && !of_input(g, n) && *(const uint8_t *)zero_of(g, n)->data != 128)
        return need(
            n,
            "its zero point is not 128; quantise with `qat: {activations: symmetric}` and a model whose `mean` is 128",
            err);
    for (int64_t i = 0; p->power_of_two && scale->data && i < lmb_shape_count(&scale->shape); i++) {
        float s = ((const float *)scale->data)[i];
        if (!(s > 0) || lmb_power_of_two(s) != s)
            return need(n, "a scale is no power of two; quantise with `qat: {scales: power_of_two}`", err);
    }
    for (int64_t i = 0;
         p->weight_max && is(n, "DequantizeLinear") && q->dtype == LMB_S8 && q->data && i < lmb_shape_count(&q->shape);
         i++)
        if (abs(((const int8_t *)q->data)[i]) > p->weight_max)
            return need(n, "a weight is beyond 64; quantise with `qat: {bits: 7, ends: 7}`", err);
    return LMB_OK;
}

/* ---- writing ---- */

static lmb_status node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done, lmb_error *err)
{
    const lmb_profile *p = r->ctx;
    const lmb_value *z = zero_of(r->old, n);

    if (!p->s8 || !is_pair(n) || !of_activation(r->old, n))
        return LMB_OK;
    bool shift = p->zero_input && of_input(r->old, n); /* then the integers are the bytes less 128 with zero point 0 */
    int zero = (int)*(const uint8_t *)z->data - 128;
    int8_t s = (int8_t)(shift ? 0 : zero);
    lmb_vid operand[3] = { in[0], in[1], lmb_emit_value(&r->b, LMB_ROLE_CONSTANT, z->name, LMB_S8, z->shape, &s) };
    if (shift)
        operand[0] = lmb_emit(&r->b, "Sub", NULL, LMB_IN(in[0], lmb_emit_scalar(&r->b, 128)), LMB_NO_ATTRS);
    LMB_TRY(lmb_builder_status(&r->b));
    *done = true;
    return lmb_graph_node_like(r->b.g, n, operand, out, err);
}

lmb_status lmb_pass_profile(const lmb_graph *qdq, const lmb_profile *p, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite first = { .node = node, .ctx = (void *)p }, second = { .drop_dead = true };
    lmb_graph *g = NULL;

    for (int i = 0; i < qdq->n_nodes; i++)
        if (is_pair(&qdq->node[i]))
            LMB_TRY(check_node(qdq, &qdq->node[i], p, err));
    LMB_TRY(lmb_rewrite_run(&first, qdq, &g, NULL, err));
    lmb_status st = lmb_rewrite_run(&second, g, out, NULL, err); /* without the zero points of u8 */
    lmb_graph_destroy(g);
    return st;
}
