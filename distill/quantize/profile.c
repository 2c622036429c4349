/* distill/quantize/profile.c - see profile.h. */
#include "distill/quantize/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/ops/quantize.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "distill/quantize/bias_form.h"
#include "distill/quantize/clamp_pair.h"

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
                                      .zero_input = true,
                                      .float_bias = true };
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

/* A Q or DQ of bytes that flow, u8 or s8; constants do not. */
static bool of_activation(const lmb_graph *g, const lmb_node *n)
{
    const lmb_value *z = zero_of(g, n);
    return is_pair(n) && !g->value[n->in[0]].data &&
           (!z || (z->data && (z->dtype == LMB_U8 || z->dtype == LMB_S8) && lmb_shape_count(&z->shape) == 1));
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

/* ---- zero points 128 ---- */

/* As of u8; 0 where none is given. */
static int zero_point(const lmb_graph *g, const lmb_node *n)
{
    const lmb_value *z = zero_of(g, n);
    return !z ? 0 : z->dtype == LMB_U8 ? *(const uint8_t *)z->data : *(const int8_t *)z->data + 128;
}
static const lmb_node *maker(const lmb_graph *g, lmb_vid v)
{
    return g->value[v].node == LMB_NONE ? NULL : &g->node[g->value[v].node];
}

/* A QuantizeLinear of what flows and the DequantizeLinear behind it mean the same. */
static bool same_integers(const lmb_graph *g, const lmb_node *q, const lmb_node *dq)
{
    const lmb_value *a = &g->value[q->in[1]], *b = &g->value[dq->in[1]];
    return is(q, "QuantizeLinear") && is(dq, "DequantizeLinear") && of_activation(g, q) && of_activation(g, dq) &&
           zero_point(g, q) == zero_point(g, dq) && a->data && b->data &&
           *(const float *)a->data == *(const float *)b->data;
}

/* The bytes lo .. hi that integers of q are: what clamps before it leave, also those before a MaxPool and the like, and
 * those behind its DequantizeLinear, if nobody else reads that. */
static void reach(const lmb_graph *g, const lmb_node *q, float *lo, float *hi)
{
    float scale = *(const float *)g->value[q->in[1]].data;
    int zero = zero_point(g, q), dq = lmb_sole_reader(g, q->out[0]);

    *lo = 0;
    *hi = 255;
    if (dq >= 0 && same_integers(g, q, &g->node[dq])) {
        lmb_vid x = g->node[dq].out[0];
        const lmb_node *end = lmb_clamp_end(g, x);
        for (int i; end && &g->node[i = lmb_sole_reader(g, x)] != end; x = g->node[i].out[0])
            lmb_clamp_bytes(g, &g->node[i], scale, zero, lo, hi);
    }
    for (const lmb_node *n = maker(g, q->in[0]), *before; n; n = maker(g, n->in[0])) {
        if (lmb_is_clamp(n))
            lmb_clamp_bytes(g, n, scale, zero, lo, hi);
        else if (is(n, "DequantizeLinear") && (before = maker(g, n->in[0])) && same_integers(g, before, n) &&
                 zero_point(g, n) == zero && *(const float *)g->value[n->in[1]].data == scale)
            n = before;
        else if (!is(n, "MaxPool") && !is(n, "Flatten") && !is(n, "Reshape"))
            return;
    }
}

/* Can it be written with zero point 128? Numbers of fewer than 8 bits can: the same integers, further up. */
static lmb_status check_centre(const lmb_graph *g, const lmb_node *n, lmb_error *err)
{
    const lmb_node *before = maker(g, n->in[0]);
    int zero = zero_point(g, n);
    float lo, hi;

    if (zero == 128 || of_input(g, n))
        return LMB_OK;
    if (is(n, "DequantizeLinear") && before && of_input(g, before))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "node %s: the input's zero point is %d, its `mean`, where this profile needs 128; train a "
                        "model whose `mean` is 128", n->name, zero);
    if (is(n, "DequantizeLinear") && before && same_integers(g, before, n))
        return LMB_OK; /* what its QuantizeLinear is asked */
    if (is(n, "QuantizeLinear") && g->value[n->in[1]].data) {
        reach(g, n, &lo, &hi);
        if (lo - (float)zero >= -128 && hi - (float)zero <= 127)
            return LMB_OK;
    }
    return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                    "node %s: its zero point is %d and not 128; quantise with `qat: {activations: symmetric}`", n->name,
                    zero);
}

