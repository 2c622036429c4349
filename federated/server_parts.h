/* federated/server_parts.h - what the files of the server share: server.c (life), server_fields.c (settings),
 * server_desk.c (beside it), server_round.c (rounds), server_select.c (who takes part), server_update.c (what they
 * send), server_async.c (versions instead of rounds), server_worker.c and server_finish.c (what takes long, beside the
 * loop), server_end.c (farewells), server_peer.c (connections), server_message.c (what is said on them). Not for
 * others.
 *
 * A *peer* is a connection; a *member* is an enrolled client this process has seen, connected or not. What a round
 * knows of a client hangs on the member, so that a lost connection loses nothing.
 */
#ifndef LMB_FEDERATED_SERVER_PARTS_H
#define LMB_FEDERATED_SERVER_PARTS_H

#include <stdatomic.h>
#include <uv.h>

#include "federated/members.h"
#include "federated/messages.h"
#include "federated/secagg/roster.h"
#include "federated/select.h"
#include "federated/server.h"
#include "federated/board_http.h"
#include "federated/secure.h"
#include "federated/upload.h"

/* HANDED: its upload is whole and is the worker's, or waits for it: as good as delivered, nobody may end it. */
typedef enum { MEMBER_IDLE, MEMBER_SELECTED, MEMBER_HANDED, MEMBER_DELIVERED, MEMBER_OUT } member_status;

/* What a secure round knows of a client. */
typedef struct secure_member {
    bool vector;           /* its vector is in the sum                   */
    lmb_message_pieces in; /* a message that is coming                   */
    lmb_str masked, out;   /* what it said of its vector; what it is told */
    size_t out_at;         /* so much of it has left                     */
} secure_member;

typedef struct member {
    uint8_t public_key[LMB_NOISE_KEY], sign[LMB_SIGN_PUBLIC];
    int64_t id;
    char name[LMB_JOURNAL_NAME];
    lmb_client_state state;
    struct peer *peer;    /* takes part in rounds; NULL: not connected, or */
    struct peer *waiting; /* connected, and may not take part yet          */
    member_status status;
    bool told;         /* DONE or a final refusal was sent */
    bool paced;        /* it was told to go and come back later, */
    double due;        /* until then */
    bool stale;        /* chunks of an upload that was ended may still come */
    lmb_journal_turn at;   /* what it works on */
    lmb_journal_known known;
    uint64_t steps;    /* as last reported */
    double progress, gone; /* seconds: last sign of progress; when the connection was lost */
    double asked;      /* when its task was given */
    lmb_upload upload;
    secure_member secure;
    struct member *next;
    struct member *behind; /* HANDED: the one that was handed over after it */
} member;

static inline bool lmbi_at_work(const member *m) { return m->status == MEMBER_SELECTED || m->status == MEMBER_HANDED; }

/* A blob clients may ask for; borrowed memory that lives as long as the server. */
typedef struct blob {
    lmb_blob_id id;
    const uint8_t *data;
} blob;
enum { BLOB_MODEL, BLOB_GRAPH, BLOB_SETTINGS, BLOB_SESSION, BLOB_ROSTER, BLOBS };

typedef struct secure_round secure_round; /* server_secagg.h */

typedef struct peer {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    /* told: DONE or a final refusal is queued; shut: it has left, the client hangs up when it has read it */
    bool writing, closing, told, shut;
    bool held; /* not read from: too many uploads wait for the worker */
    lmb_server *server;
    lmb_channel *channel;
    member *member;              /* NULL until its HELLO was accepted */
    char address[64];
    double since, heard; /* when it came, or was told; when its last bytes came */
    const blob *sending;         /* the transfer under way, NULL: none */
    uint64_t send_at;
    uint32_t send_message;
    uint8_t *wire;               /* the bytes of the write under way; NULL: none */
    struct peer *next, *previous;
} peer;

/* PART: stopped, clients are told to come back. */
typedef enum { PHASE_GATHER, PHASE_ROUND, PHASE_ASYNC, PHASE_FAREWELL, PHASE_PART } server_phase;

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
/* What the clients of a round have told. */
typedef struct lmbi_fares { double *v; size_t n, cap; } lmbi_fares;

