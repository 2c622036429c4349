/* Mirrors distill/tune/significance.c: closed forms of the incomplete beta, textbook data with published answers. */
#include <math.h>

#include "core/base/compiler.h"
#include "distill/tune/significance.h"
#include "tests/check_main.h"

enum { PLANTS = 10 };

/* I_x(a, 1) = x^a, I_x(1, b) = 1 - (1 - x)^b, I_x(2, 2) = 3x^2 - 2x^3, I_x(a, b) = 1 - I_{1-x}(b, a). */
START_TEST(beta_closed_forms)
{
    for (int i = 0; i <= 20; i++) {
        double x = i / 20.0;
        ck_assert_double_eq_tol(lmb_beta_share(1, 1, x), x, 1e-14);
        ck_assert_double_eq_tol(lmb_beta_share(3.5, 1, x), pow(x, 3.5), 1e-13);
        ck_assert_double_eq_tol(lmb_beta_share(1, 0.5, x), 1 - sqrt(1 - x), 1e-13);
        ck_assert_double_eq_tol(lmb_beta_share(2, 2, x), 3 * x * x - 2 * x * x * x, 1e-13);
        ck_assert_double_eq_tol(lmb_beta_share(40, 7, x) + lmb_beta_share(7, 40, 1 - x), 1, 1e-12);
    }
}
END_TEST

/* One degree of freedom: Cauchy; two: 1 - t / sqrt(2 + t^2). F with df1 = 2: (1 + 2 f / df2)^(-df2 / 2). */
START_TEST(tails_closed_forms)
{
    for (double t = 0; t < 50; t += 0.7) {
        ck_assert_double_eq_tol(lmb_t_tails(t, 1), 1 - 2 / M_PI * atan(t), 1e-12);
        ck_assert_double_eq_tol(lmb_t_tails(-t, 2), 1 - t / sqrt(2 + t * t), 1e-12);
        ck_assert_double_eq_tol(lmb_f_tail(t, 2, 9), pow(1 + 2 * t / 9, -4.5), 1e-12);
        ck_assert_double_eq_tol(lmb_f_tail(t * t, 1, 6), lmb_t_tails(t, 6), 1e-12);
    }
    ck_assert_double_eq_tol(lmb_t_tails(1e6, 200), 0, 1e-300 + 1e-200);
    /* Tables of Student's t: 12.706, 2.776, 2.262 at 5 %; 4.604 at 1 %. */
    ck_assert_double_eq_tol(lmb_t_quantile(0.05, 1), 12.706, 5e-4);
    ck_assert_double_eq_tol(lmb_t_quantile(0.05, 4), 2.776, 5e-4);
    ck_assert_double_eq_tol(lmb_t_quantile(0.05, 9), 2.262, 5e-4);
    ck_assert_double_eq_tol(lmb_t_quantile(0.01, 4), 4.604, 5e-4);
}
END_TEST

/* Student 1908, data set `sleep` of R. ?t.test prints for the paired test: t = -4.0621, df = 9, p-value = 0.002833,
 * 95 percent confidence interval -2.4598858 -0.7001142, mean -1.58. */
static const double sleep_of[2][PLANTS] = { { 0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0 },
                                            { 1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4 } };

START_TEST(students_sleep)
{
    lmb_t_test r = lmb_t_paired(sleep_of[0], sleep_of[1], PLANTS, 0, 0);

    ck_assert_double_eq_tol(r.mean, -1.58, 1e-12);
    ck_assert_double_eq_tol(r.t, -4.0621, 5e-5);
    ck_assert_double_eq_tol(r.p, 0.002833, 5e-7);
    ck_assert_double_eq_tol(r.lo, -2.4598858, 5e-8);
    ck_assert_double_eq_tol(r.hi, -0.7001142, 5e-8);
    /* with two recipes the analysis of variance with blocks is the same test */
    lmb_anova a = lmb_anova_blocks(sleep_of[0], 2, PLANTS, 0);
    ck_assert_double_eq_tol(a.f, r.t * r.t, 1e-9);
    ck_assert_double_eq_tol(a.p, r.p, 1e-12);
}
END_TEST

/* Folds that share samples: a variance of 1 / n + overlap instead of 1 / n. */
START_TEST(overlap_widens)
{
    lmb_t_test r = lmb_t_paired(sleep_of[0], sleep_of[1], PLANTS, 0, 0),
               wide = lmb_t_paired(sleep_of[0], sleep_of[1], PLANTS, 1.0 / 9, 0);
    double by = sqrt((0.1 + 1.0 / 9) / 0.1);

    ck_assert_double_eq_tol(wide.t, r.t / by, 1e-12);
    ck_assert_double_eq_tol(wide.hi - wide.mean, by * (r.hi - r.mean), 1e-12);
}
END_TEST

/* Dobson 1983, data set `PlantGrowth` of R: anova(lm(weight ~ group)) prints F = 4.8461 with 2 and 27, p = 0.01591. */
START_TEST(plant_growth)
{
    static const double y[3][PLANTS] = { { 4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14 },
                                         { 4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69 },
                                         { 6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26 } };
    lmb_anova a = lmb_anova_one_way(y[0], 3, PLANTS, 0);

    ck_assert_double_eq_tol(a.f, 4.8461, 5e-5);
    ck_assert(a.df1 == 2 && a.df2 == 27);
    ck_assert_double_eq_tol(a.p, 0.01591, 5e-6);
}
END_TEST

