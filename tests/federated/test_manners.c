/* Mirrors federated/client_manners.c: a client that may not work now is not there, and comes back when it may. */
#include "federated/client_parts.h"
#include "tests/federated/world.h"

START_TEST(hours)
{
    lmb_client_config cfg;
    lmb_error err = LMB_ERROR_INIT;
    static const char *const bad[] = { "22:00", "24:00-07:00", "22:60-07:00", "22:00-22:00", "22:00-07:00 ",
        "-1:00-07:00", "a:b-c:d" };

    ck_assert(lmbi_manners_quiet("22:00-07:30", 22 * 60) && lmbi_manners_quiet("22:00-07:30", 0) &&
              lmbi_manners_quiet("22:00-07:30", 7 * 60 + 29));
    ck_assert(!lmbi_manners_quiet("22:00-07:30", 7 * 60 + 30) && !lmbi_manners_quiet("22:00-07:30", 22 * 60 - 1));
    ck_assert(lmbi_manners_quiet("8:00-09:00", 8 * 60) && !lmbi_manners_quiet("8:00-09:00", 9 * 60));
    lmb_fields_default(lmb_client_fields, &cfg);
    ck_ok(lmbi_manners_check(&cfg, &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cfg.quiet = bad[i];
        ck_assert_int_eq(lmbi_manners_check(&cfg, &err), LMB_E_ARG);
        ck_assert_ptr_nonnull(strstr(err.msg, "quiet"));
        lmb_error_clear(&err);
    }
}
END_TEST

static void open_two(world *w, world_client c[2])
{
    memset(c, 0, 2 * sizeof *c);
    world_open(w);
    w->cfg.rounds = 2;
    w->cfg.target = w->cfg.minimum = 2;
    w->cfg.gather_s = w->cfg.deadline_s = w->cfg.reconnect_s = 60;
    world_start(w);
}

static void end_two(world *w, world_client c[2])
{
    world_join(w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "client %d: %s", k, c[k].error.msg);
    }
    ck_assert_uint_eq(w->reports[2].updates, 2);
    world_close(w);
}

START_TEST(quiet_hours_are_quiet)
{
    world w;
    world_client c[2];
    time_t now = time(NULL);
    struct tm from, to;
    char span[32];

    ck_assert_ptr_nonnull(localtime_r(&(time_t){ now - 3600 }, &from));
    ck_assert_ptr_nonnull(localtime_r(&(time_t){ now + 3600 }, &to));
    snprintf(span, sizeof span, "%02d:%02d-%02d:%02d", from.tm_hour, from.tm_min, to.tm_hour, to.tm_min);
    open_two(&w, c);
    c[0].quiet = span;
    world_client_start(&w, &c[0], 0, lmb_server_port(w.server));
    ck_assert(world_says(&w, "resting: quiet hours (quiet)"));
    usleep(300000);
    ck_assert(!world_said(&w, "tester"));
    lmb_client_stop(c[0].client);
    world_client_join(&c[0]);
    ck_assert_int_eq(c[0].status, LMB_E_STOPPED);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* No, then yes; and no again in the middle of training: it stops, goes, and comes back to train the same round. */
START_TEST(the_command_is_asked)
{
    world w;
    world_client c[2];
    char flag[128], ask[256];
    FILE *f;

    open_two(&w, c);
    snprintf(flag, sizeof flag, "%s/charging", w.dir);
    snprintf(ask, sizeof ask, "echo noise; test -e %s", flag);
    c[0].ask = ask;
    c[0].seconds = 60;
    world_client_start(&w, &c[0], 0, lmb_server_port(w.server));
    world_client_start(&w, &c[1], 1, lmb_server_port(w.server));
    ck_assert(world_says(&w, "resting: the command says not now (ask)"));
    usleep(300000);
    ck_assert(!world_said(&w, "round 1 begins"));
    f = fopen(flag, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    ck_assert(world_says(&w, "round 1: training"));
    ck_assert_int_eq(remove(flag), 0);
    for (int i = 0; i < 1000 && c[0].trained == 0; i++)
        usleep(10000);
    ck_assert_int_eq(c[0].trained, 1); /* cut short */
    c[0].seconds = 0;
    f = fopen(flag, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    end_two(&w, c);
    ck_assert_int_eq(c[0].trained, 3);
}
END_TEST

/* The limits hold where it trains, and there alone. */
START_TEST(training_is_nice)
{
    world w;
    world_client c[2];
    int usual = getpriority(PRIO_PROCESS, 0);

    open_two(&w, c);
    c[0].nice = 11;
    c[0].threads = 3;
    for (int k = 0; k < 2; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    end_two(&w, c);
    ck_assert_int_eq(c[0].seen_nice, 11);
    ck_assert_int_eq(c[0].seen_threads, 3);
    ck_assert_int_eq(c[1].seen_nice, usual);
    ck_assert_int_eq(c[1].seen_threads, 0);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), usual);
}
END_TEST

LMB_TEST_MAIN("federated/manners", add(hours); add(quiet_hours_are_quiet); add(the_command_is_asked);
              add(training_is_nice);)
