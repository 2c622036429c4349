/* core/cpu/direct_bf16.c - convolutions over feature maps in bf16, directly, for AVX-512 with BF16: stems, strides and
 * 1x1 ones that widen, where this is faster than oneDNN.
 *
 * Idea: in a row of NHWC input with its zeros around it, all kw * c numbers that an output pixel sees lie side by side,
 * so they are taken two at a time whatever c is: a pair is broadcast and multiplied with the pairs of 16 output
 * channels. Sums of 8 or 16 pixels stay in registers from the first tap to the last.
 *
 * Layout     weights [k / 16 or 32][kh][pair][16 or 32][2], the last pair of a row filled up with zero
 */
#include <stdlib.h>
#include <string.h>

#include "core/cpu/bf16_vectors.h"
#include "core/cpu/kernels.h"
#include "core/ops/conv.h"

#define INLINE __attribute__((always_inline)) static inline
enum { LANES = LMBI_LANES, SLACK = 64 };

typedef struct plan {
    lmb_conv v;
    int64_t pairs;        /* that an output sees of an input row */
    int64_t rows, line;   /* of an image with its zeros; numbers in a row */
    size_t image_bytes;
} plan;

static bool accepts(const lmb_call *c, const char **why)
{
    *why = "only 2-D f32 convolutions";
    if (c->in[0].shape.n != 4 || c->in[0].dtype != LMB_F32)
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    *why =
        "only without dilation and groups, with output channels a multiple of 16 and fewer than 2^27 weights to each";
    if (v.group != 1 || v.dh != 1 || v.dw != 1 || v.k % LANES || v.k == 0 || v.c == 0 || v.n == 0 || v.oh <= 0 ||
        v.ow <= 0 || v.c * v.kh * v.kw >= INT32_MAX / LANES)
        return false;
    *why = "oneDNN is as fast";
    bool strided = v.sh > 1 || v.sw > 1, single = v.kh * v.kw == 1;
    return v.c <= 4 || (strided && (v.k <= 2 * LANES || single)) || (single && v.k > v.c && v.k % (2 * LANES) == 0);
}

static size_t aligned(size_t n) { return (n + 63) & ~(size_t)63; }

static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    plan *p = malloc(sizeof *p);

    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    const lmb_conv *v = &p->v;
    p->v = lmb_conv_of_call(c);
    int64_t down = (v->oh - 1) * v->sh + v->kh, across = (v->ow - 1) * v->sw + v->kw;
    p->pairs = (v->kw * v->c + 1) / 2;
    p->rows = down > v->ph + v->h ? down : v->ph + v->h;
    p->line = (across > v->pw + v->w ? across : v->pw + v->w) * v->c;
    p->image_bytes = aligned(sizeof(uint16_t) * (size_t)(p->rows * p->line)) + SLACK;
    *state = p;
    *scratch = p->image_bytes + 2 * sizeof(uint16_t) * (size_t)(v->kh * p->pairs * v->k);
    return LMB_OK;
}

static int64_t panel_of(const lmb_conv *v, int64_t k) { return v->k - k >= 2 * LANES ? 2 * LANES : LANES; }

/* Number e of those that an output sees of row ky, for 16 output channels from k on; as 16 bits in 32. */
INLINE __m512i weights_of(const plan *p, const float *w, int64_t k, int64_t ky, int64_t e)
{
    const lmb_conv *v = &p->v;
    const __m512i count = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    int64_t taps = v->kh * v->kw, kx = e / v->c;

    if (kx >= v->kw)
        return _mm512_setzero_si512();
    const float *at = w + (k * v->c + e - kx * v->c) * taps + ky * v->kw + kx;
    __m512 all = _mm512_i32gather_ps(_mm512_mullo_epi32(count, _mm512_set1_epi32((int)(v->c * taps))), at, 4);
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(all));
}

static void pack(const plan *p, const float *w, uint16_t *to)
{
    const lmb_conv *v = &p->v;

    for (int64_t k = 0, wide; k < v->k; k += wide) {
        wide = panel_of(v, k);
        for (int64_t ky = 0; ky < v->kh; ky++)
            for (int64_t e = 0; e < 2 * p->pairs; e += 2)
                for (int64_t l = 0; l < wide; l += LANES, to += 2 * LANES) {
                    __m512i high = _mm512_slli_epi32(weights_of(p, w, k + l, ky, e + 1), 16);
                    _mm512_storeu_si512(to, _mm512_or_si512(weights_of(p, w, k + l, ky, e), high));
                }
    }
}

