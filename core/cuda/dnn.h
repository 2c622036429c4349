/* core/cuda/dnn.h - one convolution by cuDNN's graph API: described, planned, run.
 *
 * Idea: a convolution is a graph of one operation between three tensors, and what follows it (a sum, a bias, an
 * activation) may be part of the same graph. Describing needs no device, so that it is checked everywhere; planning
 * asks the heuristics, passes over engines that are not reproducible or compute in less than was asked for, and makes
 * the first that can be made, or the first few, for whoever times them (contest.h). Whoever calls has a simpler graph,
 * or a kernel of its own, for the case that there is none.
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

/* How the operands are kept. Strides tell cuDNN the order, so that nothing is copied for it. */
typedef struct lmbi_dnn_form {
    lmb_dtype maps, weights; /* LMB_F32 or LMB_BF16; weights: w, or its gradient */
    bool maps_nhwc, weights_nhwc;
    bool tensor_cores; /* f32 operands may be multiplied in TF32 */
} lmbi_dnn_form;

/* y = act(x * w + add + bias); all zero: the convolution alone. */
typedef struct lmbi_dnn_ending {
    bool bias, add; /* bias is f32 [k], add is like y */
    char function;  /* 0, 'R'elu, or 'C'lip from 0 to hi */
    float hi;
} lmbi_dnn_ending;

typedef struct lmbi_dnn_operands { const void *x, *w, *y, *bias, *add; } lmbi_dnn_operands;

lmb_status lmbi_dnn_describe(lmbi_dnn_kind kind, const lmb_conv *g, const lmbi_dnn_form *form,
                             const lmbi_dnn_ending *ending, lmbi_dnn **out, lmb_error *err);
void lmbi_dnn_destroy(lmbi_dnn *d); /* NULL is fine */
enum { LMBI_DNN_TRIED = 4 };
/* Make the first engines that are fit, as the heuristics order them, `most` (1 to LMBI_DNN_TRIED) at most; none is
 * taken yet. E_UNSUPPORTED: none is fit. */
lmb_status lmbi_dnn_plan(lmbi_dnn *d, lmb_cuda_queue *q, int most, lmb_error *err);
/* Make one alone: that at `place`, which a plan for the same description in this process has told. */
lmb_status lmbi_dnn_plan_only(lmbi_dnn *d, lmb_cuda_queue *q, int place, lmb_error *err);
int lmbi_dnn_made(const lmbi_dnn *d);
int lmbi_dnn_place(const lmbi_dnn *d, int i);
int64_t lmbi_dnn_engine(const lmbi_dnn *d, int i); /* cuDNN's number of it; -1: of that which was taken */
/* From now on the i-th runs; there is memory for its work. */
lmb_status lmbi_dnn_take(lmbi_dnn *d, lmb_cuda_queue *q, int i, lmb_error *err);
/* It is taken for good, and the others' memory given back; i = -1: all of them. */
void lmbi_dnn_keep(lmbi_dnn *d, int i);
/* x, w, y of the forward convolution, or their gradients: the one that the kind makes is written. Aligned to 16
 * bytes. */
lmb_status lmbi_dnn_run(lmbi_dnn *d, lmb_cuda_queue *q, const lmbi_dnn_operands *o, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
