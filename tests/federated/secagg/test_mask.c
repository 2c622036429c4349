/* Mirrors federated/secagg/mask.c. */
#include "federated/secagg/mask.h"
#include "tests/check_main.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "federated/secagg/mask_lanes.h"

/* RFC 8439, appendix A.1, test vector 1: the keystream of key 0, nonce 0, counter 0, as words. */
START_TEST(known_answer)
{
    static const lmb_mask zero_key;
    lmb_ring_vector v;
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_ring_init(&v, 32, 3, &err));
    lmb_ring_set(&v, 1, 1);
    ck_ok(lmb_mask_apply(&v, &zero_key, 1, NULL, &err));
    ck_assert_uint_eq(lmb_ring_get(&v, 0), 0xade0b876u);
    ck_assert_uint_eq(lmb_ring_get(&v, 1), 0x903df1a0u + 1);
    lmb_ring_deinit(&v);
    ck_ok(lmb_ring_init(&v, 62, 3, &err));
    ck_ok(lmb_mask_apply(&v, &zero_key, 1, NULL, &err));
    ck_assert_uint_eq(lmb_ring_get(&v, 0), 0x903df1a0ade0b876u & ((UINT64_C(1) << 62) - 1));
    lmb_ring_deinit(&v);
}
END_TEST

/* Longer than many blocks: the same as one long keystream; with threads the same as without; and off again. */
START_TEST(blocks_and_threads)
{
    enum { N = 9001, MASKS = 5 };
    static const unsigned rings[] = { 20, 32, 33, 62 };
    static uint8_t key_stream[N * 8];
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    lmb_mask masks[MASKS], *first = masks;
    lmb_error err = LMB_ERROR_INIT;
    lmb_pool *pool = NULL;

    ck_ok(lmb_pool_create(3, &pool, &err));
    for (size_t r = 0; r < sizeof rings / sizeof *rings; r++) {
        lmb_ring_vector a, b;
        ck_ok(lmb_ring_init(&a, rings[r], N, &err));
        ck_ok(lmb_ring_init(&b, rings[r], N, &err));
        for (int m = 0; m < MASKS; m++) {
            randombytes_buf(masks[m].key, sizeof masks[m].key);
            masks[m].subtract = m % 2;
        }
        ck_ok(lmb_mask_apply(&a, first, 1, NULL, &err));
        crypto_stream_chacha20_ietf(key_stream, sizeof key_stream, nonce, masks[0].key);
        for (size_t i = 0; i < N; i++) {
            size_t word = rings[r] <= 32 ? 4 : 8;
            uint64_t k = 0;
            memcpy(&k, key_stream + i * word, word); /* little-endian machines only, like the test's peers */
            ck_assert_uint_eq(lmb_ring_get(&a, i), k & ((UINT64_C(1) << rings[r]) - 1));
        }
        ck_ok(lmb_mask_apply(&a, masks + 1, MASKS - 1, NULL, &err));
        ck_ok(lmb_mask_apply(&b, masks, MASKS, pool, &err));
        for (size_t i = 0; i < N; i++)
            ck_assert_uint_eq(lmb_ring_get(&a, i), lmb_ring_get(&b, i));
        for (int m = 0; m < MASKS; m++)
            masks[m].subtract = !masks[m].subtract;
        ck_ok(lmb_mask_apply(&b, masks, MASKS, pool, &err));
        for (size_t i = 0; i < N; i++)
            ck_assert_uint_eq(lmb_ring_get(&b, i), 0);
        lmb_ring_deinit(&a);
        lmb_ring_deinit(&b);
    }
    lmb_pool_destroy(pool);
}
END_TEST

/* Every set of instructions that this processor has gives the bits of libsodium's stream: vectors that end within a
 * word, a block, a group; masks added and taken away; counters beyond the first block of the vector. */
START_TEST(kernels_agree)
{
    enum { MASKS = 7 };
    static const size_t lengths[] = { 1, 15, 16, 17, 63, 65, 127, 255, 256, 257, 4095, 4096, 4097, 8500 };
    lmb_mask masks[MASKS];
    lmb_error err = LMB_ERROR_INIT;
    int ran = 0;

    for (const lmbi_mask_kernel *const *k = lmbi_mask_kernels; *k; k++) {
        if (!(*k)->have())
            continue;
        ran++;
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            lmb_ring_vector a, b;
            ck_ok(lmb_ring_init(&a, 32, lengths[l], &err));
            ck_ok(lmb_ring_init(&b, 32, lengths[l], &err));
            for (size_t i = 0; i < lengths[l]; i++) {
                lmb_ring_set(&a, i, 0xfffffff0u + i);
                lmb_ring_set(&b, i, 0xfffffff0u + i);
            }
            for (int m = 0; m < MASKS; m++) {
                randombytes_buf(masks[m].key, sizeof masks[m].key);
                masks[m].subtract = m % 3 == 0;
            }
            for (size_t n = 1; n <= MASKS; n += 3) {
                ck_ok(lmbi_mask_apply_by(NULL, &a, masks, n, NULL, &err));
                ck_ok(lmbi_mask_apply_by(*k, &b, masks, n, NULL, &err));
                ck_assert_msg(memcmp(a.u32, b.u32, lengths[l] * sizeof *a.u32) == 0, "%s: %zu numbers, %zu masks",
                              (*k)->name, lengths[l], n);
            }
            lmb_ring_deinit(&a);
            lmb_ring_deinit(&b);
        }
    }
    if (!ran)
        puts("skipped: no kernel for this processor");
}
END_TEST

/* Prior art, defect 3: a generator of 28 or 32 bits, and one that never gives its greatest value. Here the key has
 * 256 bits, each of which changes the mask, and masks are flat over the ring, its greatest value included. */
START_TEST(attack_weak_generator)
{
    enum { N = 1 << 16 };
    lmb_ring_vector base, v;
    lmb_mask m;
    unsigned count[16] = { 0 };
    lmb_error err = LMB_ERROR_INIT;

    randombytes_buf(m.key, sizeof m.key);
    m.subtract = false;
    ck_ok(lmb_ring_init(&base, 4, N, &err));
    ck_ok(lmb_mask_apply(&base, &m, 1, NULL, &err));
    for (size_t i = 0; i < N; i++)
        count[lmb_ring_get(&base, i)]++;
    for (int i = 0; i < 16; i++) /* 4096 each, standard deviation 62 */
        ck_assert_msg(count[i] > 3700 && count[i] < 4500, "value %d is there %u times of 65536", i, count[i]);
    for (int bit = 0; bit < 256; bit++) {
        size_t same = 0;
        ck_ok(lmb_ring_init(&v, 4, 1024, &err));
        m.key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_ok(lmb_mask_apply(&v, &m, 1, NULL, &err));
        m.key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        for (size_t i = 0; i < 1024; i++)
            same += lmb_ring_get(&v, i) == lmb_ring_get(&base, i);
        ck_assert_msg(same < 150, "bit %d of the key changes too little: %zu of 1024 are the same", bit, same);
        lmb_ring_deinit(&v);
    }
    lmb_ring_deinit(&base);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/mask", if (sodium_init() < 0) return 1; add(known_answer); add(blocks_and_threads);
              add(kernels_agree); add(attack_weak_generator);)
