/* core/cpu/band_loops.h - the loops of band.h, for vectors of LANES floats. Included by band_plain.c, band_avx2.c and
 * band_avx512.c, which say LANES and NAME. Taps are added in the order of conv_loops.h. */
#include <math.h>
#include <string.h>

#include "core/cpu/band.h"
#include "core/cpu/vectors.h"

/* Where the vectors of a row begin: the v-th at v * x of the source and v * y of the result; the last at last_x,
 * last_y. */
typedef struct places { int64_t count, x, y, last_x, last_y; uintptr_t next_x, next_y; } places;

/* `rows` rows of the result, one vector wide. A row of the source is loaded once for all of them. What a store might
 * change is kept in variables. */
INLINE void strip(const float *const *row, int rows, int step, int64_t c, places at, const float *w, int64_t ldw,
                  const float *bias, vec low, vec high, float *y, int64_t ldy)
{
    vec weight[9], offset = bias ? load(bias) : (vec){ 0 };
    const float *here[LMBI_BAND_ROWS];

    UNROLL
    for (int t = 0; t < 9; t++)
        weight[t] = load(w + t * ldw);
    UNROLL
    for (int i = 0; i < (rows - 1) * step + 3; i++)
        here[i] = row[i];
    for (int64_t v = 0, from = 0, to = 0; v < at.count; v++, from += at.x, to += at.y) {
        vec sum[4];
        for (int i = 0; i < rows; i++) {
            for (int k = 0; k < step * step; k++)
                ask(at.next_x, (v * rows + i) * step * step + k);
            ask(at.next_y, v * rows + i);
        }
        from = from < at.last_x ? from : at.last_x;
        to = to < at.last_y ? to : at.last_y;
        UNROLL
        for (int r = 0; r < rows; r++)
            sum[r] = (vec){ 0 };
        UNROLL
        for (int i = 0; i < (rows - 1) * step + 3; i++)
            UNROLL
            for (int q = 0; q < 3; q++) {
                vec x = load(here[i] + from + q * c);
                UNROLL
                for (int r = 0; r < rows; r++)
                    if (i - r * step >= 0 && i - r * step < 3)
                        sum[r] += weight[(i - r * step) * 3 + q] * x;
            }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec s = sum[r];
            if (bias)
                s += offset;
            store(y + r * ldy + to, limited(s, low, high));
        }
    }
}

/* Pixels [first, first + count) of `rows` rows of the result; row: where the first tap of the first of them lies. Fewer
 * channels than lanes: whole vectors of pixels. */
INLINE void strips(const lmbi_band *g, const float *const *row, int rows, int step, int64_t first, int64_t count,
                   const float *w, const lmbi_conv_end *e, float *y)
{
    int64_t C = g->c, n = g->ow * C;
    vec low = (vec){ 0 } + e->lo, high = (vec){ 0 } + e->hi;
    uintptr_t next_x = (uintptr_t)row[(rows - 1) * step + 2],
              next_y = (uintptr_t)(y + rows * n); /* the rows after these */

    next_x += (uintptr_t)(g->w * C) * sizeof *y;
    y += first * C;
    if (C < LANES) {
        float bias[LANES];
        for (int l = 0; l < LANES; l++)
            bias[l] = e->bias ? e->bias[l % C] : 0;
        places at = {
            (count * C + LANES - 1) / LANES, LANES, LANES, count * C - LANES, count * C - LANES, next_x, next_y
        };
        strip(row, rows, step, C, at, w, LANES, e->bias ? bias : NULL, low, high, y, n);
        return;
    }
    places at = { count, step * C, C, (count - 1) * step * C, (count - 1) * C, next_x, next_y };
    for (int64_t b = 0; b < C; b += LANES) {
        at.next_x = next_x + (uintptr_t)(b * count * rows * step * step) * sizeof *y;
        at.next_y = next_y + (uintptr_t)(b * count * rows) * sizeof *y;
        int64_t c = b + LANES <= C ? b : C - LANES;
        const float *here[LMBI_BAND_ROWS];
        for (int i = 0; i < (rows - 1) * step + 3; i++)
            here[i] = row[i] + c;
        strip(here, rows, step, C, at, w + c, C, e->bias ? e->bias + c : NULL, low, high, y + c, n);
    }
}

/* The same by the number of rows and the stride. */
static void rows_of(const lmbi_band *g, const float *const *row, int64_t rows, int64_t first, int64_t count,
                    const float *w, const lmbi_conv_end *e, float *y)
{
    if (g->step == 2 && rows == 2)
        strips(g, row, 2, 2, first, count, w, e, y);
    else if (rows == 4)
        strips(g, row, 4, 1, first, count, w, e, y);
    else if (rows == 2)
        strips(g, row, 2, 1, first, count, w, e, y);
    else
        strips(g, row, 1, g->step == 2 ? 2 : 1, first, count, w, e, y);
}

/* Pixels [first, first + count), some of whose taps lie beside the image: from copies with zeros there. */
static void edge(const lmbi_band *g, const float *const *row, int64_t rows, int64_t first, int64_t count,
                 const float *w, const lmbi_conv_end *e, float *copy, float *y)
{
    int64_t C = g->c, pixels = (count - 1) * g->step + 3, left = first * g->step - g->left;
    int64_t before = left < 0 ? -left : 0, past = left + pixels > g->w ? left + pixels - g->w : 0;
    const float *from[LMBI_BAND_ROWS];

    for (int64_t i = 0; i < (rows - 1) * g->step + 3; i++, copy += pixels * C) {
        move(copy, NULL, before * C);
        move(copy + before * C, row[i] + (left + before) * C, (pixels - before - past) * C);
        move(copy + (pixels - past) * C, NULL, past * C);
        from[i] = copy;
    }
    rows_of(g, from, rows, first, count, w, e, y);
}

static void convolve(const lmbi_band *g, const float *x, const float *w, const lmbi_conv_end *e, float *scratch,
                     float *y)
{
    int64_t C = g->c, fewest = C < LANES ? LANES / C : 1; /* pixels of a vector */
    int64_t lo = (g->left + g->step - 1) / g->step,
            hi = (g->w + g->left - 3) / g->step + 1; /* no tap beside the image */
    float *zeros = scratch, *copy = scratch + g->w * C;

    hi = hi < g->ow ? hi : g->ow;
    if (hi - lo < (g->step == 1 ? 8 : 2) || hi - lo < fewest) /* hardly any: from copies of whole rows */
        lo = hi = g->ow;
    memset(zeros, 0, sizeof *zeros * (size_t)(g->w * C));
    for (int64_t i = 0, rows; i < g->oh; i += rows, y += rows * g->ow * C) {
        const float *row[LMBI_BAND_ROWS], *inner[LMBI_BAND_ROWS];
        int64_t left = g->oh - i, first = i * g->step - g->above;
        rows = g->step == 1 && left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (int64_t t = 0; t < (rows - 1) * g->step + 3; t++) {
            row[t] = first + t < 0 || first + t >= g->h ? zeros : x + (first + t) * g->w * C;
            inner[t] = row[t] + (lo * g->step - g->left) * C;
        }
        if (hi > lo)
            rows_of(g, inner, rows, lo, hi - lo, w, e, y);
        if (lo > 0)
            edge(g, row, rows, 0, lo < fewest ? fewest : lo, w, e, copy, y);
        if (hi < g->ow) {
            int64_t last = g->ow - hi < fewest ? fewest : g->ow - hi;
            edge(g, row, rows, g->ow - last, last, w, e, copy, y);
        }
    }
}

const lmbi_band_loops NAME = { LANES, convolve };
