/* Mirrors federated/server_select.c and server_end.c: who is asked, who is told to come later, and how a server
 * ends. */
#include <sqlite3.h>

#include "core/base/config.h"
#include "tests/federated/world.h"

static lmb_error err;

static void start_all(world *w, world_client *c, int n)
{
    err = (lmb_error)LMB_ERROR_INIT;
    world_start(w);
    for (int k = 0; k < n; k++)
        world_client_start(w, &c[k], k, lmb_server_port(w->server));
}

static void end_all(world *w, world_client *c, int n)
{
    world_join(w);
    for (int k = 0; k < n; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "client %d: %s", k, c[k].error.msg);
    }
}

/* Three are asked, two are needed: nobody waits for the third, and it is not blamed. */
START_TEST(the_slowest_of_more_is_spared)
{
    world w;
    world_client c[3];
    double began = lmb_seconds();

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.over_select = 1.5;
    w.cfg.rounds = 2;
    c[2].seconds = w.cfg.deadline_s = 600;
    start_all(&w, c, 3);
    end_all(&w, c, 3);
    ck_assert_double_lt(lmb_seconds() - began, 300);
    for (int r = 1; r <= 2; r++) {
        ck_assert(w.reports[r].committed);
        ck_assert_uint_eq(w.reports[r].selected, 3);
        ck_assert_uint_eq(w.reports[r].updates, 2);
        ck_assert_uint_eq(w.reports[r].examples, 30); /* of clients 0 and 1 */
    }
    ck_assert(!world_said(&w, "goes on without"));
    world_close(&w);
}
END_TEST

/* Two of four at a time: the others are away, and in the end all have had their turn. */
START_TEST(clients_without_work_come_back)
{
    world w;
    world_client c[4];

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.rounds = 24;
    w.cfg.pace_s = 0.2;
    start_all(&w, c, 4);
    end_all(&w, c, 4);
    int sum = 0;
    for (int k = 0; k < 4; k++) {
        ck_assert_int_ge(c[k].trained, 1);
        sum += c[k].trained;
    }
    ck_assert_int_eq(sum, 48);
    ck_assert(world_said(&w, "connected")); /* not only enrolled: they have been away */
    world_close(&w);
}
END_TEST

