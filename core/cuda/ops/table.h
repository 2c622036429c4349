/* core/cuda/ops/table.h - the kernels of the CUDA module: one of our own for every op, and those of libraries. */
#ifndef LMB_CORE_CUDA_OPS_TABLE_H
#define LMB_CORE_CUDA_OPS_TABLE_H

#include "core/cuda/cuda.h"
#include "core/ops/table.h"
#include "core/plan/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define X(name) extern const lmb_kernel lmbi_cuda_op_##name;
LMB_OPS(X)
#undef X

/* Of libraries, with the kernels above behind them; and the sum of two alike, which may have any order. */
#define LMB_CUDA_F32(X)                                                                                                \
    X(dnn_conv) X(dnn_conv_act) X(dnn_conv_grad_data) X(dnn_conv_grad_weights) X(blas_gemm) X(blas_gemm_act) \
    X(alike_add)

/* Over maps in NHWC: products in TF32, the rest in f32. */
#define LMB_CUDA_NHWC(X)                                                                                               \
    X(nhwc_batch_norm)                                                                                                 \
    X(nhwc_batch_norm_act) X(nhwc_batch_norm_act_grad) X(nhwc_batch_norm_apply) X(nhwc_max_pool) X(nhwc_max_pool_grad) \
        X(nhwc_average_pool) X(nhwc_average_pool_grad) X(nhwc_global_average_pool) X(nhwc_broadcast_to)                \
            X(nhwc_bias_grad)
#define LMB_CUDA_TF32(X)                                                                                         \
    X(dnn_tf32_conv) X(dnn_tf32_conv_act) X(dnn_tf32_conv_grad_data) X(dnn_tf32_conv_grad_weights) X(blas_tf32_gemm) \
    X(blas_tf32_gemm_act)                                                                                        \
    LMB_CUDA_NHWC(X)

/* Over maps in NHWC kept in bf16. */
#define LMB_CUDA_BF16_ROWS(X)                                                                                          \
    X(dnn_bf16_conv)                                                                                                   \
    X(dnn_bf16_conv_act) X(dnn_bf16_conv_grad_data) X(dnn_bf16_conv_grad_weights) X(blas_bf16_gemm) \
        X(blas_bf16_gemm_act) X(bf16_batch_norm)                                                                       \
        X(bf16_batch_norm_act) X(bf16_batch_norm_act_grad) X(bf16_batch_norm_apply) X(bf16_max_pool)                   \
            X(bf16_max_pool_grad) X(bf16_average_pool) X(bf16_average_pool_grad) X(bf16_global_average_pool)           \
                X(bf16_broadcast_to) X(bf16_bias_grad) X(bf16_relu) X(bf16_relu_grad) X(bf16_clip) X(bf16_clip_grad)   \
                    X(bf16_add)

/* Behind libraries alone. */
#define LMB_CUDA_BEHIND(X)                                                                    \
    X(nhwc_conv) X(nhwc_conv_act) X(nhwc_conv_grad_data) X(nhwc_conv_grad_weights) X(bf16_conv) \
    X(bf16_conv_act) X(bf16_conv_grad_data) X(bf16_conv_grad_weights) X(bf16_gemm) X(bf16_gemm_act)

#define X(name) extern const lmb_kernel lmbi_cuda_##name;
LMB_CUDA_F32(X)
LMB_CUDA_TF32(X)
LMB_CUDA_BF16_ROWS(X)
LMB_CUDA_BEHIND(X)
#undef X

/* Best first, NULL-terminated: f32; with TF32 before it; with bf16 before it. */
extern const lmb_kernel *const lmbi_cuda_kernels[], *const lmbi_cuda_kernels_tf32[], *const lmbi_cuda_kernels_bf16[];

/* dnn_conv.cu: make and describe the chain of a convolution. *links: its length without our own kernel.
 * E_UNSUPPORTED: cuDNN refused to be told of one of them. */
lmb_status lmbi_cuda_describe_conv(const lmb_call *c, lmb_cuda_precision precision, int *links, lmb_error *err);
/* maps.cu: the same f32 or bf16 numbers in another layout or type. q NULL: on the host. */
lmb_status lmbi_cuda_convert(const lmb_tensor *from, lmb_layout before, const lmb_tensor *to, lmb_layout after,
                             lmb_cuda_queue *q, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
