/* core/cpu/winograd_loops.h - the loops of winograd.c, for vectors of LANES floats. Included by winograd_plain.c,
 * winograd_avx2.c and winograd_avx512.c, which say LANES, WIDE (vectors of output channels in a register tile), TALL
 * (its tiles, a divisor of 12), ROWS (its input channels in the gradient) and NAME. All three do the same operations in the same order, but a
 * multiply-add rounds once where the processor has it.
 *
 * Layouts    V [36][block / 12][c / 16][12][16]     transformed input; the 12 x 16 of a product are neighbours
 *            U [36][c][k] in panels of WIDE vectors  transformed weights
 *            M [36][block][k]                        products, or the transformed gradient of the output
 */
#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/winograd.h"

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define INLINE __attribute__((always_inline)) static inline
#define TILE LMBI_TILE
#define CHUNK LMBI_CHUNK

INLINE vec load(const float *p) { return *(const vec *)(const void *)p; }
INLINE void store(float *p, vec v) { *(vec *)(void *)p = v; }

/* ---- the transforms in one dimension: Lavin and Gray 2016, F(4, 3), points 0, 1, -1, 2, -2, infinity ---- */

INLINE void input_6(const vec *d, int step, vec *o)
{
    vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    vec a = d4 - 4.0f * d2, b = d3 - 4.0f * d1, c = d4 - d2, e = 2.0f * (d3 - d1);
    o[0] = 4.0f * d0 - 5.0f * d2 + d4;
    o[1] = a + b;
    o[2] = a - b;
    o[3] = c + e;
    o[4] = c - e;
    o[5] = 4.0f * d1 - 5.0f * d3 + d5;
}

INLINE void output_4(const vec *m, int step, vec *o)
{
    vec s = m[step] + m[2 * step], t = m[step] - m[2 * step], u = m[3 * step] + m[4 * step], v = m[3 * step] - m[4 * step];
    o[0] = m[0] + s + u;
    o[1] = t + 2.0f * v;
    o[2] = s + 4.0f * u;
    o[3] = t + 8.0f * v + m[5 * step];
}

/* Transposes of the output's and the weights' transform, for the gradient of the weights. */
INLINE void output_gradient_6(const vec *y, int step, vec *o)
{
    vec y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    vec e = y0 + y2, f = y1 + y3, g = y0 + 4.0f * y2, h = 2.0f * y1 + 8.0f * y3;
    o[0] = y0;
    o[1] = e + f;
    o[2] = e - f;
    o[3] = g + h;
    o[4] = g - h;
    o[5] = y3;
}

INLINE void weights_6(const vec *g, int step, vec *o)
{
    vec g0 = g[0], g1 = g[step], g2 = g[2 * step];
    vec a = (g0 + g2) * (-1.0f / 6), b = g1 * (1.0f / 6), c = g0 * (1.0f / 24) + g2 * (1.0f / 6), e = g1 * (1.0f / 12);
    o[0] = g0 * 0.25f;
    o[1] = a - b;
    o[2] = a + b;
    o[3] = c + e;
    o[4] = c - e;
    o[5] = g2;
}

INLINE void weights_gradient_3(const vec *s, int step, vec *o)
{
    vec a = s[step] + s[2 * step], b = s[2 * step] - s[step], c = s[3 * step] + s[4 * step], e = s[3 * step] - s[4 * step];
    o[0] = s[0] * 0.25f - a * (1.0f / 6) + c * (1.0f / 24);
    o[1] = b * (1.0f / 6) + e * (1.0f / 12);
    o[2] = (c - a) * (1.0f / 6) + s[5 * step];
}

/* ---- tiles ---- */

/* Where the pixels of a size x size window of an [h, w, c] image lie; outside: at `zero`. */
INLINE void window(const float *image, int64_t h, int64_t w, int64_t c, int64_t y0, int64_t x0, int size, const float *zero,
                   const float **at)
{
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            int64_t y = y0 + i, x = x0 + j;
            at[i * size + j] = y >= 0 && y < h && x >= 0 && x < w ? image + (y * w + x) * c : zero;
        }
}

/* Tile number t of all: its image and the first row and column of its outputs. */
INLINE void place(const lmbi_winograd *g, int64_t t, int64_t *n, int64_t *y, int64_t *x)
{
    *n = t / (g->down * g->side);
    *y = t / g->side % g->down * 4;
    *x = t % g->side * 4;
}

static const float zeros[CHUNK];

