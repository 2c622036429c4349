/* federated/client_parts.h - what the files of the client share: client.c (life, identity), client_link.c (connection),
 * client_fetch.c (what a task needs), client_work.c (tasks, training, uploads), client_update.c (what is sent). Not for
 * others. */
#ifndef LMB_FEDERATED_CLIENT_PARTS_H
#define LMB_FEDERATED_CLIENT_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "federated/client.h"
#include "federated/crash.h"
#include "federated/secagg/client.h"
#include "federated/session.h"

/* A blob on its way in, or whole. Kept over lost connections and from round to round. */
typedef struct download {
    lmb_blob_id id;
    uint8_t *data; /* one NUL byte beyond the end */
    uint64_t have;
    bool complete;
} download;
enum { DOWNLOAD_MODEL, DOWNLOAD_GRAPH, DOWNLOAD_SETTINGS, DOWNLOAD_SESSION, DOWNLOADS };

typedef struct lmb_client_secure {
    bool required;
    int64_t mode, clients_min, neighbours_min;
    double adversaries, dropouts, floor, noise_min;
} lmb_client_secure;

/* The secure sum under way: client_secagg.c. */
typedef struct secure_client {
    lmb_client_secure o;
    lmb_blob_id id;        /* of the task's session; 0 bytes: none */
    lmb_error error;       /* why it failed                        */
    lmb_secagg_coding coding;
    bool hidden;           /* else the integers go in the clear    */
    lmb_roster roster;
    lmb_secagg_client *sum; /* NULL: none, or it has failed        */
    lmb_message_pieces in;
    bool taken, announced; /* a message of the server was; the first one of ours was, on this connection */
    lmb_hash last;         /* what was taken                       */
    lmb_str reply, masked; /* and answered; what announces the vector */
    lmb_ring_vector ring;  /* the update as integers               */
    uint64_t cut;          /* numbers of it that were beyond the coding's clip */
} secure_client;

/* What the client believes (client_trust.c). */
typedef struct client_trust {
    bool on;                        /* it was given the admin's key                  */
    uint8_t admin[LMB_SIGN_PUBLIC];
    bool pinned;                    /* it has seen a roster before, of:              */
    lmb_hash federation, hash;
    uint64_t version;
    lmb_roster roster;              /* n 0: none yet in this process                 */
    lmb_blob_id believed;           /* its bytes                                     */
    bool fetching;                  /* the one below is on its way                   */
    lmb_blob_id id;
    uint8_t *data;
    uint64_t have;
    bool rotating;                  /* new keys lie beside the old ones              */
    bool refused;                   /* it is the client that does not want this server */
} client_trust;

struct lmb_client {
    lmb_client_config cfg;
    lmb_local_trainer trainer;
    const lmb_log *log;
    char path[3800]; /* state_dir */
    uint8_t secret[LMB_NOISE_KEY], sign_secret[LMB_SIGN_SECRET];
    client_trust trust;
    lmb_invite invite;
    lmb_token token;
    bool enrolled, has_token;
    bool known;      /* this server has taken us before: it is only away, whatever happens */

    bool may;        /* what `ask` said last, at `asked` (0: never) */
    double asked;
    bool resting;    /* it may not work now: the connection is to end */
    const char *why;

    int fd, lock, wake[2]; /* -1: closed */
    lmb_channel *channel;
    bool greeted;    /* HELLO was sent on this connection                     */
    bool heard;      /* the server has answered it                           */
    int rejected;    /* handshakes in a row that the server broke off        */
    double last_alive, last_heard;

    bool has_task, finished;
    double later;    /* seconds: the server has no work now, hang up and come back; 0: it did not say so */
    lmb_crash crash;
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
    float *model;                   /* of `work`, where it came encoded; else NULL */
    uint8_t *payload;               /* the update, encoded                   */
    size_t payload_bytes;
    bool within;                    /* the change was not above work.clip    */
    lmb_status result_status;
    lmb_error result_error;
    secure_client secure;
    bool has_result, offered, uploading;
    lmb_blob_id result_id;
    uint64_t sent;
};

/* client.c */
LMB_MUST_CHECK lmb_status lmbi_client_remember(lmb_client *c, lmb_error *err); /* enrolled with this server */
LMB_MUST_CHECK lmb_status lmbi_client_clock(lmb_client *c, uint64_t *time, lmb_error *err);

