/* core/cpu/band.h - between band.c, which knows operators, and band_loops.h, compiled once for each kind of vector
 * unit. */
#ifndef LMB_CORE_CPU_BAND_H
#define LMB_CORE_CPU_BAND_H

#include "core/cpu/conv.h"

/* A 3x3 filter a channel: y [oh, ow, c] of x [h, w, c], whose first tap of the first pixel is at (-above, -left). */
typedef struct lmbi_band {
    int64_t c, h, w, oh, ow, above, left;
    int64_t step; /* 1 or 2, both ways */
} lmbi_band;

enum { LMBI_BAND_ROWS = 6 }; /* rows of the source under as many rows of the result as share loads */

typedef struct lmbi_band_loops {
    int64_t lanes;
    /* One image. w: packed; band: lmbi_band_floats of scratch; e->add is not looked at. */
    void (*convolve)(const lmbi_band *g, const float *x, const float *w, const lmbi_conv_end *e, float *band, float *y);
} lmbi_band_loops;

extern const lmbi_band_loops lmbi_band_plain, lmbi_band_avx2, lmbi_band_avx512;
/* Best first, as far as they can do it; NULL ends them. They can with channels for a vector, or a vector of whole
 * pixels. */
const lmbi_band_loops *const *lmbi_band_choices(const lmbi_band *g, const lmbi_band_loops *list[4]);
/* False if the convolution behind `t` is no such thing. */
bool lmbi_band_of(const lmbi_taps *t, const lmb_conv *v, lmbi_band *out);
/* w [c][9] becomes [9][channels, or one vector of whole pixels]. */
void lmbi_band_pack(const lmbi_band *g, const lmbi_taps *t, int64_t lanes, const float *w, float *to);
/* Channels of such a row. */
static inline int64_t lmbi_band_row(const lmbi_band *g, int64_t lanes) { return g->c < lanes ? lanes : g->c; }
/* A row of zeros, and padded copies of the rows behind a few rows of the result. */
static inline int64_t lmbi_band_floats(const lmbi_band *g)
{
    return (g->w + LMBI_BAND_ROWS * ((g->ow - 1) * g->step + 3)) * g->c;
}

#endif
