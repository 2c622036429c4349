/* core/ops/geometry.c - where things lie: windows of convolutions and poolings, axes of reductions, parts of tensors.
 *
 * Idea: what an op and all its kernels must agree on is worked out here, from attributes and shapes alone, so that a
 * backend which lives in a module of its own can carry this file without the ops.
 *   source   ONNX Conv-11, MaxPool-12, AveragePool-11
 */
#include <string.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"
#include "core/ops/conv.h"
#include "core/ops/pool.h"

lmb_status lmbi_axis(int64_t axis, int n, int *out, lmb_error *err)
{
    if (axis < -n || axis >= n)
        return LMB_FAIL(err, LMB_E_ARG, "axis %lld of a tensor of %d dimensions; it must be in [%d, %d)",
                        (long long)axis, n, -n, n);
    *out = (int)(axis < 0 ? axis + n : axis);
    return LMB_OK;
}

/* ---- convolution ---- */

void lmbi_conv_inside(int64_t in, int64_t out, int64_t stride, int64_t shift, int64_t *lo, int64_t *hi)
{
    *lo = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    *hi = in - 1 - shift < 0 ? 0 : (in - 1 - shift) / stride + 1;
    *hi = *hi > out ? out : *hi;
}

/* Attribute list -> one number for each spatial dimension, in [lo, 2^20]. */
static lmb_status spatial(const lmb_ints *list, int n, int64_t def, int64_t lo, const char *what, int64_t *out,
                          lmb_error *err)
{
    if (list->n != 0 && list->n != n)
        return LMB_FAIL(err, LMB_E_ARG, "%s has %d numbers; %d are needed", what, list->n, n);
    for (int i = 0; i < n; i++) {
        out[i] = list->n ? list->v[i] : def;
        if (out[i] < lo || out[i] > (1 << 20))
            return LMB_FAIL(err, LMB_E_ARG, "%s is %lld; it must be in [%lld, 2^20]", what, (long long)out[i],
                            (long long)lo);
    }
    return LMB_OK;
}

/* Size of the output along one dimension; resolves auto_pad into pads. */
static lmb_status out_size(const char *auto_pad, int64_t in, int64_t kernel, int64_t stride, int64_t dilation,
                           int64_t *before, int64_t *after, int64_t *out, lmb_error *err)
{
    int64_t span = (kernel - 1) * dilation + 1;

    if (strcmp(auto_pad, "SAME_UPPER") == 0 || strcmp(auto_pad, "SAME_LOWER") == 0) {
        *out = (in + stride - 1) / stride;
        int64_t pad = (*out - 1) * stride + span - in;
        pad = pad < 0 ? 0 : pad;
        *before = auto_pad[5] == 'U' ? pad / 2 : pad - pad / 2;
        *after = pad - *before;
        return LMB_OK;
    }
    if (strcmp(auto_pad, "VALID") == 0)
        *before = *after = 0;
    else if (strcmp(auto_pad, "NOTSET") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "auto_pad '%s'; it must be NOTSET, SAME_UPPER, SAME_LOWER or VALID", auto_pad);
    if (in + *before + *after < span)
        return LMB_FAIL(err, LMB_E_SHAPE, "a kernel spanning %lld does not fit an input of %lld with padding %lld",
                        (long long)span, (long long)in, (long long)(*before + *after));
    *out = (in + *before + *after - span) / stride + 1;
    return LMB_OK;
}

/* Kernels copy an image into a frame of zeros, or spread a row of taps: that must stay far from the end of 64 bits. */
static lmb_status check_reach(const lmb_conv *v, lmb_error *err)
{
    double down = (double)(v->h + v->ph + v->ph2) + 2.0 * (double)((v->kh - 1) * v->dh + 1);
    double side = (double)(v->w + v->pw + v->pw2) + 2.0 * (double)((v->kw - 1) * v->dw + 1);
    double channels = (double)(v->c > v->k ? v->c : v->k);

    if (down * side * channels > 0x1p44)
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "%.0f channels of %.0f x %.0f with padding and dilation; at most 2^44 numbers are dealt with",
                        channels, down, side);
    return LMB_OK;
}

