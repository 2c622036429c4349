/* federated/server_parts.h - what the files of the server share: server.c (life), server_round.c (rounds),
 * server_peer.c (connections). Not for others.
 *
 * A *peer* is a connection; a *member* is an enrolled client this process has seen, connected or not. What a round
 * knows of a client hangs on the member, so that a lost connection loses nothing.
 */
#ifndef LMB_FEDERATED_SERVER_PARTS_H
#define LMB_FEDERATED_SERVER_PARTS_H

#include <uv.h>

#include "federated/members.h"
#include "federated/server.h"
#include "federated/upload.h"

typedef enum { MEMBER_IDLE, MEMBER_SELECTED, MEMBER_DELIVERED, MEMBER_OUT } member_status;

typedef struct member {
    uint8_t public_key[LMB_NOISE_KEY], sign[LMB_SIGN_PUBLIC];
    int64_t id;
    char name[LMB_JOURNAL_NAME];
    struct peer *peer; /* NULL: not connected */
    member_status status;
    bool told;         /* DONE or a final refusal was sent */
    uint64_t steps;    /* as last reported */
    double progress, gone; /* seconds: last sign of progress; when the connection was lost */
    lmb_upload upload;
    struct member *next;
} member;

/* A blob clients may ask for; borrowed memory that lives as long as the server. */
typedef struct blob {
    lmb_blob_id id;
    const uint8_t *data;
} blob;
enum { BLOB_MODEL, BLOB_GRAPH, BLOB_SETTINGS, BLOBS };

typedef struct peer {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    /* told: DONE or a final refusal is queued; shut: it has left, the client hangs up when it has read it */
    bool writing, closing, told, shut;
    lmb_server *server;
    lmb_channel *channel;
    member *member;              /* NULL until its HELLO was accepted */
    char address[64];
    double since, heard; /* when it came, or was told; when its last bytes came */
    const blob *sending;         /* the transfer under way, NULL: none */
    uint64_t send_at;
    uint32_t send_message;
    uint8_t *wire;               /* the bytes of the write under way */
    size_t wire_cap;
    uint8_t inbox[16384];
    struct peer *next, *previous;
} peer;

typedef enum { PHASE_GATHER, PHASE_ROUND, PHASE_FAREWELL } server_phase;

struct lmb_server {
    lmb_server_config cfg;
    lmb_server_job job;
    char address[LMB_HOST_MAX], state_dir[3800], spool[3900];
    uint8_t secret[LMB_NOISE_KEY];
    lmb_journal *journal;
    lmb_journal_state state;
    lmb_codec_spec codec;
    lmb_privacy privacy;
    double share;    /* of the clients, that the round has drawn */
    uint64_t within; /* updates that were not cut at the clip    */
    const lmb_aggregator *aggregator;
    void *aggregator_config, *sum;
    float *model, *delta; /* (n) */
    blob blobs[BLOBS];

    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t tick;
    uv_async_t wake;
    bool loop_open, stopping;
    int port, lock; /* lock: descriptor, -1 none */
    peer *peers;
    int n_peers;
    member *members;

    server_phase phase;
    double phase_since;
    lmb_round_report report;
    double metric_weight[LMB_METRICS_MAX]; /* examples behind each row of report.clients, while it is a sum */
    lmb_status outcome; /* why the loop ended, when it was an error */
    lmb_error error;
};

static inline double lmbi_now(const lmb_server *s) { return (double)uv_now(&s->loop) / 1000; }

/* server_peer.c */
void lmbi_peer_accept(uv_stream_t *listener, int status);
void lmbi_peer_flush(peer *p);
void lmbi_peer_close(peer *p);
/* Tell the peer a last sentence and hang up once it is sent. */
void lmbi_peer_farewell(peer *p, lmb_message_type type, const lmb_round_note *note);
void lmbi_peer_task(peer *p);
void lmbi_peers_check(lmb_server *s);

/* server_round.c */
/* The model that clients are given first is a candidate like any other: score and commit it. */
LMB_MUST_CHECK lmb_status lmbi_round_zero(lmb_server *s, lmb_error *err);
void lmbi_round_tick(lmb_server *s);
/* Would a round that draws this share of the clients spend more than the privacy budget? Says so. */
bool lmbi_round_spent(lmb_server *s, double share);
/* `sentence` goes to the log, and to the client when it is connected. */
void lmbi_member_out(lmb_server *s, member *m, const char *sentence);
/* s->delta from the spooled updates of the round, for an aggregator that needs them all. */
lmb_status lmbi_round_all(lmb_server *s, lmb_error *err);
void lmbi_round_update(lmb_server *s, member *m, const lmb_update_message *head);
void lmbi_round_chunk(lmb_server *s, member *m, const lmb_record *r);

/* server.c: end the loop with an error. */
void lmbi_server_fail(lmb_server *s, const lmb_error *error);

#endif
