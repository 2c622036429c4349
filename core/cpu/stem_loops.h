/* core/cpu/stem_loops.h - the loops of stem.h, for vectors of LANES pixels. Included by stem_plain.c, stem_avx2.c and
 * stem_avx512.c, which say LANES, ABREAST (vectors of pixels at once) and NAME. */
#include <math.h>
#include <string.h>

#include "core/cpu/stem.h"
#include "core/cpu/vectors.h"

enum { GROUP = LMBI_STEM_GROUP };

/* Of 2 LANES numbers those in even or odd places; the first or second half of two vectors, taken in turns. */
#if LANES == 16
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define FIRST(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define SECOND(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define FIRST(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define SECOND(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#define FIRST(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define SECOND(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

static void split_row(const float *x, int64_t w, int64_t left, float *even, float *odd)
{
    int64_t i = 0;

    if (left & 1) { /* the first pixel is in an odd place */
        float *other = even + 1;
        even = odd;
        odd = other;
    }
    even += left / 2, odd += left / 2;
    for (; i + 2 * LANES <= w; i += 2 * LANES) {
        vec a = load(x + i), b = load(x + i + LANES);
        store(even + i / 2, EVEN(a, b));
        store(odd + i / 2, ODD(a, b));
    }
    for (; i < w; i++)
        (i & 1 ? odd : even)[i / 2] = x[i];
}

static void split(const lmbi_stem *g, const float *x, int64_t row, float *planes)
{
    for (int64_t c = 0; c < g->c; c++)
        for (int64_t t = 0; t < g->tall; t++) {
            int64_t y = row * g->step_y - g->above + t;
            const float *from = x + (c * g->h + y) * g->w;
            float *to = planes + (c * g->tall + t) * g->step_x * g->side;
            if (y < 0 || y >= g->h)
                memset(to, 0, sizeof *to * (size_t)(g->step_x * g->side));
            else if (g->step_x == 1)
                memcpy(to + g->left, from, sizeof *to * (size_t)g->w);
            else
                split_row(from, g->w, g->left, to, to + g->side);
        }
}

/* `pixels` pixels [8] of t become pixels [channels], k apart. Where pixels lie side by side all 8 are stored as long as
 * `end` allows: the next pixel, or row, comes later and overwrites what is too much. */
INLINE void scatter(const float *t, int64_t pixels, int64_t channels, int64_t k, float *y, const float *end)
{
    int64_t whole = channels == GROUP                   ? pixels
                    : channels == k && end - y >= GROUP ? (end - y - GROUP) / k + 1
                                                        : 0,
            p = 0;

    for (; p < pixels && p < whole; p++, t += GROUP, y += k)
        memcpy(y, t, sizeof *y * GROUP);
    for (; p < pixels; p++, t += GROUP, y += k)
        for (int64_t c = 0; c < channels; c++)
            y[c] = t[c];
}

/* `wide` vectors of pixels of a row, and 8 channels. rows: their first tap; y: the first pixel's first of these
 * channels. */
INLINE void tile(const lmbi_stem *g, const float *rows, const float *w, int wide, int64_t pixels, int64_t channels,
                 const lmbi_conv_end *e, const float *bias, float *y, const float *end)
{
    vec sum[GROUP][ABREAST], low = (vec){ 0 } + e->lo, high = (vec){ 0 } + e->hi;

    UNROLL
    for (int k = 0; k < GROUP; k++)
        UNROLL
        for (int v = 0; v < wide; v++)
            sum[k][v] = (vec){ 0 };
    for (int64_t t = 0; t < g->taps; t++, w += GROUP) {
        const float *from = rows + g->at[t];
        vec x[ABREAST];
        UNROLL
        for (int v = 0; v < wide; v++)
            x[v] = load(from + v * LANES);
        UNROLL
        for (int k = 0; k < GROUP; k++)
            UNROLL
            for (int v = 0; v < wide; v++)
                sum[k][v] += w[k] * x[v];
    }
    UNROLL
    for (int v = 0; v < wide; v++) {
        vec a[GROUP], b[GROUP];
        int64_t here = pixels - v * LANES < LANES ? pixels - v * LANES : LANES;
        UNROLL
        for (int k = 0; k < GROUP; k++) {
            a[k] = sum[k][v];
            if (bias && k < channels)
                a[k] += bias[k];
            a[k] = limited(a[k], low, high);
        }
        UNROLL
        for (int turn = 0; turn < 3; turn++) { /* [8][LANES] becomes [LANES][8]: a bit of the place moves each time */
            UNROLL
            for (int k = 0; k < GROUP / 2; k++) {
                b[2 * k] = FIRST(a[k], a[k + GROUP / 2]);
                b[2 * k + 1] = SECOND(a[k], a[k + GROUP / 2]);
            }
            UNROLL
            for (int k = 0; k < GROUP; k++)
                a[k] = b[k];
        }
        float part[GROUP * LANES], *to = y + v * LANES * g->k;
        bool dense = g->k == GROUP && here == LANES;
        UNROLL
        for (int k = 0; k < GROUP; k++)
            store((dense ? to : part) + k * LANES, a[k]);
        if (!dense)
            scatter(part, here, channels, g->k, to, end);
    }
}

static void convolve(const lmbi_stem *g, const float *planes, const float *w, const lmbi_conv_end *e, int64_t row,
                     float *y)
{
    const float *end = y + g->oh * g->ow * g->k;
    int64_t count = g->oh - row < g->rows ? g->oh - row : g->rows;

    y += row * g->ow * g->k;
    for (int64_t i = 0; i < count; i++, y += g->ow * g->k)
        for (int64_t k = 0; k < g->k; k += GROUP) {
            const float *rows = planes + i * g->step_y * g->step_x * g->side, *group = w + k * g->taps;
            const float *bias = e->bias ? e->bias + k : NULL;
            int64_t channels = g->k - k < GROUP ? g->k - k : GROUP;
            for (int64_t j = 0; j < g->ow;) {
                int64_t left = g->ow - j;
                if (ABREAST > 2 && left > 2 * LANES) {
                    tile(g, rows + j, group, ABREAST, left, channels, e, bias, y + j * g->k + k, end);
                    j += ABREAST * LANES;
                } else if (ABREAST > 2 && left > LANES) {
                    tile(g, rows + j, group, ABREAST > 2 ? 2 : 1, left, channels, e, bias, y + j * g->k + k, end);
                    j += 2 * LANES;
                } else {
                    tile(g, rows + j, group, 1, left, channels, e, bias, y + j * g->k + k, end);
                    j += LANES;
                }
            }
        }
}

const lmbi_stem_loops NAME = { LANES, split, convolve };
