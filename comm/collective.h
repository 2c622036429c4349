/* comm/collective.h - ranks that work on one job: who am I, and summing a vector over all of us.
 *
 * Idea: one interface, two rows: `self` (one process, no MPI touched: a singleton MPI_Init costs 0.3 s) and
 * `mpi`, used only under mpirun or srun. Sums run along a fixed binary tree over the ranks (recursive doubling),
 * so the bits depend on the number of ranks only, and when that is a power of two the tree continues the tree
 * in which each rank sums its own shards (train/trainer.h).
 *
 *   errors   E_PEER names the rank and the operation
 *   threads  one call at a time in a process; from the thread that opened it, or, if `any_thread`, from any
 *   source   Thakur, Rabenseifner, Gropp 2005, section 4.2 (recursive doubling)
 */
#ifndef LMB_COMM_COLLECTIVE_H
#define LMB_COMM_COLLECTIVE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Memory that the ranks of one node share, a part for each. */
typedef struct lmb_shared {
    int n;              /* ranks on this node                   */
    int *rank;          /* [n] who they are, in ascending order */
    void **part;        /* [n] theirs, in the same order        */
} lmb_shared;

typedef struct lmb_comm lmb_comm;
struct lmb_comm {
    int rank, size;
    const char *name;  /* "self", "mpi" */
    /* Send n bytes to `to` and receive n bytes from `from`; either may be -1. */
    lmb_status (*exchange)(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *err);
    lmb_status (*broadcast)(lmb_comm *c, void *data, size_t n, int root, lmb_error *err);
    lmb_status (*gather_all)(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *err); /* all: [size, n] */
    void (*close)(lmb_comm *c);
    void (*abort)(lmb_comm *c, int code); /* ends all ranks; does not return under MPI */
    bool any_thread;   /* calls need not come from the thread that opened it */
    /* On all ranks at once: `bytes` of shared memory for each rank, page-aligned, zeroed when new. The communicator
     * owns it; what is handed back serves later calls and keeps its content. NULL: there is no shared memory. */
    lmb_status (*share)(lmb_comm *c, size_t bytes, const lmb_shared **out, lmb_error *err);
    void (*unshare)(lmb_comm *c, const lmb_shared *s);
};

/* The job this process was started in. Refuses to run as a lone process where a launcher started several that
 * do not know of each other: E_PEER says how to start it. */
LMB_MUST_CHECK lmb_status lmb_comm_open(lmb_comm **out, lmb_error *err);
void lmb_comm_close(lmb_comm *c); /* NULL is a no-op */

/* into[0 .. n) = into combined with from, elements at .. at + n of what is summed. Must be commutative in its bits. */
typedef void (*lmb_combine)(void *ctx, float *into, const float *from, size_t at, size_t n);
/* v[0 .. n) = combination over all ranks; scratch: n floats. Every rank ends with the same bits. */
LMB_MUST_CHECK lmb_status lmb_comm_reduce_all(lmb_comm *c, float *v, float *scratch, size_t n, lmb_combine combine,
                                              void *ctx, lmb_error *err);
int lmbi_comm_power(int n); /* the largest power of two up to n */
/* The same for elements at .. at + n of what is summed, over the ranks that are a multiple of `stride` apart. */
lmb_status lmbi_comm_reduce_stride(lmb_comm *c, int stride, float *v, float *scratch, size_t at, size_t n,
                                   lmb_combine combine, void *ctx, lmb_error *err);
/* E_PEER names the ranks whose n bytes differ from rank 0's; `what` says what they are ("configuration"). */
LMB_MUST_CHECK lmb_status lmb_comm_agree(lmb_comm *c, const char *what, const void *mine, size_t n, lmb_error *err);

lmb_status lmbi_comm_open_self(lmb_comm **out, lmb_error *err);
lmb_status lmbi_comm_open_mpi(lmb_comm **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
