/* core/cpu/winograd_loops.h - the loops of winograd.c, for vectors of LANES floats. Included by winograd_plain.c,
 * winograd_avx2.c and winograd_avx512.c, which say LANES, WIDE (vectors of output channels in a register tile), TALL
 * (its tiles, a divisor of 12), ROWS (its input channels in the gradient) and NAME. All three do the same operations in the same order, but a
 * multiply-add rounds once where the processor has it.
 *
 * Layouts    V [36][block / 12][c / 16][12][16]     transformed input; the 12 x 16 of a product are neighbours
 *            U [36][c][k] in panels of WIDE vectors  transformed weights
 *            M [36][block][k]                        products, or the transformed gradient of the output
 */
#include <stdbool.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/winograd.h"

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define INLINE __attribute__((always_inline)) static inline
#define TILE LMBI_TILE
#define CHUNK LMBI_CHUNK

INLINE vec load(const float *p) { return *(const vec *)(const void *)p; }
INLINE void store(float *p, vec v) { *(vec *)(void *)p = v; }
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
    vec s = m[step] + m[2 * step], t = m[step] - m[2 * step], u = m[3 * step] + m[4 * step], v = m[3 * step] - m[4 * step];
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

/* A size x size window at (y, x) of an [h, w, c] image, one vector a pixel, channels c0...; zero outside. */
INLINE void load_window(const float *image, int64_t h, int64_t w, int64_t c, int64_t y, int64_t x, int size, vec *d)
{
    if (y >= 0 && x >= 0 && y + size <= h && x + size <= w) {
        const float *row = image + (y * w + x) * c;
        for (int i = 0; i < size; i++, row += w * c)
            for (int j = 0; j < size; j++)
                d[i * size + j] = load(row + j * c);
        return;
    }
    for (int i = 0; i < size; i++) {
        bool in = y + i >= 0 && y + i < h;
        const float *row = image + ((y + i) * w + x) * c;
        for (int j = 0; j < size; j++)
            d[i * size + j] = load(in && x + j >= 0 && x + j < w ? row + j * c : zeros);
    }
}

INLINE int64_t v_offset(const lmbi_winograd *g, int64_t point, int64_t tile, int64_t c)
{
    return ((point * (g->block / TILE) + tile / TILE) * (g->c / CHUNK) + c / CHUNK) * TILE * CHUNK + tile % TILE * CHUNK + c % CHUNK;
}

/* The second dimension of a transform, to the 36 points. */
INLINE void store_points(float *to, int64_t point, const vec *a, void (*transform)(const vec *, int, vec *))
{
    for (int i = 0; i < 6; i++) {
        vec b[6];
        transform(a + i, 6, b);
        for (int j = 0; j < 6; j++)
            store(to + (6 * i + j) * point, b[j]);
    }
}

/* Tiles [t0, t0 + count) of x -> V; slots up to `padded` are zero. */
static void transform_input(const lmbi_winograd *g, const float *x, int64_t t0, int64_t count, int64_t padded, float *v)
{
    int64_t point = v_offset(g, 1, 0, 0);
    place p = place_of(g, t0);

    for (int64_t t = 0; t < padded; t++, step(g, &p))
        for (int64_t c = 0; c < g->c; c += LANES) {
            vec d[36] = { 0 }, a[36];
            if (t < count)
                load_window(x + p.n * g->h * g->w * g->c + c, g->h, g->w, g->c, p.y - g->ph, p.x - g->pw, 6, d);
            for (int j = 0; j < 6; j++)
                input_6(d + j, 6, a + 6 * j); /* columns; a is transposed */
            store_points(v + v_offset(g, 0, t, c), point, a, input_6);
        }
}

