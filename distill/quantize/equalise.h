/* distill/quantize/equalise.h - cross-layer equalisation: channels of one layer made as wide as each other, at the
 * next's expense.
 *
 * Idea: a positive factor on a channel passes through Relu, so a layer's output channel i can be divided by s_i and the
 * weights that read it multiplied, and the function is the same. With s_i = sqrt(r_i / q_i), where r_i is the largest
 * weight that makes channel i and q_i the largest that reads it, both become sqrt(r_i q_i): no channel is left with a
 * handful of integers because another one is a hundred times as wide. Depthwise layers between are pairs with both
 * sides; sweeps repeat until nothing moves.
 *
 *   pairs    Conv or Gemm -> Relu, Clip, MaxPool, GlobalAveragePool, Flatten of one pixel, or nothing -> Conv or Gemm,
 *            each read by the next alone
 *   Clip     between a pair becomes Relu, as in the paper: a bound at 6 is not a bound at 6 / s_i. The function changes
 *            where it was reached
 *   source   Nagel et al. 2019, arXiv:1906.04721, section 4.1
 */
#ifndef LMB_DISTILL_QUANTIZE_EQUALISE_H
#define LMB_DISTILL_QUANTIZE_EQUALISE_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `folded`: BatchNormalization folded. *pairs (may be NULL): how many pairs there were. */
LMB_MUST_CHECK lmb_status lmb_pass_equalise(const lmb_graph *folded, lmb_graph **out, int *pairs, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
