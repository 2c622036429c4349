/* Mirrors federated/privacy/privacy.c and rules.c: what a private federation is told, draws and counts, where its
 * budget ends, and what goes together with it.
 */
#include <math.h>

#include "core/base/config.h"
#include "federated/privacy/privacy.h"
#include "tests/federated/world.h"

static lmb_error err;
static const uint8_t key[LMB_DP_KEY] = "a key that only tests may give..";

static lmb_config *yaml;
static lmb_privacy privacy_of(const char *text, uint64_t target)
{
    lmb_privacy p;
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_config_destroy(yaml);
    ck_ok(lmb_config_parse(text, strlen(text), "test", &yaml, &err));
    ck_ok(lmb_privacy_open(lmb_config_root(yaml), target, &p, &err));
    p.key = key;
    return p;
}

static void refused(const char *text, uint64_t target, const char *why)
{
    lmb_privacy p;
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_config_destroy(yaml);
    yaml = NULL;
    ck_ok(lmb_config_parse(text, strlen(text), "test", &yaml, &err));
    ck_assert_int_eq(lmb_privacy_open(lmb_config_root(yaml), target, &p, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, why) != NULL, "%s: %s", text, err.msg);
}

START_TEST(options)
{
    lmb_privacy p = privacy_of("{clip: 0.5, noise_multiplier: 2}", 10);
    ck_assert(p.on && !p.adaptive && p.z == 2 && p.ledger.clip == 0.5);
    ck_assert_double_eq(lmb_privacy_share(&p), 1);
    p = privacy_of("{clip: adaptive, noise_multiplier: 0.9}", 20);
    ck_assert(p.adaptive && p.ledger.clip == 0.1);
    ck_assert_double_eq_tol(p.z, 1 / sqrt(1 / 0.81 - 1 / 4.0),
                            1e-12); /* (z^-2 - (2 sigma_b)^-2)^(-1/2), sigma_b = 0.05 * 20 */
    p = privacy_of("{clip: {name: adaptive, initial: 3, noise: 0.2}, sampling: poisson, population: 1000}", 20);
    ck_assert_double_eq(lmb_privacy_share(&p), 0.02);
    refused("{noise_multiplier: 1}", 10, "privacy.clip is missing");
    refused("{clip: 0}", 10, "a norm from 1e-6");
    refused("{clip: often}", 10, "a number is needed");
    refused("{clip: {name: moving}}", 10, "{name: adaptive, ...}, not 'moving'");
    refused("{clip: 1, sampling: poisson}", 10, "say how many clients there are");
    refused("{clip: 1, sampling: fixed, population: 9}", 10, "is below target (10)");
    refused("{clip: adaptive, noise_multiplier: 2}", 10, "leaves no room");
    refused("{clip: 1, noise_multiplier: 0.1}", 10, "one round alone spends");
    refused("{clip: 1, noise: 1}", 10, "noise");
    lmb_config_destroy(yaml);
    yaml = NULL;
}
END_TEST

START_TEST(the_budget_is_never_overspent)
{
    lmb_privacy p =
        privacy_of("{clip: 1, noise_multiplier: 1.1, epsilon_budget: 3, sampling: poisson, population: 500}", 10);
    uint64_t left = lmb_privacy_rounds_left(&p), n = 0;
    int64_t numbers[4];
    lmbi_exact_sum sum = { .n = 4, .scale = 1 << 30, .sum = numbers };

    ck_assert_uint_gt(left, 10);
    while (lmb_privacy_allows(&p, lmb_privacy_share(&p))) {
        double before = lmb_privacy_after(&p, 0.02, 1);
        memset(numbers, 0, sizeof numbers);
        ck_ok(lmb_privacy_add_noise(&p, &sum, ++n, 0.02, 10, 10, &err));
        ck_assert_double_eq_tol(lmb_privacy_epsilon(&p), before, 1e-12);
        ck_assert_uint_eq(sum.weight, 10);
    }
    ck_assert_uint_eq(n, left);
    ck_assert_double_le(lmb_privacy_epsilon(&p), 3);
    ck_assert_double_gt(lmb_privacy_after(&p, 0.02, 1), 3);
    ck_assert_uint_eq(lmb_privacy_rounds_left(&p), 0);
    /* a ledger goes on, but not under other neighbours */
    lmb_rdp_ledger kept = p.ledger;
    p = privacy_of("{clip: 1, noise_multiplier: 1.1, epsilon_budget: 3, sampling: poisson, population: 500}", 10);
    ck_ok(lmb_privacy_resume(&p, &kept, &err));
    ck_assert(!lmb_privacy_allows(&p, 0.02));
    p = privacy_of("{clip: 1, noise_multiplier: 5, epsilon_budget: 3}", 10);
    ck_assert_int_eq(lmb_privacy_resume(&p, &kept, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "privacy.sampling poisson, now it is all"));
    lmb_config_destroy(yaml);
    yaml = NULL;
}
END_TEST

