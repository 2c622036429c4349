/* core/ops/batch_norm.h - attributes of BatchNormalization and its gradient, for backends and passes. */
#ifndef LMB_CORE_OPS_BATCH_NORM_H
#define LMB_CORE_OPS_BATCH_NORM_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* training_mode: statistics that are kept; of this batch; of the rows of all ranks (lmb_rank_sums), which is not ONNX's
 * (core/ops/batch_norm_ranks.c; on GPUs core/cuda/ops/norm_ranks.cu). */
enum { LMB_NORM_KEPT, LMB_NORM_BATCH, LMB_NORM_RANKS };
typedef struct lmb_batch_norm_attr { float epsilon, momentum; int64_t training_mode; } lmb_batch_norm_attr;
extern const lmb_attr_row lmb_batch_norm_rows[];

/* BatchNormAct and its gradient: function is "", "Relu" or "Clip". */
typedef struct lmb_batch_norm_act_attr {
    float epsilon, momentum, lo, hi;
    const char *function;
} lmb_batch_norm_act_attr;
extern const lmb_attr_row lmb_batch_norm_act_rows[];
#ifdef __cplusplus
}
#endif
#endif
