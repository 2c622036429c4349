/* Mirrors distill/tune/space.c, front.c and gp.c: ranges, NSGA-II's sorting, the Gaussian process. */
#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "distill/tune/front.h"
#include "distill/tune/gp.h"
#include "distill/tune/space.h"
#include "tests/check_main.h"

static lmb_error err;

static lmb_config *yaml(const char *text)
{
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    return c;
}

static const char *text_of(const lmb_param *p, double x, char out[80])
{
    lmb_str s = LMB_STR_INIT;
    lmb_param_text(p, lmb_param_snap(p, x), &s);
    snprintf(out, 80, "%s", s.text);
    lmb_str_free(&s);
    return out;
}

/* ---- ranges ---- */

START_TEST(ranges_are_read)
{
    lmb_config *c = yaml("{train.lr: {real: [0.001, 0.1], log: true}, w: {int: [4, 32], step: 4}, o: {choice: [sgd, "
                         "{name: adam, b: [1, 2]}, 'a: b']}, "
                         "d: {int: [1, 64], log: true}}");
    lmb_space s;
    char t[80];

    ck_ok(lmb_space_read(lmb_config_root(c), &s, &err));
    ck_assert_int_eq(s.n, 4);
    ck_assert_str_eq(text_of(&s.param[0], 0, t), "0.001");
    ck_assert_str_eq(text_of(&s.param[0], 0.5, t), "0.01");
    ck_assert_str_eq(text_of(&s.param[0], 1, t), "0.1");
    ck_assert_int_eq(s.param[1].n, 8);
    ck_assert_str_eq(text_of(&s.param[1], 0, t), "4");
    ck_assert_str_eq(text_of(&s.param[1], 1, t), "32");
    ck_assert_str_eq(text_of(&s.param[2], 0.5, t), "{\"name\": adam, \"b\": [1, 2]}");
    ck_assert_str_eq(text_of(&s.param[2], 0.9, t), "\"a: b\"");
    ck_assert_str_eq(text_of(&s.param[3], 0, t), "1");
    ck_assert_str_eq(text_of(&s.param[3], 1, t), "64");
    for (int k = 0; k < 64; k++) /* every value has a place of its own, that snapping leaves alone */
        for (int d = 1; d < 4; d++)
            if (k < s.param[d].n) {
                double x = lmb_param_cell(&s.param[d], k);
                ck_assert(lmb_param_snap(&s.param[d], x) == x);
                if (d != 2)
                    ck_assert_double_eq_tol(lmb_param_number(&s.param[d], x), s.param[d].lo + k * s.param[d].step, 0.1);
            }
    ck_assert_int_eq(lmb_space_points(&s), 0);
    lmb_config_destroy(c);
}
END_TEST

static const struct {
    const char *yaml, *says;
} refused[] = {
    { "{}", "is empty" },
    { "{a: 3}", "write a range" },
    { "{a: {real: [2, 1]}}", "is empty" },
    { "{a: {real: [1, 1]}}", "is empty" },
    { "{a: {int: [1.5, 2]}}", "1.5" },
    { "{a: {real: [0, 1], log: true}}", "must begin above 0" },
    { "{a: {choice: []}}", "1 to 64 values" },
    { "{a: {int: [1, 2], real: [0, 1]}}", "at once" },
    { "{a: {int: [1, 2, 3]}}", "two numbers" },
    { "{a: {int: [1, 9], step: 0}}", "at least 1" },
    { "{a: {flaot: [1, 2]}}", "no key 'flaot'" },
    { "{a: {log: true}}", "needs one of" },
    { "{a: {choice: [1], step: 2}}", "do not go with" },
    { "{a: {real: [0, .inf]}}", "" },
    { "{a: {real: [0, 1e99]}}", "1e12" },
};

START_TEST(ranges_are_refused)
{
    lmb_config *c = yaml(refused[_i].yaml);
    lmb_space s;

    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_space_read(lmb_config_root(c), &s, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, refused[_i].says) != NULL, "%s", err.msg);
    lmb_error_clear(&err);
    lmb_config_destroy(c);
}
END_TEST

/* ---- sorting ---- */

