/* Mirrors datasets/sampler.c. */
#include "datasets/sampler.h"

#include <string.h>

#include "tests/check_main.h"

START_TEST(batches_cover_the_epoch_once)
{
    static const struct { int64_t n, batch, batches; } rows[] = { { 10, 3, 4 }, { 9, 3, 3 }, { 2, 5, 1 }, { 1, 1, 1 } };
    for (size_t r = 0; r < 4; r++) {
        int64_t at = 0, first, count;
        ck_assert_int_eq(lmb_sampler_batches(rows[r].n, rows[r].batch), rows[r].batches);
        for (int64_t b = 0; b < rows[r].batches; b++, at += count) {
            lmb_sampler_batch(rows[r].n, rows[r].batch, b, &first, &count);
            ck_assert_int_eq(first, at);
            ck_assert(count > 0 && count <= rows[r].batch);
        }
        ck_assert_int_eq(at, rows[r].n);
    }
}
END_TEST

START_TEST(order_is_a_function_of_seed_and_epoch)
{
    uint32_t a[500], b[500], seen[500] = { 0 };
    lmb_sampler_order(3, 1, true, 500, a);
    lmb_sampler_order(3, 1, true, 500, b);
    ck_assert_mem_eq(a, b, sizeof a);
    lmb_sampler_order(3, 2, true, 500, b);
    ck_assert_mem_ne(a, b, sizeof a);
    lmb_sampler_order(4, 1, true, 500, b);
    ck_assert_mem_ne(a, b, sizeof a);
    for (int i = 0; i < 500; i++)
        ck_assert_uint_eq(seen[a[i]]++, 0);
    lmb_sampler_order(3, 1, false, 500, a);
    for (uint32_t i = 0; i < 500; i++)
        ck_assert_uint_eq(a[i], i);
}
END_TEST

LMB_TEST_MAIN("datasets/sampler", add(batches_cover_the_epoch_once); add(order_is_a_function_of_seed_and_epoch);)