/* By hand: sums of squares 8 between recipes, 14 between blocks, 24 in all, so F = (8 / 2) / (2 / 4) = 8 with blocks,
 * of which (1 + 2 * 8 / 4)^-2 = 0.04; (8 / 2) / (16 / 6) = 1.5 without, of which (1 + 2 * 1.5 / 6)^-3 = 8 / 27. */
START_TEST(blocks_take_away_what_they_share)
{
    static const double y[] = { 1, 2, 3, 2, 4, 6, 3, 3, 6 };
    lmb_anova with = lmb_anova_blocks(y, 3, 3, 0), without = lmb_anova_one_way(y, 3, 3, 0);

    ck_assert_double_eq_tol(with.f, 8, 1e-12);
    ck_assert_double_eq_tol(with.p, 0.04, 1e-12);
    ck_assert_double_eq_tol(without.f, 1.5, 1e-12);
    ck_assert_double_eq_tol(without.p, 8.0 / 27, 1e-12);
}
END_TEST

START_TEST(nothing_differs_or_all_do)
{
    static const double a[] = { 0.5, 0.625, 0.75 }, b[] = { 0.25, 0.375, 0.5 };
    lmb_t_test same = lmb_t_paired(a, a, 3, 0, 0), all = lmb_t_paired(a, b, 3, 0, 0);
    const double y[] = { 0.5, 0.625, 0.75, 0.25, 0.375, 0.5 }, flat[] = { 0.9, 0.9, 0.9, 0.9 };

    ck_assert(same.p == 1 && same.mean == 0 && same.lo == 0 && same.hi == 0);
    ck_assert(all.p == 0 && all.mean == 0.25);
    ck_assert(lmb_anova_blocks(y, 2, 3, 0).p == 0);
    /* of counts that differ by the same by chance: as much as samples let them differ, which seeds do not divide */
    lmb_t_test counts = lmb_t_paired(a, b, 3, 0, 0.01);
    lmb_anova of_them = lmb_anova_blocks(y, 2, 3, 0.01);
    ck_assert_double_eq_tol(counts.t, 0.25 / sqrt(0.01), 1e-12);
    ck_assert_double_eq_tol(of_them.f, counts.t * counts.t, 1e-9);
    ck_assert(counts.p > 0.1 && fabs(counts.p - of_them.p) < 1e-9 && counts.lo < 0 && counts.hi > 0.5);
    ck_assert_double_eq_tol(lmb_anova_one_way(y, 2, 3, 0.03).f, 0.25 * 0.25 / 0.03, 1e-9);
    ck_assert_double_eq_tol(lmb_t_paired(a, b, 3, 0, 0.02).p, lmb_t_tails(0.25 / sqrt(0.02), 2), 1e-12);
    /* 4 of 200 samples, the same for each of so many seeds: McNemar's exact test says 0.125 */
    static const double always[10] = { 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02 }, never[10] = { 0 };
    for (int seeds = 2; seeds <= 10; seeds++)
        ck_assert_double_ge(lmb_t_paired(always, never, seeds, 0, 4.0 / 200 / 200).p, 0.05);
    ck_assert(lmb_anova_blocks(flat, 2, 2, 0).p == 1 && lmb_anova_one_way(flat, 2, 2, 0).p == 1);
}
END_TEST

/* binom.test(150, 236) of R, the approval ratings of ?mcnemar.test: exact two-sided p = 3.716e-05. */
START_TEST(two_sided_mcnemar)
{
    ck_assert_double_eq_tol(lmb_mcnemar(&(lmb_paired){ 1600, 150, 86 }), 3.716e-05, 2e-8);
    ck_assert_double_eq_tol(lmb_mcnemar(&(lmb_paired){ 1600, 86, 150 }), 3.716e-05, 2e-8);
    ck_assert(lmb_mcnemar(&(lmb_paired){ 10, 0, 0 }) == 1 && lmb_mcnemar(&(lmb_paired){ 10, 3, 3 }) == 1);
}
END_TEST

/* p.adjust(c(0.01, 0.04, 0.03), "holm") of R: 0.03 0.06 0.06. */
START_TEST(many_tests)
{
    double p[] = { 0.01, 0.04, 0.03 }, q[] = { 0.5, 0.01, 0.02 }, one[] = { 0.2 }, two[] = { 0.1, 0.3 };

    lmb_holm(p, 3);
    ck_assert_double_eq_tol(p[0], 0.03, 1e-15);
    ck_assert_double_eq_tol(p[1], 0.06, 1e-15);
    ck_assert_double_eq_tol(p[2], 0.06, 1e-15);
    ck_assert_double_eq_tol(lmb_p_together(q, 3), 0.02 * 3 / 2, 1e-15);
    ck_assert_double_eq_tol(lmb_p_together(one, 1), 0.2, 1e-15);
    ck_assert_double_eq_tol(lmb_p_together(two, 2), 0.3, 1e-15);
}
END_TEST

LMB_TEST_MAIN("distill/significance", add(beta_closed_forms); add(tails_closed_forms); add(students_sleep);
              add(overlap_widens); add(plant_growth); add(blocks_take_away_what_they_share);
              add(nothing_differs_or_all_do); add(two_sided_mcnemar); add(many_tests);)
