/* core/onnx/convert.c - forms of other opsets, in terms of ours (opset 13; see the operator changelog of ONNX).
 *
 * One row an operator and a range of opsets. Converters take away the attributes that our form lacks and put
 * constants, a Reshape or a Flatten in their place. Training-only outputs of old BatchNormalization and the
 * old mask of Dropout are not made; a model that reads them is refused where it does.
 */
#include <string.h>

#include "core/onnx/internal.h"

static const lmb_shape *shape_in(const lmbi_import *m, const lmbi_node *n, int i)
{
    return &m->g->value[n->in[i]].shape;
}

static lmb_status need_inputs(const lmbi_node *n, int count, lmb_error *err)
{
    for (int i = 0; i < count; i++)
        if (i >= n->n_in || n->in[i] == LMB_NONE)
            return LMB_FAIL(err, LMB_E_FORMAT, "it has %d inputs; input %d is required", n->n_in, i);
    return LMB_OK;
}

/* Take an INT attribute that must have one value, the only one our form means. */
static lmb_status only(lmbi_node *n, const char *name, int64_t want, lmb_error *err)
{
    lmb_attr a;
    if (lmbi_take(n, name, LMB_ATTR_INT, &a) && a.i != want)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s = %lld; only %lld is supported", name, (long long)a.i,
                        (long long)want);
    return LMB_OK;
}

/* Replace input i (and drop what is behind it) by a constant list. */
static void list_input(lmb_builder *b, lmbi_node *n, int i, const lmb_ints *list)
{
    for (int k = n->n_in; k < i; k++)
        n->in[k] = LMB_NONE;
    n->in[i] = lmb_emit_ints(b, list->v, list->n);
    n->n_in = i + 1;
}

/* Add, Sub, Mul, Div of opset 6: with `broadcast`, b covers the axes of a from `axis` on. */
static lmb_status old_binary(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_attr broadcast = { 0 }, axis = { 0 };
    bool placed;

    LMB_TRY(need_inputs(n, 2, err));
    lmbi_take(n, "broadcast", LMB_ATTR_INT, &broadcast);
    placed = lmbi_take(n, "axis", LMB_ATTR_INT, &axis);
    if (broadcast.i && placed) {
        const lmb_shape *a = shape_in(m, n, 0), *b = shape_in(m, n, 1);
        lmb_shape s = *b;
        int64_t at = axis.i < 0 ? axis.i + a->n : axis.i;
        if (at < 0 || at + b->n > a->n)
            return LMB_FAIL(err, LMB_E_ARG, "axis %lld does not fit operands of %d and %d dimensions",
                            (long long)axis.i, a->n, b->n);
        while (s.n < a->n - at)
            s.d[s.n++] = 1;
        lmb_builder builder = lmbi_builder(m, n, err);
        n->in[1] =
            lmb_emit(&builder, "Reshape", "b", LMB_IN(n->in[1], lmb_emit_ints(&builder, s.d, s.n)), LMB_NO_ATTRS);
        LMB_TRY(lmb_builder_status(&builder));
    }
    return lmbi_emit(m, n, n->type, err);
}

/* Gemm of opset 6 says by `broadcast` whether C does; ours always may. */
static lmb_status old_gemm(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmbi_take(n, "broadcast", LMB_ATTR_INT, NULL);
    return lmbi_emit(m, n, n->type, err);
}

static lmb_vid real_scalar(lmb_builder *b, lmb_dtype t, float v)
{
    double d = v;
    return t == LMB_F64 ? lmb_emit_value(b, LMB_ROLE_CONSTANT, "const", t, (lmb_shape){ 0 }, &d)
                        : lmb_emit_scalar(b, v);
}

/* Clip before 11: min and max are attributes. */
static lmb_status old_clip(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_builder b = lmbi_builder(m, n, err);
    lmb_attr lo, hi;

    LMB_TRY(need_inputs(n, 1, err));
    lmb_dtype t = m->g->value[n->in[0]].dtype;
    n->n_in = 3;
    n->in[1] = lmbi_take(n, "min", LMB_ATTR_REAL, &lo) ? real_scalar(&b, t, lo.f) : LMB_NONE;
    n->in[2] = lmbi_take(n, "max", LMB_ATTR_REAL, &hi) ? real_scalar(&b, t, hi.f) : LMB_NONE;
    LMB_TRY(lmb_builder_status(&b));
    return lmbi_emit(m, n, n->type, err);
}

