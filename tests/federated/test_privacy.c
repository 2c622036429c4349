/* Mirrors federated/privacy/rdp.c and noise.c: the accountant's known answers, and the statistics of the noise.
 *
 * Known answers: Opacus 1.4 tests (tests/accountants_test.py) and doctest of get_privacy_spent; Google dp_accounting
 * (rdp_privacy_accountant_test.py). Values of epsilon at integer orders come from an independent implementation of the
 * same formulas in Python, which reproduces those two libraries to the digits they print. */
#include <math.h>
#include <string.h>

#include "federated/privacy/noise.h"
#include "federated/privacy/rdp.h"
#include "tests/check_main.h"

static lmb_error err;

static double epsilon(double q, double z, uint64_t rounds, double delta, int *order)
{
    lmb_rdp r = { { 0 } };
    lmb_rdp_add(&r, LMB_SAMPLING_POISSON, q, z, rounds);
    return lmb_rdp_epsilon(&r, delta, order);
}

/* ---- the accountant ---- */

START_TEST(epsilon_at_integer_orders)
{
    static const struct { double q, z; uint64_t rounds; double delta, epsilon; int order; } want[] = {
        { .04, 1.5, 2250, 1e-5, 7.3298767738, 4 },    { 1, 1, 1, 1e-5, 4.7527283368, 5 },
        { .01, 1, 1000, 1e-5, 2.1077530755, 8 },      { .01, 1, 1000, 1e-6, 2.4366938030, 8 },
        { .1, 1, 100, 1e-5, 7.9729215104, 3 },        { .05, 1.1, 500, 1e-5, 6.9551946706, 4 },
        { .005, .7, 1000, 1e-6, 4.1098680381, 5 },    { .001, .6, 2000, 1e-7, 4.1217127151, 5 },
        { .5, 2, 100, 1e-5, 15.8040108158, 3 },       { 256.0 / 60000, 1.1, 14062, 1e-5, 2.5969811786, 8 },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        int order = 0;
        double got = epsilon(want[i].q, want[i].z, want[i].rounds, want[i].delta, &order);
        ck_assert_msg(fabs(got - want[i].epsilon) < 1e-9 * want[i].epsilon, "row %zu: %.12g, expected %.12g", i, got,
                      want[i].epsilon);
        ck_assert_int_eq(order, want[i].order);
    }
}
END_TEST

START_TEST(divergence_of_one_round)
{
    static const struct { double q, z; int alpha; double rdp;
    } want[] = {
        { .01, 1, 2, 1.718134220745e-04 },     { .01, 1, 3, 2.646375745847e-04 },
        { .01, 1, 5, 4.686672421692e-04 },     { .01, 1, 8, 8.936439076060e-04 },
        { .01, 1, 16, 3.087850783696 },        { .01, 1, 32, 11.24627593705 },
        { .01, 1, 64, 27.32173187455 },        { .1, 2, 2, 2.836228266264e-03 },
        { .1, 2, 8, 1.372543010322e-02 },      { .1, 2, 16, 4.529183908362e-02 },
        { .1, 2, 32, 1.627202301019 },         { .01, 2.5, 5, 2.18075656e-03 / 50 },
        { .01, 2.5, 50, 2.38460375e-02 / 50 }, { .01, 2.5, 100, 1.67416308e+02 / 50 }, /* Google */
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double got = lmb_rdp_gaussian(LMB_SAMPLING_POISSON, want[i].q, want[i].z, want[i].alpha);
        ck_assert_msg(fabs(got - want[i].rdp) < (i < 11 ? 1e-11 : 1e-8) * want[i].rdp, "row %zu: %.13g, expected %.13g",
                      i, got, want[i].rdp);
    }
    for (int alpha = 2; alpha < 1024; alpha *= 2) /* Google: without sampling alpha / (2 sigma^2) */
        ck_assert_double_eq(lmb_rdp_gaussian(LMB_SAMPLING_ALL, 1, 3, alpha), alpha / 18.0);
    ck_assert(isinf(lmb_rdp_gaussian(LMB_SAMPLING_POISSON, 0.5, 0, 2)));
}
END_TEST

/* Opacus: orders with fractions find 7.32911117143 at 3.9; whole ones are an upper bound, and a close one. Its noise
 * for epsilon 8 is 1.416 after 90 epochs of 25 steps, 1.3562 after 2000 steps. */
START_TEST(opacus)
{
    double rdp[31];
    int alpha[31], best;
    double whole = epsilon(.04, 1.5, 2250, 1e-5, NULL);

    ck_assert_double_ge(whole, 7.32911117143);
    ck_assert_double_lt(whole, 7.32911117143 * 1.0002);
    ck_assert_double_eq_tol(epsilon(.04, 1.416, 2250, 1e-5, NULL), 8, 0.05);
    ck_assert_double_eq_tol(epsilon(.04, 1.3562, 2000, 1e-5, NULL), 8, 0.05);
    for (int i = 0; i < 31; i++) {
        alpha[i] = i + 2;
        rdp[i] = 10 * lmb_rdp_gaussian(LMB_SAMPLING_POISSON, 1e-5, 1, i + 2) +
                 4 * lmb_rdp_gaussian(LMB_SAMPLING_POISSON, 1e-4, 3, i + 2);
    }
    ck_assert_double_eq_tol(lmb_rdp_convert(rdp, alpha, 31, 1e-5, &best), 0.336, 5e-4);
    ck_assert_int_eq(best, 23);
}
END_TEST

