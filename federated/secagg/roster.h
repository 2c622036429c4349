/* federated/secagg/roster.h - who the clients of a federation are: numbers and long-term keys, signed by the admin.
 *
 * Idea: the server passes the clients' keys of a round on to each other, so it could put in its own. It cannot when
 * each client signs its keys and everyone knows the signers: the roster is that table, and the key that signs it need
 * not be on the server. Its hash is part of every round's session, so all clients of a round hold the same one.
 *
 *     "LMBR"  u32 n  u64 version  federation (32)  n x { u32 number, Ed25519 public key (32) }  signature (64)
 *
 * little-endian. Numbers ascend and no key is there twice. The signature is over all that stands before it. The version
 * only grows: who has accepted one takes no older, so a client that was removed cannot be brought back by an old
 * roster. Before it is signed, a roster travels to the admin without its last 64 bytes.
 *
 *   errors   E_FORMAT malformed; E_DENIED the signature is not the admin's
 *   threads  a roster is never written after it was opened
 */
#ifndef LMB_FEDERATED_SECAGG_ROSTER_H
#define LMB_FEDERATED_SECAGG_ROSTER_H

#include "comm/keys.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_roster_row {
    uint32_t id;
    uint8_t key[LMB_SIGN_PUBLIC];
} lmb_roster_row;

typedef struct lmb_roster {
    uint32_t n;
    uint64_t version;
    lmb_hash federation; /* drawn when the federation began */
    lmb_roster_row *row; /* [n], ids ascending */
    lmb_hash hash;       /* of all of that: what was signed */
} lmb_roster;

/* The bytes of rows (ids ascending) without a signature, and that signature: what the admin does, offline. Both append
 * to `out`; sign looks at what it signs as open does.  errors  E_ARG, E_NOMEM; E_FORMAT */
LMB_MUST_CHECK lmb_status lmb_roster_write(const lmb_roster_row *row, uint32_t n, uint64_t version,
                                           const lmb_hash *federation, lmb_str *out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_roster_sign(const uint8_t *unsigned_roster, size_t n,
                                          const uint8_t admin_secret[LMB_SIGN_SECRET], lmb_str *out, lmb_error *err);
/* `federation` NULL: of any; r->federation says which. `admin_public` NULL: of an unsigned roster, to show it. */
LMB_MUST_CHECK lmb_status lmb_roster_open(lmb_roster *r, const uint8_t *bytes, size_t n, const lmb_hash *federation,
                                          const uint8_t admin_public[LMB_SIGN_PUBLIC], lmb_error *err);
void lmb_roster_close(lmb_roster *r);
const uint8_t *lmb_roster_key(const lmb_roster *r, uint32_t id); /* NULL: nobody of that number */

#ifdef __cplusplus
}
#endif
#endif
