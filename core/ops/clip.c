/* core/ops/clip.c - limit to a range.
 *
 *   Clip      y = min(max(x, lo), hi)      lo, hi: optional scalars of x's type; f32, f64, integers. ONNX has hi
 *             everywhere where lo > hi; such constants are refused, as kernels and integer forms differ there
 *   ClipGrad  dx = dy where lo <= x <= hi, else 0     (f32)
 *   a floor   of a parameter, as Clip with lo alone, lets through what moves it up: one that an update has put below is
 *             not lost for good
 *   source    ONNX Clip-13
 */
#include <float.h>
#include <math.h>

#include "core/ops/common.h"

/* Limits of f32 that are known now. */
static const float *constant(const lmb_call *c, int i)
{
    return c->n_in > i && c->in[i].present && c->in[i].dtype == LMB_F32 ? c->in[i].data : NULL;
}

static lmb_status clip_infer(const lmb_call *c, lmb_error *err)
{
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i].present &&
            (c->in[i].dtype != c->in[0].dtype || lmb_shape_count(&c->in[i].shape) != 1))
            return LMB_FAIL(err, LMB_E_SHAPE, "%s must be a scalar of type %s", i == 1 ? "min" : "max",
                            lmb_dtype_name(c->in[0].dtype));
    const float *lo = constant(c, 1), *hi = constant(c, 2);
    if ((lo && isnan(*lo)) || (hi && isnan(*hi)) || (lo && hi && *lo > *hi))
        return LMB_FAIL(err, LMB_E_ARG, "limits to [%g, %g]; min must not be above max", lo ? (double)*lo : -INFINITY,
                        hi ? (double)*hi : INFINITY);
    return lmbi_infer_same(c, err);
}

#define CLIP(type, lowest, highest)                                                      \
    do {                                                                                 \
        const type *x = r->in[0].data;                                                   \
        type *y = r->out[0].data;                                                        \
        type lo = r->n_in > 1 && r->in[1].data ? *(const type *)r->in[1].data : (lowest); \
        type hi = r->n_in > 2 && r->in[2].data ? *(const type *)r->in[2].data : (highest); \
        for (int64_t i = 0; i < n; i++) {                                                \
            type v = x[i] < lo ? lo : x[i];                                              \
            y[i] = v > hi ? hi : v;                                                      \
        }                                                                                \
    } while (0)

static lmb_status clip_run(const lmb_run *r, lmb_error *err)
{
    int64_t n = lmb_shape_count(&r->out[0].shape);

    switch (r->in[0].dtype) {
    case LMB_F32: CLIP(float, -FLT_MAX, FLT_MAX); break;
    case LMB_F64: CLIP(double, -DBL_MAX, DBL_MAX); break;
    case LMB_U8: CLIP(uint8_t, 0, UINT8_MAX); break;
    case LMB_S8: CLIP(int8_t, INT8_MIN, INT8_MAX); break;
    case LMB_U16: CLIP(uint16_t, 0, UINT16_MAX); break;
    case LMB_S16: CLIP(int16_t, INT16_MIN, INT16_MAX); break;
    case LMB_U32: CLIP(uint32_t, 0, UINT32_MAX); break;
    case LMB_S32: CLIP(int32_t, INT32_MIN, INT32_MAX); break;
    case LMB_U64: CLIP(uint64_t, 0, UINT64_MAX); break;
    case LMB_S64: CLIP(int64_t, INT64_MIN, INT64_MAX); break;
    default: return lmbi_unsupported("Clip", r->in[0].dtype, err);
    }
    return LMB_OK;
}

/* min(dy, 0) everywhere, the rest of dy above the floor: of a parameter above it dy to the bit. */
static lmb_vid floor_grad(lmb_builder *b, lmb_vid dy, lmb_vid x, lmb_vid lo)
{
    lmb_vid zero = lmb_emit_scalar(b, 0), up = lmb_emit(b, "Clip", NULL, LMB_IN(dy, LMB_NONE, zero), LMB_NO_ATTRS),
            down = lmb_emit(b, "Clip", NULL, LMB_IN(dy, zero), LMB_NO_ATTRS);

    down = lmb_emit(b, "ClipGrad", NULL, LMB_IN(down, x, lo), LMB_NO_ATTRS);
    return lmb_emit(b, "Add", NULL, LMB_IN(up, down), LMB_NO_ATTRS);
}

static lmb_status clip_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_node *n = g->node;
    lmb_vid in[4] = { g->dout[0], n->in[0], n->n_in > 1 ? n->in[1] : LMB_NONE, n->n_in > 2 ? n->in[2] : LMB_NONE };

    (void)err;
    if (g->b->g->value[n->in[0]].role == LMB_ROLE_PARAMETER && in[2] != LMB_NONE && in[3] == LMB_NONE)
        g->din[0] = floor_grad(g->b, in[0], in[1], in[2]);
    else
        g->din[0] = lmb_emit(g->b, "ClipGrad", NULL, in, 4, LMB_NO_ATTRS);
    return LMB_OK;
}

const lmb_op lmb_op_clip = {
    .name = "Clip", .domain = "", .summary = "y = min(max(x, lo), hi)", .source = "ONNX Clip-13", .since = 13,
    .min_in = 1, .max_in = 3, .min_out = 1, .max_out = 1, .flags = LMB_OP_ELEMENTWISE | LMB_OP_INPLACE,
    .infer = clip_infer, .grad = clip_grad, .cost = lmbi_cost_elementwise, .axes = lmbi_axes_same, .run = clip_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "x", err));
    if (!lmb_shape_equal(&c->in[0].shape, &c->in[1].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "dy and x have different shapes");
    for (int i = 2; i < c->n_in; i++)
        if (c->in[i].present)
            LMB_TRY(lmbi_want_number(c, i, i == 2 ? "min" : "max", err));
    return lmbi_infer_same(c, err);
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    const float *dy = r->in[0].data, *x = r->in[1].data;
    float lo = r->n_in > 2 && r->in[2].data ? *(const float *)r->in[2].data : -FLT_MAX;
    float hi = r->n_in > 3 && r->in[3].data ? *(const float *)r->in[3].data : FLT_MAX;
    float *dx = r->out[0].data;
    int64_t n = lmb_shape_count(&r->out[0].shape);

    (void)err;
    for (int64_t i = 0; i < n; i++)
        dx[i] = x[i] >= lo && x[i] <= hi ? dy[i] : 0.0f;
    return LMB_OK;
}

const lmb_op lmb_op_clip_grad = {
    .name = "ClipGrad",
    .domain = "limbeck",
    .summary = "dx = dy inside the range, else 0",
    .source = "gradient of Clip",
    .min_in = 2,
    .max_in = 4,
    .min_out = 1,
    .max_out = 1,
    .flags = LMB_OP_ELEMENTWISE | LMB_OP_INPLACE,
    .infer = grad_infer,
    .cost = lmbi_cost_elementwise,
    .run = grad_run,
};
