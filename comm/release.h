/* comm/release.h - the signature of a deployed model.
 *
 * Idea: a `.lmb` ends with 96 bytes: the signer's Ed25519 public key and its signature over all bytes before. The key
 * says which of the trusted keys to ask, no more: one that is not on the device's list is refused whatever it signs.
 * What is signed begins with the magic number of a .lmb, so no signature of another kind by this key can stand for it.
 *
 *   source   RFC 8032, section 5.1, as libsodium has it
 *   threads  pure functions
 */
#ifndef LMB_COMM_RELEASE_H
#define LMB_COMM_RELEASE_H

#include "comm/keys.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_RELEASE_SIGNATURE = LMB_SIGN_PUBLIC + LMB_SIGNATURE };

void lmb_release_sign(const uint8_t secret[LMB_SIGN_SECRET], const uint8_t *message, size_t n,
                      uint8_t signature[LMB_RELEASE_SIGNATURE]);

typedef struct lmb_release_keys {
    const uint8_t (*key)[LMB_SIGN_PUBLIC];
    int n;
} lmb_release_keys;

/* `verify` of lmb_edge_trust, core/edge/lmb.h; ctx: const lmb_release_keys *. */
int lmb_release_verify(void *ctx, const uint8_t *message, size_t n, const uint8_t *signature, size_t signature_bytes);

#ifdef __cplusplus
}
#endif
#endif
