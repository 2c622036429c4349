/* core/cpu/pool_bf16.c - MaxPool and its gradient, GlobalAveragePool and its gradient's BroadcastTo, and BiasGrad over NHWC
 * feature maps kept in bf16.
 *
 * A maximum is one of the numbers and stays exact; sums are f32 and rounded once, at their end: the gradient of a MaxPool
 * with overlapping windows is summed up in an f32 image of scratch. What comes out of a global pooling is f32.
 */
#include <string.h>

#include "core/base/bf16.h"
#include "core/cpu/kernels.h"
#include "core/cpu/pool_window.h"

enum { BLOCK = 64 };

static bool window_ok(const lmb_call *c, const char **why)
{
    const lmb_pool_attr *a = c->attr;
    *why = "only f32, 2-D, without dilation or indices";
    if (lmbi_operand(c, LMB_OUT(c, 0))->shape.n != 4 || c->in[0].dtype != LMB_F32 || (c->n_out > 1 && c->out[1].present))
        return false;
    for (int i = 0; i < a->dilations.n; i++)
        if (a->dilations.v[i] != 1)
            return false;
    return true;
}

static void max_rows(const uint16_t *restrict x, uint16_t *restrict y, int64_t C)
{
    for (int64_t c = 0; c < C; c++)
        y[c] = lmb_bf16_get(x[c]) > lmb_bf16_get(y[c]) ? x[c] : y[c];
}

static lmb_status max_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *x = r->in[0].data;
    uint16_t *out = r->out[0].data;
    lmb_pooling p;
    (void)state;
    LMB_TRY(lmb_pooling_of(r->attr, &r->in[0].shape, &p, err));
    EACH_WINDOW {
        uint16_t *y = out + OUT_AT;
        window w = window_at(&p, oy, ox, false);
        if (w.y0 >= w.y1 || w.x0 >= w.x1) {
            memset(y, 0, sizeof *y * (size_t)p.c);
            continue;
        }
        memcpy(y, x + IN_AT(w.y0, w.x0), sizeof *y * (size_t)p.c);
        for (int64_t yy = w.y0; yy < w.y1; yy++)
            for (int64_t xx = w.x0; xx < w.x1; xx++)
                max_rows(x + IN_AT(yy, xx), y, p.c);
    }
    return LMB_OK;
}

/* The first element of a window that is its maximum takes all that is left. */
static void take(const uint16_t *restrict x, const uint16_t *restrict best, float *restrict left, float *restrict dx, int64_t C)
{
    for (int64_t c = 0; c < C; c++) {
        float b = lmb_bf16_get(best[c]), d = left[c], mine = lmb_bf16_get(x[c]) == b ? d : 0.0f;
        mine = b != b ? d : mine;
        dx[c] += mine;
        left[c] = d - mine;
    }
}

/* Scratch: an f32 image, a row of dy that is left, a row of maxima. */
static lmb_status max_grad_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    const lmb_shape *s = &c->out[0].shape;
    (void)state, (void)err;
    *scratch = sizeof(float) * (size_t)(s->d[1] * (s->d[2] * s->d[3] + 2));
    return LMB_OK;
}

static void narrow(const float *restrict x, uint16_t *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = lmb_bf16_of(x[i]);
}

static lmb_status max_grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *dy = r->in[0].data;
    lmb_pooling p;
    (void)state;
    LMB_TRY(lmb_pooling_of(r->attr, &r->out[0].shape, &p, err));
    int64_t image = p.in[1] * p.in[2] * p.c, images = p.n;
    float *dx = r->scratch, *left = dx + image;
    uint16_t *best = (uint16_t *)(left + p.c);
    p.n = 1; /* image by image */
    for (int64_t i = 0; i < images; i++) {
        const uint16_t *x = (const uint16_t *)r->in[1].data + i * image;
        memset(dx, 0, sizeof *dx * (size_t)image);
        EACH_WINDOW {
            window w = window_at(&p, oy, ox, false);
            if (w.y0 >= w.y1 || w.x0 >= w.x1)
                continue;
            memcpy(best, x + IN_AT(w.y0, w.x0), sizeof *best * (size_t)p.c);
            for (int64_t c = 0; c < p.c; c++)
                left[c] = lmb_bf16_get(dy[OUT_AT + c]);
            for (int64_t yy = w.y0; yy < w.y1; yy++)
                for (int64_t xx = w.x0; xx < w.x1; xx++)
                    max_rows(x + IN_AT(yy, xx), best, p.c);
            for (int64_t yy = w.y0; yy < w.y1; yy++)
                for (int64_t xx = w.x0; xx < w.x1; xx++)
                    take(x + IN_AT(yy, xx), best, left, dx + IN_AT(yy, xx), p.c);
        }
        narrow(dx, (uint16_t *)r->out[0].data + i * image, image);
        dy += p.out[1] * p.out[2] * p.c;
    }
    return LMB_OK;
}

