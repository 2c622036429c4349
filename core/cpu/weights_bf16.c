/* core/cpu/weights_bf16.c - the gradient of a convolution's weights over feature maps in bf16, for AVX-512 with BF16.
 *
 * Idea: an instruction adds two products to a lane's sum, so the sum over output pixels goes two pixels a time. Both
 * maps are rewritten so that two neighbours lie together, for a few images at once so that all stays in the first-level
 * cache:
 *
 *   D [image][oy][pair][k][2]            the gradient of the output at the pixels of the pair
 *   X [image][iy][pair][kw * c][2]       what the two outputs see of input row iy, tap by tap; zero outside
 *
 * Then dw[k, c, ky, kx] is a product of matrices over pairs for each ky: vectors run along k, a pair of X is broadcast,
 * and up to 24 sums stay in registers from the first pixel to the last. Sums over images are in the same order in any
 * run.
 */
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/kernels.h"
#include "core/ops/conv.h"

#define INLINE __attribute__((always_inline)) static inline
enum { LANES = 16, CACHE = 40 * 1024, MOST_CHANNELS = 2048, SLACK = 64 };

typedef struct plan {
    lmb_conv v;
    int64_t pairs, columns; /* of a row; kw * c */
    int64_t images;         /* rewritten at once */
    size_t row_bytes, x_bytes, d_bytes;
} plan;

/* Does an output row read input row iy? */
static bool is_read(const lmb_conv *v, int64_t iy)
{
    for (int64_t ky = 0; ky < v->kh; ky++) {
        int64_t at = iy + v->ph - ky;
        if (at >= 0 && at % v->sh == 0 && at / v->sh < v->oh)
            return true;
    }
    return false;
}

static bool accepts(const lmb_call *c, const char **why)
{
    *why = "only 2-D f32 convolutions";
    if (c->in[0].shape.n != 4 || c->in[0].dtype != LMB_F32)
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    *why = "only without dilation and groups, with output channels a multiple of 16 and up to 2048 channels";
    return v.group == 1 && v.dh == 1 && v.dw == 1 && v.k % LANES == 0 && v.k > 0 && v.c > 0 && v.n > 0 && v.oh > 0 &&
           v.ow > 0 && v.c <= MOST_CHANNELS && v.k <= MOST_CHANNELS;
}

static size_t aligned(size_t n) { return (n + 63) & ~(size_t)63; }

static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    plan *p = malloc(sizeof *p);

    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    p->v = lmb_conv_of_call(c);
    p->pairs = (p->v.ow + 1) / 2;
    p->columns = p->v.kw * p->v.c;
    int64_t image = 4 * p->pairs * (p->v.h * p->columns + p->v.oh * p->v.k);
    p->images = image > CACHE ? 1 : CACHE / image;
    p->images = p->images > p->v.n ? p->v.n : p->images;
    int64_t seen = (2 * p->pairs - 1) * p->v.sw + p->v.kw, there = p->v.pw + p->v.w; /* of a row, by the last pair */
    p->row_bytes = aligned(sizeof(uint16_t) * (size_t)((seen > there ? seen : there) * p->v.c)) + SLACK;
    p->x_bytes = aligned((size_t)(4 * p->images * p->v.h * p->pairs * p->columns)) + SLACK;
    p->d_bytes = aligned((size_t)(4 * p->images * p->v.oh * p->pairs * p->v.k));
    *state = p;
    *scratch = p->row_bytes + p->x_bytes + p->d_bytes + sizeof(float) * (size_t)(p->v.kh * p->columns * p->v.k);
    return LMB_OK;
}

/* ---- neighbours together ---- */

/* Numbers of `first` and `second` in turns, n rounded up to 16 of each: what is too much is overwritten, or lies in
 * slack. */
