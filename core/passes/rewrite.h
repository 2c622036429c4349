/* core/passes/rewrite.h - the walk that passes share: a new graph from an old one, node by node.
 *
 * Idea: a pass is a callback that is shown each node with its inputs already translated and either emits
 * something else in its place or leaves it. Values without producer keep their names, roles and order, so
 * the canonical state of the new graph has the layout of the old one unless the pass changes it on purpose.
 */
#ifndef LMB_CORE_PASSES_REWRITE_H
#define LMB_CORE_PASSES_REWRITE_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_rewrite lmb_rewrite;
struct lmb_rewrite {
    /* Set *done and out[0 .. n->n_out) to replace the node; leave *done false to copy it. `in` are ids of the
     * new graph. May be NULL. */
    lmb_status (*node)(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done, lmb_error *err);
    /* Set *done and *out to replace a value without producer (a parameter, a constant). May be NULL. */
    lmb_status (*value)(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err);
    void *ctx;
    int64_t batch;     /* new size of dimension 0 of the inputs; 0: as it is                       */
    bool drop_dead;    /* leave out nodes and constants that no output or next value needs         */
    bool drop_outputs; /* the new graph has no outputs; the caller adds its own                    */

    /* filled by lmb_rewrite_run */
    const lmb_graph *old;
    lmb_builder b;     /* builds the new graph                                                     */
    lmb_vid *map;      /* [old values] -> id in the new graph, LMB_NONE                            */
};

/* On success *out is the new graph, the caller's. r->map is freed unless `map_out` takes it (malloc'd). */
LMB_MUST_CHECK lmb_status lmb_rewrite_run(lmb_rewrite *r, const lmb_graph *g, lmb_graph **out, lmb_vid **map_out,
                                          lmb_error *err);

/* The training form of a model: BatchNormalization uses batch statistics and updates the running ones,
 * Dropout drops; inputs have `batch` rows. Weights frozen by value->frozen keep BatchNormalization of frozen
 * scale in inference form. Outputs are kept. */
LMB_MUST_CHECK lmb_status lmb_pass_train_form(const lmb_graph *g, int64_t batch, lmb_graph **out, lmb_error *err);
/* Before the training form: normalisation takes the statistics of the rows of all ranks (core/ops/batch_norm_ranks.c).
 * State keeps its names and order. */
LMB_MUST_CHECK lmb_status lmb_pass_sync_norm(const lmb_graph *g, lmb_graph **out, lmb_error *err);
/* The inference form for inputs of `batch` rows: what an answer depends on is the sample and the state, never the other
 * rows. An observer of ranges no longer looks: what follows it gets the stored range. */
LMB_MUST_CHECK lmb_status lmb_pass_infer_form(const lmb_graph *g, int64_t batch, lmb_graph **out, lmb_error *err);
/* The inference form with its state as constants: kernels prepare weights that can not change once, when a
 * plan is compiled. For inference with one set of weights. */
LMB_MUST_CHECK lmb_status lmb_pass_freeze(const lmb_graph *g, int64_t batch, lmb_graph **out, lmb_error *err);
/* Append a copy of `g` to the graph that `b` builds: input i is fed by in[i], state becomes constants (a frozen
 * teacher), outputs' values are returned in out[0 .. g->n_outputs). */
LMB_MUST_CHECK lmb_status lmb_pass_embed(lmb_builder *b, const lmb_graph *g, const lmb_vid *in, lmb_vid *out,
                                         lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
