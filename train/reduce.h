/* train/reduce.h - summing what the shards of a batch have left, while the last of them are still at work.
 *
 * Idea: each shard slot of this rank has one vector, [LMBI_SUMS + state count]. They are summed along a fixed binary
 * tree over the slots and then over the ranks. The vector is cut into buckets from its end to its front, which is
 * about the order in which a backward pass finishes gradients. As soon as the slots of this rank have all handed over
 * a bucket, a thread of the reducer's own sums it and exchanges it with the other ranks, bucket by bucket in the same
 * order on all ranks, while the backward pass goes on. What is added to what is the same with and without that thread,
 * and with any size of buckets, so the bits are.
 *
 * A slot has a weight, its share of the batch, which its vector is multiplied by as the tree first reads it; minima and
 * maxima are not weighed.
 *
 * Ranks of one node sum through memory that they share (comm/window.h), others by messages; again the bits are the
 * same.
 *
 * A rank without samples (the short last batch of an epoch) takes part with the neutral element: -0 for sums, which
 * changes no bit of anything added to it, and infinities for minima and maxima.
 *
 *   threads  done() from any; the rest from the thread that trains. Between begin() and end() the communicator is the
 *            reducer's. There is a thread only if there are several ranks, several buckets, and the communicator, if
 *            it is needed, may be used by another thread than the first (comm/collective.h); else end() does all the
 *            work
 *   source   Li et al. 2020, PyTorch Distributed, arXiv:2006.15704, section 3.2: buckets, overlap
 */
#ifndef LMB_TRAIN_REDUCE_H
#define LMB_TRAIN_REDUCE_H

#include "comm/window.h"
#include "core/base/threads.h"
#include "core/base/trace.h"
#include "train/sum_tree.h"

typedef struct lmbi_reducer lmbi_reducer;

/* lmb_train_config.reduce: auto is the window where there can be one, or between GPUs NCCL (train/device_nccl.h),
 * which is no matter of this file */
enum { LMBI_AUTO, LMBI_WINDOW, LMBI_MESSAGES, LMBI_NCCL };

/*   way           one of the above
 *   stride        sums are over the ranks that are a multiple of it apart, by messages; 1: over all
 *   bucket_bytes  buckets are whole segments and at least so large; 0: one bucket, nothing is done ahead */
LMB_MUST_CHECK lmb_status lmbi_reducer_create(const lmb_state_layout *l, lmb_comm *comm, int slots, size_t bucket_bytes,
                                              int way, int stride, lmbi_reducer **out, lmb_error *err);
void lmbi_reducer_destroy(lmbi_reducer *r); /* NULL is a no-op */
/* Leave a span for each bucket's sum, as long as the trace wants fine spans. Borrowed; NULL: none. */
void lmbi_reducer_trace(lmbi_reducer *r, lmb_trace *t);
/* Slots may leave gradients as what they are products of, factors[slot][segment] with rows > 0, which are then
 * multiplied as they are summed. All slots of all ranks do so for the same segments. Borrowed; NULL: they do not. */
void lmbi_reducer_factors(lmbi_reducer *r, lmb_factors *const *factors);
/* Leave sums over ranks in parts, as lmb_comm_reduce_scatter() does; cut: [buckets], from a bucket's front. Borrowed;
 * way must be LMBI_MESSAGES and stride 1. */
void lmbi_reducer_scatter(lmbi_reducer *r, const size_t *const *cut);
float *lmbi_reducer_slot(const lmbi_reducer *r, int slot);
int lmbi_reducer_buckets(const lmbi_reducer *r);
const lmbi_bucket *lmbi_reducer_bucket(const lmbi_reducer *r, int bucket);

/* A batch begins in which slots [0, filled) get something; weight: [filled]. */
void lmbi_reducer_begin(lmbi_reducer *r, int filled, const float *weight);
/* One more slot has finished a bucket and will not touch it again. */
void lmbi_reducer_done(lmbi_reducer *r, int bucket);
/* Every slot has finished every bucket, or `given_up`: then the batch ends without a sum. `*sum`: a vector, the same on
 * all ranks (but for parts that others keep), the caller's to change until the next begin(). `pool` may help. */
LMB_MUST_CHECK lmb_status lmbi_reducer_end(lmbi_reducer *r, lmb_pool *pool, bool given_up, float **sum, lmb_error *err);

#endif
