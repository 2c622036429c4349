/* train/checkpoint.h - a training run in a file: stop at any instant, start again, end in the same bits.
 *
 * Idea: everything that a step depends on is in lmb_trainer_state; samples, augmentation and dropout are functions of
 * (seed, epoch, sample), so there is no generator to save. A save replaces the file at once (core/base/file.h), and the
 * checkpoint before stays beside it as "<path>.prev": whatever the instant of a crash, and even if a disk then spoils
 * the newest file, there is one to go on from. A run goes on only from a checkpoint of the very same configuration,
 * but for who works: train.backend and the number of train.pipeline.stages may be others. Keys that the program which
 * wrote it did not know may be there, if they are as nobody named them (core/base/agree.h).
 *
 *   file     core/store: state, ema, best, slot/0.. [count] f32; cursors and sums; the configuration and the choice of
 *            kernels as text; the layout's hash, and its layers as text, one a line, for people
 *   threads  one at a time (HDF5)
 */
#ifndef LMB_TRAIN_CHECKPOINT_H
#define LMB_TRAIN_CHECKPOINT_H

#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

/*   config  resolved, as text (lmb_fields_dump_marked): what a later load must agree with
 *   errors  E_IO: the disk; the checkpoint before is untouched, and nothing else is left */
LMB_MUST_CHECK lmb_status lmb_checkpoint_save(const char *path, const lmb_trainer_state *s, const char *config,
                                              lmb_error *err);
/* Into the vectors of a trainer that was created with the same configuration. Where the newest file is damaged, the one
 * before is taken and a warning given to `log` (may be NULL).
 *   errors  E_IO no file; E_FORMAT damaged; E_SHAPE another model, or other vectors; E_ARG another configuration,
 *           naming the first difference. The state is then untouched */
LMB_MUST_CHECK lmb_status lmb_checkpoint_load(const char *path, lmb_trainer_state *s, const char *config,
                                              const lmb_log *log, lmb_error *err);
/* Rank 0's state to all ranks; what ranks divide is left to lmb_trainer_scatter. */
LMB_MUST_CHECK lmb_status lmb_checkpoint_share(lmb_comm *c, lmb_trainer_state *s, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
