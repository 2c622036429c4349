/* core/cpu/winograd.h - between winograd.c, which knows operators, and the loops, compiled once for each kind of
 * vector unit. */
#ifndef LMB_CORE_CPU_WINOGRAD_H
#define LMB_CORE_CPU_WINOGRAD_H

#include "core/ops/conv.h"

/* A 3x3 convolution of stride 1 over NHWC: x [n, h, w, c] -> y [n, oh, ow, k]; c and k are multiples of 16. x, y and dy
 * are f32, or bf16 for lmbi_winograd_bf16. */
typedef struct lmbi_winograd {
    int64_t n, h, w, c, oh, ow, k;
    int64_t ph, pw;     /* zeros before the first row and column           */
    int64_t down, side; /* tiles of 4x4 outputs in a column and a row      */
    int64_t tiles;      /* n * down * side                                 */
    int64_t block;      /* tiles in flight: a multiple of LMBI_TILE        */
    int64_t row;        /* channels of y in memory: k, or more where a band of them is worked on */
} lmbi_winograd;

enum {
    LMBI_TILE = 12,  /* tiles that a matrix product handles at once, whose sums stay in registers */
    LMBI_CHUNK = 16, /* channels that lie together                                                 */
    LMBI_POINTS = 36,
    LMBI_BAND = 32, LMBI_BAND_IN = 128, /* channels of y, and of x, that a band has */
    LMBI_PAD = 16 /* floats between points: a power of two would crowd all 36 into one set of the cache */
};

/* Floats of 36 points of `rows` x `columns` each. */
static inline int64_t lmbi_winograd_points(int64_t rows, int64_t columns)
{
    return LMBI_POINTS * (rows * columns + LMBI_PAD);
}

/* What becomes of the sums: + bias [k] + add (like y), each NULL for none, then limited to [lo, hi]. */
typedef struct lmbi_winograd_end { const float *bias; const void *add; float lo, hi; } lmbi_winograd_end;

typedef struct lmbi_winograd_loops {
    /* weights [k, c, 3, 3] -> u. backward: for the gradient of the input; then g->c counts the convolution's
     * outputs. */
    void (*weights)(const lmbi_winograd *g, const float *w, int backward, float *u);
    /* scratch: points of block x c and of block x k */
    void (*forward)(const lmbi_winograd *g, const void *x, const float *u, const lmbi_winograd_end *e, void *y,
                    float *scratch);
    /* Both at once, for a block of all tiles: a band of weights is used while it is in the cache. scratch: points of
     * block x c, of c x LMBI_BAND and of block x LMBI_BAND. */
    void (*banded)(const lmbi_winograd *g, const void *x, const float *w, int backward, const lmbi_winograd_end *e,
                   void *y, float *scratch);
    /* dw [k, c, 3, 3]. scratch: points of block x c, of block x k and of c x k. */
    void (*gradient)(const lmbi_winograd *g, const void *x, const void *dy, float *dw, float *scratch);
    int64_t longer; /* times the usual block for `gradient`, where numbers are shorter than floats */
} lmbi_winograd_loops;

/* Blocks so many times as long, as far as there are tiles. */
void lmbi_winograd_lengthen(lmbi_winograd *g, int64_t times);
/* The geometry of a convolution, or (backward) of its gradient by the input: a convolution of dy with the padding that
 * is left. */
lmbi_winograd lmbi_winograd_of(const lmb_conv *v, bool backward);
/* The loops for vector units that this processor has, best first; NULL ends them. */
const lmbi_winograd_loops *const *lmbi_winograd_choices(const lmbi_winograd_loops *list[4]);

extern const lmbi_winograd_loops lmbi_winograd_plain, lmbi_winograd_avx2, lmbi_winograd_avx512;
extern const lmbi_winograd_loops lmbi_winograd_bf16; /* x, y, dy and what is added are bf16; AVX-512 with BF16 */

#endif
