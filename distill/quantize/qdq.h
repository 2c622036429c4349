/* distill/quantize/qdq.h - a frozen quantised student in ONNX's own words: QuantizeLinear and DequantizeLinear.
 *
 * Idea: FakeQuant says "here are integers"; ONNX says the same with a pair of nodes around the tensor, and weights and
 * biases as integer constants behind a DequantizeLinear. This graph is the one truth about a deployed model: written as
 * an ONNX file (opset 13) it is what other runtimes load, lowered (lower.h) it is the `.lmb`, and read back from a file
 * it lowers to the same bytes. Runtimes that fuse the pairs compute integers; ONNX Runtime on x86 with VNNI computes
 * ours, to the bit.
 *
 *   input    f32, raw bytes 0 .. 255: QuantizeLinear with scale 1 makes them u8, the DequantizeLinear behind it has the
 *            normalisation as its scale and zero point
 *   weights  s8 in -127 .. 127, a scale for each output channel; biases s32 with scale s_x s_w[c]
 *   between  u8, one scale and zero point a tensor; what Relu and Clip do is what saturation does anyway, where an
 *            observer saw their output, so that no runtime needs to compute them. Relu stays. Clip goes, for of its
 *            bounds runtimes may think that they bite, for a last bit of a scale; it stays where they do, by a whole
 *            integer (scales rounded to powers of two), and one is added where activations have fewer than 8 bits.
 *            A clamp that does bite, such as a Relu before zero point 128, stands between two pairs (clamp_pair.h)
 *   source   ONNX QuantizeLinear-13, DequantizeLinear-13; integer semantics: core/edge/lmb.h
 */
#ifndef LMB_DISTILL_QUANTIZE_QDQ_H
#define LMB_DISTILL_QUANTIZE_QDQ_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* E_UNSUPPORTED names the node that has no integer form, or that lacks a FakeQuant with a frozen scale. */
LMB_MUST_CHECK lmb_status lmb_pass_qdq(const lmb_graph *frozen, lmb_graph **out, lmb_error *err);
/* Does it hold integers already (DequantizeLinear somewhere)? */
bool lmb_is_qdq(const lmb_graph *g);

#ifdef __cplusplus
}
#endif
#endif
