/* core/ops/pool.h - geometry of pooling, shared by the ops and every backend's kernels. */
#ifndef LMB_CORE_OPS_POOL_H
#define LMB_CORE_OPS_POOL_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_pool_attr {
    const char *auto_pad;
    lmb_ints kernel_shape, strides, pads, dilations;
    int64_t ceil_mode, count_include_pad, storage_order;
    lmb_ints shape; /* gradient ops: shape of the result */
} lmb_pool_attr;

/* Pooling over 1 to 3 spatial dimensions written as three (missing leading ones have size 1). */
typedef struct lmb_pooling {
    int64_t n, c;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3], after[3];
} lmb_pooling;

LMB_MUST_CHECK lmb_status lmb_pooling_of(const lmb_pool_attr *a, const lmb_shape *x, lmb_pooling *out, lmb_error *err);
#ifdef __cplusplus
}
#endif
#endif
