/* federated/server.h - the server of a federation: one event loop, one worker beside it, one model, rounds.
 *
 * Idea: a round is: select connected clients, give them the model, collect their changes, average, apply, evaluate,
 * commit. The server knows nothing of networks: to it a model is float[n] with a layout hash, and what clients need
 * to train it (graph, settings) are two opaque blobs.
 *
 * A round ends when `target` clients have delivered, or every selected one has or is out. With over_select more are
 * asked than are needed; those that come too late are told so without blame. A client is out when it is refused (with a
 * sentence, to it and to the log), says that it failed, shows no progress for deadline_s, or is gone for
 * reconnect_s. Progress is bytes moved or training steps reported, so a slow client is not a dead one. With at least
 * `minimum` updates the round is committed, with fewer it is abandoned: the model stays, the next round begins.
 *
 * With `mode: async` there are no rounds but versions (server_async.c): clients train whatever is current when they
 * come.
 *
 * A client that is not needed stays connected, or, with pace_s, is told when to come back and hangs up.
 *
 * Before the first round the model it begins with is evaluated: a federation that helps nobody gives it back.
 *
 * Killed at any time, a server on the same state_dir goes on with the round under way: who takes part is in the
 * journal, and what they have uploaded in the spool. Because sums do not depend on the order of arrival
 * (federated/aggregator.h) it arrives at the same bits. federated/crash.h lists the steps at which this is tested.
 *
 * Uploads are checked and added, and rounds are finished, by a worker (server_worker.c); the loop answers all the time.
 *
 *   memory   two models + aggregator + one update's worth of scratch, and about 16 KiB a connection
 *   owns     the job's pointers are borrowed until lmb_server_destroy
 *   errors   what a client does is never an error of lmb_server_run
 *   threads  create, run and destroy on one thread; lmb_server_stop from any thread or a signal handler. While it runs,
 *            the job's `evaluate` and `refine` are called on a thread of the server's, one at a time and never beside
 *            `on_round`, which is called on run's; the log on both
 */
#ifndef LMB_FEDERATED_SERVER_H
#define LMB_FEDERATED_SERVER_H

#include "comm/wire.h"
#include "core/base/field.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "federated/change.h"
#include "federated/privacy/privacy.h"
#include "federated/spread.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_MODE_SYNC, LMB_MODE_ASYNC };
enum { LMB_SERVER_CPU, LMB_SERVER_CUDA }; /* lmb_server_config.device */
typedef struct lmb_server_async {
    int64_t buffer, concurrency, tau_max;
} lmb_server_async;
extern const lmb_field lmb_server_async_fields[];

typedef struct lmb_server_config {
    const char *address, *state_dir, *admin;
    int64_t approval, port, rounds, target, minimum, max_clients, max_examples, seed, mode, pool, device;
    lmb_server_async async;
    double over_select, pace_s, drain_s, gather_s, deadline_s, reconnect_s, round_limit_s, idle_s, server_lr, max_abs,
        clip_norm;
    const struct lmb_tree *aggregator, *selection, *codec, *download, *privacy, *secure_aggregation, *status;
} lmb_server_config;
extern const lmb_field lmb_server_fields[];
/* Whether the options go together: aggregator, codec, privacy, secure aggregation (federated/rules.c). E_ARG with what
 * to change. */
LMB_MUST_CHECK lmb_status lmb_server_check(const lmb_server_config *c, lmb_error *err);

typedef struct lmb_round_report {
    uint64_t round, rounds;            /* round counts from 1; 0: the model as it was before, once */
    bool committed;                    /* false: abandoned, too few updates */
    bool best;                         /* best score so far */
    uint64_t selected, updates, examples;
    uint64_t bytes_in, bytes_out;      /* on the wire, this round */
    uint64_t payload, plain;           /* bytes of the updates, and what they would be as f32; 0 in a simulation */
    double seconds;
    bool is_private;
    double epsilon, delta, clip;       /* after the round; clip of the round */
    bool scored;
    double score;
    lmb_figures metrics;               /* of `evaluate` */
    lmb_figures clients;               /* of the clients, averaged by examples; names of the first update absorbed */
    lmb_spread fare[LMB_FARES]; /* of the clients, one by one: on samples that they hold out (local.validation) */
} lmb_round_report;

