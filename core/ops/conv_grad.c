/* core/ops/conv_grad.c - gradients of Conv.
 *
 *   ConvGradData      dy [N, K, oH, oW], w            -> dx of the shape given by attribute `shape`
 *   ConvGradWeights   dy, x [N, C, H, W]              -> dw of the shape given by attribute `shape`
 *   BiasGrad          dy [N, K, ...]                  -> db [K], dy summed over all axes but 1
 *
 * Attributes are those of the Conv with auto_pad resolved into pads. f32.
 */
#include <string.h>

#include "core/base/compiler.h"
#include "core/ops/common.h"
#include "core/ops/conv.h"

const lmb_attr_row lmb_conv_grad_rows[] = {
    LMB_A_TEXT(lmb_conv_attr, auto_pad, "NOTSET"), LMB_A_INTS(lmb_conv_attr, dilations),
    LMB_A_INT(lmb_conv_attr, group, 1), LMB_A_INTS(lmb_conv_attr, kernel_shape), LMB_A_INTS(lmb_conv_attr, pads),
    LMB_A_INTS(lmb_conv_attr, strides), LMB_A_INTS(lmb_conv_attr, shape), LMB_A_END
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_conv_attr *a = c->attr;
    lmb_shape x, w, wanted;
    lmb_conv v;

    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "x or w", err));
    LMB_TRY(lmbi_wanted_shape(&a->shape, &wanted, err));
    lmbi_conv_forward_shapes(c, &x, &w);
    LMB_TRY(lmb_conv_of(a, &x, &w, &v, err));
    lmb_shape want = x.n == 3 ? LMB_SHAPE(v.n, v.k, v.ow) : LMB_SHAPE(v.n, v.k, v.oh, v.ow);
    if (!lmb_shape_equal(&c->in[0].shape, &want))
        return LMB_FAIL(err, LMB_E_SHAPE, "dy does not have the shape of the convolution's output");
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = wanted;
    return LMB_OK;
}

LMB_HOT static void spread_row(float *LMB_RESTRICT dx, const float *LMB_RESTRICT dy, float w, int64_t n, int64_t step)
{
    if (step == 1)
        for (int64_t i = 0; i < n; i++)
            dx[i] += w * dy[i];
    else
        for (int64_t i = 0; i < n; i++)
            dx[i * step] += w * dy[i];
}

