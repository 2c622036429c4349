/* federated/client_parts.h - what the files of the client share: client.c (life, identity), client_link.c (connection),
 * client_work.c (tasks, transfers, training), client_update.c (what is sent). Not for others. */
#ifndef LMB_FEDERATED_CLIENT_PARTS_H
#define LMB_FEDERATED_CLIENT_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "federated/client.h"
#include "federated/messages.h"

/* A blob on its way in, or whole. Kept over lost connections and from round to round. */
typedef struct download {
    lmb_blob_id id;
    uint8_t *data; /* one NUL byte beyond the end */
    uint64_t have;
    bool complete;
} download;
enum { DOWNLOAD_MODEL, DOWNLOAD_GRAPH, DOWNLOAD_SETTINGS, DOWNLOADS };

struct lmb_client {
    lmb_client_config cfg;
    lmb_local_trainer trainer;
    const lmb_log *log;
    char path[3800]; /* state_dir */
    uint8_t secret[LMB_NOISE_KEY], sign_secret[LMB_SIGN_SECRET];
    lmb_invite invite;
    lmb_token token;
    bool enrolled, has_token;

    int fd, wake[2]; /* -1: closed */
    lmb_channel *channel;
    bool greeted;    /* HELLO was sent on this connection                     */
    bool heard;      /* the server has answered it                           */
    int rejected;    /* handshakes in a row that the server broke off        */
    double last_alive;

    bool has_task, finished;
    lmb_task_message task;
    download in[DOWNLOADS];
    int fetching; /* index into `in`, -1: none */

    pthread_t thread;
    bool training;                  /* the thread runs or waits to be joined */
    atomic_bool trained, cancelled, stop;
    atomic_ullong steps;
    lmb_task_message work;          /* what the thread trains               */
    lmb_train_task train_task;
    lmb_train_result result;        /* delta owned, until it is encoded; for `work` */
    lmb_codec_spec spec;            /* of `work`                             */
    uint8_t *payload;               /* the update, encoded                   */
    size_t payload_bytes;
    bool within;                    /* the change was not above work.clip    */
    lmb_status result_status;
    lmb_error result_error;
    bool has_result, uploading;
    lmb_blob_id result_id;
    uint64_t sent;
};

/* client.c */
LMB_MUST_CHECK lmb_status lmbi_client_remember(lmb_client *c, lmb_error *err); /* enrolled with this server */
LMB_MUST_CHECK lmb_status lmbi_client_clock(lmb_client *c, uint64_t *time, lmb_error *err);

/* client_link.c */
LMB_MUST_CHECK lmb_status lmbi_link_open(lmb_client *c, lmb_error *err);
void lmbi_link_close(lmb_client *c);
/* Wait for bytes, a finished training or `seconds`; read, handle, write. */
LMB_MUST_CHECK lmb_status lmbi_link_turn(lmb_client *c, double seconds, lmb_error *err);
/* Wait without a connection. */
void lmbi_link_pause(lmb_client *c, double seconds);

/* client_work.c */
LMB_MUST_CHECK lmb_status lmbi_work_message(lmb_client *c, const lmb_record *r, lmb_error *err);
/* Begin what can begin: collect a finished training, start one, fill the channel with chunks. */
LMB_MUST_CHECK lmb_status lmbi_work_step(lmb_client *c, lmb_error *err);
void lmbi_work_join(lmb_client *c); /* cancel and wait for the training thread */
void lmbi_work_free(lmb_client *c);

/* client_update.c, on the training thread: c->payload of c->result, c->work and c->spec. */
LMB_MUST_CHECK lmb_status lmbi_update_make(lmb_client *c, lmb_error *err);
/* The server has gone on without the update of `round`. */
void lmbi_update_unsent(const lmb_client *c, uint64_t round);

#endif
