/* core/ops/pool.c - windows over spatial dimensions: MaxPool, AveragePool and their gradients.
 *
 *   MaxPool          x [N, C, ...] -> y [, indices s64 into x as ONNX counts them]    f32, f64, u8, s8
 *   AveragePool      x [N, C, ...] -> y; padding counts only with count_include_pad   f32, f64
 *   MaxPoolGrad      dy, x -> dx: dy goes to the first maximum of its window           f32
 *   AveragePoolGrad  dy -> dx of attribute `shape`                                     f32
 *   Global*Pool are in global_pool.c
 *   source   ONNX MaxPool-12, AveragePool-11 (ceil_mode: a window must start inside the input or its padding
 *            before the end)
 */
#include "core/ops/pool.h"

#include <string.h>

#include "core/ops/common.h"

#define COMMON_ROWS                                                                                          \
    LMB_A_TEXT(lmb_pool_attr, auto_pad, "NOTSET"), LMB_A_INTS(lmb_pool_attr, kernel_shape),                  \
    LMB_A_INTS(lmb_pool_attr, strides), LMB_A_INTS(lmb_pool_attr, pads), LMB_A_INT(lmb_pool_attr, ceil_mode, 0)
static const lmb_attr_row max_rows[] = { COMMON_ROWS, LMB_A_INTS(lmb_pool_attr, dilations),
                                         LMB_A_INT(lmb_pool_attr, storage_order, 0), LMB_A_END };
static const lmb_attr_row average_rows[] = { COMMON_ROWS, LMB_A_INT(lmb_pool_attr, count_include_pad, 0), LMB_A_END };
static const lmb_attr_row grad_rows[] = { COMMON_ROWS, LMB_A_INTS(lmb_pool_attr, dilations),
                                          LMB_A_INT(lmb_pool_attr, count_include_pad, 0),
                                          LMB_A_INTS(lmb_pool_attr, shape), LMB_A_END };

static lmb_shape pooled(const lmb_shape *x, const lmb_pooling *p)
{
    lmb_shape y = *x;
    for (int i = 2; i < x->n; i++)
        y.d[i] = p->out[i + 3 - x->n];
    return y;
}

static lmb_status pool_infer(const lmb_call *c, lmb_error *err)
{
    lmb_dtype t = c->in[0].dtype;
    bool max = c->op->max_out == 2;
    lmb_pooling p;

    if (t != LMB_F32 && t != LMB_F64 && !(max && (t == LMB_U8 || t == LMB_S8)))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s of %s", c->op->name, lmb_dtype_name(t));
    LMB_TRY(lmb_pooling_of(c->attr, &c->in[0].shape, &p, err));
    c->out[0].dtype = t;
    c->out[0].shape = pooled(&c->in[0].shape, &p);
    if (c->n_out > 1) {
        c->out[1].dtype = LMB_S64;
        c->out[1].shape = c->out[0].shape;
    }
    return LMB_OK;
}

static void pool_cost(const lmb_call *c, lmb_cost *out)
{
    const lmb_pool_attr *a = c->attr;
    out->flops = (double)lmb_shape_count(&c->out[0].shape);
    for (int i = 0; i < a->kernel_shape.n; i++)
        out->flops *= (double)a->kernel_shape.v[i];
}

static void pool_axes(const lmb_call *c, const lmb_axes *a)
{
    a->tie(a->ctx, 0, 0, LMB_OUT(c, 0), 0, 0, 1);
    a->tie(a->ctx, 0, 1, LMB_OUT(c, 0), 1, 0, 1);
}

/* Visit the input positions of one window. at[]: output position. Returns how many lie inside; calls
 * nothing: fills `list` with their offsets in the channel, in row-major order. */
typedef struct window { int64_t lo[3], hi[3]; } window; /* taps [lo, hi) inside the input, per dimension */

