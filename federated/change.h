/* federated/change.h - how the clients' changes become the model's, by a server or in a simulation: the configured
 * aggregator is opened, and its result is the step that the model takes. */
#ifndef LMB_FEDERATED_CHANGE_H
#define LMB_FEDERATED_CHANGE_H

#include "federated/aggregator.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

/* A run of values in the model and whether federation changes it (frozen statistics, observers: no). */
typedef struct lmb_fed_segment {
    size_t at, count;
    bool aggregate;
} lmb_fed_segment;

/* The aggregator that `tree` names, fedavg when NULL, with its bound options (malloc'd) and its state.
 *   errors  *config and *state may be set even then; the caller frees both */
LMB_MUST_CHECK lmb_status lmb_change_open(const struct lmb_tree *tree, const lmb_aggregator_limits *limits,
                                          const lmb_aggregator **out, void **config, void **state, lmb_error *err);
/* model[n] += rate * delta[n] where the segments say so, everywhere without segments. delta becomes 0 elsewhere.
 *   errors  E_NUMERIC when a value is no longer finite; the model is then of no use */
LMB_MUST_CHECK lmb_status lmb_change_apply(float *model, float *delta, size_t n, const lmb_fed_segment *segments,
                                           size_t n_segments, double rate, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
