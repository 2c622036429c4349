/* core/passes/fold.h - BatchNormalization folded into the convolution before it.
 *
 *   y = scale (conv(x, w) + b - mean) / sqrt(var + eps) + bias   becomes   conv(x, w') + b'
 * with the contents stored in the graph. What can not be folded (no Conv before it, or one that others read too) stays.
 *   source   Jacob et al. 2018, arXiv:1712.05877, section 3.2
 */
#ifndef LMB_CORE_PASSES_FOLD_H
#define LMB_CORE_PASSES_FOLD_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

LMB_MUST_CHECK lmb_status lmb_pass_fold(const lmb_graph *g, lmb_graph **out, lmb_error *err);

/* What answers with one set of weights: folded (a constant factor before a convolution, too), in inference form for
 * inputs of `batch` rows, state as constants, so that kernels prepare weights once. `state` in canonical order; NULL:
 * as stored in g. */
LMB_MUST_CHECK lmb_status lmb_pass_deploy(const lmb_graph *g, const float *state, int64_t batch, lmb_graph **out,
                                          lmb_error *err);

/* The BatchNormalization that folds into this Conv of g, or NULL. Shared by passes. */
const lmb_node *lmb_norm_after(const lmb_graph *g, const lmb_node *conv);

/* The one node that reads v, or -1 if none or several do or it is an output. Shared by passes. */
int lmb_sole_reader(const lmb_graph *g, lmb_vid v);

#ifdef __cplusplus
}
#endif
#endif
