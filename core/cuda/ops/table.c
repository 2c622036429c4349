/* core/cuda/ops/table.c - see table.h. */
#include "core/cuda/ops/table.h"

#define X(name) &lmbi_cuda_op_##name,
#define Y(name) &lmbi_cuda_##name,
const lmb_kernel *const lmbi_cuda_kernels[] = { LMB_CUDA_F32(Y) LMB_OPS(X) NULL };
const lmb_kernel *const lmbi_cuda_kernels_tf32[] = { LMB_CUDA_TF32(Y) LMB_CUDA_F32(Y) LMB_OPS(X) NULL };
const lmb_kernel *const lmbi_cuda_kernels_bf16[] = { LMB_CUDA_BF16_ROWS(Y) LMB_CUDA_F32(Y) LMB_OPS(X) NULL };
