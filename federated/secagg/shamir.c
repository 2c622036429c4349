/* federated/secagg/shamir.c - see shamir.h. */
#include "federated/secagg/shamir.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "comm/bytes.h"

enum { PARTS = 5, PART_BYTES = 7 };
#define P ((UINT64_C(1) << 61) - 1)

/* ---- the field: values in [0, p), no branch on them ---- */

static uint64_t less_p(uint64_t a) /* a < 2p */
{
    uint64_t d = a - P;
    return d + (P & (0 - (d >> 63))); /* negative: put p back */
}

static uint64_t fold(uint64_t a) { return less_p((a & P) + (a >> 61)); } /* 2^61 = 1 */

static uint64_t add(uint64_t a, uint64_t b) { return less_p(a + b); }
static uint64_t sub(uint64_t a, uint64_t b) { return less_p(a + P - b); }

/* Halves of 30 and 31 bits, so that machines without a 128-bit product do the same: with 2^61 = 1,
 * a1 b1 2^62 = 2 a1 b1, and the middle term's upper part comes down by 2^61. The sum stays below 2^64. */
static uint64_t mul(uint64_t a, uint64_t b)
{
    const uint64_t low31 = (UINT64_C(1) << 31) - 1, low30 = (UINT64_C(1) << 30) - 1;
    uint64_t a1 = a >> 31, a0 = a & low31, b1 = b >> 31, b0 = b & low31;
    uint64_t mid = a1 * b0 + a0 * b1;
    return fold(2 * a1 * b1 + (mid >> 30) + ((mid & low30) << 31) + a0 * b0);
}

static uint64_t inverse(uint64_t a) /* a^(p-2); only places are inverted, which are public */
{
    uint64_t r = 1, e = P - 2;
    for (; e; e >>= 1, a = mul(a, a))
        if (e & 1)
            r = mul(r, a);
    return r;
}

static uint64_t random_element(lmbi_stream *s)
{
    uint64_t v;
    do
        v = lmbi_stream_u64(s) & P;
    while (v == P);
    return v;
}

/* ---- secrets and shares as bytes ---- */

static uint64_t secret_part(const uint8_t *secret, int part)
{
    uint8_t b[8] = { 0 };
    uint64_t v;
    memcpy(b, secret + part * PART_BYTES, part == PARTS - 1 ? LMB_SHAMIR_SECRET - part * PART_BYTES : PART_BYTES);
    v = lmb_get_u64(b);
    sodium_memzero(b, sizeof b);
    return v;
}

static lmb_status check_places(const uint64_t *x, uint32_t n, lmb_error *err)
{
    for (uint32_t i = 0; i < n; i++)
        if (x[i] < 1 || x[i] > UINT64_C(1) << 32)
            return LMB_FAIL(err, LMB_E_ARG, "a share's place is from 1 to 2^32, not %llu", (unsigned long long)x[i]);
    return LMB_OK;
}

lmb_status lmb_shamir_share_check(const uint8_t share[LMB_SHAMIR_SHARE], lmb_error *err)
{
    for (int part = 0; part < PARTS; part++)
        if (lmb_get_u64(share + 8 * part) >= P)
            return LMB_FAIL(err, LMB_E_FORMAT, "a share holds a number of 2^61 - 1 or more");
    return LMB_OK;
}

lmb_status lmb_shamir_split(const uint8_t secret[LMB_SHAMIR_SECRET], uint32_t threshold, const uint64_t *x, uint32_t n,
                            const uint8_t seed[LMB_SECAGG_SEED], uint8_t *shares, lmb_error *err)
{
    lmbi_stream s;
    uint64_t *poly; /* [threshold], the secret first */

    if (threshold < 2 || threshold > n)
        return LMB_FAIL(err, LMB_E_ARG, "a threshold is from 2 to the number of shares, not %u of %u", threshold, n);
    LMB_TRY(check_places(x, n, err));
    poly = malloc(threshold * sizeof *poly);
    if (!poly)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a polynomial of degree %u", threshold - 1);
    lmbi_stream_open(&s, seed);
    for (int part = 0; part < PARTS; part++) {
        poly[0] = secret_part(secret, part);
        for (uint32_t k = 1; k < threshold; k++)
            poly[k] = random_element(&s);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t v = 0;
            for (uint32_t k = threshold; k-- > 0;)
                v = add(mul(v, x[i]), poly[k]);
            lmb_put_u64(shares + (size_t)i * LMB_SHAMIR_SHARE + 8 * part, v);
        }
    }
    lmbi_stream_close(&s);
    sodium_memzero(poly, threshold * sizeof *poly);
    free(poly);
    return LMB_OK;
}

/* At 0: w_i = product over j != i of x_j / (x_j - x_i). */
lmb_status lmb_shamir_weights(const uint64_t *x, uint32_t t, uint64_t *weights, lmb_error *err)
{
    LMB_TRY(check_places(x, t, err));
    for (uint32_t i = 0; i < t; i++) {
        uint64_t above = 1, below = 1;
        for (uint32_t j = 0; j < t; j++) {
            if (j == i)
                continue;
            above = mul(above, x[j]);
            below = mul(below, sub(x[j], x[i]));
        }
        if (!below)
            return LMB_FAIL(err, LMB_E_ARG, "two shares are for the same place %llu", (unsigned long long)x[i]);
        weights[i] = mul(above, inverse(below));
    }
    return LMB_OK;
}

lmb_status lmb_shamir_join(const uint64_t *weights, const uint8_t *const *share, uint32_t t,
                           uint8_t secret[LMB_SHAMIR_SECRET], lmb_error *err)
{
    uint8_t out[PARTS * PART_BYTES];
    uint64_t excess = 0;

    for (uint32_t i = 0; i < t; i++)
        LMB_TRY(lmb_shamir_share_check(share[i], err));
    for (int part = 0; part < PARTS; part++) {
        uint8_t b[8];
        uint64_t v = 0;
        for (uint32_t i = 0; i < t; i++)
            v = add(v, mul(weights[i], lmb_get_u64(share[i] + 8 * part)));
        excess |= v >> (part == PARTS - 1 ? 8 * (LMB_SHAMIR_SECRET - part * PART_BYTES) : 8 * PART_BYTES);
        lmb_put_u64(b, v);
        memcpy(out + part * PART_BYTES, b, PART_BYTES);
        sodium_memzero(b, sizeof b);
    }
    if (!excess)
        memcpy(secret, out, LMB_SHAMIR_SECRET);
    sodium_memzero(out, sizeof out);
    if (excess)
        return LMB_FAIL(err, LMB_E_FORMAT, "%u shares do not come from one secret", t);
    return LMB_OK;
}
