/* core/ops/shape.c - ops that only rename positions: Reshape, Flatten, Transpose, Concat.
 *
 *   Reshape    x, shape (constant s64 [k]; 0 keeps a dimension unless allowzero, one -1 is inferred)
 *   Flatten    x -> [d0 * .. * d(axis-1), the rest]
 *   Transpose  y.d[i] = x.d[perm[i]]; default reverses
 *   Concat     along one axis; all operands of one type and equal in the other dimensions
 *   grad       Reshape back; Transpose by the inverse permutation; Slice of dy
 *   source     ONNX Reshape-14, Flatten-13, Transpose-13, Concat-13; any type
 */
#include <string.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"

static lmb_status copy_run(const lmb_run *r, lmb_error *err)
{
    (void)err;
    memmove(r->out[0].data, r->in[0].data, lmb_shape_bytes(&r->in[0].shape, r->in[0].dtype));
    return LMB_OK;
}

static lmb_status reshape_back(lmb_grad *g, lmb_error *err)
{
    lmb_shape s = lmb_builder_value(g->b, g->node->in[0])->shape;
    (void)err;
    g->din[0] = lmb_emit(g->b, "Reshape", NULL, LMB_IN(g->dout[0], lmb_emit_ints(g->b, s.d, s.n)), LMB_NO_ATTRS);
    return LMB_OK;
}

/* Leading axes that agree go together; then, where [C, h, w] became [C*h*w], a block of h*w goes with c. */
static void reshape_axes(const lmb_call *c, const lmb_axes *a)
{
    const lmb_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    int i = 0;

    while (i < x->n && i < y->n && x->d[i] == y->d[i]) {
        a->tie(a->ctx, 0, i, LMB_OUT(c, 0), i, 0, 1);
        i++;
    }
    int64_t block = 1;
    for (int k = i + 1; k < x->n; k++)
        block *= x->d[k];
    if (i < x->n && i == y->n - 1 && x->d[i] * block == y->d[i]) { /* the rest of x became the last axis of y */
        a->tie(a->ctx, 0, i, LMB_OUT(c, 0), i, 0, block);
    } else {
        for (int k = i; k < x->n; k++)
            a->fix(a->ctx, 0, k);
        for (int k = i; k < y->n; k++)
            a->fix(a->ctx, LMB_OUT(c, 0), k);
    }
}

typedef struct reshape_attr { int64_t allowzero; } reshape_attr;
static const lmb_attr_row reshape_rows[] = { LMB_A_INT(reshape_attr, allowzero, 0), LMB_A_END };

static lmb_status reshape_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_shape *x = &c->in[0].shape;
    const int64_t *want = c->in[1].data;
    lmb_shape y = { 0 };
    int inferred = -1;
    int64_t known = 1, count = lmb_shape_count(x);

    if (c->in[1].dtype != LMB_S64 || c->in[1].shape.n != 1 || (!want && c->in[1].shape.d[0] > 0))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "the shape must be a constant list of s64");
    if (c->in[1].shape.d[0] > LMB_MAX_DIMS)
        return LMB_FAIL(err, LMB_E_SHAPE, "a shape of %lld dimensions", (long long)c->in[1].shape.d[0]);
    y.n = (int)c->in[1].shape.d[0];
    for (int i = 0; i < y.n; i++) {
        y.d[i] = want[i];
        if (want[i] == 0 && !((const reshape_attr *)c->attr)->allowzero) {
            if (i >= x->n)
                return LMB_FAIL(err, LMB_E_SHAPE, "shape[%d] is 0, but x has %d dimensions", i, x->n);
            y.d[i] = x->d[i];
        }
        if (want[i] < -1 || want[i] > INT32_MAX || (want[i] == -1 && inferred >= 0))
            return LMB_FAIL(err, LMB_E_SHAPE, "shape[%d] is %lld", i, (long long)want[i]);
        if (want[i] == -1)
            inferred = i;
        else if (y.d[i] && known > ((int64_t)1 << 46) / y.d[i])
            return LMB_FAIL(err, LMB_E_SHAPE, "the shape has too many elements");
        else
            known *= y.d[i];
    }
    if (inferred >= 0)
        y.d[inferred] = known ? count / known : 0;
    if (lmb_shape_count(&y) != count) {
        char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
        return LMB_FAIL(err, LMB_E_SHAPE, "%s can not become %s", lmb_shape_text(x, a, sizeof a),
                        lmb_shape_text(&y, b, sizeof b));
    }
    c->out[0].dtype = c->in[0].dtype;
    c->out[0].shape = y;
    return LMB_OK;
}

