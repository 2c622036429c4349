/* core/graph/autodiff.h - reverse-mode differentiation as a pass: graph in, graph with gradients out.
 *
 * Idea: walk the nodes backwards once; each op's rule appends the nodes that compute the gradients of its
 * inputs from those of its outputs; several gradients of one value are added. Ids of the given graph stay
 * valid in the result, which computes everything the given graph did.
 *
 *   source   Griewank and Walther, Evaluating Derivatives, 2nd ed., ch. 3
 */
#ifndef LMB_CORE_GRAPH_AUTODIFF_H
#define LMB_CORE_GRAPH_AUTODIFF_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Gradients of the single-element f32 value `loss` with respect to wrt[0 .. n).
 *   out     a new graph, the caller's; same ids as `g` for all that `g` has
 *   grads   [n] value ids in `out`; LMB_NONE where the loss does not depend on wrt[i]
 *   errors  E_UNSUPPORTED names a node on the way whose op has no gradient; E_SHAPE if loss is no scalar */
LMB_MUST_CHECK lmb_status lmb_autodiff(const lmb_graph *g, lmb_vid loss, const lmb_vid *wrt, int n, lmb_graph **out,
                                       lmb_vid *grads, lmb_error *err);

/* The same for several values at once, given the gradients of a loss, which the graph need not hold, with respect to
 * them: grads[i] is the gradient with respect to wrt[i] of what of[0 .. n_of) contribute to that loss.
 *   seed    [n_of] values of g with the shapes of `of`; LMB_NONE: a one, for a loss itself */
LMB_MUST_CHECK lmb_status lmb_autodiff_from(const lmb_graph *g, const lmb_vid *of, const lmb_vid *seed, int n_of,
                                            const lmb_vid *wrt, int n, lmb_graph **out, lmb_vid *grads, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
