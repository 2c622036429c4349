/* distill/quantize/clamp_form.h - a Relu or Clip right behind what makes the numbers that it clamps.
 *
 * Idea: integers are clamped where they are made, and a Relu further on would ask for an operator of its own. What only
 * moves numbers or takes the largest of some (MaxPool, Flatten, Reshape, Identity, Dropout) gives the same before the
 * clamp and behind it: x -> MaxPool -> Relu, as the LeNets of many examples have it, becomes x -> Relu -> MaxPool. A
 * Relu behind another one, with nothing but these in between, goes. Exact.
 *
 *   errors  none of its own: a clamp that another reader keeps from moving stays where it is
 */
#ifndef LMB_DISTILL_QUANTIZE_CLAMP_FORM_H
#define LMB_DISTILL_QUANTIZE_CLAMP_FORM_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

LMB_MUST_CHECK lmb_status lmb_pass_clamp_form(const lmb_graph *g, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
