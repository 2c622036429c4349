/* Mirrors federated/simulate.c: rounds add up to what the aggregator says; stopped and gone on is the same run; clients
 * that drop out, too few updates, unusable updates. What travels encoded: test_simulate_codecs.c; ranks:
 * tests/mpi/test_simulate.sh. */
#include "tests/federated/simulation.h"

/* All 12 take part: the mean weighted by examples, moved a quarter of the way. */
START_TEST(a_round_is_the_weighted_mean)
{
    double sum = 0, weight = 0;
    set_up("{rounds: 1, target: 12, minimum: 2}");
    for (int i = 0; i < CLIENTS; i++) {
        sum += (double)examples[i] * 0.25 * i;
        weight += (double)examples[i];
    }
    ck_ok(run());
    ck_assert_float_eq_tol(model[0], (float)(sum / weight), 1e-6f);
    ck_assert_uint_eq(last.updates, 12);
    ck_assert_uint_eq(last.examples, (uint64_t)weight);
    ck_assert_double_eq_tol(first, -3, 1e-12);
    tear_down();
}
END_TEST

/* Integers instead of floats, with weights of the same size: the mean is off by less than a unit of the coding. */
START_TEST(under_secure_aggregation)
{
    float plain[N];
    set_up("{rounds: 3, target: 12, minimum: 2}");
    ck_ok(run());
    memcpy(plain, model, sizeof plain);
    tear_down();
    set_up("{rounds: 3, target: 12, minimum: 2, secure_aggregation: {clip: 4}}");
    ck_ok(run());
    for (int i = 0; i < N; i++)
        ck_assert_float_eq_tol(model[i], plain[i], 3 * 4.0f / 32767);
    ck_assert(memcmp(model, plain, sizeof plain) != 0);
    ck_assert_uint_eq(last.examples, 186);
    tear_down();
    set_up("{rounds: 1, target: 12, minimum: 2, secure_aggregation: {clip: 4, clients_min: 12}, seed: 3}");
    s.c.dropout = 0.5; /* too few are left for a sum */
    ck_ok(run());
    ck_assert(!last.committed);
    tear_down();
}
END_TEST

/* Masks that were put on come off again, of clients that left as well: the bits are those without. */
START_TEST(masks_leave_nothing)
{
    static const char *const rules[] = {
        "{rounds: 4, target: 12, minimum: 2, secure_aggregation: {clip: 4}}",
        "{rounds: 4, target: 10, minimum: 2, secure_aggregation: {clip: 4, ring_bits: 40, neighbours: 4, threshold: 3}}",
        "{rounds: 4, target: 12, minimum: 2, secure_aggregation: {}, "
        "privacy: {noise_multiplier: 1, clip: 4, epsilon_budget: 1000, sampling: all, population: 12}}",
    };
    float clear[N];

    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++)
        for (int masks = 0; masks < 2; masks++) {
            set_up(rules[k]);
            s.c.dropout = 0.3;
            s.c.masks = masks;
            ck_ok(run());
            ck_assert(last.committed);
            if (masks)
                ck_assert_mem_eq(model, clear, sizeof clear);
            memcpy(clear, model, sizeof clear);
            tear_down();
        }
    set_up("{rounds: 1, target: 12, minimum: 2}");
    s.c.masks = true;
    ck_assert_int_eq(run(), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "simulate.masks is of secure aggregation"));
    tear_down();
}
END_TEST

START_TEST(stopped_and_gone_on_is_the_same_run)
{
    static const char *const rows[] = { "fedavg, momentum: 0.5", "fedadam", "median", "geometric_median" };
    static const char *const selections[] = { "uniform", "by_loss", "round_robin", "by_size" };
    char text[200];
    for (int k = 0; k < 4; k++) {
        float whole[N];
        uint64_t best;
        snprintf(text, sizeof text, "{rounds: 20, target: 7, minimum: 2, aggregator: {name: %s}, selection: %s}",
                 rows[k], selections[k]);
        set_up(text);
        s.c.dropout = 0.2;
        ck_ok(run());
        memcpy(whole, model, sizeof whole);
        best = round_of_best;
        tear_down();
        set_up(text);
        s.c.dropout = 0.2;
        s.c.checkpoint_s = 0;
        for (int turn = 0; turn < 30; turn++) {
            stop_after = rounds_seen + turn % 3;
            lmb_status st = run();
            err = (lmb_error)LMB_ERROR_INIT;
            if (st == LMB_OK)
                break;
            ck_assert_int_eq(st, LMB_E_STOPPED);
            ck_assert_int_lt(turn, 29);
        }
        ck_assert_mem_eq(model, whole, sizeof whole);
        ck_assert_uint_eq(round_of_best, best);
        tear_down();
    }
}
END_TEST

START_TEST(too_few_updates_change_nothing)
{
    set_up("{rounds: 3, target: 2, minimum: 2}");
    s.c.dropout = 0.99;
    ck_ok(run());
    ck_assert(!last.committed);
    ck_assert_mem_eq(model, initial, sizeof initial);
    tear_down();
}
END_TEST

/* A client whose training diverged, or that claims too much, is left out as a server would. */
START_TEST(unusable_updates_are_left_out)
{
    set_up("{rounds: 1, target: 12, minimum: 2, max_examples: 20}"); /* client 11 claims 21 */
    broken = 4;
    ck_ok(run());
    ck_assert_uint_eq(last.updates, 10);
    ck_assert(isfinite(model[2]));
    tear_down();
}
END_TEST

