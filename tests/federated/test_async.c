/* Mirrors federated/server_async.c: clients that are driven by hand, so that the arrivals are known. */
#include <math.h>

#include "core/base/config.h"
#include "tests/federated/raw.h"

static void open_async(world *w, int64_t buffer, int64_t tau_max)
{
    err = (lmb_error)LMB_ERROR_INIT;
    world_open(w);
    w->cfg.mode = LMB_MODE_ASYNC;
    w->cfg.async = (lmb_server_async){ .buffer = buffer, .concurrency = 2, .tau_max = tau_max };
    w->cfg.target = w->cfg.minimum = 2;
    w->cfg.pool = 2;
    w->cfg.rounds = 2;
}

static void come(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    raw_open(r, lmb_server_port(w->server), &t, 0);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
}

static lmb_task_message next_task(raw *r)
{
    lmb_record rec;
    lmb_task_message t;
    ck_assert(raw_wait(r, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &t, &err));
    return t;
}

/* Each value of the change is `v`; until the server has all of it. */
static void deliver(raw *r, const lmb_task_message *t, float v)
{
    static float values[WORLD_N];
    lmb_record rec;
    for (int i = 0; i < WORLD_N; i++)
        values[i] = v;
    lmb_update_message u = honest(t, values);
    ck_ok(lmb_message_send(r->channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(r);
    ck_assert(raw_wait(r, LMB_MSG_HAVE, &rec));
    send_values(r, values, WORLD_N);
    ck_assert(raw_wait(r, LMB_MSG_ACCEPTED, &rec));
}

static void stop(world *w)
{
    lmb_server_stop(w->server);
    lmb_server_stop(w->server);
    pthread_join(w->thread, NULL);
    ck_assert_int_eq(w->status, LMB_E_STOPPED);
}

/* Four updates of two clients, in a known order, one of them a version late: the paper's sum. */
START_TEST(a_late_update_counts_less)
{
    world w;
    raw a, b;
    lmb_record rec;

    open_async(&w, 2, 5);
    world_start(&w);
    come(&w, &a);
    come(&w, &b);
    lmb_task_message ta = next_task(&a), tb = next_task(&b);
    ck_assert_uint_eq(ta.round + tb.round, 3); /* turns 1 and 2 */
    ck_assert_mem_eq(&ta.model, &tb.model, sizeof ta.model);
    deliver(&a, &ta, 1.0f);
    lmb_task_message again = next_task(&a);
    ck_assert_uint_eq(again.round, 3);
    ck_assert(again.seed != ta.seed);
    ck_assert_mem_eq(&again.model, &ta.model, sizeof ta.model); /* the buffer is not full */
    ck_assert_int_eq(world_spooled(&w), 1); /* until the version is made of it */
    deliver(&a, &again, 0.5f);
    again = next_task(&a);
    ck_assert_mem_ne(&again.model, &ta.model, sizeof ta.model);
    ck_assert_int_eq(world_spooled(&w), 0);
    deliver(&b, &tb, 2.0f); /* tau = 1 */
    deliver(&a, &again, -1.0f);
    ck_assert(raw_wait(&a, LMB_MSG_DONE, &rec) && raw_wait(&b, LMB_MSG_DONE, &rec));
    raw_close(&a);
    raw_close(&b);
    world_join(&w);
    for (int i = 0; i < WORLD_N; i += 777)
        ck_assert_double_eq_tol((double)lmb_server_model(w.server)[i],
                                (double)w.initial[i] + (1.0 + 0.5) / 2 + (2 / sqrt(2) - 1) / 2, 1e-6);
    ck_assert_int_eq(w.n_reports, 3);
    ck_assert(w.reports[1].committed && w.reports[1].updates == 2 && w.reports[2].updates == 2);
    world_close(&w);
}
END_TEST

/* A client whose model is too old is spared, and one that has not got it whole is given the current one. */
START_TEST(old_models_are_replaced)
{
    static float none[WORLD_N];
    world w;
    raw a, b;
    lmb_record rec;
    lmb_later later;

    open_async(&w, 1, 0);
    w.cfg.rounds = 3;
    world_start(&w);
    come(&w, &a);
    come(&w, &b);
    lmb_task_message ta = next_task(&a), tb = next_task(&b);
    deliver(&a, &ta, 1.0f);
    ta = next_task(&a);
    lmb_want want = { .blob = tb.model };
    ck_ok(lmb_message_send(b.channel, LMB_MSG_WANT, &want, &err));
    raw_flush(&b);
    lmb_task_message renewed = next_task(&b);
    ck_assert(renewed.round > ta.round);
    ck_assert_mem_eq(&renewed.model, &ta.model, sizeof ta.model);
    deliver(&a, &ta, 1.0f);
    lmb_update_message u = honest(&renewed, none);
    ck_ok(lmb_message_send(b.channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(&b);
    ck_assert(raw_wait(&b, LMB_MSG_LATER, &rec));
    ck_ok(lmb_message_read(&rec, &later, &err));
    ck_assert_uint_eq(later.round, renewed.round);
    ck_assert_double_eq(later.seconds, 0);
    ck_assert_str_eq(later.sentence, "its model is 1 versions old, 0 are used (async.tau_max)");
    tb = next_task(&b);
    deliver(&b, &tb, 1.0f);
    ck_assert(raw_wait(&b, LMB_MSG_DONE, &rec));
    raw_close(&a);
    raw_close(&b);
    world_join(&w);
    ck_assert_double_eq_tol((double)lmb_server_model(w.server)[0], (double)w.initial[0] + 3, 1e-6);
    world_close(&w);
}
END_TEST

/* What waits in the buffer is in the journal and the spool; a server that finds it gone says so. */
START_TEST(the_buffer_survives_or_is_missed)
{
    char command[160];
    world w;
    raw a, b;

    open_async(&w, 2, 5);
    world_start(&w);
    come(&w, &a);
    come(&w, &b);
    lmb_task_message ta = next_task(&a);
    next_task(&b);
    deliver(&a, &ta, 1.0f);
    stop(&w);
    raw_close(&a);
    raw_close(&b);
    lmb_server_destroy(w.server);
    world_start(&w);
    ck_assert(world_says(&w, "version 0 goes on with 1 updates in the buffer"));
    stop(&w);
    lmb_server_destroy(w.server);
    snprintf(command, sizeof command, "rm %s/spool/*", w.state);
    ck_assert_int_eq(system(command), 0);
    w.error = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_server_create(&w.cfg, &w.job, &w.server, &err));
    ck_assert_int_eq(lmb_server_run(w.server, &w.error), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(w.error.msg, "the file is gone or cut, the journal needs it"));
    lmb_server_destroy(w.server);
    w.cfg.mode = LMB_MODE_SYNC;
    ck_assert_int_eq(lmb_server_create(&w.cfg, &w.job, &w.server, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "holds a federation whose `mode` is async"));
    w.server = NULL;
    world_close(&w);
}
END_TEST

/* Real clients, more than may work at a time; two of them slow. */
START_TEST(nobody_waits_for_the_slow)
{
    world w;
    world_client c[5];
    double began;

    memset(c, 0, sizeof c);
    open_async(&w, 3, 10);
    w.cfg.async.concurrency = 4;
    w.cfg.pool = 5;
    w.cfg.rounds = 6;
    c[3].seconds = c[4].seconds = 300;
    world_start(&w);
    began = lmb_seconds();
    for (int k = 0; k < 5; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    ck_assert_double_lt(lmb_seconds() - began, 300);
    for (int k = 0; k < 5; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "client %d: %s", k, c[k].error.msg);
    }
    ck_assert_int_eq(w.n_reports, 7);
    for (int r = 1; r <= 6; r++)
        ck_assert(w.reports[r].committed && w.reports[r].updates == 3);
    world_close(&w);
}
END_TEST

static void refused(const char *yaml, const char *sentence)
{
    lmb_config *y;
    lmb_server_config c;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(yaml, strlen(yaml), "test", &y, &err));
    ck_ok(lmb_fields_bind(lmb_server_fields, lmb_config_root(y), &c, &err));
    ck_assert_int_eq(lmb_server_check(&c, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, sentence) != NULL, "%s: %s", yaml, err.msg);
    lmb_config_destroy(y);
}

START_TEST(what_does_not_go_together)
{
    refused("{mode: async, aggregator: median}", "aggregator median compares the updates of one model");
    refused("{mode: async, aggregator: scaffold}", "aggregator scaffold has clients send numbers beside the model's");
    refused("{mode: async, over_select: 1.3}", "over_select (1.3) belongs to rounds");
    refused("{mode: async, privacy: {noise_multiplier: 1, clip: 1, delta: 1.0e-5, epsilon_budget: 8}}",
            "privacy counts rounds in which a client is once");
    refused("{over_select: 1.3, privacy: {noise_multiplier: 1, clip: 1, delta: 1.0e-5, epsilon_budget: 8}}",
            "over_select (1.3) has the fastest clients");
    refused("{selection: by_loss, privacy: {noise_multiplier: 1, clip: 1, delta: 1.0e-5, epsilon_budget: 8}}",
            "selection by_loss goes by what clients tell");
    refused("{pool: 2, target: 5, minimum: 3}", "pool (2) is less than minimum (3)");
    refused("{target: 2, minimum: 3}", "minimum (3) is greater than target (2)");
}
END_TEST

LMB_TEST_MAIN("federated/async", add(a_late_update_counts_less); add(old_models_are_replaced);
              add(the_buffer_survives_or_is_missed); add(nobody_waits_for_the_slow); add(what_does_not_go_together);)
