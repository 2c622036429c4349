/* core/ops/batch_norm_act.c - batch normalisation in training together with what follows it; made by the fusing pass.
 *
 *   BatchNormAct      x [N, C, ...], scale, b, mean, var [C] [, add like x]
 *                     -> y [, running_mean, running_var, saved_mean, saved_inverse [C]]
 *     y = act(scale (x - m) i + b [+ add])    m, i: mean and 1 / sqrt(var + eps) of this batch, rounded to f32
 *     act: "" none, "Relu", or "Clip" to [lo, hi]
 *   BatchNormActGrad  dy, x, scale, b, saved_mean, saved_inverse -> dx, dscale, db
 *     without add: the value before act is computed again from x, so that nothing but x and two rows have to be kept;
 *     dy passes where Relu's input is > 0, where Clip's is in [lo, hi]
 *   source   core/ops/batch_norm.c, relu.c, clip.c, whose results these have but for rounding
 */
#include <math.h>
#include <string.h>

#include "core/ops/batch_norm.h"
#include "core/ops/common.h"

const lmb_attr_row lmb_batch_norm_act_rows[] = {
    LMB_A_REAL(lmb_batch_norm_act_attr, epsilon, 1e-5f), LMB_A_REAL(lmb_batch_norm_act_attr, momentum, 0.9f),
    LMB_A_TEXT(lmb_batch_norm_act_attr, function, ""), LMB_A_REAL(lmb_batch_norm_act_attr, lo, 0),
    LMB_A_REAL(lmb_batch_norm_act_attr, hi, 0), LMB_A_END
};

static lmb_status check_operands(const lmb_call *c, int x, lmb_error *err)
{
    const lmb_batch_norm_act_attr *a = c->attr;
    const lmb_shape *s = &c->in[x].shape;

    if (*a->function && strcmp(a->function, "Relu") != 0 && strcmp(a->function, "Clip") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "function '%s'; it must be empty, Relu or Clip", a->function);
    if (s->n < 2)
        return LMB_FAIL(err, LMB_E_SHAPE, "x has %d dimensions; at least 2 are needed", s->n);
    for (int i = 0; i < c->n_in; i++) {
        bool like_x = i <= x || i == 5 + x * 2; /* dy and x, or x and add */
        if (!c->in[i].present)
            continue;
        LMB_TRY(lmbi_want(c, i, LMB_F32, "operand", err));
        if (like_x ? !lmb_shape_equal(&c->in[i].shape, s) : c->in[i].shape.n != 1 || c->in[i].shape.d[0] != s->d[1])
            return LMB_FAIL(err, LMB_E_SHAPE, "operand %d does not fit x, which has %lld channels", i,
                            (long long)s->d[1]);
    }
    for (int i = 0; i < c->n_out; i++) {
        c->out[i].dtype = LMB_F32;
        c->out[i].shape = i ? c->in[x + 1].shape : *s;
    }
    return LMB_OK;
}

static lmb_status infer(const lmb_call *c, lmb_error *err) { return check_operands(c, 0, err); }
static lmb_status grad_infer(const lmb_call *c, lmb_error *err) { return check_operands(c, 1, err); }

static int64_t area_of(const lmb_shape *s)
{
    int64_t area = 1;
    for (int i = 2; i < s->n; i++)
        area *= s->d[i];
    return area;
}

static float act(const lmb_batch_norm_act_attr *a, float v)
{
    if (*a->function == 'R')
        return v < 0 ? 0 : v;
    if (*a->function == 'C')
        return v < a->lo ? a->lo : v > a->hi ? a->hi : v;
    return v;
}

static bool passes(const lmb_batch_norm_act_attr *a, float v)
{
    return *a->function == 'R' ? v > 0 : *a->function == 'C' ? v >= a->lo && v <= a->hi : true;
}

/* Element i of channel c, in order of images and pixels. */
#define AT(i) ((((i) / area) * s->d[1] + c) * area + (i) % area)

