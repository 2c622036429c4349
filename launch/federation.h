/* launch/federation.h - the `federation` section: who serves, who joins, how clients train.
 *
 * The server hands clients the student's graph and the `local` settings; a client makes a trainer of them, runs it on
 * its own slice of the data and sends back the change. The settings go over the wire as YAML text and are bound like
 * any configuration, so nothing a server sends can be more than a wrong number with a sentence.
 *
 * A client knows few classes well and its labels are few: left alone, it forgets what it was sent. Two remedies, both
 * standard: `distill` holds it to the predictions of the round's model (train/loss.h), and `calibrate` tells the
 * cross-entropy how frequent each class is here, so that the classifier need not learn it (Zhang et al. 2022,
 * arXiv:2209.00189, with the form of Menon et al. 2021).
 *
 * Files that a client links know nothing of the server: its section is bound where it is served.
 */
#ifndef LMB_LAUNCH_FEDERATION_H
#define LMB_LAUNCH_FEDERATION_H

#include "federated/client.h"
#include "launch/job.h"

enum { LMB_FEDERATION_PATH = 1024 };

typedef struct lmb_federation_config {
    int64_t clients, partition, seed, least;
    double alpha, invite_ttl_s;
    const char *host;
    lmb_client_config client;
    const lmb_tree *server, *local;
} lmb_federation_config;
extern const lmb_field lmb_federation_fields[];

/* Bind the section of a job; E_ARG when the configuration has none. */
LMB_MUST_CHECK lmb_status lmb_federation_of(const lmb_job *j, lmb_federation_config *out, lmb_error *err);
/* The server's rows, launch/cmd_serve.c. state_dir defaults to <run>/federation/server, kept in `path`. */
struct lmb_server_config;
LMB_MUST_CHECK lmb_status lmb_federation_server(const lmb_job *j, const lmb_federation_config *c, struct lmb_server_config *out,
                                                char path[LMB_FEDERATION_PATH], lmb_error *err);
/* Slice i of k of the clients' samples; a view, the caller's. */
LMB_MUST_CHECK lmb_status lmb_federation_slice(const lmb_job *j, const lmb_federation_config *c, int i, int k, lmb_dataset **out,
                                               lmb_error *err);
/* Local training, for lmb_local_trainer: ctx is the client's data set. */
lmb_status lmb_federation_train(void *data, const lmb_train_task *task, lmb_train_result *result, lmb_error *err);

#endif
