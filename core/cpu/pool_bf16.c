/* core/cpu/pool_bf16.c - MaxPool and its gradient, GlobalAveragePool and its gradient's BroadcastTo, and BiasGrad over
 * NHWC feature maps kept in bf16.
 *
 * A maximum is one of the numbers and stays exact; sums are f32 and rounded once, at their end: the gradient of a
 * MaxPool with overlapping windows is summed up in an f32 image of scratch. What comes out of a global pooling is f32.
 */
#include <string.h>

#include "core/cpu/bf16_vectors.h"
#include "core/cpu/kernels.h"
#include "core/cpu/pool_window.h"

enum { BLOCK = 64 };

static bool window_ok(const lmb_call *c, const char **why)
{
    const lmb_pool_attr *a = c->attr;
    *why = "only f32, 2-D, without dilation or indices";
    if (lmbi_operand(c, LMB_OUT(c, 0))->shape.n != 4 || c->in[0].dtype != LMB_F32 ||
        (c->n_out > 1 && c->out[1].present))
        return false;
    for (int i = 0; i < a->dilations.n; i++)
        if (a->dilations.v[i] != 1)
            return false;
    return true;
}

/* For each 16 channels at c: `lanes` says which there are. */
#define EACH_CHUNK(C) for (int64_t c = 0; c < (C); c += LMBI_LANES)

/* x > y ? x : y, so that NaN in x loses, as in the reference */
static __m512 largest(const uint16_t *x, const lmb_pooling *p, const window *w, int64_t n, int64_t c, __mmask16 lanes)
{
    __m512 best = lmbi_bf16_load(x + (((n * p->in[1] + w->y0) * p->in[2]) + w->x0) * p->c + c, lanes);
    for (int64_t yy = w->y0; yy < w->y1; yy++)
        for (int64_t xx = w->x0; xx < w->x1; xx++)
            best = _mm512_max_ps(lmbi_bf16_load(x + ((n * p->in[1] + yy) * p->in[2] + xx) * p->c + c, lanes), best);
    return best;
}

static lmb_status max_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *x = r->in[0].data;
    uint16_t *out = r->out[0].data;
    lmb_pooling p;
    (void)state;
    LMB_TRY(lmb_pooling_of(r->attr, &r->in[0].shape, &p, err));
    EACH_WINDOW {
        window w = window_at(&p, oy, ox, false);
        bool empty = w.y0 >= w.y1 || w.x0 >= w.x1;
        EACH_CHUNK(p.c) {
            __mmask16 lanes = lmbi_lanes(p.c - c);
            lmbi_bf16_store(out + OUT_AT + c, lanes, empty ? _mm512_setzero_ps() : largest(x, &p, &w, n, c, lanes));
        }
    }
    return LMB_OK;
}

/* Scratch: an f32 image. */
static lmb_status max_grad_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    const lmb_shape *s = &c->out[0].shape;
    (void)state, (void)err;
    *scratch = sizeof(float) * (size_t)(s->d[1] * s->d[2] * s->d[3]);
    return LMB_OK;
}

/* n floats to bf16. */
static void narrow(const float *x, uint16_t *y, int64_t n)
{
    EACH_CHUNK(n) {
        __mmask16 lanes = lmbi_lanes(n - c);
        lmbi_bf16_store(y + c, lanes, _mm512_maskz_loadu_ps(lanes, x + c));
    }
}

/* The first element of window w that is its maximum takes dy, channel by channel; NaN takes at once. */
static void give(const lmb_pooling *p, const window *w, const uint16_t *x, const uint16_t *dy, float *dx)
{
    EACH_CHUNK(p->c) {
        __mmask16 lanes = lmbi_lanes(p->c - c), left = lanes;
        __m512 d = lmbi_bf16_load(dy + c, lanes), best = largest(x, p, w, 0, c, lanes);
        for (int64_t yy = w->y0; yy < w->y1 && left; yy++)
            for (int64_t xx = w->x0; xx < w->x1 && left; xx++) {
                int64_t at = (yy * p->in[2] + xx) * p->c + c;
                __mmask16 mine = _mm512_mask_cmp_ps_mask(left, lmbi_bf16_load(x + at, lanes), best, _CMP_EQ_UQ);
                _mm512_mask_storeu_ps(dx + at, mine, _mm512_add_ps(_mm512_maskz_loadu_ps(mine, dx + at), d));
                left &= (__mmask16)~mine;
            }
    }
}

