/* core/cpu/kernels.h - the kernels of core/cpu, one declaration each; table.c lists them. */
#ifndef LMB_CORE_CPU_KERNELS_H
#define LMB_CORE_CPU_KERNELS_H

#include "core/cpu/cpu.h"

extern const lmb_kernel lmbi_cpu_batch_norm, lmbi_cpu_batch_norm_grad, lmbi_cpu_batch_norm_act,
    lmbi_cpu_batch_norm_act_grad, lmbi_cpu_batch_norm_apply, lmbi_cpu_max_pool, lmbi_cpu_max_pool_grad,
    lmbi_cpu_average_pool, lmbi_cpu_average_pool_grad, lmbi_cpu_global_average_pool, lmbi_cpu_broadcast_area,
    lmbi_cpu_bias_grad, lmbi_cpu_relu, lmbi_cpu_relu_grad, lmbi_cpu_clip, lmbi_cpu_clip_grad, lmbi_cpu_add,
    lmbi_cpu_sub, lmbi_cpu_mul, lmbi_cpu_div;

extern const lmb_kernel lmbi_cpu_sum_to, lmbi_cpu_cross_entropy, lmbi_cpu_cross_entropy_grad, lmbi_cpu_dropout,
    lmbi_cpu_dropout_grad;

/* Convolutions and products of our own. */
extern const lmb_kernel lmbi_winograd_conv, lmbi_winograd_conv_act, lmbi_winograd_conv_data, lmbi_winograd_conv_weights;
extern const lmb_kernel lmbi_depthwise_conv, lmbi_depthwise_conv_act, lmbi_depthwise_conv_data,
    lmbi_depthwise_conv_weights;
/* large images */
extern const lmb_kernel lmbi_depthwise_wide_conv, lmbi_depthwise_wide_conv_act, lmbi_depthwise_wide_conv_data;
extern const lmb_kernel lmbi_stem_conv, lmbi_stem_conv_act;
extern const lmb_kernel lmbi_band_conv, lmbi_band_conv_act, lmbi_band_conv_data; /* depthwise 3x3 */
extern const lmb_kernel lmbi_own_conv, lmbi_own_conv_act, lmbi_own_conv_data, lmbi_own_conv_weights;
extern const lmb_kernel lmbi_own_product, lmbi_own_product_act; /* 1x1 of constant weights */
extern const lmb_kernel lmbi_own_gemm, lmbi_gemm_rows, lmbi_own_matmul;
/* Lists of them, best first: those that are faster than oneDNN's, and all. */
#define LMBI_WINOGRAD \
    &lmbi_winograd_conv, &lmbi_winograd_conv_act, &lmbi_winograd_conv_data, &lmbi_winograd_conv_weights
#define LMBI_SMALL \
    &lmbi_stem_conv, &lmbi_stem_conv_act, &lmbi_band_conv, &lmbi_band_conv_act, &lmbi_band_conv_data, \
    &lmbi_own_product, &lmbi_own_product_act
#define LMBI_AHEAD \
    LMBI_WINOGRAD, LMBI_SMALL, &lmbi_depthwise_wide_conv, &lmbi_depthwise_wide_conv_act, \
    &lmbi_depthwise_wide_conv_data, &lmbi_depthwise_conv_weights, &lmbi_gemm_rows
#define LMBI_OWN \
    LMBI_WINOGRAD, LMBI_SMALL, &lmbi_depthwise_conv, &lmbi_depthwise_conv_act, &lmbi_depthwise_conv_data, \
    &lmbi_depthwise_conv_weights, &lmbi_own_conv, &lmbi_own_conv_act, &lmbi_own_conv_data, &lmbi_own_conv_weights, \
    &lmbi_gemm_rows, &lmbi_own_gemm, &lmbi_own_matmul
/* The best kernels of this build, NULL-terminated: of ours where they are faster, and of oneDNN if there is one. */
extern const lmb_kernel *const lmbi_best_kernels[];

/* "oneDNN 2.6.3", or that there is none. */
void lmbi_onednn_version(char *text, size_t cap);

/* Feature maps in bf16 (bf16.c lists them): for processors with AVX-512 BF16, in builds with LMB_CPU_BF16. */
extern const lmb_kernel lmbi_bf16_batch_norm_act, lmbi_bf16_batch_norm_act_grad, lmbi_bf16_batch_norm_apply,
    lmbi_bf16_max_pool, lmbi_bf16_max_pool_grad, lmbi_bf16_global_average_pool, lmbi_bf16_broadcast_area,
    lmbi_bf16_bias_grad, lmbi_bf16_relu, lmbi_bf16_relu_grad, lmbi_bf16_clip, lmbi_bf16_clip_grad, lmbi_bf16_add,
    lmbi_bf16_winograd_conv, lmbi_bf16_winograd_conv_act, lmbi_bf16_winograd_conv_data, lmbi_bf16_winograd_conv_weights,
    lmbi_bf16_conv, lmbi_bf16_conv_weights;
const lmb_backend *lmbi_backend_onednn_bf16(void);

/* lmb_kernel.storage: every rank-4 operand in bf16; those of a convolution but the weights. */
lmb_dtype lmbi_bf16_activations(const lmb_call *c, int operand);
lmb_dtype lmbi_conv_bf16(const lmb_call *c, int operand);
/* Every operand of rank 3 or 4 in NHWC; a map of rank 3 is one of height 1. */
lmb_layout lmbi_all_nhwc(const lmb_call *c, int operand);
/* The convolution ops: activations NHWC, weights and their gradient plain. */
lmb_layout lmbi_conv_layout(const lmb_call *c, int operand);
static inline bool lmbi_is_map(const lmb_shape *s) { return s->n == 3 || s->n == 4; }
/* Its pixels. */
static inline int64_t lmbi_area(const lmb_shape *s) { return s->n == 3 ? s->d[2] : s->d[2] * s->d[3]; }
/* Operand i of a call, inputs first. */
static inline const lmb_type *lmbi_operand(const lmb_call *c, int i)
{
    return i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
}

#endif
