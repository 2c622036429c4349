/* core/ops/softmax.c - Softmax and LogSoftmax along one axis, and their gradients.
 *
 *   Softmax         y_i = exp(x_i - m) / sum_j exp(x_j - m),  m = max x         grad: dx = y (dy - sum(dy y))
 *   LogSoftmax      y_i = (x_i - m) - log sum_j exp(x_j - m)                    grad: dx = dy - exp(y) sum(dy)
 *   SoftmaxGrad(dy, y), LogSoftmaxGrad(dy, y)
 *   source   ONNX Softmax-13, LogSoftmax-13; f32 and f64, gradients f32; sums in double
 */
#include <math.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"

static const lmb_attr_row rows[] = { LMB_A_INT(lmb_axis_attr, axis, -1), LMB_A_END };

/* The tensor as [outer, n, inner] around the axis. */
typedef struct around { int64_t outer, n, inner; } around;

static around split(const lmb_shape *s, int axis)
{
    around a = { 1, s->d[axis], 1 };
    for (int i = 0; i < axis; i++)
        a.outer *= s->d[i];
    for (int i = axis + 1; i < s->n; i++)
        a.inner *= s->d[i];
    return a;
}

static lmb_status softmax_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_axis_attr *a = c->attr;
    int axis;

    if (c->in[0].dtype != LMB_F32 && c->in[0].dtype != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s of %s", c->op->name, lmb_dtype_name(c->in[0].dtype));
    LMB_TRY(lmbi_axis(a->axis, c->in[0].shape.n, &axis, err));
    return lmbi_infer_same(c, err);
}

#define EACH_LINE(a, base)                                     \
    for (int64_t o_ = 0; o_ < (a).outer; o_++)                 \
        for (int64_t i_ = 0, base = o_ * (a).n * (a).inner; i_ < (a).inner; i_++, base++)

#define FORWARD(type, LOG)                                                             \
    EACH_LINE(a, base) {                                                               \
        const type *x = (const type *)r->in[0].data + base;                            \
        type *y = (type *)r->out[0].data + base;                                       \
        double m = -INFINITY, sum = 0;                                                 \
        for (int64_t i = 0; i < a.n; i++)                                              \
            m = x[i * a.inner] > m ? x[i * a.inner] : m;                               \
        for (int64_t i = 0; i < a.n; i++)                                              \
            sum += exp((double)x[i * a.inner] - m);                                    \
        double log_sum = log(sum);                                                     \
        for (int64_t i = 0; i < a.n; i++) {                                            \
            double v = (double)x[i * a.inner] - m;                                     \
            y[i * a.inner] = (type)(LOG ? v - log_sum : exp(v) / sum);                 \
        }                                                                              \
    }

#define RUN(name, LOG)                                                                              \
    static lmb_status name(const lmb_run *r, lmb_error *err)                                        \
    {                                                                                               \
        int axis;                                                                                   \
        LMB_TRY(lmbi_axis(((const lmb_axis_attr *)r->attr)->axis, r->in[0].shape.n, &axis, err));       \
        around a = split(&r->in[0].shape, axis);                                                    \
        if (r->in[0].dtype == LMB_F64)                                                              \
            FORWARD(double, LOG)                                                                    \
        else                                                                                        \
            FORWARD(float, LOG)                                                                     \
        return LMB_OK;                                                                              \
    }
RUN(softmax_run, 0)
RUN(log_softmax_run, 1)

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    int axis;
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "y", err));
    LMB_TRY(lmbi_axis(((const lmb_axis_attr *)c->attr)->axis, c->in[0].shape.n, &axis, err));
    if (!lmb_shape_equal(&c->in[0].shape, &c->in[1].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "dy and y have different shapes");
    return lmbi_infer_same(c, err);
}

#define GRAD(name, TERM, FORMULA)                                                                   \
    static lmb_status name(const lmb_run *r, lmb_error *err)                                        \
    {                                                                                               \
        int axis;                                                                                   \
        LMB_TRY(lmbi_axis(((const lmb_axis_attr *)r->attr)->axis, r->in[0].shape.n, &axis, err));       \
        around a = split(&r->in[0].shape, axis);                                                    \
        EACH_LINE(a, base) {                                                                        \
            const float *dy = (const float *)r->in[0].data + base, *y = (const float *)r->in[1].data + base; \
            float *dx = (float *)r->out[0].data + base;                                             \
            double sum = 0;                                                                         \
            for (int64_t k = 0, i = 0; k < a.n; k++, i += a.inner)                                  \
                sum += TERM;                                                                        \
            for (int64_t k = 0, i = 0; k < a.n; k++, i += a.inner)                                  \
                dx[i] = (float)(FORMULA);                                                           \
        }                                                                                           \
        return LMB_OK;                                                                              \
    }
GRAD(softmax_grad_run, (double)dy[i] * y[i], y[i] * (dy[i] - sum))
GRAD(log_softmax_grad_run, dy[i], dy[i] - exp(y[i]) * sum)

static lmb_status grad_rule(lmb_grad *g, const char *op)
{
    const lmb_axis_attr *a = g->node->attr;
    g->din[0] = lmb_emit(g->b, op, NULL, LMB_IN(g->dout[0], g->node->out[0]), LMB_ATTRS(LMB_AINT("axis", a->axis)));
    return LMB_OK;
}
static lmb_status softmax_grad(lmb_grad *g, lmb_error *err) { (void)err; return grad_rule(g, "SoftmaxGrad"); }
static lmb_status log_softmax_grad(lmb_grad *g, lmb_error *err) { (void)err; return grad_rule(g, "LogSoftmaxGrad"); }

static void cost(const lmb_call *c, lmb_cost *out) { out->flops = 5.0 * (double)lmb_shape_count(&c->out[0].shape); }

/* Without one of them the others' shares grow: the axis is needed whole. */
static void axes(const lmb_call *c, const lmb_axes *a)
{
    int64_t axis = ((const lmb_axis_attr *)c->attr)->axis;
    lmbi_axes_same(c, a);
    a->fix(a->ctx, 0, (int)(axis < 0 ? axis + c->in[0].shape.n : axis));
}

#define FORWARD_ROW(lower, Name, formula)                                                          \
    const lmb_op lmb_op_##lower = {                                                                \
        .name = Name, .domain = "", .summary = formula, .source = "ONNX " Name "-13", .since = 13, \
        .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_axis_attr),      \
        .attrs = rows, .infer = softmax_infer, .grad = lower##_grad, .cost = cost,                 \
        .axes = axes, .run = lower##_run,                                                          \
    }
#define GRAD_ROW(lower, Name)                                                                      \
    const lmb_op lmb_op_##lower##_grad = {                                                         \
        .name = Name "Grad", .domain = "limbeck", .summary = "gradient of " Name, .source = "gradient of " Name, \
        .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_axis_attr),      \
        .attrs = rows, .infer = grad_infer, .cost = cost, .run = lower##_grad_run,                 \
    }
FORWARD_ROW(softmax, "Softmax", "exp(x) / sum exp(x) along an axis");
FORWARD_ROW(log_softmax, "LogSoftmax", "log softmax along an axis");
GRAD_ROW(softmax, "Softmax");
GRAD_ROW(log_softmax, "LogSoftmax");