/* M -> tiles [t0, t0 + count) of y. */
static void transform_output(const lmbi_winograd *g, const float *m, int64_t t0, int64_t count, const lmbi_winograd_end *e,
                             float *y)
{
    int64_t point = g->block * g->k;
    vec lo = (vec){ 0 } + e->lo, hi = (vec){ 0 } + e->hi;
    place p = place_of(g, t0);

    for (int64_t t = 0; t < count; t++, step(g, &p)) {
        int rows = g->oh - p.y < 4 ? (int)(g->oh - p.y) : 4, cols = g->ow - p.x < 4 ? (int)(g->ow - p.x) : 4;
        for (int64_t k = 0; k < g->k; k += LANES) {
            vec s[36], a[24], b[16], shift = load(e->bias ? e->bias + k : zeros);
            int64_t at = ((p.n * g->oh + p.y) * g->ow + p.x) * g->k + k;
            for (int i = 0; i < 36; i++)
                s[i] = load(m + i * point + t * g->k + k);
            for (int j = 0; j < 6; j++)
                output_4(s + j, 6, a + 4 * j);
            for (int i = 0; i < 4; i++)
                output_4(a + i, 4, b + 4 * i);
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < cols; j++) {
                    int64_t pixel = at + (i * g->ow + j) * g->k;
                    vec v = b[4 * i + j] + shift;
                    if (e->add)
                        v += load(e->add + pixel);
                    v = choose(v < lo, lo, v);
                    store(y + pixel, choose(v > hi, hi, v));
                }
        }
    }
}

/* Tiles of dy -> M, as the gradient sees them. */
static void transform_gradient(const lmbi_winograd *g, const float *dy, int64_t t0, int64_t count, int64_t padded, float *m)
{
    int64_t point = g->block * g->k;
    place p = place_of(g, t0);

    for (int64_t t = 0; t < padded; t++, step(g, &p))
        for (int64_t k = 0; k < g->k; k += LANES) {
            vec d[16] = { 0 }, a[24];
            if (t < count)
                load_window(dy + p.n * g->oh * g->ow * g->k + k, g->oh, g->ow, g->k, p.y, p.x, 4, d);
            for (int j = 0; j < 4; j++)
                output_gradient_6(d + j, 4, a + 6 * j);
            store_points(m + t * g->k + k, point, a, output_gradient_6);
        }
}

/* ---- products ---- */

/* m[TALL][wide] = v [c][TALL] u [c][wide]; `ldm` is the row of m. */
INLINE void product(const float *v, const float *u, int64_t c, int wide, float *m, int64_t ldm)
{
    vec sum[TALL][WIDE];

    for (int t = 0; t < TALL; t++)
        for (int w = 0; w < wide; w++)
            sum[t][w] = (vec){ 0 };
    for (int64_t chunk = 0; chunk < c; chunk += CHUNK, v += TILE * CHUNK)
        for (int i = 0; i < CHUNK; i++, u += wide * LANES) {
            vec right[WIDE];
            for (int w = 0; w < wide; w++)
                right[w] = load(u + w * LANES);
            for (int t = 0; t < TALL; t++)
                for (int w = 0; w < wide; w++)
                    sum[t][w] += v[t * CHUNK + i] * right[w];
        }
    for (int t = 0; t < TALL; t++)
        for (int w = 0; w < wide; w++)
            store(m + t * ldm + w * LANES, sum[t][w]);
}

static void multiply(const lmbi_winograd *g, const float *v, const float *u, int64_t tiles, float *m)
{
    for (int64_t point = 0; point < LMBI_POINTS; point++)
        for (int64_t k = 0; k < g->k;) {
            int64_t left = g->k - k;
            const float *panel = u + point * g->c * g->k + k * g->c;
            for (int64_t t = 0; t < tiles; t += TALL) {
                const float *rows = v + v_offset(g, point, t, 0);
                float *to = m + (point * g->block + t) * g->k + k;
                if (left >= WIDE * LANES)
                    product(rows, panel, g->c, WIDE, to, g->k);
                else
                    product(rows, panel, g->c, 1, to, g->k);
            }
            k += left >= WIDE * LANES ? WIDE * LANES : LANES;
        }
}

/* s[ROWS][wide] += v [tiles][ROWS] m [tiles][wide] */
INLINE void gradient_product(const float *v, int64_t group, const float *m, int64_t ldm, int64_t tiles, int wide, float *s,
                             int64_t lds)
{
    vec sum[ROWS][WIDE];

    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++)
            sum[r][w] = load(s + r * lds + w * LANES);
    for (int64_t t0 = 0; t0 < tiles; t0 += TILE, v += group)
        for (int t = 0; t < TILE; t++, m += ldm) {
            vec right[WIDE];
            for (int w = 0; w < wide; w++)
                right[w] = load(m + w * LANES);
            for (int r = 0; r < ROWS; r++)
                for (int w = 0; w < wide; w++)
                    sum[r][w] += v[t * CHUNK + r] * right[w];
        }
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++)
            store(s + r * lds + w * LANES, sum[r][w]);
}