const lmb_op lmb_op_reshape = {
    .name = "Reshape", .domain = "", .summary = "the same elements in another shape", .source = "ONNX Reshape-14",
    .since = 14, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .flags = LMB_OP_VIEW,
    .attr_size = sizeof(reshape_attr), .attrs = reshape_rows, .infer = reshape_infer, .grad = reshape_back,
    .axes = reshape_axes, .run = copy_run,
};

typedef struct flatten_attr { int64_t axis; } flatten_attr;
static const lmb_attr_row flatten_rows[] = { LMB_A_INT(flatten_attr, axis, 1), LMB_A_END };

static lmb_status flatten_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_shape *x = &c->in[0].shape;
    int64_t axis = ((const flatten_attr *)c->attr)->axis, rows = 1, columns = 1;

    if (axis < -x->n || axis > x->n)
        return LMB_FAIL(err, LMB_E_ARG, "axis %lld of a tensor of %d dimensions", (long long)axis, x->n);
    for (int i = 0; i < x->n; i++)
        *(i < (axis < 0 ? axis + x->n : axis) ? &rows : &columns) *= x->d[i];
    c->out[0].dtype = c->in[0].dtype;
    c->out[0].shape = LMB_SHAPE(rows, columns);
    return LMB_OK;
}

const lmb_op lmb_op_flatten = {
    .name = "Flatten", .domain = "", .summary = "to a matrix", .source = "ONNX Flatten-13", .since = 13, .min_in = 1,
    .max_in = 1, .min_out = 1, .max_out = 1, .flags = LMB_OP_VIEW, .attr_size = sizeof(flatten_attr),
    .attrs = flatten_rows, .infer = flatten_infer, .grad = reshape_back, .axes = reshape_axes, .run = copy_run,
};

/* ---- Transpose ---- */

static const lmb_attr_row transpose_rows[] = { LMB_A_INTS(lmb_transpose_attr, perm), LMB_A_END };

static int source_axis(const lmb_transpose_attr *a, int n, int i) { return a->perm.n ? (int)a->perm.v[i] : n - 1 - i; }

static lmb_status transpose_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_transpose_attr *a = c->attr;
    const lmb_shape *x = &c->in[0].shape;
    unsigned seen = 0;

    if (a->perm.n && a->perm.n != x->n)
        return LMB_FAIL(err, LMB_E_ARG, "perm has %d numbers, x %d dimensions", a->perm.n, x->n);
    c->out[0].dtype = c->in[0].dtype;
    c->out[0].shape = *x;
    for (int i = 0; i < x->n; i++) {
        if (a->perm.n && (a->perm.v[i] < 0 || a->perm.v[i] >= x->n))
            return LMB_FAIL(err, LMB_E_ARG, "perm[%d] is %lld", i, (long long)a->perm.v[i]);
        seen |= 1u << source_axis(a, x->n, i);
        c->out[0].shape.d[i] = x->d[source_axis(a, x->n, i)];
    }
    if (seen != (1u << x->n) - 1)
        return LMB_FAIL(err, LMB_E_ARG, "perm names an axis twice");
    return LMB_OK;
}

static lmb_status transpose_run(const lmb_run *r, lmb_error *err)
{
    const lmb_transpose_attr *a = r->attr;
    const lmb_shape *x = &r->in[0].shape, *y = &r->out[0].shape;
    size_t size = lmb_dtype_bytes(r->in[0].dtype);
    int64_t stride[LMB_MAX_DIMS + 1], step[LMB_MAX_DIMS], at[LMB_MAX_DIMS] = { 0 }, offset = 0;
    int64_t n = lmb_shape_count(y);

    (void)err;
    stride[x->n] = 1;
    for (int i = x->n - 1; i >= 0; i--)
        stride[i] = stride[i + 1] * x->d[i];
    for (int i = 0; i < y->n; i++)
        step[i] = stride[source_axis(a, x->n, i) + 1];
    for (int64_t k = 0; k < n; k++) {
        memcpy((char *)r->out[0].data + (size_t)k * size, (const char *)r->in[0].data + (size_t)offset * size, size);
        for (int i = y->n - 1; i >= 0; i--) {
            offset += step[i];
            if (++at[i] < y->d[i])
                break;
            offset -= step[i] * y->d[i];
            at[i] = 0;
        }
    }
    return LMB_OK;
}

static lmb_status transpose_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_transpose_attr *a = g->node->attr;
    int n = lmb_builder_value(g->b, g->node->in[0])->shape.n;
    lmb_attr perm = { .name = "perm", .kind = LMB_ATTR_INTS };

    (void)err;
    perm.ints.n = n;
    for (int i = 0; i < n; i++)
        perm.ints.v[source_axis(a, n, i)] = i;
    g->din[0] = lmb_emit(g->b, "Transpose", NULL, LMB_IN(g->dout[0]), &perm, 1);
    return LMB_OK;
}

