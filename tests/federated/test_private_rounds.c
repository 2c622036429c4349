/* Mirrors federated/privacy/privacy.c and rules.c in private federations as a whole: what is added, where it ends, what
 * survives.
 */
#include <math.h>

#include "core/base/config.h"
#include "federated/privacy/privacy.h"
#include "tests/federated/raw.h"

static const uint8_t key[LMB_DP_KEY] = "a key that only tests may give..";

typedef struct fed { world w; world_client c[4]; lmb_config *privacy, *codec; } fed;

static void fed_open(fed *f, const char *privacy, const char *codec)
{
    memset(f, 0, sizeof *f);
    err = (lmb_error)LMB_ERROR_INIT;
    world_open(&f->w);
    ck_ok(lmb_config_parse(privacy, strlen(privacy), "test", &f->privacy, &err));
    ck_ok(lmb_config_parse(codec, strlen(codec), "test", &f->codec, &err));
    f->w.cfg.privacy = lmb_config_root(f->privacy);
    f->w.cfg.codec = lmb_config_root(f->codec);
    f->w.job.noise_key = key;
}

static void fed_run(fed *f, int rounds)
{
    f->w.cfg.rounds = rounds;
    world_start(&f->w);
    memset(f->c, 0, sizeof f->c);
    for (int k = 0; k < 4; k++)
        world_client_start(&f->w, &f->c[k], k, lmb_server_port(f->w.server));
    world_join(&f->w);
    for (int k = 0; k < 4; k++) {
        world_client_join(&f->c[k]);
        ck_assert_msg(f->c[k].status == LMB_OK, "client %d: %s", k, f->c[k].error.msg);
    }
}

static void fed_close(fed *f)
{
    world_close(&f->w);
    lmb_config_destroy(f->privacy);
    lmb_config_destroy(f->codec);
}

/* The step is the mean of four changes of norm C, of equal weight, and noise of z C / 4. */
START_TEST(a_private_round)
{
    enum { CLIP = 2 };
    static const char *const codec[] = { "f32", "bf16", "int8", "{name: rotation, bits: 4, zstd: 1}" };
    double z = 1.5, epsilon = 0;
    for (int j = 0; j < 4; j++) {
        lmb_codec_spec s;
        fed f;
        double sum = 0, square = 0, fourth = 0;
        err = (lmb_error)LMB_ERROR_INIT;
        if (lmb_codec_parse(codec[j], &s, &err) == LMB_E_UNSUPPORTED)
            continue;
        mark_point();
        fed_open(&f, "{clip: 2, noise_multiplier: 1.5, epsilon_budget: 100}", codec[j]);
        fed_run(&f, 1);
        for (size_t i = 0; i < WORLD_N; i++) {
            double mean = 0;
            for (int k = 0; k < 4; k++) { /* each client's change, see world.h, and its norm */
                double norm = 0;
                for (size_t v = 0; v < 21; v++)
                    norm += pow(0.5 * (k + 1 + (double)(v % 3) * 0.01 - (double)(v % 7) * 0.1), 2) / 21 * WORLD_N;
                mean += 0.25 * 0.5 * (k + 1 + (double)(i % 3) * 0.01 - (double)(i % 7) * 0.1) * CLIP / sqrt(norm);
            }
            double noise = (double)(lmb_server_model(f.w.server)[i] - f.w.initial[i]) - mean;
            sum += noise;
            square += noise * noise;
            fourth += pow(noise, 4);
        }
        double variance = square / WORLD_N, expected = pow(z * CLIP / 4, 2);
        ck_assert_double_lt(fabs(sum / WORLD_N), 5 * sqrt(expected / WORLD_N));
        ck_assert_double_lt(fabs(variance / expected - 1), 5 * sqrt(2.0 / WORLD_N));
        ck_assert_double_lt(fabs(fourth / WORLD_N / (variance * variance) - 3), 5 * sqrt(24.0 / WORLD_N));
        const lmb_round_report *r = &f.w.reports[1];
        ck_assert(r->is_private && r->committed && r->clip == CLIP && r->delta == 1e-5 && r->clients.n == 0);
        ck_assert_uint_eq(r->examples, 4); /* how many anybody has stays with it */
        epsilon = r->epsilon;
        ck_assert(epsilon > 1 && epsilon < 5 && epsilon == lmb_privacy_epsilon(lmb_server_privacy(f.w.server)));
        fed_close(&f);
    }
}
END_TEST

