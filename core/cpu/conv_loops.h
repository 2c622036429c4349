/* core/cpu/conv_loops.h - the loops of conv.h, for vectors of LANES floats. Included by conv_plain.c, conv_avx2.c and
 * conv_avx512.c, which say LANES, WIDE and TALL (vectors and rows of a register tile), ROWS (its rows in the gradient of the
 * weights) and NAME. Sums have the same order everywhere, but a multiply-add rounds once where the processor has it.
 */
#include <stdbool.h>
#include <string.h>

#include "core/cpu/conv.h"

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
#define INLINE __attribute__((always_inline)) static inline

/* Loops over a register tile disappear: an array of vectors then is registers. */
#define UNROLL _Pragma("GCC unroll 16")

INLINE vec load(const float *p) { return *(const vec *)(const void *)p; }
INLINE void store(float *p, vec v) { *(vec *)(void *)p = v; }

/* ---- the matrix of taps ---- */

/* Whole vectors, the last of which ends where the numbers end. from NULL: zeros. */
INLINE void move(float *to, const float *from, int64_t n)
{
    if (n >= LANES) {
        for (int64_t i = 0; i < n; i += LANES) {
            int64_t at = i + LANES <= n ? i : n - LANES;
            store(to + at, from ? load(from + at) : (vec){ 0 });
        }
    } else if (n >= 4) {
        for (int64_t i = 0; i < n; i += 4) {
            int64_t at = i + 4 <= n ? i : n - 4;
            *(four *)(void *)(to + at) = from ? *(const four *)(const void *)(from + at) : (four){ 0 };
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i] = from ? from[i] : 0;
    }
}

static void gather(const lmbi_taps *g, const lmbi_phase *p, const float *x, int64_t m, int64_t count, float *to, int64_t ld)
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

/* A tile of c: TALL rows of a by `wide` vectors of a panel of b. Only a single vector may have fewer `columns` than lanes. */
INLINE void tile(const float *a, int64_t lda, int64_t depth, const float *b, int wide, int64_t rows, int64_t columns,
                 float *c, const int64_t *at, bool add)
{
    vec sum[TALL][WIDE];

    UNROLL
    for (int t = 0; t < TALL; t++)
        UNROLL
        for (int w = 0; w < wide; w++)
            sum[t][w] = (vec){ 0 };
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
                for (int64_t l = 0; l < columns; l++)
                    to[l] = add ? to[l] + part[l] : part[l];
            }
        }
    }
}

static void multiply(const float *a, int64_t lda, int64_t rows, int64_t depth, const float *b, int64_t n, float *c,
                     const int64_t *at, bool add)
{
    for (int64_t j = 0; j < n;) {
        int64_t width = n - j >= WIDE * LANES ? WIDE * LANES : LANES;
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
        b += depth * width;
        j += width;
    }
}