/* ---- the other needs ---- */

static lmb_status check_int4(const lmb_graph *g, lmb_error *err)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_value *q = &g->value[g->node[i].in[0]];
        bool narrow = is(&g->node[i], "DequantizeLinear") && q->dtype == LMB_S8 && q->data;
        for (int64_t k = 0; narrow && k < lmb_shape_count(&q->shape); k++)
            narrow = ((const int8_t *)q->data)[k] >= -8 && ((const int8_t *)q->data)[k] <= 7;
        if (narrow)
            return LMB_OK;
    }
    return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                    "no layer has weights of 4 bits or fewer, so that none could be written as INT4; quantise with "
                    "`qat: {bits: 4}`");
}

static lmb_status check_node(const lmb_graph *g, const lmb_node *n, const lmb_profile *p, lmb_error *err)
{
    const lmb_value *scale = &g->value[n->in[1]], *q = &g->value[n->in[0]];

    if (p->symmetric && of_activation(g, n))
        LMB_TRY(check_centre(g, n, err));
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

    if (p->float_bias && lmb_is_integer_bias(r->old, n)) {
        *done = true;
        return lmb_float_bias(r, n, out, err);
    }
    if (!is_pair(n) || !of_activation(r->old, n))
        return LMB_OK;
    bool shift = p->zero_input && of_input(r->old, n); /* then the integers are the bytes less 128 with zero point 0 */
    bool centre = p->symmetric && !of_input(r->old, n);
    int zero = shift || centre ? 128 : zero_point(r->old, n);
    if ((z && z->dtype == LMB_S8) == p->s8 && zero == zero_point(r->old, n))
        return LMB_OK;
    uint8_t byte = (uint8_t)(p->s8 ? zero - 128 : zero); /* as u8, or the bits of that s8 */
    lmb_vid operand[3] = { in[0], in[1],
                           lmb_emit_value(&r->b, LMB_ROLE_CONSTANT, z ? z->name : "zero", p->s8 ? LMB_S8 : LMB_U8,
                                          z ? z->shape : (lmb_shape){ 0 }, &byte) };
    if (shift)
        operand[0] = lmb_emit(&r->b, "Sub", NULL, LMB_IN(in[0], lmb_emit_scalar(&r->b, 128)), LMB_NO_ATTRS);
    LMB_TRY(lmb_builder_status(&r->b));
    *done = true;
    lmb_node three = *n;
    three.n_in = 3;
    return lmb_graph_node_like(r->b.g, &three, operand, out, err);
}

/* Files from elsewhere, or from before, may lack pairs around clamps; those for other runtimes have f32 biases. */
lmb_status lmb_pass_profile(const lmb_graph *qdq, const lmb_profile *p, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite first = { .node = node, .ctx = (void *)p }, second = { .drop_dead = true };
    lmb_graph *integers = NULL, *paired = NULL, *g = NULL;
    lmb_status st = LMB_OK;

    LMB_TRY(lmb_pass_integer_bias(qdq, &integers, err));
    LMB_TRY_GOTO(st, done, lmb_pass_clamp_pair(integers ? integers : qdq, &paired, err));
    for (int i = 0; i < paired->n_nodes; i++)
        if (is_pair(&paired->node[i]))
            LMB_TRY_GOTO(st, done, check_node(paired, &paired->node[i], p, err));
    if (p->int4)
        LMB_TRY_GOTO(st, done, check_int4(paired, err));
    LMB_TRY_GOTO(st, done, lmb_rewrite_run(&first, paired, &g, NULL, err));
    st = lmb_rewrite_run(&second, g, out, NULL, err); /* without zero points that are others now */
done:
    lmb_graph_destroy(integers);
    lmb_graph_destroy(paired);
    lmb_graph_destroy(g);
    return st;
}
