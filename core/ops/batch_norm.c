/* core/ops/batch_norm.c - batch normalisation over all axes but 1.
 *
 *   BatchNormalization   x [N, C, ...], scale, b, mean, var [C]  ->  y [, running_mean, running_var]
 *     training_mode 0    y = scale (x - mean) / sqrt(var + eps) + b
 *     training_mode 1    the same with mean and (population) variance of this batch;
 *                        running = momentum * input + (1 - momentum) * batch
 *     training_mode 2    the same with those of the batches of all ranks: batch_norm_ranks.c
 *   BatchNormGrad        dy, x, scale, mean, var -> dx, dscale, db; the statistics are computed again from x
 *                        in training mode, so that nothing but x has to be kept
 *   grad (training)      dx = scale/std (dy - mean(dy) - xhat mean(dy xhat))        Ioffe and Szegedy 2015, section 3
 *   source   ONNX BatchNormalization-15; f32, statistics in double
 */
#include <math.h>

#include "core/base/compiler.h"
#include "core/ops/batch_norm.h"
#include "core/ops/batch_norm_ranks.h"
#include "core/ops/common.h"

const lmb_attr_row lmb_batch_norm_rows[] = {
    LMB_A_REAL(lmb_batch_norm_attr, epsilon, 1e-5f), LMB_A_REAL(lmb_batch_norm_attr, momentum, 0.9f),
    LMB_A_INT(lmb_batch_norm_attr, training_mode, 0), LMB_A_END
};

static lmb_status per_channel(const lmb_call *c, int from, int64_t channels, lmb_error *err)
{
    static const char *const names[] = { "x", "scale", "b", "mean", "var" };
    for (int i = from; i < c->n_in; i++) {
        LMB_TRY(lmbi_want(c, i, LMB_F32, names[i < 5 ? i : 4], err));
        if (c->in[i].shape.n != 1 || c->in[i].shape.d[0] != channels)
            return LMB_FAIL(err, LMB_E_SHAPE, "operand %d must be [%lld]: x has that many channels", i,
                            (long long)channels);
    }
    return LMB_OK;
}

static lmb_status bn_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_batch_norm_attr *a = c->attr;

    LMB_TRY(lmbi_want(c, 0, LMB_F32, "x", err));
    if (c->in[0].shape.n < 2)
        return LMB_FAIL(err, LMB_E_SHAPE, "x has %d dimensions; at least 2 are needed", c->in[0].shape.n);
    LMB_TRY(per_channel(c, 1, c->in[0].shape.d[1], err));
    if (c->n_out > 1 && !a->training_mode)
        return LMB_FAIL(err, LMB_E_ARG, "running statistics are outputs only in training mode");
    for (int i = 0; i < c->n_out; i++) {
        c->out[i].dtype = LMB_F32;
        c->out[i].shape = c->in[i ? 1 : 0].shape;
    }
    return LMB_OK;
}

typedef struct dims { int64_t n, c, area; } dims;

static dims dims_of(const lmb_shape *s)
{
    dims d = { s->d[0], s->d[1], 1 };
    for (int i = 2; i < s->n; i++)
        d.area *= s->d[i];
    return d;
}

static void channel_statistics(const float *x, dims d, int64_t c, double *mean, double *var)
{
    double sum = 0, square = 0, count = (double)(d.n * d.area);

    for (int64_t n = 0; n < d.n; n++)
        for (int64_t i = 0; i < d.area; i++)
            sum += x[(n * d.c + c) * d.area + i];
    *mean = count > 0 ? sum / count : 0;
    for (int64_t n = 0; n < d.n; n++)
        for (int64_t i = 0; i < d.area; i++) {
            double v = x[(n * d.c + c) * d.area + i] - *mean;
            square += v * v;
        }
    *var = count > 0 ? square / count : 0;
}

static size_t ranks_scratch(const lmb_call *c)
{
    const lmb_batch_norm_attr *a = c->attr;
    return a->training_mode == LMB_NORM_RANKS ? lmbi_norm_ranks_scratch(c) : 0;
}

static lmb_status bn_run(const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_attr *a = r->attr;
    if (a->training_mode == LMB_NORM_RANKS)
        return lmbi_norm_ranks_run(r, err);
    const float *x = r->in[0].data, *scale = r->in[1].data, *b = r->in[2].data;
    float *y = r->out[0].data;
    dims d = dims_of(&r->in[0].shape);

    (void)err;
    for (int64_t c = 0; c < d.c; c++) {
        double mean = ((const float *)r->in[3].data)[c], var = ((const float *)r->in[4].data)[c];
        if (a->training_mode) {
            double old_mean = mean, old_var = var, m = a->momentum;
            channel_statistics(x, d, c, &mean, &var);
            if (r->n_out > 1 && r->out[1].data)
                ((float *)r->out[1].data)[c] = (float)(m * old_mean + (1 - m) * mean);
            if (r->n_out > 2 && r->out[2].data)
                ((float *)r->out[2].data)[c] = (float)(m * old_var + (1 - m) * var);
        }
        float f = (float)(scale[c] / sqrt(var + a->epsilon));
        float shift = (float)(b[c] - mean * f);
        for (int64_t n = 0; n < d.n; n++)
            for (int64_t i = 0; i < d.area; i++) {
                int64_t k = (n * d.c + c) * d.area + i;
                y[k] = f * x[k] + shift;
            }
    }
    return LMB_OK;
}

