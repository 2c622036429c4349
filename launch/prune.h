/* launch/prune.h - the section `student.prune`: what is taken away from a trained student, and how it learns on.
 *
 *   prune: {method: channels, criterion: bn_scale, macs: 0.6, train: {...}, distill: {...}}
 *   prune: {method: magnitude, sparsity: 0.8, end: 6, train: {...}, distill: {...}}
 */
#ifndef LMB_LAUNCH_PRUNE_H
#define LMB_LAUNCH_PRUNE_H

#include "train/loss.h"
#include "distill/prune/channels.h"
#include "distill/prune/masks.h"

typedef struct lmb_prune_config {
    int64_t method;
    lmb_train_config train;
    lmb_distill_config distill;
    lmb_prune_channels channels;
    lmb_prune_magnitude magnitude;
} lmb_prune_config;
enum { LMB_PRUNE_CHANNELS, LMB_PRUNE_MAGNITUDE };

/* Rows that every method has; the others are lmb_prune_channel_fields and lmb_prune_magnitude_fields. */
extern const lmb_field lmb_prune_fields[];

/* Bind `student.prune`, whose rows depend on its `method`. */
LMB_MUST_CHECK lmb_status lmb_prune_bind(const struct lmb_tree *prune, lmb_prune_config *out, lmb_error *err);

/* The student that learns on: what step `step` of lmb_prune_steps() leaves of `student`, or for magnitudes a copy.
 * `dense`: before all steps. `train`: for criteria that look at data. lineage: where its numbers came from; NULL for
 * magnitudes, where all have stayed; may be NULL. */
LMB_MUST_CHECK lmb_status lmb_prune_student(const lmb_prune_config *c, int64_t step, const lmb_graph *dense,
                                            const lmb_graph *student, const lmb_dataset *train, lmb_graph **out,
                                            lmb_lineage **lineage, lmb_error *err);
/* How many times it is pruned and learns on. */
int64_t lmb_prune_steps(const lmb_prune_config *c);
/* Does each of these trainings begin with what the optimizer remembers of the one before? */
bool lmb_prune_carries(const lmb_prune_config *c);
/* The masks of that training on `samples` samples; NULL for channels. */
LMB_MUST_CHECK lmb_status lmb_prune_masks(const lmb_prune_config *c, const lmb_graph *student, int64_t samples,
                                          lmb_masks **out, lmb_error *err);
/* Is the student that has learnt on as sparse as it was to be? E_ARG if not. */
LMB_MUST_CHECK lmb_status lmb_prune_check(const lmb_prune_config *c, const lmb_graph *student, lmb_error *err);
/* Say to stdout what has been taken away, and what could not be. */
LMB_MUST_CHECK lmb_status lmb_prune_print(const lmb_prune_config *c, const lmb_graph *before, const lmb_graph *after,
                                          lmb_error *err);

#endif
