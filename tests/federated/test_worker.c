/* Mirrors federated/server_worker.c, server_finish.c: the loop answers while the worker is at it, and what waits for
 * the worker is bounded. What is slow is the job's own function, which ends when it has seen the loop at work: a loop
 * that waits for it would wait for ever. */
#include "core/base/config.h"
#include "federated/board_http.h"
#include "tests/federated/slow.h"

enum { MANY = 16 }; /* as in server_worker.c */

/* ---- a round is finished ---- */

/* A client comes, is answered, and the status says what goes on. */
static void look_around(slow *s)
{
    lmb_board_config page = { "127.0.0.1", lmb_server_status_port(s->w.server) };
    lmb_str text = LMB_STR_INIT;
    double end = lmb_seconds() + 120;
    raw r;

    come(&s->w, &r);
    ping(&r);
    s->pings++;
    while (page.port && lmb_seconds() < end && !(text.n && strstr(text.text, "making the next model"))) {
        ping(&r);
        usleep(20000);
        lmb_str_clear(&text);
        if (lmb_board_get(&page, "/status.json", &text, NULL) != LMB_OK)
            lmb_str_clear(&text);
    }
    s->pages += text.n && strstr(text.text, "making the next model");
    lmb_str_free(&text);
    raw_close(&r);
}

static lmb_status evaluate_slowly(void *ctx, uint64_t round, const float *model, size_t n, double *score,
                                  lmb_figures *m, lmb_error *e)
{
    if (round)
        look_around(ctx);
    return world_evaluate(ctx, round, model, n, score, m, e);
}

static lmb_status refine_slowly(void *ctx, uint64_t round, const float *before, const lmb_updates *u, float *model,
                                lmb_error *e)
{
    float one;
    (void)round, (void)before, (void)model;
    look_around(ctx);
    ck_assert_int_eq(u->count, 2); /* whoever came meanwhile is not among them */
    return u->read(u->ctx, 1, 0, 1, &one, e);
}

static void two_rounds(bool refines)
{
    static slow s;
    static const char yaml[] = "{address: 127.0.0.1, port: 0}";
    world_client c[2];
    lmb_config *y;
    bool page;

    err = (lmb_error)LMB_ERROR_INIT;
    memset(&s, 0, sizeof s);
    memset(c, 0, sizeof c);
    ck_ok(lmb_config_parse(yaml, strlen(yaml), "test", &y, &err));
    world_open(&s.w);
    s.w.cfg.rounds = 2;
    s.w.cfg.target = s.w.cfg.minimum = 2;
    s.w.cfg.status = lmb_config_root(y);
    s.w.cfg.reconnect_s = 0.5; /* the farewell is not for those who only looked */
    s.w.job.evaluate = refines ? world_evaluate : evaluate_slowly;
    s.w.job.refine = refines ? refine_slowly : NULL;
    page = lmb_server_create(&s.w.cfg, &s.w.job, &s.w.server, &err) != LMB_E_UNSUPPORTED;
    if (!page) { /* built without libmicrohttpd */
        s.w.cfg.status = NULL;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_server_create(&s.w.cfg, &s.w.job, &s.w.server, &err));
    }
    ck_assert_int_eq(pthread_create(&s.w.thread, NULL, world_run, &s.w), 0);
    for (int k = 0; k < 2; k++)
        world_client_start(&s.w, &c[k], k, lmb_server_port(s.w.server));
    world_join(&s.w);
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    ck_assert_int_eq(s.pings, 2);
    ck_assert_int_eq(s.pages, page ? 2 : 0);
    ck_assert(s.w.reports[1].committed && s.w.reports[2].committed);
    ck_assert_uint_eq(s.w.reports[2].updates, 2);
    world_close(&s.w);
    lmb_config_destroy(y);
}

START_TEST(the_loop_answers_while_the_model_is_evaluated) { two_rounds(false); } END_TEST
START_TEST(the_loop_answers_while_the_model_is_refined) { two_rounds(true); } END_TEST

