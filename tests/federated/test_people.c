/* Mirrors federated/members.c, papers.c, server_people.c and client_trust.c: what people decide beside a running server,
 * and what clients believe of it. */
#include <sodium.h>
#include <sys/stat.h>

#include "federated/papers.h"
#include "tests/federated/world.h"

static lmb_error err;

/* What `limbeck federation` does: the journal, from another connection. */
static lmb_journal *desk(world *w)
{
    lmb_journal *j;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_journal_open(w->state, &j, &err));
    return j;
}

static void decide(world *w, const char *who, lmb_client_state state)
{
    lmb_journal *j = desk(w);
    lmb_journal_client c;
    ck_ok(lmb_journal_pick(j, who, &c, &err));
    ck_ok(lmb_journal_set_state(j, c.id, state, &err));
    lmb_journal_close(j);
}

static size_t wait_enrolled(world *w, size_t want)
{
    double end = lmb_seconds() + 10;
    size_t n = 0;
    while (n < want && lmb_seconds() < end) {
        lmb_journal_client *list;
        lmb_journal *j = desk(w);
        ck_ok(lmb_journal_clients(j, &list, &n, &err));
        free(list);
        lmb_journal_close(j);
        usleep(20000);
    }
    ck_assert_uint_eq(n, want);
    return n;
}

static void keys(const char *dir, const char *name, char out[65])
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(out, 1, 64, f), 64);
    out[64] = 0;
    fclose(f);
}