static window window_at(const lmb_pooling *p, const int64_t at[3])
{
    window w;
    for (int i = 0; i < 3; i++) {
        int64_t start = at[i] * p->stride[i] - p->before[i], d = p->dilation[i];
        w.lo[i] = start >= 0 ? 0 : (-start + d - 1) / d;
        w.hi[i] = p->in[i] - start <= 0 ? 0 : (p->in[i] - start + d - 1) / d;
        w.hi[i] = w.hi[i] > p->kernel[i] ? p->kernel[i] : w.hi[i];
    }
    return w;
}

static int64_t tap(const lmb_pooling *p, const int64_t at[3], int64_t a, int64_t b, int64_t c)
{
    int64_t z = at[0] * p->stride[0] - p->before[0] + a * p->dilation[0];
    int64_t y = at[1] * p->stride[1] - p->before[1] + b * p->dilation[1];
    int64_t x = at[2] * p->stride[2] - p->before[2] + c * p->dilation[2];
    return (z * p->in[1] + y) * p->in[2] + x;
}

#define EACH_WINDOW(p, at, o)                                            \
    for (int64_t o = 0, at[3] = { 0, 0, 0 }; at[0] < (p)->out[0]; at[0]++) \
        for (at[1] = 0; at[1] < (p)->out[1]; at[1]++)                    \
            for (at[2] = 0; at[2] < (p)->out[2]; at[2]++, o++)
#define EACH_TAP(w, a, b, c)                               \
    for (int64_t a = (w).lo[0]; a < (w).hi[0]; a++)        \
        for (int64_t b = (w).lo[1]; b < (w).hi[1]; b++)    \
            for (int64_t c = (w).lo[2]; c < (w).hi[2]; c++)

static int64_t sizes(const int64_t v[3]) { return v[0] * v[1] * v[2]; }

/* Index of a position as ONNX reports it: row-major in the whole tensor, or column-major in its channel. */
static int64_t reported(const lmb_pooling *p, int64_t channel, int64_t offset, bool column_major)
{
    int64_t area = sizes(p->in);
    if (!column_major)
        return channel * area + offset;
    int64_t x = offset % p->in[2], y = offset / p->in[2] % p->in[1], z = offset / (p->in[1] * p->in[2]);
    return channel * area + (x * p->in[1] + y) * p->in[0] + z;
}

#define MAX_POOL(type)                                                                              \
    do {                                                                                            \
        for (int64_t ch = 0; ch < p.n * p.c; ch++) {                                                \
            const type *x = (const type *)r->in[0].data + ch * sizes(p.in);                         \
            type *y = (type *)r->out[0].data + ch * sizes(p.out);                                   \
            int64_t *index = r->n_out > 1 && r->out[1].data                                         \
                                 ? (int64_t *)r->out[1].data + ch * sizes(p.out) : NULL;            \
            EACH_WINDOW(&p, at, o) {                                                                \
                window w = window_at(&p, at);                                                       \
                int64_t best = -1;                                                                  \
                EACH_TAP(w, i, j, k) {                                                              \
                    int64_t t = tap(&p, at, i, j, k);                                               \
                    if (best < 0 || x[t] > x[best])                                                 \
                        best = t;                                                                   \
                }                                                                                   \
                y[o] = best < 0 ? 0 : x[best];                                                      \
                if (index)                                                                          \
                    index[o] = best < 0 ? -1 : reported(&p, ch, best, a->storage_order != 0);       \
            }                                                                                       \
        }                                                                                           \
    } while (0)

static lmb_status max_run(const lmb_run *r, lmb_error *err)
{
    const lmb_pool_attr *a = r->attr;
    lmb_pooling p;

    LMB_TRY(lmb_pooling_of(a, &r->in[0].shape, &p, err));
    switch (r->in[0].dtype) {
    case LMB_F32: MAX_POOL(float); break;
    case LMB_F64: MAX_POOL(double); break;
    case LMB_U8: MAX_POOL(uint8_t); break;
    case LMB_S8: MAX_POOL(int8_t); break;
    default: return lmbi_unsupported("MaxPool", r->in[0].dtype, err);
    }
    return LMB_OK;
}

