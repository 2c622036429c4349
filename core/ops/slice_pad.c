/* core/ops/slice_pad.c - taking a part of a tensor, and surrounding one: Slice and Pad.
 *
 *   Slice      x, starts, ends [, axes, steps]   constants (s32 or s64); negative steps walk backwards
 *   Pad        x, pads [, value]                 constants; mode constant, reflect or edge; negative pads cut
 *   SliceGrad  dy -> dx of attribute `shape`, zeros where nothing was taken; same starts, steps as attributes
 *   PadGrad    dy -> dx: every element of dy is added where it came from
 *   source     ONNX Slice-13, Pad-13; any type, gradients f32
 */
#include <string.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"

static lmb_status slice_infer(const lmb_call *c, lmb_error *err)
{
    lmbi_cut s;
    LMB_TRY(lmbi_slice_of(c->in, c->n_in, &s, err));
    c->out[0].dtype = c->in[0].dtype;
    c->out[0].shape = s.out;
    return LMB_OK;
}

/* Call-like types of a run, whose index operands are always there. */
static void types_of_run(const lmb_run *r, lmb_type *t)
{
    for (int i = 0; i < r->n_in; i++)
        t[i] = (lmb_type){ r->in[i].data != NULL, r->in[i].dtype, r->in[i].shape, r->in[i].data };
}

/* Offsets in x of the elements of a cut, in row-major order of the result. */
typedef struct cut_walk { const lmbi_cut *c; int64_t stride[LMB_MAX_DIMS], at[LMB_MAX_DIMS], offset; } cut_walk;

static void cut_begin(cut_walk *w, const lmbi_cut *c, const lmb_shape *x)
{
    int64_t stride = 1;
    memset(w, 0, sizeof *w);
    w->c = c;
    for (int i = x->n - 1; i >= 0; i--) {
        w->stride[i] = stride;
        w->offset += c->begin[i] * stride;
        stride *= x->d[i];
    }
}

static void cut_next(cut_walk *w)
{
    for (int i = w->c->out.n - 1; i >= 0; i--) {
        int64_t step = w->c->step[i] * w->stride[i];
        w->offset += step;
        if (++w->at[i] < w->c->out.d[i])
            return;
        w->offset -= step * w->c->out.d[i];
        w->at[i] = 0;
    }
}

static lmb_status slice_run(const lmb_run *r, lmb_error *err)
{
    size_t size = lmb_dtype_bytes(r->in[0].dtype);
    lmb_type t[LMB_MAX_IN];
    cut_walk w;
    lmbi_cut s;

    types_of_run(r, t);
    LMB_TRY(lmbi_slice_of(t, r->n_in, &s, err));
    cut_begin(&w, &s, &r->in[0].shape);
    for (int64_t i = 0, n = lmb_shape_count(&s.out); i < n; i++, cut_next(&w))
        memcpy((char *)r->out[0].data + (size_t)i * size, (const char *)r->in[0].data + (size_t)w.offset * size, size);
    return LMB_OK;
}

static const lmb_attr_row slice_grad_rows[] = { LMB_A_INTS(lmb_slice_grad_attr, shape),
                                                LMB_A_INTS(lmb_slice_grad_attr, starts),
                                                LMB_A_INTS(lmb_slice_grad_attr, steps), LMB_A_END };

static lmb_attr ints_attr(const char *name, const int64_t *v, int n)
{
    lmb_attr a = { .name = name, .kind = LMB_ATTR_INTS };
    a.ints.n = n;
    memcpy(a.ints.v, v, sizeof *v * (size_t)n);
    return a;
}

static lmb_status slice_grad(lmb_grad *g, lmb_error *err)
{
    lmb_type t[LMB_MAX_IN], out[LMB_MAX_OUT];
    lmb_call call;
    lmbi_cut s;

    lmb_call_of(g->b->g, g->node, t, out, &call);
    LMB_TRY(lmbi_slice_of(t, call.n_in, &s, err));
    lmb_attr a[3] = { ints_attr("shape", t[0].shape.d, t[0].shape.n), ints_attr("starts", s.begin, s.out.n),
                      ints_attr("steps", s.step, s.out.n) };
    g->din[0] = lmb_emit(g->b, "SliceGrad", NULL, LMB_IN(g->dout[0]), a, 3);
    return LMB_OK;
}

