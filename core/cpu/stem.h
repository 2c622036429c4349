/* core/cpu/stem.h - between stem.c, which knows operators, and stem_loops.h, compiled once for each kind of vector
 * unit. */
#ifndef LMB_CORE_CPU_STEM_H
#define LMB_CORE_CPU_STEM_H

#include "core/cpu/conv.h"

/* A convolution of few channels. The padded source of some rows of the result: planes [c][tall][step_x][side], where
 * pixel x of a padded row lies in part x % step_x at x / step_x; what the taps of neighbouring pixels of the result see
 * are then neighbours. */
typedef struct lmbi_stem {
    int64_t c, h, w, k, oh, ow;
    int64_t rows, tall, side;            /* rows of the result at once     */
    int64_t step_y, step_x, above, left; /* strides, zeros before an image */
    int64_t taps;                        /* of all channels: c * kh * kw */
    int64_t *at;                         /* [taps], from the first pixel of the planes */
} lmbi_stem;

enum { LMBI_STEM_GROUP = 8 }; /* channels of the result at once; weights are [group of k][taps][8], zero beyond k */

typedef struct lmbi_stem_loops {
    int64_t lanes;
    /* What the rows of the result from `row` on see of x [c, h, w], into planes that were cleared once. */
    void (*split)(const lmbi_stem *g, const float *x, int64_t row, float *planes);
    /* These rows of y [oh, ow, k]; e->add is not looked at. */
    void (*convolve)(const lmbi_stem *g, const float *planes, const float *w, const lmbi_conv_end *e, int64_t row,
                     float *y);
} lmbi_stem_loops;

extern const lmbi_stem_loops lmbi_stem_plain, lmbi_stem_avx2, lmbi_stem_avx512;
/* The best this processor has. */
const lmbi_stem_loops *lmbi_stem_choice(void);
/* The geometry of v for vectors of `lanes`; *out->at is the caller's to free. */
LMB_MUST_CHECK lmb_status lmbi_stem_create(const lmb_conv *v, int64_t lanes, lmbi_stem *out, lmb_error *err);
/* w [k, c, kh, kw] as `convolve` wants it, and how many floats that is. */
void lmbi_stem_pack(const lmbi_stem *g, const float *w, float *to);
static inline int64_t lmbi_stem_packed(const lmbi_stem *g) { return lmbi_up(g->k, LMBI_STEM_GROUP) * g->taps; }
static inline int64_t lmbi_stem_planes(const lmbi_stem *g) { return g->c * g->tall * g->step_x * g->side; }

#endif