/* What an average divides by: taps inside, or inside the padded input with count_include_pad. */
static double divisor(const lmb_pooling *p, const int64_t at[3], const window *w, bool include_pad)
{
    double n = 1;
    for (int i = 0; i < 3; i++) {
        int64_t start = at[i] * p->stride[i] - p->before[i], end = p->in[i] + p->after[i];
        int64_t padded = (end - start + p->dilation[i] - 1) / p->dilation[i];
        padded = padded > p->kernel[i] ? p->kernel[i] : padded;
        n *= (double)(include_pad ? padded : w->hi[i] - w->lo[i]);
    }
    return n;
}

#define AVERAGE_POOL(type)                                                               \
    for (int64_t ch = 0; ch < p.n * p.c; ch++) {                                         \
        const type *x = (const type *)r->in[0].data + ch * sizes(p.in);                  \
        type *y = (type *)r->out[0].data + ch * sizes(p.out);                            \
        EACH_WINDOW(&p, at, o) {                                                         \
            window w = window_at(&p, at);                                                \
            double sum = 0, n = divisor(&p, at, &w, a->count_include_pad != 0);          \
            EACH_TAP(w, i, j, k) sum += x[tap(&p, at, i, j, k)];                         \
            y[o] = n > 0 ? (type)(sum / n) : 0;                                          \
        }                                                                                \
    }

static lmb_status average_run(const lmb_run *r, lmb_error *err)
{
    const lmb_pool_attr *a = r->attr;
    lmb_pooling p;

    LMB_TRY(lmb_pooling_of(a, &r->in[0].shape, &p, err));
    if (r->in[0].dtype == LMB_F64)
        AVERAGE_POOL(double)
    else
        AVERAGE_POOL(float)
    return LMB_OK;
}

/* Attributes of the gradient node: the same window, and the shape of x. */
static int grad_attrs(lmb_grad *g, lmb_attr out[8])
{
    const lmb_pool_attr *a = g->node->attr;
    const lmb_shape *s = &lmb_builder_value(g->b, g->node->in[0])->shape;
    lmb_attr list[8] = {
        LMB_ATEXT("auto_pad", a->auto_pad),
        { .name = "kernel_shape", .kind = LMB_ATTR_INTS, .ints = a->kernel_shape },
        { .name = "strides", .kind = LMB_ATTR_INTS, .ints = a->strides },
        { .name = "pads", .kind = LMB_ATTR_INTS, .ints = a->pads },
        { .name = "dilations", .kind = LMB_ATTR_INTS, .ints = a->dilations },
        LMB_AINT("ceil_mode", a->ceil_mode), LMB_AINT("count_include_pad", a->count_include_pad),
        { .name = "shape", .kind = LMB_ATTR_INTS },
    };
    list[7].ints.n = s->n;
    memcpy(list[7].ints.v, s->d, sizeof(int64_t) * (size_t)s->n);
    memcpy(out, list, sizeof list);
    return 8;
}

static lmb_status max_grad(lmb_grad *g, lmb_error *err)
{
    lmb_attr a[8];
    int n = grad_attrs(g, a);
    (void)err;
    g->din[0] = lmb_emit(g->b, "MaxPoolGrad", NULL, LMB_IN(g->dout[0], g->node->in[0]), a, n);
    return LMB_OK;
}

static lmb_status average_grad(lmb_grad *g, lmb_error *err)
{
    lmb_attr a[8];
    int n = grad_attrs(g, a);
    (void)err;
    g->din[0] = lmb_emit(g->b, "AveragePoolGrad", NULL, LMB_IN(g->dout[0]), a, n);
    return LMB_OK;
}