lmb_status lmb_conv_of(const lmb_conv_attr *a, const lmb_shape *x, const lmb_shape *w, lmb_conv *out, lmb_error *err)
{
    int s = x->n - 2;
    int64_t stride[2], dilation[2], kernel[2], pad[4], size[2];
    lmb_conv v = { .h = 1, .oh = 1, .kh = 1, .sh = 1, .dh = 1 };

    if (s < 1 || s > 2 || w->n != x->n)
        return LMB_FAIL(err, LMB_E_SHAPE, "x has %d and w %d dimensions; both must have 3 (1-D) or 4 (2-D)", x->n,
                        w->n);
    v.n = x->d[0], v.c = x->d[1], v.k = w->d[0], v.group = a->group;
    if (v.group < 1 || v.c % v.group || v.k % v.group || w->d[1] != v.c / v.group)
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "%lld input channels in %lld groups, %lld output channels, w takes %lld a group",
                        (long long)v.c, (long long)v.group, (long long)v.k, (long long)w->d[1]);
    LMB_TRY(spatial(&a->strides, s, 1, 1, "strides", stride, err));
    LMB_TRY(spatial(&a->dilations, s, 1, 1, "dilations", dilation, err));
    LMB_TRY(spatial(&a->kernel_shape, s, 0, 0, "kernel_shape", kernel, err));
    LMB_TRY(spatial(&a->pads, 2 * s, 0, 0, "pads", pad, err));
    for (int i = 0; i < s; i++) {
        if (kernel[i] && kernel[i] != w->d[2 + i])
            return LMB_FAIL(err, LMB_E_SHAPE, "kernel_shape is %lld, w has %lld", (long long)kernel[i],
                            (long long)w->d[2 + i]);
        if (w->d[2 + i] < 1)
            return LMB_FAIL(err, LMB_E_SHAPE, "w has a kernel of size 0");
        LMB_TRY(out_size(a->auto_pad, x->d[2 + i], w->d[2 + i], stride[i], dilation[i], &pad[i], &pad[s + i], &size[i],
                         err));
    }
    v.w = x->d[s + 1], v.kw = w->d[s + 1], v.sw = stride[s - 1], v.dw = dilation[s - 1], v.ow = size[s - 1];
    v.pw = pad[s - 1], v.pw2 = pad[2 * s - 1];
    if (s == 2) {
        v.h = x->d[2], v.kh = w->d[2], v.sh = stride[0], v.dh = dilation[0], v.oh = size[0];
        v.ph = pad[0], v.ph2 = pad[2];
    }
    LMB_TRY(check_reach(&v, err));
    *out = v;
    return LMB_OK;
}

void lmbi_conv_forward_shapes(const lmb_call *c, lmb_shape *x, lmb_shape *w)
{
    const lmb_conv_attr *a = c->attr;
    bool data = strcmp(c->op->name, "ConvGradData") == 0, weights = strcmp(c->op->name, "ConvGradWeights") == 0;
    lmb_shape wanted = lmb_shape_of(a->shape.n < LMB_MAX_DIMS ? a->shape.n : LMB_MAX_DIMS, a->shape.v);

    *x = data ? wanted : weights ? c->in[1].shape : c->in[0].shape;
    *w = weights ? wanted : c->in[1].shape;
}

lmb_conv lmb_conv_of_call(const lmb_call *c)
{
    lmb_conv v = { 0 };
    lmb_shape x, w;

    lmbi_conv_forward_shapes(c, &x, &w);
    if (lmb_conv_of(c->attr, &x, &w, &v, NULL) != LMB_OK)
        memset(&v, 0, sizeof v); /* inference has refused such a call */
    return v;
}

/* ---- pooling ---- */

static lmb_status one_dimension(const lmb_pool_attr *a, int s, int i, int at, lmb_pooling *p, lmb_error *err)
{
    int64_t k = a->kernel_shape.v[i], stride = a->strides.n ? a->strides.v[i] : 1;
    int64_t dilation = a->dilations.n ? a->dilations.v[i] : 1, in = p->in[at];
    int64_t before = a->pads.n ? a->pads.v[i] : 0, after = a->pads.n ? a->pads.v[s + i] : 0;
    const int64_t big = 1 << 20;

    if (k < 1 || k > big || stride < 1 || stride > big || dilation < 1 || dilation > big || before < 0 ||
        before > big || after < 0 || after > big)
        return LMB_FAIL(err, LMB_E_ARG, "kernel %lld, stride %lld, dilation %lld, pads %lld and %lld: out of range",
                        (long long)k, (long long)stride, (long long)dilation, (long long)before, (long long)after);
    int64_t span = (k - 1) * dilation + 1, out;
    if (strncmp(a->auto_pad, "SAME_", 5) == 0) {
        out = (in + stride - 1) / stride;
        int64_t pad = (out - 1) * stride + span - in;
        pad = pad < 0 ? 0 : pad;
        before = a->auto_pad[5] == 'U' ? pad / 2 : pad - pad / 2;
        after = pad - before;
    } else {
        if (strcmp(a->auto_pad, "VALID") == 0)
            before = after = 0;
        else if (strcmp(a->auto_pad, "NOTSET") != 0)
            return LMB_FAIL(err, LMB_E_ARG, "auto_pad '%s' is unknown", a->auto_pad);
        int64_t room = in + before + after - span;
        if (room < 0)
            return LMB_FAIL(err, LMB_E_SHAPE, "a window of %lld does not fit an input of %lld with padding %lld",
                            (long long)span, (long long)in, (long long)(before + after));
        out = (a->ceil_mode ? room + stride - 1 : room) / stride + 1;
        if (a->ceil_mode && (out - 1) * stride >= in + before)
            out--;
    }
    p->out[at] = out, p->kernel[at] = k, p->stride[at] = stride, p->dilation[at] = dilation;
    p->before[at] = before, p->after[at] = after;
    return LMB_OK;
}

