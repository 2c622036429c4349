/* core/cpu/conv_loops.h - the loops of conv.h, for vectors of LANES floats. Included by conv_plain.c, conv_avx2.c and
 * conv_avx512.c, which say LANES, WIDE and TALL (vectors and rows of a register tile), ROWS (its rows in the gradient
 * of the weights) and NAME. Sums have the same order everywhere, but a multiply-add rounds once where the processor has
 * it.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/cpu/conv.h"
#include "core/cpu/vectors.h"

/* ---- the matrix of taps ---- */

static void gather(const lmbi_taps *g, const lmbi_phase *p, const float *x, int64_t m, int64_t count, float *to,
                   int64_t ld)
{
    int64_t c = g->c / g->group, area = p->rows * p->cols;
    lmbi_pixel at = { m / area, m / p->cols % p->rows, m % p->cols };

    for (int64_t r = 0; r < count; r++, to += ld) {
        const float *image = x + at.n * g->h * g->w * g->c;
        int64_t y = at.i * g->step_y, left = at.j * g->step_x;
        float *row = to;
        for (const lmbi_span *s = p->span; s < p->span + p->spans; row += s->taps * c, s++) {
            int64_t sy = y + s->y, sx = left + s->x;
            if (sy < 0 || sy >= g->h) {
                move(row, NULL, s->taps * c);
            } else if (sx >= 0 && sx + s->taps <= g->w) {
                move(row, image + (sy * g->w + sx) * g->c, s->taps * c);
            } else {
                for (int64_t t = 0; t < s->taps; t++)
                    move(row + t * c, sx + t >= 0 && sx + t < g->w ? image + (sy * g->w + sx + t) * g->c : NULL, c);
            }
        }
        if (++at.j == p->cols) {
            at.j = 0;
            if (++at.i == p->rows) {
                at.i = 0;
                at.n++;
            }
        }
    }
}

/* ---- products ---- */

enum { DEPTH = 512 }; /* rows of a panel of b that stay in the second-level cache */

/* A tile of c: TALL rows of a by `wide` vectors of a panel of b. Only a single vector may have fewer `columns` than
 * lanes. */
INLINE void tile(const float *a, int64_t lda, int64_t depth, const float *b, int wide, int64_t rows, int64_t columns,
                 float *c, const int64_t *at, bool add)
{
    vec sum[TALL][WIDE];

    UNROLL
    for (int t = 0; t < TALL; t++) {
        if (t < rows) {
            __builtin_prefetch(c + at[t], 1);
            if (wide > 1)
                __builtin_prefetch(c + at[t] + LANES, 1);
        }
        UNROLL
        for (int w = 0; w < wide; w++)
            sum[t][w] = (vec){ 0 };
    }
    for (int64_t i = 0; i < depth; i++, b += wide * LANES) {
        vec right[WIDE];
        UNROLL
        for (int w = 0; w < wide; w++)
            right[w] = load(b + w * LANES);
        UNROLL
        for (int t = 0; t < TALL; t++)
            UNROLL
            for (int w = 0; w < wide; w++)
                sum[t][w] += a[t * lda + i] * right[w];
    }
    UNROLL
    for (int t = 0; t < TALL; t++) {
        if (t >= rows)
            break;
        float *to = c + at[t];
        UNROLL
        for (int w = 0; w < wide; w++, to += LANES) {
            if (wide > 1 || columns >= LANES) {
                if (add)
                    sum[t][w] += load(to);
                store(to, sum[t][w]);
            } else {
                float part[LANES];
                store(part, sum[t][w]);
                int64_t l = 0;
                for (; l + 4 <= columns; l += 4) {
                    four v = *(const four *)(const void *)(part + l);
                    if (add)
                        v += *(const four *)(const void *)(to + l);
                    *(four *)(void *)(to + l) = v;
                }
                for (; l < columns; l++)
                    to[l] = add ? to[l] + part[l] : part[l];
            }
        }
    }
}

