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
#include "federated/messages.h"
#include "federated/secagg/roster.h"
#include "federated/server.h"
#include "federated/board_http.h"
#include "federated/upload.h"

typedef enum { MEMBER_IDLE, MEMBER_SELECTED, MEMBER_DELIVERED, MEMBER_OUT } member_status;

typedef struct member {
    uint8_t public_key[LMB_NOISE_KEY], sign[LMB_SIGN_PUBLIC];
    int64_t id;
    char name[LMB_JOURNAL_NAME];
    lmb_client_state state;
    struct peer *peer;    /* takes part in rounds; NULL: not connected, or */
    struct peer *waiting; /* connected, and may not take part yet          */
    uint64_t gave;        /* examples of its update in this round, 0: none */
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
enum { BLOB_MODEL, BLOB_GRAPH, BLOB_SETTINGS, BLOB_ROSTER, BLOBS };

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

/* What the clients of a round have told. */
typedef struct lmbi_fares { double *v; size_t n, cap; } lmbi_fares;

/* What people decide beside the server (server_people.c). */
typedef struct people {
    double looked;                   /* when the journal was last asked               */
    bool required;                   /* only clients of a roster that `admin` signed  */
    uint8_t admin[LMB_SIGN_PUBLIC];
    bool roster_stale, roster_told;  /* there may be another one; all who take part know of it */
    bool unsorted;                   /* members may have to wait, or not to wait any more     */
    lmb_roster roster;               /* n 0: none yet; changes between rounds only    */
    void *roster_bytes;
    bool rotating;                   /* the server's key changes                      */
    uint8_t next_secret[LMB_NOISE_KEY];
    int64_t rotation_ends;           /* seconds since 1970                            */
} people;

struct lmb_server {
    lmb_server_config cfg;
    lmb_server_job job;
    char address[LMB_HOST_MAX], state_dir[3800], spool[3900];
    uint8_t secret[LMB_NOISE_KEY];
    lmb_journal *journal;
    people people;
    lmb_board_http *board; /* NULL: no page */
    double board_at;
    uint64_t board_news; /* what the last snapshot told; 0: none yet */
    lmb_journal_state state;
    lmb_codec_spec codec, download;
    uint8_t *encoded; /* the model for clients, where it is encoded */
    lmb_privacy privacy;
    double share;    /* of the clients, that the round has drawn */
    uint64_t within; /* updates that were not cut at the clip    */
    const lmb_aggregator *aggregator;
    void *aggregator_config, *sum;
    float *model, *delta, *before; /* (n); before: what the round's updates are changes of, where the job refines */
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
    lmbi_fares fare[LMB_FARES];
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
/* Refuse the peer for good: it may not, or it does not keep to the protocol. */
void lmbi_peer_expel(peer *p, const lmb_error *e);

/* server_people.c */
LMB_MUST_CHECK lmb_status lmbi_people_open(lmb_server *s, lmb_error *err);
void lmbi_people_close(lmb_server *s);
void lmbi_people_check(lmb_server *s); /* at every tick */
void lmbi_people_arrived(peer *p);     /* its member is known: it takes part, or waits */
LMB_MUST_CHECK lmb_status lmbi_people_rotate(peer *p, const lmb_rotate_message *r, lmb_error *err);
void lmbi_people_credit(lmb_server *s); /* the round's updates are in the model: members' `gave` into the journal */

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
/* server_model.c: s->state.model is what clients are to train; what they are given of it, out[n]. */
LMB_MUST_CHECK lmb_status lmbi_model_publish(lmb_server *s, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_model_given(const lmb_server *s, float *out, lmb_error *err);
/* server_spread.c: how the clients of a round fare; at the end s->report.fare. */
void lmbi_fares_begin(lmb_server *s);
void lmbi_fares_add(lmb_server *s, const lmb_figures *told);
void lmbi_fares_end(lmb_server *s);
void lmbi_fares_free(lmb_server *s);
/* Its upload is complete: check it and give it to the aggregator, or keep it until all are there, or both. */
LMB_MUST_CHECK lmb_status lmbi_round_take(lmb_server *s, member *m, lmb_error *err);
/* s->model by the job's `refine`. */
LMB_MUST_CHECK lmb_status lmbi_round_refine(lmb_server *s, lmb_error *err);
static inline bool lmbi_round_keeps(const lmb_server *s) { return s->aggregator->needs_all || s->job.refine; }
void lmbi_round_update(lmb_server *s, member *m, const lmb_update_message *head);
void lmbi_round_chunk(lmb_server *s, member *m, const lmb_record *r);

/* server_board.c */
LMB_MUST_CHECK lmb_status lmbi_board_open(lmb_server *s, lmb_error *err);
void lmbi_board_check(lmb_server *s); /* at every tick */
void lmbi_board_round(lmb_server *s, const lmb_round_report *r);

/* server.c: end the loop with an error. */
void lmbi_server_fail(lmb_server *s, const lmb_error *error);

#endif
