/* distill/quantize/deploy_gpu.h - for deploy.c alone. */
#ifndef LMB_DISTILL_QUANTIZE_DEPLOY_GPU_H
#define LMB_DISTILL_QUANTIZE_DEPLOY_GPU_H

#include "core/edge/lmb.h"
#include "datasets/dataset.h"
#include "train/metrics.h"

/* Answers of `m` to all samples, which it fits, on GPU number 0; threads read the samples.
 *   errors  E_UNSUPPORTED, E_DEVICE: there is none, and what to do */
LMB_MUST_CHECK lmb_status lmbi_deploy_gpu(const lmb_edge_model *m, const lmb_dataset *data, int threads,
                                          lmb_metrics *out, float *logits, lmb_error *err);

#endif
