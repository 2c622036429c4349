/* core/ops/lp_normalization.c - lines of a tensor divided by their length.
 *
 *   LpNormalization      x; attributes axis (-1), p (2; or 1) -> y = x / |x|_p along the axis; a line of zeros stays
 *                        zeros
 *   LpNormalizationGrad  dy, x -> dx = (dy - u sum(dy y)) / |x|_p along the axis, u = y for p 2, sign(x) for p 1;
 *                        a line of zeros has none: dx = 0
 *   source   ONNX LpNormalization-1 (zeros: LpNormalization-22); f32 and f64, gradient f32; sums in double
 */
#include <math.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"

static const lmb_attr_row rows[] = { LMB_A_INT(lmb_lp_attr, axis, -1), LMB_A_INT(lmb_lp_attr, p, 2), LMB_A_END };

static lmb_status check(const lmb_call *c, lmb_error *err)
{
    const lmb_lp_attr *a = c->attr;
    int axis;

    if (a->p != 1 && a->p != 2)
        return LMB_FAIL(err, LMB_E_ARG, "p is %lld; it must be 1 or 2", (long long)a->p);
    LMB_TRY(lmbi_axis(a->axis, c->in[0].shape.n, &axis, err));
    return lmbi_infer_same(c, err);
}

static lmb_status forward_infer(const lmb_call *c, lmb_error *err)
{
    if (c->in[0].dtype != LMB_F32 && c->in[0].dtype != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s of %s", c->op->name, lmb_dtype_name(c->in[0].dtype));
    return check(c, err);
}

/* Lines of n elements, `step` apart; line i begins at element i / step * step * n + i % step. */
typedef struct lines { int64_t count, n, step; bool square; } lines;

static lmb_status lines_of(const lmb_run *r, lines *l, lmb_error *err)
{
    const lmb_lp_attr *a = r->attr;
    const lmb_shape *s = &r->in[0].shape;
    int axis;

    LMB_TRY(lmbi_axis(a->axis, s->n, &axis, err));
    *l = (lines){ 1, s->d[axis], 1, a->p == 2 };
    for (int i = axis + 1; i < s->n; i++)
        l->step *= s->d[i];
    l->count = l->n ? lmb_shape_count(s) / l->n : 0;
    return LMB_OK;
}

static double real(const lmb_tensor *t, int64_t i)
{
    return t->dtype == LMB_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static double length(const lmb_tensor *x, int64_t first, const lines *l)
{
    double sum = 0;
    for (int64_t k = 0; k < l->n; k++) {
        double v = real(x, first + k * l->step);
        sum += l->square ? v * v : fabs(v);
    }
    return l->square ? sqrt(sum) : sum;
}

static lmb_status forward_run(const lmb_run *r, lmb_error *err)
{
    lines l;

    LMB_TRY(lines_of(r, &l, err));
    for (int64_t i = 0; i < l.count; i++) {
        int64_t first = i / l.step * l.step * l.n + i % l.step;
        double norm = length(&r->in[0], first, &l);
        for (int64_t k = 0; k < l.n; k++) {
            int64_t at = first + k * l.step;
            double y = norm > 0 ? real(&r->in[0], at) / norm : 0;
            if (r->out[0].dtype == LMB_F64)
                ((double *)r->out[0].data)[at] = y;
            else
                ((float *)r->out[0].data)[at] = (float)y;
        }
    }
    return LMB_OK;
}

static lmb_status forward_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_lp_attr *a = g->node->attr;

    (void)err;
    g->din[0] = lmb_emit(g->b, "LpNormalizationGrad", NULL, LMB_IN(g->dout[0], g->node->in[0]),
                         LMB_ATTRS(LMB_AINT("axis", a->axis), LMB_AINT("p", a->p)));
    return LMB_OK;
}

static void cost(const lmb_call *c, lmb_cost *out) { out->flops = 3.0 * (double)lmb_shape_count(&c->out[0].shape); }

/* Without one of its elements a line is shorter: the axis is needed whole. */
static void axes(const lmb_call *c, const lmb_axes *a)
{
    int64_t axis = ((const lmb_lp_attr *)c->attr)->axis;
    lmbi_axes_same(c, a);
    a->fix(a->ctx, 0, (int)(axis < 0 ? axis + c->in[0].shape.n : axis));
}

const lmb_op lmb_op_lp_normalization = {
    .name = "LpNormalization",
    .domain = "",
    .summary = "lines divided by their length",
    .source = "ONNX LpNormalization-1",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(lmb_lp_attr),
    .attrs = rows,
    .infer = forward_infer,
    .grad = forward_grad,
    .cost = cost,
    .axes = axes,
    .run = forward_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "x", err));
    if (!lmb_shape_equal(&c->in[0].shape, &c->in[1].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "dy and x have different shapes");
    return check(c, err);
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    const float *dy = r->in[0].data, *x = r->in[1].data;
    float *dx = r->out[0].data;
    lines l;

    LMB_TRY(lines_of(r, &l, err));
    for (int64_t i = 0; i < l.count; i++) {
        int64_t first = i / l.step * l.step * l.n + i % l.step;
        double norm = length(&r->in[1], first, &l), dot = 0;
        for (int64_t k = 0, at = first; k < l.n; k++, at += l.step)
            dot += norm > 0 ? dy[at] * (x[at] / norm) : 0;
        for (int64_t k = 0, at = first; k < l.n; k++, at += l.step) {
            double u = l.square ? x[at] / (norm > 0 ? norm : 1) : (x[at] > 0) - (x[at] < 0);
            dx[at] = norm > 0 ? (float)((dy[at] - u * dot) / norm) : 0;
        }
    }
    return LMB_OK;
}

const lmb_op lmb_op_lp_normalization_grad = {
    .name = "LpNormalizationGrad",
    .domain = "limbeck",
    .summary = "gradient of LpNormalization",
    .source = "LpNormalization",
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(lmb_lp_attr),
    .attrs = rows,
    .infer = grad_infer,
    .cost = cost,
    .run = grad_run,
};
