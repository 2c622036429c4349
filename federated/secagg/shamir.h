/* federated/secagg/shamir.h - a secret of 32 bytes in n shares, of which any t give it back and fewer say nothing.
 *
 * Idea: the secret is the value at 0 of a random polynomial of degree t - 1, a share its value at the holder's own
 * place x. The field is the integers modulo p = 2^61 - 1: it has room for every client (a field of 256 elements
 * would end at 255 holders; a complete graph of 500 has 499), and its arithmetic is two shifts and an add, without a
 * branch or a table that could depend on a secret. A secret is five numbers of 7, 7, 7, 7 and 4 bytes, a share five
 * numbers of 8 bytes.
 *
 * To join, each share is weighed with a number that depends on the holders' places alone, so secrets with the same
 * holders need these weights once.
 *
 *   source   Shamir: How to share a secret. CACM 22, 1979
 *   threads  pure
 */
#ifndef LMB_FEDERATED_SECAGG_SHAMIR_H
#define LMB_FEDERATED_SECAGG_SHAMIR_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "federated/secagg/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_SHAMIR_SECRET = 32, LMB_SHAMIR_SHARE = 40 };

/* Shares for the holders at x[0..n): distinct, from 1 to 2^32. 2 <= threshold <= n. The polynomials are a function of
 * the seed: a fresh one for each secret.
 *   shapes  shares [n][LMB_SHAMIR_SHARE]
 *   errors  E_ARG, E_NOMEM */
LMB_MUST_CHECK lmb_status lmb_shamir_split(const uint8_t secret[LMB_SHAMIR_SECRET], uint32_t threshold,
                                           const uint64_t *x, uint32_t n, const uint8_t seed[LMB_SECAGG_SEED],
                                           uint8_t *shares, lmb_error *err);

/* The weights of t holders.  errors  E_ARG when a place is twice there or outside its range */
LMB_MUST_CHECK lmb_status lmb_shamir_weights(const uint64_t *x, uint32_t t, uint64_t *weights, lmb_error *err);
/* The secret from share[i] of holder i.
 *   errors  E_FORMAT when these are no shares of one secret, as far as that shows; a wrong share usually shows only
 *           when the secret is compared with what its owner announced */
LMB_MUST_CHECK lmb_status lmb_shamir_join(const uint64_t *weights, const uint8_t *const *share, uint32_t t,
                                          uint8_t secret[LMB_SHAMIR_SECRET], lmb_error *err);
/* Are these bytes five numbers below p?  E_FORMAT */
LMB_MUST_CHECK lmb_status lmb_shamir_share_check(const uint8_t share[LMB_SHAMIR_SHARE], lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
