/* train/checkpoint_model.h - the model out of a checkpoint: for a teacher that was trained elsewhere and never
 * exported.
 *
 * Idea: a checkpoint holds the configuration it was made by, and so the `model` it was made of: the model is built
 * again and filled with the weights that its training would have handed on: those of the best validation, else the
 * averaged ones, else the last.
 */
#ifndef LMB_TRAIN_CHECKPOINT_MODEL_H
#define LMB_TRAIN_CHECKPOINT_MODEL_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/*   sample, classes  of the data it is wanted for: its configuration may name data that is not here
 *   errors           E_IO, E_FORMAT for no sound checkpoint; E_SHAPE when no model of its configuration has its weights
 *                    for such samples: other data, or a model that was changed after it was built (pruned,
 *                    quantised) */
LMB_MUST_CHECK lmb_status lmb_checkpoint_model(const char *path, const lmb_shape *sample, int classes, lmb_graph **out,
                                               lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
