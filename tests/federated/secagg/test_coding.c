/* Mirrors federated/secagg/coding.c. */
#include "federated/secagg/coding.h"
#include "tests/check_main.h"

#include <math.h>
#include <string.h>

enum { N = 37 };

static lmb_secagg_coding plain(void)
{
    lmb_secagg_coding c = {
        .length = N, .clients = 8, .weight_max = 100, .value_bits = 16, .ring_bits = 26, .clip = 2
    };
    return c;
}

/* A sum must not wrap: the ring in the table is the smallest that is taken. 1024 clients with 16 bits: 26. */
START_TEST(refuses_what_could_wrap)
{
    static const struct { uint32_t clients, weight, value, ring; } rows[] = {
        { 1024, 1, 16, 26 }, { 16384, 1, 16, 30 }, { 1, 1, 2, 2 }, { 2, 1, 2, 3 }, { 3, 1, 2, 3 }, { 4, 1, 2, 4 },
        { 64, 1 << 20, 16, 42 }, { 1000000, 1 << 18, 24, 62 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmb_secagg_coding c = { N, rows[i].clients, rows[i].weight, rows[i].value, rows[i].ring, 1, 0 };
        lmb_error err = LMB_ERROR_INIT;
        char want[64];
        ck_assert_uint_eq(lmb_secagg_coding_ring(&c), rows[i].ring);
        ck_ok(lmb_secagg_coding_check(&c, &err));
        c.ring_bits--;
        ck_assert_int_eq(lmb_secagg_coding_check(&c, &err), LMB_E_ARG);
        snprintf(want, sizeof want, "%u clients", rows[i].clients);
        ck_assert_msg(strstr(err.msg, want) != NULL && strstr(err.msg, "weight") && strstr(err.msg, "bits"), "%s",
                      err.msg);
    }
}
END_TEST

START_TEST(refuses_what_is_out_of_range)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_secagg_coding c;
#define REFUSED(change) \
    c = plain();        \
    change;             \
    ck_assert_int_eq(lmb_secagg_coding_check(&c, &err), LMB_E_ARG)
    REFUSED(c.length = 0);
    REFUSED(c.length = UINT64_MAX);
    REFUSED(c.clients = 0);
    REFUSED(c.clients = UINT32_MAX);
    REFUSED(c.weight_max = 0);
    REFUSED(c.weight_max = UINT32_MAX);
    REFUSED(c.value_bits = 0);
    REFUSED(c.value_bits = 1);
    REFUSED(c.value_bits = 25);
    REFUSED(c.ring_bits = 0);
    REFUSED(c.ring_bits = 63);
    REFUSED(c.clip = 0);
    REFUSED(c.clip = NAN);
    REFUSED(c.clip = INFINITY);
    REFUSED((c.clients = 1000000, c.weight_max = 1 << 28, c.value_bits = 24, c.ring_bits = 62)); /* no ring is enough */
}
END_TEST

