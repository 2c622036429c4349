/* Mirrors federated/server.c, server_round.c, client.c: whole federations over TCP on the loopback. */
#include <math.h>

#include "core/base/bf16.h"
#include "core/base/config.h"
#include "tests/federated/expected.h"

static lmb_error err;

START_TEST(four_clients_converge)
{
    world w;
    world_client c[4];
    memset(c, 0, sizeof c);
    world_open(&w);
    world_start(&w);
    for (int k = 0; k < 4; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    for (int k = 0; k < 4; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "client %d: %s", k, c[k].error.msg);
        ck_assert_int_eq(c[k].trained, 5);
    }
    for (size_t i = 0; i < WORLD_N; i++)
        ck_assert_double_eq_tol(lmb_server_model(w.server)[i], expected(i, 5, 0), 1e-5);
    ck_assert_int_eq(w.n_reports, 6);
    ck_assert(w.reports[0].round == 0 && w.reports[0].scored && w.reports[0].best && !w.reports[0].updates);
    for (int r = 1; r <= 5; r++) {
        ck_assert_uint_eq(w.reports[r].round, r);
        ck_assert(w.reports[r].committed && w.reports[r].scored && w.reports[r].best);
        ck_assert_uint_eq(w.reports[r].updates, 4);
        ck_assert_uint_eq(w.reports[r].examples, 100);
        ck_assert_uint_gt(w.reports[r].bytes_in, 4 * WORLD_N * 4);
        ck_assert_str_eq(w.reports[r].clients.row[0].name, "loss");
        ck_assert_double_eq_tol(w.reports[r].clients.row[0].value, (0 * 10 + 1 * 20 + 2 * 30 + 3 * 40) / 100.0, 1e-12);
    }
    world_close(&w);
}
END_TEST

