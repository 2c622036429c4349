/* federated/unmask_gpu.h - the masks of a secure sum come off on a GPU, and those of simulated clients go on there: the
 * same bits as federated/secagg/mask.c.
 *
 * Idea: a GPU is a help, never a condition. Where there is none, or it fails in the middle of a round, the log has
 * one sentence and the processor does the work; the sum is the same.
 *
 *   threads  those of its server; one at a time
 */
#ifndef LMB_FEDERATED_UNMASK_GPU_H
#define LMB_FEDERATED_UNMASK_GPU_H

#include "core/base/log.h"
#include "federated/secagg/mask.h"

typedef struct lmb_unmask_gpu lmb_unmask_gpu;

/* Never fails; `log` is borrowed and hears once which of the two it is; `doing`, borrowed, begins its sentences: "masks
 * come off". NULL without memory: the processor does the work. */
lmb_unmask_gpu *lmb_unmask_gpu_open(const char *doing, const lmb_log *log);
void lmb_unmask_gpu_close(lmb_unmask_gpu *u); /* NULL is a no-op */

/* lmb_masker.apply, with a lmb_unmask_gpu; pool: for the processor. */
lmb_status lmb_unmask_gpu_apply(void *ctx, lmb_ring_vector *v, const lmb_mask *masks, size_t n_masks, lmb_pool *pool,
                                lmb_error *err);

#endif
