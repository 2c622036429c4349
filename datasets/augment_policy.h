/* datasets/augment_policy.h - which operations happen to a sample: AutoAugment, RandAugment, TrivialAugment.
 *
 * Idea: a policy draws up to LMB_PICTURE_OPS rows of augment_ops.h and their strengths out of a sample's stream, from
 * words of its own, so that crops and flips are what they are without it. Strengths are steps of a range, and all are
 * those of torchvision's transforms of the same names.
 *   source   Cubuk et al. 2019, arXiv:1805.09501 (AutoAugment, the policy found on CIFAR-10); Cubuk et al. 2020,
 *            arXiv:1909.13719 (RandAugment); Mueller and Hutter 2021, arXiv:2103.10158 (TrivialAugment, wide)
 */
#ifndef LMB_DATASETS_AUGMENT_POLICY_H
#define LMB_DATASETS_AUGMENT_POLICY_H

#include "core/base/random.h"
#include "datasets/augment.h"

enum { LMB_POLICY_STEPS = 30 }; /* of a strength, of RandAugment and TrivialAugment */
extern const char *const lmb_augment_policies[]; /* names by LMB_POLICY_, NULL-terminated */

/* change->op out of words [first, first + 16) of the stream. */
void lmbi_augment_policy(const lmb_augment *a, const lmb_shape *chw, const lmb_rand *r, uint32_t first,
                         lmb_picture_change *change);

#endif
