/* Mirrors federated/aggregators/: every row of the table is run through the promises of aggregator.h, then FedAvg
 * through its arithmetic. */
#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "federated/aggregator.h"
#include "tests/check_main.h"

static lmb_error err;

enum { N = 1000, UPDATES = 9 };
static const lmb_aggregator_limits limits = { N, 16, 9, 1 << 20, 8 };

typedef struct one { float v[N]; uint64_t examples; } one;
static one updates[UPDATES];

static void make_updates(void)
{
    for (uint32_t u = 0; u < UPDATES; u++) {
        lmb_rand r = lmb_rand_at(5, LMB_RAND_TEST, 0, u);
        updates[u].examples = 1 + lmb_rand_below(&r, N, 1 << 20);
        for (uint32_t i = 0; i < N; i++)
            updates[u].v[i] = lmb_rand_normal(&r, i) * (i % 10 ? 0.01f : 1.0f);
    }
}

static const lmb_field no_options[] = { LMB_FIELD_END };

/* Options as they are by default; `first` > 0 is the first of them (fedavg: momentum). */
static void *create(const lmb_aggregator *a, double first)
{
    double config[8];
    void *state = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_uint_le(a->config_bytes, sizeof config);
    ck_ok(lmb_fields_bind(a->fields ? a->fields : no_options, NULL, config, &err));
    if (first > 0)
        config[0] = first;
    ck_ok(a->create(config, &limits, &state, &err));
    return state;
}

static void absorb(const lmb_aggregator *a, void *s, const one *u, size_t block)
{
    for (size_t at = 0; at < N; at += block)
        a->absorb(s, at, u->v + at, N - at < block ? N - at : block, u->examples, at == 0);
}

static void order_of(const lmb_aggregator *a)
{
    float first[N], out[N];
    make_updates();
    for (uint32_t trial = 0; trial < 20; trial++) {
        void *s = create(a, 0); /* rows may remember the round before */
        uint32_t order[UPDATES];
        lmb_rand r = lmb_rand_at(6, LMB_RAND_TEST, 0, trial);
        for (uint32_t i = 0; i < UPDATES; i++)
            order[i] = i;
        lmb_rand_shuffle(&r, order, UPDATES);
        a->begin(s);
        for (int i = 0; i < UPDATES; i++)
            absorb(a, s, &updates[order[i]], trial % 2 ? 64 : N);
        ck_ok(a->finish(s, out, &err));
        if (trial == 0)
            memcpy(first, out, sizeof first);
        ck_assert_mem_eq(first, out, sizeof first);
        a->begin(s);
        ck_assert_int_eq(a->finish(s, out, &err), LMB_E_NUMERIC);
        a->destroy(s);
    }
    a->destroy(NULL);
}

START_TEST(order_and_blocks_do_not_matter)
{
    for (int i = 0; lmb_aggregators[i]; i++)
        if (!lmb_aggregators[i]->needs_all)
            order_of(lmb_aggregators[i]);
}
END_TEST

START_TEST(fedavg_is_the_weighted_mean)
{
    const lmb_aggregator *a;
    float out[N];
    void *s;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_aggregator_find("fedavg", &a, &err));
    s = create(a, 0);
    make_updates();
    a->begin(s);
    for (int u = 0; u < UPDATES; u++)
        absorb(a, s, &updates[u], 128);
    ck_ok(a->finish(s, out, &err));
    for (int i = 0; i < N; i++) {
        double sum = 0, weight = 0;
        for (int u = 0; u < UPDATES; u++) {
            sum += (double)updates[u].examples * (double)updates[u].v[i];
            weight += (double)updates[u].examples;
        }
        ck_assert_double_eq_tol(out[i], sum / weight, 1e-9 + 1e-7 * fabs(sum / weight));
    }
    /* values with few bits come through exactly */
    for (int i = 0; i < N; i++)
        updates[0].v[i] = (float)(i - 500) / 128;
    a->begin(s);
    absorb(a, s, &updates[0], N);
    ck_ok(a->finish(s, out, &err));
    ck_assert_mem_eq(out, updates[0].v, sizeof out);
    a->destroy(s);
}
END_TEST

/* The corner the limits allow: everyone claims the most. It must neither wrap nor lose its sign. */
START_TEST(the_largest_sum_fits)
{
    const lmb_aggregator *a = lmb_aggregators[0];
    static one u;
    float out[N];
    void *s = create(a, 0);
    u.examples = limits.max_examples;
    for (int i = 0; i < N; i++)
        u.v[i] = i % 2 ? 8 : -8;
    a->begin(s);
    for (uint64_t k = 0; k < limits.max_updates; k++)
        absorb(a, s, &u, N);
    ck_ok(a->finish(s, out, &err));
    ck_assert_mem_eq(out, u.v, sizeof out);
    a->destroy(s);
}
END_TEST

START_TEST(overflow_is_refused_at_configuration)
{
    lmb_aggregator_limits big = { N, 1000, 1, 1 << 20, 1 << 13 };
    double config[1] = { 0 };
    void *s;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_aggregators[0]->create(config, &big, &s, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "fedavg: 1000 clients of up to 1048576 examples with values up to 8192 leave 19 "
                              "bits for fractions, 20 are needed; lower target, max_examples or max_abs");
}
END_TEST

