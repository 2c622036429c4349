/* federated/secagg/mask.h - hiding a vector under keystreams, and taking them off again.
 *
 * Idea: a mask is the ChaCha20 keystream of a key of 32 bytes (nonce 0, counter 0), read as little-endian words and
 * added to the vector, or subtracted. The ring is a power of two, so every keystream word is a uniform element of it
 * as it is. A block of the vector takes all its masks while it is in the cache; blocks are independent, so threads
 * share them and the result is the same for any number.
 *
 *   source   RFC 8439, by libsodium
 *   threads  distinct vectors are independent
 */
#ifndef LMB_FEDERATED_SECAGG_MASK_H
#define LMB_FEDERATED_SECAGG_MASK_H

#include <stdbool.h>

#include "core/base/threads.h"
#include "federated/secagg/pack.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_MASK_KEY = 32 };

typedef struct lmb_mask {
    uint8_t key[LMB_MASK_KEY];
    bool subtract;
} lmb_mask;

/* v += or -= each of the masks. `pool` NULL: in the caller.
 *   errors  E_ARG beyond 2^32 blocks of keystream (256 GiB of words) */
LMB_MUST_CHECK lmb_status lmb_mask_apply(lmb_ring_vector *v, const lmb_mask *masks, size_t n_masks, lmb_pool *pool,
                                         lmb_error *err);

/* Who does the same work elsewhere, on a GPU; it must leave the same bits. */
typedef struct lmb_masker {
    lmb_status (*apply)(void *ctx, lmb_ring_vector *v, const lmb_mask *masks, size_t n_masks, lmb_pool *pool,
                        lmb_error *err);
    void *ctx;
} lmb_masker;

#ifdef __cplusplus
}
#endif
#endif
