/* core/edge/kernels_scalar.c - every step in plain C: the definition the other kernels are tested against.
 *
 * Idea: nothing is packed, padded or unrolled. A tap outside the input holds the zero point and so adds nothing; it
 * is skipped. Runs on anything with a C99 compiler and binary32 floats.
 */
#include <string.h>

#include "core/edge/integer.h"
#include "core/edge/kernels.h"

/* The part of a window that lies inside [0, length): taps first <= k < end at origin + k * dilation. */
typedef struct {
    int first, end;
} tap_range;

static tap_range taps_inside(int64_t origin, int kernel, int dilation, int64_t length)
{
    tap_range t = { 0, kernel };
    while (t.first < t.end && origin + (int64_t)t.first * dilation < 0)
        t.first++;
    while (t.end > t.first && origin + (int64_t)(t.end - 1) * dilation >= length)
        t.end--;
    return t;
}

/* One output element: output channel `oc`, window with its top left tap at (y0, x0). */
static int32_t conv_sum(const lmbi_edge_step *s, uint32_t oc, int64_t y0, int64_t x0)
{
    const lmb_edge_op *o = s->op;
    const lmb_edge_tensor *in = s->in[0];
    const uint32_t cin = in->c / o->groups, group = oc / (s->out->c / o->groups);
    const int8_t *w = s->model->weights + o->weights + (size_t)oc * o->kernel_h * o->kernel_w * cin;
    const tap_range ty = taps_inside(y0, o->kernel_h, o->dilation_h, in->h);
    const tap_range tx = taps_inside(x0, o->kernel_w, o->dilation_w, in->w);
    int32_t acc = 0;
    uint32_t c;
    int ky, kx;
    for (ky = ty.first; ky < ty.end; ky++)
        for (kx = tx.first; kx < tx.end; kx++) {
            size_t y = (size_t)(y0 + (int64_t)ky * o->dilation_h), x = (size_t)(x0 + (int64_t)kx * o->dilation_w);
            const uint8_t *q = s->src[0] + (y * in->w + x) * in->c + (size_t)group * cin;
            const int8_t *k = w + ((size_t)ky * o->kernel_w + (size_t)kx) * cin;
            for (c = 0; c < cin; c++)
                acc += (q[c] - in->zero) * k[c];
        }
    return acc;
}

static void conv(const lmbi_edge_step *s)
{
    const lmb_edge_op *o = s->op;
    const lmb_edge_channel *rows = s->model->channels + o->channels;
    uint8_t *dst = s->dst;
    uint32_t y, x, oc;
    for (y = 0; y < s->out->h; y++)
        for (x = 0; x < s->out->w; x++)
            for (oc = 0; oc < s->out->c; oc++) {
                int32_t acc = rows[oc].bias + conv_sum(s, oc, (int64_t)y * o->stride_h - o->pad_top,
                                                       (int64_t)x * o->stride_w - o->pad_left);
                *dst++ = lmb_edge_requantize(acc, rows[oc].m, s->out->zero, o->lo, o->hi);
            }
}

static void gemm(const lmbi_edge_step *s)
{
    const lmb_edge_op *o = s->op;
    const lmb_edge_channel *rows = s->model->channels + o->channels;
    const size_t n = lmb_edge_tensor_bytes(s->in[0]);
    const int8_t *w = s->model->weights + o->weights;
    uint32_t oc;
    size_t i;
    for (oc = 0; oc < s->out->c; oc++, w += n) {
        int32_t acc = rows[oc].bias;
        for (i = 0; i < n; i++)
            acc += (s->src[0][i] - s->in[0]->zero) * w[i];
        s->dst[oc] = lmb_edge_requantize(acc, rows[oc].m, s->out->zero, o->lo, o->hi);
    }
}

static void add(const lmbi_edge_step *s)
{
    const lmb_edge_op *o = s->op;
    const size_t n = lmb_edge_tensor_bytes(s->out);
    size_t i;
    for (i = 0; i < n; i++)
        s->dst[i] = lmb_edge_add(s->src[0][i], s->src[1][i], o->a, o->b, o->base, o->lo, o->hi);
}