/* Dropout before 12: the ratio is an attribute, and a model file means inference. */
static lmb_status old_dropout(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_builder b = lmbi_builder(m, n, err);
    lmb_attr ratio = { .f = 0.5f };

    LMB_TRY(need_inputs(n, 1, err));
    lmbi_take(n, "is_test", LMB_ATTR_INT, NULL);
    lmbi_take(n, "ratio", LMB_ATTR_REAL, &ratio);
    n->in[1] = lmb_emit_scalar(&b, ratio.f);
    n->n_in = 2;
    n->n_out = n->n_out > 1 && m->opset < 10 ? 1 : n->n_out; /* the mask had x's type */
    LMB_TRY(lmb_builder_status(&b));
    return lmbi_emit(m, n, n->type, err);
}

/* BatchNormalization before 14: inference; `spatial` and `is_test` are gone. */
static lmb_status old_batch_norm(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmbi_take(n, "is_test", LMB_ATTR_INT, NULL);
    LMB_TRY(only(n, "spatial", 1, err));
    n->n_out = 1;
    return lmbi_emit(m, n, n->type, err);
}

/* Pad before 11: pads and value are attributes. */
static lmb_status old_pad(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_builder b = lmbi_builder(m, n, err);
    lmb_attr pads = { 0 }, value = { 0 };

    LMB_TRY(need_inputs(n, 1, err));
    if (!lmbi_take(n, "pads", LMB_ATTR_INTS, &pads))
        return LMB_FAIL(err, LMB_E_FORMAT, "the attribute pads is missing");
    lmbi_take(n, "value", LMB_ATTR_REAL, &value);
    list_input(&b, n, 1, &pads.ints);
    n->in[2] = real_scalar(&b, m->g->value[n->in[0]].dtype, value.f);
    n->n_in = 3;
    LMB_TRY(lmb_builder_status(&b));
    return lmbi_emit(m, n, n->type, err);
}

/* Pad from 18 on: a list of axes that the pads are for. */
static lmb_status new_pad(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_ints axes, pads, all = { 0 };
    lmb_vid value = n->n_in > 2 ? n->in[2] : LMB_NONE;
    bool present;

    LMB_TRY(need_inputs(n, 2, err));
    LMB_TRY(lmbi_int_list(m, n, 3, &axes, &present, err));
    if (present) {
        int dims = shape_in(m, n, 0)->n;
        lmb_builder b = lmbi_builder(m, n, err);
        LMB_TRY(lmbi_int_list(m, n, 1, &pads, &present, err));
        if (pads.n != 2 * axes.n || axes.n > dims)
            return LMB_FAIL(err, LMB_E_ARG, "%d pads for %d axes of %d dimensions", pads.n, axes.n, dims);
        all.n = 2 * dims;
        for (int i = 0; i < axes.n; i++) {
            int64_t at = axes.v[i] < 0 ? axes.v[i] + dims : axes.v[i];
            if (at < 0 || at >= dims)
                return LMB_FAIL(err, LMB_E_ARG, "axis %lld of %d dimensions", (long long)axes.v[i], dims);
            all.v[at] = pads.v[i];
            all.v[dims + at] = pads.v[axes.n + i];
        }
        list_input(&b, n, 1, &all);
        n->in[2] = value;
        n->n_in = 3;
        LMB_TRY(lmb_builder_status(&b));
    }
    return lmbi_emit(m, n, n->type, err);
}

/* Slice before 10: starts, ends, axes are attributes. */
static lmb_status old_slice(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_builder b = lmbi_builder(m, n, err);
    lmb_attr starts = { 0 }, ends = { 0 }, axes = { 0 };

    LMB_TRY(need_inputs(n, 1, err));
    if (!lmbi_take(n, "starts", LMB_ATTR_INTS, &starts) || !lmbi_take(n, "ends", LMB_ATTR_INTS, &ends))
        return LMB_FAIL(err, LMB_E_FORMAT, "the attributes starts and ends are required");
    list_input(&b, n, 1, &starts.ints);
    list_input(&b, n, 2, &ends.ints);
    if (lmbi_take(n, "axes", LMB_ATTR_INTS, &axes))
        list_input(&b, n, 3, &axes.ints);
    LMB_TRY(lmb_builder_status(&b));
    return lmbi_emit(m, n, n->type, err);
}

