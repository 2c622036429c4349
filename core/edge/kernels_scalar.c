/* core/edge/kernels_scalar.c - the reference kernels: the formulas of lmb.h, one loop nest each, plain C99.
 *
 * Every other kernel set must give these bytes. Shapes are trusted: open has checked them.
 */
#include <math.h>

#include "core/edge/internal.h"

/* clamp(rne(v) + zp, lo, hi). Clamping first, to whole numbers, gives the same and keeps lrintf in range. */
static uint8_t quantise(float v, int zp, const lmb_edge_op *op)
{
    float lo = (float)(op->lo - zp), hi = (float)(op->hi - zp);
    v = v < lo ? lo : v > hi ? hi : v;
    return (uint8_t)(lrintf(v) + zp);
}

/* Taps k of `n` whose position from + k * dilation lies in [0, size): [*first, *last). */
static void valid_taps(int64_t from, int64_t dilation, int64_t n, int64_t size, int64_t *first, int64_t *last)
{
    *first = from < 0 ? (-from + dilation - 1) / dilation : 0;
    *last = from < size ? (size - from + dilation - 1) / dilation : 0;
    if (*last > n)
        *last = n;
}

lmbi_edge_window lmbi_edge_window_at(const lmbi_edge_step *s, int64_t oy, int64_t ox)
{
    const lmb_edge_op *op = &s->op;
    lmbi_edge_window v;
    v.y = oy * op->stride[0] - op->pads[0];
    v.x = ox * op->stride[1] - op->pads[1];
    valid_taps(v.y, op->dilation[0], op->kernel[0], s->x.h, &v.ky0, &v.ky1);
    valid_taps(v.x, op->dilation[1], op->kernel[1], s->x.w, &v.kx0, &v.kx1);
    return v;
}

static const uint8_t *tap(const lmbi_edge_step *s, const uint8_t *x, const lmbi_edge_window *v, int64_t ky, int64_t kx)
{
    return x + ((v->y + ky * s->op.dilation[0]) * s->x.w + v->x + kx * s->op.dilation[1]) * s->x.c;
}

/* sum (q_x - zp_x) * q_w over one window and the channels of one group; padding holds zp_x and adds nothing. */
static int32_t dot(const lmbi_edge_step *s, const uint8_t *x, const lmbi_edge_window *v, const int8_t *w,
                   int64_t channels)
{
    int32_t acc = 0, zp = s->x.zero_point;
    for (int64_t ky = v->ky0; ky < v->ky1; ky++)
        for (int64_t kx = v->kx0; kx < v->kx1; kx++) {
            const uint8_t *q = tap(s, x, v, ky, kx);
            const int8_t *k = w + (ky * s->op.kernel[1] + kx) * channels;
            for (int64_t c = 0; c < channels; c++)
                acc += (q[c] - zp) * k[c];
        }
    return acc;
}

static void conv(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = arena + s->x.place;
    uint8_t *y = arena + s->y.place;
    int64_t outputs = s->y.c, per_group = outputs / s->op.groups, channels = s->x.c / s->op.groups;
    int64_t weights = (int64_t)s->op.kernel[0] * s->op.kernel[1] * channels;
    (void)scratch;
    for (int64_t oy = 0; oy < s->y.h; oy++)
        for (int64_t ox = 0; ox < s->y.w; ox++) {
            lmbi_edge_window v = lmbi_edge_window_at(s, oy, ox);
            for (int64_t o = 0; o < outputs; o++) {
                const uint8_t *group = x + o / per_group * channels;
                int32_t acc = s->bias[o] + dot(s, group, &v, s->op.weights + o * weights, channels);
                *y++ = quantise((float)acc * s->m[o], s->y.zero_point, &s->op);
            }
        }
}

static void add(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *a = arena + s->in_at[0], *b = arena + s->in_at[1];
    uint8_t *y = arena + s->y.place;
    float ra = s->constant[0], rb = s->constant[1], base = s->constant[2];
    (void)scratch;
    for (size_t i = 0; i < s->y.count; i++)
        y[i] = quantise(fmaf(a[i], ra, fmaf(b[i], rb, base)), 0, &s->op);
}

static void global_average(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = arena + s->x.place;
    uint8_t *y = arena + s->y.place;
    int32_t n = (int32_t)(s->x.h * s->x.w);
    (void)scratch;
    for (size_t c = 0; c < s->x.c; c++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < n; i++)
            sum += x[(size_t)i * s->x.c + c];
        y[c] = quantise((float)(sum - n * s->x.zero_point) * s->constant[0], s->y.zero_point, &s->op);
    }
}

/* Padding never wins; a window that is all padding gives lo. */
static void max_pool(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = arena + s->x.place;
    uint8_t *y = arena + s->y.place;
    size_t channels = s->x.c;
    (void)scratch;
    for (int64_t oy = 0; oy < s->y.h; oy++)
        for (int64_t ox = 0; ox < s->y.w; ox++, y += channels) {
            lmbi_edge_window v = lmbi_edge_window_at(s, oy, ox);
            memset(y, s->op.lo, channels);
            for (int64_t ky = v.ky0; ky < v.ky1; ky++)
                for (int64_t kx = v.kx0; kx < v.kx1; kx++) {
                    const uint8_t *q = tap(s, x, &v, ky, kx);
                    for (size_t c = 0; c < channels; c++)
                        y[c] = q[c] > y[c] ? q[c] : y[c];
                }
            for (size_t c = 0; c < channels; c++)
                y[c] = y[c] < s->op.hi ? y[c] : s->op.hi;
        }
}

static void concat(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    uint8_t *y = arena + s->y.place;
    size_t pixels = (size_t)s->y.h * s->y.w;
    (void)scratch;
    for (int j = 0; j < s->op.n_in; j++) {
        const uint8_t *x = arena + s->in_at[j];
        for (size_t i = 0; i < pixels; i++)
            memcpy(y + i * s->y.c, x + i * s->in_c[j], s->in_c[j]);
        y += s->in_c[j];
    }
}

static void table(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = arena + s->x.place;
    uint8_t *y = arena + s->y.place;
    (void)scratch;
    for (size_t i = 0; i < s->y.count; i++)
        y[i] = s->op.constants[x[i]];
}

static void dequantise(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = arena + s->x.place;
    float *y = (float *)(void *)(arena + s->y.place);
    (void)scratch;
    for (size_t i = 0; i < s->y.count; i++)
        y[i] = (float)(x[i] - s->x.zero_point) * s->x.scale;
}

const lmbi_edge_kernel lmbi_edge_scalar[] = {
    { LMB_EDGE_CONV, 0, NULL, NULL, NULL, NULL, conv },
    { LMB_EDGE_GEMM, 0, NULL, NULL, NULL, NULL, conv },
    { LMB_EDGE_ADD, 0, NULL, NULL, NULL, NULL, add },
    { LMB_EDGE_GLOBAL_AVERAGE, 0, NULL, NULL, NULL, NULL, global_average },
    { LMB_EDGE_MAX_POOL, 0, NULL, NULL, NULL, NULL, max_pool },
    { LMB_EDGE_CONCAT, 0, NULL, NULL, NULL, NULL, concat },
    { LMB_EDGE_TABLE, 0, NULL, NULL, NULL, NULL, table },
    { LMB_EDGE_DEQUANTISE, 0, NULL, NULL, NULL, NULL, dequantise },
    { (lmb_edge_kind)0, 0, NULL, NULL, NULL, NULL, NULL },
};
