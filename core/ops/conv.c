/* core/ops/conv.c - convolution over one or two spatial dimensions.
 *
 *   Conv     x [N, C, H, W], w [K, C/group, kH, kW], b [K] (optional)  ->  y [N, K, oH, oW]      f32
 *            y[n,k,i,j] = b[k] + sum_{c,p,q} w[k,c,p,q] x[n, g(k)+c, i*sH - pH + p*dH, j*sW - pW + q*dW]
 *            strides, dilations, asymmetric pads, auto_pad, groups (depthwise: group = C)
 *   grad     ConvGradData, ConvGradWeights (conv_grad.c); the bias gradient is dy summed over N, H, W
 *   source   ONNX Conv-11
 *
 * The reference goes one row of the output at a time: each weight adds a shifted row of x, so the inner
 * loop runs along the width and a compiler can vectorise it.
 */
#include "core/ops/conv.h"

#include <string.h>

#include "core/base/compiler.h"
#include "core/ops/common.h"

const lmb_attr_row lmb_conv_rows[] = {
    LMB_A_TEXT(lmb_conv_attr, auto_pad, "NOTSET"), LMB_A_INTS(lmb_conv_attr, dilations),
    LMB_A_INT(lmb_conv_attr, group, 1), LMB_A_INTS(lmb_conv_attr, kernel_shape), LMB_A_INTS(lmb_conv_attr, pads),
    LMB_A_INTS(lmb_conv_attr, strides), LMB_A_END
};

static lmb_status conv_infer(const lmb_call *c, lmb_error *err)
{
    lmb_conv v;

    LMB_TRY(lmbi_want(c, 0, LMB_F32, "x", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "w", err));
    LMB_TRY(lmb_conv_of(c->attr, &c->in[0].shape, &c->in[1].shape, &v, err));
    if (c->n_in > 2 && c->in[2].present &&
        (c->in[2].dtype != LMB_F32 || c->in[2].shape.n != 1 || c->in[2].shape.d[0] != v.k))
        return LMB_FAIL(err, LMB_E_SHAPE, "the bias must be f32 [%lld]", (long long)v.k);
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = c->in[0].shape.n == 3 ? LMB_SHAPE(v.n, v.k, v.ow) : LMB_SHAPE(v.n, v.k, v.oh, v.ow);
    return LMB_OK;
}

void lmbi_conv_cost(const lmb_call *c, lmb_cost *out)
{
    lmb_conv v = lmb_conv_of_call(c);
    out->macs = (double)v.n * (double)v.k * (double)(v.oh * v.ow) * (double)(v.c / v.group) * (double)(v.kh * v.kw);
    out->flops = 2 * out->macs;
}

static void conv_axes(const lmb_call *c, const lmb_axes *a)
{
    const lmb_conv_attr *attr = c->attr;

    a->tie(a->ctx, 0, 0, LMB_OUT(c, 0), 0, 0, 1);
    a->tie(a->ctx, 1, 0, LMB_OUT(c, 0), 1, 0, 1);
    if (c->n_in > 2 && c->in[2].present)
        a->tie(a->ctx, 2, 0, LMB_OUT(c, 0), 1, 0, 1);
    if (attr->group == 1)
        a->tie(a->ctx, 0, 1, 1, 1, 0, 1);
    else if (c->in[1].shape.d[1] == 1 && attr->group == c->in[1].shape.d[0])
        a->tie(a->ctx, 0, 1, 1, 0, 0, 1); /* depthwise: one filter a channel */
    else {
        a->fix(a->ctx, 0, 1);
        a->fix(a->ctx, 1, 0);
    }
}

/* y[0 .. n) += w * x[0 .. n) with a step between elements of x. */
LMB_HOT static void add_row(float *LMB_RESTRICT y, const float *LMB_RESTRICT x, float w, int64_t n, int64_t step)
{
    if (step == 1)
        for (int64_t i = 0; i < n; i++)
            y[i] += w * x[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] += w * x[i * step];
}

static void conv_channel(const lmb_conv *v, const float *x, const float *w, float *y)
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
                    add_row(y + i * v->ow + lo, x + row * v->w + lo * v->sw + shift, w[p * v->kw + q], hi - lo, v->sw);
            }
        }
}

static lmb_status conv_run(const lmb_run *r, lmb_error *err)
{
    const float *x = r->in[0].data, *w = r->in[1].data, *bias = r->n_in > 2 ? r->in[2].data : NULL;
    float *y = r->out[0].data;
    lmb_conv v;

    LMB_TRY(lmb_conv_of(r->attr, &r->in[0].shape, &r->in[1].shape, &v, err));
    int64_t cg = v.c / v.group, kg = v.k / v.group, area = v.oh * v.ow;
    for (int64_t n = 0; n < v.n; n++)
        for (int64_t k = 0; k < v.k; k++) {
            float *out = y + (n * v.k + k) * area;
            for (int64_t i = 0; i < area; i++)
                out[i] = bias ? bias[k] : 0.0f;
            for (int64_t c = 0; c < cg; c++)
                conv_channel(&v, x + (n * v.c + k / kg * cg + c) * v.h * v.w, w + (k * cg + c) * v.kh * v.kw, out);
        }
    return LMB_OK;
}

static lmb_attr shape_attr(const lmb_shape *s)
{
    lmb_attr a = { .name = "shape", .kind = LMB_ATTR_INTS };
    a.ints.n = s->n;
    memcpy(a.ints.v, s->d, sizeof(int64_t) * (size_t)s->n);
    return a;
}

static lmb_status conv_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_conv_attr *a = g->node->attr;
    const lmb_vid *in = g->node->in;
    lmb_shape x = lmb_builder_value(g->b, in[0])->shape, w = lmb_builder_value(g->b, in[1])->shape;
    lmb_conv v;

    LMB_TRY(lmb_conv_of(a, &x, &w, &v, err));
    lmb_attr attrs[] = {
        LMB_AINT("group", a->group),
        { .name = "strides", .kind = LMB_ATTR_INTS, .ints = a->strides },
        { .name = "dilations", .kind = LMB_ATTR_INTS, .ints = a->dilations },
        x.n == 3 ? (lmb_attr)LMB_AINTS("pads", v.pw, v.pw2) : (lmb_attr)LMB_AINTS("pads", v.ph, v.pw, v.ph2, v.pw2),
        shape_attr(&x),
    };
    if (g->wanted[0])
        g->din[0] = lmb_emit(g->b, "ConvGradData", NULL, LMB_IN(g->dout[0], in[1]), attrs, 5);
    attrs[4] = shape_attr(&w);
    if (g->wanted[1])
        g->din[1] = lmb_emit(g->b, "ConvGradWeights", NULL, LMB_IN(g->dout[0], in[0]), attrs, 5);
    if (g->node->n_in > 2 && g->wanted[2])
        g->din[2] = lmb_emit(g->b, "BiasGrad", NULL, LMB_IN(g->dout[0]), LMB_NO_ATTRS);
    return LMB_OK;
}

const lmb_op lmb_op_conv = {
    .name = "Conv", .domain = "", .summary = "convolution over 1 or 2 spatial dimensions, grouped or depthwise",
    .source = "ONNX Conv-11", .since = 11, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_conv_attr), .attrs = lmb_conv_rows, .infer = conv_infer, .grad = conv_grad,
    .cost = lmbi_conv_cost, .axes = conv_axes, .run = conv_run,
};