/* What is known of clients decides, and is still known by the next process. */
START_TEST(the_server_selects_as_configured)
{
    world w;
    world_client c[4];
    lmb_config *yaml;

    memset(c, 0, sizeof c);
    world_open(&w);
    ck_ok(lmb_config_parse("round_robin", 11, "test", &yaml, &err));
    w.cfg.selection = lmb_config_root(yaml);
    w.cfg.target = w.cfg.minimum = 1;
    w.cfg.pool = 4;
    w.cfg.rounds = 4;
    start_all(&w, c, 4);
    end_all(&w, c, 4);
    for (int k = 0; k < 4; k++)
        ck_assert_int_eq(c[k].trained, 1);
    lmb_server_destroy(w.server);
    w.cfg.rounds = 6;
    memset(c, 0, sizeof c);
    for (int k = 0; k < 4; k++) /* as their states say they are */
        snprintf(c[k].invite, sizeof c[k].invite, "%s", "");
    world_start(&w);
    for (int k = 0; k < 4; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    end_all(&w, c, 4);
    int sum = 0;
    for (int k = 0; k < 4; k++) {
        ck_assert_int_le(c[k].trained, 1); /* the two that have waited longest */
        sum += c[k].trained;
    }
    ck_assert_int_eq(sum, 2);
    world_close(&w);
    lmb_config_destroy(yaml);
}
END_TEST

/* The first stop lets the round end, and what it brought is committed; the clients wait for the next process. */
START_TEST(a_stopped_server_ends_its_round)
{
    world w;
    world_client c[2];
    int port;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.rounds = 3;
    c[0].seconds = c[1].seconds = 1;
    start_all(&w, c, 2);
    port = lmb_server_port(w.server);
    ck_assert(world_says(&w, "round 1 begins with 2 clients"));
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    ck_assert_int_eq(w.status, LMB_E_STOPPED);
    ck_assert_uint_eq(lmb_server_round(w.server), 1);
    ck_assert_uint_eq(w.reports[1].updates, 2);
    lmb_server_destroy(w.server);
    w.cfg.port = port;
    world_start(&w);
    end_all(&w, c, 2);
    ck_assert_int_eq(c[0].trained, 3);
    world_close(&w);
}
END_TEST

START_TEST(a_server_that_is_stopped_twice_ends_at_once)
{
    world w;
    world_client c[2];
    double began;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.drain_s = c[0].seconds = c[1].seconds = 600;
    start_all(&w, c, 2);
    ck_assert(world_says(&w, "round 1 begins with 2 clients"));
    began = lmb_seconds();
    lmb_server_stop(w.server);
    ck_assert(world_says(&w, "stopping: no new tasks"));
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    ck_assert_double_lt(lmb_seconds() - began, 300);
    ck_assert_int_eq(w.status, LMB_E_STOPPED);
    for (int k = 0; k < 2; k++) {
        lmb_client_stop(c[k].client);
        world_client_join(&c[k]);
    }
    world_close(&w);
}
END_TEST

/* Started again when all is over: nobody is there and all were told; then somebody was not, and does not come
 * either. */
START_TEST(the_end_takes_no_longer_than_it_must)
{
    world w;
    world_client c[2];
    char path[128];
    sqlite3 *db;
    double took[2]; /* s: all were told, one was not */

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.rounds = 1;
    start_all(&w, c, 2);
    end_all(&w, c, 2);
    for (int untold = 0; untold < 2; untold++) {
        lmb_server_destroy(w.server);
        snprintf(path, sizeof path, "%s/journal.db", w.state);
        if (untold) {
            ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
            ck_assert_int_eq(sqlite3_exec(db, "DELETE FROM told WHERE client = 1", NULL, NULL, NULL), SQLITE_OK);
            sqlite3_close(db);
        }
        ck_ok(lmb_server_create(&w.cfg, &w.job, &w.server, &err));
        ck_assert(lmb_server_over(w.server));
        double began = lmb_seconds();
        ck_ok(lmb_server_run(w.server, &err));
        took[untold] = lmb_seconds() - began;
    }
    ck_assert_double_lt(took[0], took[1]);
    world_close(&w);
}
END_TEST

/* ---- journals that are not what they should be ---- */

static void one_sentence(world *w, lmb_status status, const char *words)
{
    err = (lmb_error)LMB_ERROR_INIT;
    w->server = NULL;
    ck_assert_int_eq(lmb_server_create(&w->cfg, &w->job, &w->server, &err), status);
    ck_assert_msg(strstr(err.msg, words) != NULL, "%s", err.msg);
    ck_assert_ptr_null(strchr(err.msg, '\n'));
}

static void overwrite(const char *path, long at, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* Before the first round there are clients and invites to lose. */
START_TEST(a_journal_that_is_emptied_before_the_first_round_is_missed)
{
    char path[128];
    world w;

    world_open(&w);
    ck_ok(lmb_server_create(&w.cfg, &w.job, &w.server, &err));
    lmb_server_destroy(w.server);
    w.server = NULL;
    snprintf(path, sizeof path, "%s/journal.db", w.state);
    ck_assert_int_eq(truncate(path, 0), 0);
    one_sentence(&w, LMB_E_FORMAT, "the journal was emptied; restore it from a backup or begin in a new state_dir");
    world_close(&w);
}
END_TEST

START_TEST(a_damaged_journal_is_one_sentence)
{
    world w;
    world_client c[2];
    char path[128], copy[140], command[400];
    sqlite3 *db;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.rounds = 1;
    start_all(&w, c, 2);
    end_all(&w, c, 2);
    lmb_server_destroy(w.server);
    w.server = NULL;
    snprintf(path, sizeof path, "%s/journal.db", w.state);
    snprintf(copy, sizeof copy, "%s.good", path);
    snprintf(command, sizeof command, "cp %s %s", path, copy);
    ck_assert_int_eq(system(command), 0);

    ck_assert_int_eq(truncate(path, 0), 0);
    one_sentence(&w, LMB_E_FORMAT, "the journal was emptied; restore it from a backup or begin in a new state_dir");
    snprintf(command, sizeof command, "cp %s %s", copy, path);
    ck_assert_int_eq(system(command), 0);
    overwrite(path, 0, "Dear diary,", 11);
    one_sentence(&w, LMB_E_IO, "file is not a database; restore it");
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(truncate(path, 6000), 0);
    one_sentence(&w, LMB_E_IO, "database disk image is malformed; restore it");
    ck_assert_int_eq(system(command), 0);
    char junk[3000];
    memset(junk, 0x5a, sizeof junk);
    overwrite(path, 4096, junk, sizeof junk); /* a whole table */
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_ne(lmb_server_create(&w.cfg, &w.job, &w.server, &err), LMB_OK);
    ck_assert_ptr_nonnull(strstr(err.msg, "restore it from a backup or begin in a new state_dir"));
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "PRAGMA user_version = 3", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    one_sentence(&w, LMB_E_FORMAT, "journal.db is of another version than 6");
    ck_assert_int_eq(system(command), 0);
    /* As it was before journals knew the best model's hash: it goes on, and knows it from the next best model on. */
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(db, "ALTER TABLE federation DROP COLUMN best; PRAGMA user_version = 5", NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_server_create(&w.cfg, &w.job, &w.server, &err));
    ck_assert_uint_eq(lmb_server_round(w.server), 1);
    lmb_server_destroy(w.server);
    ck_assert_int_eq(system(command), 0);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_server_create(&w.cfg, &w.job, &w.server, &err));
    ck_assert_uint_eq(lmb_server_round(w.server), 1);
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/pace", add(the_slowest_of_more_is_spared); add(clients_without_work_come_back);
              add(the_server_selects_as_configured); add(a_stopped_server_ends_its_round);
              add(a_server_that_is_stopped_twice_ends_at_once); add(the_end_takes_no_longer_than_it_must);
              add(a_damaged_journal_is_one_sentence);
              add(a_journal_that_is_emptied_before_the_first_round_is_missed);)
