/* distill/search/deployed.h - what a float model would be as a deployed file.
 *
 * Idea: a candidate's bytes, MACs and time are read off the file that it would become: folded, quantised, lowered, by
 * the same passes as the real one. Only the ranges of activations are made up, and channels are not equalised, which
 * changes no size and no time.
 */
#ifndef LMB_DISTILL_SEARCH_DEPLOYED_H
#define LMB_DISTILL_SEARCH_DEPLOYED_H

#include "core/base/str.h"
#include "core/graph/graph.h"
#include "distill/quantize/qat.h"
#include "distill/search/budget.h"
#include "distill/search/latency.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An open `.lmb`, ready to run. */
typedef struct lmb_deployed {
    lmb_str file;
    lmb_edge_model model;
    void *prepared;
} lmb_deployed;

/* From a float model, with made-up ranges; qat NULL: its defaults.
 *   errors  E_UNSUPPORTED names a node that has no integer form; others as lmb_pass_qat */
LMB_MUST_CHECK lmb_status lmb_deployed_sketch(const lmb_graph *model, const lmb_qat_config *qat, lmb_deployed *out,
                                              lmb_error *err);
/* From a frozen FakeQuant graph (distill/quantize): the real thing, but for its facts, which are blank and as long
 * (facts.h); *qdq (may be NULL) gets the QDQ graph, the caller's. */
LMB_MUST_CHECK lmb_status lmb_deployed_real(const lmb_graph *frozen, lmb_deployed *out, lmb_graph **qdq,
                                            lmb_error *err);
/* From its file. */
LMB_MUST_CHECK lmb_status lmb_deployed_read(const char *path, lmb_deployed *out, lmb_error *err);
void lmb_deployed_free(lmb_deployed *d);

/* Predicted microseconds, bytes, MACs. */
LMB_MUST_CHECK lmb_status lmb_deployed_costs(const lmb_deployed *d, lmb_latency *t, double cost[LMB_COSTS],
                                             lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