/* Google: a mechanism of pure epsilon 1.1, and the noise that gives epsilon 1 exactly. */
START_TEST(google)
{
    double rdp[31];
    int alpha[31], best;
    for (int i = 0; i < 31; i++) {
        alpha[i] = i + 2;
        rdp[i] = 1.1;
    }
    ck_assert_double_eq_tol(lmb_rdp_convert(rdp, alpha, 31, 1e-5, &best), 1.32783806176, 1e-11);
    ck_assert_int_eq(best, 32);
    ck_assert_double_eq_tol(epsilon(1, 4.530877117, 1, 1e-6, NULL), 1, 1e-6);
}
END_TEST

START_TEST(rounds_add_up)
{
    lmb_rdp once = { { 0 } }, many = { { 0 } }, none = { { 0 } };
    for (int i = 0; i < 40; i++)
        lmb_rdp_add(&once, LMB_SAMPLING_POISSON, 0.05, 1.2, 1);
    lmb_rdp_add(&many, LMB_SAMPLING_POISSON, 0.05, 1.2, 40);
    ck_assert_double_eq_tol(lmb_rdp_epsilon(&once, 1e-5, NULL), lmb_rdp_epsilon(&many, 1e-5, NULL), 1e-12);
    ck_assert_double_eq(lmb_rdp_epsilon(&none, 1e-5, NULL), 0);
    double last = 0;
    for (uint64_t t = 1; t <= 1024; t *= 2) {
        double e = epsilon(0.02, 1, t, 1e-5, NULL);
        ck_assert_double_gt(e, last);
        last = e;
    }
    ck_assert_int_eq(lmb_rdp_order(0), 2);
    ck_assert_int_eq(lmb_rdp_order(254), 256);
    ck_assert_int_eq(lmb_rdp_order(255), 512);
    ck_assert_int_eq(lmb_rdp_order(256), 1024);
}
END_TEST

/* Without replacement: values of the bound by an independent implementation in Python; never worse than no sampling,
 * which is that of a sensitivity of 2. */
START_TEST(fixed_size)
{
    static const struct { double q, z; int alpha; double rdp;
    } want[] = {
        { .01, 4, 2, 0.00011360371352876478 },
        { .01, 4, 8, 0.0004883930419623885 },
        { .01, 4, 32, 0.0025171821592645293 },
        { .1, 2, 2, 0.05293929372779761 },
        { .1, 2, 3, 0.0925205874530362 },
        { .1, 2, 8, 1.478554782562137 },
        { 1, 2, 2, 1 },
        { 1, 2, 8, 4 },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double got = lmb_rdp_gaussian(LMB_SAMPLING_FIXED, want[i].q, want[i].z, want[i].alpha);
        ck_assert_msg(fabs(got - want[i].rdp) < 1e-10 * want[i].rdp, "row %zu: %.13g, expected %.13g", i, got,
                      want[i].rdp);
    }
    for (double z = 0.05; z < 20; z *= 2)
        for (int alpha = 2; alpha <= 1024; alpha *= 2) {
            double last = 0;
            for (double q = 0.001; q <= 1; q *= 4) {
                double got = lmb_rdp_gaussian(LMB_SAMPLING_FIXED, q, z, alpha);
                ck_assert(got >= last && got <= 4 * lmb_rdp_gaussian(LMB_SAMPLING_ALL, 1, z, alpha) * (1 + 1e-12));
                last = got;
            }
        }
}
END_TEST

/* ---- noise ---- */

static const uint8_t key[LMB_DP_KEY] = "a key that only tests may give..";

/* Of a stream that is the same at every run: mean, variance and kurtosis within five standard errors. */
static void check_moments(const char *what, const double *x, int n, double variance)
{
    double mean = 0, square = 0, fourth = 0;
    for (int i = 0; i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++) {
        square += pow(x[i] - mean, 2) / n;
        fourth += pow(x[i] - mean, 4) / n;
    }
    ck_assert_msg(fabs(mean) < 5 * sqrt(variance / n), "%s: mean %g", what, mean);
    ck_assert_msg(fabs(square / variance - 1) < 5 * sqrt(2.0 / n), "%s: variance %g, expected %g", what, square,
                  variance);
    ck_assert_msg(fabs(fourth / (square * square) - 3) < 5 * sqrt(24.0 / n) + 0.35 / variance, "%s: kurtosis %g", what,
                  fourth / (square * square));
}

enum { DRAWS = 200000 };
static double draw[DRAWS];

