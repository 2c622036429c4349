/* core/ops/quantize.c - the bridge between reals and integers.
 *
 *   QuantizeLinear    q = saturate(rne(x / s) + z)    x f32, s f32 [] or [C] along axis, z u8 or s8 like s
 *   DequantizeLinear  x = (q - z) s                   q u8, s8 or s32
 *   FakeQuant         x = dequantize(quantize(x)) in one step, s8 or u8 range by the attributes lo, hi
 *   grad              straight through: as if rounding were the identity, 0 where the range saturates.
 *                     A gradient "of q" is f32 and counts in steps of q: Dequantize hands dy s back, Quantize
 *                     hands dq / s.
 *   learn             FakeQuant with this attribute also has a gradient of the scale, that of a learned step size:
 *                     dy/ds = (y - x) / s inside the range, y / s where it saturates, summed over what shares the scale
 *                     and divided by sqrt(N hi); N is the number of weights that share it or, of a single scale, of
 *                     features of a sample
 *
 * Division, not multiplication by 1/s, and rounding half to even, as ONNX Runtime does: these integers are
 * part of the promise that training, export and the edge runtime agree to the bit.
 *   source   ONNX QuantizeLinear-13, DequantizeLinear-13; Bengio et al. 2013, arXiv:1308.3432 (straight through);
 *            Esser et al. 2020, arXiv:1902.08153, sections 2.1 and 2.2 (learned step size)
 */
#include "core/ops/quantize.h"

#include <math.h>

#include "core/base/compiler.h"
#include "core/ops/attrs.h"
#include "core/ops/common.h"

static const lmb_attr_row axis_rows[] = { LMB_A_INT(lmb_axis_attr, axis, 1), LMB_A_END };
const lmb_attr_row lmb_fake_quant_rows[] = {
    LMB_A_INT(lmb_fake_quant_attr, axis, 0), LMB_A_INT(lmb_fake_quant_attr, lo, 0),
    LMB_A_INT(lmb_fake_quant_attr, hi, 255), LMB_A_INT(lmb_fake_quant_attr, learn, 0), LMB_A_END
};

/* The tensor around the quantisation axis: element i has scale number (i / inner) % n. */
typedef struct around { int64_t n, inner; } around;

static around split(const lmb_shape *x, const lmb_shape *scale, int64_t axis)
{
    around a = { 1, 1 };
    if (scale->n == 0 || lmb_shape_count(scale) == 1)
        return a;
    a.n = scale->d[0];
    for (int i = (int)(axis < 0 ? axis + x->n : axis) + 1; i < x->n; i++)
        a.inner *= x->d[i];
    return a;
}

static lmb_status check_scale(const lmb_call *c, int x, int s, int64_t axis, lmb_error *err)
{
    const lmb_shape *shape = &c->in[s].shape;
    int k;

    LMB_TRY(lmbi_want(c, s, LMB_F32, "scale", err));
    if (lmb_shape_count(shape) == 1)
        return LMB_OK;
    LMB_TRY(lmbi_axis(axis, c->in[x].shape.n, &k, err));
    if (shape->n != 1 || shape->d[0] != c->in[x].shape.d[k])
        return LMB_FAIL(err, LMB_E_SHAPE, "scale must be a scalar or [%lld] along axis %d",
                        (long long)c->in[x].shape.d[k], k);
    return LMB_OK;
}

static lmb_status check_zero(const lmb_call *c, int s, lmb_dtype want, lmb_error *err)
{
    if (c->n_in <= s + 1 || !c->in[s + 1].present)
        return LMB_OK;
    LMB_TRY(lmbi_want(c, s + 1, want, "zero point", err));
    if (lmb_shape_count(&c->in[s + 1].shape) != lmb_shape_count(&c->in[s].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "zero point and scale have different shapes");
    return LMB_OK;
}

static lmb_status quantize_infer(const lmb_call *c, lmb_error *err)
{
    lmb_dtype q = c->n_in > 2 && c->in[2].present ? c->in[2].dtype : LMB_U8;

    LMB_TRY(lmbi_want(c, 0, LMB_F32, "x", err));
    LMB_TRY(check_scale(c, 0, 1, ((const lmb_axis_attr *)c->attr)->axis, err));
    if (q != LMB_U8 && q != LMB_S8)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "quantisation to %s; u8 and s8 are supported", lmb_dtype_name(q));
    LMB_TRY(check_zero(c, 1, q, err));
    c->out[0].dtype = q;
    c->out[0].shape = c->in[0].shape;
    return LMB_OK;
}

