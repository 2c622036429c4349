/* federated/journal.h - what the server must remember when it is killed: one SQLite file in WAL mode.
 *
 * Idea: a round either happened or it did not. The model is written to its own file first, whole (core/base/file.h);
 * one transaction then moves the round number and the model's hash on. Killed before that, the server repeats the
 * round from the old model; killed after, it goes on from the new one. Clients and tokens live in the same file
 * (federated/members.h), so that people can invite, approve and revoke beside a running server.
 *
 *   files    <dir>/journal.db; <dir>/model-<round>.f32, state-<round>.bin: the committed and the best round
 *   errors   E_IO with SQLite's own sentence; E_FORMAT when a model file does not match the journal
 *   threads  one journal belongs to one thread; several processes may have the file open
 */
#ifndef LMB_FEDERATED_JOURNAL_H
#define LMB_FEDERATED_JOURNAL_H

#include <stdbool.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "federated/crash.h"
#include "federated/privacy/rdp.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_journal lmb_journal;

/* Where the federation stands. */
typedef struct lmb_journal_state {
    uint64_t round; /* rounds that are over, abandoned ones included */
    uint64_t model_round;      /* the round whose model file is current */
    lmb_hash layout;
    uint64_t n;
    lmb_hash model, state;     /* hashes of the two files; state_bytes 0: no state file */
    uint64_t state_bytes;
    bool has_best, has_best_hash; /* the hash: not of a best model that was written before journals knew it */
    lmb_hash best;
    uint64_t best_round;
    double best_score;
    double first_score; /* of the model of round 0; NAN: was not evaluated */
    bool has_ledger;    /* a private federation */
    lmb_rdp_ledger ledger;
    bool async;         /* rounds are versions of an asynchronous server (server_async.c) */
    uint64_t turn;      /* async: turns given so far */
    double share;       /* of the clients, that the round under way has drawn */
} lmb_journal_state;

/* A client at work: its *turn* is the number that its task has. In rounds all have the round's; an asynchronous server
 * counts. */
typedef struct lmb_journal_turn {
    int64_t client;
    uint64_t turn, version; /* version: rounds that were over when the task was given */
    lmb_hash model;
} lmb_journal_turn;

/* What a selection goes by. */
typedef struct lmb_journal_known {
    int64_t client;
    uint64_t examples; /* 0: not known */
    double loss;       /* mean training loss as last reported, NAN: never */
    uint64_t last;     /* the turn in which it last took part, 0: never   */
    double seconds;    /* from its last task to its update */
} lmb_journal_known;

/* What ends with a round: nobody is at work for it any more, or the buffer is empty; and what was learnt of clients. */
typedef struct lmb_journal_round {
    bool turns, buffer; /* these are over */
    bool committed;     /* the updates of the known are in the model */
    const lmb_journal_known *known;
    size_t n_known;
} lmb_journal_round;

/* Creates the folder and the file when absent. */
LMB_MUST_CHECK lmb_status lmb_journal_open(const char *dir, lmb_journal **out, lmb_error *err);
void lmb_journal_close(lmb_journal *j); /* NULL is a no-op */
void lmb_journal_crash(lmb_journal *j, lmb_crash *crash); /* points to pass; borrowed, NULL: none */

/* *found false: a new journal. */
LMB_MUST_CHECK lmb_status lmb_journal_load(lmb_journal *j, lmb_journal_state *s, bool *found, lmb_error *err);
/* Make `s` the state. When s->model_round == s->round, `model` (n floats) and `state` are written first; else the
 * round was abandoned and they are NULL. Files that are neither current nor best are removed afterwards. `r`, in the
 * same transaction, may be NULL. Fills in s->model, s->state. */
LMB_MUST_CHECK lmb_status lmb_journal_commit(lmb_journal *j, lmb_journal_state *s, const float *model,
                                             const void *state, const lmb_journal_round *r, lmb_error *err);
/* Read the files of `round`; state may be NULL. */
LMB_MUST_CHECK lmb_status lmb_journal_model(lmb_journal *j, const lmb_journal_state *s, float *model, void *state,
                                            lmb_error *err);
/* The model of best_round; s->has_best. */
LMB_MUST_CHECK lmb_status lmb_journal_best(lmb_journal *j, const lmb_journal_state *s, float *model, lmb_error *err);

/* Who is at work from now on (s->turn and s->share with it), in one transaction. */
LMB_MUST_CHECK lmb_status lmb_journal_ask(lmb_journal *j, const lmb_journal_state *s, const lmb_journal_turn *turn,
                                          size_t n, lmb_error *err);
/* A client that is no longer. */
LMB_MUST_CHECK lmb_status lmb_journal_release(lmb_journal *j, int64_t client, lmb_error *err);
/* Its update waits in the spool; head[bytes] is its UPDATE message. It is not at work any more. */
LMB_MUST_CHECK lmb_status lmb_journal_buffer(lmb_journal *j, const lmb_journal_turn *turn, const void *head,
                                             size_t bytes, const lmb_journal_known *known, lmb_error *err);
/* All that are at work, all that wait, in the order of their turns; `take` may be called no more after it fails. */
LMB_MUST_CHECK lmb_status lmb_journal_turns(lmb_journal *j,
                                            lmb_status (*take)(void *ctx, const lmb_journal_turn *t,
                                                               const uint8_t public_key[32], lmb_error *err),
                                            void *ctx, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_journal_buffered(lmb_journal *j,
                                               lmb_status (*take)(void *ctx, const lmb_journal_turn *t,
                                                                  const void *head, size_t bytes, lmb_error *err),
                                               void *ctx, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_journal_known_of(lmb_journal *j, int64_t client, lmb_journal_known *out, lmb_error *err);
/* Clients that were told that all rounds are over; how many enrolled ones were not. Another task unmakes that. */
LMB_MUST_CHECK lmb_status lmb_journal_told(lmb_journal *j, const int64_t *client, size_t n, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_journal_untold(lmb_journal *j, uint64_t *n, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