static void multiply_gradient(const lmbi_winograd *g, const float *v, const float *m, int64_t tiles, float *s)
{
    int64_t group = g->c * TILE; /* from 12 tiles to the next 12 */

    for (int64_t point = 0; point < LMBI_POINTS; point++)
        for (int64_t k = 0; k < g->k;) {
            int64_t left = g->k - k;
            const float *right = m + point * g->block * g->k + k;
            for (int64_t c = 0; c < g->c; c += ROWS) {
                const float *rows = v + v_offset(g, point, 0, c);
                float *to = s + (point * g->c + c) * g->k + k;
                if (left >= WIDE * LANES)
                    gradient_product(rows, group, right, g->k, tiles, WIDE, to, g->k);
                else
                    gradient_product(rows, group, right, g->k, tiles, 1, to, g->k);
            }
            k += left >= WIDE * LANES ? WIDE * LANES : LANES;
        }
}

/* ---- weights ---- */

/* backward: inputs and outputs change places and the kernel turns by 180 degrees. */
static void transform_weights(const lmbi_winograd *g, const float *w, int backward, float *u)
{
    int64_t per_k = backward ? 9 : 9 * g->c, per_c = backward ? 9 * g->k : 9, point = g->c * g->k;

    for (int64_t k = 0; k < g->k; k += LANES) {
        int64_t whole = g->k / (WIDE * LANES) * (WIDE * LANES), wide = k < whole ? WIDE * LANES : LANES;
        int64_t k0 = k / wide * wide; /* of the panel */
        for (int64_t c = 0; c < g->c; c++) {
            vec taps[9], a[18], b[6];
            for (int i = 0; i < 9; i++)
                for (int l = 0; l < LANES; l++)
                    taps[i][l] = w[(k + l) * per_k + c * per_c + (backward ? 8 - i : i)];
            for (int j = 0; j < 3; j++)
                weights_6(taps + j, 3, a + 6 * j);
            for (int i = 0; i < 6; i++) {
                weights_6(a + i, 6, b);
                for (int j = 0; j < 6; j++)
                    store(u + (6 * i + j) * point + k0 * g->c + c * wide + (k - k0), b[j]);
            }
        }
    }
}

static void forward(const lmbi_winograd *g, const float *x, const float *u, const lmbi_winograd_end *e, float *y, float *scratch)
{
    float *v = scratch, *m = scratch + LMBI_POINTS * g->block * g->c;

    for (int64_t t = 0; t < g->tiles; t += g->block) {
        int64_t count = g->tiles - t < g->block ? g->tiles - t : g->block, padded = (count + TILE - 1) / TILE * TILE;
        transform_input(g, x, t, count, padded, v);
        multiply(g, v, u, padded, m);
        transform_output(g, m, t, count, e, y);
    }
}

static void gradient(const lmbi_winograd *g, const float *x, const float *dy, float *dw, float *scratch)
{
    float *v = scratch, *m = v + LMBI_POINTS * g->block * g->c, *s = m + LMBI_POINTS * g->block * g->k;

    memset(s, 0, sizeof *s * (size_t)(LMBI_POINTS * g->c * g->k));
    for (int64_t t = 0; t < g->tiles; t += g->block) {
        int64_t count = g->tiles - t < g->block ? g->tiles - t : g->block, padded = (count + TILE - 1) / TILE * TILE;
        transform_input(g, x, t, count, padded, v);
        transform_gradient(g, dy, t, count, padded, m);
        multiply_gradient(g, v, m, padded, s);
    }
    for (int64_t c = 0; c < g->c; c++)
        for (int64_t k = 0; k < g->k; k += LANES) {
            vec d[36], a[18], b[3];
            for (int i = 0; i < 36; i++)
                d[i] = load(s + (i * g->c + c) * g->k + k);
            for (int j = 0; j < 6; j++)
                weights_gradient_3(d + j, 6, a + 3 * j);
            for (int i = 0; i < 3; i++) {
                weights_gradient_3(a + i, 3, b);
                for (int j = 0; j < 3; j++)
                    for (int l = 0; l < LANES; l++)
                        dw[((k + l) * g->c + c) * 9 + 3 * i + j] = b[j][l];
            }
        }
}

const lmbi_winograd_loops NAME = { transform_weights, forward, gradient };
