/* core/edge/kernels_avx512vnni.c - conv, gemm, depthwise and add for x86 with AVX-512-VNNI.
 *
 * Direct convolution, no im2col. One vpdpbusd multiplies 4 activations (u8, broadcast) with 4 weights (s8) of 16
 * output channels and adds to 16 int32 sums. In HWC memory the taps of one kernel row are neighbours, so a window
 * is a few contiguous segments: `kernel height` segments of kernel width * channels bytes, or one a tap when the
 * kernel is dilated. Weights are packed [out / 16][segment][byte / 4][16][4], zeros at the ragged ends: the bytes
 * read past a segment are multiplied by zero.
 *
 * A convolution with pads first copies its input into scratch with a border of zero points; the zero point is
 * folded into the bias (bias - zp * sum w), so borders need no special case. Sums may wrap on the way: the true
 * result fits in int32 (checked at open) and arithmetic modulo 2^32 finds it.
 *
 * The loops were laid out for one 64-byte line a step: tiles of 16 pixels x 16 channels or 8 x 32.
 */
#include "core/edge/internal.h"

#if LMBI_EDGE_AVX512VNNI
#include <immintrin.h>

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define VNNI_INLINE __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"), always_inline)) static inline
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* ---- shared ----------------------------------------------------------------------------------------------- */

static int padded(const lmbi_edge_step *s)
{
    return s->op.pads[0] || s->op.pads[1] || s->op.pads[2] || s->op.pads[3];
}

/* Bytes of one row of the input as the kernels see it. */
static size_t row_bytes(const lmbi_edge_step *s)
{
    return ((size_t)s->x.w + s->op.pads[1] + s->op.pads[3]) * s->x.c;
}

static uint64_t scratch_bytes(const lmbi_edge_step *s)
{
    return padded(s) ? ((uint64_t)s->x.h + s->op.pads[0] + s->op.pads[2]) * row_bytes(s) : 0;
}

static const uint8_t *with_border(const lmbi_edge_step *s, const uint8_t *x, uint8_t *scratch)
{
    if (!padded(s))
        return x;
    size_t row = row_bytes(s), inner = (size_t)s->x.w * s->x.c;
    memset(scratch, s->x.zero_point, (size_t)scratch_bytes(s));
    uint8_t *to = scratch + s->op.pads[0] * row + (size_t)s->op.pads[1] * s->x.c;
    for (size_t i = 0; i < s->x.h; i++)
        memcpy(to + i * row, x + i * inner, inner);
    return scratch;
}

static uint64_t blocks_of(const lmbi_edge_step *s) { return ((uint64_t)s->y.c + 15) / 16; }

/* Which of the 16 channels of block b exist. */
static inline uint16_t lanes(size_t channels, size_t b)
{
    size_t left = channels - 16 * b;
    return left >= 16 ? 0xffff : (uint16_t)((1u << left) - 1);
}

static void fold_zero_point(lmbi_edge_step *s)
{
    size_t n = s->op.n_weights / s->y.c;
    for (size_t o = 0; o < s->y.c; o++) {
        int32_t sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += s->op.weights[o * n + i];
        s->bias[o] = (int32_t)((uint32_t)s->bias[o] - (uint32_t)s->x.zero_point * (uint32_t)sum);
    }
}

/* clamp(rne(acc * m) + zp): clamped before rounding, against whole numbers, which is the same. */
typedef struct output {
    __m512 lo, hi;
    __m512i zp;
} output;

VNNI_INLINE output output_of(const lmbi_edge_step *s)
{
    output q;
    q.lo = _mm512_set1_ps((float)(s->op.lo - s->y.zero_point));
    q.hi = _mm512_set1_ps((float)(s->op.hi - s->y.zero_point));
    q.zp = _mm512_set1_epi32(s->y.zero_point);
    return q;
}

VNNI_INLINE __m128i quantise(__m512 v, const output *q)
{
    v = _mm512_min_ps(_mm512_max_ps(v, q->lo), q->hi);
    __m512i i = _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(i, q->zp));
}

/* ---- conv and gemm ---------------------------------------------------------------------------------------- */

