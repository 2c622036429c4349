/* datasets/augment.h - random changes to training images that keep their meaning.
 *
 * Idea: a change is a pure function of (seed, epoch, global sample index), so the same sample looks the same
 * on any rank, thread or after a resume, and one option never changes what another one draws. Works in place on raw
 * u8 [C, H, W] images or f32 [C, T] signals. With `versions` epochs repeat, and with `seed` trainings of different
 * seeds see the same: then a teacher's answers can be kept (distill/logits.h), at the price of fewer images.
 *   order    images: crop, then flip, then the policy's operations, then cutout; signals: scale, then jitter
 *   black    is what comes into an image from beside it: by a crop, by a policy's moves, in a cutout
 *   source   He et al. 2016 (pad and crop, flip); DeVries and Taylor 2017, arXiv:1708.04552 (cutout); policies:
 *            augment_policy.h
 *            Um et al. 2017, arXiv:1706.00527 (scale, jitter)
 */
#ifndef LMB_DATASETS_AUGMENT_H
#define LMB_DATASETS_AUGMENT_H

#include "core/base/field.h"
#include "core/base/tensor.h"
#include "core/plan/picture.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_POLICY_NONE, LMB_POLICY_AUTO, LMB_POLICY_RAND, LMB_POLICY_TRIVIAL }; /* lmb_augment.policy */

typedef struct lmb_augment {
    int64_t crop;   /* pad by this many pixels on each side, then cut a random window of the old size */
    bool reflect;   /* pad with a mirror image instead of zeros                                        */
    bool flip;      /* mirror left and right, half of the time                                         */
    int64_t policy; /* that draws operations (augment_policy.h)                                        */
    int64_t strength, operations; /* of randaugment: step of each operation's range; how many          */
    int64_t cutout; /* side of a square set to 0 around a random centre                                */
    double scale;   /* each channel of a signal times 1 + a normal number of this deviation            */
    double jitter;  /* noise added to each reading: its standard deviation, in the signal's unit       */
    int64_t versions; /* of a sample: epoch e looks as epoch e mod versions did; 0: every epoch is new */
    int64_t seed;     /* of the changes; 0: the training's                                             */
} lmb_augment;
extern const lmb_field lmb_augment_fields[];

/* Does any option change anything? */
bool lmb_augment_any(const lmb_augment *a);
/* What the changes are drawn from in a training of this seed, and the epoch whose changes this epoch has. */
uint64_t lmb_augment_seed(const lmb_augment *a, uint64_t seed);
int64_t lmb_augment_epoch(const lmb_augment *a, int64_t epoch);
/* E_ARG when an option that is on does not fit such samples: crops of signals, jitter of images. */
LMB_MUST_CHECK lmb_status lmb_augment_check(const lmb_augment *a, const lmb_shape *shape, lmb_dtype dtype,
                                            lmb_error *err);

/* What happens to an image of a sample, for who moves the pixels elsewhere; sides are at most LMB_PICTURE_SIDE. */
lmb_picture_change lmb_augment_change(const lmb_augment *a, const lmb_shape *chw, uint64_t seed, uint32_t epoch,
                                      uint64_t sample);
/* The same, done; scratch: at least C * H * W bytes. */
void lmb_augment_apply(const lmb_augment *a, uint8_t *image, const lmb_shape *chw, uint64_t seed, uint32_t epoch,
                       uint64_t sample, uint8_t *scratch);
/* A signal. */
void lmb_augment_apply_signal(const lmb_augment *a, float *signal, const lmb_shape *ct, uint64_t seed, uint32_t epoch,
                              uint64_t sample);

#ifdef __cplusplus
}
#endif
#endif
