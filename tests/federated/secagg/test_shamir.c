/* Mirrors federated/secagg/shamir.c and stream.c. */
#include "federated/secagg/shamir.h"
#include "comm/bytes.h"
#include "tests/check_main.h"

#include <sodium.h>
#include <string.h>

enum { HOLDERS = 500 };
#define P ((UINT64_C(1) << 61) - 1)

static uint8_t shares[HOLDERS * LMB_SHAMIR_SHARE];

static void join(const uint64_t *x, const uint32_t *who, uint32_t t, uint8_t out[LMB_SHAMIR_SECRET])
{
    uint64_t places[HOLDERS], weights[HOLDERS];
    const uint8_t *share[HOLDERS];
    lmb_error err = LMB_ERROR_INIT;
    for (uint32_t i = 0; i < t; i++) {
        places[i] = x[who[i]];
        share[i] = shares + who[i] * LMB_SHAMIR_SHARE;
    }
    ck_ok(lmb_shamir_weights(places, t, weights, &err));
    ck_ok(lmb_shamir_join(weights, share, t, out, &err));
}

/* Every subset of t of 6 holders gives the secret back, whatever their places. */
START_TEST(every_subset)
{
    static const uint64_t x[6] = { 1, 2, 77, UINT64_C(1) << 32, 5000000, 65536 };
    uint8_t secret[LMB_SHAMIR_SECRET], seed[LMB_SECAGG_SEED] = { 9 }, back[LMB_SHAMIR_SECRET];
    lmb_error err = LMB_ERROR_INIT;

    for (int round = 0; round < 3; round++) {
        memset(secret, round == 0 ? 0 : 0xff, sizeof secret);
        if (round == 2)
            randombytes_buf(secret, sizeof secret);
        for (uint32_t t = 2; t <= 6; t++) {
            ck_ok(lmb_shamir_split(secret, t, x, 6, seed, shares, &err));
            for (unsigned set = 0; set < 64; set++) {
                uint32_t who[6], n = 0;
                for (uint32_t i = 0; i < 6; i++)
                    if (set >> i & 1)
                        who[n++] = i;
                if (n < t)
                    continue;
                join(x, who, t, back);
                ck_assert_mem_eq(back, secret, sizeof secret);
                join(x, who, n, back); /* more than needed */
                ck_assert_mem_eq(back, secret, sizeof secret);
            }
        }
    }
}
END_TEST

START_TEST(many_holders)
{
    uint64_t x[HOLDERS];
    uint32_t who[HOLDERS];
    uint8_t secret[LMB_SHAMIR_SECRET], seed[LMB_SECAGG_SEED], back[LMB_SHAMIR_SECRET];
    lmb_error err = LMB_ERROR_INIT;
    randombytes_buf(secret, sizeof secret);
    randombytes_buf(seed, sizeof seed);
    for (uint32_t i = 0; i < HOLDERS; i++) {
        x[i] = i + 1;
        who[i] = HOLDERS - 1 - i;
    }
    ck_ok(lmb_shamir_split(secret, 334, x, HOLDERS, seed, shares, &err));
    join(x, who, 334, back);
    ck_assert_mem_eq(back, secret, sizeof secret);
}
END_TEST

/* The arithmetic against numbers that need no library: shares of a polynomial with a known seed satisfy
 * f(1) - 2 f(2) + f(3) = 0 when f has degree 1. */
START_TEST(a_line)
{
    static const uint64_t x[3] = { 1, 2, 3 };
    uint8_t secret[LMB_SHAMIR_SECRET] = { 42 }, seed[LMB_SECAGG_SEED] = { 3 };
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_shamir_split(secret, 2, x, 3, seed, shares, &err));
    for (int part = 0; part < 5; part++) {
        uint64_t f[3];
        for (int i = 0; i < 3; i++)
            f[i] = lmb_get_u64(shares + i * LMB_SHAMIR_SHARE + 8 * part);
        ck_assert_uint_eq((f[0] + f[2]) % P, 2 * f[1] % P);
        ck_assert_uint_eq((2 * f[0] + P - f[1]) % P, part == 0 ? 42 : 0); /* f(0) */
    }
}
END_TEST

