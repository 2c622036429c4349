/* core/passes/recompute.h - feature maps that are computed twice instead of kept: less memory for a training step, the
 * same bits.
 *
 *   BatchNormAct without a sum whose result the backward pass reads -> BatchNormApply from the saved statistics, where
 *   it is first read there. The map between the two is gone; what it is computed from is kept for the gradient of the
 *   norm in any case.
 */
#ifndef LMB_CORE_PASSES_RECOMPUTE_H
#define LMB_CORE_PASSES_RECOMPUTE_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of a graph that lmb_pass_fuse has made. *out: the new graph, the caller's, or NULL when there is nothing to save.
 * *map (malloc'd): [values of g] -> id in it. */
LMB_MUST_CHECK lmb_status lmb_pass_recompute(const lmb_graph *g, lmb_graph **out, lmb_vid **map, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
