/* distill/quantize/lower.h - a QDQ graph becomes integers alone: the `.lmb` that devices run.
 *
 * Idea: the graph says with QuantizeLinear and DequantizeLinear where integers are (qdq.h); lowering reads scales and
 * zero points off it and writes the same network in integer operators (core/edge/lmb.h has their semantics to the bit):
 * weights as s8, biases as s32 in units of input scale times weight scale (f32 ones to the nearest, bias_form.h), Relu
 * and Clip as clamps. What is reported of a quantised student is what this file answers, run by core/edge itself. A QDQ
 * graph that others made will do, if it keeps to the form.
 *
 *   source   Jacob et al. 2018, arXiv:1712.05877, section 2; ONNX Runtime QLinearConv, QLinearMatMul, QLinearAdd
 */
#ifndef LMB_DISTILL_QUANTIZE_LOWER_H
#define LMB_DISTILL_QUANTIZE_LOWER_H

#include "core/base/str.h"
#include "core/graph/graph.h"
#include "datasets/dataset.h"
#include "train/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Append the bytes of the `.lmb` to `out`; output: f32 logits.
 *   errors  E_UNSUPPORTED names the node that has no integer form or is not quantised */
LMB_MUST_CHECK lmb_status lmb_lower(const lmb_graph *qdq, lmb_str *out, lmb_error *err);

struct lmb_edge_model;
/* What programs of Limbeck give a model, whoever wrote it: E_UNSUPPORTED beyond that time or memory. */
LMB_MUST_CHECK lmb_status lmb_deploy_bounded(const struct lmb_edge_model *m, lmb_error *err);

typedef struct lmb_deploy_figures { double macs, parameters, bytes, latency_us, arena_bytes; } lmb_deploy_figures;

/* Run the file, plain or packed (core/edge/packed.h), over a data set of u8 images on `threads` threads.
 *   kernels   "scalar", ... of core/edge; LMB_DEPLOY_GPU: the same integers on a GPU; NULL: the best of this machine
 *   logits    [data->n, classes] or NULL
 *   figures   may be NULL; latency is the median of single predictions on one thread of the processor, whatever the
 *             kernels */
LMB_MUST_CHECK lmb_status lmb_deploy_evaluate(const void *file, size_t n, const lmb_dataset *data, const char *kernels,
                                              int threads, lmb_metrics *out, float *logits, lmb_deploy_figures *figures,
                                              lmb_error *err);
#define LMB_DEPLOY_GPU "cuda"
/* `kernels` where given, else those that go with train.backend: a GPU where it says cuda. */
const char *lmb_deploy_kernels(const char *kernels, const char *backend);

#ifdef __cplusplus
}
#endif
#endif
