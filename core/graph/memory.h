/* core/graph/memory.h - what a graph's storage (graph.c) and the adding of nodes (node.c) share. */
#ifndef LMB_CORE_GRAPH_MEMORY_H
#define LMB_CORE_GRAPH_MEMORY_H

#include "core/graph/graph.h"

struct lmb_graph_memory {
    struct lmbi_chunk *chunks;
    int cap_values, cap_nodes, cap_outputs;
    lmb_vid *slot; /* hash table of names, LMB_NONE: empty */
    unsigned n_slots;
    unsigned used; /* slots taken, also by values that were renamed since */
    unsigned fresh;
};

/* Make room for one more element of a growing array. */
bool lmbi_graph_reserve(void **array, int *cap, int n, size_t size);
/* NULL: no memory. */
const char *lmbi_graph_text(lmb_graph *g, const char *s);
/* Append a value whose type is already checked. */
lmb_status lmbi_graph_append_value(lmb_graph *g, const lmb_value *like, lmb_vid *out, lmb_error *err);

#endif
