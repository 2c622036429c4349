/* core/cuda/ops/table.h - every kernel of the CUDA module, one line each; core/cuda/ops/table.c makes the list. */
#ifndef LMB_CORE_CUDA_OPS_TABLE_H
#define LMB_CORE_CUDA_OPS_TABLE_H

#include "core/plan/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LMB_CUDA_KERNELS(X)   \
    X(add)                    \
    X(average_pool)           \
    X(average_pool_grad)      \
    X(batch_norm)             \
    X(batch_norm_act)         \
    X(batch_norm_act_grad)    \
    X(batch_norm_apply)       \
    X(batch_norm_grad)        \
    X(bias_grad)              \
    X(broadcast_to)           \
    X(clip)                   \
    X(clip_grad)              \
    X(concat)                 \
    X(conv)                   \
    X(conv_act)               \
    X(conv_grad_data)         \
    X(conv_grad_weights)      \
    X(cross_entropy)          \
    X(cross_entropy_grad)     \
    X(decoupled_kl)           \
    X(decoupled_kl_grad)      \
    X(dequantize)             \
    X(div)                    \
    X(dropout)                \
    X(dropout_grad)           \
    X(fake_quant)             \
    X(fake_quant_grad)        \
    X(flatten)                \
    X(gemm)                   \
    X(global_average_pool)    \
    X(global_max_pool)        \
    X(global_max_pool_grad)   \
    X(hard_sigmoid)           \
    X(hard_swish)             \
    X(identity)               \
    X(kl_divergence)          \
    X(kl_divergence_grad)     \
    X(leaky_relu)             \
    X(log_softmax)            \
    X(log_softmax_grad)       \
    X(lp_normalization)       \
    X(lp_normalization_grad)  \
    X(matmul)                 \
    X(max_pool)               \
    X(max_pool_grad)          \
    X(mul)                    \
    X(observe_range)          \
    X(pad)                    \
    X(pad_grad)               \
    X(quantize)               \
    X(range_to_scale)         \
    X(reduce_mean)            \
    X(reduce_sum)             \
    X(relu)                   \
    X(relu_grad)              \
    X(reshape)                \
    X(sigmoid)                \
    X(slice)                  \
    X(slice_grad)             \
    X(softmax)                \
    X(softmax_grad)           \
    X(sub)                    \
    X(sum_to)                 \
    X(tanh)                   \
    X(transpose)              \
    X(unary_grad)             \
    X(weight_scale)

#define X(name) extern const lmb_kernel lmbi_cuda_op_##name;
LMB_CUDA_KERNELS(X)
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