static lmb_status run(const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_act_attr *a = r->attr;
    const lmb_shape *s = &r->in[0].shape;
    const float *x = r->in[0].data, *scale = r->in[1].data, *bias = r->in[2].data,
                *add = r->n_in > 5 ? r->in[5].data : NULL;
    int64_t area = area_of(s), count = s->d[0] * area;

    (void)err;
    for (int64_t c = 0; c < s->d[1] && count; c++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < count; i++)
            sum += x[AT(i)];
        double mean = sum / (double)count;
        for (int64_t i = 0; i < count; i++)
            square += (x[AT(i)] - mean) * (x[AT(i)] - mean);
        double var = square / (double)count, m = a->momentum;
        float mean32 = (float)mean, inverse = (float)(1 / sqrt(var + a->epsilon)), f = scale[c] * inverse,
              shift = bias[c] - mean32 * f;
        double results[5] = { 0, m * ((const float *)r->in[3].data)[c] + (1 - m) * mean,
                              m * ((const float *)r->in[4].data)[c] + (1 - m) * var, mean32, inverse };
        for (int k = 1; k < r->n_out; k++)
            if (r->out[k].data)
                ((float *)r->out[k].data)[c] = (float)results[k];
        for (int64_t i = 0; r->out[0].data && i < count; i++)
            ((float *)r->out[0].data)[AT(i)] = act(a, f * x[AT(i)] + shift + (add ? add[AT(i)] : 0));
    }
    return LMB_OK;
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_act_attr *a = r->attr;
    const lmb_shape *s = &r->in[1].shape;
    const float *dy = r->in[0].data, *x = r->in[1].data, *scale = r->in[2].data, *bias = r->in[3].data;
    float *dx = r->out[0].data, *dscale = r->out[1].data, *db = r->out[2].data;
    int64_t area = area_of(s), count = s->d[0] * area;

    (void)err;
    for (int64_t c = 0; c < s->d[1]; c++) {
        float mean = ((const float *)r->in[4].data)[c], inverse = ((const float *)r->in[5].data)[c],
              f = scale[c] * inverse, shift = bias[c] - mean * f;
        double sum = 0, product = 0, share = count ? 1.0 / (double)count : 0;
        for (int64_t i = 0; i < count; i++)
            if (passes(a, f * x[AT(i)] + shift)) {
                sum += dy[AT(i)];
                product += (double)dy[AT(i)] * (x[AT(i)] - mean) * inverse;
            }
        if (dscale)
            dscale[c] = (float)product;
        if (db)
            db[c] = (float)sum;
        for (int64_t i = 0; dx && i < count; i++) {
            double d = passes(a, f * x[AT(i)] + shift) ? dy[AT(i)] : 0, hat = (double)(x[AT(i)] - mean) * inverse;
            dx[AT(i)] = (float)(f * (d - sum * share - hat * product * share));
        }
    }
    return LMB_OK;
}

static lmb_status apply_run(const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_act_attr *a = r->attr;
    const lmb_shape *s = &r->in[0].shape;
    const float *x = r->in[0].data, *scale = r->in[1].data, *bias = r->in[2].data, *mean = r->in[3].data,
                *inverse = r->in[4].data;
    int64_t area = area_of(s), count = s->d[0] * area;

    (void)err;
    for (int64_t c = 0; c < s->d[1]; c++) {
        float f = scale[c] * inverse[c], shift = bias[c] - mean[c] * f;
        for (int64_t i = 0; i < count; i++)
            ((float *)r->out[0].data)[AT(i)] = act(a, f * x[AT(i)] + shift);
    }
    return LMB_OK;
}

static void cost(const lmb_call *c, lmb_cost *out) { out->flops = 8.0 * (double)lmb_shape_count(&c->in[0].shape); }

const lmb_op lmb_op_batch_norm_act = {
    .name = "BatchNormAct",
    .domain = "limbeck",
    .summary = "BatchNormalization in training, a sum, an activation: fused",
    .source = "BatchNormalization, Add, Relu, Clip",
    .min_in = 5,
    .max_in = 6,
    .min_out = 1,
    .max_out = 5,
    .attr_size = sizeof(lmb_batch_norm_act_attr),
    .attrs = lmb_batch_norm_act_rows,
    .infer = infer,
    .cost = cost,
    .run = run,
};

const lmb_op lmb_op_batch_norm_act_grad = {
    .name = "BatchNormActGrad", .domain = "limbeck", .summary = "gradients of BatchNormAct without a sum",
    .source = "gradients of the same", .min_in = 6, .max_in = 6, .min_out = 3, .max_out = 3,
    .attr_size = sizeof(lmb_batch_norm_act_attr), .attrs = lmb_batch_norm_act_rows, .infer = grad_infer, .cost = cost,
    .run = grad_run,
};

static void apply_cost(const lmb_call *c, lmb_cost *out)
{
    out->flops = 3.0 * (double)lmb_shape_count(&c->in[0].shape);
}

const lmb_op lmb_op_batch_norm_apply = {
    .name = "BatchNormApply",
    .domain = "limbeck",
    .summary = "BatchNormAct again, from its statistics",
    .source = "BatchNormAct",
    .min_in = 5,
    .max_in = 5,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(lmb_batch_norm_act_attr),
    .attrs = lmb_batch_norm_act_rows,
    .infer = infer,
    .cost = apply_cost,
    .run = apply_run,
};
