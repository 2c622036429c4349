/* federated/secagg/coding.h - an update as integers whose sum cannot run over, and the mean back from that sum.
 *
 * Idea: masks cancel exactly only for integers, so an update x of weight w becomes round(w * clip(x) * L / C), where
 * C is the clip and L = 2^(value_bits - 1) - 1. Rounding is up or down at random with the right mean, so the errors of
 * many clients cancel instead of adding up. The weight w = min(examples, weight_max) is one more number at the end of
 * the vector: the server learns the sum of weights, not how many examples anyone has.
 *
 *     sum_i = sum over clients of w * x_i * L / C,    W = sum of w,    mean_i = sum_i / W * C / L
 *
 * A sum is at most clients * weight_max * L away from 0, and must stay below 2^(ring_bits - 1): a configuration where
 * it might not is refused, for a sum that wrapped looks like any other.
 *
 * In a private federation each client adds a part of the noise to its numbers before they are hidden: discrete normal
 * noise, of which the sum of all that stay is as much as a central server would have added. Nobody ever holds the sum
 * without it. The ring has room for twelve standard deviations of it; beyond lie fewer than 1e-32 of the sums.
 */
#ifndef LMB_FEDERATED_SECAGG_CODING_H
#define LMB_FEDERATED_SECAGG_CODING_H

#include "federated/privacy/noise.h"
#include "federated/secagg/pack.h"
#include "federated/secagg/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_CODING_BITS_MAX = 24, LMB_CODING_WEIGHT_MAX = 1 << 28 };

typedef struct lmb_secagg_coding {
    uint64_t length;     /* numbers of an update; its vector has one more             */
    uint32_t clients;    /* of the cohort at most                                     */
    uint32_t weight_max; /* from 1; 1 for a plain mean                                */
    uint32_t value_bits; /* 2 to 24                                                   */
    uint32_t ring_bits;  /* at least lmb_secagg_coding_ring, at most 62               */
    double clip;         /* > 0: values beyond are cut                                */
    uint64_t noise;      /* variance of what each client adds to each number, in units of the ring squared; 0: none */
} lmb_secagg_coding;

/* Bits of the smallest ring that holds any sum; the other members are within their ranges. */
uint32_t lmb_secagg_coding_ring(const lmb_secagg_coding *c);
/* errors  E_ARG names bits, clients and weights, and what to change */
LMB_MUST_CHECK lmb_status lmb_secagg_coding_check(const lmb_secagg_coding *c, lmb_error *err);

/* The update as out[length + 1] of ring_bits. Which way a value is rounded is a function
 * of the seed: a fresh one for each update.
 *   errors  E_NUMERIC a value is not finite; E_ARG no examples */
LMB_MUST_CHECK lmb_status lmb_secagg_encode(const lmb_secagg_coding *c, const float *x, uint64_t examples,
                                            const uint8_t seed[LMB_SECAGG_SEED], lmb_ring_vector *out, lmb_error *err);
/* What 1 in the ring stands for. */
double lmb_secagg_unit(const lmb_secagg_coding *c);
/* In a private federation: the greatest L2 norm of an update that is still at most `clip` after rounding, for each of
 * its numbers may grow by almost one unit. <= 0: there is none, value_bits are too few for so many numbers. */
double lmb_secagg_private_norm(const lmb_secagg_coding *c);
/* Add the client's part of the noise. key NULL: noise that nobody can repeat. */
void lmb_secagg_add_noise(const lmb_secagg_coding *c, const uint8_t *key, lmb_ring_vector *v);

/* Can this be a sum of encoded updates?  errors  E_NUMERIC, as decode */
LMB_MUST_CHECK lmb_status lmb_secagg_check_sum(const lmb_secagg_coding *c, const lmb_ring_vector *sum, uint64_t *weight,
                                               lmb_error *err);
/* The weighted mean[length] of a sum, and the sum of weights.
 *   errors  E_NUMERIC when it can be no sum of encoded updates: some client did not keep to the rules */
LMB_MUST_CHECK lmb_status lmb_secagg_decode(const lmb_secagg_coding *c, const lmb_ring_vector *sum, float *mean,
                                            uint64_t *weight, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
