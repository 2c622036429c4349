/* core/ops/global_pool.c - one number for each channel.
 *
 *   GlobalAveragePool  y [N, C, 1, ...] = mean over all spatial positions    grad: BroadcastTo(dy) / area
 *   GlobalMaxPool      y = maximum                                           grad: GlobalMaxPoolGrad(dy, x)
 *   source   ONNX GlobalAveragePool-1, GlobalMaxPool-1; f32 (forward also f64)
 */
#include <string.h>

#include "core/ops/common.h"

static lmb_status pool_infer(const lmb_call *c, lmb_error *err)
{
    if (c->in[0].dtype != LMB_F32 && c->in[0].dtype != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s of %s", c->op->name, lmb_dtype_name(c->in[0].dtype));
    if (c->in[0].shape.n < 3)
        return LMB_FAIL(err, LMB_E_SHAPE, "x has %d dimensions; at least 3 are needed", c->in[0].shape.n);
    LMB_TRY(lmbi_infer_same(c, err));
    for (int i = 2; i < c->out[0].shape.n; i++)
        c->out[0].shape.d[i] = 1;
    return LMB_OK;
}

static void pool_cost(const lmb_call *c, lmb_cost *out) { out->flops = (double)lmb_shape_count(&c->in[0].shape); }

static void pool_axes(const lmb_call *c, const lmb_axes *a)
{
    a->tie(a->ctx, 0, 0, LMB_OUT(c, 0), 0, 0, 1);
    a->tie(a->ctx, 0, 1, LMB_OUT(c, 0), 1, 0, 1);
}

static int64_t area_of(const lmb_shape *s)
{
    int64_t n = 1;
    for (int i = 2; i < s->n; i++)
        n *= s->d[i];
    return n;
}

#define EACH_CHANNEL(type, body)                                                                   \
    for (int64_t ch = 0; ch < r->in[0].shape.d[0] * r->in[0].shape.d[1]; ch++) {                   \
        const type *x = (const type *)r->in[0].data + ch * area;                                   \
        double v = 0;                                                                              \
        body                                                                                       \
        ((type *)r->out[0].data)[ch] = (type)v;                                                    \
    }
#define MEAN { for (int64_t i = 0; i < area; i++) v += x[i]; v /= (double)area; }
#define MAXIMUM { v = area ? x[0] : 0; for (int64_t i = 1; i < area; i++) v = x[i] > v ? x[i] : v; }

static lmb_status average_run(const lmb_run *r, lmb_error *err)
{
    int64_t area = area_of(&r->in[0].shape);
    (void)err;
    if (r->in[0].dtype == LMB_F64)
        EACH_CHANNEL(double, MEAN)
    else
        EACH_CHANNEL(float, MEAN)
    return LMB_OK;
}

static lmb_status max_run(const lmb_run *r, lmb_error *err)
{
    int64_t area = area_of(&r->in[0].shape);
    (void)err;
    if (r->in[0].dtype == LMB_F64)
        EACH_CHANNEL(double, MAXIMUM)
    else
        EACH_CHANNEL(float, MAXIMUM)
    return LMB_OK;
}

static lmb_status average_grad(lmb_grad *g, lmb_error *err)
{
    lmb_shape s = lmb_builder_value(g->b, g->node->in[0])->shape;
    lmb_attr shape = { .name = "shape", .kind = LMB_ATTR_INTS };

    (void)err;
    shape.ints.n = s.n;
    memcpy(shape.ints.v, s.d, sizeof(int64_t) * (size_t)s.n);
    lmb_vid each = lmb_emit(g->b, "Mul", NULL,
                            LMB_IN(g->dout[0], lmb_emit_scalar(g->b, 1.0f / (float)area_of(&s))), LMB_NO_ATTRS);
    g->din[0] = lmb_emit(g->b, "BroadcastTo", NULL, LMB_IN(each), &shape, 1);
    return LMB_OK;
}

static lmb_status max_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    g->din[0] = lmb_emit(g->b, "GlobalMaxPoolGrad", NULL, LMB_IN(g->dout[0], g->node->in[0]), LMB_NO_ATTRS);
    return LMB_OK;
}

const lmb_op lmb_op_global_average_pool = {
    .name = "GlobalAveragePool", .domain = "", .summary = "mean of each channel", .source = "ONNX GlobalAveragePool-1",
    .since = 1, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .infer = pool_infer, .grad = average_grad,
    .cost = pool_cost, .axes = pool_axes, .run = average_run,
};

const lmb_op lmb_op_global_max_pool = {
    .name = "GlobalMaxPool", .domain = "", .summary = "maximum of each channel", .source = "ONNX GlobalMaxPool-1",
    .since = 1, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .infer = pool_infer, .grad = max_grad,
    .cost = pool_cost, .axes = pool_axes, .run = max_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "x", err));
    if (c->in[1].shape.n < 3 || lmb_shape_count(&c->in[0].shape) != c->in[1].shape.d[0] * c->in[1].shape.d[1])
        return LMB_FAIL(err, LMB_E_SHAPE, "dy must hold one number for each channel of x");
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = c->in[1].shape;
    return LMB_OK;
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    int64_t area = area_of(&r->in[1].shape);

    (void)err;
    memset(r->out[0].data, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    for (int64_t ch = 0; area && ch < r->in[1].shape.d[0] * r->in[1].shape.d[1]; ch++) {
        const float *x = (const float *)r->in[1].data + ch * area;
        int64_t best = 0;
        for (int64_t i = 1; i < area; i++)
            best = x[i] > x[best] ? i : best;
        ((float *)r->out[0].data)[ch * area + best] = ((const float *)r->in[0].data)[ch];
    }
    return LMB_OK;
}

const lmb_op lmb_op_global_max_pool_grad = {
    .name = "GlobalMaxPoolGrad", .domain = "limbeck", .summary = "dy to the first maximum of each channel",
    .source = "gradient of GlobalMaxPool", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .infer = grad_infer,
    .cost = pool_cost, .run = grad_run,
};