static void shell(const char *fmt, ...)
{
    char cmd[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    ck_assert_int_eq(system(cmd), 0);
}

/* A client of before, without an invite; the server has another port. */
static void come_back(world *w, world_client *c, int k)
{
    c->invite[0] = 0;
    shell("sed -i 's/:[0-9]*:/:%d:/' %s/server.txt", lmb_server_port(w->server), c->state);
    world_client_start(w, c, k, 0);
}

/* ---- states ---- */

START_TEST(nobody_takes_part_before_approval)
{
    world w;
    world_client c[2];
    lmb_journal_client *list;
    lmb_journal *j;
    char print[LMB_FINGERPRINT];
    size_t n;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.approval = 1;
    w.cfg.rounds = 2;
    w.cfg.target = w.cfg.minimum = 2;
    world_start(&w);
    for (int k = 0; k < 2; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    wait_enrolled(&w, 2);
    ck_assert(world_says(&w, "waits for approval"));
    decide(&w, "1", LMB_CLIENT_APPROVED);
    usleep(1500000); /* one is not enough for a round */
    ck_assert(!world_said(&w, "round 1 begins"));
    j = desk(&w);
    ck_ok(lmb_journal_clients(j, &list, &n, &err));
    lmb_fingerprint(&list[1], print);
    ck_assert_int_eq(list[0].state, LMB_CLIENT_APPROVED);
    ck_assert_int_eq(list[1].state, LMB_CLIENT_WAITING);
    free(list);
    lmb_journal_close(j);
    double began = lmb_seconds();
    decide(&w, print, LMB_CLIENT_APPROVED);
    ck_assert(world_says(&w, "round 1 begins with 2 clients"));
    ck_assert(lmb_seconds() - began < 1.5); /* noticed within a second */
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    j = desk(&w);
    ck_ok(lmb_journal_clients(j, &list, &n, &err));
    for (int k = 0; k < 2; k++) {
        ck_assert_uint_eq(list[k].rounds, 2);
        ck_assert(list[k].examples == 20 || list[k].examples == 40);
        ck_assert_int_gt(list[k].seen, 1600000000);
    }
    free(list);
    lmb_journal_close(j);
    world_close(&w);
}
END_TEST

START_TEST(a_revoked_client_is_out_at_once_and_for_good)
{
    world w;
    world_client c[3];
    lmb_journal *j;
    lmb_journal_client who;
    char number[32];

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 2;
    w.cfg.target = 3;
    w.cfg.minimum = 2;
    w.cfg.gather_s = 2;
    world_start(&w);
    for (int k = 0; k < 3; k++) {
        c[k].seconds = k == 2 ? 60 : 1.5; /* the third would train for long; the server is there while it tries again */
        c[k].lively = true;
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
        wait_enrolled(&w, (size_t)k + 1); /* so that its number is k + 1 */
    }
    ck_assert(world_says(&w, "round 1 begins with 3 clients"));
    snprintf(number, sizeof number, "%d", 3);
    double began = lmb_seconds();
    decide(&w, number, LMB_CLIENT_REVOKED);
    world_client_join(&c[2]);
    ck_assert(lmb_seconds() - began < 5);
    ck_assert_int_eq(c[2].status, LMB_E_DENIED);
    ck_assert_ptr_nonnull(strstr(c[2].error.msg, "client 3 (tester) was revoked"));
    world_join(&w);
    ck_assert_uint_eq(w.reports[1].updates, 2);
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    j = desk(&w); /* for good */
    ck_ok(lmb_journal_pick(j, "3", &who, &err));
    ck_assert_int_eq(who.state, LMB_CLIENT_REVOKED);
    ck_assert_int_eq(lmb_journal_set_state(j, 3, LMB_CLIENT_APPROVED, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_journal_pick(j, "4", &who, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_journal_pick(j, "abc", &who, &err), LMB_E_ARG); /* too few digits of a fingerprint */
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_journal_pick(j, "x'; --", &who, &err), LMB_E_ARG);
    lmb_journal_close(j);
    /* It comes back, with the same keys. */
    w.cfg.rounds = 3;
    lmb_server_destroy(w.server);
    world_start(&w);
    c[2].seconds = 0;
    come_back(&w, &c[2], 2);
    world_client_join(&c[2]);
    ck_assert_int_eq(c[2].status, LMB_E_DENIED);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* ---- the roster ---- */

typedef struct admin {
    uint8_t public_key[LMB_SIGN_PUBLIC], secret[LMB_SIGN_SECRET];
    char text[LMB_PUBLIC_TEXT];
} admin;

static admin make_admin(void)
{
    admin a;
    ck_assert_int_ge(sodium_init(), 0);
    crypto_sign_keypair(a.public_key, a.secret);
    lmb_public_format(a.public_key, a.text);
    return a;
}

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

START_TEST(rounds_wait_for_the_signature)
{
    world w;
    world_client c[2];
    admin a = make_admin(), other = make_admin();
    lmb_str first = LMB_STR_INIT;
    lmb_journal *j;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.admin = a.text;
    w.cfg.rounds = 2;
    w.cfg.target = w.cfg.minimum = 2;
    world_start(&w);
    start_believers(&w, c, 2, &a);
    wait_enrolled(&w, 2);
    usleep(700000);
    ck_assert(!world_said(&w, "round 1 begins"));
    ck_ok(sign(&w, &a, &first));
    ck_assert(world_says(&w, "roster 1: 2 clients, signed by the admin"));
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    j = desk(&w); /* the journal takes no old, foreign or outdated roster */
    ck_assert_int_eq(lmb_journal_roster_import(j, first.text, first.n, a.public_key, &err), LMB_E_ARG);
    lmb_journal_close(j);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_str second = LMB_STR_INIT;
    ck_ok(sign(&w, &other, &second)); /* the wrong admin's own word against itself: a journal does not know who is right */
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

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.admin = a.text;
    w.cfg.rounds = 1;
    w.cfg.target = w.cfg.minimum = 2;
    world_start(&w);
    start_believers(&w, c, 2, &a);
    wait_enrolled(&w, 2);
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
    ck_assert_msg(strstr(c.error.msg, another ? "not signed by this federation's admin" : "has shown no roster") != NULL, "%s",
                  c.error.msg);
    ck_assert_int_eq(c.trained, 0);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* ---- new keys ---- */

START_TEST(a_client_changes_its_keys)
{
    world w;
    world_client c;
    char was[65], was_sign[65], is[65], is_sign[65];
    lmb_journal_client *list;
    lmb_journal *j;
    size_t n;

    memset(&c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = w.cfg.target = w.cfg.minimum = 1;
    world_start(&w);
    world_client_start(&w, &c, 0, lmb_server_port(w.server));
    world_join(&w);
    world_client_join(&c);
    keys(c.state, "client.key", was);
    keys(c.state, "sign.key", was_sign);
    for (int run = 0; run < 3; run++) { /* asked to; with its new keys; as if killed before the answer arrived */
        lmb_server_destroy(w.server);
        w.cfg.rounds++;
        world_start(&w);
        c.rotate = run == 0;
        if (run == 2) {
            for (int i = 0; i < 2; i++) {
                const char *name = i ? "sign.key" : "client.key";
                shell("cd %s && mv %s %s.next && (umask 077; echo %s > %s)", c.state, name, name, i ? was_sign : was, name);
            }
        }
        come_back(&w, &c, 0);
        world_join(&w);
        world_client_join(&c);
        ck_assert_msg(c.status == LMB_OK, "run %d: %s", run, c.error.msg);
        keys(c.state, "client.key", is);
        keys(c.state, "sign.key", is_sign);
        ck_assert_str_ne(is, was);
        ck_assert_str_ne(is_sign, was_sign);
    }
    j = desk(&w);
    ck_ok(lmb_journal_clients(j, &list, &n, &err));
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(list[0].rounds, 4);
    free(list);
    lmb_journal_close(j);
    world_close(&w);
}
END_TEST

START_TEST(the_server_changes_its_key)
{
    world w;
    world_client c[2];
    char was[65], is[65], path[160];
    lmb_invite before, after;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 2;
    w.cfg.target = 2;
    w.cfg.minimum = 2;
    world_start(&w);
    keys(w.state, "server.key", was);
    world_client_start(&w, &c[0], 0, lmb_server_port(w.server));
    wait_enrolled(&w, 1);
    ck_ok(lmb_server_rotate(w.state, 3, &err));
    ck_assert_int_eq(lmb_server_rotate(w.state, 3, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert(world_says(&w, "both are answered to"));
    world_client_start(&w, &c[1], 1, lmb_server_port(w.server)); /* an invite for the new key */
    ck_ok(lmb_invite_parse(c[0].invite, &before, &err));
    ck_ok(lmb_invite_parse(c[1].invite, &after, &err));
    ck_assert_mem_ne(before.server_public, after.server_public, 32);
    world_join(&w); /* both took part, over either key */
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    lmb_server_destroy(w.server);
    sleep(3);
    w.cfg.rounds = 3;
    world_start(&w); /* the overlap ends with this start */
    keys(w.state, "server.key", is);
    ck_assert_str_ne(is, was);
    snprintf(path, sizeof path, "%s/server.key.next", w.state);
    ck_assert_int_ne(access(path, F_OK), 0);
    for (int k = 0; k < 2; k++) { /* they know the new key, without a new invite */
        come_back(&w, &c[k], k);
    }
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/people", add(nobody_takes_part_before_approval); add(a_revoked_client_is_out_at_once_and_for_good);
              add(rounds_wait_for_the_signature); add(no_way_back_to_an_old_roster); add_loop(only_the_admins_word_counts, 2);
              add(a_client_changes_its_keys); add(the_server_changes_its_key);)
