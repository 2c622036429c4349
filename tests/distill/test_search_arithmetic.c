/* Mirrors distill/search/paired.c, budget.c, config.c and answer.c: known answers of the paired tests, units, which
 * cost is worked on, which moves are tried, which point goes out. */
#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/config.h"
#include "distill/search/internal.h"
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
    double up, down;

    lmb_paired_interval(&(lmb_paired){ 549, 48, 41 }, 0.9, &down, &up);
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

START_TEST(least_samples)
{
    static const double drop[] = { 0.0004, 0.01, 0.05, 0.5 }, confidence[] = { 0.6, 0.9, 0.99 };

    for (int i = 0; i < 12; i++) {
        int64_t n = (int64_t)lmb_paired_least(drop[i % 4], confidence[i / 4]);
        ck_assert_double_le(lmb_paired_limit(&(lmb_paired){ n, 0, 0 }, confidence[i / 4]), drop[i % 4] + 1e-12);
        if (n > 1)
            ck_assert_double_gt(lmb_paired_limit(&(lmb_paired){ n - 1, 0, 0 }, confidence[i / 4]), drop[i % 4]);
    }
    ck_assert_double_eq(lmb_paired_least(0.01, 0.9), 163);
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

/* By hand: 1,500 of 1,000 bytes exceed by a half, 300 of 100 MACs by more than once, which counts as once. */
START_TEST(multipliers_follow_the_violation)
{
    const lmb_budget b = { LMB_GOAL_LATENCY, 0.01, { 0, 1000, 100 } };
    const double over[] = { 5, 1500, 300 }, within[] = { 5, 750, 90 };
    lmb_penalty p = { { 0 } };
    double rate[LMB_COSTS];

    /* none: the most accurate, whatever it costs, and moves by what is worked on */
    ck_assert_double_lt(lmb_penalty_loss(&p, &b, over, 0.1, 0.5), lmb_penalty_loss(&p, &b, within, 0.1001, 0));
    lmb_penalty_exchange(&p, LMB_GOAL_MACS, rate);
    ck_assert(rate[0] == 0 && rate[1] == 0 && rate[2] == 0);
    lmb_penalty_update(&p, &b, 2, over, 0.013);
    ck_assert_double_eq_tol(p.of[LMB_GOAL_LATENCY], 0, 1e-15); /* has no limit */
    ck_assert_double_eq_tol(p.of[LMB_GOAL_BYTES], 1, 1e-12);
    ck_assert_double_eq_tol(p.of[LMB_GOAL_MACS], 2, 1e-12);
    ck_assert_double_eq_tol(p.of[LMB_GOAL_ACCURACY], 0.6, 1e-12);
    lmb_penalty_exchange(&p, LMB_GOAL_MACS, rate);
    ck_assert_double_eq_tol(rate[LMB_GOAL_BYTES], 1.0 / 3, 1e-12);
    ck_assert(rate[LMB_GOAL_MACS] == 0);
    /* 1500 bytes and 300 MACs are 1.5 + 6; one sample of ten wrong is ten drops; 1.3 drops lost are 0.3 too many */
    ck_assert_double_eq_tol(lmb_penalty_loss(&p, &b, over, 0.1, 0.013), 10 + 1.5 + 6 + 0.6 * 0.3, 1e-9);
    ck_assert_double_lt(lmb_penalty_loss(&p, &b, within, 0.11, 0), lmb_penalty_loss(&p, &b, over, 0.1, 0));
    for (int i = 0; i < 30; i++) /* where there is room it is forgotten, and no further */
        lmb_penalty_update(&p, &b, 2, within, 0);
    for (int i = 0; i <= LMB_COSTS; i++)
        ck_assert(p.of[i] == 0);
}
END_TEST

/* ---- the answer ---- */

typedef struct row { int parent; lmb_point_kind kind; double us, limit; int64_t right; } row;

static int answer_of(const lmb_budget *b, const row *rows, int n, bool *met)
{
    lmb_point point[8];
    lmb_search_result r = { .points = { .point = point, .n = n } };
    const lmbi_search s = { .budget = *b };

    for (int i = 0; i < n; i++)
        point[i] = (lmb_point){ .id = i, .parent = rows[i].parent, .kind = rows[i].kind, .cost = { rows[i].us, 9, 9 },
                                .pair = { 1000, 0, 0 }, .right = rows[i].right, .limit = rows[i].limit };
    lmbi_search_answer(&s, &r);
    *met = r.met;
    return r.best;
}

/* A point and its finished form have one shape: which goes out is not for two measurements of one time to say. */
START_TEST(a_last_training_goes_out_where_it_is_better)
{
    const lmb_budget fast = { LMB_GOAL_LATENCY, 0.01, { 0 } }, within = { LMB_GOAL_ACCURACY, -1, { 20 } };
    row rows[] = { { -1, LMB_POINT_TEACHER, 30, 0, 900 }, { 0, LMB_POINT_STEP, 20, 0.005, 895 },
                   { 1, LMB_POINT_FINISHED, 21, 0.002, 898 } };
    bool met;

    ck_assert_int_eq(answer_of(&fast, rows, 3, &met), 2); /* dearer by noise, and better */
    rows[2] = (row){ 1, LMB_POINT_FINISHED, 19, 0.006, 894 };
    ck_assert_int_eq(answer_of(&fast, rows, 3, &met), 1); /* cheaper by noise, and worse */
    rows[2].right = 895;
    ck_assert_int_eq(answer_of(&fast, rows, 3, &met), 1); /* nothing was gained */
    rows[1].limit = 0.02;
    ck_assert_int_eq(answer_of(&fast, rows, 3, &met), 2); /* before it, too much was lost */
    ck_assert(met);
    rows[2] = (row){ 1, LMB_POINT_FINISHED, 21, 0.012, 899 };
    rows[1].limit = 0.005;
    ck_assert_int_eq(answer_of(&fast, rows, 3, &met), 1); /* better, and not shown to be good enough */
    ck_assert_int_eq(answer_of(&within, rows, 3, &met), 1); /* better, and beyond the limit of time */
    ck_assert(met);
    rows[2].us = 20;
    ck_assert_int_eq(answer_of(&within, rows, 3, &met), 2);
    rows[0].limit = rows[1].limit = rows[2].limit = 0.5;
    (void)answer_of(&fast, rows, 3, &met);
    ck_assert(!met);
}
END_TEST

/* ---- kinds of moves ---- */

START_TEST(only_some_moves)
{
    static const struct { const char *text; bool low_rank; int64_t bits_min; bool use[LMB_MOVE_KINDS]; const char *why;
    } rows[] = {
        { "{}", true, 8, { true, true, false, true }, NULL },
        { "{}", false, 4, { true, false, true, true }, NULL },
        { "{moves: [ranks]}", true, 4, { false, true, false }, NULL },
        { "{moves: [channels, bits]}", true, 4, { true, false, true }, NULL },
        { "{moves: [blocks]}", true, 8, { false, false, false, true }, NULL },
        { "{moves: [bits]}", true, 8, { false }, "bits_min is 8" },
        { "{moves: [ranks]}", false, 8, { false }, "low_rank is false" },
        { "{moves: [rank]}", true, 8, { false }, "no move 'rank'" },
        { "{moves: []}", true, 8, { false }, "moves is a list" },
        { "{moves: channels}", true, 8, { false }, "moves is a list" },
    };

    for (size_t i = 0; i < LMB_COUNT(rows); i++) {
        bool use[LMB_MOVE_KINDS];
        lmb_config *doc;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_config_parse(rows[i].text, strlen(rows[i].text), "test", &doc, &err));
        lmb_search_config c = { .low_rank = rows[i].low_rank, .bits_min = rows[i].bits_min,
                                .moves = lmb_tree_get(lmb_config_root(doc), "moves") };
        lmb_status st = lmb_search_moves(&c, use, &err);
        if (rows[i].why)
            ck_assert_msg(st == LMB_E_ARG && strstr(err.msg, rows[i].why), "%s: %s", rows[i].text, err.msg);
        else
            ck_assert_msg(st == LMB_OK && memcmp(use, rows[i].use, sizeof use) == 0, "%s", rows[i].text);
        lmb_config_destroy(doc);
    }
}
END_TEST