static void transpose_axes(const lmb_call *c, const lmb_axes *a)
{
    int n = c->in[0].shape.n;
    for (int i = 0; i < n; i++)
        a->tie(a->ctx, 0, source_axis(c->attr, n, i), LMB_OUT(c, 0), i, 0, 1);
}

const lmb_op lmb_op_transpose = {
    .name = "Transpose", .domain = "", .summary = "permute the axes", .source = "ONNX Transpose-13", .since = 13,
    .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_transpose_attr),
    .attrs = transpose_rows, .infer = transpose_infer, .grad = transpose_grad, .axes = transpose_axes,
    .run = transpose_run,
};

/* ---- Concat ---- */

static const lmb_attr_row concat_rows[] = { { "axis", LMB_ATTR_INT, offsetof(lmb_axis_attr, axis), true, 0, 0, NULL },
                                            LMB_A_END };

static lmb_status concat_infer(const lmb_call *c, lmb_error *err)
{
    int axis;

    LMB_TRY(lmbi_axis(((const lmb_axis_attr *)c->attr)->axis, c->in[0].shape.n, &axis, err));
    LMB_TRY(lmbi_infer_same(c, err));
    for (int i = 1; i < c->n_in; i++) {
        const lmb_shape *s = &c->in[i].shape;
        bool fits = c->in[i].present && c->in[i].dtype == c->in[0].dtype && s->n == c->in[0].shape.n;
        for (int k = 0; fits && k < s->n; k++)
            fits = k == axis || s->d[k] == c->in[0].shape.d[k];
        if (!fits)
            return LMB_FAIL(err, LMB_E_SHAPE, "operand %d does not fit operand 0 outside axis %d", i, axis);
        c->out[0].shape.d[axis] += s->d[axis];
    }
    return LMB_OK;
}

static lmb_status concat_run(const lmb_run *r, lmb_error *err)
{
    const lmb_shape *y = &r->out[0].shape;
    size_t size = lmb_dtype_bytes(r->out[0].dtype), done = 0;
    int64_t outer = 1, inner = 1;
    int axis;

    LMB_TRY(lmbi_axis(((const lmb_axis_attr *)r->attr)->axis, y->n, &axis, err));
    for (int i = 0; i < axis; i++)
        outer *= y->d[i];
    for (int i = axis + 1; i < y->n; i++)
        inner *= y->d[i];
    size_t row = (size_t)(y->d[axis] * inner) * size;
    for (int k = 0; k < r->n_in; k++) {
        size_t part = (size_t)(r->in[k].shape.d[axis] * inner) * size;
        for (int64_t o = 0; o < outer; o++)
            memcpy((char *)r->out[0].data + (size_t)o * row + done, (const char *)r->in[k].data + (size_t)o * part,
                   part);
        done += part;
    }
    return LMB_OK;
}

static lmb_status concat_grad(lmb_grad *g, lmb_error *err)
{
    int64_t axis = ((const lmb_axis_attr *)g->node->attr)->axis, start = 0;
    int n = lmb_builder_value(g->b, g->node->out[0])->shape.n;

    (void)err;
    axis = axis < 0 ? axis + n : axis;
    for (int k = 0; k < g->node->n_in; k++) {
        int64_t end = start + lmb_builder_value(g->b, g->node->in[k])->shape.d[axis];
        if (g->wanted[k])
            g->din[k] = lmb_emit(g->b, "Slice", NULL,
                                 LMB_IN(g->dout[0], lmb_emit_ints(g->b, &start, 1), lmb_emit_ints(g->b, &end, 1),
                                        lmb_emit_ints(g->b, &axis, 1)), LMB_NO_ATTRS);
        start = end;
    }
    return LMB_OK;
}

static void concat_axes(const lmb_call *c, const lmb_axes *a)
{
    int64_t axis = ((const lmb_axis_attr *)c->attr)->axis, offset = 0;
    int n = c->out[0].shape.n;

    axis = axis < 0 ? axis + n : axis;
    for (int k = 0; k < c->n_in; k++) {
        for (int i = 0; i < n; i++)
            a->tie(a->ctx, k, i, LMB_OUT(c, 0), i, i == axis ? offset : 0, 1);
        offset += c->in[k].shape.d[axis];
    }
}

const lmb_op lmb_op_concat = {
    .name = "Concat", .domain = "", .summary = "join along an axis", .source = "ONNX Concat-13", .since = 13,
    .min_in = 1, .max_in = LMB_MAX_IN, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_axis_attr),
    .attrs = concat_rows, .infer = concat_infer, .grad = concat_grad, .axes = concat_axes, .run = concat_run,
};
