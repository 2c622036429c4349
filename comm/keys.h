/* comm/keys.h - the files that keep secret keys.
 *
 * Idea: a party has two long-term keys. One makes its channels (X25519, comm/noise.h); the other signs what others pass
 * on in its name (Ed25519: keys of a secure sum, a roster). Both grow from 32 random bytes, so one kind of file keeps
 * either: one line of 64 hexadecimal digits, mode 0600, written whole or not at all.
 *
 *   errors   E_DENIED when other users may read the file; E_FORMAT when it holds no key; E_IO
 *   threads  several processes that make the same file at once end with the same key
 *   source   RFC 7748 and RFC 8032, section 5.1.5, as libsodium has them
 */
#ifndef LMB_COMM_KEYS_H
#define LMB_COMM_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LMB_KEY_SECRET = 32,  /* bytes in a key file                                     */
    LMB_SIGN_PUBLIC = 32, /* Ed25519: public key                                     */
    LMB_SIGN_SECRET = 64, /* the seed, then the public key: libsodium's secret key   */
    LMB_SIGNATURE = 64
};

/* The secret key in `path`, made on first use. */
LMB_MUST_CHECK lmb_status lmb_key_file(const char *path, uint8_t secret[LMB_KEY_SECRET], lmb_error *err);
/* The same for a key that signs. */
LMB_MUST_CHECK lmb_status lmb_sign_file(const char *path, uint8_t secret[LMB_SIGN_SECRET], lmb_error *err);
/* The public half; lives in `secret`. */
const uint8_t *lmb_sign_public(const uint8_t secret[LMB_SIGN_SECRET]);
/* A public key as people pass it on: 64 hexadecimal digits.  errors  E_ARG not that */
enum { LMB_PUBLIC_TEXT = 2 * LMB_SIGN_PUBLIC + 1 };
void lmb_public_format(const uint8_t key[LMB_SIGN_PUBLIC], char out[LMB_PUBLIC_TEXT]);
LMB_MUST_CHECK lmb_status lmb_public_parse(const char *text, uint8_t key[LMB_SIGN_PUBLIC], lmb_error *err);
/* What people compare over the telephone: the first 16 digits of a public key's hash. A client is its signing key: with
 * it it signs every channel it opens, and the roster names it by it. */
enum { LMB_FINGERPRINT = 17 };
void lmb_fingerprint(const uint8_t key[LMB_SIGN_PUBLIC], char out[LMB_FINGERPRINT]);
/* Keep `n` bytes of secrets out of the swap file, where the system's limits allow it; and wipe them, and let them
 * go. */
void lmb_secret_lock(void *secret, size_t n);
void lmb_secret_wipe(void *secret, size_t n);

#ifdef __cplusplus
}
#endif
#endif
