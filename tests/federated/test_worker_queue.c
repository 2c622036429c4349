/* Mirrors federated/server_worker.c: what becomes of an upload that waits for the worker, when its client leaves or is
 * revoked, when the server is stopped, when what runs beside the loop fails. In mode async with a buffer of one update:
 * the first one's evaluation keeps the worker for as long as the test wants. */
#include "federated/journal.h"
#include "federated/members.h"
#include "tests/federated/slow.h"

static void open_async(slow *s, int clients, int rounds)
{
    world *w = &s->w;

    err = (lmb_error)LMB_ERROR_INIT;
    memset(s, 0, sizeof *s);
    world_open(w);
    w->cfg.mode = LMB_MODE_ASYNC;
    w->cfg.async = (lmb_server_async){ .buffer = 1, .concurrency = clients, .tau_max = 1000 };
    w->cfg.target = w->cfg.minimum = 1;
    w->cfg.pool = clients;
    w->cfg.gather_s = 1000;
    w->cfg.reconnect_s = 0.5; /* the farewell is not for those who hung up */
    w->cfg.rounds = rounds;
    w->job.evaluate = evaluate_when_told;
    world_start(w);
}

/* Client k + 1 is r[k]; the first one's update is being evaluated, those of the others wait, as many as `uploads`. */
static void come_and_upload(slow *s, raw *r, int clients, int uploads)
{
    lmb_record rec;

    for (int k = 0; k < clients; k++) {
        come(&s->w, &r[k]);
        if (k + 1 < clients) /* the last one's coming begins the work */
            ping(&r[k]);
    }
    begin_upload(&r[0]);
    send_values(&r[0], none, WORLD_N);
    ck_assert(raw_wait(&r[0], LMB_MSG_ACCEPTED, &rec));
    wait_blocked(s);
    for (int k = 1; k <= uploads; k++) {
        begin_upload(&r[k]);
        send_values(&r[k], none, WORLD_N);
        ping(&r[k]);
    }
}

static void close_all(slow *s, raw *r, int clients)
{
    for (int k = 0; k < clients; k++)
        raw_close(&r[k]);
    world_join(&s->w);
    world_close(&s->w);
}

static void revoke_client(world *w, int64_t id)
{
    lmb_journal *j;
    ck_ok(lmb_journal_open(w->state, &j, &err));
    ck_ok(lmb_journal_set_state(j, id, LMB_CLIENT_REVOKED, &err));
    lmb_journal_close(j);
}

START_TEST(who_is_revoked_while_its_update_waits_is_not_in_the_model)
{
    static slow s;
    raw r[3];
    lmb_record rec;

    open_async(&s, 3, 2);
    come_and_upload(&s, r, 3, 2);
    revoke_client(&s.w, 2);
    ck_assert(raw_wait(&r[1], LMB_MSG_REFUSED, &rec));
    s.go = true;
    ck_assert(raw_wait(&r[2], LMB_MSG_ACCEPTED, &rec)); /* else the second version would be of client 2 */
    for (int k = 0; k < 3; k++)
        raw_close(&r[k]);
    world_join(&s.w);
    ck_assert(world_said(&s.w, "goes on without client 2"));
    ck_assert_uint_eq(s.w.reports[2].updates, 1);
    world_close(&s.w);
}
END_TEST

START_TEST(who_leaves_while_its_update_waits_is_in_the_model)
{
    static slow s;
    raw r[2];

    open_async(&s, 2, 2);
    come_and_upload(&s, r, 2, 1);
    raw_close(&r[1]);
    ck_assert(world_says(&s.w, "connection lost"));
    s.go = true;
    raw_close(&r[0]);
    world_join(&s.w);
    ck_assert(s.w.reports[2].committed && s.w.reports[2].updates == 1);
    world_close(&s.w);
}
END_TEST

/* Stopped at once: the version is not made, what waited is in the spool, and the next server needs no byte of it
 * again. */
START_TEST(what_waits_when_the_server_is_stopped_is_kept)
{
    static slow s;
    raw r[2], again;
    lmb_record rec;
    lmb_task_message t;

    open_async(&s, 2, 2);
    come_and_upload(&s, r, 2, 1);
    s.w.cfg.reconnect_s = 1000; /* the next server waits for them */
    lmb_server_stop(s.w.server);
    lmb_server_stop(s.w.server);
    s.go = true;
    pthread_join(s.w.thread, NULL);
    ck_assert_int_eq(s.w.status, LMB_E_STOPPED);
    ck_assert_uint_eq(lmb_server_round(s.w.server), 0);
    lmb_server_destroy(s.w.server);
    world_start(&s.w);
    again = r[1];
    raw_open(&again, lmb_server_port(s.w.server), NULL, 1);
    ck_assert(raw_shake(&again));
    raw_hello(&again, LMB_FED_VERSION);
    ck_assert(raw_wait(&again, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &t, &err));
    lmb_update_message u = honest(&t, none);
    ck_ok(lmb_message_send(again.channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(&again);
    ck_assert(raw_wait(&again, LMB_MSG_ACCEPTED, &rec));
    raw_close(&again);
    close_all(&s, r, 2);
}
END_TEST

/* The version that is made is the last: whoever waits, or is held back, is told so and lets go. */
START_TEST(what_waits_when_all_is_over_is_dropped)
{
    enum { MANY = 16, ALL = 1 + MANY + 1 }; /* as in server_worker.c, and one that is held */
    static slow s;
    static raw r[ALL];
    lmb_record rec;

    open_async(&s, ALL, 1);
    come_and_upload(&s, r, ALL, MANY);
    begin_upload(&r[ALL - 1]);
    send_values(&r[ALL - 1], none, WORLD_N);
    s.go = true;
    for (int k = 0; k < ALL; k++) {
        ck_assert(raw_wait(&r[k], LMB_MSG_DONE, &rec));
        raw_close(&r[k]);
    }
    world_join(&s.w);
    ck_assert_uint_eq(s.w.reports[1].updates, 1);
    ck_assert_int_eq(world_spooled(&s.w), 0);
    world_close(&s.w);
}
END_TEST

/* ---- what runs beside the loop fails ---- */

static lmb_status evaluate_or_fail(void *ctx, uint64_t round, const float *model, size_t n, double *score,
                                   lmb_figures *m, lmb_error *e)
{
    slow *s = ctx;
    if (round && !s->go)
        return LMB_FAIL(e, LMB_E_NUMERIC, "no score today");
    return world_evaluate(ctx, round, model, n, score, m, e);
}

START_TEST(a_round_that_cannot_be_finished_ends_the_server_and_not_the_federation)
{
    static slow s;
    world_client c[2];

    begin_round(&s, c, evaluate_or_fail);
    pthread_join(s.w.thread, NULL);
    ck_assert_int_eq(s.w.status, LMB_E_NUMERIC);
    ck_assert_str_eq(s.w.error.msg, "no score today");
    make_round_again(&s, c);
}
END_TEST

LMB_TEST_MAIN("federated/worker_queue", add(who_is_revoked_while_its_update_waits_is_not_in_the_model);
              add(who_leaves_while_its_update_waits_is_in_the_model);
              add(what_waits_when_the_server_is_stopped_is_kept);
              add(what_waits_when_all_is_over_is_dropped);
              add(a_round_that_cannot_be_finished_ends_the_server_and_not_the_federation);)
