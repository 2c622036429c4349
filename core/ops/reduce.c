/* core/ops/reduce.c - sums and means over axes.
 *
 *   ReduceMean   x; attributes axes (empty: all), keepdims
 *   ReduceSum    x [, axes constant s64]; attributes keepdims, noop_with_empty_axes
 *   grad         BroadcastTo of dy (divided by the count for the mean)
 *   source       ONNX ReduceMean-13, ReduceSum-13; f32, f64, s32, s64; float sums in double
 */
#include <string.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"

static const lmb_attr_row mean_rows[] = { LMB_A_INTS(lmb_reduce_attr, axes), LMB_A_INT(lmb_reduce_attr, keepdims, 1),
                                          LMB_A_END };
static const lmb_attr_row sum_rows[] = { LMB_A_INT(lmb_reduce_attr, keepdims, 1),
                                         LMB_A_INT(lmb_reduce_attr, noop_with_empty_axes, 0), LMB_A_END };

static lmb_status reduced_axes(const lmb_reduce_attr *a, const lmb_shape *x, const lmb_type *axes, bool *reduced,
                               lmb_error *err)
{
    lmb_shape probe = *x, kept;
    for (int i = 0; i < x->n; i++)
        probe.d[i] = 2; /* so that axes of size 1 show as well */
    LMB_TRY(lmbi_kept_shape(a, &probe, axes, &kept, err));
    for (int i = 0; i < x->n; i++)
        reduced[i] = kept.d[i] == 1;
    return LMB_OK;
}

static lmb_status reduce_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_reduce_attr *a = c->attr;
    const lmb_shape *x = &c->in[0].shape;
    bool reduced[LMB_MAX_DIMS];
    lmb_dtype t = c->in[0].dtype;

    if (t != LMB_F32 && t != LMB_F64 && t != LMB_S32 && t != LMB_S64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s of %s", c->op->name, lmb_dtype_name(t));
    LMB_TRY(reduced_axes(a, x, c->n_in > 1 ? &c->in[1] : NULL, reduced, err));
    c->out[0].dtype = t;
    c->out[0].shape = (lmb_shape){ 0 };
    for (int i = 0; i < x->n; i++)
        if (!reduced[i] || a->keepdims)
            c->out[0].shape.d[c->out[0].shape.n++] = reduced[i] ? 1 : x->d[i];
    return LMB_OK;
}

static size_t reduce_scratch(const lmb_call *c) { return (size_t)lmb_shape_count(&c->out[0].shape) * 8; }

#define REDUCE(type, wide)                                                       \
    do {                                                                         \
        wide *sum = r->scratch;                                                  \
        memset(sum, 0, (size_t)m * sizeof *sum);                                 \
        for (int64_t i = 0; i < n; i++, lmbi_walk_next(&w))                      \
            sum[w.offset] += ((const type *)r->in[0].data)[i];                   \
        for (int64_t j = 0; j < m; j++)                                          \
            ((type *)r->out[0].data)[j] = (type)(mean ? sum[j] / (wide)per : sum[j]); \
    } while (0)

static lmb_status reduce(const lmb_run *r, bool mean, lmb_error *err)
{
    int64_t n = lmb_shape_count(&r->in[0].shape), m = lmb_shape_count(&r->out[0].shape);
    bool whole = r->in[0].dtype == LMB_S32 || r->in[0].dtype == LMB_S64;
    int64_t per = m ? n / m : 1; /* of none: NaN, and 0 where there is no NaN */
    lmb_type axes = { 0 };
    lmb_shape kept;
    lmbi_walk w;

    if (r->n_in > 1 && r->in[1].data)
        axes = (lmb_type){ true, r->in[1].dtype, r->in[1].shape, r->in[1].data };
    LMB_TRY(lmbi_kept_shape(r->attr, &r->in[0].shape, &axes, &kept, err));
    if (whole && per == 0)
        per = 1;
    lmbi_walk_begin(&w, &r->in[0].shape, &kept);
    switch (r->in[0].dtype) {
    case LMB_F32: REDUCE(float, double); break;
    case LMB_F64: REDUCE(double, double); break;
    case LMB_S32: REDUCE(int32_t, int64_t); break;
    default: REDUCE(int64_t, int64_t); break;
    }
    return LMB_OK;
}
static lmb_status mean_run(const lmb_run *r, lmb_error *err) { return reduce(r, true, err); }
static lmb_status sum_run(const lmb_run *r, lmb_error *err) { return reduce(r, false, err); }

