/* federated/board.h - how a federation is doing, for people and for their monitoring.
 *
 * Idea: one snapshot, four ways to say it: a page, JSON, Prometheus text, lines for a terminal. What is over lies in
 * the journal, so a snapshot can be taken without a server; a running server adds what goes on now. Nothing of a client
 * is in it but number, state and how often it took part: no name, no address, no count of its data, no update.
 *
 *   owns     lmb_board_free frees what lmb_board_load allocated
 *   threads  a snapshot belongs to whoever made it
 *   source   Prometheus text exposition format, version 0.0.4
 */
#ifndef LMB_FEDERATED_BOARD_H
#define LMB_FEDERATED_BOARD_H

#include "core/base/str.h"
#include "federated/members.h"
#include "federated/server.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A round that is over. */
typedef struct lmb_board_round {
    uint64_t round, selected, updates, bytes_in, bytes_out;
    bool committed;
    double seconds, score, epsilon; /* score NAN: none; epsilon NAN: not private */
    lmb_spread fare[LMB_FARES];     /* of those clients that have told; nobody's own */
} lmb_board_round;

typedef struct lmb_board_client {
    int64_t id, seen; /* seconds since 1970 */
    lmb_client_state state;
    uint64_t rounds;
    const char *now; /* "away", "waiting", "idle", "works", "delivered", "out"; static storage */
} lmb_board_client;

typedef struct lmb_board {
    bool live; /* a server filled in the next lines */
    const char *phase; /* "gathering clients", "in a round", "ending"; static storage */
    uint64_t rounds, selected, delivered, connected;
    double phase_s;
    bool has_best;
    uint64_t round, best_round; /* rounds that are over */
    uint64_t abandoned, updates, bytes_in, bytes_out; /* of all rounds; history has the last ones */
    double best_score, first_score, epsilon, budget, delta; /* NAN: there is none */
    lmb_board_round *history;
    lmb_board_client *clients;
    size_t n_history, n_clients;
} lmb_board;

/* Remember a round that is over; of round 0 only the score. */
LMB_MUST_CHECK lmb_status lmb_journal_report(lmb_journal *j, const lmb_round_report *r, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_board_load(lmb_journal *j, lmb_board *out, lmb_error *err);
void lmb_board_free(lmb_board *s);

/* The last round in which clients told how they fare, and what a row of it is called; NULL: none. */
const lmb_board_round *lmb_board_fares(const lmb_board *s);
extern const char *const lmb_board_fare_says[LMB_FARES];

void lmb_board_json(const lmb_board *s, lmb_str *out);
void lmb_board_metrics(const lmb_board *s, lmb_str *out);
void lmb_board_text(const lmb_board *s, lmb_str *out);
/* One self-contained page without scripts, that loads itself anew every few seconds (board_page.c). */
void lmb_board_page(const lmb_board *s, lmb_str *out);

#ifdef __cplusplus
}
#endif
#endif
