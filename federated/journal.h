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
    bool has_best;
    uint64_t best_round;
    double best_score;
    double first_score; /* of the model of round 0; NAN: was not evaluated */
    bool has_ledger;    /* a private federation */
    lmb_rdp_ledger ledger;
} lmb_journal_state;

/* Creates the folder and the file when absent. */
LMB_MUST_CHECK lmb_status lmb_journal_open(const char *dir, lmb_journal **out, lmb_error *err);
void lmb_journal_close(lmb_journal *j); /* NULL is a no-op */

/* *found false: a new journal. */
LMB_MUST_CHECK lmb_status lmb_journal_load(lmb_journal *j, lmb_journal_state *s, bool *found, lmb_error *err);
/* Make `s` the state. When s->model_round == s->round, `model` (n floats) and `state` are written first; else the
 * round was abandoned and they are NULL. Files that are neither current nor best are removed afterwards.
 * Fills in s->model, s->state. */
LMB_MUST_CHECK lmb_status lmb_journal_commit(lmb_journal *j, lmb_journal_state *s, const float *model,
                                             const void *state, lmb_error *err);
/* Read the files of `round`; state may be NULL. */
LMB_MUST_CHECK lmb_status lmb_journal_model(lmb_journal *j, const lmb_journal_state *s, float *model, void *state,
                                            lmb_error *err);
/* "<dir>/model-<round>.f32" */
LMB_MUST_CHECK lmb_status lmb_journal_model_path(const lmb_journal *j, uint64_t round, char *out, size_t cap,
                                                 lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
