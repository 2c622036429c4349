/* distill/quantize/bias_form.h - biases of a QDQ graph, as s32 behind a DequantizeLinear or as f32 constants.
 *
 * Idea: to integers a bias is a whole number of steps of input scale times weight scale, and our graphs say so (qdq.h).
 * Some runtimes take no DequantizeLinear of s32 and want the same number in f32. Both ways say the same: what was whole
 * steps comes back as these, to the integer below 2^23 and to 1 in 2^24 of it above, which is all that an f32 holds.
 *
 *   source  TensorRT's ONNX parser: "DequantizeLinear: only activation types allowed as input to this layer"
 */
#ifndef LMB_DISTILL_QUANTIZE_BIAS_FORM_H
#define LMB_DISTILL_QUANTIZE_BIAS_FORM_H

#include "core/passes/rewrite.h"

#ifdef __cplusplus
extern "C" {
#endif

/* f32 biases of layers whose input and weights are dequantised become s32, to the nearest step. *out is the caller's;
 * NULL: there are none.
 *   errors  E_UNSUPPORTED names the layer: a bias that is no number, or beyond s32 in these steps */
LMB_MUST_CHECK lmb_status lmb_pass_integer_bias(const lmb_graph *qdq, lmb_graph **out, lmb_error *err);

/* For a rewrite's node: is it a DequantizeLinear of s32 constants? */
bool lmb_is_integer_bias(const lmb_graph *g, const lmb_node *n);
/* What it makes, as an f32 constant in its place. */
LMB_MUST_CHECK lmb_status lmb_float_bias(lmb_rewrite *r, const lmb_node *n, lmb_vid *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