static int32_t zero_of(const lmb_run *r, int i, int64_t k)
{
    if (r->n_in <= i || !r->in[i].data)
        return 0;
    switch (r->in[i].dtype) {
    case LMB_U8: return ((const uint8_t *)r->in[i].data)[k];
    case LMB_S8: return ((const int8_t *)r->in[i].data)[k];
    case LMB_S32: return ((const int32_t *)r->in[i].data)[k];
    default: return (int32_t)((const float *)r->in[i].data)[k];
    }
}

/* rint rounds half to even in the default rounding mode; NaN goes to the zero point, as on x86. */
static inline float quantised(float x, float scale, float zero, float lo, float hi)
{
    float q = rintf(x / scale) + zero;
    return q < lo ? lo : q > hi ? hi : q == q ? q : zero;
}

static lmb_status quantize_run(const lmb_run *r, lmb_error *err)
{
    const float *x = r->in[0].data, *s = r->in[1].data;
    around a = split(&r->in[0].shape, &r->in[1].shape, ((const lmb_axis_attr *)r->attr)->axis);
    int64_t n = lmb_shape_count(&r->in[0].shape);
    bool u8 = r->out[0].dtype == LMB_U8;

    (void)err;
    for (int64_t i = 0; i < n; i++) {
        int64_t k = i / a.inner % a.n;
        float q = quantised(x[i], s[k], (float)zero_of(r, 2, k), u8 ? 0 : -128, u8 ? 255 : 127);
        if (u8)
            ((uint8_t *)r->out[0].data)[i] = (uint8_t)q;
        else
            ((int8_t *)r->out[0].data)[i] = (int8_t)q;
    }
    return LMB_OK;
}

static lmb_status dequantize_infer(const lmb_call *c, lmb_error *err)
{
    lmb_dtype q = c->in[0].dtype;

    if (q != LMB_U8 && q != LMB_S8 && q != LMB_S32)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "dequantisation of %s; u8, s8 and s32 are supported",
                        lmb_dtype_name(q));
    LMB_TRY(check_scale(c, 0, 1, ((const lmb_axis_attr *)c->attr)->axis, err));
    LMB_TRY(check_zero(c, 1, q, err));
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = c->in[0].shape;
    return LMB_OK;
}

static lmb_status dequantize_run(const lmb_run *r, lmb_error *err)
{
    const float *s = r->in[1].data;
    float *y = r->out[0].data;
    around a = split(&r->in[0].shape, &r->in[1].shape, ((const lmb_axis_attr *)r->attr)->axis);
    int64_t n = lmb_shape_count(&r->in[0].shape);

    (void)err;
    for (int64_t i = 0; i < n; i++) {
        int64_t k = i / a.inner % a.n;
        y[i] = (float)((int64_t)zero_of(r, 0, i) - zero_of(r, 2, k)) * s[k];
    }
    return LMB_OK;
}

/* Scale as a factor that broadcasts against x: [C] becomes [C, 1, ...] when the axis is not the last. */
static lmb_vid scale_against(lmb_grad *g, int64_t axis)
{
    lmb_vid s = g->node->in[1];
    int n = lmb_builder_value(g->b, g->node->in[0])->shape.n;
    const lmb_shape *shape = &lmb_builder_value(g->b, s)->shape;
    int64_t d[LMB_MAX_DIMS], k = axis < 0 ? axis + n : axis;

    if (lmb_shape_count(shape) == 1)
        return s;
    for (int i = 0; i < n; i++)
        d[i] = i == k ? shape->d[0] : 1;
    return lmb_emit(g->b, "Reshape", NULL, LMB_IN(s, lmb_emit_ints(g->b, d, n)), LMB_NO_ATTRS);
}

static lmb_status quantize_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_node *n = g->node;
    int64_t axis = ((const lmb_axis_attr *)n->attr)->axis;
    bool s8 = lmb_builder_value(g->b, n->out[0])->dtype == LMB_S8;
    lmb_vid in[4] = { g->dout[0], n->in[0], n->in[1], n->n_in > 2 ? n->in[2] : LMB_NONE };

    (void)err;
    lmb_vid inside = lmb_emit(g->b, "FakeQuantGrad", NULL, in, 4,
                              LMB_ATTRS(LMB_AINT("axis", axis), LMB_AINT("lo", s8 ? -128 : 0),
                                        LMB_AINT("hi", s8 ? 127 : 255)));
    g->din[0] = lmb_emit(g->b, "Div", NULL, LMB_IN(inside, scale_against(g, axis)), LMB_NO_ATTRS);
    return LMB_OK;
}

