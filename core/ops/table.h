/* core/ops/table.h - every op, one line each. Adding an op touches this line, the op's own file and its test; a backend
 * that promises a kernel for each (core/cuda/ops) goes by this list too. */
#ifndef LMB_CORE_OPS_TABLE_H
#define LMB_CORE_OPS_TABLE_H

#define LMB_OPS(X)            \
    X(add)                  \
    X(average_pool)         \
    X(average_pool_grad)    \
    X(batch_norm)           \
    X(batch_norm_act)       \
    X(batch_norm_act_grad)  \
    X(batch_norm_apply)     \
    X(batch_norm_grad)      \
    X(bias_grad)            \
    X(broadcast_to)         \
    X(clip)                 \
    X(clip_grad)            \
    X(concat)               \
    X(conv)                 \
    X(conv_act)             \
    X(conv_grad_data)       \
    X(conv_grad_weights)    \
    X(cross_entropy)        \
    X(cross_entropy_grad)   \
    X(decoupled_kl)         \
    X(decoupled_kl_grad)    \
    X(dequantize)           \
    X(div)                  \
    X(dropout)              \
    X(dropout_grad)         \
    X(fake_quant)           \
    X(fake_quant_grad)      \
    X(flatten)              \
    X(gemm)                 \
    X(gemm_act)             \
    X(global_average_pool)  \
    X(global_max_pool)      \
    X(global_max_pool_grad) \
    X(hard_sigmoid)         \
    X(hard_swish)           \
    X(identity)             \
    X(kl_divergence)        \
    X(kl_divergence_grad)   \
    X(leaky_relu)           \
    X(log_softmax)          \
    X(log_softmax_grad)     \
    X(lp_normalization)     \
    X(lp_normalization_grad) \
    X(matmul)               \
    X(max_pool)             \
    X(max_pool_grad)        \
    X(mul)                  \
    X(observe_range)        \
    X(pad)                  \
    X(pad_grad)             \
    X(quantize)             \
    X(range_to_scale)       \
    X(reduce_mean)          \
    X(reduce_sum)           \
    X(relu)                 \
    X(relu_grad)            \
    X(reshape)              \
    X(sigmoid)              \
    X(slice)                \
    X(slice_grad)           \
    X(softmax)              \
    X(softmax_grad)         \
    X(sub)                  \
    X(sum_to)               \
    X(tanh)                 \
    X(transpose)            \
    X(unary_grad)           \
    X(weight_scale)

#endif
