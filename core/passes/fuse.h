/* core/passes/fuse.h - neighbours that are one kernel: a graph with the same results and fewer passes over memory.
 *
 *   BatchNormalization in training, + Add, + Relu | Clip     -> BatchNormAct
 *   Conv, + Add, + Relu | Clip                               -> ConvAct
 *   Gemm, + Relu                                             -> GemmAct, if `products`
 *   ReluGrad | ClipGrad, + BatchNormGrad                     -> BatchNormActGrad, from saved statistics
 *
 * Run by lmb_plan_compile on graphs that backends will run; what a value is called or what it means does not change,
 * except that values inside a fused group are gone.
 */
#ifndef LMB_CORE_PASSES_FUSE_H
#define LMB_CORE_PASSES_FUSE_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* products: there is a kernel for GemmAct. *out: the new graph, the caller's, or NULL when there is nothing to fuse.
 * *map (malloc'd): [values of g] -> id in it, LMB_NONE for what is gone or was never needed. */
LMB_MUST_CHECK lmb_status lmb_pass_fuse(const lmb_graph *g, bool products, lmb_graph **out, lmb_vid **map,
                                        lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
