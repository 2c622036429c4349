/* distill/quantize/clamp_pair.h - a clamp of integers in a QDQ graph stands between two pairs.
 *
 * Idea: runtimes make one integer operator of DequantizeLinear, layer, QuantizeLinear. A Relu or Clip in between is
 * theirs to drop where saturation does the same, such as a Relu before zero point 0. One that bites, such as a Relu
 * before zero point 128 or the bounds of a range of fewer than 8 bits, stops ONNX Runtime, which then computes the layer
 * in floats, whose sums round. So the layer gets a pair of its own, with the scale and zero point of the one behind the
 * clamp: what saturates first and is clamped then is what is clamped at once, and all integers stay as they were.
 *
 *   errors  none of its own: where a clamp has another reader, or no constants around it, it stays as it is
 */
#ifndef LMB_DISTILL_QUANTIZE_CLAMP_PAIR_H
#define LMB_DISTILL_QUANTIZE_CLAMP_PAIR_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

LMB_MUST_CHECK lmb_status lmb_pass_clamp_pair(const lmb_graph *qdq, lmb_graph **out, lmb_error *err);

/* What a Relu or Clip leaves of the bytes lo .. hi of a scale and zero point of u8. False: its bounds are not constant. */
bool lmb_clamp_bytes(const lmb_graph *g, const lmb_node *clamp, float scale, int zero, float *lo, float *hi);
/* The QuantizeLinear that x comes to by nothing but Relu and Clip, whose readers are alone; NULL: none. */
const lmb_node *lmb_clamp_end(const lmb_graph *g, lmb_vid x);
bool lmb_is_clamp(const lmb_node *n);

#ifdef __cplusplus
}
#endif
#endif