/* Eight partial sums in a fixed order: vectorisable, and the same bits on every machine. */
LMB_HOT static float dot_row(const float *x, const float *dy, int64_t n, int64_t step)
{
    float s[8] = { 0 };
    int64_t i = 0;

    if (step == 1)
        for (; i + 8 <= n; i += 8)
            for (int k = 0; k < 8; k++)
                s[k] += x[i + k] * dy[i + k];
    for (; i < n; i++)
        s[i % 8] += x[i * step] * dy[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static void data_channel(const lmb_conv *v, const float *dy, const float *w, float *dx)
{
    for (int64_t p = 0; p < v->kh; p++)
        for (int64_t i = 0; i < v->oh; i++) {
            int64_t row = i * v->sh - v->ph + p * v->dh;
            if (row < 0 || row >= v->h)
                continue;
            for (int64_t q = 0; q < v->kw; q++) {
                int64_t shift = q * v->dw - v->pw, lo, hi;
                lmbi_conv_inside(v->w, v->ow, v->sw, shift, &lo, &hi);
                if (lo < hi)
                    spread_row(dx + row * v->w + lo * v->sw + shift, dy + i * v->ow + lo, w[p * v->kw + q], hi - lo,
                               v->sw);
            }
        }
}

static lmb_status data_run(const lmb_run *r, lmb_error *err)
{
    const float *dy = r->in[0].data, *w = r->in[1].data;
    float *dx = r->out[0].data;
    lmb_conv v;

    LMB_TRY(lmb_conv_of(r->attr, &r->out[0].shape, &r->in[1].shape, &v, err));
    int64_t cg = v.c / v.group, kg = v.k / v.group;
    memset(dx, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    for (int64_t n = 0; n < v.n; n++)
        for (int64_t k = 0; k < v.k; k++)
            for (int64_t c = 0; c < cg; c++)
                data_channel(&v, dy + (n * v.k + k) * v.oh * v.ow, w + (k * cg + c) * v.kh * v.kw,
                             dx + (n * v.c + k / kg * cg + c) * v.h * v.w);
    return LMB_OK;
}

static float weight_tap(const lmb_conv *v, const float *dy, const float *x, int64_t p, int64_t q)
{
    int64_t shift = q * v->dw - v->pw, lo, hi;
    float sum = 0;

    lmbi_conv_inside(v->w, v->ow, v->sw, shift, &lo, &hi);
    for (int64_t i = 0; i < v->oh && lo < hi; i++) {
        int64_t row = i * v->sh - v->ph + p * v->dh;
        if (row >= 0 && row < v->h)
            sum += dot_row(x + row * v->w + lo * v->sw + shift, dy + i * v->ow + lo, hi - lo, v->sw);
    }
    return sum;
}

static lmb_status weights_run(const lmb_run *r, lmb_error *err)
{
    const float *dy = r->in[0].data, *x = r->in[1].data;
    float *dw = r->out[0].data;
    lmb_conv v;

    LMB_TRY(lmb_conv_of(r->attr, &r->in[1].shape, &r->out[0].shape, &v, err));
    int64_t cg = v.c / v.group, kg = v.k / v.group;
    memset(dw, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    for (int64_t n = 0; n < v.n; n++)
        for (int64_t k = 0; k < v.k; k++)
            for (int64_t c = 0; c < cg; c++) {
                const float *px = x + (n * v.c + k / kg * cg + c) * v.h * v.w;
                float *pw = dw + (k * cg + c) * v.kh * v.kw;
                for (int64_t p = 0; p < v.kh; p++)
                    for (int64_t q = 0; q < v.kw; q++)
                        pw[p * v.kw + q] += weight_tap(&v, dy + (n * v.k + k) * v.oh * v.ow, px, p, q);
            }
    return LMB_OK;
}

const lmb_op lmb_op_conv_grad_data = {
    .name = "ConvGradData", .domain = "limbeck", .summary = "gradient of Conv with respect to its input",
    .source = "gradient of ONNX Conv-11", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_conv_attr), .attrs = lmb_conv_grad_rows, .infer = grad_infer, .cost = lmbi_conv_cost,
    .run = data_run,
};

const lmb_op lmb_op_conv_grad_weights = {
    .name = "ConvGradWeights", .domain = "limbeck", .summary = "gradient of Conv with respect to its weights",
    .source = "gradient of ONNX Conv-11", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_conv_attr), .attrs = lmb_conv_grad_rows, .infer = grad_infer, .cost = lmbi_conv_cost,
    .run = weights_run,
};

static lmb_status bias_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    if (c->in[0].shape.n < 2)
        return LMB_FAIL(err, LMB_E_SHAPE, "dy has %d dimensions; at least 2 are needed", c->in[0].shape.n);
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = LMB_SHAPE(c->in[0].shape.d[1]);
    return LMB_OK;
}

static lmb_status bias_run(const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->in[0].shape;
    int64_t channels = s->d[1], area = channels && s->d[0] ? lmb_shape_count(s) / (channels * s->d[0]) : 0;

    (void)err;
    for (int64_t k = 0; k < channels; k++) {
        double sum = 0;
        for (int64_t n = 0; n < s->d[0]; n++) {
            const float *dy = (const float *)r->in[0].data + (n * channels + k) * area;
            for (int64_t i = 0; i < area; i++)
                sum += dy[i];
        }
        ((float *)r->out[0].data)[k] = (float)sum;
    }
    return LMB_OK;
}

const lmb_op lmb_op_bias_grad = {
    .name = "BiasGrad", .domain = "limbeck", .summary = "dy summed over all axes but 1", .source = "gradient of a bias",
    .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .infer = bias_infer, .cost = lmbi_cost_elementwise,
    .run = bias_run,
};
