/* core/cuda/dnn.h - one convolution by cuDNN's graph API: described, planned, run.
 *
 * Idea: a convolution is a graph of one operation between three tensors. Describing it needs no device, so that it is
 * checked everywhere; planning asks the heuristics, passes over engines that are not reproducible or compute in less than
 * f32, and takes the first that can be made. Whoever calls has a kernel of its own for the case that there is none.
 *   source   cuDNN 9 documentation, Graph API, backend descriptors
 */
#ifndef LMB_CORE_CUDA_DNN_H
#define LMB_CORE_CUDA_DNN_H

#include "core/cuda/queue.h"
#include "core/ops/conv.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { LMBI_DNN_FORWARD, LMBI_DNN_DATA, LMBI_DNN_WEIGHTS } lmbi_dnn_kind;
typedef struct lmbi_dnn lmbi_dnn;
lmbi_dnn_kind lmbi_dnn_kind_of(const char *op);

/* f32, plain layout. */
lmb_status lmbi_dnn_describe(lmbi_dnn_kind kind, const lmb_conv *g, lmbi_dnn **out, lmb_error *err);
void lmbi_dnn_destroy(lmbi_dnn *d); /* NULL is fine */
/* E_UNSUPPORTED: no engine is fit. */
lmb_status lmbi_dnn_plan(lmbi_dnn *d, lmb_cuda_queue *q, lmb_error *err);
/* x, w, y of the forward convolution, or their gradients: the one that `kind` makes is written. */
lmb_status lmbi_dnn_run(lmbi_dnn *d, lmb_cuda_queue *q, const void *x, const void *w, const void *y, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
