/* launch/feddf.h - `federation.distill`: after each round the server has the clients' models teach the averaged one, on
 * samples without labels (distill/ensemble.h). The members are made from the round's updates one at a time.
 *
 * Federations of other architectures teach along: each leaves its members' answers in the folder `exchange`, under its
 * `name`, and takes along what others have left there last. Nobody waits for anybody. */
#ifndef LMB_LAUNCH_FEDDF_H
#define LMB_LAUNCH_FEDDF_H

#include "distill/ensemble.h"
#include "federated/aggregator.h"
#include "launch/job.h"

typedef struct lmb_feddf {
    lmb_train_config train;
    double temperature;
    const lmb_tree *data; /* another data set; NULL: the server's own samples */
    const char *exchange, *name;
    int64_t samples;
    lmb_dataset *opened, *view; /* owned, or NULL */
    lmb_ensemble *ensemble;
    float *member;        /* [n] a client's model */
    double loss;          /* of the last lesson   */
} lmb_feddf;
extern const lmb_field lmb_feddf_fields[];

/* A mistake in the section shows before any work. */
LMB_MUST_CHECK lmb_status lmb_feddf_check(const lmb_tree *section, lmb_error *err);
/* n: values of the federation's vector, of which the model's come first. */
LMB_MUST_CHECK lmb_status lmb_feddf_open(const lmb_tree *section, const lmb_job *j, size_t n, lmb_feddf **out,
                                         lmb_error *err);
void lmb_feddf_close(lmb_feddf *f); /* NULL is a no-op */
/* model[n] is taught by the models that `before` and the updates make. `graph` is left with other numbers. */
LMB_MUST_CHECK lmb_status lmb_feddf_round(lmb_feddf *f, uint64_t round, lmb_graph *graph, const lmb_state_layout *l,
                                          const float *before, const lmb_updates *u, float *model, lmb_error *err);

#endif
