/* train/device_stages.h - what is between GPUs that have stages of one model: the seam of train/device_sum.h for
 * train.pipeline.
 *
 * Idea: one communicator of all ranks takes letters between neighbours (train/pipeline_device.c) and, once a step, the
 * squares of all chunks and the sums over samples to everybody, so that the gradient's norm is added up in the order of
 * the whole state, as one GPU does. Where several pipelines stand side by side, a second communicator of the ranks with
 * the same stages sums their gradients (train/device_nccl.h).
 */
#ifndef LMB_TRAIN_DEVICE_STAGES_H
#define LMB_TRAIN_DEVICE_STAGES_H

#include "train/device_nccl.h"

/* On all ranks at once. of_one: ranks of a pipeline, neighbours in their order. */
LMB_MUST_CHECK lmb_status lmbi_device_stages_open(lmb_comm *c, const lmb_nccl_api *api,
                                                  const lmbi_device_nccl_options *o, int of_one, lmb_device_sum **out,
                                                  lmb_error *err);
lmb_nccl *lmbi_device_stages_nccl(const lmb_device_sum *s); /* of all ranks */
/* Before a resident step prepares it. Borrowed: the whole state, and [segments] whose rank of the pipeline. */
void lmbi_device_stages_owners(lmb_device_sum *s, const lmb_state_layout *l, const int *owner);
void lmbi_device_stages_watch(lmb_device_sum *s, lmb_watch *w);

#endif
