/* core/ops/observe.c - from what was seen to how it is quantised.
 *
 *   ObserveRange   x, old_min [], old_max []  ->  new_min, new_max
 *                  mode minmax: the widest range so far; moving_average: m old + (1 - m) batch.
 *                  An observer that has seen nothing holds min > max (starts as +1, -1) and takes the batch.
 *   RangeToScale   min [], max []  ->  scale [] f32, zero_point [] f32 (a whole number in 0 .. top)
 *                  affine over a range widened to hold 0, so that 0 is exact (padding, ReLU), in steps of 1 / top of
 *                  it; symmetric: zero point (top + 1) / 2, as wide on both sides, which is a signed integer with zero
 *                  point 0
 *   WeightScale    w  ->  scale [w.d[axis]] = max|w| / top of each slice; symmetric, top is the largest integer
 *                  power_of_two: the next 2^n from the scale upwards, so that nothing saturates that did not before
 *   None of them passes a gradient on: the step between two integers is a setting, not a weight.
 *   source   Jacob et al. 2018, arXiv:1712.05877, sections 3.1 and 3.2
 */
#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/ops/attrs.h"
#include "core/ops/common.h"
#include "core/ops/quantize.h"

static const lmb_attr_row observe_rows[] = { LMB_A_TEXT(lmb_observe_attr, mode, "moving_average"),
                                             LMB_A_REAL(lmb_observe_attr, momentum, 0.99f), LMB_A_END };
static const lmb_attr_row range_rows[] = { LMB_A_INT(lmb_range_to_scale_attr, top, 255),
                                           LMB_A_INT(lmb_range_to_scale_attr, symmetric, 0),
                                           LMB_A_INT(lmb_range_to_scale_attr, power_of_two, 0), LMB_A_END };
static const lmb_attr_row weight_rows[] = { LMB_A_INT(lmb_weight_scale_attr, axis, 0),
                                            LMB_A_INT(lmb_weight_scale_attr, top, 127),
                                            LMB_A_INT(lmb_weight_scale_attr, power_of_two, 0), LMB_A_END };

float lmb_power_of_two(float s)
{
    int n;
    float m = frexpf(s, &n); /* s = m 2^n, m in [1/2, 1) */
    return m == 0.5f ? s : ldexpf(1.0f, n);
}

static lmb_status check_top(int64_t top, lmb_error *err)
{
    return top >= 1 && top <= 255
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_ARG, "integers up to %lld; it must be 1 .. 255", (long long)top);
}

static lmb_status no_grad(lmb_grad *g, lmb_error *err)
{
    (void)g, (void)err;
    return LMB_OK;
}

static lmb_status observe_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_observe_attr *a = c->attr;

    for (int i = 0; i < 3; i++) {
        LMB_TRY(lmbi_want(c, i, LMB_F32, "operand", err));
        if (i && lmb_shape_count(&c->in[i].shape) != 1)
            return LMB_FAIL(err, LMB_E_SHAPE, "an observed range is two single numbers");
    }
    if (strcmp(a->mode, "minmax") && strcmp(a->mode, "moving_average"))
        return LMB_FAIL(err, LMB_E_ARG, "observer mode '%s'; it must be minmax or moving_average", a->mode);
    for (int i = 0; i < 2; i++) {
        c->out[i].dtype = LMB_F32;
        c->out[i].shape = c->in[1 + i].shape;
    }
    return LMB_OK;
}

LMB_HOT static void range_of(const float *x, int64_t n, float *lo, float *hi)
{
    float a = x[0], b = x[0];
    for (int64_t i = 1; i < n; i++) {
        a = x[i] < a ? x[i] : a;
        b = x[i] > b ? x[i] : b;
    }
    *lo = a, *hi = b;
}

static lmb_status observe_run(const lmb_run *r, lmb_error *err)
{
    const lmb_observe_attr *a = r->attr;
    float old_lo = *(const float *)r->in[1].data, old_hi = *(const float *)r->in[2].data, lo = 0, hi = 0;
    int64_t n = lmb_shape_count(&r->in[0].shape);

    (void)err;
    if (n)
        range_of(r->in[0].data, n, &lo, &hi);
    if (old_lo <= old_hi) {
        bool average = a->mode[1] == 'o';
        lo = average ? a->momentum * old_lo + (1 - a->momentum) * lo : fminf(old_lo, lo);
        hi = average ? a->momentum * old_hi + (1 - a->momentum) * hi : fmaxf(old_hi, hi);
    }
    if (r->out[0].data)
        *(float *)r->out[0].data = lo;
    if (r->out[1].data)
        *(float *)r->out[1].data = hi;
    return LMB_OK;
}

