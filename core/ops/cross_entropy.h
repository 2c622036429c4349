/* core/ops/cross_entropy.h - attributes of SoftmaxCrossEntropyLoss and its gradient, for backends. */
#ifndef LMB_CORE_OPS_CROSS_ENTROPY_H
#define LMB_CORE_OPS_CROSS_ENTROPY_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* reduction: "mean", "sum" or "none"; INT64_MIN stands for "no ignore_index". */
typedef struct lmb_cross_entropy_attr { const char *reduction; int64_t ignore_index; } lmb_cross_entropy_attr;
extern const lmb_op lmb_op_cross_entropy, lmb_op_cross_entropy_grad;
#ifdef __cplusplus
}
#endif
#endif
