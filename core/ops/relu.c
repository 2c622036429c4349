/* core/ops/relu.c - rectified linear unit and its gradient.
 *
 *   Relu       y = max(x, 0)                       any shape, f32 or f64
 *   ReluGrad   dx = dy where y > 0, else 0         from the output, so that x need not be kept
 *
 * The subgradient at 0 is taken as 0. NaN passes through.
 *   source  ONNX Relu-14; Nair and Hinton, ICML 2010
 */
#include "core/base/compiler.h"
#include "core/ops/common.h"

static lmb_status relu_infer(const lmb_call *c, lmb_error *err)
{
    if (c->in[0].dtype != LMB_F32 && c->in[0].dtype != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "Relu of %s; f32 and f64 are supported",
                        lmb_dtype_name(c->in[0].dtype));
    return lmbi_infer_same(c, err);
}

LMB_HOT static void relu_f32(const float *x, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static lmb_status relu_run(const lmb_run *r, lmb_error *err)
{
    int64_t n = lmb_shape_count(&r->out[0].shape);

    (void)err;
    if (r->in[0].dtype == LMB_F64) {
        const double *x = r->in[0].data;
        double *y = r->out[0].data;
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] < 0.0 ? 0.0 : x[i];
    } else {
        relu_f32(r->in[0].data, r->out[0].data, n);
    }
    return LMB_OK;
}

static lmb_status relu_grad_rule(lmb_grad *g, lmb_error *err)
{
    (void)err;
    g->din[0] = lmb_emit(g->b, "ReluGrad", NULL, LMB_IN(g->dout[0], g->node->out[0]), LMB_NO_ATTRS);
    return LMB_OK;
}

const lmb_op lmb_op_relu = {
    .name = "Relu", .domain = "", .summary = "y = max(x, 0)", .source = "ONNX Relu-14", .since = 14,
    .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .flags = LMB_OP_ELEMENTWISE | LMB_OP_INPLACE,
    .infer = relu_infer, .grad = relu_grad_rule, .cost = lmbi_cost_elementwise, .axes = lmbi_axes_same,
    .run = relu_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "y", err));
    if (!lmb_shape_equal(&c->in[0].shape, &c->in[1].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "dy and y have different shapes");
    return lmbi_infer_same(c, err);
}

LMB_HOT static void grad_f32(const float *dy, const float *y, float *dx, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    (void)err;
    grad_f32(r->in[0].data, r->in[1].data, r->out[0].data, lmb_shape_count(&r->out[0].shape));
    return LMB_OK;
}

const lmb_op lmb_op_relu_grad = {
    .name = "ReluGrad", .domain = "limbeck", .summary = "dx = dy where y > 0", .source = "gradient of Relu",
    .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .flags = LMB_OP_ELEMENTWISE | LMB_OP_INPLACE,
    .infer = grad_infer, .cost = lmbi_cost_elementwise, .run = grad_run,
};
