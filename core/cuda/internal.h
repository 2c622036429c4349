/* core/cuda/internal.h - what the files of the CUDA module share. */
#ifndef LMB_CORE_CUDA_INTERNAL_H
#define LMB_CORE_CUDA_INTERNAL_H

#include <cuda_runtime_api.h>

#include "core/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* E_DEVICE: "<doing>: <what CUDA says>; <what to do>", and forget the error on CUDA's side. LMB_OK stays. */
lmb_status lmbi_cuda_check(cudaError_t e, const char *doing, lmb_error *err);

/* kernels.cu */
lmb_status lmbi_cuda_relu(const float *x, float *y, size_t n, lmb_cuda_stream *s, lmb_error *err);
lmb_status lmbi_cuda_sgd_momentum(float *w, const float *g, float *v, size_t n, float lr, float momentum,
                                  float weight_decay, bool nesterov, lmb_cuda_stream *s, lmb_error *err);
/* int8.cu, chacha.cu */
lmb_status lmbi_cuda_int8_step(const lmb_int8_step *s, int64_t n, lmb_cuda_queue *q, lmb_error *err);
lmb_status lmbi_cuda_chacha_add(const lmb_chacha_job *j, lmb_cuda_queue *q, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
