/* core/cpu/conv_state.h - what conv.c (forward, and the gradient of the input) and conv_weights.c (that of the weights)
 * share: a convolution that has been made for its sizes.
 */
#ifndef LMB_CORE_CPU_CONV_STATE_H
#define LMB_CORE_CPU_CONV_STATE_H

#include "core/cpu/conv.h"
#include "core/cpu/kernels.h"

typedef struct lmbi_conv_state {
    lmbi_taps g;
    const lmbi_conv_loops *l;
    bool direct;         /* the source is the matrix of taps */
    bool by_row;         /* rows of pixels over padded images */
    int64_t block, ld;   /* rows gathered at once and their distance */
    bool turned;         /* gradient of the weights: dy' times the taps, not taps' times dy */
    bool spills;         /* tiles read behind a row of dy */
    int64_t ldy, lds;    /* the distance of rows of dy and of the sums */
    size_t rows, at, sums, image; /* offsets in scratch, in bytes */
    float *packed;       /* weights that never change, or NULL */
} lmbi_conv_state;

/* What the three have in common. */
LMB_MUST_CHECK lmb_status lmbi_conv_create(const lmb_call *c, bool backward, lmbi_conv_state **out, lmb_error *err);
void lmbi_conv_destroy(void *state);
bool lmbi_conv_f32(const lmb_call *c, const char **why);
/* Room for `bytes` of scratch at *at, which moves on. */
size_t lmbi_conv_take(size_t *at, int64_t bytes);
/* By row: floats of a padded image; tiles and vectors read behind the last pixel. */
int64_t lmbi_conv_image_floats(const lmbi_conv_state *s);
/* Zeros once; an image then writes inside its frame only. */
void lmbi_conv_clear_image(const lmbi_conv_state *s, float *to);
/* By row: taps of one row of the kernel. */
int64_t lmbi_conv_kernel_width(const lmbi_taps *g);

#endif