extern const lmb_op lmb_op_pad;

/* Is element k of axis i of x element k of y? As many alone is not enough: padded in front and cut behind they have
 * moved; and where something is turned round, no axis is looked at closer. */
static bool in_place(const lmb_call *c, int i)
{
    const lmb_type *pads = &c->in[1], *steps = &c->in[4];
    bool is = c->in[0].shape.d[i] == c->out[0].shape.d[i];

    if (c->op == &lmb_op_pad)
        return is && lmbi_index_at(pads, i) == 0;
    for (int k = 0; c->n_in > 4 && steps->present && k < steps->shape.d[0]; k++)
        is &= lmbi_index_at(steps, k) > 0;
    return is;
}

/* Axes that are taken whole go together; a cut axis stays as it is. */
static void slice_axes(const lmb_call *c, const lmb_axes *a)
{
    for (int i = 0; i < c->in[0].shape.n; i++)
        if (in_place(c, i))
            a->tie(a->ctx, 0, i, LMB_OUT(c, 0), i, 0, 1);
        else
            a->fix(a->ctx, 0, i), a->fix(a->ctx, LMB_OUT(c, 0), i);
}

const lmb_op lmb_op_slice = {
    .name = "Slice", .domain = "", .summary = "a regular part of a tensor", .source = "ONNX Slice-13", .since = 13,
    .min_in = 3, .max_in = 5, .min_out = 1, .max_out = 1, .infer = slice_infer, .grad = slice_grad,
    .axes = slice_axes, .run = slice_run,
};

static lmb_status slice_grad_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_slice_grad_attr *a = c->attr;
    const lmb_shape *dy = &c->in[0].shape;
    lmb_shape x;

    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_wanted_shape(&a->shape, &x, err));
    if (a->shape.n != dy->n || a->starts.n != dy->n || a->steps.n != dy->n || dy->n > LMB_MAX_DIMS)
        return LMB_FAIL(err, LMB_E_SHAPE, "shape, starts and steps must have %d numbers", dy->n);
    for (int i = 0; i < dy->n; i++) {
        int64_t start = a->starts.v[i], step = a->steps.v[i];
        if (start < -1 || start > x.d[i] || step < -INT32_MAX || step > INT32_MAX)
            return LMB_FAIL(err, LMB_E_ARG, "dimension %d begins at %lld in steps of %lld; it has %lld numbers", i,
                            (long long)start, (long long)step, (long long)x.d[i]);
        int64_t last = start + (dy->d[i] - 1) * step;
        if (dy->d[i] > 0 && (start < 0 || start >= x.d[i] || last < 0 || last >= x.d[i]))
            return LMB_FAIL(err, LMB_E_SHAPE, "dimension %d lies outside the result", i);
    }
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = x;
    return LMB_OK;
}

static lmb_status slice_grad_run(const lmb_run *r, lmb_error *err)
{
    const lmb_slice_grad_attr *a = r->attr;
    lmbi_cut s = { .out = r->in[0].shape };
    cut_walk w;

    (void)err;
    memcpy(s.begin, a->starts.v, sizeof s.begin);
    memcpy(s.step, a->steps.v, sizeof s.step);
    memset(r->out[0].data, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    cut_begin(&w, &s, &r->out[0].shape);
    for (int64_t i = 0, n = lmb_shape_count(&s.out); i < n; i++, cut_next(&w))
        ((float *)r->out[0].data)[w.offset] = ((const float *)r->in[0].data)[i];
    return LMB_OK;
}

const lmb_op lmb_op_slice_grad = {
    .name = "SliceGrad", .domain = "limbeck", .summary = "put a slice back into zeros", .source = "gradient of Slice",
    .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_slice_grad_attr),
    .attrs = slice_grad_rows, .infer = slice_grad_infer, .run = slice_grad_run,
};