const lmb_op lmb_op_max_pool = {
    .name = "MaxPool", .domain = "", .summary = "maximum of each window", .source = "ONNX MaxPool-12", .since = 12,
    .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 2, .attr_size = sizeof(lmb_pool_attr), .attrs = max_rows,
    .infer = pool_infer, .grad = max_grad, .cost = pool_cost, .axes = pool_axes, .run = max_run,
};

const lmb_op lmb_op_average_pool = {
    .name = "AveragePool", .domain = "", .summary = "mean of each window", .source = "ONNX AveragePool-11",
    .since = 11, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_pool_attr),
    .attrs = average_rows, .infer = pool_infer, .grad = average_grad, .cost = pool_cost, .axes = pool_axes,
    .run = average_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_pool_attr *a = c->attr;
    lmb_shape x, y;
    lmb_pooling p;

    for (int i = 0; i < c->n_in; i++)
        LMB_TRY(lmbi_want(c, i, LMB_F32, "operand", err));
    LMB_TRY(lmbi_wanted_shape(&a->shape, &x, err));
    LMB_TRY(lmb_pooling_of(a, &x, &p, err));
    y = pooled(&x, &p);
    if (!lmb_shape_equal(&c->in[0].shape, &y) || (c->n_in > 1 && !lmb_shape_equal(&c->in[1].shape, &x)))
        return LMB_FAIL(err, LMB_E_SHAPE, "dy or x do not have the shapes of the pooling");
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = x;
    return LMB_OK;
}

static lmb_status max_grad_run(const lmb_run *r, lmb_error *err)
{
    lmb_pooling p;

    LMB_TRY(lmb_pooling_of(r->attr, &r->out[0].shape, &p, err));
    memset(r->out[0].data, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    for (int64_t ch = 0; ch < p.n * p.c; ch++) {
        const float *dy = (const float *)r->in[0].data + ch * sizes(p.out);
        const float *x = (const float *)r->in[1].data + ch * sizes(p.in);
        float *dx = (float *)r->out[0].data + ch * sizes(p.in);
        EACH_WINDOW(&p, at, o) {
            window w = window_at(&p, at);
            int64_t best = -1;
            EACH_TAP(w, i, j, k) {
                int64_t t = tap(&p, at, i, j, k);
                if (best < 0 || x[t] > x[best])
                    best = t;
            }
            if (best >= 0)
                dx[best] += dy[o];
        }
    }
    return LMB_OK;
}

static lmb_status average_grad_run(const lmb_run *r, lmb_error *err)
{
    const lmb_pool_attr *a = r->attr;
    lmb_pooling p;

    LMB_TRY(lmb_pooling_of(a, &r->out[0].shape, &p, err));
    memset(r->out[0].data, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    for (int64_t ch = 0; ch < p.n * p.c; ch++) {
        const float *dy = (const float *)r->in[0].data + ch * sizes(p.out);
        float *dx = (float *)r->out[0].data + ch * sizes(p.in);
        EACH_WINDOW(&p, at, o) {
            window w = window_at(&p, at);
            double n = divisor(&p, at, &w, a->count_include_pad != 0);
            EACH_TAP(w, i, j, k) dx[tap(&p, at, i, j, k)] += (float)(dy[o] / n);
        }
    }
    return LMB_OK;
}

const lmb_op lmb_op_max_pool_grad = {
    .name = "MaxPoolGrad", .domain = "limbeck", .summary = "dy to the first maximum of each window",
    .source = "gradient of MaxPool", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_pool_attr), .attrs = grad_rows, .infer = grad_infer, .cost = pool_cost,
    .run = max_grad_run,
};

const lmb_op lmb_op_average_pool_grad = {
    .name = "AveragePoolGrad", .domain = "limbeck", .summary = "dy spread over each window",
    .source = "gradient of AveragePool", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_pool_attr), .attrs = grad_rows, .infer = grad_infer, .cost = pool_cost,
    .run = average_grad_run,
};