/* Head of the packed memory of a conv; segment offsets and weights follow. */
typedef struct conv_plan {
    size_t segments, quads; /* of a window; 4-byte groups of a segment  */
    size_t weights;         /* offset of the weights from this struct   */
    size_t block;           /* bytes of weights of 16 output channels   */
    int64_t offset[];       /* of each segment from the window's origin */
} conv_plan;

static size_t segments_of(const lmbi_edge_step *s)
{
    return s->op.dilation[1] == 1 ? s->op.kernel[0] : (size_t)s->op.kernel[0] * s->op.kernel[1];
}

static size_t segment_bytes(const lmbi_edge_step *s) { return s->op.n_weights / s->y.c / segments_of(s); }

static int conv_accepts(const lmbi_edge_step *s) { return s->op.groups == 1; }

static uint64_t conv_weights_at(const lmbi_edge_step *s)
{
    return lmbi_edge_round_up(sizeof(conv_plan) + segments_of(s) * sizeof(int64_t));
}

static uint64_t conv_packed_bytes(const lmbi_edge_step *s)
{
    return conv_weights_at(s) + blocks_of(s) * segments_of(s) * ((segment_bytes(s) + 3) / 4) * 64;
}

static void conv_pack(lmbi_edge_step *s)
{
    conv_plan *p = (conv_plan *)s->packed;
    size_t n = segment_bytes(s), columns = segments_of(s) / s->op.kernel[0];
    p->segments = segments_of(s);
    p->quads = (n + 3) / 4;
    p->weights = (size_t)conv_weights_at(s);
    p->block = p->segments * p->quads * 64;
    for (size_t i = 0; i < p->segments; i++)
        p->offset[i] = (int64_t)(i / columns * s->op.dilation[0] * row_bytes(s) +
                                 i % columns * s->op.dilation[1] * s->x.c);
    int8_t *w = (int8_t *)s->packed + p->weights;
    memset(w, 0, (size_t)blocks_of(s) * p->block);
    const int8_t *from = s->op.weights;
    for (size_t o = 0; o < s->y.c; o++)
        for (size_t i = 0; i < p->segments; i++)
            for (size_t j = 0; j < n; j++)
                w[o / 16 * p->block + (i * p->quads + j / 4) * 64 + o % 16 * 4 + j % 4] = *from++;
    fold_zero_point(s);
}

typedef struct tile {
    const conv_plan *plan;
    const lmbi_edge_step *step;
    size_t block;       /* first block of 16 output channels          */
    size_t pixel_bytes; /* between the windows of neighbouring pixels */
} tile;

/* `pixels` neighbouring outputs x `blocks` of 16 channels. Both are constants where this is inlined. */
VNNI_INLINE void conv_tile(const tile *t, const uint8_t *x, uint8_t *y, const int pixels, const int blocks)
{
    const lmbi_edge_step *s = t->step;
    const conv_plan *p = t->plan;
    const int8_t *w = (const int8_t *)p + p->weights + t->block * p->block;
    __m512i acc[16][4];
    UNROLL for (int b = 0; b < blocks; b++)
        UNROLL for (int i = 0; i < pixels; i++)
            acc[i][b] = _mm512_load_si512(s->bias + 16 * (t->block + (size_t)b));
    for (size_t g = 0; g < p->segments; g++) {
        const uint8_t *q = x + p->offset[g];
        for (size_t n = p->quads; n; n--, q += 4, w += 64) {
            __m512i k[4];
            UNROLL for (int b = 0; b < blocks; b++)
                k[b] = _mm512_load_si512(w + (size_t)b * p->block);
            UNROLL for (int i = 0; i < pixels; i++) {
                int32_t four;
                memcpy(&four, q + (size_t)i * t->pixel_bytes, 4);
                UNROLL for (int b = 0; b < blocks; b++)
                    acc[i][b] = _mm512_dpbusd_epi32(acc[i][b], _mm512_set1_epi32(four), k[b]);
            }
        }
    }
    output q = output_of(s);
    UNROLL for (int b = 0; b < blocks; b++) {
        size_t block = t->block + (size_t)b;
        __m512 m = _mm512_load_ps(s->m + 16 * block);
        __mmask16 mask = lanes(s->y.c, block);
        UNROLL for (int i = 0; i < pixels; i++)
            _mm_mask_storeu_epi8(y + (size_t)i * s->y.c + 16 * block, mask,
                                 quantise(_mm512_mul_ps(_mm512_cvtepi32_ps(acc[i][b]), m), &q));
    }
}