/* Each client's own figure counts once, whatever its examples; what is no share does not. */
START_TEST(how_clients_fare_one_by_one)
{
    world w;
    world_client c[4];
    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 1;
    world_start(&w);
    for (int k = 0; k < 4; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    for (int k = 0; k < 4; k++)
        world_client_join(&c[k]);
    const lmb_spread *s = w.reports[1].fare;
    ck_assert_uint_eq(s[LMB_FARE_VALID].clients, 4);
    ck_assert_double_eq_tol(s[LMB_FARE_VALID].mean, 0.5, 1e-12);
    ck_assert_double_eq_tol(s[LMB_FARE_VALID].median, 0.5, 1e-12);
    ck_assert_double_eq_tol(s[LMB_FARE_VALID].worst, 0.2, 1e-12);
    ck_assert_uint_eq(s[LMB_FARE_PERSONAL].clients, 3);
    world_close(&w);
}
END_TEST

START_TEST(spreads)
{
    double v[20];
    for (int i = 0; i < 20; i++)
        v[i] = (double)((i * 7) % 20); /* 0 .. 19 */
    lmb_spread s = lmb_spread_of(v, 20);
    ck_assert_double_eq_tol(s.mean, 9.5, 1e-12);
    ck_assert_double_eq_tol(s.median, 9.5, 1e-12);
    ck_assert_double_eq_tol(s.worst, 0.5, 1e-12); /* of 0 and 1 */
    ck_assert_double_eq(lmb_spread_of(v, 1).worst, v[0]);
    ck_assert_uint_eq(lmb_spread_of(v, 0).clients, 0);
}
END_TEST

/* What refines sees the model that clients were sent, and their updates in the order of their numbers; what it leaves
 * is the model of the round, and clients of the next one are sent it. */
static lmb_status double_it(void *ctx, uint64_t round, const float *before, const lmb_updates *u, float *model,
                            lmb_error *e)
{
    float *one = malloc(u->n * sizeof *one);
    double mean = 0, weight = 0;
    (void)ctx, (void)round;
    ck_assert_int_eq(u->count, 4);
    for (int k = 0; k < u->count; k++) {
        ck_ok(u->read(u->ctx, k, 0, u->n, one, e));
        mean += (double)u->examples[k] * (double)one[8];
        weight += (double)u->examples[k];
    }
    ck_assert_double_eq_tol(before[8] + mean / weight, model[8], 1e-5);
    for (size_t i = 0; i < u->n; i++)
        model[i] *= 2;
    free(one);
    return LMB_OK;
}

START_TEST(a_round_is_refined)
{
    world w;
    world_client c[4];
    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 2;
    w.job.refine = double_it;
    world_start(&w);
    for (int k = 0; k < 4; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    for (int k = 0; k < 4; k++)
        world_client_join(&c[k]);
    for (size_t i = 0; i < WORLD_N; i += 97) {
        double v = (double)((float)(i % 7) * 0.1f);
        for (int r = 0; r < 2; r++)
            v = 2 * (v + 0.5 * (3 + (double)(i % 3) * 0.01 - v));
        ck_assert_double_eq_tol(lmb_server_model(w.server)[i], v, 1e-5);
    }
    world_close(&w);
}
END_TEST

/* Clients are given the model in half the bytes; the server's own keeps what they do not see. */
START_TEST(the_model_travels_as_bf16)
{
    world w;
    world_client c[4];
    lmb_config *yaml = NULL;
    memset(c, 0, sizeof c);
    world_open(&w);
    ck_ok(lmb_config_parse("bf16", 4, "test", &yaml, &err));
    w.cfg.download = lmb_config_root(yaml);
    w.cfg.rounds = 3;
    world_start(&w);
    for (int k = 0; k < 4; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    for (int k = 0; k < 4; k++)
        world_client_join(&c[k]);
    for (size_t i = 0; i < WORLD_N; i += 91) {
        double v = (double)((float)(i % 7) * 0.1f);
        for (int r = 0; r < 3; r++)
            v += 0.5 * (3 + (double)(i % 3) * 0.01 - (double)lmb_bf16_get(lmb_bf16_of((float)v)));
        ck_assert_double_eq_tol(lmb_server_model(w.server)[i], v, 1e-5);
    }
    ck_assert_uint_lt(w.reports[2].bytes_out, 4 * (2 * WORLD_N + 4000));
    world_close(&w);
    lmb_config_destroy(yaml);
}
END_TEST

/* An aggregator that needs all updates reads them from the spool when the round ends. */
START_TEST(the_median_of_four)
{
    world w;
    world_client c[4];
    lmb_config *yaml = NULL;
    memset(c, 0, sizeof c);
    world_open(&w);
    ck_ok(lmb_config_parse("{name: median}", 14, "test", &yaml, &err));
    w.cfg.aggregator = lmb_config_root(yaml);
    w.cfg.rounds = 2;
    world_start(&w);
    for (int k = 0; k < 4; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    for (int k = 0; k < 4; k++)
        world_client_join(&c[k]);
    for (size_t i = 0; i < WORLD_N; i++) {
        double v = (double)((float)(i % 7) * 0.1f);
        for (int r = 0; r < 2; r++)
            v += 0.5 * (2.5 + (double)(i % 3) * 0.01 - v);
        ck_assert_double_eq_tol(lmb_server_model(w.server)[i], v, 1e-5);
    }
    world_close(&w);
    lmb_config_destroy(yaml);
}
END_TEST

START_TEST(frozen_segments_stay)
{
    static const lmb_fed_segment segments[] = { { 0, 100, true }, { 100, 50, false }, { 150, WORLD_N - 150, true } };
    world w;
    world_client c[2];
    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.rounds = 1;
    w.job.segments = segments;
    w.job.n_segments = 3;
    world_start(&w);
    for (int k = 0; k < 2; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    for (size_t i = 0; i < 200; i++)
        ck_assert_int_eq(lmb_server_model(w.server)[i] == w.initial[i], i >= 100 && i < 150);
    world_close(&w);
}
END_TEST

/* One client trains for ever without a sign of progress, one slowly but lively: the first is out, the second is not. */
START_TEST(the_deadline_runs_on_progress)
{
    world w;
    world_client c[4];
    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.minimum = 3;
    w.cfg.rounds = 1;
    c[1].seconds = 60;
    c[2].seconds = 7; /* longer than a heartbeat's interval */
    c[2].lively = true;
    w.cfg.deadline_s = 6;
    world_start(&w);
    for (int k = 0; k < 4; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    ck_assert(world_said(&w, "it showed no progress for 6 s (deadline_s)"));
    ck_assert_uint_eq(w.reports[1].updates, 3);
    ck_assert(w.reports[1].committed);
    for (int k = 0; k < 4; k++)
        world_client_join(&c[k]);
    world_close(&w);
}
END_TEST

START_TEST(too_few_updates_abandon_the_round)
{
    world w;
    world_client c[2];
    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.rounds = 2;
    w.cfg.deadline_s = 0.5;
    c[1].seconds = 60;
    world_start(&w);
    for (int k = 0; k < 2; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    ck_assert_int_eq(w.n_reports, 3);
    ck_assert(!w.reports[1].committed && !w.reports[2].committed);
    ck_assert(world_said(&w, "round 1 is abandoned: 1 updates arrived, 2 are needed (minimum)"));
    ck_assert_mem_eq(lmb_server_model(w.server), w.initial, WORLD_N * sizeof(float));
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    world_close(&w);
}
END_TEST

/* Rounds only lead away from what is wanted: the best is what clients were given, also after a restart. */
static lmb_status love_the_start(void *ctx, uint64_t round, const float *model, size_t n, double *score, lmb_figures *m,
                                 lmb_error *e)
{
    double sum = 0;
    (void)round, (void)m, (void)e;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)model[i] - (double)((const world *)ctx)->initial[i]);
    *score = -sum;
    return LMB_OK;
}

START_TEST(a_federation_that_does_harm_gives_back_its_start)
{
    world w;
    world_client c[2];
    float *best = malloc(WORLD_N * sizeof *best);
    uint64_t round = 99;
    char path[200];
    double score;

    err = (lmb_error)LMB_ERROR_INIT;
    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = w.cfg.target = w.cfg.minimum = 2;
    w.job.evaluate = love_the_start;
    world_start(&w);
    for (int k = 0; k < 2; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    lmb_server_destroy(w.server);
    ck_ok(lmb_server_create(&w.cfg, &w.job, &w.server, &err));
    ck_assert_uint_eq(lmb_server_round(w.server), 2);
    ck_ok(lmb_server_best(w.server, best, &round, &score, &err));
    ck_assert_uint_eq(round, 0);
    ck_assert_double_eq(score, 0);
    ck_assert_double_eq(lmb_server_first_score(w.server), 0);
    ck_assert_mem_eq(best, w.initial, WORLD_N * sizeof *best);
    ck_assert_int_eq(w.n_reports, 3); /* round 0 is not told again */
    snprintf(path, sizeof path, "%s/model-0.f32", w.state); /* one bit of it is not what was written */
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, 4321, SEEK_SET), 0);
    int was = fgetc(f);
    ck_assert_int_eq(fseek(f, 4321, SEEK_SET), 0);
    ck_assert_int_eq(fputc(was ^ 1, f), was ^ 1);
    fclose(f);
    ck_assert_int_eq(lmb_server_best(w.server, best, &round, &score, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "model-0.f32 does not match the journal; restore it from a backup"));
    free(best);
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/rounds", add(four_clients_converge); add(the_median_of_four); add(how_clients_fare_one_by_one);
              add(spreads); add(the_model_travels_as_bf16); add(a_round_is_refined); add(frozen_segments_stay);
              add(a_federation_that_does_harm_gives_back_its_start); add(too_few_updates_abandon_the_round);
              add(the_deadline_runs_on_progress);)
