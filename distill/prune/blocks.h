/* distill/prune/blocks.h - residual blocks that can go: y = x + f(x) becomes y = x.
 *
 * Idea: channels and ranks make layers thinner, and a thin layer takes more time than its arithmetic. A whole block
 * gone takes all of its time with it, and a network with shortcuts bears that: it is one of many paths.
 *
 *   block    a sum of two values of its own shape, one of which has layers before it that nothing else needs (the
 *            branch), the other of which has none (the shortcut: the input itself, or cut and padded by
 *            ops without parameters; in integer form these are a layer, and the block stays)
 *   gone     what no output needs when the shortcut alone is the sum
 *   source   Veit, Wilber, Belongie 2016, arXiv:1605.06431, section 4.1: residual networks without single blocks
 *   threads  reads the graph, changes nothing
 */
#ifndef LMB_DISTILL_PRUNE_BLOCKS_H
#define LMB_DISTILL_PRUNE_BLOCKS_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_block {
    int node, stays; /* the Add; its operand that stays                                            */
    lmb_vid weight;  /* of the branch's last layer: its name is the block's                        */
    lmb_vid makes[2];/* the parameters that make the branch's channels: scale and bias of its last norm, or weight and
                      * bias of its last layer; LMB_NONE                                            */
    bool *gone;      /* [g->n_values] */
} lmb_block;

/* All blocks of a model, in its order; *n may be 0. */
LMB_MUST_CHECK lmb_status lmb_blocks_find(const lmb_graph *g, lmb_block **out, int *n, lmb_error *err);
void lmb_blocks_free(lmb_block *b, int n); /* NULL is a no-op */

/* The model without the blocks of these weights. What stays keeps its names; a Relu that would follow another one goes
 * as well.
 *   errors  E_ARG names a weight that is no block's */
LMB_MUST_CHECK lmb_status lmb_pass_drop_blocks(const lmb_graph *g, const char *const *weight, int n, lmb_graph **out,
                                               lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