START_TEST(what_can_not_be)
{
    set_up("{rounds: 1, target: 30, minimum: 13}");
    ck_assert_int_eq(run(), LMB_E_ARG);
    ck_assert(strstr(err.msg, "12 clients") != NULL);
    tear_down();
    set_up("{rounds: 2, target: 12, minimum: 2}");
    ck_ok(run());
    s.clients = 11; /* the folder holds another simulation */
    ck_assert_int_eq(run(), LMB_E_ARG);
    s.fresh = true;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(run());
    tear_down();
}
END_TEST

static lmb_status two_higher(void *ctx, uint64_t round, const float *before, const lmb_updates *u, float *m,
                             lmb_error *e)
{
    float one[N];
    (void)ctx, (void)round;
    for (int k = 0; k < u->count; k++) {
        ck_ok(u->read(u->ctx, k, 0, N, one, e));
        ck_assert_float_eq_tol(one[0], 0.25f * ((float)(u->examples[k] - 10) - before[0]),
                               1e-6f); /* examples tell the client */
    }
    for (int i = 0; i < N; i++)
        m[i] = before[i] + 2;
    return LMB_OK;
}

START_TEST(a_round_is_refined)
{
    static const char *const rows[] = { "fedavg", "median" };
    char text[120];
    for (int k = 0; k < 2; k++) {
        snprintf(text, sizeof text, "{rounds: 3, target: 5, minimum: 2, aggregator: %s}", rows[k]);
        set_up(text);
        job.refine = two_higher;
        job.evaluate = NULL;
        ck_ok(run());
        ck_assert_float_eq(model[0], 6);
        tear_down();
    }
    set_up("{rounds: 3, target: 4, max_abs: 100, privacy: {clip: 1, noise_multiplier: 2, population: 12}}");
    job.refine = two_higher;
    ck_assert_int_eq(run(), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "which privacy forbids") != NULL, "%s", err.msg);
    tear_down();
}
END_TEST

/* A budget ends the run, which is not an error; gone on it stays where it was. Each draws by itself how many take
 * part. */
START_TEST(private_simulations)
{
    static const char text[] =
        "{rounds: 500, target: 4, minimum: 1, max_abs: 100, privacy: {clip: 1, noise_multiplier: 2, epsilon_budget: 6, "
        "sampling: poisson, population: 12}}";
    char says[LMB_PRIVACY_TEXT];
    lmb_privacy privacy;
    float whole[N];
    for (int gone_on = 0; gone_on < 2; gone_on++) {
        set_up(text);
        s.privacy = &privacy;
        stop_after = gone_on ? 3 : 0;
        s.c.evaluate_every = 1000;
        if (gone_on) {
            ck_assert_int_eq(run(), LMB_E_STOPPED);
            stop_after = 0;
            err = (lmb_error)LMB_ERROR_INIT;
        }
        ck_ok(run());
        ck_assert(last.is_private && last.epsilon > 5 && last.epsilon <= 6 && last.round < 500 && last.clients.n == 0);
        ck_assert_uint_eq(last.examples, last.updates);
        lmb_privacy_describe(&privacy, says);
        ck_assert_ptr_nonnull(strstr(says, "one client more or less"));
        ck_assert_ptr_nonnull(strstr(says, "hides nothing: a simulation"));
        ck_assert(!gone_on || memcmp(whole, model, sizeof whole) == 0);
        memcpy(whole, model, sizeof whole);
        ck_assert(last.scored); /* the last round always is */
        uint64_t over = last.round;
        ck_ok(run()); /* nothing is left to do */
        ck_assert_uint_eq(last.round, over);
        server.privacy = NULL;
        ck_assert_int_eq(run(), LMB_E_ARG);
        ck_assert_ptr_nonnull(strstr(err.msg, "holds a simulation with privacy"));
        tear_down();
    }
    set_up("{rounds: 5, target: 4, privacy: {clip: 1, sampling: fixed, noise_multiplier: 4, population: 1000}}");
    ck_assert_int_eq(run(), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "the simulation has 12 clients"));
    tear_down();
}
END_TEST

/* A simulation that is over, or half done, is not taken for one with other settings; a longer one goes on. */
START_TEST(other_settings_are_another_simulation)
{
    static const char *const others[] = { "{rounds: 4, target: 4, seed: 2}",
                                          "{rounds: 4, target: 4, aggregator: {name: median}}",
                                          "{rounds: 4, target: 4, codec: {name: int8}}",
                                          "{rounds: 4, target: 4, server_lr: 0.5}" };
    lmb_config *other;
    lmb_server_config before;

    set_up("{rounds: 2, target: 4}");
    ck_ok(run());
    before = server;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ck_ok(lmb_config_parse(others[i], strlen(others[i]), "t.yaml", &other, &err));
        ck_ok(lmb_fields_bind(lmb_server_fields, lmb_config_root(other), &server, &err));
        server.state_dir = folder;
        ck_assert_int_eq(run(), LMB_E_ARG);
        ck_assert_msg(strstr(err.msg, "other settings") != NULL, "%s", err.msg);
        err = (lmb_error)LMB_ERROR_INIT;
        lmb_config_destroy(other);
    }
    server = before;
    job.settings = "lr: 1\n";
    ck_assert_int_eq(run(), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    job.settings = "";
    examples[3]++;
    ck_assert_int_eq(run(), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    examples[3]--;
    server.rounds = 3;
    ck_ok(run());
    ck_assert_uint_eq(last.round, 3);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("federated/simulate", add(a_round_is_the_weighted_mean); add(under_secure_aggregation);
              add(masks_leave_nothing);
              add(stopped_and_gone_on_is_the_same_run); add(too_few_updates_change_nothing);
              add(unusable_updates_are_left_out); add(what_can_not_be); add(a_round_is_refined);
              add(private_simulations); add(other_settings_are_another_simulation);)
