/* federated/privacy/noise.h - noise that nobody can guess: a ChaCha20 stream, normal and discrete normal numbers from
 * it.
 *
 * Idea: a generator for simulations would let whoever guesses its seed take the noise off again. Here a key of 32 bytes
 * comes from the system (libsodium), and nothing else is known of it; only a test gives one.
 *
 *   lmb_dp_normal    Box-Muller in double, cut by its 53 bits at 8.6 standard deviations. Added to a sum of integers
 *                    after rounding, which is the same as rounding the noisy sum: so no low bits of a float give the
 *                    sum away (Mironov, CCS 2012).
 *   lmb_dp_discrete  exactly the discrete normal distribution, P(k) ~ exp(-k^2 / (2 sigma^2)) over the integers, in
 *                    integer arithmetic alone: for clients that add noise before secure aggregation.
 *
 *   source   Canonne, Kamath, Steinke: The discrete Gaussian for differential privacy. NeurIPS 2020, arXiv:2004.00010,
 *            algorithms 1 to 3. Distributed: Kairouz, Liu, Steinke, ICML 2021, arXiv:2102.06387
 *   threads  a stream belongs to one thread
 */
#ifndef LMB_FEDERATED_PRIVACY_NOISE_H
#define LMB_FEDERATED_PRIVACY_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_DP_KEY = 32, LMB_DP_SIGMA2_BITS = 54 };

typedef struct lmb_dp_stream {
    uint8_t key[LMB_DP_KEY], nonce[8], block[512];
    uint64_t at; /* of the next block of 64 bytes */
    uint32_t used;
    double spare;
    bool has_spare;
} lmb_dp_stream;

/* key NULL: a fresh one. `which` tells streams of one key apart. Wipe it when it is no longer needed. */
void lmb_dp_stream_open(lmb_dp_stream *s, const uint8_t *key, uint64_t which);
void lmb_dp_stream_wipe(lmb_dp_stream *s);

uint64_t lmb_dp_u64(lmb_dp_stream *s);
double lmb_dp_uniform(lmb_dp_stream *s); /* [0, 1), 53 bits     */
double lmb_dp_normal(lmb_dp_stream *s);  /* mean 0, variance 1  */

/* The variance parameter is an integer, 1 .. 2^LMB_DP_SIGMA2_BITS. */
int64_t lmb_dp_discrete(lmb_dp_stream *s, uint64_t sigma2);
/* The variance of that distribution: sigma2 but for less than 1e-6 of it. */
double lmb_dp_discrete_variance(uint64_t sigma2);
/* What each of `clients` adds so that the sum of those that stay, all but a share `dropped` at worst, has the variance
 * (z clip)^2, in units of the ring squared; rounded up.
 *   errors  E_ARG when it is above 2^LMB_DP_SIGMA2_BITS */
LMB_MUST_CHECK lmb_status lmb_dp_share(double z, double clip, uint64_t clients, double dropped, uint64_t *sigma2,
                                       lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