/* By hand: (1,5), (2,3), (4,1) beat all others and none of each other; then (2,6), (3,4) and (5,1); then (6,6). */
START_TEST(ranks_and_crowding)
{
    lmb_front_point p[] = { { { 2, 6 }, 0, 0 }, { { 1, 5 }, 0, 0 }, { { 3, 4 }, 0, 0 }, { { 2, 3 }, 0, 0 },
                            { { 6, 6 }, 0, 0 }, { { 4, 1 }, 0, 0 }, { { 5, 1 }, 0, 0 } };
    const int rank[] = { 1, 0, 1, 0, 2, 0, 1 };
    int order[7];

    lmb_front_rank(p, 7);
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(p[i].rank, rank[i]);
    ck_ok(lmb_front_crowd(p, 7, &err));
    ck_assert(isinf(p[1].crowding) && isinf(p[5].crowding) && isinf(p[4].crowding) && isinf(p[0].crowding));
    ck_assert_double_eq_tol(p[3].crowding, (4 - 1) / 3.0 + (5 - 1) / 4.0, 1e-12); /* all of the extent in both */
    ck_assert_double_eq_tol(p[2].crowding, 1 + 1, 1e-12);
    ck_ok(lmb_front_order(p, 7, order, &err));
    const int want[] = { 1, 5, 3, 0, 6, 2, 4 };
    ck_assert_mem_eq(order, want, sizeof want);
    lmb_front_point bad[] = { { { 1, INFINITY }, 0, 0 }, { { 1, INFINITY }, 0, 0 }, { { 0.5, 3 }, 0, 0 } };
    lmb_front_rank(bad, 3);
    ck_ok(lmb_front_crowd(bad, 3, &err));
    ck_assert(bad[0].rank == 1 && bad[1].rank == 1 && bad[2].rank == 0 && !isnan(bad[0].crowding) &&
              !isnan(bad[1].crowding));
}
END_TEST

/* ---- the process ---- */

/* numpy.linalg.solve and slogdet of the same matrices: signal, likelihood, mean and deviation at (0.5, 0.5). */
START_TEST(gaussian_process_known_answer)
{
    static const double x[4][LMB_TUNE_DIMS] = { { 0.1, 0.2 }, { 0.4, 0.9 }, { 0.8, 0.3 }, { 0.55, 0.6 } },
                        y[] = { 1.0, 0.2, 0.7, -0.3 };
    double at[LMB_TUNE_DIMS] = { 0.5, 0.5 }, scratch[4], mean, deviation;
    lmb_gp g;

    ck_ok(lmb_gp_create(2, 4, &g, &err));
    for (int i = 0; i < 4; i++)
        lmb_gp_add(&g, x[i], y[i]);
    g.length[0] = 0.3;
    g.length[1] = 0.7;
    g.noise = 0.05;
    g.mean = 0.4;
    ck_ok(lmb_gp_settle(&g, &err));
    ck_assert_double_eq_tol(g.signal, 0.47874906213285756, 1e-12);
    ck_assert_double_eq_tol(g.likelihood, -3.7252928377311534, 1e-11);
    lmb_gp_at(&g, at, scratch, &mean, &deviation);
    ck_assert_double_eq_tol(mean, -0.14600963, 1e-8);
    ck_assert_double_eq_tol(deviation, 0.22465903, 1e-8);
    double before = g.likelihood;
    ck_ok(lmb_gp_fit(&g, &err)); /* what is most likely is at least as likely, belief aside */
    ck_assert(g.likelihood > before - 1);
    lmb_gp_free(&g);
}
END_TEST

/* The process finds that a key does not matter, and how noisy observations are. */
START_TEST(gaussian_process_learns)
{
    enum { N = 40 };
    double x[LMB_TUNE_DIMS], noise = 0;
    lmb_gp g;

    ck_ok(lmb_gp_create(2, N, &g, &err));
    for (int i = 0; i < N; i++) {
        x[0] = fmod(i * 0.618034, 1);
        x[1] = fmod(i * 0.754878, 1);
        noise = 0.1 * sin(12.9898 * i * i);
        lmb_gp_add(&g, x, sin(6 * x[0]) + noise);
    }
    ck_ok(lmb_gp_fit(&g, &err));
    ck_assert_msg(g.length[1] > 4 * g.length[0], "lengths %g and %g", g.length[0], g.length[1]);
    double deviation = sqrt(g.noise * g.signal); /* of noise: 0.1 / sqrt(2) */
    ck_assert_msg(deviation > 0.04 && deviation < 0.12, "noise %g", deviation);
    lmb_gp_free(&g);
}
END_TEST

/* (b - m) P(Z < z) + s p(z) at z = 0 and -1, from tables of the normal distribution. */
START_TEST(improvement_known_answer)
{
    ck_assert_double_eq_tol(lmb_expected_improvement(0, 0, 1), 0.398942280401, 1e-11);
    ck_assert_double_eq_tol(lmb_expected_improvement(0, 2, 2), 2 * (0.241970724519 - 0.158655253931), 1e-11);
    ck_assert(lmb_expected_improvement(1, 0.5, 0) == 0.5 && lmb_expected_improvement(0, 0.5, 0) == 0);
}
END_TEST

LMB_TEST_MAIN("distill/tune_parts", add(ranges_are_read);
              add_loop(ranges_are_refused, (int)(sizeof refused / sizeof *refused)); add(ranks_and_crowding);
              add(gaussian_process_known_answer); add(gaussian_process_learns); add(improvement_known_answer);)
