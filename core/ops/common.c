/* core/ops/common.c - see common.h. */
#include "core/ops/common.h"

#include <math.h>
#include <string.h>

lmb_status lmbi_infer_same(const lmb_call *c, lmb_error *err)
{
    (void)err;
    c->out[0].dtype = c->in[0].dtype;
    c->out[0].shape = c->in[0].shape;
    return LMB_OK;
}

lmb_status lmbi_want(const lmb_call *c, int i, lmb_dtype t, const char *what, lmb_error *err)
{
    if (c->in[i].dtype != t)
        return LMB_FAIL(err, LMB_E_SHAPE, "%s has type %s; %s is needed", what, lmb_dtype_name(c->in[i].dtype),
                        lmb_dtype_name(t));
    return LMB_OK;
}

lmb_status lmbi_want_number(const lmb_call *c, int i, const char *what, lmb_error *err)
{
    LMB_TRY(lmbi_want(c, i, LMB_F32, what, err));
    if (lmb_shape_count(&c->in[i].shape) != 1)
        return LMB_FAIL(err, LMB_E_SHAPE, "%s must be one number", what);
    return LMB_OK;
}

lmb_status lmbi_wanted_shape(const lmb_ints *list, lmb_shape *out, lmb_error *err)
{
    *out = lmb_shape_of(list->n, list->v);
    return lmb_shape_check(out, LMB_F32, err);
}

lmb_status lmbi_infer_broadcast(const lmb_call *c, lmb_error *err)
{
    if (c->in[0].dtype != c->in[1].dtype)
        return LMB_FAIL(err, LMB_E_SHAPE, "operands have types %s and %s; they must agree",
                        lmb_dtype_name(c->in[0].dtype), lmb_dtype_name(c->in[1].dtype));
    c->out[0].dtype = c->in[0].dtype;
    return lmb_shape_broadcast(&c->in[0].shape, &c->in[1].shape, &c->out[0].shape, err);
}

void lmbi_cost_elementwise(const lmb_call *c, lmb_cost *out)
{
    out->flops = (double)lmb_shape_count(&c->out[0].shape);
}

void lmbi_axes_same(const lmb_call *c, const lmb_axes *a)
{
    for (int i = 0; i < c->out[0].shape.n; i++)
        a->tie(a->ctx, 0, i, LMB_OUT(c, 0), i, 0, 1);
}

void lmbi_axes_broadcast(const lmb_call *c, const lmb_axes *a)
{
    const lmb_shape *out = &c->out[0].shape;

    for (int k = 0; k < c->n_in; k++)
        for (int i = 0; i < c->in[k].shape.n; i++) {
            int o = i + out->n - c->in[k].shape.n;
            if (c->in[k].shape.d[i] == out->d[o])
                a->tie(a->ctx, k, i, LMB_OUT(c, 0), o, 0, 1);
        }
}

lmb_vid lmbi_sum_to_like(lmb_builder *b, lmb_vid v, lmb_vid like)
{
    if (b->status != LMB_OK || v == LMB_NONE)
        return v;
    const lmb_shape *from = &lmb_builder_value(b, v)->shape, *to = &lmb_builder_value(b, like)->shape;
    if (lmb_shape_equal(from, to))
        return v;
    lmb_attr shape = { .name = "shape", .kind = LMB_ATTR_INTS };
    shape.ints.n = to->n;
    memcpy(shape.ints.v, to->d, sizeof(int64_t) * (size_t)to->n);
    return lmb_emit(b, "SumTo", NULL, LMB_IN(v), &shape, 1);
}

double lmbi_log_sum_exp(const float *x, int64_t k, int64_t without, double t)
{
    double m = -INFINITY, sum = 0;

    for (int64_t i = 0; i < k; i++)
        m = i != without && x[i] / t > m ? x[i] / t : m;
    for (int64_t i = 0; i < k; i++)
        sum += i != without ? exp(x[i] / t - m) : 0;
    return m + log(sum);
}

lmb_status lmbi_unsupported(const char *op, lmb_dtype t, lmb_error *err)
{
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s has no kernel for %s", op, lmb_dtype_name(t));
}

void lmbi_walk_begin(lmbi_walk *w, const lmb_shape *result, const lmb_shape *from)
{
    int64_t stride = 1;

    memset(w, 0, sizeof *w);
    w->n = result->n;
    for (int i = result->n - 1, k = from->n - 1; i >= 0; i--, k--) {
        w->d[i] = result->d[i];
        if (k >= 0) {
            w->stride[i] = from->d[k] == 1 ? 0 : stride;
            stride *= from->d[k];
        }
    }
}

void lmbi_walk_next(lmbi_walk *w)
{
    for (int i = w->n - 1; i >= 0; i--) {
        w->offset += w->stride[i];
        if (++w->at[i] < w->d[i])
            return;
        w->offset -= w->stride[i] * w->d[i];
        w->at[i] = 0;
    }
}
