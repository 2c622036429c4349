/* distill/quantize/narrow.h - a float model that feels the rounding of its few-bit weights while it trains.
 *
 * Idea: weights of Conv and Gemm for which the model says few bits (lmb_value.bits, LMB_BITS_FEW at most: 7 cost as
 * little as 8) go through FakeQuant; all else stays as it is, BatchNormalization too. Rows have a scale each, taken
 * from the largest weight of the row, and folding BatchNormalization multiplies whole rows: rounding and folding can
 * change places, and what is trained here is what the folded integers will be (with scales that are powers of two,
 * nearly). Activations of 8 bits cost next to
 * nothing and are left to the last training.
 *
 *   source   gradients: straight through (distill/quantize/qat.h)
 */
#ifndef LMB_DISTILL_QUANTIZE_NARROW_H
#define LMB_DISTILL_QUANTIZE_NARROW_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out is NULL where no layer has few bits. What it has learnt goes back into `g` by lmb_objective_finish: the
 * names of its parameters are those of `g`. */
LMB_MUST_CHECK lmb_status lmb_pass_narrow(const lmb_graph *g, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
