/* train/device_nccl.h - the gradients of several GPUs, summed by NCCL: what stands behind train/device_sum.h.
 *
 * Idea: each bucket is one piece of work on NCCL's own stream, which an event holds back until the backward pass has
 * made it final; the stream of the step waits for all of them when it needs the sums. Segments that take a minimum or
 * maximum are ranges of their own within the piece. With parts (train.shard_optimizer, ZeRO-1) each rank owns a share
 * of every bucket in whole chunks: a range goes to its owner alone, and new weights go out from it. Sums in bf16
 * (train.reduce_type) move half the bytes; sums over samples, minima and maxima stay f32.
 *
 *   order    one ring and one protocol with `fixed_order` (comm/nccl.h): the same bits at equal numbers of ranks, but
 *            not those of another number, as ranks of the host have
 *   source   Rajbhandari et al. 2020, ZeRO, arXiv:1910.02054, section 5.1; Li et al. 2020, PyTorch Distributed,
 *            section 3.2
 */
#ifndef LMB_TRAIN_DEVICE_NCCL_H
#define LMB_TRAIN_DEVICE_NCCL_H

#include "comm/nccl.h"
#include "train/device_sum.h"

typedef struct lmbi_device_nccl_options {
    lmb_nccl_options nccl;
    void *stream; /* of the device: where everything else happens */
    bool narrow;  /* sums in bf16 */
    bool sharded; /* ranks own parts */
} lmbi_device_nccl_options;

/* On all ranks at once; `c` and `api` must outlive *out, which its close() ends with the communicator. */
LMB_MUST_CHECK lmb_status lmbi_device_nccl_open(lmb_comm *c, const lmb_nccl_api *api, const lmbi_device_nccl_options *o,
                                                lmb_device_sum **out, lmb_error *err);
void lmbi_device_nccl_abort(lmb_device_sum *s); /* lmb_nccl_abort */
/* The noticeboard of the ranks, once there is one. */
void lmbi_device_nccl_watch(lmb_device_sum *s, lmb_watch *w);

#endif