lmb_status lmb_pooling_of(const lmb_pool_attr *a, const lmb_shape *x, lmb_pooling *out, lmb_error *err)
{
    int s = x->n - 2;
    lmb_pooling p = { .in = { 1, 1, 1 }, .out = { 1, 1, 1 }, .kernel = { 1, 1, 1 }, .stride = { 1, 1, 1 },
                      .dilation = { 1, 1, 1 } };

    if (s < 1 || s > 3)
        return LMB_FAIL(err, LMB_E_SHAPE, "x has %d dimensions; 3, 4 or 5 are needed", x->n);
    if (a->kernel_shape.n != s || (a->strides.n && a->strides.n != s) || (a->dilations.n && a->dilations.n != s) ||
        (a->pads.n && a->pads.n != 2 * s))
        return LMB_FAIL(err, LMB_E_ARG, "kernel_shape, strides, dilations need %d numbers and pads %d", s, 2 * s);
    p.n = x->d[0], p.c = x->d[1];
    for (int i = 0; i < s; i++) {
        p.in[3 - s + i] = x->d[2 + i];
        LMB_TRY(one_dimension(a, s, i, 3 - s + i, &p, err));
    }
    *out = p;
    return LMB_OK;
}

/* ---- reductions and slices ---- */

lmb_status lmbi_kept_shape(const lmb_reduce_attr *a, const lmb_shape *x, const lmb_type *axes, lmb_shape *kept,
                             lmb_error *err)
{
    const int64_t *list = a->axes.v;
    int64_t n = a->axes.n;

    if (axes && axes->present) {
        if (axes->dtype != LMB_S64 || axes->shape.n != 1 || (!axes->data && axes->shape.d[0] > 0))
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "axes must be a constant list of s64");
        list = axes->data;
        n = axes->shape.d[0];
    }
    *kept = *x;
    if (n == 0 && !a->noop_with_empty_axes)
        for (int i = 0; i < x->n; i++)
            kept->d[i] = 1;
    for (int64_t i = 0; i < n; i++) {
        int k = 0;
        LMB_TRY(lmbi_axis(list[i], x->n, &k, err));
        kept->d[k] = 1;
    }
    return LMB_OK;
}

int64_t lmbi_index_at(const lmb_type *t, int64_t i)
{
    return t->dtype == LMB_S64 ? ((const int64_t *)t->data)[i] : ((const int32_t *)t->data)[i];
}

lmb_status lmbi_index_list(const lmb_type *t, const char *what, lmb_error *err)
{
    if ((t->dtype != LMB_S64 && t->dtype != LMB_S32) || t->shape.n != 1 || (!t->data && t->shape.d[0] > 0))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s must be a constant list of whole numbers", what);
    return LMB_OK;
}

static int64_t limit(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

lmb_status lmbi_slice_of(const lmb_type *in, int n_in, lmbi_cut *out, lmb_error *err)
{
    const lmb_shape *x = &in[0].shape;
    bool has_axes = n_in > 3 && in[3].present, has_steps = n_in > 4 && in[4].present;
    unsigned seen = 0;

    LMB_TRY(lmbi_index_list(&in[1], "starts", err));
    LMB_TRY(lmbi_index_list(&in[2], "ends", err));
    if (has_axes)
        LMB_TRY(lmbi_index_list(&in[3], "axes", err));
    if (has_steps)
        LMB_TRY(lmbi_index_list(&in[4], "steps", err));
    int64_t n = in[1].shape.d[0];
    if (in[2].shape.d[0] != n || (has_axes && in[3].shape.d[0] != n) || (has_steps && in[4].shape.d[0] != n) ||
        n > x->n)
        return LMB_FAIL(err, LMB_E_SHAPE, "starts, ends, axes and steps have different lengths");
    out->out = *x;
    for (int i = 0; i < x->n; i++)
        out->begin[i] = 0, out->step[i] = 1;
    for (int64_t i = 0; i < n; i++) {
        int k = 0;
        LMB_TRY(lmbi_axis(has_axes ? lmbi_index_at(&in[3], i) : i, x->n, &k, err));
        int64_t d = x->d[k], step = has_steps ? lmbi_index_at(&in[4], i) : 1, a = lmbi_index_at(&in[1], i),
                b = lmbi_index_at(&in[2], i);
        if (step == 0 || step < -INT32_MAX || step > INT32_MAX || (seen >> k & 1))
            return LMB_FAIL(err, LMB_E_ARG, "axis %d: step %lld, or the axis is named twice", k, (long long)step);
        seen |= 1u << k;
        a = limit(a < 0 ? (a < -d ? -1 : a + d) : a, step > 0 ? 0 : -1, step > 0 ? d : d - 1);
        b = limit(b < 0 ? (b < -d ? -1 : b + d) : b, step > 0 ? 0 : -1, step > 0 ? d : d - 1);
        if (step < 0 && lmbi_index_at(&in[1], i) < -d)
            a = -1;
        if (step > 0 && a < 0)
            a = 0;
        int64_t count = step > 0 ? (b - a + step - 1) / step : (a - b - step - 1) / -step;
        out->out.d[k] = count > 0 ? count : 0;
        out->begin[k] = a;
        out->step[k] = step;
    }
    return LMB_OK;
}
