/* core/ops/attrs.h - attributes of ops that more than their own file reads: backends whose kernels replace them. What
 * the members mean is said where the op is. */
#ifndef LMB_CORE_OPS_ATTRS_H
#define LMB_CORE_OPS_ATTRS_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_unary_attr { float alpha, beta; const char *function; } lmb_unary_attr;
typedef struct lmb_axis_attr { int64_t axis; } lmb_axis_attr;
typedef struct lmb_kl_attr { float temperature; } lmb_kl_attr;
typedef struct lmb_decoupled_attr { float temperature, alpha, beta; } lmb_decoupled_attr;
typedef struct lmb_lp_attr { int64_t axis, p; } lmb_lp_attr;
typedef struct lmb_dropout_attr { int64_t seed; float ratio; } lmb_dropout_attr;
typedef struct lmb_slice_grad_attr { lmb_ints shape, starts, steps; } lmb_slice_grad_attr;
typedef struct lmb_pad_attr { const char *mode; lmb_ints shape, pads; } lmb_pad_attr;
typedef struct lmb_sum_to_attr { lmb_ints shape; } lmb_sum_to_attr;
typedef struct lmb_reduce_attr { lmb_ints axes; int64_t keepdims, noop_with_empty_axes; } lmb_reduce_attr;
typedef struct lmb_transpose_attr { lmb_ints perm; } lmb_transpose_attr;
typedef struct lmb_observe_attr { const char *mode; float momentum; } lmb_observe_attr;
typedef struct lmb_range_to_scale_attr { int64_t top, symmetric, power_of_two; } lmb_range_to_scale_attr;
typedef struct lmb_weight_scale_attr { int64_t axis, top, power_of_two; } lmb_weight_scale_attr;

#ifdef __cplusplus
}
#endif
#endif