/* Softmax before 13 works on x made a matrix at `axis`. */
static lmb_status old_softmax(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_builder b = lmbi_builder(m, n, err);
    lmb_attr axis = { .i = 1 };

    LMB_TRY(need_inputs(n, 1, err));
    lmb_shape x = *shape_in(m, n, 0);
    lmbi_take(n, "axis", LMB_ATTR_INT, &axis);
    int64_t at = axis.i < 0 ? axis.i + x.n : axis.i;
    bool last = at == x.n - 1;
    lmb_vid v = n->in[0];
    if (!last)
        v = lmb_emit(&b, "Flatten", "matrix", LMB_IN(v), LMB_ATTRS(LMB_AINT("axis", axis.i)));
    n->in[0] = v;
    n->attr[n->n_attr++] = (lmb_attr)LMB_AINT("axis", -1);
    LMB_TRY(lmb_builder_status(&b));
    LMB_TRY(lmbi_emit(m, n, n->type, err));
    if (!last)
        n->out[0] = lmb_emit(&b, "Reshape", "back", LMB_IN(n->out[0], lmb_emit_ints(&b, x.d, x.n)), LMB_NO_ATTRS);
    return lmb_builder_status(&b);
}

/* ReduceSum before 13: axes are an attribute. */
static lmb_status old_reduce_sum(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_builder b = lmbi_builder(m, n, err);
    lmb_attr axes = { 0 };

    if (lmbi_take(n, "axes", LMB_ATTR_INTS, &axes))
        list_input(&b, n, 1, &axes.ints);
    LMB_TRY(lmb_builder_status(&b));
    return lmbi_emit(m, n, n->type, err);
}

/* ReduceMean from 18 on: axes are an input. */
static lmb_status new_reduce_mean(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_attr noop = { 0 }, axes = { .name = "axes", .kind = LMB_ATTR_INTS };
    bool present;

    LMB_TRY(need_inputs(n, 1, err));
    lmbi_take(n, "noop_with_empty_axes", LMB_ATTR_INT, &noop);
    LMB_TRY(lmbi_int_list(m, n, 1, &axes.ints, &present, err));
    n->n_in = 1;
    if (noop.i && axes.ints.n == 0) {
        n->n_attr = 0;
        return lmbi_emit(m, n, "Identity", err);
    }
    n->attr[n->n_attr++] = axes;
    return lmbi_emit(m, n, n->type, err);
}

/* QuantizeLinear, DequantizeLinear from 19 on: attributes for types that we do not have. */
static lmb_status new_quantize(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    LMB_TRY(only(n, "saturate", 1, err));
    LMB_TRY(only(n, "block_size", 0, err));
    LMB_TRY(only(n, "output_dtype", 0, err));
    return lmbi_emit(m, n, n->type, err);
}

/* AveragePool from 19 on may be dilated. */
static lmb_status new_average_pool(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmb_attr d = { 0 };

    lmbi_take(n, "dilations", LMB_ATTR_INTS, &d);
    for (int i = 0; i < d.ints.n; i++)
        if (d.ints.v[i] != 1)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "dilation %lld; only 1 is supported", (long long)d.ints.v[i]);
    return lmbi_emit(m, n, n->type, err);
}

/* Squeeze and Unsqueeze are a Reshape; the axes are an attribute before 13 and an input since. */
static lmb_status squeeze_axes(lmbi_import *m, lmbi_node *n, int dims, bool *chosen, bool *present, lmb_error *err)
{
    lmb_attr axes = { 0 };

    LMB_TRY(need_inputs(n, 1, err));
    *present = lmbi_take(n, "axes", LMB_ATTR_INTS, &axes);
    if (!*present)
        LMB_TRY(lmbi_int_list(m, n, 1, &axes.ints, present, err));
    memset(chosen, 0, sizeof *chosen * LMB_MAX_DIMS);
    for (int i = 0; *present && i < axes.ints.n; i++) {
        int64_t at = axes.ints.v[i] < 0 ? axes.ints.v[i] + dims : axes.ints.v[i];
        if (at < 0 || at >= dims || chosen[at])
            return LMB_FAIL(err, LMB_E_ARG, "axis %lld of %d dimensions", (long long)axes.ints.v[i], dims);
        chosen[at] = true;
    }
    return LMB_OK;
}

static lmb_status as_reshape(lmbi_import *m, lmbi_node *n, const lmb_shape *s, lmb_error *err)
{
    lmb_builder b = lmbi_builder(m, n, err);

    n->in[1] = lmb_emit_ints(&b, s->d, s->n);
    n->n_in = 2;
    LMB_TRY(lmb_builder_status(&b));
    return lmbi_emit(m, n, "Reshape", err);
}

