/* federated/session.h - how a secure sum travels: what it is about, in one blob; its messages, in records.
 *
 * Idea: the server describes a round's secure sum in a blob that clients fetch like graph and settings (TASK.session):
 * who it is among, how numbers become integers, which sum of this server it is. From that and from what it holds itself
 * (the model's bytes, the task) a client names the session as federated/secagg/session.h says, so whatever a server
 * tells two clients differently puts them into different sessions.
 *
 *     blob      a head (rows below), then the roster's bytes (federated/secagg/roster.h)
 *     SECAGG    a message of federated/secagg/messages.h: record.message is its size, record.offset the place of the
 *               piece
 *     UPDATE    announces the hidden vector, with codec "ring" and nothing else: no examples, no metrics
 *
 * With mode `off` the same integers are summed in the clear: nothing is hidden, and the sum is the same to the last
 * bit.
 *
 *   errors   E_FORMAT; E_DENIED a roster that is not signed as it should be
 *   threads  pure
 */
#ifndef LMB_FEDERATED_SESSION_H
#define LMB_FEDERATED_SESSION_H

#include "federated/messages.h"
#include "federated/secagg/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    LMB_SECURE_CURIOUS,
    LMB_SECURE_MALICIOUS,
    LMB_SECURE_OFF
} lmb_secure_mode; /* on the wire; as lmb_secagg_mode */

typedef struct lmb_session_head {
    lmb_hash federation;
    uint64_t number; /* of this server's sums, counting from 1; never used twice */
    uint32_t mode;   /* lmb_secure_mode */
    uint32_t clients, weight_max, value_bits, ring_bits;
    double clip;
    uint64_t noise;
    uint8_t admin[LMB_SIGN_PUBLIC]; /* whose signature the roster has */
} lmb_session_head;

/* Head and roster bytes, appended. */
LMB_MUST_CHECK lmb_status lmb_session_write(const lmb_session_head *head, const void *roster, size_t roster_bytes,
                                            lmb_str *out, lmb_error *err);
/* `roster` points into `bytes`; its signature is not looked at here. */
LMB_MUST_CHECK lmb_status lmb_session_read(const uint8_t *bytes, size_t n, lmb_session_head *head,
                                           const uint8_t **roster, size_t *roster_bytes, lmb_error *err);
/* What both sides make of a task and a session's head. */
lmb_secagg_coding lmb_session_coding(const lmb_session_head *head, uint64_t n);
lmb_secagg_session lmb_session_of(const lmb_session_head *head, const lmb_task_message *task);
/* Which way a client's numbers are rounded: of the task's seed, so that the sum can be computed again. */
void lmb_session_seed(const lmb_task_message *task, uint8_t seed[LMB_SECAGG_SEED]);

/* Would a client of these settings take part in such sums? coding: not looked at in mode off.  errors  E_DENIED why not
 * (federated/client_secagg.c) */
struct lmb_client_config;
LMB_MUST_CHECK lmb_status lmb_client_check_offer(const struct lmb_client_config *cfg, lmb_secure_mode mode,
                                                 const lmb_secagg_coding *coding, lmb_error *err);

/* The only codec text of a round that is summed in the ring. */
#define LMB_SESSION_CODEC "ring"

/* A message in pieces. */
typedef struct lmb_message_pieces {
    uint8_t *bytes;
    size_t have, total;
} lmb_message_pieces;

/* Add a piece; *whole: all are here, and are the caller's until lmb_pieces_drop. A piece at 0 begins anew.
 *   errors  E_FORMAT above `limit` bytes, or out of order; E_NOMEM */
LMB_MUST_CHECK lmb_status lmb_pieces_take(lmb_message_pieces *p, const lmb_record *r, size_t limit, bool *whole,
                                          lmb_error *err);
void lmb_pieces_drop(lmb_message_pieces *p);
/* The piece of a message of n bytes that begins at `at`. */
lmb_record lmb_piece_at(const void *bytes, size_t n, size_t at);

#ifdef __cplusplus
}
#endif
#endif
