/* core/onnx/conv3d.c - a convolution over three spatial dimensions as a sum of two-dimensional ones.
 *
 * Plane p of the kernel meets the planes p*dD, p*dD + sD, ... of the padded input: take these planes, put them
 * with the batch, convolve them in two dimensions with that plane of the kernel, and add up over p:
 *   y[n, k, i] = b[k] + sum_p conv2d(x[n, :, i sD - pD + p dD], w[k, :, p])
 * Our Conv has one or two spatial dimensions; so three work everywhere, also in training, at the speed of two.
 */
#include <string.h>

#include "core/onnx/internal.h"

typedef struct depth { int64_t kernel, stride, dilation, before, after, out; } depth;

/* Split the attributes: the depth's numbers into *d, the other two dimensions' stay in the node. */
static lmb_status split_attribute(lmbi_node *n, const char *name, lmb_attr *list, int per, lmb_error *err)
{
    *list = (lmb_attr){ 0 };
    if (!lmbi_take(n, name, LMB_ATTR_INTS, list) || list->ints.n == 0)
        return LMB_OK;
    if (list->ints.n != 3 * per)
        return LMB_FAIL(err, LMB_E_ARG, "%s has %d numbers; %d are needed", name, list->ints.n, 3 * per);
    lmb_attr rest = { .name = list->name, .kind = LMB_ATTR_INTS };
    for (int i = 0; i < list->ints.n; i++)
        if (i % 3)
            rest.ints.v[rest.ints.n++] = list->ints.v[i];
    n->attr[n->n_attr++] = rest;
    return LMB_OK;
}

static lmb_status depth_of(lmbi_node *n, const lmb_shape *x, const lmb_shape *w, depth *d, lmb_error *err)
{
    lmb_attr kernel, strides, dilations, pads;
    const char *auto_pad = "NOTSET";
    const int64_t big = 1 << 20;

    LMB_TRY(split_attribute(n, "kernel_shape", &kernel, 1, err));
    LMB_TRY(split_attribute(n, "strides", &strides, 1, err));
    LMB_TRY(split_attribute(n, "dilations", &dilations, 1, err));
    LMB_TRY(split_attribute(n, "pads", &pads, 2, err));
    for (int i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, "auto_pad") == 0 && n->attr[i].kind == LMB_ATTR_TEXT)
            auto_pad = n->attr[i].s;
    *d = (depth){ w->d[2], strides.ints.n ? strides.ints.v[0] : 1, dilations.ints.n ? dilations.ints.v[0] : 1,
                  pads.ints.n ? pads.ints.v[0] : 0, pads.ints.n ? pads.ints.v[3] : 0, 0 };
    if ((kernel.ints.n && kernel.ints.v[0] != d->kernel) || d->kernel < 1 || d->kernel > 64 || d->stride < 1 ||
        d->stride > big || d->dilation < 1 || d->dilation > big || d->before < 0 || d->before > big || d->after < 0 ||
        d->after > big)
        return LMB_FAIL(err, LMB_E_ARG,
                        "kernel %lld, stride %lld, dilation %lld, pads %lld and %lld in depth: out of range",
                        (long long)d->kernel, (long long)d->stride, (long long)d->dilation, (long long)d->before,
                        (long long)d->after);
    int64_t span = (d->kernel - 1) * d->dilation + 1;
    if (strncmp(auto_pad, "SAME_", 5) == 0) {
        int64_t pad = ((x->d[2] + d->stride - 1) / d->stride - 1) * d->stride + span - x->d[2];
        pad = pad < 0 ? 0 : pad;
        d->before = auto_pad[5] == 'U' ? pad / 2 : pad - pad / 2;
        d->after = pad - d->before;
    } else if (strcmp(auto_pad, "VALID") == 0) {
        d->before = d->after = 0;
    }
    if (x->d[2] + d->before + d->after < span)
        return LMB_FAIL(err, LMB_E_SHAPE, "a kernel spanning %lld does not fit a depth of %lld", (long long)span,
                        (long long)x->d[2]);
    d->out = (x->d[2] + d->before + d->after - span) / d->stride + 1;
    return LMB_OK;
}

