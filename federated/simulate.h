/* federated/simulate.h - a federation without a network: thousands of clients that exist only while they train.
 *
 * Idea: a round is what a server's round is (server.h): the same selection, limits, aggregator and step, from the same
 * configuration; only messages are left out. The clients of a round are dealt to the ranks, each rank trains its own,
 * one or several at a time, and absorbs what they leave in their order, and the integer sums of the ranks are added: so
 * the model's bits do not depend on the number of ranks, nor on how many train at a time. Every rank then takes the
 * same step. Aggregators that look at all updates get them on rank 0, in memory.
 *
 *   files    <state_dir>: the journal, on rank 0, every checkpoint_s and at the end; the same call goes on from there.
 *            With a codec that has clients remember, residual-<client> beside it, which all ranks must see, and a
 *            checkpoint after each round
 *   memory   model + aggregator + one update, or two for each lane; all updates of a round on rank 0 where the
 *            aggregator, or the job's `refine`, needs single ones
 */
#ifndef LMB_FEDERATED_SIMULATE_H
#define LMB_FEDERATED_SIMULATE_H

#include "comm/collective.h"
#include "federated/client.h"
#include "federated/server.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_LANES_MOST = 64 }; /* clients that train at a time */

typedef struct lmb_simulate_config {
    double dropout, checkpoint_s;
    int64_t evaluate_every, streams;
    bool masks;
} lmb_simulate_config;
extern const lmb_field lmb_simulate_fields[];

typedef struct lmb_simulation {
    lmb_simulate_config c;
    const lmb_server_config
        *server; /* rounds, target, minimum, seed, selection, aggregator, server_lr, limits, state_dir */
    const lmb_server_job *job;       /* as for a server; evaluate is called on rank 0 alone, on_round too */
    int clients;
    const uint64_t *examples;        /* [clients] */
    /* Train a client. lane: of [0, lanes), those of calls at the same time differ.
     *   errors  E_NUMERIC: it fails alone. E_NOMEM, with several lanes: there is no memory for so many; the lane is
     *           closed, and the client trains in another one */
    lmb_status (*train)(void *ctx, int lane, int client, const lmb_train_task *task, lmb_train_result *result,
                        lmb_error *err);
    int lanes;               /* clients that train at a time on each rank; 0: 1 */
    int (*room)(void *ctx);  /* NULL, or: lanes that there is memory for; asked when lane 0 has trained the first client
                                alone */
    const struct lmb_masker *masker; /* of c.masks: federated/secagg/mask.h; NULL: the processor */
    void (*leave)(void *ctx, int lane); /* with several lanes: nobody trains in this one again */
    lmb_privacy *privacy;            /* out: as it is at the end, to be described; NULL: not wanted */
    bool fresh;                      /* whatever state_dir holds is left behind */
    /* Both on rank 0; NULL: not called. `begin`: the first round that is still to come, 0 in a new run; `stop`: asked
     * between rounds. */
    lmb_status (*begin)(void *ctx, uint64_t next, lmb_error *err);
    bool (*stop)(void *ctx);
    void *ctx;
} lmb_simulation;

/* Whether a simulation of so many clients and a model of n numbers could begin: what lmb_simulate refuses by its
 * configuration alone. refines: the job has a `refine`.  errors  E_ARG, E_UNSUPPORTED with what to change */
LMB_MUST_CHECK lmb_status lmb_simulate_check(const lmb_server_config *c, int clients, size_t n, bool refines,
                                             lmb_error *err);

/* Run to the last round. model[n]: out, the best model by evaluation (the last without), on every rank; *round and
 * *score of it; first_score: of the model that it began with.
 *   errors  E_STOPPED when `stop` said so, with everything written; what a client's training fails with */
LMB_MUST_CHECK lmb_status lmb_simulate(const lmb_simulation *s, lmb_comm *comm, float *model, uint64_t *round,
                                       double *score, double *first_score, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