static lmb_status dequantize_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    if (g->wanted[0])
        g->din[0] = lmb_emit(g->b, "Mul", NULL,
                             LMB_IN(g->dout[0], scale_against(g, ((const lmb_axis_attr *)g->node->attr)->axis)),
                             LMB_NO_ATTRS);
    return LMB_OK;
}

/* Per-axis scales follow their axis; a scalar scale ties nothing. */
static void scale_axes(const lmb_call *c, int64_t axis, const lmb_axes *a)
{
    lmbi_axes_same(c, a);
    if (lmb_shape_count(&c->in[1].shape) == 1)
        return;
    int k = (int)(axis < 0 ? axis + c->in[0].shape.n : axis);
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i].present)
            a->tie(a->ctx, i, 0, LMB_OUT(c, 0), k, 0, 1);
}

static void quantize_axes(const lmb_call *c, const lmb_axes *a)
{
    scale_axes(c, ((const lmb_axis_attr *)c->attr)->axis, a);
}

const lmb_op lmb_op_quantize = {
    .name = "QuantizeLinear", .domain = "", .summary = "q = saturate(round(x / scale) + zero point)",
    .source = "ONNX QuantizeLinear-13", .since = 13, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_axis_attr), .attrs = axis_rows, .infer = quantize_infer, .grad = quantize_grad,
    .cost = lmbi_cost_elementwise, .axes = quantize_axes, .run = quantize_run,
};

const lmb_op lmb_op_dequantize = {
    .name = "DequantizeLinear", .domain = "", .summary = "x = (q - zero point) scale",
    .source = "ONNX DequantizeLinear-13", .since = 13, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_axis_attr), .attrs = axis_rows, .infer = dequantize_infer, .grad = dequantize_grad,
    .cost = lmbi_cost_elementwise, .axes = quantize_axes, .run = dequantize_run,
};

/* ---- FakeQuant ---- */

static lmb_status fake_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_fake_quant_attr *a = c->attr;
    int x = c->op->min_in == 3 ? 1 : 0; /* the gradient has dy in front */

    LMB_TRY(lmbi_want(c, 0, LMB_F32, x ? "dy" : "x", err));
    LMB_TRY(lmbi_want(c, x, LMB_F32, "x", err));
    if (!lmb_shape_equal(&c->in[0].shape, &c->in[x].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "dy and x have different shapes");
    LMB_TRY(check_scale(c, x, x + 1, a->axis, err));
    lmb_dtype zero = c->n_in > x + 2 ? c->in[x + 2].dtype : LMB_F32; /* of observers a whole number in f32 */
    LMB_TRY(check_zero(c, x + 1, zero == LMB_U8 || zero == LMB_S8 || zero == LMB_S32 ? zero : LMB_F32, err));
    if (a->lo >= a->hi || a->lo < -128 || a->hi > 255)
        return LMB_FAIL(err, LMB_E_ARG, "range [%lld, %lld]; it must lie in [-128, 255]", (long long)a->lo,
                        (long long)a->hi);
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = c->in[x].shape;
    return LMB_OK;
}

LMB_HOT static void fake_line(const float *x, float *y, int64_t n, float s, float z, float lo, float hi)
{
    for (int64_t i = 0; i < n; i++) {
        float q = rintf(x[i] / s) + z;
        q = q < lo ? lo : q;
        q = q > hi ? hi : q;
        y[i] = (q - z) * s;
    }
}

LMB_HOT static void grad_line(const float *dy, const float *x, float *dx, int64_t n, float s, float z, float lo,
                              float hi)
{
    for (int64_t i = 0; i < n; i++) {
        float q = rintf(x[i] / s) + z;
        dx[i] = q >= lo && q <= hi ? dy[i] : 0.0f;
    }
}

static lmb_status fake_run(const lmb_run *r, lmb_error *err)
{
    const lmb_fake_quant_attr *a = r->attr;
    const float *x = r->in[0].data, *s = r->in[1].data;
    around w = split(&r->in[0].shape, &r->in[1].shape, a->axis);
    int64_t n = lmb_shape_count(&r->in[0].shape), run = w.n == 1 ? n : w.inner;

    (void)err;
    for (int64_t i = 0; i < n; i += run) {
        int64_t k = i / run % w.n;
        fake_line(x + i, (float *)r->out[0].data + i, run, s[k], (float)zero_of(r, 2, k), (float)a->lo, (float)a->hi);
    }
    return LMB_OK;
}