static void multiply(const float *a, int64_t lda, int64_t rows, int64_t depth, const float *b, int64_t n, float *c,
                     const int64_t *at, bool add)
{
    for (int64_t j = 0, width; j < n; j += width, b += depth * width) {
        width = n - j >= WIDE * LANES ? WIDE * LANES : LANES;
        for (int64_t d = 0; d < depth || d == 0; d += DEPTH) { /* without any depth: zeros */
            int64_t deep = depth - d < DEPTH ? depth - d : DEPTH;
            const float *panel = b + d * width;
            for (int64_t r = 0; r < rows; r += TALL) {
                if (width > LANES)
                    tile(a + r * lda + d, lda, deep, panel, WIDE, rows - r, n - j, c + j, at + r, add || d);
                else
                    tile(a + r * lda + d, lda, deep, panel, 1, rows - r, n - j, c + j, at + r, add || d);
            }
        }
    }
}

/* Rows of sums [height][wide] become `columns` numbers each of y: what is rare, once for all sizes of tiles. */
static __attribute__((noinline)) void direct_end(const float *sum, int height, int64_t wide, int64_t columns,
                                                 const float *bias, const float *add, float lo, float hi, float *y,
                                                 int64_t n)
{
    for (int t = 0; t < height; t++, sum += wide, y += n, add = add ? add + n : NULL)
        for (int64_t l = 0; l < columns; l++) {
            float v = sum[l];
            if (bias)
                v += bias[l];
            if (add)
                v += add[l];
            v = v < lo ? lo : v;
            y[l] = v > hi ? hi : v;
        }
}

/* `height` rows of a by `wide` vectors of a panel of b, finished. Only a single vector may have fewer `columns` than
 * lanes. */
INLINE void direct_tile(const float *a, int64_t depth, const float *b, int wide, int height, int64_t columns,
                        const float *bias, const float *add, float lo, float hi, float *y, int64_t n)
{
    vec sum[TALL][WIDE], low = (vec){ 0 } + lo, high = (vec){ 0 } + hi;

    UNROLL
    for (int t = 0; t < height; t++)
        UNROLL
        for (int w = 0; w < wide; w++)
            sum[t][w] = (vec){ 0 };
    for (int64_t i = 0; i < depth; i++, b += wide * LANES) {
        vec right[WIDE];
        UNROLL
        for (int w = 0; w < wide; w++)
            right[w] = load(b + w * LANES);
        UNROLL
        for (int t = 0; t < height; t++)
            UNROLL
            for (int w = 0; w < wide; w++)
                sum[t][w] += a[t * depth + i] * right[w];
    }
    if ((wide == 1 && columns < LANES) || add) {
        float all[TALL * WIDE * LANES];
        UNROLL
        for (int t = 0; t < height; t++)
            UNROLL
            for (int w = 0; w < wide; w++)
                store(all + (t * wide + w) * LANES, sum[t][w]);
        direct_end(all, height, wide * LANES, wide > 1 || columns >= LANES ? wide * LANES : columns, bias, add, lo, hi,
                   y, n);
        return;
    }
    UNROLL
    for (int t = 0; t < height; t++)
        UNROLL
        for (int w = 0; w < wide; w++) {
            vec v = sum[t][w];
            if (bias)
                v += load(bias + w * LANES);
            store(y + t * n + w * LANES, limited(v, low, high));
        }
}

