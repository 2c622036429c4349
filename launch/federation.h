/* launch/federation.h - the `federation` section: who serves, who joins, how clients train.
 *
 * The settings of local training (federated/local.h) go to the clients as YAML text.
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
    const lmb_tree *server, *local, *distill, *groups, *simulate;
} lmb_federation_config;
extern const lmb_field lmb_federation_fields[];

/* Bind the section of a job; E_ARG when the configuration has none. */
LMB_MUST_CHECK lmb_status lmb_federation_of(const lmb_job *j, lmb_federation_config *out, lmb_error *err);
/* The server's rows, launch/cmd_serve.c. state_dir defaults to <run>/federation/server, kept in `path`. */
struct lmb_server_config;
LMB_MUST_CHECK lmb_status lmb_federation_server(const lmb_job *j, const lmb_federation_config *c,
                                                struct lmb_server_config *out, char path[LMB_FEDERATION_PATH],
                                                lmb_error *err);
/* Slice i of k of the clients' samples; a view, the caller's. */
LMB_MUST_CHECK lmb_status lmb_federation_slice(const lmb_job *j, const lmb_federation_config *c, int i, int k,
                                               lmb_dataset **out, lmb_error *err);

#endif