static lmb_status squeeze(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    bool chosen[LMB_MAX_DIMS], present;
    lmb_shape y = { 0 };

    LMB_TRY(need_inputs(n, 1, err));
    lmb_shape x = *shape_in(m, n, 0);
    LMB_TRY(squeeze_axes(m, n, x.n, chosen, &present, err));
    for (int i = 0; i < x.n; i++) {
        if (chosen[i] && x.d[i] != 1)
            return LMB_FAIL(err, LMB_E_SHAPE, "axis %d has size %lld; only 1 can be squeezed", i, (long long)x.d[i]);
        if (present ? !chosen[i] : x.d[i] != 1)
            y.d[y.n++] = x.d[i];
    }
    return as_reshape(m, n, &y, err);
}

static lmb_status unsqueeze(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    bool chosen[LMB_MAX_DIMS], present;
    lmb_ints axes = { 0 };
    lmb_shape y = { 0 };

    LMB_TRY(need_inputs(n, 1, err));
    lmb_shape x = *shape_in(m, n, 0);
    for (int i = 0; i < n->n_attr; i++)
        if (n->attr[i].kind == LMB_ATTR_INTS && strcmp(n->attr[i].name, "axes") == 0)
            axes = n->attr[i].ints;
    if (!axes.n)
        LMB_TRY(lmbi_int_list(m, n, 1, &axes, &present, err));
    if (x.n + axes.n > LMB_MAX_DIMS)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%d dimensions; at most %d are supported", x.n + axes.n, LMB_MAX_DIMS);
    LMB_TRY(squeeze_axes(m, n, x.n + axes.n, chosen, &present, err));
    for (int i = 0, k = 0; i < x.n + axes.n; i++)
        y.d[y.n++] = chosen[i] ? 1 : x.d[k++];
    return as_reshape(m, n, &y, err);
}

/* Constant: a tensor, or a number or list in one of several attributes. */
static lmb_status constant(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    const Onnx__AttributeProto *a = n->p->n_attribute == 1 ? n->p->attribute[0] : NULL;
    lmb_shape s = { 0 };

    if (a && strcmp(a->name, "value") == 0 && a->t)
        return lmbi_tensor_value(m, a->t, LMB_ROLE_CONSTANT, n->name, &n->out[0], err);
    if (a && strcmp(a->name, "value_float") == 0)
        return lmb_graph_value(m->g, LMB_ROLE_CONSTANT, n->name, LMB_F32, &s, &a->f, &n->out[0], err);
    if (a && strcmp(a->name, "value_int") == 0)
        return lmb_graph_value(m->g, LMB_ROLE_CONSTANT, n->name, LMB_S64, &s, &a->i, &n->out[0], err);
    if (a && strcmp(a->name, "value_floats") == 0) {
        s = LMB_SHAPE((int64_t)a->n_floats);
        return lmb_graph_value(m->g, LMB_ROLE_CONSTANT, n->name, LMB_F32, &s, a->floats, &n->out[0], err);
    }
    if (a && strcmp(a->name, "value_ints") == 0) {
        s = LMB_SHAPE((int64_t)a->n_ints);
        return lmb_graph_value(m->g, LMB_ROLE_CONSTANT, n->name, LMB_S64, &s, a->ints, &n->out[0], err);
    }
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a constant must be a tensor, a number or a list of numbers");
}

static const struct row { const char *type; int from, to; lmbi_convert convert; } rows[] = {
    { "Add", 6, 6, old_binary },
    { "AveragePool", 19, 99, new_average_pool },
    { "BatchNormalization", 6, 13, old_batch_norm },
    { "Clip", 6, 10, old_clip },
    { "Constant", 6, 99, constant },
    { "Conv", 1, 99, lmbi_conv },
    { "DequantizeLinear", 19, 99, new_quantize },
    { "Div", 6, 6, old_binary },
    { "Dropout", 6, 11, old_dropout },
    { "Gemm", 6, 6, old_gemm },
    { "LogSoftmax", 1, 12, old_softmax },
    { "Mul", 6, 6, old_binary },
    { "Pad", 6, 10, old_pad },
    { "Pad", 18, 99, new_pad },
    { "QuantizeLinear", 19, 99, new_quantize },
    { "ReduceMean", 18, 99, new_reduce_mean },
    { "ReduceSum", 6, 12, old_reduce_sum },
    { "Slice", 6, 9, old_slice },
    { "Softmax", 1, 12, old_softmax },
    { "Squeeze", 6, 99, squeeze },
    { "Sub", 6, 6, old_binary },
    { "Unsqueeze", 6, 99, unsqueeze },
};

lmbi_convert lmbi_converter(const char *type, int64_t opset)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].type, type) == 0 && opset >= rows[i].from && opset <= rows[i].to)
            return rows[i].convert;
    return NULL;
}
