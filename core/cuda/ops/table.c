/* core/cuda/ops/table.c - see table.h. */
#include "core/cuda/ops/table.h"

const lmb_kernel *const lmbi_cuda_kernels[] = {
#define X(name) &lmbi_cuda_##name,
    LMB_CUDA_LIBRARY_KERNELS(X)
#undef X
#define X(name) &lmbi_cuda_op_##name,
    LMB_OPS(X)
#undef X
    NULL,
};
