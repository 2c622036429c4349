/* Mirrors federated/server_session.c, client_secagg.c, secure.c: noise that clients add to a secure sum. It is as much
 * as a central server would add, and a client that wants more of it does not take part.
 */
#include <math.h>

#include "tests/federated/secagg_fed.h"

/* Each of four clients adds a part of the noise that three of them would be enough for; the sum has 4/3 of its
 * variance, and epsilon is that of a central server. */
START_TEST(noise_from_the_clients)
{
    enum { CLIP = 2 };
    double sum = 0, square = 0, fourth = 0, z = 1.5;
    fed f;

    fed_open(&f, "{}", 4);
    f.privacy = parse("{clip: 2, noise_multiplier: 1.5, epsilon_budget: 100}");
    f.w.cfg.privacy = lmb_config_root(f.privacy);
    f.w.cfg.minimum = 3;
    f.w.cfg.rounds = 1;
    world_start(&f.w);
    fed_clients(&f, 4);
    fed_join(&f, 4);
    for (size_t i = 0; i < WORLD_N; i++) {
        double mean = 0;
        for (int k = 0; k < 4; k++) { /* as in private_rounds; cut a little more, for what rounding adds */
            double norm = 0;
            for (size_t v = 0; v < 21; v++)
                norm += pow(0.5 * (k + 1 + (double)(v % 3) * 0.01 - (double)(v % 7) * 0.1), 2) / 21 * WORLD_N;
            mean += 0.25 * 0.5 * (k + 1 + (double)(i % 3) * 0.01 - (double)(i % 7) * 0.1) * CLIP *
                    (1 - sqrt(WORLD_N) / 32767) / sqrt(norm);
        }
        double noise = (double)(lmb_server_model(f.w.server)[i] - f.w.initial[i]) - mean;
        sum += noise;
        square += noise * noise;
        fourth += pow(noise, 4);
    }
    double variance = square / WORLD_N, expected = pow(z * CLIP / 4, 2) * 4 / 3;
    ck_assert_double_lt(fabs(sum / WORLD_N), 5 * sqrt(expected / WORLD_N));
    ck_assert_double_lt(fabs(variance / expected - 1), 5 * sqrt(2.0 / WORLD_N));
    ck_assert_double_lt(fabs(fourth / WORLD_N / (variance * variance) - 3), 5 * sqrt(24.0 / WORLD_N));
    const lmb_round_report *r = &f.w.reports[1];
    ck_assert(r->is_private && r->committed && r->clip == CLIP);
    ck_assert_uint_eq(r->examples, 4);
    ck_assert(r->epsilon == lmb_privacy_epsilon(lmb_server_privacy(f.w.server)) && r->epsilon > 1 && r->epsilon < 5);
    fed_close(&f);
}
END_TEST

/* A floor under the noise: what three clients of the sum bring counts, what the server says that it adds does not. */
START_TEST(a_client_wants_noise)
{
    static const struct {
        const char *server, *client, *why; /* NULL: it takes part */
    } rows[] = {
        { "{}", "{required: true, noise_min: 1.5}", NULL },
        { "{}", "{required: true, noise_min: 1.6}",
          "clients add noise of 1.5 clips to a sum of 3, this client wants 1.6 at least" },
        { "{}", "{required: true, noise_min: 1.7, clients_min: 4}", NULL }, /* 1.5 times the root of 4/3 is 1.732 */
        { "{noise: central}", "{required: true, noise_min: 0.1}", "clients add noise of 0 clips" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fed f;
        mark_point();
        fed_open(&f, rows[i].server, 4);
        f.privacy = parse("{clip: 2, noise_multiplier: 1.5, epsilon_budget: 100}");
        f.w.cfg.privacy = lmb_config_root(f.privacy);
        f.w.cfg.minimum = 3;
        f.w.cfg.rounds = 1;
        f.client = parse(rows[i].client);
        for (int k = 0; k < 4; k++)
            people[k].secure = lmb_config_root(f.client);
        world_start(&f.w);
        fed_clients(&f, 4);
        fed_join(&f, 4);
        ck_assert_msg(f.w.reports[1].committed == !rows[i].why, "case %zu: %s", i, f.w.text);
        ck_assert_msg(!rows[i].why || world_said(&f.w, rows[i].why), "case %zu: %s", i, f.w.text);
        fed_close(&f);
    }
}
END_TEST

LMB_TEST_MAIN("federated/secagg_noise", add(noise_from_the_clients); add(a_client_wants_noise);)
