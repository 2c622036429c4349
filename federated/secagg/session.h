/* federated/secagg/session.h - what one secure sum is about, and the keys that follow from it.
 *
 * Idea: each party computes the session's name from what it holds itself: federation, run, round, the model it
 * trained, the coding and the roster. Every signature, box and mask depends on that name. A server that gives clients
 * different models, rosters or settings thus splits them into sessions whose signatures do not verify for each other,
 * instead of getting a sum in which only one client takes part.
 *
 *   source   the attack: Pasquini, Francati, Ateniese: Eluding secure aggregation in federated learning via model
 *            inconsistency, CCS 2022
 *   threads  pure
 */
#ifndef LMB_FEDERATED_SECAGG_SESSION_H
#define LMB_FEDERATED_SECAGG_SESSION_H

#include "federated/secagg/coding.h"
#include "federated/secagg/graph.h"
#include "federated/secagg/mask.h"
#include "federated/secagg/messages.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_secagg_session {
    lmb_hash federation, run;
    uint64_t round;
    lmb_hash model; /* of the global model's bytes, as this party has them */
    lmb_secagg_mode mode;
    lmb_secagg_coding coding;
} lmb_secagg_session;

lmb_hash lmb_secagg_sid(const lmb_secagg_session *s, const lmb_roster *roster);

/* ---- for client.c and server.c ---- */

/* Secrets by name out of a party's seed. */
void lmbi_secagg_derive(const uint8_t seed[LMB_SECAGG_SEED], const char *what, uint8_t out[32]);

/* A client's keys, bound to session and number. */
void lmbi_secagg_keys_sign(const lmb_hash *sid, lmb_secagg_keys *k, const uint8_t secret[LMB_SIGN_SECRET]);
/* E_DENIED: nobody of that number, or not signed by them for this session. */
LMB_MUST_CHECK lmb_status lmbi_secagg_keys_check(const lmb_hash *sid, const lmb_secagg_keys *k,
                                                 const lmb_roster *roster, lmb_error *err);

/* E_DENIED for a key of low order: whatever it is combined with, the result is zero. */
LMB_MUST_CHECK lmb_status lmbi_secagg_public_check(const uint8_t public_key[32], uint32_t id, lmb_error *err);

/* The list of who was dropped, as one number that a client signs. */
lmb_hash lmbi_secagg_dropped_hash(const lmb_hash *sid, const lmb_secagg_entries *dropped);
void lmbi_secagg_consent_sign(const lmb_hash *sid, const lmb_hash *dropped, uint32_t id,
                              const uint8_t secret[LMB_SIGN_SECRET], uint8_t signature[LMB_SIGNATURE]);
LMB_MUST_CHECK lmb_status lmbi_secagg_consent_check(const lmb_hash *sid, const lmb_hash *dropped, uint32_t id,
                                                    const uint8_t signature[LMB_SIGNATURE], const lmb_roster *roster,
                                                    lmb_error *err);

/* BLAKE2b of the shared X25519 secret, the session and both numbers. A pair has one mask key, so `a` is the lower
 * number there; a box has its direction.
 *   errors  E_DENIED the peer's key is of low order: the secret would be known to all */
typedef enum { LMBI_KEY_BOX, LMBI_KEY_MASK } lmbi_key_use;
LMB_MUST_CHECK lmb_status lmbi_secagg_agree(const uint8_t secret[32], const uint8_t public_key[32], const lmb_hash *sid,
                                            lmbi_key_use use, uint32_t a, uint32_t b, uint8_t key[32], lmb_error *err);
/* A pair's mask as `self` adds it: the client of the greater number adds, the other subtracts. */
LMB_MUST_CHECK lmb_status lmbi_secagg_pair_mask(const uint8_t secret[32], const uint8_t public_key[32],
                                                const lmb_hash *sid, uint32_t self, uint32_t other, lmb_mask *out,
                                                lmb_error *err);
/* A client's own mask from its secret, and what it announces of that secret. */
void lmbi_secagg_own_mask(const uint8_t secret[32], const lmb_hash *sid, uint32_t id, lmb_mask *out);
lmb_hash lmbi_secagg_commit(const uint8_t secret[32], const lmb_hash *sid, uint32_t id);

/* Two shares, sealed from one client to another. */
void lmbi_secagg_seal(const uint8_t key[32], const lmb_hash *sid, uint32_t from, uint32_t to,
                      const uint8_t shares[2 * LMB_SHAMIR_SHARE], uint8_t box[LMB_SECAGG_BOX]);
/* False when it does not open. */
bool lmbi_secagg_unseal(const uint8_t key[32], const lmb_hash *sid, uint32_t from, uint32_t to,
                        const uint8_t box[LMB_SECAGG_BOX], uint8_t shares[2 * LMB_SHAMIR_SHARE]);

#ifdef __cplusplus
}
#endif
#endif
