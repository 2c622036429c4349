/* train/checkpoint.h - a training run in a file: stop at any instant, start again, end in the same bits.
 *
 * Idea: everything that a step depends on is in lmb_trainer_state; samples, augmentation and dropout are functions of
 * (seed, epoch, sample), so there is no generator to save. The file is whole or the one before (core/store). A run goes
 * on only from a checkpoint of the very same configuration.
 *
 *   file     core/store: state, ema, best, slot/0.. [count] f32; cursors and sums; configuration text; hash of the layout
 *   threads  one at a time (HDF5)
 */
#ifndef LMB_TRAIN_CHECKPOINT_H
#define LMB_TRAIN_CHECKPOINT_H

#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

LMB_MUST_CHECK lmb_status lmb_checkpoint_save(const char *path, const lmb_trainer_state *s, const char *config, lmb_error *err);
/* Into the vectors of a trainer that was created with the same configuration.
 *   errors  E_FORMAT damaged; E_SHAPE another model; E_ARG another configuration. The state is then untouched */
LMB_MUST_CHECK lmb_status lmb_checkpoint_load(const char *path, lmb_trainer_state *s, const char *config, lmb_error *err);
/* Rank 0's state to all ranks. */
LMB_MUST_CHECK lmb_status lmb_checkpoint_share(lmb_comm *c, lmb_trainer_state *s, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