INLINE int64_t v_offset(const lmbi_winograd *g, int64_t point, int64_t tile, int64_t c)
{
    return ((point * (g->block / TILE) + tile / TILE) * (g->c / CHUNK) + c / CHUNK) * TILE * CHUNK + tile % TILE * CHUNK + c % CHUNK;
}

/* Tiles [t0, t0 + count) of x -> V; slots up to `padded` are zero. */
static void transform_input(const lmbi_winograd *g, const float *x, int64_t t0, int64_t count, int64_t padded, float *v)
{
    int64_t point = v_offset(g, 1, 0, 0);

    for (int64_t t = 0; t < padded; t++) {
        const float *at[36];
        int64_t n, y, col;
        place(g, t0 + (t < count ? t : 0), &n, &y, &col);
        if (t < count)
            window(x + n * g->h * g->w * g->c, g->h, g->w, g->c, y - g->ph, col - g->pw, 6, NULL, at);
        else
            memset(at, 0, sizeof at);
        for (int64_t c = 0; c < g->c; c += LANES) {
            vec d[36], a[36], b[6];
            float *to = v + v_offset(g, 0, t, c);
            for (int i = 0; i < 36; i++)
                d[i] = load(at[i] ? at[i] + c : zeros);
            for (int j = 0; j < 6; j++)
                input_6(d + j, 6, a + 6 * j); /* columns; a is transposed */
            for (int i = 0; i < 6; i++) {
                input_6(a + i, 6, b);
                for (int j = 0; j < 6; j++)
                    store(to + (6 * i + j) * point, b[j]);
            }
        }
    }
}

/* M -> tiles [t0, t0 + count) of y. */
static void transform_output(const lmbi_winograd *g, const float *m, int64_t t0, int64_t count, const float *bias, float *y)
{
    int64_t point = g->block * g->k;

    for (int64_t t = 0; t < count; t++) {
        int64_t n, row, col;
        place(g, t0 + t, &n, &row, &col);
        int rows = g->oh - row < 4 ? (int)(g->oh - row) : 4, cols = g->ow - col < 4 ? (int)(g->ow - col) : 4;
        for (int64_t k = 0; k < g->k; k += LANES) {
            vec s[36], a[24], b[4], shift = load(bias ? bias + k : zeros);
            for (int i = 0; i < 36; i++)
                s[i] = load(m + i * point + t * g->k + k);
            for (int j = 0; j < 6; j++)
                output_4(s + j, 6, a + 4 * j);
            for (int i = 0; i < rows; i++) {
                float *to = y + ((n * g->oh + row + i) * g->ow + col) * g->k + k;
                output_4(a + i, 4, b);
                for (int j = 0; j < cols; j++)
                    store(to + j * g->k, b[j] + shift);
            }
        }
    }
}

/* Tiles of dy -> M, as the gradient sees them. */
static void transform_gradient(const lmbi_winograd *g, const float *dy, int64_t t0, int64_t count, int64_t padded, float *m)
{
    int64_t point = g->block * g->k;

    for (int64_t t = 0; t < padded; t++) {
        const float *at[16];
        int64_t n, row, col;
        place(g, t0 + (t < count ? t : 0), &n, &row, &col);
        if (t < count)
            window(dy + n * g->oh * g->ow * g->k, g->oh, g->ow, g->k, row, col, 4, NULL, at);
        else
            memset(at, 0, sizeof at);
        for (int64_t k = 0; k < g->k; k += LANES) {
            vec d[16], a[24], b[6];
            for (int i = 0; i < 16; i++)
                d[i] = load(at[i] ? at[i] + k : zeros);
            for (int j = 0; j < 4; j++)
                output_gradient_6(d + j, 4, a + 6 * j);
            for (int i = 0; i < 6; i++) {
                output_gradient_6(a + i, 6, b);
                for (int j = 0; j < 6; j++)
                    store(m + (6 * i + j) * point + t * g->k + k, b[j]);
            }
        }
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

static void forward(const lmbi_winograd *g, const float *x, const float *u, const float *bias, float *y, float *scratch)
{
    float *v = scratch, *m = scratch + LMBI_POINTS * g->block * g->c;

    for (int64_t t = 0; t < g->tiles; t += g->block) {
        int64_t count = g->tiles - t < g->block ? g->tiles - t : g->block, padded = (count + TILE - 1) / TILE * TILE;
        transform_input(g, x, t, count, padded, v);
        multiply(g, v, u, padded, m);
        transform_output(g, m, t, count, bias, y);
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