START_TEST(normal_noise)
{
    lmb_dp_stream s;
    int tail = 0;
    lmb_dp_stream_open(&s, key, 1);
    for (int i = 0; i < DRAWS; i++) {
        draw[i] = lmb_dp_normal(&s);
        tail += fabs(draw[i]) > 2;
        ck_assert_double_lt(fabs(draw[i]), 8.6);
    }
    check_moments("normal", draw, DRAWS, 1);
    double expected = DRAWS * erfc(2 / sqrt(2));
    ck_assert_double_lt(fabs(tail - expected), 5 * sqrt(expected));
    for (int i = 0; i + 1 < DRAWS; i++)
        draw[i] *= draw[i + 1]; /* neighbours, of one draw of the pair too, are independent */
    double sum = 0;
    for (int i = 0; i + 1 < DRAWS; i++)
        sum += draw[i];
    ck_assert_double_lt(fabs(sum), 5 * sqrt(DRAWS));
}
END_TEST

START_TEST(streams)
{
    lmb_dp_stream a, b, c, d;
    uint64_t first;
    int differ = 0;
    lmb_dp_stream_open(&a, key, 1);
    lmb_dp_stream_open(&b, key, 1);
    lmb_dp_stream_open(&c, key, 2);
    lmb_dp_stream_open(&d, NULL, 1);
    first = lmb_dp_u64(&a);
    ck_assert_uint_eq(first, lmb_dp_u64(&b));
    for (int i = 0; i < 300; i++) { /* over the ends of blocks */
        uint64_t v = lmb_dp_u64(&a);
        ck_assert_uint_eq(v, lmb_dp_u64(&b));
        differ += v != lmb_dp_u64(&c);
        differ += v != lmb_dp_u64(&d);
        ck_assert_uint_ne(v, first);
    }
    ck_assert_int_eq(differ, 600);
    /* ChaCha20 of the key 0, nonce 0: the first block of RFC 7539, A.1, test vector 1 */
    static const uint8_t zero[LMB_DP_KEY];
    static const uint8_t want[16] = { 0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90,
                                      0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28 };
    uint64_t got[2];
    lmb_dp_stream_open(&a, zero, 0);
    got[0] = lmb_dp_u64(&a);
    got[1] = lmb_dp_u64(&a);
    ck_assert_mem_eq(got, want, 16);
    lmb_dp_stream_wipe(&a);
    for (size_t i = 0; i < sizeof a; i++)
        ck_assert_uint_eq(((uint8_t *)&a)[i], 0);
}
END_TEST

START_TEST(discrete_noise)
{
    static const uint64_t sigma2[] = { 1, 2, 10, 1000, 1ull << 40, 1ull << 54 };
    for (size_t k = 0; k < sizeof sigma2 / sizeof *sigma2; k++) {
        lmb_dp_stream s;
        int n = DRAWS / 10;
        char what[40];
        lmb_dp_stream_open(&s, key, k);
        for (int i = 0; i < n; i++)
            draw[i] = (double)lmb_dp_discrete(&s, sigma2[k]);
        snprintf(what, sizeof what, "discrete %llu", (unsigned long long)sigma2[k]);
        check_moments(what, draw, n, lmb_dp_discrete_variance(sigma2[k]));
    }
}
END_TEST

/* Each probability of the smallest, not only its moments: a chi-square test. */
START_TEST(discrete_noise_has_the_right_probabilities)
{
    lmb_dp_stream s;
    double count[13] = { 0 }, mass = 0, chi = 0;
    int n = 50000;
    lmb_dp_stream_open(&s, key, 77);
    for (int i = 0; i < n; i++) {
        int64_t v = lmb_dp_discrete(&s, 3);
        if (v >= -6 && v <= 6)
            count[v + 6]++;
    }
    for (int k = -40; k <= 40; k++)
        mass += exp(-k * k / 6.0);
    for (int k = -6; k <= 6; k++) {
        double expected = n * exp(-k * k / 6.0) / mass;
        chi += pow(count[k + 6] - expected, 2) / expected;
    }
    ck_assert_double_lt(chi, 36); /* 13 degrees of freedom: 1 in 1,500 */
}
END_TEST

START_TEST(noise_in_shares)
{
    uint64_t each;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_dp_share(2, 1000, 10, 0.2, &each, &err));
    ck_assert_uint_eq(each, 500000); /* 8 stay, and add up to 4e6 */
    ck_assert_int_eq(lmb_dp_share(1, 0.1, 1000, 0, &each, &err), LMB_OK);
    ck_assert_uint_eq(each, 1);
    ck_assert_int_eq(lmb_dp_share(0, 1, 10, 0.2, &each, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_dp_share(1, 1e12, 10, 0.2, &each, &err), LMB_E_ARG);
    ck_assert_double_eq(lmb_dp_discrete_variance(1 << 20), 1 << 20);
    ck_assert_double_eq_tol(lmb_dp_discrete_variance(1), 1, 1e-6); /* 1 - 2.1e-7 */
}
END_TEST

LMB_TEST_MAIN("federated/privacy", add(epsilon_at_integer_orders); add(divergence_of_one_round); add(opacus);
              add(google); add(rounds_add_up); add(fixed_size); add(normal_noise); add(streams); add(discrete_noise);
              add(discrete_noise_has_the_right_probabilities); add(noise_in_shares);)