/* `tall` pixels of a row from x on, 16 * wide output channels. */
INLINE void pixels(const plan *p, const uint16_t *x, const uint16_t *w, const float *bias, int tall, int wide,
                   uint16_t *y)
{
    const lmb_conv *v = &p->v;
    int64_t next = v->sw * v->c;
    __m512 sum[16][2];

    for (int t = 0; t < tall; t++)
        for (int i = 0; i < wide; i++)
            sum[t][i] = bias ? _mm512_loadu_ps(bias + i * LANES) : _mm512_setzero_ps();
    for (int64_t ky = 0; ky < v->kh; ky++, x += p->line)
        for (int64_t e = 0; e < 2 * p->pairs; e += 2, w += 2 * wide * LANES) {
            __m512bh right[2];
            for (int i = 0; i < wide; i++)
                right[i] = (__m512bh)_mm512_loadu_si512(w + 2 * i * LANES);
            for (int t = 0; t < tall; t++) {
                int32_t both;
                memcpy(&both, x + t * next + e, sizeof both);
                for (int i = 0; i < wide; i++)
                    sum[t][i] = _mm512_dpbf16_ps(sum[t][i], (__m512bh)_mm512_set1_epi32(both), right[i]);
            }
        }
    for (int t = 0; t < tall; t++)
        for (int i = 0; i < wide; i++)
            lmbi_bf16_store(y + t * v->k + i * LANES, 0xffff, sum[t][i]);
}

/* One row of outputs, one panel of channels. */
static void convolve_row(const plan *p, const uint16_t *x, const uint16_t *w, const float *bias, bool both, uint16_t *y)
{
    const lmb_conv *v = &p->v;
    int64_t ox = 0, next = v->sw * v->c;
#define BLOCKS(tall, wide)                       \
    for (; ox + (tall) <= v->ow; ox += (tall))   \
        pixels(p, x + ox * next, w, bias, tall, wide, y + ox * v->k)
    if (both) {
        BLOCKS(8, 2);
        BLOCKS(4, 2);
        BLOCKS(1, 2);
    } else {
        BLOCKS(16, 1);
        BLOCKS(8, 1);
        BLOCKS(4, 1);
        BLOCKS(1, 1);
    }
}

/* x, w, bias */
static lmb_status run(void *state, const lmb_run *r, lmb_error *err)
{
    const plan *p = state;
    const lmb_conv *v = &p->v;
    const uint16_t *x = r->in[0].data;
    const float *bias = r->n_in > 2 ? r->in[2].data : NULL;
    uint16_t *image = r->scratch, *packed = (uint16_t *)((char *)image + p->image_bytes), *y = r->out[0].data;

    (void)err;
    pack(p, r->in[1].data, packed);
    memset(image, 0, p->image_bytes);
    for (int64_t n = 0; n < v->n; n++, y += v->oh * v->ow * v->k) {
        for (int64_t iy = 0; iy < v->h; iy++, x += v->w * v->c)
            memcpy(image + (v->ph + iy) * p->line + v->pw * v->c, x, sizeof *x * (size_t)(v->w * v->c));
        const uint16_t *w = packed;
        for (int64_t k = 0, wide; k < v->k; k += wide, w += 2 * wide * v->kh * p->pairs) {
            wide = panel_of(v, k);
            for (int64_t oy = 0; oy < v->oh; oy++)
                convolve_row(p, image + oy * v->sh * p->line, w, bias ? bias + k : NULL, wide > LANES,
                             y + oy * v->ow * v->k + k);
        }
    }
    return LMB_OK;
}

const lmb_kernel lmbi_bf16_conv = {
    .name = "bf16:conv",
    .op = "Conv",
    .domain = "",
    .accepts = accepts,
    .layout = lmbi_conv_layout,
    .storage = lmbi_conv_bf16,
    .create = create,
    .run = run,
    .destroy = free,
};
