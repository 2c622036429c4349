/* core/ops/sum_to.c - broadcasting to a shape, and its gradient, summing down to one.
 *
 *   BroadcastTo  x, attribute shape       y[i] = x[j] where i broadcasts from j, f32
 *   SumTo        x, attribute shape       y[j] = sum of x[i] over all i that broadcast from j, f32
 *   grad         each is the other
 *
 * Sums run in row-major order of x, in double, so the result does not depend on a plan's layout.
 */
#include "core/ops/attrs.h"
#include "core/ops/common.h"

#include <string.h>

static const lmb_attr_row rows[] = { LMB_A_INTS(lmb_sum_to_attr, shape), LMB_A_END };

static lmb_status sum_to_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_sum_to_attr *a = c->attr;
    lmb_shape to, both;

    LMB_TRY(lmbi_want(c, 0, LMB_F32, "x", err));
    LMB_TRY(lmbi_wanted_shape(&a->shape, &to, err));
    LMB_TRY(lmb_shape_broadcast(&c->in[0].shape, &to, &both, err));
    if (!lmb_shape_equal(&both, &c->in[0].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "x does not broadcast from the wanted shape");
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = to;
    return LMB_OK;
}

static lmb_attr shape_of_input(lmb_grad *g)
{
    const lmb_shape *s = &lmb_builder_value(g->b, g->node->in[0])->shape;
    lmb_attr a = { .name = "shape", .kind = LMB_ATTR_INTS };
    a.ints.n = s->n;
    memcpy(a.ints.v, s->d, sizeof(int64_t) * (size_t)s->n);
    return a;
}

static lmb_status sum_to_grad(lmb_grad *g, lmb_error *err)
{
    lmb_attr shape = shape_of_input(g);
    (void)err;
    g->din[0] = lmb_emit(g->b, "BroadcastTo", NULL, LMB_IN(g->dout[0]), &shape, 1);
    return LMB_OK;
}

static size_t sum_to_scratch(const lmb_call *c)
{
    return (size_t)lmb_shape_count(&c->out[0].shape) * sizeof(double);
}

static lmb_status sum_to_run(const lmb_run *r, lmb_error *err)
{
    const float *x = r->in[0].data;
    float *y = r->out[0].data;
    double *sum = r->scratch;
    int64_t n = lmb_shape_count(&r->in[0].shape), m = lmb_shape_count(&r->out[0].shape);
    lmbi_walk w;

    (void)err;
    memset(sum, 0, (size_t)m * sizeof *sum);
    lmbi_walk_begin(&w, &r->in[0].shape, &r->out[0].shape);
    for (int64_t i = 0; i < n; i++, lmbi_walk_next(&w))
        sum[w.offset] += x[i];
    for (int64_t j = 0; j < m; j++)
        y[j] = (float)sum[j];
    return LMB_OK;
}

const lmb_op lmb_op_sum_to = {
    .name = "SumTo", .domain = "limbeck", .summary = "sum down to a shape that broadcasts to x's",
    .source = "gradient of broadcasting", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_sum_to_attr), .attrs = rows, .infer = sum_to_infer, .grad = sum_to_grad,
    .scratch = sum_to_scratch, .run = sum_to_run,
};

static lmb_status broadcast_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_sum_to_attr *a = c->attr;
    lmb_shape to, both;

    LMB_TRY(lmbi_want(c, 0, LMB_F32, "x", err));
    LMB_TRY(lmbi_wanted_shape(&a->shape, &to, err));
    LMB_TRY(lmb_shape_broadcast(&c->in[0].shape, &to, &both, err));
    if (!lmb_shape_equal(&both, &to))
        return LMB_FAIL(err, LMB_E_SHAPE, "x does not broadcast to the wanted shape");
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = to;
    return LMB_OK;
}

static lmb_status broadcast_run(const lmb_run *r, lmb_error *err)
{
    const float *x = r->in[0].data;
    float *y = r->out[0].data;
    int64_t n = lmb_shape_count(&r->out[0].shape);
    lmbi_walk w;

    (void)err;
    lmbi_walk_begin(&w, &r->out[0].shape, &r->in[0].shape);
    for (int64_t i = 0; i < n; i++, lmbi_walk_next(&w))
        y[i] = x[w.offset];
    return LMB_OK;
}

static lmb_status broadcast_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    g->din[0] = lmbi_sum_to_like(g->b, g->dout[0], g->node->in[0]);
    return LMB_OK;
}

const lmb_op lmb_op_broadcast_to = {
    .name = "BroadcastTo", .domain = "limbeck", .summary = "repeat x to a shape it broadcasts to",
    .source = "ONNX Expand-13 with a fixed shape", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_sum_to_attr), .attrs = rows, .infer = broadcast_infer, .grad = broadcast_grad,
    .run = broadcast_run,
};
