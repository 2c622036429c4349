/* federated/client.h - a client of a federation: joins with an invite, trains what it is given, uploads the change.
 *
 * Idea: one thread talks, another trains. The connection may break at any time, also while training runs: the client
 * comes back by itself, with growing and jittered pauses, and goes on with the same download, training or upload. A
 * server that was restarted is nothing else to it.
 *
 * It has manners: in its quiet hours, and when the command `ask` says no, it stops training, hangs up and comes back
 * later (federated/client_manners.c). Threads and niceness of training are its owner's to limit.
 *
 *   files    <state_dir>/client.key, sign.key (mode 0600; made here, never sent), server.txt (who it is enrolled with),
 *            clock, roster.txt (the last roster it believed)
 *   memory   model + change + graph; the server's announcements are held against max_model_mib before memory is taken
 *   errors   E_DENIED when the server refuses this client, E_TIMEOUT after give_up_s without a server, E_STOPPED
 *   threads  create, run, destroy on one thread; lmb_client_stop from any thread or a signal handler. `train` runs
 *            on a thread of its own, one call at a time; log lines come from the thread that runs
 */
#ifndef LMB_FEDERATED_CLIENT_H
#define LMB_FEDERATED_CLIENT_H

#include "comm/wire.h"
#include "core/base/field.h"
#include "core/base/hash.h"
#include "core/base/log.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_client_config {
    const char *name, *state_dir, *admin, *quiet, *ask;
    bool rotate_keys;
    int64_t max_model_mib, threads, nice;
    double connect_s, retry_s, give_up_s, idle_s, ask_s;
    const struct lmb_tree *secure_aggregation; /* what this client insists on: federated/client_secagg.c */
} lmb_client_config;
extern const lmb_field lmb_client_fields[];

/* What to train; everything is borrowed and stays as it is until `train` returns. */
typedef struct lmb_train_task {
    uint64_t round;
    const float *model; /* (n) */
    size_t n;
    lmb_hash layout;
    const void *graph; /* as the server's owner gave it; NULL when empty */
    size_t graph_bytes;
    const char *settings;
    int threads;               /* to train on at most; 0: as the settings say */
    struct lmb_client *client; /* NULL in a simulation */
} lmb_train_task;

/* What came of it. */
typedef struct lmb_train_result {
    float *delta;      /* (n) to be filled: trained model minus task->model */
    uint64_t examples; /* it was trained on: its weight in the average      */
    lmb_figures metrics;
} lmb_train_result;

typedef struct lmb_local_trainer {
    lmb_status (*train)(void *ctx, const lmb_train_task *task, lmb_train_result *result, lmb_error *err);
    void *ctx;
} lmb_local_trainer;

/* For use within `train`: steps done so far, which the server takes for a sign of progress; and whether the result
 * is still wanted. */
void lmb_client_progress(const lmb_train_task *task, uint64_t steps);
bool lmb_client_cancelled(const lmb_train_task *task);

typedef struct lmb_client lmb_client;

/* What can be said of settings alone. */
LMB_MUST_CHECK lmb_status lmb_client_check(const lmb_client_config *cfg, lmb_error *err);
/* `invite` may be NULL or empty for a client that has enrolled before.
 *   owns  cfg's texts are borrowed until destroy */
LMB_MUST_CHECK lmb_status lmb_client_create(const lmb_client_config *cfg, const char *invite,
                                            const lmb_local_trainer *trainer, const lmb_log *log, lmb_client **out,
                                            lmb_error *err);
void lmb_client_destroy(lmb_client *c); /* NULL is a no-op */
/* Take part until the server says that it is over. */
LMB_MUST_CHECK lmb_status lmb_client_run(lmb_client *c, lmb_error *err);
void lmb_client_stop(lmb_client *c);

#ifdef __cplusplus
}
#endif
#endif
