/* core/cpu/batch_norm_act.c - BatchNormAct and its gradient over NHWC activations: normalisation, sum and activation in
 * two passes over memory forward (statistics, result) and two backward, instead of up to five and four.
 *
 * Rows of channels are walked in blocks that stay in the first-level cache; inside a block, 16, 8 or 1 channels at a
 * time. Sums of a block are f32, shifted by the first row to keep squares small; blocks add up in double.
 */
#include <math.h>
#include <string.h>

#include "core/base/bf16.h"
#include "core/cpu/batch_norm_act.h"
#include "core/cpu/kernels.h"
#include "core/ops/batch_norm.h"

static const lmbi_batch_norm_loops *loops(lmb_dtype kept)
{
#if defined(LMB_CPU_BF16)
    if (kept == LMB_BF16)
        return &lmbi_batch_norm_bf16;
#endif
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return &lmbi_batch_norm_avx512;
    if (__builtin_cpu_supports("avx2"))
        return &lmbi_batch_norm_avx2;
#endif
    (void)kept;
    return &lmbi_batch_norm_plain;
}

static bool accepts(const lmb_call *c, const char **why)
{
    *why = "only 3-D and 4-D activations that are not empty";
    return lmbi_is_map(&c->in[0].shape) && lmb_shape_count(&c->in[0].shape) > 0;
}

/* Scratch: two double and four float rows of C. */
static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    (void)state, (void)err;
    *scratch = (size_t)c->in[0].shape.d[1] * (2 * sizeof(double) + 4 * sizeof(float));
    return LMB_OK;
}

static float first(const lmb_tensor *x, int64_t c)
{
    return x->dtype == LMB_BF16 ? lmb_bf16_get(((const uint16_t *)x->data)[c]) : ((const float *)x->data)[c];
}

static lmb_status run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_act_attr *a = r->attr;
    const lmb_shape *s = &r->in[0].shape;
    int64_t C = s->d[1], rows = s->d[0] * lmbi_area(s);
    double *mean = r->scratch, *var = mean + C;
    float *f = (float *)(var + C), *b = f + C;
    const lmbi_batch_norm_loops *loop = loops(r->in[0].dtype);
    const void *x = r->in[0].data;
    const float *scale = r->in[1].data, *bias = r->in[2].data;
    const float *old[2] = { r->in[3].data, r->in[4].data };
    bool none = !*a->function, relu = *a->function == 'R';

    (void)state, (void)err;
    memset(mean, 0, sizeof *mean * 2 * (size_t)C);
    loop->statistics(x, rows, C, mean, var);
    for (int64_t c = 0; c < C; c++) {
        double m = mean[c] / (double)rows, v = var[c] / (double)rows - m * m;
        mean[c] = m + (double)first(&r->in[0], c);
        var[c] = v > 0 ? v : 0;
        float mean32 = (float)mean[c], inverse = (float)(1.0 / sqrt(var[c] + (double)a->epsilon));
        double results[5] = { 0, a->momentum * (double)old[0][c] + (1.0 - a->momentum) * mean[c],
                              a->momentum * (double)old[1][c] + (1.0 - a->momentum) * var[c], mean32, inverse };
        for (int k = 1; k < r->n_out; k++)
            if (r->out[k].data)
                ((float *)r->out[k].data)[c] = (float)results[k];
        f[c] = scale[c] * inverse;
        b[c] = bias[c] - mean32 * f[c];
    }
    if (r->out[0].data)
        loop->apply(x, r->n_in > 5 ? r->in[5].data : NULL, r->out[0].data, rows, C, f, b,
                    relu   ? 0
                    : none ? -INFINITY
                           : a->lo,
                    relu || none ? INFINITY : a->hi);
    return LMB_OK;
}

/* As `run` with the statistics that it has left: the same operations, so the same bits. */
static lmb_status again_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_act_attr *a = r->attr;
    const lmb_shape *s = &r->in[0].shape;
    int64_t C = s->d[1];
    const float *scale = r->in[1].data, *bias = r->in[2].data, *mean = r->in[3].data, *inverse = r->in[4].data;
    float *f = r->scratch, *b = f + C;
    bool none = !*a->function, relu = *a->function == 'R';

    (void)state, (void)err;
    for (int64_t c = 0; c < C; c++) {
        f[c] = scale[c] * inverse[c];
        b[c] = bias[c] - mean[c] * f[c];
    }
    loops(r->in[0].dtype)
        ->apply(r->in[0].data, NULL, r->out[0].data, s->d[0] * lmbi_area(s), C, f, b,
                relu   ? 0
                : none ? -INFINITY
                       : a->lo,
                relu || none ? INFINITY : a->hi);
    return LMB_OK;
}

