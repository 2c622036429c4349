/* core/passes/stages.h - a graph cut into stages that follow each other, for models that are trained in a pipeline.
 *
 * Idea: nodes are in an order in which they can run, so a stage is a stretch of them and a cut is a place between two
 * nodes. What is made before a cut and read behind it crosses it, and goes through every stage in between. A cut lies
 * only where all that crosses is f32, no state is used on both sides, and no group that core/passes/fuse.h makes one
 * kernel of is torn: so a stage computes what the whole graph does. Of all ways to cut, dynamic programming finds the
 * one whose dearest stage is the cheapest, sending what crosses behind it included; of equal ones, that with the fewest
 * bytes that cross.
 *
 *   cost     of a node, forwards: multiply-accumulates, and 4 for each byte of its operands (a convolution is bound by
 *            the first, a normalisation by the second); 32 for each byte that crosses a cut. An estimate, so that all
 *            ranks, and all machines, find the same cuts. Who has measured says what pieces of the graph take; their
 *            times, as shares of all, then take the place of the nodes' shares of the estimate
 *   source   Narayanan et al. 2019, PipeDream (SOSP), section 3.1: partitioning by dynamic programming
 */
#ifndef LMB_CORE_PASSES_STAGES_H
#define LMB_CORE_PASSES_STAGES_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_MOST_STAGES = 64 };

typedef struct lmb_stage {
    int begin, end;    /* nodes [begin, end) of the graph                  */
    double macs, cost; /* forwards; cost: as above, without what crosses */
    size_t bytes;      /* that cross the cut behind it, forwards           */
    int values;        /* that cross                                       */
} lmb_stage;

/* What pieces [0, n) of a graph take, which follow each other from its first node to its last: seconds [n]. Cuts then
 * lie between two of them only. */
typedef struct lmb_stage_times {
    int n;
    const lmb_stage *piece;
    const double *seconds;
} lmb_stage_times;

/*   last    cuts lie before this node or earlier: what follows (a loss) is the last stage's; n_nodes: anywhere
 *   times   NULL: the estimate
 *   stages  [n]
 *   errors  E_ARG when the graph has too few places to cut, with their number */
LMB_MUST_CHECK lmb_status lmb_stages_cut(const lmb_graph *g, int last, int n, const lmb_stage_times *times,
                                         lmb_stage *stages, lmb_error *err);
/* Into how many stages at most. */
LMB_MUST_CHECK lmb_status lmb_stages_most(const lmb_graph *g, int last, int *n, lmb_error *err);
/* Cut where somebody else has: stage k ends before node end[k], and the last one with the graph.
 *   errors  E_ARG where the graph can not be cut there */
LMB_MUST_CHECK lmb_status lmb_stages_at(const lmb_graph *g, int last, int n, const int32_t *end, lmb_stage *stages,
                                        lmb_error *err);
/* crosses[v], for all values: made before node `at`, and read by it or a later one. */
LMB_MUST_CHECK lmb_status lmb_stages_crossing(const lmb_graph *g, int at, bool *crosses, lmb_error *err);

/* The nodes [begin, end) as a graph of their own. What they read from before `begin` is an input of the same name;
 * inputs, constants and state that they use are copied. The new graph has no outputs. *map (malloc'd): [values of g] ->
 * id in it, or LMB_NONE. */
LMB_MUST_CHECK lmb_status lmb_stages_extract(const lmb_graph *g, int begin, int end, lmb_graph **out, lmb_vid **map,
                                             lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
