/* comm/window.h - ranks of one node sum a vector through memory that they share.
 *
 * Idea: every rank's vector lies in a part of one stretch of memory that all ranks of the node see. To sum positions
 * [at, at + n), a rank says that its vector is there and waits until all others have said so. Then each works off a
 * share of the positions, in all parts: it adds them up in place along the fixed tree of comm/collective.h, exchanges
 * that share with the rank of the same place on the other nodes, by messages, and copies the sum into every part. When
 * all have said that they are done, each rank finds the whole sum in its own part. The order of additions is that of
 * lmb_comm_reduce_all(), so the bits are the same.
 *
 * Who waits for another rank sleeps until that one wakes it: a core belongs to those who compute. At the end of a step,
 * when there is nothing to compute, it first looks for a while (lmb_wait_briefly).
 *
 *   threads  one sum at a time in a process, from any thread; if the node has not all ranks, as comm/collective.h says
 *   source   MPI-3.1, section 11.2.3 (shared windows); Hoefler et al. 2013, MPI + MPI; futex(2) with memory of several
 *            processes
 */
#ifndef LMB_COMM_WINDOW_H
#define LMB_COMM_WINDOW_H

#include "comm/collective.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_window lmb_window;

/* On all ranks at once. The node's ranks must be all there are, or, on every node, a power of two of neighbours and a
 * power of two of nodes. Else, or where no memory can be shared, *out is NULL on all ranks, and if `must`, E_PEER says
 * why.
 *   floats  room for this rank's vector */
LMB_MUST_CHECK lmb_status lmb_window_open(lmb_comm *c, size_t floats, bool must, lmb_window **out, lmb_error *err);
/* Hands the memory back to the communicator; no rank needs to wait. NULL is a no-op. */
void lmb_window_close(lmb_window *w);
float *lmb_window_vector(const lmb_window *w); /* [floats] of this rank, 64-byte aligned */
bool lmb_window_one_node(const lmb_window *w);

/* vector[at .. at + n) = combination over all ranks; see lmb_comm_reduce_all. `alert`: nothing else is to be done
 * meanwhile. */
LMB_MUST_CHECK lmb_status lmb_window_reduce(lmb_window *w, size_t at, size_t n, bool alert, lmb_combine combine,
                                            void *ctx, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
