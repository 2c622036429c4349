/* Mirrors core/cpu/products.c: sums over shards against sums in double, in the bits of separate products added along
 * the tree. */
#include "core/cpu/products.h"

#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "tests/check_main.h"

enum { MOST = 9, M = 61, N = 300 }; /* tails of rows and columns, more than one block of each */

static lmb_factors factors[MOST];
static const lmb_factors *shard[MOST];
static float weight[MOST];

static float *numbers(int64_t n, uint32_t index)
{
    lmb_rand r = lmb_rand_at(11, LMB_RAND_TEST, 0, index);
    float *f = malloc(sizeof *f * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        f[i] = lmb_rand_normal(&r, (uint32_t)i);
    return f;
}

/* The last shard is short. */
static void set_up(int count)
{
    for (int i = 0; i < count; i++) {
        int64_t rows = i == count - 1 ? 5 : 33;
        factors[i] = (lmb_factors){ .a = numbers(rows * M, (uint32_t)i),
                                    .b = numbers(rows * N, (uint32_t)(100 + i)),
                                    .rows = rows,
                                    .m = M,
                                    .n = N,
                                    .scale = 0.5f };
        shard[i] = &factors[i];
        weight[i] = (float)rows / (float)(33 * (count - 1) + 5);
    }
}

static void tear_down(int count)
{
    for (int i = 0; i < count; i++) {
        free(factors[i].a);
        free(factors[i].b);
    }
}

static void sum(const lmb_factors *const *f, const float *w, int count, int64_t lo, int64_t hi, float *out)
{
    void *scratch = aligned_alloc(64, (lmb_products_scratch(f, count, hi - lo) + 63) / 64 * 64);
    lmb_products_sum(f, w, count, lo, hi, out, scratch);
    free(scratch);
}

/* As train/reduce.c adds vectors: leaves weighed in pairs, then the tree. */
static void add_up(float (*part)[M * N], int count)
{
    for (int i = 0; i < count; i += 2)
        for (int k = 0; k < M * N; k++)
            part[i][k] = i + 1 < count ? part[i][k] * weight[i] + part[i + 1][k] * weight[i + 1]
                                       : weight[i] != 1 ? part[i][k] * weight[i] : part[i][k];
    for (int step = 2; step < count; step *= 2)
        for (int i = 0; i + step < count; i += 2 * step)
            for (int k = 0; k < M * N; k++)
                part[i][k] += part[i + step][k];
}

START_TEST(the_bits_of_separate_products)
{
    static float part[MOST][M * N], got[M * N];
    int count = _i;
    const float one = 1;

    set_up(count);
    for (int i = 0; i < count; i++)
        sum(&shard[i], &one, 1, 0, M, part[i]);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < M * N; k += 7) {
            double want = 0;
            for (int64_t r = 0; r < factors[i].rows; r++)
                want += 0.5 * (double)factors[i].a[r * M + k / N] * (double)factors[i].b[r * N + k % N];
            ck_assert_double_eq_tol(part[i][k], want, 1e-4);
        }
    add_up(part, count);
    sum(shard, weight, count, 0, M, got);
    ck_assert_mem_eq(got, part[0], sizeof got);
    memset(got, 0, sizeof got);
    sum(shard, weight, count, 0, 13, got); /* however rows are divided */
    sum(shard, weight, count, 13, 14, got);
    sum(shard, weight, count, 14, M, got);
    ck_assert_mem_eq(got, part[0], sizeof got);
    tear_down(count);
}
END_TEST

LMB_TEST_MAIN("core/cpu/products", tcase_add_loop_test(tc_, the_bits_of_separate_products, 1, MOST + 1);)
