/* core/graph/state.h - the canonical state vector of a graph.
 *
 * Idea: everything a training run changes is one dense f32 vector: the state values of the graph in
 * declaration order, each in ONNX layout, with a hash of that layout. Checkpoints, federated deltas,
 * gradients and reductions between ranks speak only it: a gradient vector has the same offsets, holding
 * d(loss)/d(parameter) for parameters and the `next` content for statistics and observers. Backward
 * passes finish the last segments first, so a bucket of gradients is a range of the vector.
 *
 *   owns     a layout owns its segment array; names are copied
 *   threads  a layout is read-only once made
 */
#ifndef LMB_CORE_GRAPH_STATE_H
#define LMB_CORE_GRAPH_STATE_H

#include "core/base/hash.h"
#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_segment {
    char *name;
    lmb_role role;
    lmb_reduce reduce;
    bool frozen, has_next;
    float decay;
    lmb_shape shape;
    size_t offset, count; /* in floats */
    lmb_vid value;        /* in the graph the layout was made from */
} lmb_segment;

typedef struct lmb_state_layout {
    int n;
    lmb_segment *segment;
    size_t count;  /* floats in all */
    lmb_hash hash; /* of names, roles and shapes in order */
} lmb_state_layout;

LMB_MUST_CHECK lmb_status lmb_state_layout_create(const lmb_graph *g, lmb_state_layout **out, lmb_error *err);
void lmb_state_layout_destroy(lmb_state_layout *l);
const lmb_segment *lmb_state_find(const lmb_state_layout *l, const char *name); /* NULL if absent */
/* Copy the graph's stored contents into `state` [count], or back into the graph. */
void lmb_state_from_graph(const lmb_state_layout *l, const lmb_graph *g, float *state);
LMB_MUST_CHECK lmb_status lmb_state_to_graph(const lmb_state_layout *l, const float *state, lmb_graph *g,
                                             lmb_error *err);
/* Number of trained numbers: PARAMETER segments. */
size_t lmb_state_parameters(const lmb_state_layout *l);

#ifdef __cplusplus
}
#endif
#endif
