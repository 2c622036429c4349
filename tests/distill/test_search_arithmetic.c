/* Mirrors distill/search/paired.c and budget.c: known answers of the paired tests, units, which cost is worked on. */
#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "distill/search/budget.h"
#include "distill/search/paired.h"
#include "tests/check_main.h"

static lmb_error err;

START_TEST(pairs_are_counted)
{
    const bool a[] = { true, true, false, false, true }, b[] = { true, false, true, false, false };
    lmb_paired p = lmb_paired_count(a, b, 5);

    ck_assert_int_eq(p.lost, 2);
    ck_assert_int_eq(p.won, 1);
    ck_assert_double_eq_tol(lmb_paired_drop(&p), 0.2, 1e-15);
}
END_TEST

/* By hand: of 14 disagreements 12 lost, P(X >= 12) = (91 + 14 + 1) / 2^14; 2 lost: all but 15 / 2^14. */
START_TEST(exact_mcnemar)
{
    ck_assert_double_eq_tol(lmb_paired_worse(&(lmb_paired){ 50, 12, 2 }), 106.0 / 16384, 1e-12);
    ck_assert_double_eq_tol(lmb_paired_worse(&(lmb_paired){ 50, 2, 12 }), 1 - 15.0 / 16384, 1e-12);
    ck_assert_double_eq_tol(lmb_paired_worse(&(lmb_paired){ 50, 0, 0 }), 1, 1e-12);
    /* R: binom.test(150, 236, alternative = "greater"), the approval ratings of Agresti 1990, page 350 (?mcnemar.test):
     * the two-sided exact p-value is 3.716e-05. */
    ck_assert_double_eq_tol(2 * lmb_paired_worse(&(lmb_paired){ 1600, 150, 86 }), 3.716e-05, 2e-8);
    ck_assert(isfinite(lmb_paired_worse(&(lmb_paired){ 100000, 9000, 8000 })));
}
END_TEST

/* PropCIs::scoreci.mp of R for 41 and 48 of 549 pairs at 90 %: -1.57 to +4.14 points, to the digits printed. A
 * one-sided limit of 95 % is the upper end of a two-sided 90 %. */
START_TEST(tango_known_answer)
{
    double up = lmb_paired_limit(&(lmb_paired){ 549, 48, 41 }, 0.95),
           down = -lmb_paired_limit(&(lmb_paired){ 549, 41, 48 }, 0.95);

    ck_assert_double_eq_tol(100 * up, 4.14, 0.006);
    ck_assert_double_eq_tol(100 * down, -1.57, 0.006);
}
END_TEST

/* What follows from the definition: at a limit of 0 the statistic is McNemar's; with nothing lost or won it is Wilson's
 * z^2 / (n + z^2); more samples say more; more confidence says less. */
START_TEST(tango_structure)
{
    for (int lost = 30; lost < 60; lost += 7) {
        double z = (lost - 80) / sqrt(lost + 80.0), confidence = 0.5 * erfc(z / sqrt(2));
        ck_assert_double_eq_tol(lmb_paired_limit(&(lmb_paired){ 5000, lost, 80 }, confidence), 0, 1e-9);
    }
    double z = lmb_normal_quantile(0.95);
    ck_assert_double_eq_tol(z, 1.6448536269514722, 1e-12);
    ck_assert_double_eq_tol(lmb_paired_limit(&(lmb_paired){ 1000, 0, 0 }, 0.95), z * z / (1000 + z * z), 1e-9);
    ck_assert(lmb_paired_limit(&(lmb_paired){ 1000, 20, 10 }, 0.9) >
              lmb_paired_limit(&(lmb_paired){ 10000, 200, 100 }, 0.9));
    ck_assert(lmb_paired_limit(&(lmb_paired){ 1000, 20, 10 }, 0.95) >
              lmb_paired_limit(&(lmb_paired){ 1000, 20, 10 }, 0.9));
    ck_assert_double_eq_tol(lmb_paired_limit(&(lmb_paired){ 100, 100, 0 }, 0.95), 1, 1e-9);
}
END_TEST

START_TEST(units)
{
    static const struct { const char *text, *unit; double is; } rows[] = {
        { "1.0 %", "%", 0.01 }, { "1", "%", 0.01 }, { "0.5 points", "%", 0.005 }, { "50 us", "us", 50 }, { "1.5ms",
          "us", 1500 },
        { "84 kB", "B", 84000 }, { "64 KiB", "B", 65536 }, { "12 M", "MACs", 12e6 }, { "2.5 MMACs", "MACs", 2.5e6 },
    };
    static const char *const bad[] = { "", "fast", "-1 us", "50 kB", "nan us", "inf us" };
    double v;

    for (size_t i = 0; i < LMB_COUNT(rows); i++) {
        ck_ok(lmb_budget_number(rows[i].text, "key", rows[i].unit, &v, &err));
        ck_assert_double_eq_tol(v, rows[i].is, 1e-9 * rows[i].is);
    }
    for (size_t i = 0; i < LMB_COUNT(bad); i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_budget_number(bad[i], "latency_max", "us", &v, &err), LMB_E_ARG);
        ck_assert_ptr_nonnull(strstr(err.msg, "latency_max"));
    }
}
END_TEST

START_TEST(worst_limit_first)
{
    lmb_budget b = { LMB_GOAL_LATENCY, 0.01, { 0, 1000, 100 } };
    bool met;

    ck_assert_int_eq(lmb_budget_next(&b, (double[]){ 5, 1500, 300 }, &met), LMB_GOAL_MACS);
    ck_assert(!met);
    ck_assert_int_eq(lmb_budget_next(&b, (double[]){ 5, 1500, 120 }, &met), LMB_GOAL_BYTES);
    ck_assert_int_eq(lmb_budget_next(&b, (double[]){ 5, 900, 100 }, &met), LMB_GOAL_LATENCY);
    ck_assert(met);
    b = (lmb_budget){ LMB_GOAL_ACCURACY, -1, { 0 } };
    ck_assert_int_eq(lmb_budget_check(&b, &err), LMB_E_ARG);
    b.limit[LMB_GOAL_LATENCY] = 10;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_budget_check(&b, &err));
    ck_assert_int_eq(lmb_budget_next(&b, (double[]){ 5, 900, 100 }, &met), LMB_GOAL_ACCURACY);
}
END_TEST

LMB_TEST_MAIN("distill/search_arithmetic", add(pairs_are_counted); add(exact_mcnemar); add(tango_known_answer);
              add(tango_structure); add(units); add(worst_limit_first);)