/* client_trust.c */
LMB_MUST_CHECK lmb_status lmbi_trust_open(lmb_client *c, lmb_error *err); /* and the client's keys */
void lmbi_trust_close(lmb_client *c);
LMB_MUST_CHECK lmb_status lmbi_trust_greet(lmb_client *c, lmb_error *err); /* after HELLO */
LMB_MUST_CHECK lmb_status lmbi_trust_message(lmb_client *c, const lmb_record *r, bool *mine, lmb_error *err);
bool lmbi_trust_ready(const lmb_client *c); /* may it work? */
/* The new keys take the place of the old ones. */
LMB_MUST_CHECK lmb_status lmbi_trust_adopt(lmb_client *c, lmb_error *err);

/* client_link.c */
LMB_MUST_CHECK lmb_status lmbi_link_open(lmb_client *c, lmb_error *err);
void lmbi_link_close(lmb_client *c);
/* Wait for bytes, a finished training or `seconds`; read, handle, write. */
LMB_MUST_CHECK lmb_status lmbi_link_turn(lmb_client *c, double seconds, lmb_error *err);
/* Wait without a connection. */
void lmbi_link_pause(lmb_client *c, double seconds);

/* client_fetch.c */
bool lmbi_same_blob(const lmb_blob_id *a, const lmb_blob_id *b);
/* Is what a task announces possible? */
LMB_MUST_CHECK lmb_status lmbi_fetch_check(const lmb_client *c, const lmb_task_message *t, lmb_error *err);
/* Ask for the next blob that is missing; *all when none is. */
LMB_MUST_CHECK lmb_status lmbi_fetch_next(lmb_client *c, bool *all, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_fetch_chunk(lmb_client *c, const lmb_record *r, lmb_error *err);

/* client_work.c */
LMB_MUST_CHECK lmb_status lmbi_work_message(lmb_client *c, const lmb_record *r, lmb_error *err);
/* Begin what can begin: collect a finished training, start one, fill the channel with chunks. */
LMB_MUST_CHECK lmb_status lmbi_work_step(lmb_client *c, lmb_error *err);
/* The task has failed before it was trained: what to tell the server. */
void lmbi_work_failed(lmb_client *c, const lmb_error *e);
void lmbi_work_join(lmb_client *c); /* cancel and wait for the training thread */
void lmbi_work_free(lmb_client *c);

void lmbi_work_rest(lmb_client *c); /* the same, and forget what it was about */

/* client_manners.c */
LMB_MUST_CHECK lmb_status lmbi_manners_check(const lmb_client_config *cfg, lmb_error *err);
/* Is this minute of the day (0 to 1439) within "22:00-07:00"? */
bool lmbi_manners_quiet(const char *hours, int minute);
/* May it work now? c->why says why not. Asks at once before a round, else each ask_s. */
bool lmbi_manners_go(lmb_client *c, bool before_round);
/* On the training thread. */
void lmbi_manners_worker(const lmb_client *c);

/* client_secagg.c */
LMB_MUST_CHECK lmb_status lmbi_session_open(lmb_client *c, lmb_error *err); /* the settings */
/* client_terms.c: what this client wants of any secure sum. */
LMB_MUST_CHECK lmb_status lmbi_session_check_offer(const lmb_client_secure *o, lmb_secure_mode mode,
                                                   const lmb_secagg_coding *c, lmb_error *err);
void lmbi_session_drop(lmb_client *c);
/* All of the task is here: begin its session or go on with it. *train: it may be trained now. */
LMB_MUST_CHECK lmb_status lmbi_session_step(lmb_client *c, bool *train, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_session_message(lmb_client *c, const lmb_record *r, lmb_error *err);
/* On the training thread: the trained change as integers. */
LMB_MUST_CHECK lmb_status lmbi_session_encode(lmb_client *c, lmb_error *err);
/* On the client's thread: hidden and packed, c->payload. Then, before each offer of it: what announces it. */
LMB_MUST_CHECK lmb_status lmbi_session_hide(lmb_client *c, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_session_offer(lmb_client *c, lmb_error *err);
/* client_model.c. Is what is announced of the model possible, within `limit` bytes? Then, once it is here: the model of
 * c->work. */
LMB_MUST_CHECK lmb_status lmbi_model_check(const lmb_task_message *t, uint64_t limit, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_model_open(lmb_client *c, const float **out, lmb_error *err);

/* client_update.c, on the training thread: c->payload of c->result, c->work and c->spec. */
LMB_MUST_CHECK lmb_status lmbi_update_make(lmb_client *c, lmb_error *err);
/* The server has gone on without the update of `round`. */
void lmbi_update_unsent(const lmb_client *c, uint64_t round);

#endif