/* Beside the binomial's tail: 8 of 9 with two classes are (9 + 1) / 512, 9 of 9 are all there are. */
START_TEST(who_guesses_is_told_by_counts)
{
    ck_assert(lmbi_search_beyond_guessing(9, 9, 2) && lmbi_search_beyond_guessing(2, 2, 2));
    ck_assert(!lmbi_search_beyond_guessing(8, 9, 2) && !lmbi_search_beyond_guessing(0, 9, 2));
    ck_assert(lmbi_search_beyond_guessing(9, 10, 3) && !lmbi_search_beyond_guessing(5, 10, 4));
    ck_assert(!lmbi_search_beyond_guessing(1000, 10000, 10) && !lmbi_search_beyond_guessing(1065, 10000, 10));
    ck_assert(lmbi_search_beyond_guessing(1075, 10000, 10) && lmbi_search_beyond_guessing(9300, 10000, 10));
}
END_TEST

LMB_TEST_MAIN("distill/search_arithmetic", add(who_guesses_is_told_by_counts); add(a_last_training_goes_out_where_it_is_better); add(only_some_moves);
              add(pairs_are_counted); add(exact_mcnemar); add(tango_known_answer); add(tango_structure);
              add(least_samples); add(units); add(worst_limit_first); add(multipliers_follow_the_violation);)
