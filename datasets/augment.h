/* datasets/augment.h - random changes to training images that keep their meaning.
 *
 * Idea: a change is a pure function of (seed, epoch, global sample index), so the same sample looks the same
 * on any rank, thread or after a resume. Works on raw u8 [C, H, W] in place.
 *   order    crop, then flip, then cutout
 *   source   He et al. 2016 (pad and crop, flip); DeVries and Taylor 2017, arXiv:1708.04552 (cutout)
 */
#ifndef LMB_DATASETS_AUGMENT_H
#define LMB_DATASETS_AUGMENT_H

#include "core/base/field.h"
#include "core/base/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_augment {
    int64_t crop;   /* pad by this many pixels on each side, then cut a random window of the old size */
    bool reflect;   /* pad with a mirror image instead of zeros                                        */
    bool flip;      /* mirror left and right, half of the time                                         */
    int64_t cutout; /* side of a square set to 0 around a random centre                                */
} lmb_augment;
extern const lmb_field lmb_augment_fields[];

/* scratch: at least C * H * W bytes. */
void lmb_augment_apply(const lmb_augment *a, uint8_t *image, const lmb_shape *chw, uint64_t seed, uint32_t epoch,
                       uint64_t sample, uint8_t *scratch);

#ifdef __cplusplus
}
#endif
#endif
