/* core/base/hash.h - BLAKE2b-256 by libsodium: names for configurations, layouts, chunks and caches.
 *
 *   source   RFC 7693; libsodium crypto_generichash
 *   threads  distinct states are independent
 */
#ifndef LMB_CORE_BASE_HASH_H
#define LMB_CORE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_HASH_BYTES = 32, LMB_HASH_HEX = 65 };
typedef struct lmb_hash { uint8_t b[LMB_HASH_BYTES]; } lmb_hash;
typedef struct lmb_hasher { _Alignas(64) uint8_t opaque[448]; } lmb_hasher;

void lmb_hash_begin(lmb_hasher *h);
void lmb_hash_add(lmb_hasher *h, const void *data, size_t n);
/* Length-prefixed text, so that ("ab","c") and ("a","bc") differ. */
void lmb_hash_add_text(lmb_hasher *h, const char *text);
lmb_hash lmb_hash_end(lmb_hasher *h);
lmb_hash lmb_hash_of(const void *data, size_t n);
void lmb_hash_hex(const lmb_hash *h, char hex[LMB_HASH_HEX]);

#ifdef __cplusplus
}
#endif
#endif
