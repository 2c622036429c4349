/* Mirrors federated/members.c and server_people.c: what people decide beside a running server: who takes part, who is
 * out, and new keys.
 */
#include <sys/stat.h>

#include "tests/federated/people.h"

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

/* ---- states ---- */

/* Two on one state would take each other's place on the server, and could answer one secure sum twice. */
START_TEST(one_client_a_folder)
{
    lmb_local_trainer trainer = { world_train, NULL };
    lmb_client_config cfg;
    lmb_client *first, *second;
    char dir[] = "/tmp/lmb-one-XXXXXX", cmd[64];

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    lmb_fields_default(lmb_client_fields, &cfg);
    cfg.state_dir = dir;
    static const char invite[] =
        "lmb1:127.0.0.1:7510:WEYxlmcgduP84SROU-vTzDqiR0D7FFTznXkISb_wm2M:8dC0LBWcGDKRP323T7WsEw";
    ck_ok(lmb_client_create(&cfg, invite, &trainer, NULL, &first, &err));
    ck_assert_int_eq(lmb_client_create(&cfg, invite, &trainer, NULL, &second, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "another client is running"));
    lmb_client_destroy(first);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_client_create(&cfg, invite, &trainer, NULL, &second, &err));
    lmb_client_destroy(second);
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    ck_assert_int_eq(system(cmd), 0);
}
END_TEST

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
    lmb_fingerprint(list[1].sign, print);
    ck_assert_int_eq(list[0].state, LMB_CLIENT_APPROVED);
    ck_assert_int_eq(list[1].state, LMB_CLIENT_WAITING);
    free(list);
    lmb_journal_close(j);
    decide(&w, print, LMB_CLIENT_APPROVED);
    ck_assert(world_says(&w, "round 1 begins with 2 clients"));
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
    w.cfg.rounds = 1;
    w.cfg.target = 3;
    w.cfg.minimum = 2;
    w.cfg.gather_s = 300; /* all three are waited for */
    world_start(&w);
    for (int k = 0; k < 3; k++) {
        c[k].seconds =
            k == 2 ? 600 : 1.5; /* the third would train for long; the server is there while it tries again */
        c[k].lively = true;
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
        wait_enrolled(&w, (size_t)k + 1); /* so that its number is k + 1 */
    }
    ck_assert(world_says(&w, "round 1 begins with 3 clients"));
    snprintf(number, sizeof number, "%d", 3);
    double began = lmb_seconds();
    decide(&w, number, LMB_CLIENT_REVOKED);
    world_client_join(&c[2]);
    ck_assert(lmb_seconds() - began < 500); /* it does not train to the end */
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
                shell("cd %s && mv %s %s.next && (umask 077; echo %s > %s)", c.state, name, name, i ? was_sign : was,
                      name);
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
    ck_ok(lmb_server_rotate(w.state, 600, &err));
    ck_assert_int_eq(lmb_server_rotate(w.state, 600, &err), LMB_E_ARG);
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
    lmb_journal *j = desk(&w);
    ck_ok(lmb_journal_set_rotation(j, (int64_t)time(NULL) - 1, &err)); /* its time is over */
    lmb_journal_close(j);
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

LMB_TEST_MAIN("federated/people", add(nobody_takes_part_before_approval);
              add(a_revoked_client_is_out_at_once_and_for_good); add(a_client_changes_its_keys);
              add(the_server_changes_its_key); add(one_client_a_folder);)
