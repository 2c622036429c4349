/* distill/quantize/concat_form.h - channels side by side, in words that have an integer form.
 *
 * Idea: a layer that reads a Concat is linear in its parts: W [a, b] = Wa a + Wb b. So it becomes a layer for each part
 * and a sum, with as many multiply-accumulates and no copying; the parts keep ranges of their own, and their channels
 * are pruned apart. What works on each channel for itself in between (Relu, Clip, poolings, Dropout, Flatten of 1x1)
 * goes to the parts. A BatchNormalization behind the layer is folded into it, since it is of the sum. One that no layer
 * stands before (behind the Concat itself, or behind what others read as well, as in a DenseNet) becomes a depthwise
 * 1x1 convolution, of each part for itself. Exact but for the order of sums. Weights of parts are named after those
 * that they are cut from: conv7.weight.part0, conv7.weight.part1.
 *
 *   errors   none of its own: a Concat that something else reads stays as it is
 */
#ifndef LMB_DISTILL_QUANTIZE_CONCAT_FORM_H
#define LMB_DISTILL_QUANTIZE_CONCAT_FORM_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many characters of a weight's name are that of the weights which it is a part of; all, if of none. */
size_t lmb_whole_name(const char *weight);
/* Joined values that nobody reads any more are left in place, for a pass that drops them. */
LMB_MUST_CHECK lmb_status lmb_pass_concat_form(const lmb_graph *g, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
