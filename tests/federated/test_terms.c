/* Mirrors federated/terms/ and the aggregators of the same names: a client's part and the server's, together, against
 * the papers' equations on a quadratic. */
#include <math.h>
#include <string.h>

#include "federated/aggregator.h"
#include "federated/terms/term.h"
#include "tests/check_main.h"

enum { N = 6, CLIENTS = 3 };
static lmb_error err;

static void *open_row(const char *name, size_t n, double option, const lmb_aggregator **out)
{
    static const lmb_field none[] = { LMB_FIELD_END };
    lmb_aggregator_limits limits = { n, 8, 1, 1 << 20, 8 };
    int64_t config[4];
    void *state;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_aggregator_find(name, out, &err));
    ck_ok(lmb_fields_bind((*out)->fields ? (*out)->fields : none, NULL, config, &err));
    config[0] = (int64_t)option;
    ck_ok((*out)->create(config, &limits, &state, &err));
    return state;
}

START_TEST(every_row_that_asks_has_a_term)
{
    for (int i = 0; lmb_aggregators[i]; i++)
        if (lmb_aggregators[i]->term)
            ck_assert(lmb_term_find(lmb_aggregators[i]->term) != NULL);
    ck_assert(lmb_term_find("fedavg") == NULL);
}
END_TEST

/* FedNova, equation 7: x += (sum p_i a_i) * sum p_i (d_i / a_i). */
START_TEST(fednova_follows_its_equation)
{
    static const double travel[CLIENTS] = { 0.5, 2, 8 };
    static const uint64_t examples[CLIENTS] = { 10, 30, 60 };
    const lmb_aggregator *a;
    const lmb_term *t = lmb_term_find("fednova");
    float sent[N + 1] = { 0 }, out[N + 1];
    void *s = open_row("fednova", N + 1, 0, &a);
    double mean_travel = 0, mean[N] = { 0 };

    ck_assert_uint_eq(t->extra(N), 1);
    a->begin(s);
    for (int c = 0; c < CLIENTS; c++) {
        float delta[N + 1];
        double p = (double)examples[c] / 100;
        for (int i = 0; i < N; i++) {
            delta[i] = 0.01f * (float)(i + 1) * (float)(c + 1);
            mean[i] += p * (double)delta[i] / travel[c];
        }
        mean_travel += p * travel[c];
        t->finish(N, travel[c], sent + N, delta, delta + N, NULL);
        a->absorb(s, 0, delta, N + 1, examples[c], true);
    }
    ck_ok(a->finish(s, out, &err));
    for (int i = 0; i < N; i++)
        ck_assert_double_eq_tol(out[i], mean_travel * mean[i], 1e-6);
    ck_assert_float_eq(out[N], 0);
    a->destroy(s);
}
END_TEST

/* Client i pulls x towards b_i, f_i = |x - b_i|^2 / 2. With corrected gradients several local steps stay a step towards
 * the mean of b, weighted by samples: SCAFFOLD ends there, although clients differ in how many steps they make and
 * samples they have. */
static const uint64_t sizes[][CLIENTS] = { { 100, 100, 100 }, { 700, 200, 100 }, { 10, 190, 800 } };
START_TEST(scaffold_ends_at_the_common_optimum)
{
    const uint64_t *size = sizes[_i];
    static const int steps[CLIENTS] = { 2, 5, 20 };
    const double rate = 0.05;
    const lmb_aggregator *a;
    const lmb_term *t = lmb_term_find("scaffold");
    float w[2 * N] = { 0 }, memory[CLIENTS][N] = { { 0 } }, out[2 * N];
    void *s = open_row("scaffold", 2 * N, CLIENTS, &a);

    ck_assert_uint_eq(t->extra(N), N);
    ck_assert(t->memory);
    for (int round = 0; round < 200; round++) {
        a->begin(s);
        for (int c = 0; c < CLIENTS; c++) {
            float y[N], delta[2 * N], shift[N];
            t->begin(N, w + N, memory[c], shift);
            memcpy(y, w, sizeof y);
            for (int k = 0; k < steps[c]; k++)
                for (int i = 0; i < N; i++)
                    y[i] -= (float)rate * (y[i] - (float)(c * c + i) + shift[i]);
            for (int i = 0; i < N; i++)
                delta[i] = y[i] - w[i];
            t->finish(N, rate * steps[c], w + N, delta, delta + N, memory[c]);
            a->absorb(s, 0, delta, 4, size[c], true); /* blocks of another size than the halves */
            a->absorb(s, 4, delta + 4, 2 * N - 4, size[c], false);
        }
        ck_ok(a->finish(s, out, &err));
        for (int i = 0; i < 2 * N; i++)
            w[i] += out[i];
    }
    for (int i = 0; i < N; i++) {
        ck_assert_double_eq_tol(w[i], (double)(size[1] + 4 * size[2]) / (double)(size[0] + size[1] + size[2]) + i,
                                1e-3);             /* mean of b_i */
        ck_assert_float_eq_tol(w[N + i], 0, 1e-3); /* mean drift at the optimum */
    }
    a->destroy(s);
}
END_TEST

START_TEST(sizes_that_can_not_be)
{
    const lmb_aggregator *a;
    lmb_aggregator_limits limits = { 7, 8, 1, 1 << 20, 8 };
    int64_t config[4] = { 0 };
    void *s;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_aggregator_find("scaffold", &a, &err));
    ck_assert_int_eq(a->create(config, &limits, &s, &err), LMB_E_ARG);
}
END_TEST

LMB_TEST_MAIN("federated/terms", add(every_row_that_asks_has_a_term); add(fednova_follows_its_equation);
              add_loop(scaffold_ends_at_the_common_optimum, sizeof sizes / sizeof *sizes); add(sizes_that_can_not_be);)