/* What runs beside the loop, one piece at a time (server_worker.c). */
typedef struct lmbi_worker {
    uv_thread_t thread;
    uv_sem_t wanted, over; /* a piece is there; it has run, and the loop does not know */
    uv_async_t told;
    bool open, busy, closing, finishing;
    lmb_status (*run)(lmb_server *s, lmb_error *err);            /* beside the loop      */
    void (*done)(lmb_server *s, lmb_status st, lmb_error *err);  /* on the loop's thread */
    lmb_status status;
    lmb_error error;
    member *first, *last, *now; /* uploads that wait; the one that is absorbed */
    size_t waiting, held;
} lmbi_worker;

/* What becomes of a round while it is finished, beside the loop: the worker's until it is done. */
typedef struct lmbi_next {
    lmb_round_report report;
    lmb_privacy privacy;
    float *model, *before; /* (n); before: what the updates are changes of, where the job refines */
    uint8_t *encoded;      /* the model for clients, where it is encoded */
    size_t encoded_bytes;
    lmb_updates updates;   /* of all who delivered, where they are needed together */
    member **from;
    uint64_t *examples;
    lmb_error no_sum;      /* why there is none, under secure aggregation */
} lmbi_next;

/* The file of an update that is in the buffer of mode async. */
typedef struct lmbi_buffered {
    uint64_t turn;
    int64_t client;
    lmb_hash content;
} lmbi_buffered;

struct lmb_server {
    lmb_server_config cfg;
    lmb_server_job job;
    char address[LMB_HOST_MAX], state_dir[3800], spool[3900];
    uint8_t secret[LMB_NOISE_KEY];
    lmb_vault *vault; /* where the channels lie */
    lmb_journal *journal;
    people people;
    lmb_board_http *board; /* NULL: no page */
    double board_at;
    uint64_t board_news; /* what the last snapshot told; 0: none yet */
    lmb_journal_state state;
    lmb_codec_spec codec, download;
    uint8_t *encoded; /* the model for clients, where it is encoded */
    lmb_privacy privacy;
    uint64_t within; /* updates that were not cut at the clip    */
    secure_round *secure; /* NULL: updates come in the clear */
    const lmb_aggregator *aggregator;
    void *aggregator_config, *sum;
    const lmb_selector *selector;
    void *selector_config;
    lmb_crash crash;
    float *model, *delta; /* (n) */
    lmbi_worker worker;
    lmbi_next next;
    blob blobs[BLOBS];

    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t tick;
    uv_async_t wake;
    bool loop_open, stopping;
    atomic_uint stops;  /* calls of lmb_server_stop */
    bool draining;      /* no task is given any more */
    bool warm;          /* async: there were enough clients once */
    struct { lmbi_buffered *v; size_t n, cap; } buffered;
    struct { double since; unsigned lines; unsigned long long more; } strangers; /* server_strangers.c */
    uint64_t expected;  /* clients of an earlier process that were not told of the end */
    double drain_since, round_seconds; /* the last round's */
    int port, lock; /* lock: descriptor, -1 none */
    uint8_t inbox[65536]; /* what was read from a connection, until its channel has taken it */
    peer *peers;
    int n_peers;
    member *members;

    server_phase phase;
    double phase_since;
    lmb_round_report report;
    lmbi_fares fare[LMB_FARES];
    double metric_weight[LMB_METRICS_MAX]; /* examples behind each row of report.clients, while it is a sum */
    lmb_error own_fault; /* why an update of the round could not be taken, when that was not its client's fault */
    lmb_status outcome; /* why the loop ended, when it was an error */
    lmb_error error;
};

static inline double lmbi_now(const lmb_server *s) { return (double)uv_now(&s->loop) / 1000; }

/* Greatest number of tasks at a time, and of updates that are averaged. */
size_t lmbi_server_width(const lmb_server *s);
uint64_t lmbi_server_need(const lmb_server *s);
/* The same of a configuration; clients that may be in one secure sum; what aggregators must be able to hold (rules.c).
 */
