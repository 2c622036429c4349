/* federated/members.h - who the clients of a federation are: the part of the journal that people work on.
 *
 * Idea: a client is a row: its two keys, the state that people gave it, and what it has done. `limbeck federation`
 * changes rows in the same file beside the running server, which sees within a second that something changed
 * (lmb_journal_changed) and acts on it. Nothing has to be told to the server, so nothing needs a door into it.
 *
 *    waiting   holds an invite, and the federation wants each client approved by hand
 *    approved  may take part
 *    revoked   may not, for good: its row stays, so that its keys do not come back
 *
 *   threads  as the journal
 */
#ifndef LMB_FEDERATED_MEMBERS_H
#define LMB_FEDERATED_MEMBERS_H

#include "comm/invite.h"
#include "federated/journal.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_JOURNAL_NAME = 64 };

typedef enum { LMB_CLIENT_WAITING, LMB_CLIENT_APPROVED, LMB_CLIENT_REVOKED } lmb_client_state;
extern const char *const lmb_client_state_names[]; /* NULL-terminated */

typedef struct lmb_journal_client {
    int64_t id; /* small number for logs, from 1 */
    char name[LMB_JOURNAL_NAME];
    uint8_t public_key[LMB_NOISE_KEY], sign[LMB_SIGN_PUBLIC];
    uint64_t last_time; /* greatest handshake time seen */
    lmb_client_state state;
    int64_t seen;              /* when it last came, seconds since 1970; 0: never after it enrolled */
    uint64_t rounds, examples; /* updates that went into a model, and the examples behind them      */
} lmb_journal_client;

/* ---- coming in ---- */

LMB_MUST_CHECK lmb_status lmb_journal_add_token(lmb_journal *j, const lmb_token *t, int64_t expires, lmb_error *err);
/* The shared key of a token identifier, spent or not; E_DENIED when unknown. */
LMB_MUST_CHECK lmb_status lmb_journal_token(lmb_journal *j, const uint8_t id[LMB_TOKEN_ID], uint8_t psk[LMB_NOISE_KEY],
                                            lmb_error *err);
/* Spend the token for this client (its keys, name and first state are looked at), and enrol it. Doing so again with the
 * same keys is fine: the answer may have been lost. E_DENIED when the token has expired or was used by another key, or
 * the signing key is another client's. */
LMB_MUST_CHECK lmb_status lmb_journal_enrol(lmb_journal *j, const uint8_t id[LMB_TOKEN_ID],
                                            const lmb_journal_client *client, int64_t now, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_journal_find_client(lmb_journal *j, const uint8_t client[LMB_NOISE_KEY],
                                                  lmb_journal_client *out, bool *found, lmb_error *err);
/* It came at `now` with this handshake time. */
LMB_MUST_CHECK lmb_status lmb_journal_seen(lmb_journal *j, const uint8_t client[LMB_NOISE_KEY], uint64_t time,
                                           int64_t now, lmb_error *err);

/* Its keys are now these; E_DENIED when one of them is another client's. */
LMB_MUST_CHECK lmb_status lmb_journal_rotate(lmb_journal *j, int64_t id, const uint8_t public_key[LMB_NOISE_KEY],
                                             const uint8_t sign[LMB_SIGN_PUBLIC], lmb_error *err);

/* ---- what people do ---- */

/* All clients, by number; *out is the caller's to free, NULL when there is none. */
LMB_MUST_CHECK lmb_status lmb_journal_clients(lmb_journal *j, lmb_journal_client **out, size_t *n, lmb_error *err);
/* The one whose number is `who`, or whose fingerprint alone begins with it (4 digits at least).
 *   errors  E_ARG none, or more than one */
LMB_MUST_CHECK lmb_status lmb_journal_pick(lmb_journal *j, const char *who, lmb_journal_client *out, lmb_error *err);
/* E_ARG when the client is revoked already: that is for good. */
LMB_MUST_CHECK lmb_status lmb_journal_set_state(lmb_journal *j, int64_t id, lmb_client_state state, lmb_error *err);
/* Has another process written since the last call? The first call says no. */
LMB_MUST_CHECK lmb_status lmb_journal_changed(lmb_journal *j, bool *changed, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
