/* core/ops/quantize.h - attributes of FakeQuant, for passes and backends. */
#ifndef LMB_CORE_OPS_QUANTIZE_H
#define LMB_CORE_OPS_QUANTIZE_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_fake_quant_attr { int64_t axis, lo, hi; } lmb_fake_quant_attr;
extern const lmb_attr_row lmb_fake_quant_rows[];
#ifdef __cplusplus
}
#endif
#endif