uint64_t lmbi_need(const lmb_server_config *c);
uint64_t lmbi_secure_most(const lmb_server_config *c, const lmb_privacy *p);
lmb_aggregator_limits lmbi_server_limits(const lmb_server_config *c, size_t n, const lmb_privacy *p);
extern const char *const lmbi_server_modes[]; /* by the value of cfg.mode */
static inline bool lmbi_is_async(const lmb_server *s) { return s->cfg.mode == LMB_MODE_ASYNC; }

/* server_peer.c */
void lmbi_peer_accept(uv_stream_t *listener, int status);
void lmbi_peer_flush(peer *p);
void lmbi_peer_close(peer *p);
/* Nothing, when its last sentence is on the way. */
void lmbi_peer_say(peer *p, lmb_message_type type, const void *message);
/* Tell the peer a last sentence and hang up once it is sent. */
void lmbi_peer_farewell(peer *p, lmb_message_type type, const void *message);
void lmbi_peers_check(lmb_server *s);
/* Read again from those that were held. */
void lmbi_peers_resume(lmb_server *s);
/* Refuse the peer for good: it may not, or it does not keep to the protocol. */
void lmbi_peer_expel(peer *p, const lmb_error *e);

/* server_message.c */
/* A round's task, but for what differs from client to client. */
lmb_task_message lmbi_task(const lmb_server *s);
void lmbi_peer_task(peer *p);
/* A record that has opened.  errors  the peer is to be expelled, with this sentence */
LMB_MUST_CHECK lmb_status lmbi_peer_take(peer *p, const lmb_record *r, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_member_make(lmb_server *s, const uint8_t *key, const lmb_journal_client *c, member **out,
                                           lmb_error *err);

/* server_people.c */
LMB_MUST_CHECK lmb_status lmbi_people_open(lmb_server *s, lmb_error *err);
void lmbi_people_close(lmb_server *s);
void lmbi_people_check(lmb_server *s); /* at every tick */
void lmbi_people_arrived(peer *p);     /* its member is known: it takes part, or waits */
LMB_MUST_CHECK lmb_status lmbi_people_rotate(peer *p, const lmb_rotate_message *r, lmb_error *err);

/* server_select.c */
uint64_t lmbi_members_connected(const lmb_server *s);
/* Are there as many as one wants to choose from, or enough and it took long? */
bool lmbi_select_ready(const lmb_server *s);
/* Choose at most `most` of those that are there and idle; journal them, give them tasks. *n of them; SIZE_MAX: nobody,
 * the privacy budget is spent. */
LMB_MUST_CHECK lmb_status lmbi_select_ask(lmb_server *s, size_t most, size_t *n, lmb_error *err);
/* Another task for one that is at work: the model it was to train is gone. */
LMB_MUST_CHECK lmb_status lmbi_select_again(lmb_server *s, member *m, lmb_error *err);
/* Those that were at work when an earlier process ended; *n of them. */
LMB_MUST_CHECK lmb_status lmbi_select_resume(lmb_server *s, size_t *n, lmb_error *err);
/* Its task is void, without blame; it comes back when there may be work. */
void lmbi_member_spare(lmb_server *s, member *m, const char *sentence);
/* With pace_s: those that have nothing to do need not stay. */
void lmbi_select_pace(lmb_server *s);

/* server_update.c */
void lmbi_note_to(member *m, lmb_message_type type, uint64_t round, const char *sentence);
/* `sentence` goes to the log, and to the client when it is connected. */
void lmbi_member_out(lmb_server *s, member *m, const char *sentence);
/* The same, and nothing is said in the log. */
void lmbi_member_dismiss(lmb_server *s, member *m, const char *sentence);
lmb_upload_rules lmbi_update_rules(lmb_server *s, const lmb_journal_turn *t);
/* It is part of the round: counted, averaged into the report. */
void lmbi_update_count(lmb_server *s, const lmb_update_message *head);
/* What it tells about its client, into m->known. */
void lmbi_update_learn(lmb_server *s, member *m, const lmb_update_message *head);
void lmbi_update_begin(lmb_server *s, member *m, const lmb_update_message *head);
void lmbi_update_chunk(lmb_server *s, member *m, const lmb_record *r);
/* The next that was handed over is its turn: true, and the worker may absorb it; or it is not wanted any more. */
bool lmbi_update_wanted(lmb_server *s, member *m);
/* The round has all the updates that it may take. */
bool lmbi_update_full(const lmb_server *s);
/* Beside the loop: check it, and give it to the sum. */
LMB_MUST_CHECK lmb_status lmbi_update_absorb(lmb_server *s, member *m, lmb_error *err);
/* On the loop: it is in the sum, or refused (st); its client is told. */
void lmbi_update_absorbed(lmb_server *s, member *m, lmb_status st, lmb_error *err);

/* server_worker.c */
LMB_MUST_CHECK lmb_status lmbi_worker_open(lmb_server *s, lmb_error *err);
/* The loop has ended: wait for what is under way, whose end is told to nobody. */
void lmbi_worker_close(lmb_server *s);
/* An upload is whole: it waits for its turn. */
void lmbi_worker_hand(lmb_server *s, member *m);
/* Begin with what waits, unless something is under way. */
void lmbi_worker_next(lmb_server *s);
/* All rounds are over and nothing is under way: what waits or is on its way is of no use any more. */
void lmbi_worker_clear(lmb_server *s);
/* Uploads wait, or one is absorbed: no stage of a round may end. */
static inline bool lmbi_worker_absorbs(const lmb_server *s) { return s->worker.now || s->worker.first; }
/* Nothing else may be under way. */
void lmbi_worker_start(lmb_server *s, lmb_status (*run)(lmb_server *s, lmb_error *err),
                       void (*done)(lmb_server *s, lmb_status st, lmb_error *err));
/* So many wait that connections which bring more are not to be read. */
bool lmbi_worker_crowded(const lmb_server *s);

/* server_finish.c */
/* The model that clients are given first is a candidate like any other: score and commit it. */
LMB_MUST_CHECK lmb_status lmbi_round_zero(lmb_server *s, lmb_error *err);
/* Apply, evaluate, commit, report what was absorbed: beside the loop, then on it. */
void lmbi_round_finish(lmb_server *s);

/* server_round.c */
/* Go on where the journal says that an earlier process was. */
LMB_MUST_CHECK lmb_status lmbi_round_resume(lmb_server *s, lmb_error *err);
void lmbi_round_tick(lmb_server *s);
void lmbi_round_look(lmb_server *s); /* in the next turn of the loop */
void lmbi_round_enter(lmb_server *s, server_phase phase);
void lmbi_round_report_begin(lmb_server *s);
/* Those at work that are gone or idle for too long are out; true: somebody is still at work. */
bool lmbi_round_expire(lmb_server *s);
/* Would a round that draws this share of the clients spend more than the privacy budget? Says so. */
bool lmbi_round_spent(lmb_server *s, double share);
/* server_all.c: the spooled updates of the round, for who needs them all; until they are dropped. */
LMB_MUST_CHECK lmb_status lmbi_round_gather(lmb_server *s, lmb_error *err);
void lmbi_round_drop(lmb_server *s);
/* server_model.c: make of s->next.model what clients are given; s->state.model is what they are to train; what they are
 * given of it, out[n]. */
LMB_MUST_CHECK lmb_status lmbi_model_encode(lmb_server *s, const float *model, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_model_publish(lmb_server *s, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_model_given(const lmb_server *s, float *out, lmb_error *err);
/* server_spread.c: how the clients of a round fare; at the end s->report.fare. */
void lmbi_fares_begin(lmb_server *s);
void lmbi_fares_add(lmb_server *s, const lmb_figures *told);
void lmbi_fares_end(lmb_server *s);
void lmbi_fares_free(lmb_server *s);
/* Its upload is complete: check it and give it to the aggregator, or keep it until all are there, or both. */
LMB_MUST_CHECK lmb_status lmbi_round_take(lmb_server *s, member *m, lmb_error *err);
static inline bool lmbi_round_keeps(const lmb_server *s) { return s->aggregator->needs_all || s->job.refine; }

/* server_async.c */
LMB_MUST_CHECK lmb_status lmbi_async_resume(lmb_server *s, lmb_error *err);
void lmbi_async_tick(lmb_server *s);
/* What an update counts, as old as it is. */
double lmbi_async_weight(const lmb_server *s, const lmb_journal_turn *t);
/* It is in the sum: journal it. */
LMB_MUST_CHECK lmb_status lmbi_async_took(lmb_server *s, member *m, lmb_error *err);
/* A version is committed: the files of its updates go. */
void lmbi_async_consumed(lmb_server *s);
/* A version is over, the next begins. */
void lmbi_async_next(lmb_server *s);
/* Is its model too old? Then it was spared. */
bool lmbi_async_too_old(lmb_server *s, member *m);
/* It asks for a model that is gone, or the model has changed while it was sent. */
void lmbi_async_renew(lmb_server *s, member *m);

/* server_end.c */
void lmbi_end_farewell(lmb_server *s);
/* After lmb_server_stop: is it time to part? Then it parts. */
void lmbi_end_drain(lmb_server *s);
void lmbi_end_part(lmb_server *s);

/* server_strangers.c: a warning about a connection that has proved no key; what was not told of, when it is time. */
void lmbi_stranger(lmb_server *s, const char *fmt, ...) LMB_PRINTF(2, 3);
void lmbi_strangers_check(lmb_server *s, bool over);

/* server_session.c, server_secagg.c; all of them do nothing, or say what holds for any round, without secure
 * aggregation. */
LMB_MUST_CHECK lmb_status lmbi_secure_open(lmb_server *s, lmb_error *err);
void lmbi_secure_close(lmb_server *s);
void lmbi_secure_describe(const lmb_server *s); /* in the log */
void lmbi_secure_forget(member *m);
/* A round's clients are selected. */
LMB_MUST_CHECK lmb_status lmbi_secure_begin(lmb_server *s, lmb_error *err);
/* A client that is back was given its task. */
void lmbi_secure_again(lmb_server *s, member *m);
void lmbi_secure_message(lmb_server *s, member *m, const lmb_record *r);
void lmbi_secure_rules(const lmb_server *s, lmb_upload_rules *rules);
bool lmbi_secure_hides(const lmb_server *s);
bool lmbi_secure_has(const lmb_server *s, const member *m); /* its vector */
/* A complete upload goes into the sum: what it says of itself, on the loop; then, beside it, its numbers (errors: the
 * sum is of no use any more); then it is there. */
LMB_MUST_CHECK lmb_status lmbi_secure_admit(lmb_server *s, member *m, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_secure_add(lmb_server *s, member *m, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_secure_added(lmb_server *s, member *m, lmb_error *err);
bool lmbi_secure_owes(const lmb_server *s, const member *m); /* is it waited for? */
/* Nobody is waited for: begin the next stage. False: there is none. */
bool lmbi_secure_advance(lmb_server *s);
/* The round is over: on the loop, forget what it knew of its clients. Beside it, its sum goes into the aggregator; how
 * many updates and examples are in it, into the next report. On the loop, end the session. */
void lmbi_secure_close_in(lmb_server *s);
void lmbi_secure_finish(lmb_server *s);
void lmbi_secure_leave(lmb_server *s);
bool lmbi_secure_noisy(const lmb_server *s); /* the clients have added the privacy's noise */

/* server_board.c */
LMB_MUST_CHECK lmb_status lmbi_board_open(lmb_server *s, lmb_error *err);
void lmbi_board_check(lmb_server *s); /* at every tick */
void lmbi_board_round(lmb_server *s, const lmb_round_report *r);

/* server.c: end the loop with an error. */
void lmbi_server_fail(lmb_server *s, const lmb_error *error);

#endif
