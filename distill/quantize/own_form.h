/* distill/quantize/own_form.h - biases and norms with numbers of their own.
 *
 * Idea: exporters write a list of numbers once, however many layers have the same (all biases that are zero), and let
 * the others read it, or an Identity of it. Folding and integers need a layer's numbers for itself: each gets a copy.
 * Weights stay shared, for there it is meant; an Identity of them goes. Exact.
 *
 *   errors  none of its own: numbers that something else reads as well stay where they are
 */
#ifndef LMB_DISTILL_QUANTIZE_OWN_FORM_H
#define LMB_DISTILL_QUANTIZE_OWN_FORM_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

LMB_MUST_CHECK lmb_status lmb_pass_own_form(const lmb_graph *g, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