INLINE void interleave(const uint16_t *first, const uint16_t *second, int64_t n, uint16_t *to)
{
    for (int64_t i = 0; i < n; i += LANES) {
        __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(first + i)));
        __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(second + i)));
        _mm512_storeu_si512(to + 2 * i, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

static void pair_gradient(const plan *p, const uint16_t *dy, uint16_t *d)
{
    static const uint16_t zeros[MOST_CHANNELS];
    const lmb_conv *v = &p->v;

    for (int64_t row = 0; row < v->oh; row++, dy += v->ow * v->k)
        for (int64_t j = 0; j < p->pairs; j++, d += 2 * v->k)
            interleave(dy + 2 * j * v->k, 2 * j + 1 < v->ow ? dy + (2 * j + 1) * v->k : zeros, v->k, d);
}

/* The taps of an output lie side by side in a row of input that has its zeros around it. */
static void pair_input(const plan *p, const uint16_t *x, uint16_t *row, uint16_t *to)
{
    const lmb_conv *v = &p->v;

    for (int64_t iy = 0; iy < v->h; iy++, x += v->w * v->c, to += 2 * p->pairs * p->columns) {
        if (!is_read(v, iy))
            continue;
        memcpy(row + v->pw * v->c, x, sizeof *x * (size_t)(v->w * v->c));
        for (int64_t j = 0; j < p->pairs; j++) {
            const uint16_t *first = row + 2 * j * v->sw * v->c;
            interleave(first, first + v->sw * v->c, p->columns, to + 2 * j * p->columns);
        }
    }
}

/* ---- products ---- */

/* s[rows][wide] += columns `x` times channels `d` of all images, for kernel row ky; rows * wide sums stay in
 * registers. */
INLINE void multiply(const plan *p, const uint16_t *x, const uint16_t *d, int64_t images, int64_t ky, int rows,
                     int wide, float *s)
{
    const lmb_conv *v = &p->v;
    __m512 sum[16][2];

    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            sum[r][w] = _mm512_loadu_ps(s + r * v->k + w * LANES);
    for (int64_t n = 0; n < images; n++)
        for (int64_t oy = 0; oy < v->oh; oy++) {
            int64_t iy = oy * v->sh + ky - v->ph;
            if (iy < 0 || iy >= v->h)
                continue;
            const uint16_t *left = x + 2 * (n * v->h + iy) * p->pairs * p->columns;
            const uint16_t *right = d + 2 * (n * v->oh + oy) * p->pairs * v->k;
            for (int64_t j = 0; j < p->pairs; j++, left += 2 * p->columns, right += 2 * v->k) {
                __m512bh dy[2];
                for (int w = 0; w < wide; w++)
                    dy[w] = (__m512bh)_mm512_loadu_si512(right + w * LANES * 2);
                for (int r = 0; r < rows; r++) {
                    int32_t both;
                    memcpy(&both, left + 2 * r, sizeof both);
                    for (int w = 0; w < wide; w++)
                        sum[r][w] = _mm512_dpbf16_ps(sum[r][w], (__m512bh)_mm512_set1_epi32(both), dy[w]);
                }
            }
        }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            _mm512_storeu_ps(s + r * v->k + w * LANES, sum[r][w]);
}

/* All columns of kernel row ky for 16 or 32 output channels; s [columns][k]. */
static void multiply_row(const plan *p, const uint16_t *x, const uint16_t *d, int64_t images, int64_t ky, bool both,
                         float *s)
{
    int64_t c = 0, n = p->columns;
#define BLOCKS(rows, wide)          \
    for (; c + (rows) <= n; c += (rows)) \
        multiply(p, x + 2 * c, d, images, ky, rows, wide, s + c * p->v.k)
    if (both) {
        if (n % 12 == 0 || n % 8) {
            BLOCKS(12, 2);
            BLOCKS(9, 2);
        }
        BLOCKS(8, 2);
        BLOCKS(3, 2);
        BLOCKS(1, 2);
    } else {
        BLOCKS(16, 1);
        BLOCKS(9, 1);
        BLOCKS(3, 1);
        BLOCKS(1, 1);
    }
}

/* s [kh][kw][c][k] -> dw [k, c, kh, kw] */
static void unpack(const plan *p, const float *s, float *dw)
{
    const lmb_conv *v = &p->v;
    int64_t taps = v->kh * v->kw;
    for (int64_t k = 0; k < v->k; k += LANES)
        for (int64_t c = 0; c < v->c; c++)
            for (int64_t i = 0; i < taps; i++)
                for (int64_t l = 0; l < LANES; l++)
                    dw[(k + l) * v->c * taps + c * taps + i] = s[(i * v->c + c) * v->k + k + l];
}

static lmb_status run(void *state, const lmb_run *r, lmb_error *err)
{
    const plan *p = state;
    const lmb_conv *v = &p->v;
    const uint16_t *dy = r->in[0].data, *x = r->in[1].data;
    uint16_t *row = r->scratch, *px = (uint16_t *)((char *)row + p->row_bytes),
             *pd = (uint16_t *)((char *)px + p->x_bytes);
    float *s = (float *)((char *)pd + p->d_bytes);

    (void)err;
    memset(row, 0, p->row_bytes);
    memset(s, 0, sizeof *s * (size_t)(v->kh * p->columns * v->k));
    for (int64_t n0 = 0; n0 < v->n; n0 += p->images) {
        int64_t images = v->n - n0 < p->images ? v->n - n0 : p->images;
        for (int64_t n = 0; n < images; n++) {
            pair_input(p, x + (n0 + n) * v->h * v->w * v->c, row, px + 2 * n * v->h * p->pairs * p->columns);
            pair_gradient(p, dy + (n0 + n) * v->oh * v->ow * v->k, pd + 2 * n * v->oh * p->pairs * v->k);
        }
        for (int64_t ky = 0; ky < v->kh; ky++)
            for (int64_t k = 0; k < v->k;) {
                bool both = v->k - k >= 2 * LANES;
                multiply_row(p, px, pd + 2 * k, images, ky, both, s + ky * p->columns * v->k + k);
                k += both ? 2 * LANES : LANES;
            }
    }
    unpack(p, s, r->out[0].data);
    return LMB_OK;
}

const lmb_kernel lmbi_bf16_conv_weights = {
    .name = "bf16:conv_weights",
    .op = "ConvGradWeights",
    .domain = "limbeck",
    .accepts = accepts,
    .layout = lmbi_conv_layout,
    .storage = lmbi_conv_bf16,
    .create = create,
    .run = run,
    .destroy = free,
};
