/* core/cpu/batch_norm.c - batch normalisation over NHWC activations.
 *
 * Channels lie side by side, so every loop runs along them and vectorises. Sums run over blocks of rows in
 * f32, shifted by the first row to keep their squares small, and blocks add up in double: the order is fixed
 * and the same at every vector length.
 */
#include "core/ops/batch_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/kernels.h"

enum { BLOCK = 64 };

lmb_layout lmbi_all_nhwc(const lmb_call *c, int operand)
{
    return lmbi_is_map(&lmbi_operand(c, operand)->shape) ? LMB_LAYOUT_NHWC : LMB_LAYOUT_PLAIN;
}

static bool accepts(const lmb_call *c, const char **why)
{
    *why = "statistics of all ranks are the reference's";
    if (((const lmb_batch_norm_attr *)c->attr)->training_mode == LMB_NORM_RANKS)
        return false;
    *why = "only 3-D and 4-D activations";
    return lmbi_is_map(&c->in[0].shape) && c->in[0].dtype == LMB_F32;
}

/* Scratch: four double and four float rows of C. */
static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    (void)state, (void)err;
    *scratch = (size_t)c->in[0].shape.d[1] * (4 * sizeof(double) + 4 * sizeof(float));
    return LMB_OK;
}

/* mean[C], var[C] of rows x C. s, q: f32 rows of C. */
LMB_HOT static void statistics(const float *LMB_RESTRICT x, int64_t rows, int64_t C, double *LMB_RESTRICT mean,
                               double *LMB_RESTRICT var, float *LMB_RESTRICT s, float *LMB_RESTRICT q)
{
    memset(mean, 0, sizeof *mean * (size_t)C);
    memset(var, 0, sizeof *var * (size_t)C);
    for (int64_t r0 = 0; r0 < rows; r0 += BLOCK) {
        int64_t r1 = r0 + BLOCK < rows ? r0 + BLOCK : rows;
        memset(s, 0, sizeof *s * (size_t)C);
        memset(q, 0, sizeof *q * (size_t)C);
        for (int64_t r = r0; r < r1; r++)
            for (int64_t c = 0; c < C; c++) {
                float v = x[r * C + c] - x[c];
                s[c] += v;
                q[c] += v * v;
            }
        for (int64_t c = 0; c < C; c++) {
            mean[c] += s[c];
            var[c] += q[c];
        }
    }
    for (int64_t c = 0; c < C; c++) {
        double m = mean[c] / (double)rows, v = var[c] / (double)rows - m * m;
        mean[c] = m + x[c];
        var[c] = v > 0 ? v : 0;
    }
}

LMB_HOT static void affine(const float *LMB_RESTRICT x, float *LMB_RESTRICT y, int64_t rows, int64_t C,
                           const float *LMB_RESTRICT f, const float *LMB_RESTRICT b)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < C; c++)
            y[r * C + c] = f[c] * x[r * C + c] + b[c];
}

static lmb_status run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_attr *a = r->attr;
    const lmb_shape *s = &r->in[0].shape;
    int64_t C = s->d[1], rows = s->d[0] * lmbi_area(s);
    double *mean = r->scratch, *var = mean + C;
    float *f = (float *)(mean + 4 * C), *b = f + C;
    const float *scale = r->in[1].data, *bias = r->in[2].data, *old_mean = r->in[3].data, *old_var = r->in[4].data;

    (void)state, (void)err;
    if (rows == 0)
        return LMB_OK;
    if (a->training_mode) {
        statistics(r->in[0].data, rows, C, mean, var, f, b);
    } else {
        for (int64_t c = 0; c < C; c++)
            mean[c] = old_mean[c], var[c] = old_var[c];
    }
    for (int i = 1; i < r->n_out && a->training_mode; i++) {
        float *out = r->out[i].data;
        const float *old = i == 1 ? old_mean : old_var;
        for (int64_t c = 0; out && c < C; c++)
            out[c] = (float)(a->momentum * old[c] + (1.0 - a->momentum) * (i == 1 ? mean[c] : var[c]));
    }
    for (int64_t c = 0; c < C; c++) {
        f[c] = (float)(scale[c] / sqrt(var[c] + a->epsilon));
        b[c] = (float)(bias[c] - mean[c] * f[c]);
    }
    affine(r->in[0].data, r->out[0].data, rows, C, f, b);
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_batch_norm = {
    .name = "nhwc:batch_norm", .op = "BatchNormalization", .domain = "", .accepts = accepts, .layout = lmbi_all_nhwc,
    .create = create, .run = run, .inplace = false,
};