static lmb_vid reshape(lmb_builder *b, lmb_vid v, lmb_shape s)
{
    return lmb_emit(b, "Reshape", NULL, LMB_IN(v, lmb_emit_ints(b, s.d, s.n)), LMB_NO_ATTRS);
}

/* Planes start, start + step, ... (count of them) along axis 2. */
static lmb_vid planes(lmb_builder *b, lmb_vid v, int64_t start, int64_t count, int64_t step)
{
    int64_t end = start + (count - 1) * step + 1, axis = 2;
    return lmb_emit(b, "Slice", NULL,
                    LMB_IN(v, lmb_emit_ints(b, &start, 1), lmb_emit_ints(b, &end, 1), lmb_emit_ints(b, &axis, 1),
                           lmb_emit_ints(b, &step, 1)), LMB_NO_ATTRS);
}

/* conv2d of plane p of the kernel: [N * out, K, oH, oW]. The bias goes with the first. */
static lmb_vid one_plane(lmb_builder *b, const lmbi_node *n, const depth *d, lmb_vid padded, int64_t p)
{
    lmb_shape x = lmb_builder_value(b, padded)->shape, w = lmb_builder_value(b, n->in[1])->shape;
    lmb_vid in[3] = { LMB_NONE, LMB_NONE, p == 0 && n->n_in > 2 ? n->in[2] : LMB_NONE };

    lmb_vid v = planes(b, padded, p * d->dilation, d->out, d->stride);
    v = lmb_emit(b, "Transpose", NULL, LMB_IN(v), LMB_ATTRS(LMB_AINTS("perm", 0, 2, 1, 3, 4)));
    in[0] = reshape(b, v, LMB_SHAPE(-1, x.d[1], x.d[3], x.d[4]));
    in[1] = reshape(b, planes(b, n->in[1], p, 1, 1), LMB_SHAPE(w.d[0], w.d[1], w.d[3], w.d[4]));
    return lmb_emit(b, "Conv", NULL, in, in[2] == LMB_NONE ? 2 : 3, n->attr, n->n_attr);
}

lmb_status lmbi_conv(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_builder b = lmbi_builder(m, n, err);
    depth d;

    if (n->n_in < 2 || n->in[0] == LMB_NONE || n->in[1] == LMB_NONE || m->g->value[n->in[0]].shape.n != 5 ||
        m->g->value[n->in[1]].shape.n != 5)
        return lmbi_emit(m, n, n->type, err);
    lmb_shape x = m->g->value[n->in[0]].shape, w = m->g->value[n->in[1]].shape;
    LMB_TRY(depth_of(n, &x, &w, &d, err));
    lmb_vid padded = n->in[0], sum = LMB_NONE;
    int64_t pads[10] = { 0, 0, d.before, 0, 0, 0, 0, d.after, 0, 0 };
    if (d.before || d.after)
        padded = lmb_emit(&b, "Pad", NULL, LMB_IN(padded, lmb_emit_ints(&b, pads, 10)), LMB_NO_ATTRS);
    for (int64_t p = 0; p < d.kernel; p++) {
        lmb_vid v = one_plane(&b, n, &d, padded, p);
        sum = p == 0 ? v : lmb_emit(&b, "Add", NULL, LMB_IN(sum, v), LMB_NO_ATTRS);
    }
    lmb_shape y = lmb_builder_value(&b, sum)->shape;
    sum = reshape(&b, sum, LMB_SHAPE(-1, d.out, w.d[0], y.d[2], y.d[3]));
    n->out[0] = lmb_emit(&b, "Transpose", NULL, LMB_IN(sum), LMB_ATTRS(LMB_AINTS("perm", 0, 2, 1, 3, 4)));
    return lmb_builder_status(&b);
}
