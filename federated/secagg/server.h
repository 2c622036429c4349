/* federated/secagg/server.h - the server's part in one secure sum: it carries messages, adds vectors, removes masks.
 *
 * Idea: the round is a row of stages. In each the clients that came through the one before owe a message; `take` works
 * on what arrives, `advance` closes the stage, and who has not answered by then is a drop-out. The caller decides when:
 * when nobody is owed, or at a deadline. As long as every client keeps `threshold` neighbours the sum comes out,
 * exactly, of those who sent a vector; otherwise the session ends with a sentence and no sum.
 *
 *    stage       owed                       then, for each that answered
 *    ADVERTISE   ADVERTISE                  message KEYS
 *    SHARE       SHARES                     message BOXES
 *    MASK        MASKED and the vector      message DROPPED
 *    CONSENT     CONSISTENT (malicious)     message CONSENTS
 *    REVEAL      REVEAL                     finish: the sum
 *
 * Vectors are added as they come, one client after the other, in blocks of any size that is a multiple of eight
 * numbers; a vector that began must end, so the caller begins one when it has it whole (in its spool file). One that
 * comes after its stage closed is refused: its client counts as dropped, and its mask key may be known by then.
 *
 * What clients reveal is checked against what they announced: a mask key against the public key, a mask against its
 * commitment. One wrong share among more than `threshold` is found and left out.
 *
 *   memory   the vector + clients x degree shares
 *   errors   of take and vector: E_DENIED, E_FORMAT: the message is refused and nothing has changed. Of advance and
 *            finish: E_PEER, too few are left, the session is over
 *   threads  one server belongs to one thread; finish uses the pool
 */
#ifndef LMB_FEDERATED_SECAGG_SERVER_H
#define LMB_FEDERATED_SECAGG_SERVER_H

#include "federated/secagg/mask.h"
#include "federated/secagg/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    LMB_SECAGG_STAGE_ADVERTISE,
    LMB_SECAGG_STAGE_SHARE,
    LMB_SECAGG_STAGE_MASK,
    LMB_SECAGG_STAGE_CONSENT,
    LMB_SECAGG_STAGE_REVEAL,
    LMB_SECAGG_STAGE_UNMASK, /* nothing is owed; finish is next */
    LMB_SECAGG_STAGE_OVER
} lmb_secagg_stage;

typedef struct lmb_secagg_server_setup {
    const lmb_secagg_session *session;
    const lmb_roster *roster; /* kept until destroy */
    const uint32_t *cohort;   /* (n) ids of the clients that were asked, ascending */
    uint32_t n;
    lmb_secagg_trust trust;  /* its mode is the session's; from it follow degree and threshold */
    lmb_secagg_shape shape;  /* degree 0: from trust; else this one, cut to a complete graph when fewer advertise */
    uint32_t clients_min;    /* of the sum; 0: 3 */
    const uint8_t *seed;     /* (32) of the order on the ring; NULL: from the system. Set by tests */
} lmb_secagg_server_setup;

typedef struct lmb_secagg_server lmb_secagg_server;

LMB_MUST_CHECK lmb_status lmb_secagg_server_create(const lmb_secagg_server_setup *setup, lmb_secagg_server **out,
                                                   lmb_error *err);
void lmb_secagg_server_destroy(lmb_secagg_server *s); /* NULL is a no-op; wipes */

lmb_secagg_stage lmb_secagg_server_stage(const lmb_secagg_server *s);
bool lmb_secagg_server_owes(const lmb_secagg_server *s, uint32_t id); /* does this client owe a message now? */
uint32_t lmb_secagg_server_owed(const lmb_secagg_server *s);          /* how many do */
lmb_secagg_shape lmb_secagg_server_shape(const lmb_secagg_server *s); /* known after ADVERTISE */

/* A message of client `from`; all but MASKED. */
LMB_MUST_CHECK lmb_status lmb_secagg_server_take(lmb_secagg_server *s, uint32_t from, const uint8_t *bytes, size_t n,
                                                 lmb_error *err);
/* The message that client `to` gets in this stage, appended.  errors  E_ARG when it gets none */
LMB_MUST_CHECK lmb_status lmb_secagg_server_message(const lmb_secagg_server *s, uint32_t to, lmb_str *out,
                                                    lmb_error *err);

/* MASKED, then its vector in order, then the end. */
LMB_MUST_CHECK lmb_status lmb_secagg_server_vector(lmb_secagg_server *s, uint32_t from, const uint8_t *bytes, size_t n,
                                                   lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_secagg_server_block(lmb_secagg_server *s, const uint8_t *packed, size_t numbers,
                                                  lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_secagg_server_vector_end(lmb_secagg_server *s, lmb_error *err);

/* Close the stage: who owes is dropped. */
LMB_MUST_CHECK lmb_status lmb_secagg_server_advance(lmb_secagg_server *s, lmb_error *err);

/* Remove the masks. On success `sum` is the caller's (lmb_ring_deinit): the sum of `clients` vectors. */
LMB_MUST_CHECK lmb_status lmb_secagg_server_finish(lmb_secagg_server *s, lmb_pool *pool, lmb_ring_vector *sum,
                                                   uint32_t *clients, lmb_error *err);
/* Who makes the masks that come off; copied. Without, the pool's threads do. */
void lmb_secagg_server_masker(lmb_secagg_server *s, const lmb_masker *masker);

#ifdef __cplusplus
}
#endif
#endif
