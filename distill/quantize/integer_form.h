/* distill/quantize/integer_form.h - a model that others wrote, in the words that have an integer form.
 *
 * Idea: exporters say the same thing in many ways. What qat.h can not take, but is a convolution or a pooling by
 * another name, is written as that:
 *
 *   strided Slice, Pad of channels   a 1x1 convolution that selects (ResNet's shortcuts without parameters): exact. Its
 *                                    weights are trained from then on, and channels of both sides are no longer tied
 *   ReduceMean, AveragePool of all   GlobalAveragePool (and Flatten)
 *   normalisation in other words     one mean, a whole number, and one scale (input_form.h)
 *   full layers in other words       Gemm x W' + b (gemm_form.h)
 *   a clamp behind a pooling         in front of it (clamp_form.h)
 *   biases and norms that are shared a copy for each (own_form.h)
 *   a layer that reads a Concat      a layer for each part, and a sum (concat_form.h)
 *   a Softmax at the end             nothing: the largest answer is of the same class (softmax.h)
 *
 *   errors   none of its own: what it does not know stays as it is
 */
#ifndef LMB_DISTILL_QUANTIZE_INTEGER_FORM_H
#define LMB_DISTILL_QUANTIZE_INTEGER_FORM_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

LMB_MUST_CHECK lmb_status lmb_pass_integer_form(const lmb_graph *g, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
