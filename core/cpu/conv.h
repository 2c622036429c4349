/* core/cpu/conv.h - between the convolutions and matrix products of our own, which know operators, and the loops,
 * compiled once for each kind of vector unit. */
#ifndef LMB_CORE_CPU_CONV_H
#define LMB_CORE_CPU_CONV_H

#include "core/ops/conv.h"

/* A convolution and its gradient by the input are one thing: pixel (i, j) of a phase of the result is a sum over taps
 * of the source at (i * step_y + tap.y, j * step_x + tap.x), zero outside. Forward there is one phase. Backward the
 * pixels whose coordinates leave the same remainders by the strides form a phase: they meet the same taps. */
typedef struct lmbi_tap {
    int64_t y, x;
    int64_t at;     /* (y * w + x) * c, in the source        */
    int64_t weight; /* p * kw + q: which element of the kernel */
    int64_t top, bottom, left,
        right; /* pixels of the phase for which it lies inside: i, j in [top, bottom) x [left, right) */
} lmbi_tap;

/* Taps whose source pixels are neighbours in memory. */
typedef struct lmbi_span { int64_t y, x, taps; } lmbi_span;

typedef struct lmbi_phase {
    int64_t y, x, rows, cols; /* result pixels (y + i * jump_y, x + j * jump_x), i < rows, j < cols   */
    int64_t taps, spans;      /* taps are ordered by y, then x                                      */
    int64_t lo, hi;           /* pixels of a row for which all taps lie inside, [lo, hi)            */
    const lmbi_tap *tap;
    const lmbi_span *span;
} lmbi_phase;

typedef struct lmbi_taps {
    int64_t n, h, w, c, oh, ow, k; /* source [n, h, w, c], result [n, oh, ow, k] */
    int64_t step_y, step_x, jump_y, jump_x, group;
    int64_t kernel;                /* elements of the kernel: kh * kw            */
    int64_t taps;                  /* of all phases: fewer where a tap meets no pixel */
    int64_t phases, most_taps;     /* of a phase                                 */
    int64_t tall, side;            /* with one phase that has all taps: rows and pixels of a padded image, */
    int64_t above, left;           /* and of zeros before it                     */
    bool backward;
    lmbi_phase *phase;
    lmbi_tap *tap;
    lmbi_span *span;
} lmbi_taps;

LMB_MUST_CHECK lmb_status lmbi_taps_create(const lmb_conv *v, bool backward, lmbi_taps *out, lmb_error *err);
void lmbi_taps_free(lmbi_taps *g);
/* There: x [h, w, c] into the frame of zeros that its taps want around it, [tall, side, c]; the first tap of the
 * first pixel is its first number. The frame itself is cleared by nobody: once, for all images, is enough. */
void lmbi_pad(const lmbi_taps *g, const float *x, float *to);
/* There: g for padded images, where every tap lies inside. */
LMB_MUST_CHECK lmb_status lmbi_taps_padded(const lmbi_taps *g, lmbi_taps *out, lmb_error *err);
/* The next pixel of a phase: n, i, j. */
typedef struct lmbi_pixel { int64_t n, i, j; } lmbi_pixel;

/* What becomes of the sums: + bias [k] + add (like y), each NULL for none, then limited to [lo, hi]. */
typedef struct lmbi_conv_end { const float *bias, *add; float lo, hi; } lmbi_conv_end;

typedef struct lmbi_conv_loops {
    int64_t lanes, wide, tall, rows; /* floats of a vector; vectors and rows of a tile; its rows in `columns` */
    /* Rows m, m + 1, ... of the matrix of taps: what each pixel of the phase sees, [count][taps * c / group], rows `ld`
     * apart. x: the group's first channel. */
    void (*gather)(const lmbi_taps *g, const lmbi_phase *p, const float *x, int64_t m, int64_t count, float *to,
                   int64_t ld);
    /* Row r of c, at c + at[r], becomes (add: grows by) row r of a times b, [depth][n], which lmbi_pack has packed.
     * Rows of a up to a multiple of `tall` are read. */
    void (*multiply)(const float *a, int64_t lda, int64_t rows, int64_t depth, const float *b, int64_t n, float *c,
                     const int64_t *at, bool add);
    /* y [rows][n] becomes a [rows][depth] times b, packed, with what becomes of the sums done on the way. */
    void (*direct)(const float *a, int64_t rows, int64_t depth, const float *b, int64_t n, const lmbi_conv_end *e,
                   float *y);
    /* s [m][lds] += a' b; a is [depth][m], b [depth][n], m a multiple of `rows`, n of `lanes`. */
    void (*columns)(const float *a, int64_t lda, int64_t m, const float *b, int64_t ldb, int64_t n, int64_t depth,
                    float *s, int64_t lds);
    /* Depthwise, c >= lanes, one image: w is [taps of the phase][c]. */
    void (*depthwise)(const lmbi_taps *g, const lmbi_phase *p, const float *x, const float *w, float *y);
    /* s [kernel][channels, up to whole vectors; the last vector of channels ends with the last channel] grows by what
     * one image, padded, adds. */
    void (*depthwise_gradient)(const lmbi_taps *g, const float *image, const float *dy, float *s);
    /* Pixels [first, first + pixels) of all of y [..., k]. */
    void (*finish)(const lmbi_conv_end *e, int64_t pixels, int64_t k, int64_t first, float *y);
} lmbi_conv_loops;

/* The loops for vector units that this processor has, best first; NULL ends them. */
const lmbi_conv_loops *const *lmbi_conv_choices(const lmbi_conv_loops *list[4]);
extern const lmbi_conv_loops lmbi_conv_plain, lmbi_conv_avx2, lmbi_conv_avx512;

/* b[t * inner + i][j] = scale * from[tap[t].weight + i * inner_step + j * step], in panels as `multiply` wants them.
 * tap NULL: one, of weight 0. */
void lmbi_pack(const lmbi_conv_loops *l, const float *from, const lmbi_tap *tap, int64_t taps, int64_t inner,
               int64_t inner_step, int64_t n, int64_t step, float scale, float *b);
/* Floats of such a b. */
static inline int64_t lmbi_packed(const lmbi_conv_loops *l, int64_t depth, int64_t n)
{
    return depth * ((n + l->lanes - 1) / l->lanes * l->lanes);
}
/* The end of a Conv (a NULL) or a ConvAct. */
lmbi_conv_end lmbi_conv_end_of(const lmb_run *r, const lmb_conv_act_attr *a);
static inline int64_t lmbi_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* A kernel of a convolution or of one of its gradients; `prefix`: of the file's kernels. */
#define LMBI_CONV_KERNEL(prefix, lower, text, Op, Domain, ok, make, fn, end)                                           \
    const lmb_kernel prefix##lower = { .name = "own:" text,                                                            \
                                       .op = Op,                                                                       \
                                       .domain = Domain,                                                               \
                                       .accepts = ok,                                                                  \
                                       .layout = lmbi_conv_layout,                                                     \
                                       .create = make,                                                                 \
                                       .run = fn,                                                                      \
                                       .destroy = end }

#endif
