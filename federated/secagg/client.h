/* federated/secagg/client.h - a client's part in one secure sum: messages in, messages out.
 *
 * Idea: the client trusts its own roster, model and assumptions, and nothing the server says. One object is one
 * session, answered once: whatever does not fit ends it, its secrets are wiped, and no later message brings it back.
 * In particular it gives for each neighbour one share, either of its own mask (it stayed) or of its mask key (it was
 * dropped): who has both of some client has that client's update. It works out itself who stayed, so that no message
 * could ask for both.
 *
 *     create -> ADVERTISE    take(KEYS) -> SHARES    take(BOXES)    mask -> MASKED    take(DROPPED) -> REVEAL
 *     malicious mode         take(DROPPED) -> CONSISTENT            take(CONSENTS) -> REVEAL
 *
 * A box that does not open costs nothing: the client has no share of that neighbour, and others do.
 *
 *   errors   E_DENIED what the server asks is refused; E_FORMAT; E_PEER too few clients are left. All are final.
 *   threads  one client belongs to one thread
 */
#ifndef LMB_FEDERATED_SECAGG_CLIENT_H
#define LMB_FEDERATED_SECAGG_CLIENT_H

#include "federated/secagg/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_secagg_client_setup {
    const lmb_secagg_session *session;
    const lmb_roster *roster; /* kept until destroy */
    uint32_t id;
    const uint8_t *sign_secret; /* (64) long-term Ed25519 key; copied */
    lmb_secagg_trust trust;     /* its mode is the session's          */
    uint32_t clients_min;       /* at least so many in the sum, as far as this client sees; 0: 3 */
    uint32_t neighbours_min;    /* the server chooses the neighbours: so many must be needed to surround this client */
    const uint8_t *seed;        /* (32) all it draws; NULL: from the system. Set by tests */
    /* Called once, before the masked vector exists: may this client answer in this round? The caller keeps the greatest
     * round it has answered, on disk, for the server may ask twice and subtract. NULL: the caller takes care. */
    lmb_status (*spend)(void *ctx, uint64_t round, lmb_error *err);
    void *ctx;
} lmb_secagg_client_setup;

typedef struct lmb_secagg_client lmb_secagg_client;

/* Appends ADVERTISE to `reply`.  errors  E_ARG */
LMB_MUST_CHECK lmb_status lmb_secagg_client_create(const lmb_secagg_client_setup *setup, lmb_secagg_client **out,
                                                   lmb_str *reply, lmb_error *err);
void lmb_secagg_client_destroy(lmb_secagg_client *c); /* NULL is a no-op; wipes */

/* Work on a message of the server; appends the answer, if there is one. On failure `reply` may hold a part of it. */
LMB_MUST_CHECK lmb_status lmb_secagg_client_take(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply,
                                                 lmb_error *err);
/* After BOXES: hide the encoded update in place, append MASKED. Send that and then the packed vector. */
LMB_MUST_CHECK lmb_status lmb_secagg_client_mask(lmb_secagg_client *c, lmb_ring_vector *v, lmb_pool *pool,
                                                 lmb_str *reply, lmb_error *err);
bool lmb_secagg_client_wants_vector(const lmb_secagg_client *c); /* BOXES was taken, mask is next */
bool lmb_secagg_client_done(const lmb_secagg_client *c);         /* REVEAL was given */

#ifdef __cplusplus
}
#endif
#endif
