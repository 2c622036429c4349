/* federated/secure.h - `secure_aggregation`, as a server or a simulation is configured: bound, checked, and made into
 * how numbers become integers.
 *
 * Idea: whatever could make a sum wrap, or a round impossible, or a promise empty, is refused here, before anyone
 * joins. The ring is the smallest that holds the sum of all clients that a round may have, and the noise.
 *
 *   threads  pure
 */
#ifndef LMB_FEDERATED_SECURE_H
#define LMB_FEDERATED_SECURE_H

#include "federated/aggregators/exact_sum.h"
#include "federated/privacy/privacy.h"
#include "federated/session.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

enum { LMB_NOISE_CENTRAL, LMB_NOISE_DISTRIBUTED };

typedef struct lmb_secure_config {
    int64_t mode, value_bits, ring_bits, weight_max, neighbours, threshold, clients_min, noise;
    double clip, adversaries, dropouts, floor;
} lmb_secure_config;
extern const lmb_field lmb_secure_fields[];

typedef struct lmb_secure {
    bool on;
    lmb_secure_config c;
    lmb_secagg_trust trust;
    lmb_secagg_shape shape;   /* degree 0: from trust */
    lmb_secagg_coding coding; /* for n numbers and as many clients as a round may have */
    uint32_t clients_min;     /* of a sum */
} lmb_secure;

/* `tree` NULL: out->on is false. n: numbers of an update; target, minimum: of a round.
 *   errors  E_ARG names what to change */
LMB_MUST_CHECK lmb_status lmb_secure_open(const struct lmb_tree *tree, uint64_t n, uint64_t target, uint64_t minimum,
                                          const lmb_privacy *privacy, lmb_secure *out, lmb_error *err);

/* The sum of integers becomes the aggregator's own sum: from here on all is as without secure aggregation.
 *   errors  E_NUMERIC when it can be no sum of encoded updates */
LMB_MUST_CHECK lmb_status lmb_secure_sum(const lmb_secagg_coding *c, const lmb_ring_vector *sum, lmbi_exact_sum *into,
                                         lmb_error *err);

/* One client's integers into that sum: for a simulation, which has nobody to hide them from. */
void lmb_secure_add(const lmb_secagg_coding *c, const lmb_ring_vector *q, lmbi_exact_sum *into);

#ifdef __cplusplus
}
#endif
#endif