/* Fewer than t shares fit any secret: each is uniform, so the shares of two secrets look alike. Here: the low bits of
 * one share over many seeds are flat, for a secret of zeros. */
START_TEST(one_share_says_nothing)
{
    static const uint64_t x[2] = { 1, 2 };
    uint8_t secret[LMB_SHAMIR_SECRET] = { 0 }, seed[LMB_SECAGG_SEED] = { 0 };
    unsigned count[16] = { 0 };
    lmb_error err = LMB_ERROR_INIT;
    for (unsigned round = 0; round < 16000; round++) {
        lmb_put_u32(seed, round);
        ck_ok(lmb_shamir_split(secret, 2, x, 2, seed, shares, &err));
        count[(shares[7] & 0x1e) >> 1]++; /* the upper bits of 61 */
    }
    for (int i = 0; i < 16; i++)
        ck_assert_msg(count[i] > 850 && count[i] < 1150, "bucket %d holds %u of 16000", i, count[i]);
}
END_TEST

START_TEST(wrong_shares)
{
    static const uint64_t x[3] = { 1, 2, 3 }, twice[2] = { 2, 2 }, zero[2] = { 0, 1 };
    uint8_t secret[LMB_SHAMIR_SECRET] = { 1, 2, 3 }, seed[LMB_SECAGG_SEED] = { 3 }, back[LMB_SHAMIR_SECRET] = { 0 };
    uint64_t weights[3];
    const uint8_t *two[2] = { shares, shares + LMB_SHAMIR_SHARE };
    lmb_error err = LMB_ERROR_INIT;

    ck_assert_int_eq(lmb_shamir_split(secret, 1, x, 3, seed, shares, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_shamir_split(secret, 4, x, 3, seed, shares, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_shamir_split(secret, 2, zero, 2, seed, shares, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_shamir_weights(twice, 2, weights, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_shamir_weights(zero, 2, weights, &err), LMB_E_ARG);

    ck_ok(lmb_shamir_split(secret, 2, x, 3, seed, shares, &err));
    ck_ok(lmb_shamir_weights(x, 2, weights, &err));
    shares[7] ^= 1; /* beyond the 56 bits of a part: seen here; most wrong shares are not */
    ck_assert_int_eq(lmb_shamir_join(weights, two, 2, back, &err), LMB_E_FORMAT);
    shares[7] = 0xff;
    ck_assert_int_eq(lmb_shamir_join(weights, two, 2, back, &err), LMB_E_FORMAT);
    ck_assert_int_eq(lmb_shamir_share_check(shares, &err), LMB_E_FORMAT);
    for (int i = 0; i < LMB_SHAMIR_SECRET; i++)
        ck_assert_uint_eq(back[i], 0); /* untouched */
}
END_TEST

/* RFC 8439, appendix A.1, test vector 1: the keystream of key 0, nonce 0, counter 0. */
START_TEST(stream_is_chacha20)
{
    static const uint8_t key[LMB_SECAGG_SEED];
    lmbi_stream s;
    uint32_t seen = 0;
    lmbi_stream_open(&s, key);
    ck_assert_uint_eq(lmbi_stream_u64(&s), 0x903df1a0ade0b876u);
    ck_assert_uint_eq(lmbi_stream_u64(&s), 0x28bd8653e56a5d40u);
    for (int i = 0; i < 1000; i++)
        seen |= 1u << lmbi_stream_below(&s, 7);
    ck_assert_uint_eq(seen, 0x7f);
    lmbi_stream_close(&s);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/shamir", if (sodium_init() < 0) return 1; add(every_subset); add(many_holders);
              add(a_line); add(one_share_says_nothing); add(wrong_shares); add(stream_is_chacha20);)