const lmb_op lmb_op_observe_range = {
    .name = "ObserveRange",
    .domain = "limbeck",
    .summary = "running minimum and maximum of an activation",
    .source = "arXiv:1712.05877, section 3.1",
    .min_in = 3,
    .max_in = 3,
    .min_out = 2,
    .max_out = 2,
    .flags = LMB_OP_ORDER_FREE,
    .attr_size = sizeof(lmb_observe_attr),
    .attrs = observe_rows,
    .infer = observe_infer,
    .grad = no_grad,
    .run = observe_run,
};

static lmb_status to_scale_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(check_top(((const lmb_range_to_scale_attr *)c->attr)->top, err));
    for (int i = 0; i < 2; i++) {
        LMB_TRY(lmbi_want(c, i, LMB_F32, "range", err));
        if (lmb_shape_count(&c->in[i].shape) != 1)
            return LMB_FAIL(err, LMB_E_SHAPE, "a range is two single numbers");
        c->out[i].dtype = LMB_F32;
        c->out[i].shape = (lmb_shape){ 0 };
    }
    return LMB_OK;
}

static lmb_status to_scale_run(const lmb_run *r, lmb_error *err)
{
    const lmb_range_to_scale_attr *a = r->attr;
    float lo = fminf(*(const float *)r->in[0].data, 0), hi = fmaxf(*(const float *)r->in[1].data, 0),
          top = (float)a->top;
    float half = (float)((a->top + 1) / 2), scale = a->symmetric ? fmaxf(-lo, hi) / (top - half) : (hi - lo) / top;

    (void)err;
    if (!(scale > 1e-8f) || isinf(scale)) /* nothing seen, or a constant 0 */
        scale = 1.0f / top;
    if (a->power_of_two)
        scale = lmb_power_of_two(scale);
    if (r->out[0].data)
        *(float *)r->out[0].data = scale;
    if (r->out[1].data)
        *(float *)r->out[1].data = a->symmetric ? half : fminf(fmaxf(rintf(-lo / scale), 0), top);
    return LMB_OK;
}

const lmb_op lmb_op_range_to_scale = {
    .name = "RangeToScale",
    .domain = "limbeck",
    .summary = "u8 scale and zero point of a range",
    .source = "arXiv:1712.05877, section 3.1",
    .min_in = 2,
    .max_in = 2,
    .min_out = 2,
    .max_out = 2,
    .attr_size = sizeof(lmb_range_to_scale_attr),
    .attrs = range_rows,
    .infer = to_scale_infer,
    .grad = no_grad,
    .run = to_scale_run,
};

static lmb_status weight_infer(const lmb_call *c, lmb_error *err)
{
    int k;
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "w", err));
    LMB_TRY(check_top(((const lmb_weight_scale_attr *)c->attr)->top, err));
    LMB_TRY(lmbi_axis(((const lmb_weight_scale_attr *)c->attr)->axis, c->in[0].shape.n, &k, err));
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = LMB_SHAPE(c->in[0].shape.d[k]);
    return LMB_OK;
}

static lmb_status weight_run(const lmb_run *r, lmb_error *err)
{
    const lmb_weight_scale_attr *a = r->attr;
    const lmb_shape *s = &r->in[0].shape;
    const float *w = r->in[0].data;
    float *scale = r->out[0].data;
    int64_t inner = 1, n = r->out[0].shape.d[0];
    int k;

    LMB_TRY(lmbi_axis(a->axis, s->n, &k, err));
    for (int i = k + 1; i < s->n; i++)
        inner *= s->d[i];
    memset(scale, 0, (size_t)n * sizeof *scale);
    for (int64_t i = 0; i < lmb_shape_count(s); i++) {
        int64_t c = i / inner % n;
        scale[c] = fmaxf(scale[c], fabsf(w[i]));
    }
    for (int64_t c = 0; c < n; c++) {
        scale[c] = scale[c] > 1e-12f ? scale[c] / (float)a->top : 1.0f;
        scale[c] = a->power_of_two ? lmb_power_of_two(scale[c]) : scale[c];
    }
    return LMB_OK;
}

static void weight_axes(const lmb_call *c, const lmb_axes *a)
{
    int k = (int)((const lmb_weight_scale_attr *)c->attr)->axis;
    a->tie(a->ctx, 0, k < 0 ? k + c->in[0].shape.n : k, LMB_OUT(c, 0), 0, 0, 1);
}

const lmb_op lmb_op_weight_scale = {
    .name = "WeightScale", .domain = "limbeck", .summary = "max|w| / top of each slice along an axis",
    .source = "arXiv:1712.05877, section 3.1", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_weight_scale_attr), .attrs = weight_rows, .infer = weight_infer, .grad = no_grad,
    .axes = weight_axes, .run = weight_run,
};