/* All clients at the edge: the sum is exact, at both ends. */
START_TEST(extremes)
{
    lmb_secagg_coding c = plain();
    float x[N], mean[N];
    lmb_ring_vector q, sum;
    uint8_t seed[LMB_SECAGG_SEED] = { 0 };
    uint64_t weight;
    lmb_error err = LMB_ERROR_INIT;

    for (int i = 0; i < N; i++)
        x[i] = i % 3 == 0 ? 1e30f : i % 3 == 1 ? -2.0f : 0.0f;
    ck_ok(lmb_ring_init(&sum, c.ring_bits, N + 1, &err));
    for (int k = 0; k < 8; k++) {
        ck_ok(lmb_ring_init(&q, c.ring_bits, N + 1, &err));
        ck_ok(lmb_secagg_encode(&c, x, 1000000, seed, &q, &err));
        ck_assert_uint_eq(lmb_ring_get(&q, N), 100); /* no more than weight_max */
        for (size_t i = 0; i <= N; i++)
            lmb_ring_set(&sum, i, lmb_ring_get(&sum, i) + lmb_ring_get(&q, i));
        lmb_ring_deinit(&q);
    }
    ck_assert_int_eq(lmb_ring_signed(&sum, 0), 8 * 100 * 32767);
    ck_assert_int_eq(lmb_ring_signed(&sum, 1), -8 * 100 * 32767);
    ck_ok(lmb_secagg_decode(&c, &sum, mean, &weight, &err));
    ck_assert_uint_eq(weight, 800);
    for (int i = 0; i < N; i++)
        ck_assert_float_eq_tol(mean[i], i % 3 == 0 ? 2.0f : i % 3 == 1 ? -2.0f : 0.0f, 1e-6f);

    lmb_ring_set(&sum, 5, lmb_ring_get(&sum, 5) + 8 * 100 * 32767 + 1); /* more than the weights allow */
    ck_assert_int_eq(lmb_secagg_decode(&c, &sum, mean, &weight, &err), LMB_E_NUMERIC);
    lmb_ring_set(&sum, 5, 0);
    lmb_ring_set(&sum, N, 0);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_secagg_decode(&c, &sum, mean, &weight, &err), LMB_E_NUMERIC);
    lmb_ring_set(&sum, N, 801);
    ck_assert_int_eq(lmb_secagg_decode(&c, &sum, mean, &weight, &err), LMB_E_NUMERIC);
    lmb_ring_deinit(&sum);
}
END_TEST

/* Rounding is to a neighbour, and right on average. */
START_TEST(rounding_is_fair)
{
    enum { ROUNDS = 4000 };
    lmb_secagg_coding c = plain();
    float x[N];
    double total = 0, exact = 0.3 / 2 * 3 * 32767;
    lmb_error err = LMB_ERROR_INIT;
    for (int i = 0; i < N; i++)
        x[i] = 0.3f;
    exact = (double)0.3f / 2 * 3 * 32767;
    for (int r = 0; r < ROUNDS; r++) {
        uint8_t seed[LMB_SECAGG_SEED] = { (uint8_t)r, (uint8_t)(r >> 8) };
        lmb_ring_vector q;
        ck_ok(lmb_ring_init(&q, c.ring_bits, N + 1, &err));
        ck_ok(lmb_secagg_encode(&c, x, 3, seed, &q, &err));
        for (size_t i = 0; i < N; i++) {
            double v = (double)lmb_ring_signed(&q, i);
            ck_assert(fabs(v - exact) < 1);
            total += v;
        }
        lmb_ring_deinit(&q);
    }
    ck_assert_double_eq_tol(total / ROUNDS / N, exact, 0.01); /* 8 standard errors */
}
END_TEST

START_TEST(refuses_bad_updates)
{
    lmb_secagg_coding c = plain();
    float x[N] = { 0 };
    uint8_t seed[LMB_SECAGG_SEED] = { 0 };
    lmb_ring_vector q, other;
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_ring_init(&q, c.ring_bits, N + 1, &err));
    ck_ok(lmb_ring_init(&other, c.ring_bits, N, &err));
    ck_assert_int_eq(lmb_secagg_encode(&c, x, 0, seed, &q, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_secagg_encode(&c, x, 1, seed, &other, &err), LMB_E_SHAPE);
    x[N - 1] = NAN;
    ck_assert_int_eq(lmb_secagg_encode(&c, x, 1, seed, &q, &err), LMB_E_NUMERIC);
    x[N - 1] = INFINITY;
    ck_assert_int_eq(lmb_secagg_encode(&c, x, 1, seed, &q, &err), LMB_E_NUMERIC);
    lmb_ring_deinit(&q);
    lmb_ring_deinit(&other);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/coding", add(refuses_what_could_wrap); add(refuses_what_is_out_of_range); add(extremes);
              add(rounding_is_fair); add(refuses_bad_updates);)
