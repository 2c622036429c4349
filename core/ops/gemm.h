/* core/ops/gemm.h - attributes of Gemm, for backends and passes. */
#ifndef LMB_CORE_OPS_GEMM_H
#define LMB_CORE_OPS_GEMM_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_gemm_attr { float alpha, beta; int64_t transA, transB; } lmb_gemm_attr;
typedef struct lmb_gemm_act_attr { lmb_gemm_attr gemm; const char *function; } lmb_gemm_act_attr; /* "Relu" or "" */
#ifdef __cplusplus
}
#endif
#endif
