/* Mirrors federated/aggregators/{sorted,krum,geometric_median,blocks}.c: hand-made cases, hostile minorities, and that
 * blocks, which are narrower than these updates, do not show. */
#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "federated/aggregator.h"
#include "tests/check_main.h"

static lmb_error err;

enum { N = 5000, MOST = 11 }; /* N: more than one block */
static float value[MOST][N], out[N];
static uint64_t examples[MOST];

static lmb_status read_row(void *ctx, int update, size_t at, size_t count, float *to, lmb_error *e)
{
    (void)ctx, (void)e;
    memcpy(to, value[update] + at, count * sizeof *to);
    return LMB_OK;
}

static void run(const char *name, int64_t first, int64_t second, double real, int count)
{
    const lmb_aggregator *a = NULL;
    const lmb_aggregator_limits limits = { N, 16, MOST, 1 << 20, 8 };
    union { int64_t whole[4]; double part[4]; } config = { { 0 } };
    lmb_updates u = { N, count, examples, read_row, NULL };
    void *s = NULL;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_aggregator_find(name, &a, &err));
    if (a->fields)
        ck_ok(lmb_fields_bind(a->fields, NULL, &config, &err));
    if (first >= 0)
        config.whole[0] = first;
    if (second >= 0)
        config.whole[1] = second;
    if (real >= 0)
        config.part[0] = real;
    ck_assert(a->needs_all && a->all);
    ck_ok(a->create(&config, &limits, &s, &err));
    a->begin(s);
    ck_ok(a->all(s, &u, out, &err));
    a->destroy(s);
}

/* Column k of every update: v[i] + k, so that a wrong offset shows. */
static void columns(const float *v, int count)
{
    for (int i = 0; i < count; i++) {
        examples[i] = 1;
        for (int k = 0; k < N; k++)
            value[i][k] = v[i] + (float)(k % 64);
    }
}

static void expect(float v)
{
    for (int k = 0; k < N; k++)
        ck_assert_float_eq_tol(out[k], v + (float)(k % 64), 1e-5f);
}

START_TEST(sorting)
{
    columns((float[]){ 9, 1, 2 }, 3);
    run("median", -1, -1, -1, 3), expect(2);
    columns((float[]){ 9, 1, 2, 100 }, 4);
    run("median", -1, -1, -1, 4), expect(5.5f);
    columns((float[]){ 5 }, 1);
    run("median", -1, -1, -1, 1), expect(5);
    columns((float[]){ -1000, 1, 2, 3, 1000 }, 5);
    run("trimmed_mean", -1, -1, 0.2, 5), expect(2);
    run("trimmed_mean", -1, -1, 0, 5), expect(1.2f);
    run("trimmed_mean", -1, -1, 0.49, 5), expect(2);
}
END_TEST

START_TEST(krum_picks_the_crowd)
{
    /* n = 5, f = 1: scores are sums over the 2 nearest. 10 and 11, 12 crowd; 11 lies in the middle. */
    columns((float[]){ 10, 11, 12, 30, -50 }, 5);
    run("krum", 1, -1, -1, 5), expect(11);
    run("multi_krum", 1, 3, -1, 5), expect(11);
    run("multi_krum", 1, 0, -1, 5), expect((10 + 11 + 12 + 30) / 4.0f);
    /* equal scores: the lower number */
    columns((float[]){ 4, 4, 4, 4, 4 }, 5);
    run("krum", 1, -1, -1, 5), expect(4);
    /* n = 7, f = 1: five are picked one after the other, of each coordinate the three around their median are
     * averaged */
    columns((float[]){ 1, 2, 3, 4, 5, 100, -100 }, 7);
    run("bulyan", 1, -1, -1, 7), expect(3);
}
END_TEST

START_TEST(weiszfeld)
{
    /* on a line the geometric median is the weighted median */
    columns((float[]){ 0, 1, 10 }, 3);
    run("geometric_median", 200, -1, -1, 3), expect(1);
    examples[2] = 5;
    run("geometric_median", 200, -1, -1, 3), expect(10);
}
END_TEST

/* Three of eleven send something huge, or the opposite of what they found. The result stays near the honest mean. */
START_TEST(a_minority_has_no_say)
{
    static const char *const names[] = { "median", "trimmed_mean", "krum", "multi_krum", "bulyan", "geometric_median" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (int attack = 0; attack < 2; attack++) {
            int hostile = strcmp(names[k], "bulyan") == 0 ? 2 : 3, honest = MOST - hostile;
            double mean[N] = { 0 }, far = 0;
            for (int i = 0; i < MOST; i++) {
                lmb_rand r = lmb_rand_at(9, LMB_RAND_TEST, (uint32_t)attack, (uint32_t)i);
                examples[i] = i < honest ? 100 : 1 << 20; /* they boast, too */
                if (strcmp(names[k], "geometric_median") == 0)
                    examples[i] = 100;
                for (uint32_t j = 0; j < N; j++) {
                    float x = 0.01f + 0.001f * lmb_rand_normal(&r, j);
                    value[i][j] = i < honest ? x : attack ? -3 * x : 8;
                    if (i < honest)
                        mean[j] += (double)x / honest;
                }
            }
            if (strcmp(names[k], "trimmed_mean") == 0)
                run(names[k], -1, -1, 0.3, MOST);
            else if (strcmp(names[k], "geometric_median") == 0)
                run(names[k], 50, -1, -1, MOST);
            else
                run(names[k], strstr(names[k], "krum") || hostile == 2 ? hostile : -1, -1, -1, MOST);
            for (int j = 0; j < N; j++)
                far = fmax(far, fabs((double)out[j] - mean[j]));
            ck_assert_msg(far < 0.006, "%s, attack %d: %g from the honest mean", names[k], attack, far);
        }
}
END_TEST

START_TEST(too_few_are_refused)
{
    const lmb_aggregator *a = NULL;
    const lmb_aggregator_limits limits = { N, 16, 8, 1 << 20, 8 };
    int64_t config[2] = { 3, 1 };
    void *s = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_aggregator_find("krum", &a, &err));
    ck_assert_int_eq(a->create(config, &limits, &s, &err), LMB_E_ARG);
    ck_assert_str_eq(
        err.msg, "krum with 3 hostile clients needs rounds of at least 9 updates, minimum is 8; raise minimum or lower "
                 "byzantine");
    config[0] = 1;
    ck_ok(a->create(config, &limits, &s, &err));
    lmb_updates u = { N, 4, examples, read_row, NULL };
    ck_assert_int_eq(a->all(s, &u, out, &err), LMB_E_NUMERIC);
    a->destroy(s);
}
END_TEST

LMB_TEST_MAIN("federated/robust", add(sorting); add(krum_picks_the_crowd); add(weiszfeld); add(a_minority_has_no_say);
              add(too_few_are_refused);)