static lmb_status reduce_grad(lmb_grad *g, bool mean, lmb_error *err)
{
    lmb_type in[LMB_MAX_IN], out[LMB_MAX_OUT];
    lmb_call c;
    bool reduced[LMB_MAX_DIMS];
    lmb_attr shape = { .name = "shape", .kind = LMB_ATTR_INTS };
    lmb_shape kept;

    lmb_call_of(g->b->g, g->node, in, out, &c);
    lmb_shape x = in[0].shape;
    LMB_TRY(reduced_axes(c.attr, &x, c.n_in > 1 ? &in[1] : NULL, reduced, err));
    kept = x;
    for (int i = 0; i < x.n; i++)
        kept.d[i] = reduced[i] ? 1 : x.d[i];
    lmb_vid d = g->dout[0];
    if (!lmb_shape_equal(&kept, &out[0].shape))
        d = lmb_emit(g->b, "Reshape", NULL, LMB_IN(d, lmb_emit_ints(g->b, kept.d, kept.n)), LMB_NO_ATTRS);
    if (mean)
        d = lmb_emit(g->b, "Mul", NULL,
                     LMB_IN(d, lmb_emit_scalar(g->b, (float)lmb_shape_count(&kept) / (float)lmb_shape_count(&x))),
                     LMB_NO_ATTRS);
    shape.ints.n = x.n;
    memcpy(shape.ints.v, x.d, sizeof(int64_t) * (size_t)x.n);
    g->din[0] = lmb_emit(g->b, "BroadcastTo", NULL, LMB_IN(d), &shape, 1);
    return LMB_OK;
}
static lmb_status mean_grad(lmb_grad *g, lmb_error *err) { return reduce_grad(g, true, err); }
static lmb_status sum_grad(lmb_grad *g, lmb_error *err) { return reduce_grad(g, false, err); }

static void reduce_cost(const lmb_call *c, lmb_cost *out) { out->flops = (double)lmb_shape_count(&c->in[0].shape); }

static void reduce_axes(const lmb_call *c, const lmb_axes *a)
{
    bool reduced[LMB_MAX_DIMS];
    int o = 0;

    if (reduced_axes(c->attr, &c->in[0].shape, c->n_in > 1 ? &c->in[1] : NULL, reduced, NULL) != LMB_OK)
        return;
    for (int i = 0; i < c->in[0].shape.n; i++) {
        if (!reduced[i])
            a->tie(a->ctx, 0, i, LMB_OUT(c, 0), o, 0, 1);
        o += !reduced[i] || ((const lmb_reduce_attr *)c->attr)->keepdims;
    }
}

const lmb_op lmb_op_reduce_mean = {
    .name = "ReduceMean", .domain = "", .summary = "mean over axes", .source = "ONNX ReduceMean-13", .since = 13,
    .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_reduce_attr), .attrs = mean_rows,
    .infer = reduce_infer, .grad = mean_grad, .cost = reduce_cost, .axes = reduce_axes, .scratch = reduce_scratch,
    .run = mean_run,
};

const lmb_op lmb_op_reduce_sum = {
    .name = "ReduceSum", .domain = "", .summary = "sum over axes", .source = "ONNX ReduceSum-13", .since = 13,
    .min_in = 1, .max_in = 2, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_reduce_attr), .attrs = sum_rows,
    .infer = reduce_infer, .grad = sum_grad, .cost = reduce_cost, .axes = reduce_axes, .scratch = reduce_scratch,
    .run = sum_run,
};
