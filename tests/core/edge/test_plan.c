/* Mirrors core/edge/plan.c. */
#include "core/edge/plan.h"

#include "core/base/random.h"
#include "tests/check_main.h"

START_TEST(chain_needs_two_places)
{
    /* a -> b -> c -> d, 100 bytes each: a and c share a place, b and d another. */
    lmbi_edge_life t[4] = { { 100, -1, 0, -1, 0 }, { 100, 0, 1, -1, 0 }, { 100, 1, 2, -1, 0 }, { 100, 2, 3, -1, 0 } };
    int order[4];
    ck_assert_uint_eq(lmbi_edge_plan(t, 4, order), 228);
    ck_assert_uint_eq(t[0].place, t[2].place);
    ck_assert_uint_eq(t[1].place, t[3].place);
}
END_TEST

START_TEST(sharers_take_the_place)
{
    lmbi_edge_life t[4] = { { 64, -1, 0, -1, 0 }, { 64, 0, 2, -1, 0 }, { 64, 1, 2, -1, 0 }, { 64, 2, 3, 1, 0 } };
    int order[4];
    ck_assert_uint_eq(lmbi_edge_plan(t, 4, order), 128);
    ck_assert_uint_eq(t[3].place, t[1].place);
    ck_assert_uint_ne(t[2].place, t[1].place);
}
END_TEST

/* Random lives: places are aligned, nothing alive together overlaps, and the arena is not far above the largest
 * sum of what is alive at once, below which no plan can go. */
START_TEST(random_lives_do_not_collide)
{
    enum { N = 40 };
    lmbi_edge_life t[N];
    int order[N];
    lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, (uint64_t)_i);
    uint64_t bound = 0;
    for (int i = 0; i < N; i++) {
        int last = i + (int)lmb_rand_below(&r, (uint32_t)(2 * i), 6);
        t[i] = (lmbi_edge_life){ 64 * (1 + lmb_rand_below(&r, (uint32_t)(2 * i + 1), 50)), i - 1, last, -1, 1 };
    }
    uint64_t arena = lmbi_edge_plan(t, N, order);
    for (int i = 0; i < N; i++) {
        uint64_t alive = 0;
        ck_assert_uint_eq(t[i].place % 64, 0);
        ck_assert_uint_le(t[i].place + t[i].bytes, arena);
        for (int j = 0; j < N; j++) {
            if (t[j].first <= t[i].first && t[i].first <= t[j].last)
                alive += t[j].bytes;
            if (j < i && t[i].first <= t[j].last && t[j].first <= t[i].last)
                ck_assert(t[i].place + t[i].bytes <= t[j].place || t[j].place + t[j].bytes <= t[i].place);
        }
        bound = alive > bound ? alive : bound;
    }
    ck_assert_uint_ge(arena, bound);
    ck_assert_uint_le(arena, bound + bound / 2);
}
END_TEST

LMB_TEST_MAIN("core/edge/plan", add(chain_needs_two_places); add(sharers_take_the_place);
              add_loop(random_lives_do_not_collide, 50);)