/* ---- too many wait ---- */

/* Has what say_alive said come back? What the server says by itself has no steps. */
static bool is_echo(const lmb_record *rec)
{
    lmb_alive alive;
    ck_ok(lmb_message_read(rec, &alive, &err));
    return alive.steps == 1;
}

static uint64_t reports(world *w)
{
    pthread_mutex_lock(&w->lock);
    int n = w->n_reports;
    pthread_mutex_unlock(&w->lock);
    return (uint64_t)n;
}

/* In mode async every update is a version. The first one's evaluation does not end; MANY more uploads wait; who brings
 * another is not read, while others are answered. In the end all are in. */
START_TEST(who_brings_too_much_is_held_back)
{
    enum { ALL = 1 + MANY + 1 };
    static slow s;
    static raw r[ALL + 1]; /* one that brings nothing */
    world *w = &s.w;
    lmb_record rec;
    double end;

    err = (lmb_error)LMB_ERROR_INIT;
    memset(&s, 0, sizeof s);
    world_open(w);
    w->cfg.mode = LMB_MODE_ASYNC;
    w->cfg.async = (lmb_server_async){ .buffer = 1, .concurrency = ALL + 1, .tau_max = 1000 };
    w->cfg.target = w->cfg.minimum = 1;
    w->cfg.pool = ALL + 1;
    w->cfg.gather_s = 1000;
    w->cfg.rounds = ALL;
    w->job.evaluate = evaluate_when_told;
    world_start(w);
    for (int k = 0; k <= ALL; k++)
        come(w, &r[k]);
    begin_upload(&r[0]);
    send_values(&r[0], none, WORLD_N);
    ck_assert(raw_wait(&r[0], LMB_MSG_ACCEPTED, &rec));
    wait_blocked(&s);
    for (int k = 1; k <= MANY; k++) {
        begin_upload(&r[k]);
        send_values(&r[k], none, WORLD_N);
        ping(&r[k]);
    }
    begin_upload(&r[MANY + 1]);
    send_values(&r[MANY + 1], none, WORLD_N);
    say_alive(&r[MANY + 1]);
    for (int i = 0; i < 3; i++)
        ping(&r[ALL]);
    ck_assert(raw_wait(&r[MANY + 1], LMB_MSG_ALIVE, &rec)); /* it is told that the server lives, and is not heard */
    ck_assert(!is_echo(&rec));
    s.go = true;
    do
        ck_assert(raw_wait(&r[MANY + 1], LMB_MSG_ALIVE, &rec));
    while (!is_echo(&rec));
    for (int k = 1; k <= MANY; k++)
        ck_assert(raw_wait(&r[k], LMB_MSG_ACCEPTED, &rec));
    for (end = lmb_seconds() + 120; reports(w) < 1 + ALL && lmb_seconds() < end;)
        usleep(1000);
    ck_assert_uint_eq(reports(w), 1 + ALL);
    for (int k = 0; k <= ALL; k++)
        raw_close(&r[k]);
    world_join(w);
    for (int k = 1; k <= ALL; k++)
        ck_assert(w->reports[k].committed && w->reports[k].updates == 1);
    world_close(w);
}
END_TEST

/* Stopped at once while a model is evaluated: the round is not committed, and another server makes it again. */
START_TEST(a_stop_does_not_commit_what_is_under_way)
{
    static slow s;
    world_client c[2];

    begin_round(&s, c, evaluate_when_told);
    wait_blocked(&s);
    lmb_server_stop(s.w.server);
    lmb_server_stop(s.w.server);
    s.go = true;
    pthread_join(s.w.thread, NULL);
    ck_assert_int_eq(s.w.status, LMB_E_STOPPED);
    make_round_again(&s, c);
}
END_TEST

LMB_TEST_MAIN("federated/worker", add(the_loop_answers_while_the_model_is_evaluated);
              add(the_loop_answers_while_the_model_is_refined); add(who_brings_too_much_is_held_back);
              add(a_stop_does_not_commit_what_is_under_way);)