const lmb_kernel lmbi_bf16_max_pool = {
    .name = "bf16:max_pool", .op = "MaxPool", .domain = "", .accepts = window_ok, .layout = lmbi_all_nhwc,
    .storage = lmbi_bf16_activations, .run = max_run,
};
const lmb_kernel lmbi_bf16_max_pool_grad = {
    .name = "bf16:max_pool_grad", .op = "MaxPoolGrad", .domain = "limbeck", .accepts = window_ok, .layout = lmbi_all_nhwc,
    .storage = lmbi_bf16_activations, .create = max_grad_create, .run = max_grad_run,
};

/* ---- the end of the feature maps ---- */

static void add_rows(const uint16_t *restrict x, float *restrict y, int64_t C)
{
    for (int64_t c = 0; c < C; c++)
        y[c] += lmb_bf16_get(x[c]);
}

static bool maps_in(const lmb_call *c, const char **why)
{
    *why = "only f32 feature maps";
    return c->in[0].shape.n == 4 && c->in[0].dtype == LMB_F32;
}

static lmb_dtype input_only(const lmb_call *c, int operand) { return operand < c->n_in ? LMB_BF16 : LMB_F32; }
static lmb_dtype output_only(const lmb_call *c, int operand) { return operand < c->n_in ? LMB_F32 : LMB_BF16; }

static lmb_status global_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->in[0].shape;
    int64_t C = s->d[1], area = s->d[2] * s->d[3];
    const uint16_t *x = r->in[0].data;
    float *y = r->out[0].data;
    (void)state, (void)err;
    memset(y, 0, sizeof *y * (size_t)(s->d[0] * C));
    for (int64_t n = 0; n < s->d[0]; n++, y += C) {
        for (int64_t i = 0; i < area; i++, x += C)
            add_rows(x, y, C);
        for (int64_t c = 0; c < C; c++)
            y[c] *= 1.0f / (float)area;
    }
    return LMB_OK;
}

static bool broadcast_ok(const lmb_call *c, const char **why)
{
    const lmb_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    *why = "only f32 [N, C, 1, 1] to [N, C, H, W]";
    return x->n == 4 && y->n == 4 && x->d[0] == y->d[0] && x->d[1] == y->d[1] && x->d[2] == 1 && x->d[3] == 1 &&
           c->in[0].dtype == LMB_F32;
}

static lmb_status broadcast_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->out[0].shape;
    int64_t C = s->d[1], area = s->d[2] * s->d[3];
    const float *x = r->in[0].data;
    uint16_t *y = r->out[0].data;
    (void)state, (void)err;
    for (int64_t n = 0; area > 0 && n < s->d[0]; n++, x += C, y += area * C) {
        narrow(x, y, C);
        for (int64_t i = 1; i < area; i++)
            memcpy(y + i * C, y, sizeof *y * (size_t)C);
    }
    return LMB_OK;
}

/* Scratch: a row of doubles and one of floats. */
static lmb_status bias_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    (void)state, (void)err;
    *scratch = (size_t)c->in[0].shape.d[1] * (sizeof(double) + sizeof(float));
    return LMB_OK;
}

/* Blocks of rows in f32, blocks in double. */
static lmb_status bias_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->in[0].shape;
    int64_t C = s->d[1], rows = s->d[0] * s->d[2] * s->d[3];
    const uint16_t *x = r->in[0].data;
    double *sum = r->scratch;
    float *part = (float *)(sum + C);
    (void)state, (void)err;
    memset(sum, 0, sizeof *sum * (size_t)C);
    for (int64_t r0 = 0; r0 < rows; r0 += BLOCK) {
        memset(part, 0, sizeof *part * (size_t)C);
        for (int64_t i = r0; i < rows && i < r0 + BLOCK; i++)
            add_rows(x + i * C, part, C);
        for (int64_t c = 0; c < C; c++)
            sum[c] += part[c];
    }
    for (int64_t c = 0; c < C; c++)
        ((float *)r->out[0].data)[c] = (float)sum[c];
    return LMB_OK;
}

const lmb_kernel lmbi_bf16_global_average_pool = {
    .name = "bf16:global_average_pool", .op = "GlobalAveragePool", .domain = "", .accepts = maps_in, .layout = lmbi_all_nhwc,
    .storage = input_only, .run = global_run,
};
const lmb_kernel lmbi_bf16_broadcast_area = {
    .name = "bf16:broadcast", .op = "BroadcastTo", .domain = "limbeck", .accepts = broadcast_ok, .layout = lmbi_all_nhwc,
    .storage = output_only, .run = broadcast_run,
};
const lmb_kernel lmbi_bf16_bias_grad = {
    .name = "bf16:bias_grad", .op = "BiasGrad", .domain = "limbeck", .accepts = maps_in, .layout = lmbi_all_nhwc,
    .storage = input_only, .create = bias_create, .run = bias_run,
};