static lmb_status grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_act_attr *a = r->attr;
    const lmb_shape *s = &r->in[1].shape;
    int64_t C = s->d[1], rows = s->d[0] * lmbi_area(s);
    double *sum = r->scratch, *product = sum + C;
    float *f = (float *)(product + C), *b = f + C, *g = b + C, *h = g + C;
    const lmbi_batch_norm_loops *loop = loops(r->in[1].dtype);
    const void *dy = r->in[0].data, *x = r->in[1].data;
    const float *scale = r->in[2].data, *bias = r->in[3].data;
    const float *mean = r->in[4].data, *inverse = r->in[5].data;
    bool none = !*a->function, relu = *a->function == 'R';
    /* the mask is (lo, hi]: Clip's closed range begins one float below lo; without a function even NaN must pass */
    float lo = relu ? 0 : nextafterf(a->lo, -INFINITY), hi = relu ? INFINITY : a->hi;

    (void)state, (void)err;
    memset(sum, 0, sizeof *sum * 2 * (size_t)C);
    for (int64_t c = 0; c < C; c++) {
        f[c] = scale[c] * inverse[c];
        b[c] = bias[c] - mean[c] * f[c];
    }
    if (none)
        lo = -INFINITY, hi = INFINITY;
    loop->products(dy, x, rows, C, f, b, mean, lo, hi, sum, product);
    for (int64_t c = 0; c < C; c++) {
        double share = 1.0 / (double)rows,
               slope = (double)f[c] * (double)inverse[c] * (double)inverse[c] * product[c] * share;
        if (r->out[1].data)
            ((float *)r->out[1].data)[c] = (float)(product[c] * (double)inverse[c]);
        if (r->out[2].data)
            ((float *)r->out[2].data)[c] = (float)sum[c];
        g[c] = (float)-slope;
        h[c] = (float)(slope * (double)mean[c] - (double)f[c] * sum[c] * share);
    }
    if (r->out[0].data)
        loop->combine(dy, x, r->out[0].data, rows, C, f, b, g, h, lo, hi);
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_batch_norm_act = {
    .name = "nhwc:batch_norm_act",
    .op = "BatchNormAct",
    .domain = "limbeck",
    .accepts = accepts,
    .layout = lmbi_all_nhwc,
    .create = create,
    .run = run,
};
const lmb_kernel lmbi_cpu_batch_norm_act_grad = {
    .name = "nhwc:batch_norm_act_grad", .op = "BatchNormActGrad", .domain = "limbeck", .accepts = accepts,
    .layout = lmbi_all_nhwc, .create = create, .run = grad_run, .inplace = true,
};
const lmb_kernel lmbi_cpu_batch_norm_apply = {
    .name = "nhwc:batch_norm_apply",
    .op = "BatchNormApply",
    .domain = "limbeck",
    .accepts = accepts,
    .layout = lmbi_all_nhwc,
    .create = create,
    .run = again_run,
};

#if defined(LMB_CPU_BF16)
/* The same with activations kept in bf16. */
const lmb_kernel lmbi_bf16_batch_norm_act = {
    .name = "bf16:batch_norm_act",
    .op = "BatchNormAct",
    .domain = "limbeck",
    .accepts = accepts,
    .layout = lmbi_all_nhwc,
    .storage = lmbi_bf16_activations,
    .create = create,
    .run = run,
};
const lmb_kernel lmbi_bf16_batch_norm_act_grad = {
    .name = "bf16:batch_norm_act_grad", .op = "BatchNormActGrad", .domain = "limbeck", .accepts = accepts,
    .layout = lmbi_all_nhwc, .storage = lmbi_bf16_activations, .create = create, .run = grad_run, .inplace = true,
};
const lmb_kernel lmbi_bf16_batch_norm_apply = {
    .name = "bf16:batch_norm_apply",
    .op = "BatchNormApply",
    .domain = "limbeck",
    .accepts = accepts,
    .layout = lmbi_all_nhwc,
    .storage = lmbi_bf16_activations,
    .create = create,
    .run = again_run,
};
#endif