static void global_avg(const lmbi_edge_step *s)
{
    const lmb_edge_tensor *in = s->in[0];
    const size_t pixels = (size_t)in->h * in->w;
    uint32_t c;
    size_t p;
    for (c = 0; c < in->c; c++) {
        int32_t acc = -(int32_t)pixels * in->zero;
        for (p = 0; p < pixels; p++)
            acc += s->src[0][p * in->c + c];
        s->dst[c] = lmb_edge_requantize(acc, s->op->a, s->out->zero, s->op->lo, s->op->hi);
    }
}

static uint8_t window_max(const lmbi_edge_step *s, int64_t y0, int64_t x0, uint32_t c)
{
    const lmb_edge_op *o = s->op;
    const lmb_edge_tensor *in = s->in[0];
    const tap_range ty = taps_inside(y0, o->kernel_h, o->dilation_h, in->h);
    const tap_range tx = taps_inside(x0, o->kernel_w, o->dilation_w, in->w);
    uint8_t most = 0;
    int ky, kx;
    for (ky = ty.first; ky < ty.end; ky++)
        for (kx = tx.first; kx < tx.end; kx++) {
            size_t y = (size_t)(y0 + (int64_t)ky * o->dilation_h), x = (size_t)(x0 + (int64_t)kx * o->dilation_w);
            uint8_t q = s->src[0][(y * in->w + x) * in->c + c];
            most = q > most ? q : most;
        }
    return most;
}

static void max_pool(const lmbi_edge_step *s)
{
    const lmb_edge_op *o = s->op;
    uint8_t *dst = s->dst;
    uint32_t y, x, c;
    for (y = 0; y < s->out->h; y++)
        for (x = 0; x < s->out->w; x++)
            for (c = 0; c < s->out->c; c++)
                *dst++ = window_max(s, (int64_t)y * o->stride_h - o->pad_top, (int64_t)x * o->stride_w - o->pad_left, c);
}

static void concat(const lmbi_edge_step *s)
{
    const size_t pixels = (size_t)s->out->h * s->out->w;
    uint8_t *dst = s->dst;
    size_t p;
    unsigned i;
    for (p = 0; p < pixels; p++)
        for (i = 0; i < s->op->inputs; i++) {
            memcpy(dst, s->src[i] + p * s->in[i]->c, s->in[i]->c);
            dst += s->in[i]->c;
        }
}

static void lut(const lmbi_edge_step *s)
{
    const uint8_t *table = (const uint8_t *)(s->model->weights + s->op->weights);
    const size_t n = lmb_edge_tensor_bytes(s->out);
    size_t i;
    for (i = 0; i < n; i++)
        s->dst[i] = table[s->src[0][i]];
}

static int usable(void) { return 1; }

static const lmbi_edge_kernel conv_kernel = { NULL, NULL, NULL, conv };
static const lmbi_edge_kernel gemm_kernel = { NULL, NULL, NULL, gemm };
static const lmbi_edge_kernel add_kernel = { NULL, NULL, NULL, add };
static const lmbi_edge_kernel global_avg_kernel = { NULL, NULL, NULL, global_avg };
static const lmbi_edge_kernel max_pool_kernel = { NULL, NULL, NULL, max_pool };
static const lmbi_edge_kernel concat_kernel = { NULL, NULL, NULL, concat };
static const lmbi_edge_kernel lut_kernel = { NULL, NULL, NULL, lut };

const lmbi_edge_kernels lmbi_edge_scalar = {
    "scalar",
    usable,
    {
        [LMB_EDGE_CONV] = &conv_kernel,
        [LMB_EDGE_GEMM] = &gemm_kernel,
        [LMB_EDGE_ADD] = &add_kernel,
        [LMB_EDGE_GLOBAL_AVG] = &global_avg_kernel,
        [LMB_EDGE_MAX_POOL] = &max_pool_kernel,
        [LMB_EDGE_CONCAT] = &concat_kernel,
        [LMB_EDGE_LUT] = &lut_kernel,
    },
};