static lmb_status max_grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *dy = r->in[0].data;
    float *dx = r->scratch;
    lmb_pooling p;
    (void)state;
    LMB_TRY(lmb_pooling_of(r->attr, &r->out[0].shape, &p, err));
    int64_t image = p.in[1] * p.in[2] * p.c, images = p.n;
    p.n = 1; /* image by image */
    for (int64_t i = 0; i < images; i++, dy += p.out[1] * p.out[2] * p.c) {
        memset(dx, 0, sizeof *dx * (size_t)image);
        EACH_WINDOW {
            window w = window_at(&p, oy, ox, false);
            if (w.y0 < w.y1 && w.x0 < w.x1)
                give(&p, &w, (const uint16_t *)r->in[1].data + i * image, dy + OUT_AT, dx);
        }
        narrow(dx, (uint16_t *)r->out[0].data + i * image, image);
    }
    return LMB_OK;
}

const lmb_kernel lmbi_bf16_max_pool = {
    .name = "bf16:max_pool", .op = "MaxPool", .domain = "", .accepts = window_ok, .layout = lmbi_all_nhwc,
    .storage = lmbi_bf16_activations, .run = max_run,
};
const lmb_kernel lmbi_bf16_max_pool_grad = {
    .name = "bf16:max_pool_grad",
    .op = "MaxPoolGrad",
    .domain = "limbeck",
    .accepts = window_ok,
    .layout = lmbi_all_nhwc,
    .storage = lmbi_bf16_activations,
    .create = max_grad_create,
    .run = max_grad_run,
};

/* ---- the end of the feature maps ---- */

/* Sums of `rows` rows of C numbers, 16 channels at a time. */
static __m512 sum_of_rows(const uint16_t *x, int64_t rows, int64_t C, __mmask16 lanes)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < rows; i++, x += C)
        sum = _mm512_add_ps(sum, lmbi_bf16_load(x, lanes));
    return sum;
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
    for (int64_t n = 0; n < s->d[0]; n++, y += C, x += area * C)
        EACH_CHUNK(C) {
            __mmask16 lanes = lmbi_lanes(C - c);
            __m512 sum = sum_of_rows(x + c, area, C, lanes);
            _mm512_mask_storeu_ps(y + c, lanes, _mm512_mul_ps(sum, _mm512_set1_ps(1.0f / (float)area)));
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

/* Blocks of rows in f32, blocks in double. */
static lmb_status bias_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->in[0].shape;
    int64_t C = s->d[1], rows = s->d[0] * s->d[2] * s->d[3];
    const uint16_t *x = r->in[0].data;
    float *out = r->out[0].data;
    (void)state, (void)err;
    EACH_CHUNK(C) {
        __mmask16 lanes = lmbi_lanes(C - c);
        __m512d low = _mm512_setzero_pd(), high = low;
        for (int64_t r0 = 0; r0 < rows; r0 += BLOCK) {
            __m512 sum = sum_of_rows(x + r0 * C + c, rows - r0 < BLOCK ? rows - r0 : BLOCK, C, lanes);
            low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(sum)));
            high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(sum, 1)));
        }
        __m512 sum = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
        _mm512_mask_storeu_ps(out + c, lanes, sum);
    }
    return LMB_OK;
}

const lmb_kernel lmbi_bf16_global_average_pool = {
    .name = "bf16:global_average_pool",
    .op = "GlobalAveragePool",
    .domain = "",
    .accepts = maps_in,
    .layout = lmbi_all_nhwc,
    .storage = input_only,
    .run = global_run,
};
const lmb_kernel lmbi_bf16_broadcast_area = {
    .name = "bf16:broadcast",
    .op = "BroadcastTo",
    .domain = "limbeck",
    .accepts = broadcast_ok,
    .layout = lmbi_all_nhwc,
    .storage = output_only,
    .run = broadcast_run,
};
const lmb_kernel lmbi_bf16_bias_grad = {
    .name = "bf16:bias_grad", .op = "BiasGrad", .domain = "limbeck", .accepts = maps_in, .layout = lmbi_all_nhwc,
    .storage = input_only, .run = bias_run,
};
