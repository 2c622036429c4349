/* Mirrors federated/papers.c and client_trust.c: rosters that an admin signs: rounds wait for the signature, and there
 * is no way back to an old one.
 */
#include "tests/federated/people.h"

/* Export, sign far away, import. */
static lmb_status sign(world *w, const admin *a, lmb_str *kept)
{
    lmb_str plain = LMB_STR_INIT, done = LMB_STR_INIT;
    lmb_journal *j = desk(w);
    ck_ok(lmb_journal_roster_export(j, &plain, &err));
    ck_ok(lmb_roster_sign((uint8_t *)plain.text, plain.n, a->secret, &done, &err));
    lmb_status st = lmb_journal_roster_import(j, done.text, done.n, a->public_key, &err);
    if (kept)
        lmb_str_add_n(kept, done.text, done.n);
    lmb_journal_close(j);
    lmb_str_free(&plain);
    lmb_str_free(&done);
    return st;
}

static void start_believers(world *w, world_client *c, int n, const admin *a)
{
    for (int k = 0; k < n; k++) {
        c[k].admin = a->text;
        world_client_start(w, &c[k], k, lmb_server_port(w->server));
    }
}

/* A server of some rounds that waits for the admin's signature, and two enrolled clients that do. */
static void open_enrolled(world *w, world_client c[2], const admin *a, int rounds)
{
    memset(c, 0, 2 * sizeof *c);
    world_open(w);
    w->cfg.admin = a->text;
    w->cfg.rounds = rounds;
    w->cfg.target = w->cfg.minimum = 2;
    world_start(w);
    start_believers(w, c, 2, a);
    wait_enrolled(w, 2);
}

START_TEST(rounds_wait_for_the_signature)
{
    world w;
    world_client c[2];
    admin a = make_admin(), other = make_admin();
    lmb_str first = LMB_STR_INIT;
    lmb_journal *j;

    open_enrolled(&w, c, &a, 2);
    usleep(700000);
    ck_assert(!world_said(&w, "round 1 begins"));
    ck_ok(sign(&w, &a, &first));
    ck_assert(world_says(&w, "roster 1: 2 clients, signed by the admin"));
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    j = desk(&w); /* the journal takes no old, foreign or outdated roster, and remembers whose signature counts */
    uint8_t known_key[LMB_SIGN_PUBLIC];
    bool known;
    ck_ok(lmb_journal_admin(j, known_key, &known, &err));
    ck_assert(known);
    ck_assert_mem_eq(known_key, a.public_key, sizeof known_key);
    ck_assert_int_eq(lmb_journal_roster_import(j, first.text, first.n, a.public_key, &err), LMB_E_ARG);
    lmb_journal_close(j);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_str second = LMB_STR_INIT;
    ck_ok(sign(&w, &other,
               &second)); /* the wrong admin's own word against itself: a journal does not know who is right */
    j = desk(&w);
    ck_assert_int_eq(lmb_journal_roster_import(j, second.text, second.n, a.public_key, &err), LMB_E_DENIED);
    lmb_journal_close(j);
    lmb_str_free(&second);
    lmb_str_free(&first);
    world_close(&w);
}
END_TEST

/* A server that shows a client less than the admin's newest roster is left. */
START_TEST(no_way_back_to_an_old_roster)
{
    world w;
    world_client c[2];
    admin a = make_admin();

    open_enrolled(&w, c, &a, 1);
    ck_ok(sign(&w, &a, NULL));
    world_join(&w);
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    lmb_server_destroy(w.server);
    shell("cp -r %s %s.old", w.state, w.state); /* roster 1 */
    ck_ok(sign(&w, &a, NULL));
    w.cfg.rounds = 2;
    world_start(&w);
    for (int k = 0; k < 2; k++)
        come_back(&w, &c[k], k);
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    lmb_server_destroy(w.server);
    shell("rm -r %s && mv %s.old %s", w.state, w.state, w.state);
    world_start(&w);
    come_back(&w, &c[0], 0);
    world_client_join(&c[0]);
    ck_assert_int_eq(c[0].status, LMB_E_DENIED);
    ck_assert_ptr_nonnull(strstr(c[0].error.msg, "shows roster 1, this client has seen 2"));
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* What a client is told by a server that has no signature, or another admin's. */
START_TEST(only_the_admins_word_counts)
{
    const bool another = _i;
    world w;
    world_client c;
    admin a = make_admin(), wrong = make_admin();

    memset(&c, 0, sizeof c);
    world_open(&w);
    if (another)
        w.cfg.admin = wrong.text;
    w.cfg.rounds = w.cfg.target = w.cfg.minimum = 1;
    world_start(&w);
    start_believers(&w, &c, 1, &a);
    if (another) {
        wait_enrolled(&w, 1);
        ck_ok(sign(&w, &wrong, NULL));
    }
    world_client_join(&c);
    ck_assert_int_eq(c.status, LMB_E_DENIED);
    ck_assert_msg(strstr(c.error.msg, another ? "not signed by this federation's admin" : "has shown no roster") !=
                      NULL,
                  "%s", c.error.msg);
    ck_assert_int_eq(c.trained, 0);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* A client that waits is told nothing of the model, and what it sends is not looked at. */
START_TEST(waiting_is_outside)
{
    world w;
    raw r;
    lmb_record rec;
    lmb_update_message u = { .round = 1, .n = WORLD_N, .examples = 5 };

    err = (lmb_error)LMB_ERROR_INIT;
    world_open(&w);
    w.cfg.approval = 1;
    w.cfg.target = w.cfg.minimum = 1;
    world_start(&w);
    lmb_token t = raw_invite(&w, &r);
    raw_open(&r, lmb_server_port(w.server), &t, 0);
    ck_assert(raw_shake(&r));
    raw_hello(&r, LMB_FED_VERSION);
    ck_assert(raw_wait(&r, LMB_MSG_REFUSED, &rec)); /* it waits */
    lmb_want want = { { lmb_hash_of(w.initial, WORLD_N * sizeof *w.initial), WORLD_N * sizeof *w.initial }, 0 };
    ck_ok(lmb_message_send(r.channel, LMB_MSG_WANT, &want, &err));
    ck_ok(lmb_message_send(r.channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(&r);
    decide(&w, "1", LMB_CLIENT_APPROVED);
    ck_assert(raw_next(&r, &rec)); /* the very next word is that of the round: no chunk, no HAVE, no refusal */
    ck_assert_int_eq(rec.type, LMB_MSG_TASK);
    raw_close(&r);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/roster", add(rounds_wait_for_the_signature); add(no_way_back_to_an_old_roster);
              add_loop(only_the_admins_word_counts, 2); add(waiting_is_outside);)
