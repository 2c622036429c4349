/* launch/rounds.h - a federation's model and what is done with its rounds, on a network (`serve`) or without
 * (`simulate`): the graph that clients are given, its numbers, validation, a line a round, and the best model at the
 * end. */
#ifndef LMB_LAUNCH_ROUNDS_H
#define LMB_LAUNCH_ROUNDS_H

#include "core/base/str.h"
#include "federated/server.h"
#include "federated/terms/term.h"
#include "launch/federation.h"
#include "launch/feddf.h"
#include "launch/stage.h"

typedef struct lmb_rounds {
    const lmb_job *job;
    lmb_graph *model;
    lmb_state_layout *layout;
    lmb_str graph, settings; /* what clients are given: ONNX bytes, YAML */
    lmb_fed_segment *segments;
    float *state;            /* [n] the model it begins with; later scratch */
    bool partial;            /* clients keep a part of the model: the server can not tell how good the whole is */
    lmb_feddf *feddf;        /* NULL: clients' models do not teach */
    const lmb_term *term;    /* what the aggregator asks of clients; NULL: nothing */
    size_t n;                /* layout->count and the term's numbers */
    const lmb_dataset *test; /* also scored in each round, for curves only; NULL: not    */
    const char *group;       /* named in every line; NULL: not */
    uint64_t total;          /* rounds in all, where they are asked for one by one; 0: the report knows */
    char history[LMB_STAGE_PATH], leave[LMB_STAGE_PATH];
    lmb_server_job server;   /* filled in, but for its log */
} lmb_rounds;

/* `path`: an ONNX file; NULL: the `model` of the configuration, as the zoo has it, or the run's quantised student. The
 * job's data are open. <run>/<stage> takes the history and the model. */
LMB_MUST_CHECK lmb_status lmb_rounds_open(const lmb_job *j, const lmb_federation_config *c, const char *path,
                                          const char *stage, lmb_rounds *out, lmb_error *err);
void lmb_rounds_close(lmb_rounds *r);
/* What the configured aggregator asks of clients, NULL: nothing.  errors  E_ARG where that does not go with the rest */
LMB_MUST_CHECK lmb_status lmb_rounds_term(const lmb_federation_config *c, const lmb_term **out, lmb_error *err);
/* The model of `round`, r->state, into the file, and a sentence; of a private federation privacy.json beside it, and
 * another. */
LMB_MUST_CHECK lmb_status lmb_rounds_leave(lmb_rounds *r, uint64_t round, double score, double first_score,
                                           const lmb_privacy *privacy, lmb_error *err);

#endif