static lmb_status fake_grad_run(const lmb_run *r, lmb_error *err)
{
    const lmb_fake_quant_attr *a = r->attr;
    const float *dy = r->in[0].data, *x = r->in[1].data, *s = r->in[2].data;
    around w = split(&r->in[1].shape, &r->in[2].shape, a->axis);
    int64_t n = lmb_shape_count(&r->in[1].shape), run = w.n == 1 ? n : w.inner;

    (void)err;
    for (int64_t i = 0; i < n; i += run) {
        int64_t k = i / run % w.n;
        grad_line(dy + i, x + i, (float *)r->out[0].data + i, run, s[k], (float)zero_of(r, 3, k), (float)a->lo,
                  (float)a->hi);
    }
    return LMB_OK;
}

/* sum (dy y - dx x) / s / sqrt(N hi): both cases in one, for dx is dy inside the range and 0 outside of it. */
static lmb_vid step_grad(lmb_grad *g, lmb_vid dx)
{
    const lmb_fake_quant_attr *a = g->node->attr;
    const lmb_node *n = g->node;
    lmb_builder *b = g->b;
    lmb_shape x = lmb_builder_value(b, n->in[0])->shape, s = lmb_builder_value(b, n->in[1])->shape;
    int64_t count = lmb_shape_count(&x), scales = lmb_shape_count(&s),
            share = scales > 1 ? count / scales : count / (x.n > 0 && x.d[0] > 0 ? x.d[0] : 1);

    lmb_vid d = lmb_emit(b, "Sub", NULL,
                         LMB_IN(lmb_emit(b, "Mul", NULL, LMB_IN(g->dout[0], n->out[0]), LMB_NO_ATTRS),
                                lmb_emit(b, "Mul", NULL, LMB_IN(dx, n->in[0]), LMB_NO_ATTRS)),
                         LMB_NO_ATTRS);
    d = lmbi_sum_to_like(b, d, scale_against(g, a->axis));
    if (scales > 1)
        d = lmb_emit(b, "Reshape", NULL, LMB_IN(d, lmb_emit_ints(b, s.d, s.n)), LMB_NO_ATTRS);
    d = lmb_emit(b, "Div", NULL, LMB_IN(d, n->in[1]), LMB_NO_ATTRS);
    return lmb_emit(b, "Mul", NULL, LMB_IN(d, lmb_emit_scalar(b, 1.0f / sqrtf((float)share * (float)a->hi))),
                    LMB_NO_ATTRS);
}

static lmb_status fake_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_fake_quant_attr *a = g->node->attr;
    const lmb_node *n = g->node;
    lmb_vid in[4] = { g->dout[0], n->in[0], n->in[1], n->n_in > 2 ? n->in[2] : LMB_NONE };
    bool step = a->learn && g->wanted[1];

    (void)err;
    if (!g->wanted[0] && !step)
        return LMB_OK;
    lmb_vid dx = lmb_emit(g->b, "FakeQuantGrad", NULL, in, 4,
                          LMB_ATTRS(LMB_AINT("axis", a->axis), LMB_AINT("lo", a->lo), LMB_AINT("hi", a->hi)));
    g->din[0] = g->wanted[0] ? dx : LMB_NONE;
    if (step)
        g->din[1] = step_grad(g, dx);
    return LMB_OK;
}

static void fake_axes(const lmb_call *c, const lmb_axes *a)
{
    scale_axes(c, ((const lmb_fake_quant_attr *)c->attr)->axis, a);
}

const lmb_op lmb_op_fake_quant = {
    .name = "FakeQuant", .domain = "limbeck", .summary = "quantise and dequantise in one step",
    .source = "Jacob et al. 2018, arXiv:1712.05877, section 3", .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1,
    .flags = LMB_OP_ELEMENTWISE | LMB_OP_INPLACE, .attr_size = sizeof(lmb_fake_quant_attr),
    .attrs = lmb_fake_quant_rows, .infer = fake_infer, .grad = fake_grad, .cost = lmbi_cost_elementwise,
    .axes = fake_axes, .run = fake_run,
};

const lmb_op lmb_op_fake_quant_grad = {
    .name = "FakeQuantGrad", .domain = "limbeck", .summary = "dy where x lies inside the range, else 0",
    .source = "arXiv:1308.3432", .min_in = 3, .max_in = 4, .min_out = 1, .max_out = 1,
    .flags = LMB_OP_ELEMENTWISE | LMB_OP_INPLACE, .attr_size = sizeof(lmb_fake_quant_attr),
    .attrs = lmb_fake_quant_rows, .infer = fake_infer, .cost = lmbi_cost_elementwise, .run = fake_grad_run,
};
