/* Mirrors federated/secagg/pack.c. */
#include "federated/secagg/pack.h"
#include "federated/secagg/stream.h"
#include "tests/check_main.h"

#include <stdlib.h>
#include <string.h>

/* Each ring, each length around a group of eight: packing, cut in blocks, and adding back twice. */
START_TEST(round_trip)
{
    unsigned bits = (unsigned)_i + 1;
    uint64_t cut = (UINT64_C(1) << bits) - 1;
    uint8_t seed[LMB_SECAGG_SEED] = { (uint8_t)bits };
    lmbi_stream s;

    lmbi_stream_open(&s, seed);
    for (size_t n = 1; n <= 41; n++) {
        lmb_ring_vector v, back;
        lmb_error err = LMB_ERROR_INIT;
        size_t bytes = lmb_pack_bytes(bits, n), half = n / 16 * 8, head = lmb_pack_bytes(bits, half);
        uint8_t *whole = malloc(bytes), *parts = malloc(bytes); /* exact: one byte too far is seen */

        ck_assert_uint_eq(bytes, (n * bits + 7) / 8);
        ck_ok(lmb_ring_init(&v, bits, n, &err));
        ck_ok(lmb_ring_init(&back, bits, n, &err));
        for (size_t i = 0; i < n; i++)
            lmb_ring_set(&v, i, lmbi_stream_u64(&s)); /* bits above the ring are cut when packed */
        lmb_pack(&v, 0, n, whole);
        lmb_pack(&v, 0, half, parts);
        lmb_pack(&v, half, n - half, parts + head);
        ck_assert_mem_eq(whole, parts, bytes);

        lmb_unpack_add(&back, 0, half, whole);
        lmb_unpack_add(&back, half, n - half, whole + head);
        for (size_t i = 0; i < n; i++)
            ck_assert_uint_eq(lmb_ring_get(&back, i), lmb_ring_get(&v, i));
        if (n * bits % 8)
            whole[bytes - 1] |= 0x80; /* unused */
        lmb_unpack_add(&back, 0, n, whole);
        for (size_t i = 0; i < n; i++)
            ck_assert_uint_eq(lmb_ring_get(&back, i), 2 * lmb_ring_get(&v, i) & cut);
        lmb_ring_deinit(&v);
        lmb_ring_deinit(&back);
        free(whole);
        free(parts);
    }
    lmbi_stream_close(&s);
}
END_TEST

/* Five numbers of 3 bits, by hand: 1, 2, 3, 4, 5 -> 101 100 011 010 001, lowest first. */
START_TEST(by_hand)
{
    lmb_ring_vector v;
    uint8_t out[2];
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_ring_init(&v, 3, 5, &err));
    for (size_t i = 0; i < 5; i++)
        lmb_ring_set(&v, i, i + 1);
    lmb_pack(&v, 0, 5, out);
    ck_assert_uint_eq(out[0], 0xd1);
    ck_assert_uint_eq(out[1], 0x58);
    ck_assert_int_eq(lmb_ring_signed(&v, 2), 3);
    ck_assert_int_eq(lmb_ring_signed(&v, 3), -4);
    lmb_ring_deinit(&v);
    ck_assert_int_eq(lmb_ring_init(&v, 0, 5, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_ring_init(&v, 63, 5, &err), LMB_E_ARG);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/pack", add_loop(round_trip, LMB_RING_BITS_MAX); add(by_hand);)