#define TILE(pixels, blocks)                                                              \
    VNNI static void tile_##pixels##x##blocks(const tile *t, const uint8_t *x, uint8_t *y) \
    {                                                                                     \
        conv_tile(t, x, y, pixels, blocks);                                               \
    }
TILE(8, 2)
TILE(16, 1)
TILE(4, 2)
TILE(8, 1)
TILE(1, 4)
TILE(4, 1)
TILE(1, 1)

typedef struct tile_row {
    size_t pixels, blocks;
    void (*run)(const tile *t, const uint8_t *x, uint8_t *y);
} tile_row;

/* The first that is not larger than what is left; the last one always fits. */
static const tile_row tiles[] = {
    { 8, 2, tile_8x2 }, { 16, 1, tile_16x1 }, { 4, 2, tile_4x2 }, { 8, 1, tile_8x1 },
    { 1, 4, tile_1x4 }, { 4, 1, tile_4x1 },   { 1, 1, tile_1x1 },
};

static void conv(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = with_border(s, arena + s->x.place, scratch);
    size_t rows = s->y.h, columns = s->y.w, blocks = (size_t)blocks_of(s);
    size_t next_row = s->op.stride[0] * row_bytes(s);
    if (next_row == columns * s->op.stride[1] * s->x.c) { /* windows are evenly spaced across rows: one long row */
        columns *= rows;
        rows = 1;
    }
    tile t = { (const conv_plan *)s->packed, s, 0, (size_t)s->op.stride[1] * s->x.c };
    while (t.block < blocks) {
        const tile_row *r = tiles;
        while (r->pixels > columns || r->blocks > blocks - t.block)
            r++;
        for (size_t i = 0; i < rows; i++) {
            uint8_t *y = arena + s->y.place + i * columns * s->y.c;
            for (size_t j = 0; j < columns; j += r->pixels) {
                size_t at = j + r->pixels <= columns ? j : columns - r->pixels; /* the last tile overlaps */
                r->run(&t, x + i * next_row + at * t.pixel_bytes, y + at * s->y.c);
            }
        }
        t.block += r->blocks;
    }
}

/* ---- depthwise -------------------------------------------------------------------------------------------- */

/* Head of the packed memory: taps in pairs, each with the 32 weights [16 channels][2 taps] of every block. An odd
 * last tap is paired with itself at weight 0. */
typedef struct depthwise_plan {
    size_t pairs, weights; /* weights: offset from this struct */
    int64_t offset[];      /* of 2 * pairs taps                */
} depthwise_plan;

static int depthwise_accepts(const lmbi_edge_step *s) { return s->op.groups == s->x.c && s->y.c == s->x.c; }

static size_t taps_of(const lmbi_edge_step *s) { return (size_t)s->op.kernel[0] * s->op.kernel[1]; }

static uint64_t depthwise_weights_at(const lmbi_edge_step *s)
{
    return lmbi_edge_round_up(sizeof(depthwise_plan) + (taps_of(s) + 1) * sizeof(int64_t));
}

static uint64_t depthwise_packed_bytes(const lmbi_edge_step *s)
{
    return depthwise_weights_at(s) + blocks_of(s) * ((taps_of(s) + 1) / 2) * 64;
}

