/* comm/nccl_abort.h - the end of a communicator that may not let itself be ended yet.
 *
 * Idea: ncclCommAbort() tells what is under way on the GPU to quit, at once, and then waits, of a communicator that
 * does not block as of any other, until all CUDA graphs with work of it are destroyed. Those are their owner's, who
 * hears of the failure from us and destroys them after that. So it runs on a thread of its own, and is waited for
 * twice: briefly, as that is all it takes without a graph, and again when the communicator is closed.
 *
 *   source   NCCL 2.28, ncclCommAbort; NVIDIA's "Process Hang" (CUDA Graphs, troubleshooting): from NCCL 2.26 on the
 *            end of a communicator polls until graphs that refer to it are gone
 */
#ifndef LMB_COMM_NCCL_ABORT_H
#define LMB_COMM_NCCL_ABORT_H

#include <stdbool.h>

#include "comm/nccl_api.h"

typedef struct lmbi_nccl_abort lmbi_nccl_abort;

/* NULL: it is over. */
lmbi_nccl_abort *lmbi_nccl_abort_begin(const lmb_nccl_api *api, void *comm);
/* Until it is over, for limit_s at most; true: it is, and *a is freed. false: it goes on for as long as the process. */
bool lmbi_nccl_abort_end(lmbi_nccl_abort *a, double limit_s);

#endif
