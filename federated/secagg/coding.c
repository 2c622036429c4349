/* federated/secagg/coding.c - see coding.h. */
#include "federated/secagg/coding.h"

#include <math.h>

#include "federated/secagg/graph.h"

static uint64_t levels(const lmb_secagg_coding *c) { return (UINT64_C(1) << (c->value_bits - 1)) - 1; }

/* Of all clients together: twelve standard deviations. */
static double greatest_noise(const lmb_secagg_coding *c) { return 12 * sqrt((double)c->clients * (double)c->noise); }

/* Below 2^20 * 2^28 * 2^23: computed as a double, exact enough to compare with powers of two, and cannot wrap. */
static double greatest_sum(const lmb_secagg_coding *c)
{
    return (double)c->clients * c->weight_max * (double)levels(c) + greatest_noise(c);
}

uint32_t lmb_secagg_coding_ring(const lmb_secagg_coding *c)
{
    uint32_t bits = 2;
    while (greatest_sum(c) >= ldexp(1, (int)bits - 1))
        bits++;
    return bits;
}

lmb_status lmb_secagg_coding_check(const lmb_secagg_coding *c, lmb_error *err)
{
    if (c->length < 1 || c->length > UINT64_C(1) << 35)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: an update has from 1 to 2^35 numbers, not %llu",
                        (unsigned long long)c->length);
    if (c->clients < 1 || c->clients > LMB_SECAGG_CLIENTS)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: a cohort has from 1 to %d clients, not %u",
                        LMB_SECAGG_CLIENTS, c->clients);
    if (c->weight_max < 1 || c->weight_max > LMB_CODING_WEIGHT_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: the greatest weight is from 1 to %d, not %u",
                        LMB_CODING_WEIGHT_MAX, c->weight_max);
    if (c->value_bits < 2 || c->value_bits > LMB_CODING_BITS_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: a value has from 2 to %d bits, not %u",
                        LMB_CODING_BITS_MAX, c->value_bits);
    if (!(c->clip > 0) || !isfinite(c->clip))
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: the clip must be above 0, it is %g", c->clip);
    if (c->noise > UINT64_C(1) << LMB_DP_SIGMA2_BITS)
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure aggregation: noise of variance %llu, in units of the ring; 2^%d is the greatest",
                        (unsigned long long)c->noise, LMB_DP_SIGMA2_BITS);
    if (c->ring_bits < 2 || c->ring_bits > LMB_RING_BITS_MAX || lmb_secagg_coding_ring(c) > c->ring_bits)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "secure aggregation: the sum of %u clients with weights up to %u and values of %u bits needs a "
            "ring of %u bits, it has %u (at most %d); take a larger ring, or fewer clients, a smaller greatest "
            "weight or fewer value bits",
            c->clients, c->weight_max, c->value_bits, lmb_secagg_coding_ring(c), c->ring_bits, LMB_RING_BITS_MAX);
    return LMB_OK;
}

static lmb_status check_vector(const lmb_secagg_coding *c, const lmb_ring_vector *v, lmb_error *err)
{
    LMB_TRY(lmb_secagg_coding_check(c, err));
    if (v->bits != c->ring_bits || v->n != c->length + 1)
        return LMB_FAIL(err, LMB_E_SHAPE, "a vector of %zu numbers of %u bits, the coding has %llu of %u", v->n,
                        v->bits, (unsigned long long)c->length + 1, c->ring_bits);
    return LMB_OK;
}

lmb_status lmb_secagg_encode(const lmb_secagg_coding *c, const float *x, uint64_t examples,
                             const uint8_t seed[LMB_SECAGG_SEED], lmb_ring_vector *out, lmb_error *err)
{
    uint64_t w = examples < c->weight_max ? examples : c->weight_max;
    lmbi_stream dice;

    LMB_TRY(check_vector(c, out, err));
    if (!examples)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: an update of no examples has no weight");
    for (size_t i = 0; i < c->length; i++)
        if (!isfinite(x[i]))
            return LMB_FAIL(err, LMB_E_NUMERIC, "value %zu of the update is not finite", i);
    lmbi_stream_open(&dice, seed);
    for (size_t i = 0; i < c->length; i++) {
        double share = fmin(fmax((double)x[i] / c->clip, -1), 1); /* first, so that the product stays within w L */
        double v = share * (double)(w * levels(c)), down = floor(v);
        double u = (double)(lmbi_stream_u64(&dice) >> 11) * 0x1p-53;
        int64_t q = (int64_t)down + (u < v - down);
        lmb_ring_set(out, i, (uint64_t)q);
    }
    lmbi_stream_close(&dice);
    lmb_ring_set(out, c->length, w);
    return LMB_OK;
}

double lmb_secagg_private_norm(const lmb_secagg_coding *c)
{
    return c->clip * (1 - sqrt((double)c->length) / (double)levels(c));
}

void lmb_secagg_add_noise(const lmb_secagg_coding *c, const uint8_t *key, lmb_ring_vector *v)
{
    lmb_dp_stream s;
    if (!c->noise)
        return;
    lmb_dp_stream_open(&s, key, 0);
    for (size_t i = 0; i < c->length; i++)
        lmb_ring_set(v, i, lmb_ring_get(v, i) + (uint64_t)lmb_dp_discrete(&s, c->noise));
    lmb_dp_stream_wipe(&s);
}

lmb_status lmb_secagg_check_sum(const lmb_secagg_coding *c, const lmb_ring_vector *sum, uint64_t *weight,
                                lmb_error *err)
{
    uint64_t total;

    LMB_TRY(check_vector(c, sum, err));
    total = lmb_ring_get(sum, c->length);
    if (total < 1 || total > (uint64_t)c->clients * c->weight_max)
        return LMB_FAIL(err, LMB_E_NUMERIC,
                        "the secure sum has a weight of %llu, %u clients of up to %u cannot: a client broke the rules",
                        (unsigned long long)total, c->clients, c->weight_max);
    for (size_t i = 0; i < c->length; i++)
        if (fabs((double)lmb_ring_signed(sum, i)) > (double)total * (double)levels(c) + greatest_noise(c))
            return LMB_FAIL(err, LMB_E_NUMERIC,
                            "number %zu of the secure sum is larger than its weight allows: a client broke the rules",
                            i);
    *weight = total;
    return LMB_OK;
}

double lmb_secagg_unit(const lmb_secagg_coding *c) { return c->clip / (double)levels(c); }

lmb_status lmb_secagg_decode(const lmb_secagg_coding *c, const lmb_ring_vector *sum, float *mean, uint64_t *weight,
                             lmb_error *err)
{
    double per;

    LMB_TRY(lmb_secagg_check_sum(c, sum, weight, err));
    per = c->clip / ((double)*weight * (double)levels(c));
    for (size_t i = 0; i < c->length; i++)
        mean[i] = (float)((double)lmb_ring_signed(sum, i) * per);
    return LMB_OK;
}