INLINE void column_tile(const float *a, int64_t lda, const float *b, int64_t ldb, int wide, int64_t depth, float *s, int64_t lds)
{
    vec sum[ROWS][WIDE];

    UNROLL
    for (int r = 0; r < ROWS; r++)
        UNROLL
        for (int w = 0; w < wide; w++)
            sum[r][w] = (vec){ 0 };
    for (int64_t i = 0; i < depth; i++, a += lda, b += ldb) {
        vec right[WIDE];
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

static void columns(const float *a, int64_t lda, int64_t m, const float *b, int64_t ldb, int64_t n, int64_t depth, float *s,
                    int64_t lds)
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

/* ---- depthwise: vectors of channels, one weight a channel and tap ---- */

enum { ABREAST = 4 }; /* pixels of a row at once, sharing the loads of weights */

/* Taps of row i whose source row lies in the image. */
INLINE void inside(const lmbi_taps *g, const lmbi_phase *p, int64_t i, int64_t *t0, int64_t *t1)
{
    for (*t0 = 0; *t0 < p->taps && i * g->step_y + p->tap[*t0].y < 0;)
        ++*t0;
    for (*t1 = *t0; *t1 < p->taps && i * g->step_y + p->tap[*t1].y < g->h;)
        ++*t1;
}

/* Pixels [*lo, *hi) of a row whose source at x stays inside. */
INLINE void reach(const lmbi_taps *g, const lmbi_phase *p, int64_t x, int64_t *lo, int64_t *hi)
{
    int64_t first = x < 0 ? (-x + g->step_x - 1) / g->step_x : 0, last = g->w - 1 - x < 0 ? 0 : (g->w - 1 - x) / g->step_x + 1;
    *lo = first > *lo ? first : *lo;
    *hi = last < *hi ? last : *hi;
    *hi = *hi > p->cols ? p->cols : *hi;
    *lo = *lo > *hi ? *hi : *lo;
}

static void depthwise(const lmbi_taps *g, const lmbi_phase *p, const float *x, const float *w, float *y)
{
    int64_t C = g->c, lo = 0, hi = p->cols, jump = g->jump_x * C, step = g->step_x * C;

    for (int64_t t = 0; t < p->taps; t++)
        reach(g, p, p->tap[t].x, &lo, &hi);
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t i = 0; i < p->rows; i++) {
            const float *source = x + (n * g->h + i * g->step_y) * g->w * C;
            float *result = y + ((n * g->oh + p->y + i * g->jump_y) * g->ow + p->x) * C;
            int64_t t0, t1, j;
            inside(g, p, i, &t0, &t1);
            for (int64_t b = 0; b < C; b += LANES) {
                int64_t c = b + LANES <= C ? b : C - LANES;
                for (j = 0; j < p->cols;) {
                    if (j >= lo && j + ABREAST <= hi) {
                        vec sum[ABREAST] = { { 0 } };
                        for (int64_t t = t0; t < t1; t++) {
                            const float *from = source + j * step + p->tap[t].at + c;
                            vec weight = load(w + t * C + c);
                            UNROLL
                            for (int u = 0; u < ABREAST; u++)
                                sum[u] += weight * load(from + u * step);
                        }
                        UNROLL
                        for (int u = 0; u < ABREAST; u++)
                            store(result + (j + u) * jump + c, sum[u]);
                        j += ABREAST;
                        continue;
                    }
                    vec sum = { 0 };
                    for (int64_t t = t0; t < t1; t++) {
                        int64_t sx = j * g->step_x + p->tap[t].x;
                        if (sx >= 0 && sx < g->w)
                            sum += load(w + t * C + c) * load(source + j * step + p->tap[t].at + c);
                    }
                    store(result + j * jump + c, sum);
                    j++;
                }
            }
        }
}

/* s[t] += sums over pixels [lo, hi) of a row, of `taps` neighbours. */
INLINE void row_gradient(const lmbi_tap *tap, int taps, const float *source, int64_t step, const float *dy, int64_t C, int64_t lo,
                         int64_t hi, float *s, int64_t lds)
{
    vec even[5], odd[5];
    int64_t j = lo;

    UNROLL
    for (int t = 0; t < taps; t++)
        even[t] = odd[t] = (vec){ 0 };
    for (; j + 2 <= hi; j += 2) {
        vec d = load(dy + j * C), e = load(dy + (j + 1) * C);
        UNROLL
        for (int t = 0; t < taps; t++) {
            const float *from = source + tap[t].at + j * step;
            even[t] += d * load(from);
            odd[t] += e * load(from + step);
        }
    }
    if (j < hi) {
        vec d = load(dy + j * C);
        UNROLL
        for (int t = 0; t < taps; t++)
            even[t] += d * load(source + tap[t].at + j * step);
    }
    UNROLL
    for (int t = 0; t < taps; t++)
        store(s + t * lds, load(s + t * lds) + (even[t] + odd[t]));
}

/* Pixels that all of `taps` can reach together, the others one tap at a time. */
INLINE void taps_gradient(const lmbi_taps *g, const lmbi_phase *p, const lmbi_tap *tap, int taps, const float *source,
                          const float *dy, float *s, int64_t lds)
{
    int64_t lo = 0, hi = p->cols, step = g->step_x * g->c;

    UNROLL
    for (int t = 0; t < taps; t++)
        reach(g, p, tap[t].x, &lo, &hi);
    row_gradient(tap, taps, source, step, dy, g->c, lo, hi, s, lds);
    UNROLL
    for (int t = 0; t < taps && taps > 1; t++) {
        int64_t first = 0, last = p->cols;
        reach(g, p, tap[t].x, &first, &last);
        for (int64_t j = first; j < last; j++)
            if (j < lo || j >= hi)
                store(s + t * lds, load(s + t * lds) + load(dy + j * g->c) * load(source + tap[t].at + j * step));
    }
}

static void depthwise_gradient(const lmbi_taps *g, const float *x, const float *dy, float *s)
{
    const lmbi_phase *p = g->phase;
    int64_t C = g->c, lds = lmbi_up(C, LANES);

    memset(s, 0, sizeof *s * (size_t)(p->taps * lds));
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t i = 0; i < p->rows; i++) {
            int64_t t0, t1;
            inside(g, p, i, &t0, &t1);
            for (int64_t b = 0; b < C; b += LANES) {
                int64_t c = b + LANES <= C ? b : C - LANES;
                const float *source = x + (n * g->h + i * g->step_y) * g->w * C + c;
                const float *from = dy + (n * g->oh + i) * g->ow * C + c;
                for (int64_t t = t0, next; t < t1; t = next) {
                    int64_t alike = 1; /* taps of one row */
                    while (t + alike < t1 && p->tap[t + alike].y == p->tap[t].y)
                        alike++;
                    next = t + (alike >= 5 ? 5 : alike >= 3 ? 3 : 1);
                    if (next - t == 5)
                        taps_gradient(g, p, p->tap + t, 5, source, from, s + t * lds + b, lds);
                    else if (next - t == 3)
                        taps_gradient(g, p, p->tap + t, 3, source, from, s + t * lds + b, lds);
                    else
                        taps_gradient(g, p, p->tap + t, 1, source, from, s + t * lds + b, lds);
                }
            }
        }
}

const lmbi_conv_loops NAME = { LANES, WIDE, TALL, ROWS, gather, multiply, columns, depthwise, depthwise_gradient };