START_TEST(a_spent_budget_ends_the_federation)
{
    fed f;
    char text[LMB_PRIVACY_TEXT];
    float *model = malloc(WORLD_N * sizeof *model);
    lmb_config *more = NULL;

    fed_open(&f, "{clip: 2, noise_multiplier: 3, epsilon_budget: 3}", "f32"); /* 1 round: 1.6; 3: 2.9; 4: 3.4 */
    fed_run(&f, 6);
    uint64_t rounds = lmb_server_round(f.w.server);
    ck_assert(rounds > 1 && rounds < 6);
    double spent = f.w.reports[rounds].epsilon;
    ck_assert(spent <= 3 && spent > 2);
    ck_assert(world_said(&f.w, "the privacy budget is enough for "));
    ck_assert(world_said(&f.w, "the privacy budget is spent: epsilon is "));
    lmb_privacy_describe(lmb_server_privacy(f.w.server), text);
    ck_assert_ptr_nonnull(
        strstr(text, "the unit is one client, neighbours are federations with one client more or less"));
    memcpy(model, lmb_server_model(f.w.server), WORLD_N * sizeof *model);
    /* started again it is still over, at once, and nothing is lost */
    lmb_server_destroy(f.w.server);
    ck_ok(lmb_server_create(&f.w.cfg, &f.w.job, &f.w.server, &err));
    ck_assert_double_eq(lmb_privacy_epsilon(lmb_server_privacy(f.w.server)), spent);
    ck_ok(lmb_server_run(f.w.server, &err));
    ck_assert_uint_eq(lmb_server_round(f.w.server), rounds);
    ck_assert_mem_eq(lmb_server_model(f.w.server), model, WORLD_N * sizeof *model);
    lmb_server_destroy(f.w.server);
    f.w.server = NULL;
    /* without privacy it is not to be had any more */
    const lmb_tree *was = f.w.cfg.privacy;
    f.w.cfg.privacy = NULL;
    ck_assert_int_eq(lmb_server_create(&f.w.cfg, &f.w.job, &f.w.server, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "holds a private federation of"));
    f.w.cfg.privacy = was;
    /* with a greater budget it goes on from what was spent */
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse("{clip: 2, noise_multiplier: 3, epsilon_budget: 30}", 50, "test", &more, &err));
    f.w.cfg.privacy = lmb_config_root(more);
    fed_run(&f, (int)rounds + 1);
    ck_assert_uint_eq(lmb_server_round(f.w.server), rounds + 1);
    ck_assert_double_gt(lmb_privacy_epsilon(lmb_server_privacy(f.w.server)), 3);
    free(model);
    lmb_config_destroy(more);
    fed_close(&f);
}
END_TEST

START_TEST(a_federation_without_noise_does_not_become_private)
{
    fed f;
    fed_open(&f, "{clip: 2, noise_multiplier: 3}", "f32");
    const lmb_tree *privacy = f.w.cfg.privacy;
    f.w.cfg.privacy = NULL;
    fed_run(&f, 1);
    lmb_server_destroy(f.w.server);
    f.w.server = NULL;
    f.w.cfg.privacy = privacy;
    ck_assert_int_eq(lmb_server_create(&f.w.cfg, &f.w.job, &f.w.server, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "1 rounds had no noise"));
    fed_close(&f);
}
END_TEST

/* Given the key, a server that was stopped between rounds arrives at the same bits, clip and epsilon. */
START_TEST(a_restarted_private_server_goes_on)
{
    static const char adaptive[] =
        "{clip: {name: adaptive, initial: 0.5, noise: 0.5}, noise_multiplier: 2, epsilon_budget: 1000}";
    fed whole, parts;
    fed_open(&whole, adaptive,
             "f32"); /* other codecs are seeded by the clients' numbers, which depend on who enrols first */
    fed_run(&whole, 3);
    fed_open(&parts, adaptive, "f32");
    fed_run(&parts, 2);
    lmb_server_destroy(parts.w.server);
    parts.w.cfg.rounds = 3;
    world_start(&parts.w);
    for (int k = 0; k < 4; k++) { /* the same clients, known since */
        memset(&parts.c[k], 0, sizeof parts.c[k]);
        world_client_start(&parts.w, &parts.c[k], k, lmb_server_port(parts.w.server));
    }
    world_join(&parts.w);
    for (int k = 0; k < 4; k++)
        world_client_join(&parts.c[k]);
    ck_assert_mem_eq(lmb_server_model(whole.w.server), lmb_server_model(parts.w.server), WORLD_N * sizeof(float));
    ck_assert_mem_eq(&lmb_server_privacy(whole.w.server)->ledger, &lmb_server_privacy(parts.w.server)->ledger,
                     sizeof(lmb_rdp_ledger));
    ck_assert_double_gt(lmb_server_privacy(whole.w.server)->ledger.clip, 0.5); /* all were cut: it has grown */
    fed_close(&whole);
    fed_close(&parts);
}
END_TEST

/* A client that does not cut its change is refused, so is one that wants a greater weight; the others' sum is as it
 * was. */
START_TEST(who_does_not_clip_is_out)
{
    static float values[WORLD_N];
    for (int lie = 0; lie < 2; lie++) {
        fed f;
        raw r;
        fed_open(&f, "{clip: 2, noise_multiplier: 1.5, epsilon_budget: 100}", "f32");
        f.w.cfg.rounds = 1;
        f.w.cfg.reconnect_s = 0.5; /* nobody waits for the offender's return */
        f.w.cfg.target = 3;
        f.w.cfg.minimum = 2;
        world_start(&f.w);
        for (int k = 0; k < 2; k++)
            world_client_start(&f.w, &f.c[k], k, lmb_server_port(f.w.server));
        lmb_task_message t = join(&f.w, &r);
        ck_assert_double_eq(t.clip, 2);
        for (int i = 0; i < WORLD_N; i++)
            values[i] = lie ? 0.001f : 0.02f; /* norms 0.14 and 2.83 */
        lmb_update_message u = honest(&t, values);
        u.examples = lie ? 2 : 1;
        ck_ok(lmb_message_send(r.channel, LMB_MSG_UPDATE, &u, &err));
        raw_flush(&r);
        if (!lie)
            send_values(&r, values, WORLD_N);
        ck_assert(world_says(&f.w, lie ? "claims 2 examples, allowed are 1 to 1"
                                       : "the update has the norm 2.82843, this federation allows 2"));
        raw_close(&r);
        world_join(&f.w);
        ck_assert_uint_eq(f.w.reports[1].updates, 2);
        for (int k = 0; k < 2; k++)
            world_client_join(&f.c[k]);
        fed_close(&f);
    }
}
END_TEST

LMB_TEST_MAIN("federated/private_rounds", add(a_private_round); add(a_spent_budget_ends_the_federation);
              add(a_federation_without_noise_does_not_become_private); add(a_restarted_private_server_goes_on);
              add(who_does_not_clip_is_out);)