typedef struct lmb_server_job {
    size_t n;
    const float *initial; /* (n) used when state_dir is new                             */
    lmb_hash layout;      /* changes when the meaning of the n values does              */
    const void *graph;    /* opaque to the federation                                   */
    size_t graph_bytes;
    const char *settings; /* text for the clients' local training                       */
    const lmb_fed_segment *segments; /* n_segments 0: everything is aggregated          */
    size_t n_segments;
    /* Score a model, greater is better; may add metrics. NULL: no evaluation. A failure ends the run. */
    lmb_status (*evaluate)(void *ctx, uint64_t round, const float *model, size_t n, double *score, lmb_figures *metrics,
                           lmb_error *err);
    /* Make a better model of the round's, before it is evaluated: federated distillation. `before` (n): what the
     * updates are changes of; model (n): in, after the aggregator's step; out. The same updates must give the same
     * bits. NULL: nothing. */
    lmb_status (*refine)(void *ctx, uint64_t round, const float *before, const lmb_updates *u, float *model,
                         lmb_error *err);
    /* After a round is in the journal; first, from lmb_server_create, for round 0. May be NULL. */
    void (*on_round)(void *ctx, const lmb_round_report *report);
    void *ctx;
    const lmb_log *log;
    const uint8_t *noise_key; /* [LMB_DP_KEY], for tests alone: noise that can be repeated. NULL: nobody can */
} lmb_server_job;

/* E_ARG where the job's `refine` would see what the configuration says nobody sees (federated/rules.c). */
LMB_MUST_CHECK lmb_status lmb_refine_check(bool refines, const lmb_server_config *c, lmb_error *err);
/* lmb_server_check and what else can be said of a model of n numbers before a server runs: sums that could overflow or
 * wrap, more clients asked than may connect (federated/rules.c). */
LMB_MUST_CHECK lmb_status lmb_server_check_model(const lmb_server_config *c, size_t n, bool refines, lmb_error *err);

/* Where one configuration has both sides: would such a client take what this server asks for?  errors  E_ARG why not
 * (federated/rules.c) */
struct lmb_client_config;
LMB_MUST_CHECK lmb_status lmb_server_check_client(const lmb_server_config *c, const struct lmb_client_config *client,
                                                  size_t n, lmb_error *err);

typedef struct lmb_server lmb_server;

/* Open the journal, restore, and listen.
 *   errors  E_IO when the port is taken, E_ARG when sums could overflow or the state_dir holds another model */
LMB_MUST_CHECK lmb_status lmb_server_create(const lmb_server_config *cfg, const lmb_server_job *job, lmb_server **out,
                                            lmb_error *err);
void lmb_server_destroy(lmb_server *s); /* NULL is a no-op */
int lmb_server_port(const lmb_server *s);      /* the one in use; asks the system when the configuration says 0 */
int lmb_server_status_port(const lmb_server *s); /* of the status page; 0: there is none */
uint64_t lmb_server_round(const lmb_server *s); /* rounds that are over */
bool lmb_server_over(const lmb_server *s);      /* there is nothing left to do but to say so */

/* Serve until `rounds` are over, or one more would spend more than the privacy budget. E_STOPPED after lmb_server_stop:
 * the journal is up to date. */
LMB_MUST_CHECK lmb_status lmb_server_run(lmb_server *s, lmb_error *err);
/* The first call: no new tasks, updates under way may still come for drain_s, clients are told to come back. The
 * second: at once. */
void lmb_server_stop(lmb_server *s);

/* The current model (n floats), and the one with the best score (into out[n]; the current one without scores). The
 * model that the federation began with is round 0 and a candidate; of equal scores the earlier round is the best. */
const float *lmb_server_model(const lmb_server *s);
const lmb_privacy *lmb_server_privacy(const lmb_server *s);
double lmb_server_first_score(const lmb_server *s); /* of round 0; NAN: it was not evaluated */
LMB_MUST_CHECK lmb_status lmb_server_best(lmb_server *s, float *out, uint64_t *round, double *score, lmb_error *err);

/* Print-ready invite for one client, good for ttl_s. Works beside a running server; makes the server's key on first
 * use. `host` is what clients can reach. */
enum { LMB_SERVER_INVITE = 400 };
LMB_MUST_CHECK lmb_status lmb_server_invite(const char *state_dir, const char *host, int port, double ttl_s,
                                            char out[LMB_SERVER_INVITE], lmb_error *err);
/* Begin to change the server's key: for overlap_s a running server answers to both keys and tells its clients the new
 * one, which then takes the old one's place.  errors  E_ARG one change is under way already */
LMB_MUST_CHECK lmb_status lmb_server_rotate(const char *state_dir, double overlap_s, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