/* ---- Pad ---- */

static const lmb_attr_row pad_rows[] = { LMB_A_TEXT(lmb_pad_attr, mode, "constant"), LMB_A_END };
static const lmb_attr_row pad_grad_rows[] = { LMB_A_TEXT(lmb_pad_attr, mode, "constant"),
                                              LMB_A_INTS(lmb_pad_attr, shape), LMB_A_INTS(lmb_pad_attr, pads),
                                              LMB_A_END };

static lmb_status padded(const lmb_shape *x, const char *mode, const int64_t *pads, lmb_shape *out, lmb_error *err)
{
    if (strcmp(mode, "constant") && strcmp(mode, "reflect") && strcmp(mode, "edge"))
        return LMB_FAIL(err, LMB_E_ARG, "mode '%s'; it must be constant, reflect or edge", mode);
    *out = *x;
    for (int i = 0; i < x->n; i++) {
        int64_t before = pads[i], after = pads[x->n + i];
        if (before < -INT32_MAX || before > INT32_MAX || after < -INT32_MAX || after > INT32_MAX ||
            x->d[i] + before + after < 0)
            return LMB_FAIL(err, LMB_E_SHAPE, "dimension %d of %lld, padded by %lld and %lld", i, (long long)x->d[i],
                            (long long)before, (long long)after);
        bool reflect = mode[0] == 'r' && (before >= x->d[i] || after >= x->d[i]) && (before > 0 || after > 0);
        if (reflect || (mode[0] == 'e' && x->d[i] == 0 && (before > 0 || after > 0)))
            return LMB_FAIL(err, LMB_E_SHAPE, "dimension %d of %lld is too small for mode %s with pads %lld and %lld",
                            i, (long long)x->d[i], mode, (long long)before, (long long)after);
        out->d[i] = x->d[i] + before + after;
    }
    return LMB_OK;
}

static lmb_status pad_infer(const lmb_call *c, lmb_error *err)
{
    int64_t pads[2 * LMB_MAX_DIMS];

    LMB_TRY(lmbi_index_list(&c->in[1], "pads", err));
    if (c->in[1].shape.d[0] != 2 * c->in[0].shape.n)
        return LMB_FAIL(err, LMB_E_SHAPE, "pads has %lld numbers; x of %d dimensions needs %d",
                        (long long)c->in[1].shape.d[0], c->in[0].shape.n, 2 * c->in[0].shape.n);
    for (int i = 0; i < 2 * c->in[0].shape.n; i++)
        pads[i] = lmbi_index_at(&c->in[1], i);
    if (c->n_in > 2 && c->in[2].present &&
        (c->in[2].dtype != c->in[0].dtype || lmb_shape_count(&c->in[2].shape) != 1))
        return LMB_FAIL(err, LMB_E_SHAPE, "the padding value must be one %s", lmb_dtype_name(c->in[0].dtype));
    c->out[0].dtype = c->in[0].dtype;
    return padded(&c->in[0].shape, ((const lmb_pad_attr *)c->attr)->mode, pads, &c->out[0].shape, err);
}

/* Offset in x of element at[] of the padded tensor, or -1 for the padding value. */
static int64_t pad_source(const lmb_shape *x, const int64_t *pads, const int64_t *at, char mode)
{
    int64_t offset = 0;
    for (int i = 0; i < x->n; i++) {
        int64_t k = at[i] - pads[i];
        if (k < 0 || k >= x->d[i]) {
            if (mode == 'c')
                return -1;
            if (mode == 'e')
                k = k < 0 ? 0 : x->d[i] - 1;
            else
                k = k < 0 ? -k : 2 * (x->d[i] - 1) - k;
        }
        offset = offset * x->d[i] + k;
    }
    return offset;
}

