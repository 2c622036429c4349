/* core/ops/quantize.h - attributes of FakeQuant, for passes and backends. */
#ifndef LMB_CORE_OPS_QUANTIZE_H
#define LMB_CORE_OPS_QUANTIZE_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_fake_quant_attr { int64_t axis, lo, hi, learn; } lmb_fake_quant_attr;
extern const lmb_attr_row lmb_fake_quant_rows[];

/* The least 2^n >= s, for s > 0. */
float lmb_power_of_two(float s);
#ifdef __cplusplus
}
#endif
#endif