static void depthwise_pack(lmbi_edge_step *s)
{
    depthwise_plan *p = (depthwise_plan *)s->packed;
    size_t taps = taps_of(s);
    p->pairs = (taps + 1) / 2;
    p->weights = (size_t)depthwise_weights_at(s);
    for (size_t i = 0; i < 2 * p->pairs; i++) {
        size_t k = i < taps ? i : taps - 1;
        p->offset[i] = (int64_t)(k / s->op.kernel[1] * s->op.dilation[0] * row_bytes(s) +
                                 k % s->op.kernel[1] * s->op.dilation[1] * s->x.c);
    }
    int16_t *w = (int16_t *)(void *)((uint8_t *)s->packed + p->weights);
    memset(w, 0, (size_t)blocks_of(s) * p->pairs * 64);
    for (size_t c = 0; c < s->y.c; c++)
        for (size_t i = 0; i < taps; i++)
            w[(c / 16 * p->pairs + i / 2) * 32 + c % 16 * 2 + i % 2] = s->op.weights[c * taps + i];
    fold_zero_point(s);
}

/* 16 channels of one tap as the low or, shifted, the high half of 16 pairs of s16. */
VNNI_INLINE __m512i widen(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

VNNI static void depthwise_pixel(const lmbi_edge_step *s, const uint8_t *x, uint8_t *y)
{
    const depthwise_plan *p = (const depthwise_plan *)s->packed;
    const uint8_t *w = (const uint8_t *)s->packed + p->weights;
    size_t blocks = (size_t)blocks_of(s);
    output q = output_of(s);
    for (size_t b = 0; b < blocks; b++, x += 16) {
        __m512i acc = _mm512_load_si512(s->bias + 16 * b);
        for (size_t i = 0; i < p->pairs; i++, w += 64) {
            __m512i two = _mm512_slli_epi32(widen(x + p->offset[2 * i + 1]), 16);
            two = _mm512_or_si512(two, widen(x + p->offset[2 * i]));
            acc = _mm512_dpwssd_epi32(acc, two, _mm512_load_si512(w));
        }
        __m512 m = _mm512_load_ps(s->m + 16 * b);
        _mm_mask_storeu_epi8(y + 16 * b, lanes(s->y.c, b), quantise(_mm512_mul_ps(_mm512_cvtepi32_ps(acc), m), &q));
    }
}

static void depthwise(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = with_border(s, arena + s->x.place, scratch);
    uint8_t *y = arena + s->y.place;
    for (size_t i = 0; i < s->y.h; i++)
        for (size_t j = 0; j < s->y.w; j++, y += s->y.c)
            depthwise_pixel(s, x + i * s->op.stride[0] * row_bytes(s) + j * s->op.stride[1] * s->x.c, y);
}

/* ---- add -------------------------------------------------------------------------------------------------- */

VNNI static void add(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *a = arena + s->in_at[0], *b = arena + s->in_at[1];
    uint8_t *y = arena + s->y.place;
    __m512 ra = _mm512_set1_ps(s->constant[0]), rb = _mm512_set1_ps(s->constant[1]);
    __m512 base = _mm512_set1_ps(s->constant[2]);
    output q = { _mm512_set1_ps(s->op.lo), _mm512_set1_ps(s->op.hi), _mm512_setzero_si512() };
    (void)scratch;
    for (size_t i = 0; i < s->y.count; i += 16) {
        __mmask16 mask = lanes(s->y.count, i / 16);
        __m512 qa = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, a + i)));
        __m512 qb = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, b + i)));
        _mm_mask_storeu_epi8(y + i, mask, quantise(_mm512_fmadd_ps(qa, ra, _mm512_fmadd_ps(qb, rb, base)), &q));
    }
}

const lmbi_edge_kernel lmbi_edge_avx512vnni[] = {
    { LMB_EDGE_CONV, conv_accepts, conv_packed_bytes, conv_pack, scratch_bytes, conv },
    { LMB_EDGE_GEMM, NULL, conv_packed_bytes, conv_pack, scratch_bytes, conv },
    { LMB_EDGE_CONV, depthwise_accepts, depthwise_packed_bytes, depthwise_pack, scratch_bytes, depthwise },
    { LMB_EDGE_ADD, NULL, NULL, NULL, NULL, add },
    { (lmb_edge_kind)0, NULL, NULL, NULL, NULL, NULL },
};
#else
typedef int lmbi_edge_avx512vnni_is_x86_only; /* ISO C wants a declaration in every file */
#endif