START_TEST(momentum_survives_a_restart)
{
    const lmb_aggregator *a = lmb_aggregators[0];
    float direct[N], resumed[N];
    void *s = create(a, 0.9), *t = create(a, 0.9), *plain = create(a, 0);
    const void *saved;
    uint8_t *copy;
    size_t bytes;

    make_updates();
    a->begin(s);
    absorb(a, s, &updates[0], N);
    ck_ok(a->finish(s, direct, &err));
    saved = a->save(s, &bytes);
    ck_assert_uint_eq(bytes, sizeof direct);
    copy = malloc(bytes);
    memcpy(copy, saved, bytes);
    a->begin(s);
    absorb(a, s, &updates[1], N);
    ck_ok(a->finish(s, direct, &err));
    ck_ok(a->load(t, copy, bytes, &err));
    a->begin(t);
    absorb(a, t, &updates[1], N);
    ck_ok(a->finish(t, resumed, &err));
    ck_assert_mem_eq(direct, resumed, sizeof direct);
    ck_assert_float_eq_tol(direct[3], 0.9f * updates[0].v[3] + updates[1].v[3], 1e-6f);
    a->save(plain, &bytes);
    ck_assert_uint_eq(bytes, 0);
    ck_assert_int_eq(a->load(plain, copy, sizeof direct, &err), LMB_E_FORMAT);
    free(copy);
    a->destroy(s);
    a->destroy(t);
    a->destroy(plain);
}
END_TEST

/* Algorithm 2 of Reddi et al. 2021, written out for one value over three rounds. */
START_TEST(adaptive_servers_follow_their_formulas)
{
    static const char *const names[] = { "fedadagrad", "fedadam", "fedyogi" };
    const double eta = 0.1, tau = 1e-3, beta2 = 0.99;
    for (int k = 0; k < 3; k++) {
        const lmb_aggregator *a = NULL;
        static one u;
        float out[N];
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_aggregator_find(names[k], &a, &err));
        void *s = create(a, 0);
        double beta1 = k ? 0.9 : 0, m = 0, v = tau * tau;
        for (int round = 0; round < 3; round++) {
            double d = (round - 1.5) / 64;
            u.examples = 7;
            for (int i = 0; i < N; i++)
                u.v[i] = i == 11 ? (float)d : 0;
            a->begin(s);
            absorb(a, s, &u, N);
            ck_ok(a->finish(s, out, &err));
            m = beta1 * m + (1 - beta1) * d;
            double q = d * d;
            v = k == 0   ? v + q
                : k == 1 ? beta2 * v + (1 - beta2) * q
                         : v - (1 - beta2) * q *
                                   (v > q   ? 1
                                    : v < q ? -1
                                            : 0);
            ck_assert_double_eq_tol(out[11], eta * m / (sqrt(v) + tau), 1e-6);
            ck_assert_float_eq(out[12], 0);
        }
        a->destroy(s);
    }
}
END_TEST

/* Every row that remembers: saved after a round and loaded elsewhere, it goes on to the same bits. */
START_TEST(what_is_remembered_survives_a_restart)
{
    make_updates();
    for (int k = 0; lmb_aggregators[k]; k++) {
        const lmb_aggregator *a = lmb_aggregators[k];
        float direct[N], resumed[N];
        size_t bytes;
        if (!a->save)
            continue;
        void *s = create(a, 0), *t = create(a, 0);
        a->begin(s);
        absorb(a, s, &updates[0], N);
        ck_ok(a->finish(s, direct, &err));
        const void *saved = a->save(s, &bytes);
        ck_ok(a->load(t, saved, bytes, &err));
        a->begin(s), a->begin(t);
        absorb(a, s, &updates[1], N), absorb(a, t, &updates[1], N);
        ck_ok(a->finish(s, direct, &err));
        ck_ok(a->finish(t, resumed, &err));
        ck_assert_mem_eq(direct, resumed, sizeof direct);
        ck_assert_int_eq(a->load(t, direct, bytes + 4, &err), LMB_E_FORMAT);
        a->destroy(s);
        a->destroy(t);
    }
}
END_TEST

START_TEST(unknown_names_are_refused)
{
    const lmb_aggregator *a;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_aggregator_find("fedvag", &a, &err), LMB_E_ARG);
    ck_assert_str_eq(
        err.msg,
        "there is no aggregator 'fedvag'; known are: fedavg, fedadagrad, fedadam, fedyogi, scaffold, fednova, median, "
        "trimmed_mean, krum, multi_krum, bulyan, geometric_median");
}
END_TEST

LMB_TEST_MAIN("federated/aggregators", add(order_and_blocks_do_not_matter); add(fedavg_is_the_weighted_mean);
              add(the_largest_sum_fits); add(overflow_is_refused_at_configuration); add(momentum_survives_a_restart);
              add(adaptive_servers_follow_their_formulas); add(what_is_remembered_survives_a_restart);
              add(unknown_names_are_refused);)
