/* distill/prune/masks.h - weights of small magnitude are held at zero, more and more of them.
 *
 * Idea: a weight that is exactly zero is pruned, and stays so. The mask is thus no state of its own: it is read from
 * the weights before a step and laid over them, and over their average, after it. A training that was killed finds its
 * masks in its checkpoint, and all ranks have the same. The schedule takes the share from `initial` to `sparsity`, fast
 * at first:
 *
 *   s(t) = sparsity + (initial - sparsity) (1 - (t - begin) / (end - begin))^3, every `every` steps from begin to end
 *
 * With a pattern N:M (pattern.h) the share is of each row of M weights, in whole weights, up to M - N of them.
 *
 * Each time more weights go, the best weights so far are forgotten: they were less sparse.
 *
 *   source   Zhu and Gupta 2017, arXiv:1710.01878, section 3
 *   threads  one training thread
 */
#ifndef LMB_DISTILL_PRUNE_MASKS_H
#define LMB_DISTILL_PRUNE_MASKS_H

#include "core/base/field.h"
#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_prune_magnitude {
    double sparsity, initial, begin, end;
    int64_t every, scope; /* scope: LMB_SCOPE_GLOBAL, LMB_SCOPE_LAYER (channels.h) */
    const char *pattern;  /* "2:4", in place of sparsity and scope; "" or NULL: any weight may go */
} lmb_prune_magnitude;
extern const lmb_field lmb_prune_magnitude_fields[];

typedef struct lmb_masks lmb_masks;
/* Masks of a training of `epochs` epochs of `batches` steps each.
 *   config  NULL: what is zero stays zero, and no more
 *   errors  E_ARG for a schedule that the training is too short for, and a pattern that no layer has rows for */
LMB_MUST_CHECK lmb_status lmb_masks_create(const lmb_prune_magnitude *config, const lmb_graph *model, int64_t epochs,
                                           int64_t batches, lmb_masks **out, lmb_error *err);
/* For a model that comes from elsewhere: a sparse one keeps its zeros, in all its weights. It is sparse if of some
 * weight tensor at least half is exactly zero, or it keeps a pattern (pattern.h: of 64 rows or more each has a zero),
 * and some output has more than one weight that is not: what selects channels, one of each (integer_form.h), and what
 * is zero altogether are no work of pruning, and not held.
 *   *out    NULL: it is not, as every model that was just made
 *   share   may be NULL; of all weights, that are held */
LMB_MUST_CHECK lmb_status lmb_masks_hold(const lmb_graph *model, lmb_masks **out, double *share, lmb_error *err);
void lmb_masks_destroy(lmb_masks *m);
/* Lay the masks over the state. To be called once before a training's first step, wherever that starts from, and after
 * every step. */
void lmb_masks_apply(lmb_masks *m, lmb_trainer_state *s);
/* The same as a hand in the training: lmb_train_watch.stepped, with the masks as ctx. */
LMB_MUST_CHECK lmb_status lmb_masks_stepped(void *masks, lmb_trainer *t, lmb_error *err);

/* The step after which the schedule is over: no training that is to be sparse ends before it. 0: there is none. */
int64_t lmb_masks_end(const lmb_masks *m);
/* Has a trained model the zeros that the schedule ends with: each layer, all layers together, or each row of the
 * pattern?
 *   errors  E_ARG with what is missing */
LMB_MUST_CHECK lmb_status lmb_masks_check(const lmb_prune_magnitude *config, const lmb_graph *model, lmb_error *err);

/* The share of a model's weights that are zero. Biases, scales and frozen weights are not counted: they are never
 * pruned. */
double lmb_masks_sparsity(const lmb_graph *model);

#ifdef __cplusplus
}
#endif
#endif
