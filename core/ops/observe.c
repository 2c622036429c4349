/* core/ops/observe.c - from what was seen to how it is quantised.
 *
 *   ObserveRange   x, old_min [], old_max []  ->  new_min, new_max
 *                  mode minmax: the widest range so far; moving_average: m old + (1 - m) batch.
 *                  An observer that has seen nothing holds min > max (starts as +1, -1) and takes the batch.
 *   RangeToScale   min [], max []  ->  scale [] f32, zero_point [] f32 (a whole number in 0 .. 255)
 *                  u8 affine over a range widened to hold 0, so that 0 is exact (padding, ReLU)
 *   WeightScale    w  ->  scale [w.d[axis]] = max|w| / 127 of each slice; symmetric s8
 *   None of them passes a gradient on: the step between two integers is a setting, not a weight.
 *   source   Jacob et al. 2018, arXiv:1712.05877, sections 3.1 and 3.2
 */
#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/ops/attrs.h"
#include "core/ops/common.h"

static const lmb_attr_row observe_rows[] = { LMB_A_TEXT(lmb_observe_attr, mode, "moving_average"),
                                             LMB_A_REAL(lmb_observe_attr, momentum, 0.99f), LMB_A_END };
static const lmb_attr_row weight_rows[] = { LMB_A_INT(lmb_axis_attr, axis, 0), LMB_A_END };

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
    .name = "ObserveRange", .domain = "limbeck", .summary = "running minimum and maximum of an activation",
    .source = "arXiv:1712.05877, section 3.1", .min_in = 3, .max_in = 3, .min_out = 2, .max_out = 2,
    .flags = LMB_OP_ORDER_FREE, .attr_size = sizeof(lmb_observe_attr), .attrs = observe_rows, .infer = observe_infer, .grad = no_grad,
    .run = observe_run,
};

static lmb_status to_scale_infer(const lmb_call *c, lmb_error *err)
{
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
    float lo = fminf(*(const float *)r->in[0].data, 0), hi = fmaxf(*(const float *)r->in[1].data, 0);
    float scale = (hi - lo) / 255.0f;

    (void)err;
    if (!(scale > 1e-8f) || isinf(scale)) /* nothing seen, or a constant 0 */
        scale = 1.0f / 255.0f;
    if (r->out[0].data)
        *(float *)r->out[0].data = scale;
    if (r->out[1].data)
        *(float *)r->out[1].data = fminf(fmaxf(rintf(-lo / scale), 0), 255);
    return LMB_OK;
}

const lmb_op lmb_op_range_to_scale = {
    .name = "RangeToScale", .domain = "limbeck", .summary = "u8 scale and zero point of a range",
    .source = "arXiv:1712.05877, section 3.1", .min_in = 2, .max_in = 2, .min_out = 2, .max_out = 2,
    .infer = to_scale_infer, .grad = no_grad, .run = to_scale_run,
};

static lmb_status weight_infer(const lmb_call *c, lmb_error *err)
{
    int k;
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "w", err));
    LMB_TRY(lmbi_axis(((const lmb_axis_attr *)c->attr)->axis, c->in[0].shape.n, &k, err));
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = LMB_SHAPE(c->in[0].shape.d[k]);
    return LMB_OK;
}

static lmb_status weight_run(const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->in[0].shape;
    const float *w = r->in[0].data;
    float *scale = r->out[0].data;
    int64_t inner = 1, n = r->out[0].shape.d[0];
    int k;

    LMB_TRY(lmbi_axis(((const lmb_axis_attr *)r->attr)->axis, s->n, &k, err));
    for (int i = k + 1; i < s->n; i++)
        inner *= s->d[i];
    memset(scale, 0, (size_t)n * sizeof *scale);
    for (int64_t i = 0; i < lmb_shape_count(s); i++) {
        int64_t c = i / inner % n;
        scale[c] = fmaxf(scale[c], fabsf(w[i]));
    }
    for (int64_t c = 0; c < n; c++)
        scale[c] = scale[c] > 1e-12f ? scale[c] / 127.0f : 1.0f;
    return LMB_OK;
}

static void weight_axes(const lmb_call *c, const lmb_axes *a)
{
    int k = (int)((const lmb_axis_attr *)c->attr)->axis;
    a->tie(a->ctx, 0, k < 0 ? k + c->in[0].shape.n : k, LMB_OUT(c, 0), 0, 0, 1);
}

const lmb_op lmb_op_weight_scale = {
    .name = "WeightScale", .domain = "limbeck", .summary = "max|w| / 127 of each slice along an axis",
    .source = "arXiv:1712.05877, section 3.1", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_axis_attr), .attrs = weight_rows, .infer = weight_infer, .grad = no_grad,
    .axes = weight_axes, .run = weight_run,
};
