/* core/cpu/winograd_transforms.h - the parts of winograd_loops.h and winograd_bf16.c that are the same: vectors of
 * LANES floats, transforms in one dimension, the walk over tiles. With DATA_IS_BF16 feature maps are read and written
 * in bf16.
 */
#include <stdbool.h>
#include <string.h>

#ifdef DATA_IS_BF16
#include <immintrin.h>
#endif

#include "core/base/compiler.h"
#include "core/cpu/winograd.h"

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define INLINE __attribute__((always_inline)) static inline
#define TILE LMBI_TILE
#define CHUNK LMBI_CHUNK

INLINE vec load(const float *p) { return *(const vec *)(const void *)p; }
INLINE void store(float *p, vec v) { *(vec *)(void *)p = v; }
#ifdef DATA_IS_BF16
typedef uint16_t data;
INLINE vec get(const data *p)
{
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16);
}
INLINE void put(data *p, vec v) { _mm256_storeu_si256((__m256i *)(void *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v)); }
#else
typedef float data;
INLINE vec get(const data *p) { return load(p); }
INLINE void put(data *p, vec v) { store(p, v); }
#endif
#include "core/cpu/winograd_taps.h"
INLINE vec choose(ivec yes, vec a, vec b) { return (vec)((yes & (ivec)a) | (~yes & (ivec)b)); }

/* ---- the transforms in one dimension: F(4, 3) by interpolation at 0, A, -A, B, -B and infinity ----
 * A = 5/8 and B = 3/2 round a third as much as the usual 1 and 2, and their powers are exact. Values at A and -A share
 * their even and odd parts. */
#define A 0.625f
#define B 1.5f
#define A2 (A * A)
#define B2 (B * B)
#define SCALE_0 (1 / (A2 * B2)) /* 1 over the derivative of the polynomial with these zeros, at 0, +-A, +-B */
#define SCALE_A (1 / (2 * A2 * (A2 - B2)))
#define SCALE_B (1 / (2 * B2 * (B2 - A2)))

INLINE void input_6(const vec *d, int step, vec *o)
{
    vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    vec even_a = d4 - B2 * d2, odd_a = A * (d3 - B2 * d1), even_b = d4 - A2 * d2, odd_b = B * (d3 - A2 * d1);
    o[0] = A2 * B2 * d0 - (A2 + B2) * d2 + d4;
    o[1] = even_a + odd_a;
    o[2] = even_a - odd_a;
    o[3] = even_b + odd_b;
    o[4] = even_b - odd_b;
    o[5] = A2 * B2 * d1 - (A2 + B2) * d3 + d5;
}

INLINE void output_4(const vec *m, int step, vec *o)
{
    vec s = m[step] + m[2 * step], t = m[step] - m[2 * step], u = m[3 * step] + m[4 * step],
        v = m[3 * step] - m[4 * step];
    o[0] = m[0] + s + u;
    o[1] = A * t + B * v;
    o[2] = A2 * s + B2 * u;
    o[3] = A2 * A * t + B2 * B * v + m[5 * step];
}

/* Transposes of the output's and the weights' transform, for the gradient of the weights. */
INLINE void output_gradient_6(const vec *y, int step, vec *o)
{
    vec y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    vec even_a = y0 + A2 * y2, odd_a = A * y1 + A2 * A * y3, even_b = y0 + B2 * y2, odd_b = B * y1 + B2 * B * y3;
    o[0] = y0;
    o[1] = even_a + odd_a;
    o[2] = even_a - odd_a;
    o[3] = even_b + odd_b;
    o[4] = even_b - odd_b;
    o[5] = y3;
}

INLINE void weights_6(const vec *g, int step, vec *o)
{
    vec g0 = g[0], g1 = g[step], g2 = g[2 * step];
    vec even_a = SCALE_A * g0 + SCALE_A * A2 * g2, odd_a = SCALE_A * A * g1;
    vec even_b = SCALE_B * g0 + SCALE_B * B2 * g2, odd_b = SCALE_B * B * g1;
    o[0] = SCALE_0 * g0;
    o[1] = even_a + odd_a;
    o[2] = even_a - odd_a;
    o[3] = even_b + odd_b;
    o[4] = even_b - odd_b;
    o[5] = g2;
}

INLINE void weights_gradient_3(const vec *s, int step, vec *o)
{
    vec even_a = SCALE_A * (s[step] + s[2 * step]), odd_a = SCALE_A * A * (s[step] - s[2 * step]);
    vec even_b = SCALE_B * (s[3 * step] + s[4 * step]), odd_b = SCALE_B * B * (s[3 * step] - s[4 * step]);
    o[0] = SCALE_0 * s[0] + even_a + even_b;
    o[1] = odd_a + odd_b;
    o[2] = A2 * even_a + B2 * even_b + s[5 * step];
}

