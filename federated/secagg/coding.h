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
 */
#ifndef LMB_FEDERATED_SECAGG_CODING_H
#define LMB_FEDERATED_SECAGG_CODING_H

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
/* The weighted mean[length] of a sum, and the sum of weights.
 *   errors  E_NUMERIC when it can be no sum of encoded updates: some client did not keep to the rules */
LMB_MUST_CHECK lmb_status lmb_secagg_decode(const lmb_secagg_coding *c, const lmb_ring_vector *sum, float *mean,
                                            uint64_t *weight, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