static void step_index(const lmb_shape *s, int64_t *at)
{
    for (int i = s->n - 1; i >= 0; i--) {
        if (++at[i] < s->d[i])
            return;
        at[i] = 0;
    }
}

static lmb_status pad_run(const lmb_run *r, lmb_error *err)
{
    char mode = ((const lmb_pad_attr *)r->attr)->mode[0];
    size_t size = lmb_dtype_bytes(r->in[0].dtype);
    int64_t at[LMB_MAX_DIMS] = { 0 }, pads[2 * LMB_MAX_DIMS], zero = 0;
    const char *value = r->n_in > 2 && r->in[2].data ? r->in[2].data : (const char *)&zero;
    lmb_type t[LMB_MAX_IN];

    (void)err;
    types_of_run(r, t);
    for (int i = 0; i < 2 * r->in[0].shape.n; i++)
        pads[i] = lmbi_index_at(&t[1], i);
    for (int64_t i = 0, n = lmb_shape_count(&r->out[0].shape); i < n; i++, step_index(&r->out[0].shape, at)) {
        int64_t from = pad_source(&r->in[0].shape, pads, at, mode);
        memcpy((char *)r->out[0].data + (size_t)i * size,
               from < 0 ? value : (const char *)r->in[0].data + (size_t)from * size, size);
    }
    return LMB_OK;
}

static lmb_status pad_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_value *pads = lmb_builder_value(g->b, g->node->in[1]);
    lmb_shape x = lmb_builder_value(g->b, g->node->in[0])->shape;
    lmb_type t = { true, pads->dtype, pads->shape, pads->data };
    int64_t list[2 * LMB_MAX_DIMS];

    (void)err;
    for (int i = 0; i < 2 * x.n; i++)
        list[i] = lmbi_index_at(&t, i);
    lmb_attr a[3] = { LMB_ATEXT("mode", ((const lmb_pad_attr *)g->node->attr)->mode), ints_attr("shape", x.d, x.n),
                      ints_attr("pads", list, 2 * x.n) };
    if (g->wanted[0])
        g->din[0] = lmb_emit(g->b, "PadGrad", NULL, LMB_IN(g->dout[0]), a, 3);
    return LMB_OK;
}

const lmb_op lmb_op_pad = {
    .name = "Pad", .domain = "", .summary = "surround with a value, a reflection or the edge", .source = "ONNX Pad-13",
    .since = 13, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_pad_attr),
    .attrs = pad_rows, .infer = pad_infer, .grad = pad_grad, .axes = slice_axes, .run = pad_run,
};

static lmb_status pad_grad_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_pad_attr *a = c->attr;
    lmb_shape x, y;

    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_wanted_shape(&a->shape, &x, err));
    if (a->pads.n != 2 * x.n)
        return LMB_FAIL(err, LMB_E_ARG, "pads has %d numbers; %d are needed", a->pads.n, 2 * x.n);
    LMB_TRY(padded(&x, a->mode, a->pads.v, &y, err));
    if (!lmb_shape_equal(&y, &c->in[0].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "dy does not have the padded shape");
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = x;
    return LMB_OK;
}

static lmb_status pad_grad_run(const lmb_run *r, lmb_error *err)
{
    const lmb_pad_attr *a = r->attr;
    int64_t at[LMB_MAX_DIMS] = { 0 };

    (void)err;
    memset(r->out[0].data, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    for (int64_t i = 0, n = lmb_shape_count(&r->in[0].shape); i < n; i++, step_index(&r->in[0].shape, at)) {
        int64_t to = pad_source(&r->out[0].shape, a->pads.v, at, a->mode[0]);
        if (to >= 0)
            ((float *)r->out[0].data)[to] += ((const float *)r->in[0].data)[i];
    }
    return LMB_OK;
}

const lmb_op lmb_op_pad_grad = {
    .name = "PadGrad", .domain = "limbeck", .summary = "sum dy back to where each element came from",
    .source = "gradient of Pad", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_pad_attr), .attrs = pad_grad_rows, .infer = pad_grad_infer, .run = pad_grad_run,
};
