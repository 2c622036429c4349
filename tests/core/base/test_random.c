/* Mirrors core/base/random.c. Known answers: Random123 1.14 distribution, tests/kat_vectors, philox4x32 10. */
#include "core/base/random.h"

#include <math.h>
#include <string.h>

#include "tests/check_main.h"

static const struct { uint32_t c[4], k[2], out[4]; } kat[] = {
    { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, { 0xffffffff, 0xffffffff },
      { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
    { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
      { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
};

START_TEST(known_answers)
{
    uint32_t out[4];
    lmb_philox(kat[_i].c, kat[_i].k, out);
    ck_assert_mem_eq(out, kat[_i].out, sizeof out);
}
END_TEST

START_TEST(streams_differ_by_every_coordinate)
{
    lmb_rand a = lmb_rand_at(1, LMB_RAND_INIT, 2, 3);
    lmb_rand b[] = { lmb_rand_at(2, LMB_RAND_INIT, 2, 3), lmb_rand_at(1, LMB_RAND_DROPOUT, 2, 3),
                     lmb_rand_at(1, LMB_RAND_INIT, 3, 3), lmb_rand_at(1, LMB_RAND_INIT, 2, 4),
                     lmb_rand_at(1, LMB_RAND_INIT, 2, 3ull << 32) };
    for (int i = 0; i < 5; i++)
        ck_assert_uint_ne(lmb_rand_u32(&a, 0), lmb_rand_u32(&b[i], 0));
    ck_assert_uint_eq(lmb_rand_u32(&a, 7), lmb_rand_u32(&a, 7));
}
END_TEST

START_TEST(moments)
{
    enum { N = 200000 };
    lmb_rand r = lmb_rand_at(42, LMB_RAND_TEST, 0, 0);
    double u = 0, g = 0, g2 = 0;
    for (uint32_t i = 0; i < N; i++) {
        float x = lmb_rand_uniform(&r, i), z = lmb_rand_normal(&r, i);
        ck_assert(x >= 0.0f && x < 1.0f);
        u += x, g += z, g2 += (double)z * z;
    }
    ck_assert(fabs(u / N - 0.5) < 4 * sqrt(1.0 / 12 / N));
    ck_assert(fabs(g / N) < 4 / sqrt(N));
    ck_assert(fabs(g2 / N - 1) < 4 * sqrt(2.0 / N));
}
END_TEST

START_TEST(shuffle_is_a_permutation)
{
    uint32_t a[1000], seen[1000] = { 0 };
    lmb_rand r = lmb_rand_at(7, LMB_RAND_SHUFFLE, 0, 0);
    for (uint32_t i = 0; i < 1000; i++)
        a[i] = i;
    lmb_rand_shuffle(&r, a, 1000);
    int moved = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        seen[a[i]]++;
        moved += a[i] != i;
    }
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(seen[i], 1);
    ck_assert_int_gt(moved, 950);
}
END_TEST

LMB_TEST_MAIN("core/base/random", add_loop(known_answers, 3); add(streams_differ_by_every_coordinate); add(moments);
              add(shuffle_is_a_permutation);)