/* ---- tiles ---- */

/* A tile: its image and the first row and column of its outputs; stepped, because divisions would cost as much as a
 * transform of few channels. */
typedef struct place { int64_t n, y, x; } place;

INLINE place place_of(const lmbi_winograd *g, int64_t t)
{
    return (place){ t / (g->down * g->side), t / g->side % g->down * 4, t % g->side * 4 };
}

INLINE void step(const lmbi_winograd *g, place *p)
{
    if ((p->x += 4) < g->side * 4)
        return;
    p->x = 0;
    if ((p->y += 4) < g->down * 4)
        return;
    p->y = 0;
    p->n++;
}

static const float zeros[CHUNK];
static const data outside[CHUNK];

/* A size x size window at (y, x) of an [h, w, c] image, one vector a pixel, channels c0...; zero outside. */
INLINE void load_window(const data *image, int64_t h, int64_t w, int64_t c, int64_t y, int64_t x, int size, vec *d)
{
    if (y >= 0 && x >= 0 && y + size <= h && x + size <= w) {
        const data *row = image + (y * w + x) * c;
        for (int i = 0; i < size; i++, row += w * c)
            for (int j = 0; j < size; j++)
                d[i * size + j] = get(row + j * c);
        return;
    }
    for (int i = 0; i < size; i++) {
        bool in = y + i >= 0 && y + i < h;
        const data *row = image + ((y + i) * w + x) * c;
        for (int j = 0; j < size; j++)
            d[i * size + j] = get(in && x + j >= 0 && x + j < w ? row + j * c : outside);
    }
}

/* Some channels of x and of y, [c0, c0 + c) and [k0, k0 + k), and where their sums begin. */
typedef struct band { int64_t c0, c, k0, k; float *s; } band;
INLINE int64_t s_point(const band *b) { return b->c * b->k + LMBI_PAD; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Sums of a band stay in the cache if it sees all tiles at once; from one block of tiles to the next those of all
 * channels grow. */
static band first_band(const lmbi_winograd *g, float *s)
{
    bool at_once = g->block >= g->tiles;
    return (band){ 0, at_once ? least(LMBI_BAND_IN, g->c) : g->c, 0, at_once ? least(LMBI_BAND, g->k) : g->k, s };
}

/* After the last, k0 is g->k. */
static void next_band(const lmbi_winograd *g, band *b)
{
    b->c0 += b->c;
    if (b->c0 < g->c) {
        b->c = least(b->c, g->c - b->c0);
        return;
    }
    b->c0 = 0;
    b->c = least(LMBI_BAND_IN, g->c);
    b->k0 += b->k;
    b->k = least(b->k, g->k - b->k0);
}

/* The outputs of a band from k on. */
INLINE lmbi_winograd outputs_from(const lmbi_winograd *g, int64_t k)
{
    lmbi_winograd b = *g;
    b.k = least(LMBI_BAND, g->row - k);
    return b;
}

INLINE lmbi_winograd_end end_from(const lmbi_winograd_end *e, int64_t k)
{
    return (lmbi_winograd_end){ e->bias ? e->bias + k : NULL, e->add ? (const data *)e->add + k : NULL, e->lo, e->hi };
}

/* The sums s [36][c][k] of a band over all tiles -> its part of dw [k, c, 3, 3]. */
static void gradient_of_weights(const lmbi_winograd *g, const band *b, float *dw)
{
    float chunk[CHUNK * 9 * LANES];

    for (int64_t k = 0; k < b->k; k += LANES)
        for (int64_t c = 0; c < b->c; c++) {
            vec d[36], a[18], o[3];
            for (int i = 0; i < 36; i++)
                d[i] = load(b->s + i * s_point(b) + c * b->k + k);
            for (int j = 0; j < 6; j++)
                weights_gradient_3(d + j, 6, a + 3 * j);
            for (int i = 0; i < 3; i++) {
                weights_gradient_3(a + i, 3, o);
                for (int j = 0; j < 3; j++)
                    store(chunk + (9 * (c % CHUNK) + 3 * i + j) * LANES, o[j]);
            }
            if (c % CHUNK == CHUNK - 1)
                taps_back(chunk, dw + ((b->k0 + k) * g->c + b->c0 + c - c % CHUNK) * 9, 9 * g->c);
        }
}
