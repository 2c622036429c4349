/* core/graph/graph.h - a model: values, and nodes that compute them, meaning exactly what ONNX says.
 *
 * Idea: one kind of graph for everything (a student, its backward pass, a loss against a frozen teacher,
 * a quantised deployment). A graph only ever grows: nodes are appended in an order in which they can run,
 * ids never change, and passes build a new graph from an old one instead of editing it.
 *
 *   value    a tensor with a static type and shape and a role; numbered by lmb_vid
 *   node     one op with parsed attributes, input values (LMB_NONE: optional input left out), outputs
 *   state    values with role PARAMETER, STATISTIC, OBSERVER or MASK: what a checkpoint holds, always f32.
 *            `next` names the value that is its content after a training step (BatchNormalization's new
 *            running mean, an observer's new range); without it only the optimizer changes it.
 *
 *   owns     a graph owns its names, attributes and the initial contents of constants and state
 *   threads  building is single-threaded; a finished graph is read-only and may be shared
 */
#ifndef LMB_CORE_GRAPH_GRAPH_H
#define LMB_CORE_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t lmb_vid;
enum { LMB_NONE = -1 };

#define LMB_ROLE_MAP(X)                                                        \
    X(ACTIVATION, "activation") /* computed by a node                       */ \
    X(INPUT, "input")           /* given at each run                        */ \
    X(CONSTANT, "constant")     /* fixed for ever                           */ \
    X(PARAMETER, "parameter")   /* trained by the optimizer                 */ \
    X(STATISTIC, "statistic")   /* BatchNormalization's running mean, var   */ \
    X(OBSERVER, "observer")     /* range of an activation to be quantised   */ \
    X(MASK, "mask")             /* 0/1 factors of unstructured pruning      */

typedef enum {
#define X(name, text) LMB_ROLE_##name,
    LMB_ROLE_MAP(X)
#undef X
    LMB_ROLE_COUNT
} lmb_role;

const char *lmb_role_name(lmb_role r);
static inline bool lmb_role_is_state(lmb_role r) { return r >= LMB_ROLE_PARAMETER; }

/* How the `next` values of several shards of one batch become one. */
typedef enum { LMB_REDUCE_MEAN, LMB_REDUCE_MIN, LMB_REDUCE_MAX } lmb_reduce;

typedef struct lmb_value {
    const char *name; /* unique in the graph */
    lmb_dtype dtype;
    lmb_shape shape;
    lmb_role role;
    int32_t node;       /* producer, LMB_NONE if there is none     */
    int32_t out_index;  /* which output of the producer            */
    const void *data;   /* CONSTANT and state: (initial) content   */
    lmb_vid next;       /* state only                              */
    lmb_reduce reduce;  /* of `next`                               */
    bool frozen;        /* PARAMETER that is not to be trained     */
    float decay;        /* factor on weight decay: 1, or 0 for biases and BatchNormalization */
    int bits;           /* PARAMETER: of the integers that it is to be deployed as, 2 .. 8; 0: nothing said (8) */
} lmb_value;

struct lmb_op;
typedef struct lmb_node {
    const struct lmb_op *op;
    const char *name;  /* for people; need not be unique */
    const void *attr;  /* op's own struct    */
    int n_in, n_out;
    const lmb_vid *in; /* LMB_NONE: left out */
    const lmb_vid *out;
} lmb_node;

typedef struct lmb_graph_output { const char *name; lmb_vid value; } lmb_graph_output;

typedef struct lmb_graph {
    int n_values, n_nodes, n_outputs;
    lmb_value *value;
    lmb_node *node;
    lmb_graph_output *output;
    struct lmb_graph_memory *memory; /* private */
} lmb_graph;

/* Attributes given by name when a node is made; parsed by the op's rows (core/graph/op.h). */
enum { LMB_MAX_INTS = 16 };
typedef struct lmb_ints { int n; int64_t v[LMB_MAX_INTS]; } lmb_ints;
typedef enum { LMB_ATTR_INT, LMB_ATTR_REAL, LMB_ATTR_INTS, LMB_ATTR_TEXT } lmb_attr_kind;
typedef struct lmb_attr {
    const char *name;
    lmb_attr_kind kind;
    int64_t i;
    float f;
    const char *s;
    lmb_ints ints;
} lmb_attr;

LMB_MUST_CHECK lmb_status lmb_graph_create(lmb_graph **out, lmb_error *err);
void lmb_graph_destroy(lmb_graph *g); /* NULL is a no-op */
/* A copy with the same ids. */
LMB_MUST_CHECK lmb_status lmb_graph_copy(const lmb_graph *g, lmb_graph **out, lmb_error *err);

/* A value without producer. `data` (bytes of the shape; NULL for inputs; NULL for state means zeros) is
 * copied. `name` NULL or taken: a fresh one is made from it. */
LMB_MUST_CHECK lmb_status lmb_graph_value(lmb_graph *g, lmb_role role, const char *name, lmb_dtype dtype,
                                          const lmb_shape *shape, const void *data, lmb_vid *out, lmb_error *err);

/* Append a node: parses attributes, infers the types of its outputs, makes their values.
 *   out      [n_out] ids of the outputs
 *   errors   E_SHAPE, E_ARG with the node and operand named; the graph is then unchanged */
LMB_MUST_CHECK lmb_status lmb_graph_node(lmb_graph *g, const struct lmb_op *op, const char *name, const lmb_vid *in,
                                         int n_in, const lmb_attr *attr, int n_attr, lmb_vid *out, int n_out,
                                         lmb_error *err);
/* The same with an attribute struct that is already parsed (copied from a node of another graph). */
LMB_MUST_CHECK lmb_status lmb_graph_node_like(lmb_graph *g, const lmb_node *like, const lmb_vid *in, lmb_vid *out,
                                              lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_graph_output_add(lmb_graph *g, const char *name, lmb_vid value, lmb_error *err);

lmb_vid lmb_graph_find(const lmb_graph *g, const char *name);        /* value by name, or LMB_NONE */
lmb_vid lmb_graph_find_output(const lmb_graph *g, const char *name); /* output by name             */
lmb_vid lmb_graph_input(const lmb_graph *g, int i);                  /* i-th INPUT, or LMB_NONE    */
/* Give a value a new name (importers and passes that keep names across graphs); fresh if taken. */
LMB_MUST_CHECK lmb_status lmb_graph_rename(lmb_graph *g, lmb_vid v, const char *name, lmb_error *err);
/* Replace the content of a constant or state value (copied to where the old content was). A plan of the graph that was
 * compiled before may see the old or the new. */
LMB_MUST_CHECK lmb_status lmb_graph_set_data(lmb_graph *g, lmb_vid v, const void *data, lmb_error *err);
/* needed[v] = true for every value that outputs (and, with `states`, the `next` of state) depend on. */
LMB_MUST_CHECK lmb_status lmb_graph_needed(const lmb_graph *g, bool states, bool *needed, lmb_error *err);
/* Memory that lives as long as the graph; NULL when out of memory. */
void *lmb_graph_alloc(lmb_graph *g, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
