/* tests/core/cuda/played.h - what the files of the played GPU share: see played.c. */
#ifndef LMB_TESTS_CORE_CUDA_PLAYED_H
#define LMB_TESTS_CORE_CUDA_PLAYED_H

#include "core/cuda/cuda.h"

struct lmb_cuda_queue {
    lmb_cuda_stream *stream;
    bool measures;
    lmb_cuda_known known;
    double limit, spent; /* seconds of contests */
};

/* Put run(what) on a stream, or into what is being recorded there. `what` is malloc'd and freed when it is done
 * with. */
void lmbi_played_defer(lmb_cuda_stream *s, lmb_status (*run)(void *what, lmb_error *err), void *what);
/* A kernel with several ways runs for the first time, on operands of a shape that `shape` tells. */
void lmbi_played_measure(lmb_cuda_queue *q, const char *shape);
void lmbi_played_finish(void); /* everything on all streams */
/* played_kernels.c: wrappers of a table of our module's kernels that put themselves off; NULL-terminated; t: 0, 1, 2 */
const lmb_kernel *const *lmbi_played_kernels(const lmb_cuda_api *api, const lmb_kernel *const *ours, int t);
lmb_status lmbi_played_convert(const lmb_tensor *from, lmb_layout before, const lmb_tensor *to, lmb_layout after,
                               lmb_cuda_queue *q, lmb_error *err);

/* played_steps.c: integer networks and keystreams put themselves off */
void lmbi_played_steps(lmb_cuda_api *table, const lmb_cuda_api *ours);

#endif
