/* core/cuda/int8_pack.h - an op of a .lmb as a step of core/cuda/steps.h. For int8.c alone. */
#ifndef LMB_CORE_CUDA_INT8_PACK_H
#define LMB_CORE_CUDA_INT8_PACK_H

#include "core/base/str.h"
#include "core/cuda/steps.h"
#include "core/edge/lmb.h"

enum { LMBI_INT8_ALIGN = 64, LMBI_INT8_CONSTANTS_MAX = 1 << 30 };

/* Op i into steps of which there are at most LMB_EDGE_MAX_INPUTS; n: how many. Constants are appended to `blob`.
 * Where a step has pointers, these are offsets: of constants in the blob, of tensors in the arena of one example.
 * `lmbi_int8_place` makes them pointers, once both have their place on the device.
 *   errors  E_UNSUPPORTED, E_NOMEM */
LMB_MUST_CHECK lmb_status lmbi_int8_pack(const lmb_edge_model *m, uint32_t i, lmb_str *blob, lmb_int8_step *step,
                                         int *n, lmb_error *err);
void lmbi_int8_place(lmb_int8_step *s, uint8_t *constants, uint8_t *arena, int64_t batch);

#endif