/* sum[C] of dy and product[C] of dy (x - mean). */
LMB_HOT static void two_sums(const float *LMB_RESTRICT dy, const float *LMB_RESTRICT x, const float *LMB_RESTRICT m,
                             int64_t rows, int64_t C, double *LMB_RESTRICT sum, double *LMB_RESTRICT product,
                             float *LMB_RESTRICT s, float *LMB_RESTRICT p)
{
    memset(sum, 0, sizeof *sum * (size_t)C);
    memset(product, 0, sizeof *product * (size_t)C);
    for (int64_t r0 = 0; r0 < rows; r0 += BLOCK) {
        int64_t r1 = r0 + BLOCK < rows ? r0 + BLOCK : rows;
        memset(s, 0, sizeof *s * (size_t)C);
        memset(p, 0, sizeof *p * (size_t)C);
        for (int64_t r = r0; r < r1; r++)
            for (int64_t c = 0; c < C; c++) {
                s[c] += dy[r * C + c];
                p[c] += dy[r * C + c] * (x[r * C + c] - m[c]);
            }
        for (int64_t c = 0; c < C; c++) {
            sum[c] += s[c];
            product[c] += p[c];
        }
    }
}

/* dx = f dy + g x + h */
LMB_HOT static void combine(const float *dy, const float *LMB_RESTRICT x, float *dx, int64_t rows,
                            int64_t C, const float *LMB_RESTRICT f, const float *LMB_RESTRICT g,
                            const float *LMB_RESTRICT h)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < C; c++)
            dx[r * C + c] = f[c] * dy[r * C + c] + g[c] * x[r * C + c] + h[c];
}

static lmb_status grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_attr *a = r->attr;
    const lmb_shape *s = &r->in[0].shape;
    int64_t C = s->d[1], rows = s->d[0] * lmbi_area(s);
    double *mean = r->scratch, *var = mean + C, *sum = var + C, *product = sum + C;
    float *f = (float *)(mean + 4 * C), *g = f + C, *h = g + C, *m = h + C;
    const float *scale = r->in[2].data;

    (void)state, (void)err;
    if (a->training_mode && rows)
        statistics(r->in[1].data, rows, C, mean, var, f, g);
    else
        for (int64_t c = 0; c < C; c++)
            mean[c] = ((const float *)r->in[3].data)[c], var[c] = ((const float *)r->in[4].data)[c];
    for (int64_t c = 0; c < C; c++)
        m[c] = (float)mean[c];
    two_sums(r->in[0].data, r->in[1].data, m, rows, C, sum, product, f, g);
    for (int64_t c = 0; c < C; c++) {
        double inv = 1.0 / sqrt(var[c] + a->epsilon), share = a->training_mode && rows ? 1.0 / (double)rows : 0;
        double slope = scale[c] * inv * inv * inv * product[c] * share;
        if (r->out[1].data)
            ((float *)r->out[1].data)[c] = (float)(product[c] * inv);
        if (r->out[2].data)
            ((float *)r->out[2].data)[c] = (float)sum[c];
        f[c] = (float)(scale[c] * inv);
        g[c] = (float)-slope;
        h[c] = (float)(slope * mean[c] - scale[c] * inv * sum[c] * share);
    }
    if (r->out[0].data)
        combine(r->in[0].data, r->in[1].data, r->out[0].data, rows, C, f, g, h);
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_batch_norm_grad = {
    .name = "nhwc:batch_norm_grad", .op = "BatchNormGrad", .domain = "limbeck", .accepts = accepts,
    .layout = lmbi_all_nhwc, .create = create, .run = grad_run, .inplace = true,
};