static void direct(const float *a, int64_t rows, int64_t depth, const float *b, int64_t n, const lmbi_conv_end *e,
                   float *y)
{
    for (int64_t j = 0, width; j < n; j += width, b += depth * width) {
        width = n - j >= WIDE * LANES ? WIDE * LANES : LANES;
        for (int64_t r = 0, height; r < rows; r += height) {
            int64_t left = rows - r;
            const float *bias = e->bias ? e->bias + j : NULL, *add = e->add ? e->add + r * n + j : NULL;
            height = left >= TALL ? TALL : TALL > 9 && left >= 9 ? 9 : left >= 6 ? 6 : left >= 3 ? 3 : 1;
#define TILE(h)                                                                                                        \
    if (height == (h)) {                                                                                               \
        if (width > LANES)                                                                                             \
            direct_tile(a + r * depth, depth, b, WIDE, h, n - j, bias, add, e->lo, e->hi, y + r * n + j, n);           \
        else                                                                                                           \
            direct_tile(a + r * depth, depth, b, 1, h, n - j, bias, add, e->lo, e->hi, y + r * n + j, n);              \
        continue;                                                                                                      \
    }
            TILE(TALL)
            TILE(TALL > 9 ? 9 : 3)
            TILE(TALL > 6 ? 6 : 3)
            TILE(3)
            TILE(1)
        }
    }
}

INLINE void column_tile(const float *a, int64_t lda, const float *b, int64_t ldb, int wide, int64_t depth, float *s,
                        int64_t lds)
{
    vec sum[ROWS][WIDE];

    UNROLL
    for (int r = 0; r < ROWS; r++)
        UNROLL
        for (int w = 0; w < wide; w++)
            sum[r][w] = (vec){ 0 };
    for (int64_t i = 0; i < depth; i++, a += lda, b += ldb) {
        vec right[WIDE];
        __builtin_prefetch(b + depth * ldb);
        if (wide * LANES > 16)
            __builtin_prefetch(b + depth * ldb + 16);
        UNROLL
        for (int w = 0; w < wide; w++)
            right[w] = load(b + w * LANES);
        UNROLL
        for (int r = 0; r < ROWS; r++)
            UNROLL
            for (int w = 0; w < wide; w++)
                sum[r][w] += a[r] * right[w];
    }
    UNROLL
    for (int r = 0; r < ROWS; r++)
        UNROLL
        for (int w = 0; w < wide; w++)
            store(s + r * lds + w * LANES, load(s + r * lds + w * LANES) + sum[r][w]);
}

static void columns(const float *a, int64_t lda, int64_t m, const float *b, int64_t ldb, int64_t n, int64_t depth,
                    float *s, int64_t lds)
{
    for (int64_t j = 0; j < n;) {
        int64_t width = n - j >= WIDE * LANES ? WIDE * LANES : LANES;
        for (int64_t i = 0; i < m; i += ROWS) {
            if (width > LANES)
                column_tile(a + i, lda, b + j, ldb, WIDE, depth, s + i * lds + j, lds);
            else
                column_tile(a + i, lda, b + j, ldb, 1, depth, s + i * lds + j, lds);
        }
        j += width;
    }
}

#include "core/cpu/depthwise_loops.h"

/* ---- what becomes of the sums ---- */

static void finish(const lmbi_conv_end *e, int64_t pixels, int64_t k, int64_t first, float *y)
{
    const float *bias = e->bias, *add = e->add ? e->add + first * k : NULL;
    float lo = e->lo, hi = e->hi;
    vec low = (vec){ 0 } + lo, high = (vec){ 0 } + hi;

    if (!bias && !add && lo == -INFINITY && hi == INFINITY)
        return;
    y += first * k;
    for (int64_t p = 0; p < pixels; p++, y += k, add = add ? add + k : NULL) {
        int64_t i = 0;
        for (; i + LANES <= k; i += LANES) {
            vec v = load(y + i);
            if (bias)
                v += load(bias + i);
            if (add)
                v += load(add + i);
            store(y + i, limited(v, low, high));
        }
        for (; i < k; i++) {
            float v = y[i];
            v += bias ? bias[i] : 0;
            v += add ? add[i] : 0;
            v = v < lo ? lo : v;
            y[i] = v > hi ? hi : v;
        }
    }
}

const lmbi_conv_loops NAME = { LANES, WIDE, TALL, ROWS, gather, multiply, direct, columns, depthwise,
                               depthwise_gradient, finish };