static lmb_status bn_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_batch_norm_attr *a = g->node->attr;
    const lmb_vid *in = g->node->in;
    lmb_vid d[3];

    (void)err;
    lmb_emit_n(g->b, "BatchNormGrad", NULL, LMB_IN(g->dout[0], in[0], in[1], in[3], in[4]),
               LMB_ATTRS(LMB_AREAL("epsilon", a->epsilon), LMB_AINT("training_mode", a->training_mode)), d, 3);
    for (int i = 0; i < 3; i++)
        if (g->wanted[i])
            g->din[i] = d[i];
    return LMB_OK;
}

static void bn_cost(const lmb_call *c, lmb_cost *out)
{
    const lmb_batch_norm_attr *a = c->attr;
    out->flops = (a->training_mode ? 6.0 : 2.0) * (double)lmb_shape_count(&c->in[0].shape);
}

static void bn_axes(const lmb_call *c, const lmb_axes *a)
{
    for (int i = 0; i < c->in[0].shape.n; i++)
        a->tie(a->ctx, 0, i, LMB_OUT(c, 0), i, 0, 1);
    for (int i = 1; i < 5; i++)
        a->tie(a->ctx, i, 0, LMB_OUT(c, 0), 1, 0, 1);
    for (int i = 1; i < c->n_out; i++)
        a->tie(a->ctx, LMB_OUT(c, i), 0, LMB_OUT(c, 0), 1, 0, 1);
}

const lmb_op lmb_op_batch_norm = {
    .name = "BatchNormalization", .domain = "", .summary = "normalise each channel over the batch",
    .source = "ONNX BatchNormalization-15", .since = 15, .min_in = 5, .max_in = 5, .min_out = 1, .max_out = 3,
    .attr_size = sizeof(lmb_batch_norm_attr), .attrs = lmb_batch_norm_rows, .infer = bn_infer, .grad = bn_grad,
    .cost = bn_cost, .axes = bn_axes, .scratch = ranks_scratch, .run = bn_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "x", err));
    if (!lmb_shape_equal(&c->in[0].shape, &c->in[1].shape) || c->in[0].shape.n < 2)
        return LMB_FAIL(err, LMB_E_SHAPE, "dy and x must have one shape of at least 2 dimensions");
    LMB_TRY(per_channel(c, 2, c->in[0].shape.d[1], err));
    for (int i = 0; i < c->n_out; i++) {
        c->out[i].dtype = LMB_F32;
        c->out[i].shape = c->in[i ? 2 : 0].shape;
    }
    return LMB_OK;
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_attr *a = r->attr;
    if (a->training_mode == LMB_NORM_RANKS)
        return lmbi_norm_ranks_grad(r, err);
    const float *dy = r->in[0].data, *x = r->in[1].data, *scale = r->in[2].data;
    float *dx = r->out[0].data, *dscale = r->out[1].data, *db = r->out[2].data;
    dims d = dims_of(&r->in[0].shape);

    (void)err;
    for (int64_t c = 0; c < d.c; c++) {
        double mean = ((const float *)r->in[3].data)[c], var = ((const float *)r->in[4].data)[c];
        double sum = 0, product = 0, count = (double)(d.n * d.area);
        if (a->training_mode)
            channel_statistics(x, d, c, &mean, &var);
        double inv = 1 / sqrt(var + a->epsilon);
        for (int64_t n = 0; n < d.n; n++)
            for (int64_t i = 0; i < d.area; i++) {
                int64_t k = (n * d.c + c) * d.area + i;
                sum += dy[k];
                product += dy[k] * (x[k] - mean) * inv;
            }
        if (db)
            db[c] = (float)sum;
        if (dscale)
            dscale[c] = (float)product;
        double m1 = a->training_mode ? sum / count : 0, m2 = a->training_mode ? product / count : 0;
        for (int64_t n = 0; dx && n < d.n; n++)
            for (int64_t i = 0; i < d.area; i++) {
                int64_t k = (n * d.c + c) * d.area + i;
                dx[k] = (float)(scale[c] * inv * (dy[k] - m1 - (x[k] - mean) * inv * m2));
            }
    }
    return LMB_OK;
}

const lmb_op lmb_op_batch_norm_grad = {
    .name = "BatchNormGrad", .domain = "limbeck", .summary = "gradients of BatchNormalization",
    .source = "Ioffe and Szegedy 2015, section 3", .min_in = 5, .max_in = 5, .min_out = 3, .max_out = 3,
    .attr_size = sizeof(lmb_batch_norm_attr), .attrs = lmb_batch_norm_rows, .infer = grad_infer, .cost = bn_cost,
    .scratch = ranks_scratch, .run = grad_run,
};
