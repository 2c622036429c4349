/* distill/quantize/steps.h - learned step sizes (LSQ): the scale of a FakeQuant is a parameter that training moves.
 *
 * Idea: a range says what there was; which step loses least is for the loss to say. FakeQuant knows the gradient of its
 * scale (core/ops/quantize.c: attribute learn); here its scale becomes a parameter: `<layer>.step` a weight step for
 * each output channel, `<layer>.q.step` one for an activation. Zero points of activations stay what the range said.
 *
 *   starts   weights: 2 mean|w| / sqrt(top), but no coarser than what holds all of them; activations: the step of the
 *            observed range
 *   floor    a step is held at 1e-8 or more by a Clip in front of the FakeQuant
 *   ends     lmb_pass_qat_freeze makes constants of steps as of ranges; from then on nothing differs
 *   source   Esser et al. 2020, arXiv:1902.08153
 */
#ifndef LMB_DISTILL_QUANTIZE_STEPS_H
#define LMB_DISTILL_QUANTIZE_STEPS_H

#include "core/passes/rewrite.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A graph of lmb_pass_qat whose observers have seen something (lmb_ptq_observe) -> the same with learned steps.
 *   errors  E_ARG if an observer has seen nothing yet */
LMB_MUST_CHECK lmb_status lmb_pass_steps(const lmb_graph *observed, lmb_graph **out, lmb_error *err);

/* For lmb_pass_qat_freeze: is the node the Clip that holds a step, and its constant in the node's place. */
bool lmbi_is_step(const lmb_graph *g, const lmb_node *n);
lmb_status lmbi_freeze_step(lmb_rewrite *r, const lmb_node *n, lmb_vid *out, lmb_error *err);

/* Run a RangeToScale over the stored range of its ObserveRange. E_ARG if that has seen nothing. */
lmb_status lmbi_range_scale(const lmb_graph *g, const lmb_node *n, float *scale, float *zero, lmb_error *err);
/* Run a WeightScale over stored weights: scale [w.d[0]]. */
lmb_status lmbi_weight_scale(const lmb_graph *g, const lmb_node *n, float *scale, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