START_TEST(draws)
{
    lmb_privacy p = privacy_of("{clip: 1, sampling: poisson, population: 100}", 20);
    enum { ROUNDS = 2000, CLIENTS = 100 };
    static int times[CLIENTS];
    uint32_t chosen[CLIENTS];
    double share = 0, total = 0, square = 0;

    for (uint64_t r = 1; r <= ROUNDS; r++) {
        size_t n = lmb_privacy_draw(&p, r, CLIENTS, CLIENTS, chosen, &share);
        ck_assert_double_eq(share, 0.2);
        for (size_t i = 0; i < n; i++) {
            ck_assert(chosen[i] < CLIENTS && (!i || chosen[i] > chosen[i - 1]));
            times[chosen[i]]++;
        }
        total += (double)n;
        square += (double)n * (double)n;
    }
    ck_assert_double_eq_tol(total / ROUNDS, 20, 5 * sqrt(16.0 / ROUNDS));
    ck_assert_double_eq_tol(square / ROUNDS - pow(total / ROUNDS, 2), 16,
                            16 * 5 * sqrt(2.0 / ROUNDS)); /* n q (1 - q): each by itself */
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_double_lt(fabs(times[i] - 0.2 * ROUNDS), 5 * sqrt(0.16 * ROUNDS));
    p = privacy_of("{clip: 1, noise_multiplier: 4, sampling: fixed, population: 100}", 20);
    memset(times, 0, sizeof times);
    for (uint64_t r = 1; r <= ROUNDS; r++) {
        ck_assert_uint_eq(lmb_privacy_draw(&p, r, 50, 50, chosen, &share), 20);
        ck_assert_double_eq(share, 0.4); /* of those that are there, whatever was configured */
        for (int i = 0; i < 20; i++)
            times[chosen[i]]++;
    }
    for (int i = 0; i < 50; i++)
        ck_assert_double_lt(fabs(times[i] - 0.4 * ROUNDS), 5 * sqrt(0.24 * ROUNDS));
    ck_assert_uint_eq(lmb_privacy_draw(&p, 1, 7, 7, chosen, &share), 7);
    ck_assert_double_eq(share, 1);
    lmb_config_destroy(yaml);
    yaml = NULL;
}
END_TEST

/* Clients whose norms are 1 to 5: the clip finds the median, from both sides. */
START_TEST(the_clip_adapts)
{
    for (int side = 0; side < 2; side++) {
        lmb_privacy p =
            privacy_of(side ? "{clip: {name: adaptive, initial: 40}, noise_multiplier: 1.5, epsilon_budget: 1000}"
                            : "{clip: {name: adaptive, initial: 0.2}, noise_multiplier: 1.5, epsilon_budget: 1000}",
                       50);
        int64_t number = 0;
        lmbi_exact_sum sum = { .n = 1, .scale = 1 << 30, .sum = &number };
        for (uint64_t r = 1; r <= 80; r++) {
            uint64_t within = 0;
            for (int i = 0; i < 50; i++)
                within += 1 + 4.0 * i / 49 <= p.ledger.clip;
            number = 0;
            ck_ok(lmb_privacy_add_noise(&p, &sum, r, 1, 50, within, &err));
        }
        ck_assert_double_eq_tol(p.ledger.clip, 3, 0.5);
    }
    lmb_config_destroy(yaml);
    yaml = NULL;
}
END_TEST

/* ---- what goes together ---- */

static void pair(const char *aggregator, const char *codec, const char *privacy, double clip_norm, const char *why)
{
    lmb_server_config c;
    lmb_config *y[3] = { NULL };
    const char *text[3] = { aggregator, codec, privacy };

    err = (lmb_error)LMB_ERROR_INIT;
    lmb_fields_default(lmb_server_fields, &c);
    for (int i = 0; i < 3; i++)
        if (text[i])
            ck_ok(lmb_config_parse(text[i], strlen(text[i]), "test", &y[i], &err));
    c.aggregator = y[0] ? lmb_config_root(y[0]) : NULL;
    c.codec = y[1] ? lmb_config_root(y[1]) : NULL;
    c.privacy = y[2] ? lmb_config_root(y[2]) : NULL;
    c.clip_norm = clip_norm;
    lmb_status st = lmb_server_check(&c, &err);
    ck_assert_msg(why ? st == LMB_E_ARG && strstr(err.msg, why) : st == LMB_OK, "%s, %s, %s: %s", aggregator, codec,
                  privacy, err.msg);
    for (int i = 0; i < 3; i++)
        lmb_config_destroy(y[i]);
}

START_TEST(pairs)
{
    static const char *const fine[] = { "fedavg", "fedadagrad", "fedadam", "fedyogi" };
    for (int i = 0; i < 4; i++) {
        pair(fine[i], "int8", "{clip: 1}", 0, NULL);
        pair(fine[i], "topk", NULL, 3, NULL);
    }
    pair("median", "int8", NULL, 0, NULL);
    pair("median", NULL, "{clip: 1}", 0, "aggregator median does not work on that");
    pair("krum", "bf16", "{clip: 1}", 0, "aggregator krum does not work on that");
    pair("scaffold", NULL, "{clip: 1}", 0, "aggregator scaffold does not work on that");
    pair("fedavg", "topk", "{clip: 1}", 0, "privacy.clip bounds nothing");
    pair("fedavg", NULL, "{clip: 1}", 2, "clip_norm (2) and privacy.clip both");
    pair("trimmed_mean", "topk", NULL, 0, "leaves most values out");
    pair("scaffold", "rotation", NULL, 0, "which codec rotation would mix");
    pair("fednova", "bf16", NULL, 0, NULL);
    pair("fedavg", "gzip", NULL, 0, "there is no codec 'gzip'; known are: f32, bf16, int8, topk, rotation");
}
END_TEST

LMB_TEST_MAIN("federated/private_rules", add(options); add(the_budget_is_never_overspent); add(draws);
              add(the_clip_adapts); add(pairs);)
