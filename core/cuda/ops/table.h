/* core/cuda/ops/table.h - the kernels of the CUDA module: one of our own for every op, and those of libraries. */
#ifndef LMB_CORE_CUDA_OPS_TABLE_H
#define LMB_CORE_CUDA_OPS_TABLE_H

#include "core/ops/table.h"
#include "core/plan/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define X(name) extern const lmb_kernel lmbi_cuda_op_##name;
LMB_OPS(X)
#undef X

/* Of libraries, with the kernels above behind them. */
#define LMB_CUDA_LIBRARY_KERNELS(X) X(dnn_conv) X(dnn_conv_act) X(dnn_conv_grad_data) X(dnn_conv_grad_weights) X(blas_gemm)
#define X(name) extern const lmb_kernel lmbi_cuda_##name;
LMB_CUDA_LIBRARY_KERNELS(X)
#undef X

extern const lmb_kernel *const lmbi_cuda_kernels[]; /* best first, NULL-terminated */

#ifdef __cplusplus
}
#endif
#endif
