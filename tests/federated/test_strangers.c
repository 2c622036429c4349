/* Mirrors federated/server_strangers.c; and what a client is told when it is the server that has a problem. */
#include "tests/federated/raw.h"

static int count(world *w, const char *words)
{
    int n = 0;
    pthread_mutex_lock(&w->lock);
    for (const char *at = w->text; (at = strstr(at, words)) != NULL; at += strlen(words))
        n++;
    pthread_mutex_unlock(&w->lock);
    return n;
}

static void stop(world *w)
{
    lmb_server_stop(w->server);
    pthread_join(w->thread, NULL);
    ck_assert_int_eq(w->status, LMB_E_STOPPED);
}

/* Forty knock: twenty lines, or more when the knocking takes minutes, and none is left uncounted. */
START_TEST(strangers_do_not_fill_the_log)
{
    world w;
    char byte;
    int told, more = 0;

    world_open(&w);
    world_start(&w);
    double began = lmb_seconds();
    for (int i = 0; i < 40; i++) {
        int fd = dial(lmb_server_port(w.server));
        ck_assert_int_eq(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
        ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
        close(fd);
    }
    double took = lmb_seconds() - began;
    stop(&w);
    told = count(&w, "does not speak this protocol");
    for (const char *at = w.text; (at = strstr(at, " more connections proved no key")) != NULL; at++) {
        const char *from = at;
        while (from > w.text && from[-1] >= '0' && from[-1] <= '9')
            from--;
        more += atoi(from);
    }
    ck_assert_int_eq(told + more, 40);
    ck_assert_msg(told <= 20 * (1 + (int)(took / 60)), "%d lines in %.0f s", told, took);
    world_close(&w);
}
END_TEST

/* The spool is gone: people read in the log what is wrong and where, the client that it is not its fault. Nobody else
 * is in the round: it is not spent on that, and made by the next server. */
START_TEST(our_paths_are_none_of_a_clients_business)
{
    static float values[WORLD_N];
    lmb_round_note note;
    lmb_task_message t;
    lmb_update_message u;
    char command[200];
    lmb_record rec;
    world w;
    raw r;

    world_open(&w);
    w.cfg.target = w.cfg.minimum = 1;
    world_start(&w);
    t = join(&w, &r);
    snprintf(command, sizeof command, "rm -rf %s/spool", w.state);
    ck_assert_int_eq(system(command), 0);
    u = honest(&t, values);
    ck_ok(lmb_message_send(r.channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(&r);
    ck_assert(raw_wait(&r, LMB_MSG_REFUSED, &rec));
    ck_ok(lmb_message_read(&rec, &note, &err));
    ck_assert_str_eq(note.sentence, "the server has a problem of its own");
    ck_assert(world_says(&w, "cannot create: No such file or directory"));
    raw_close(&r);
    pthread_join(w.thread, NULL);
    ck_assert_int_eq(w.status, LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(w.error.msg, "cannot create: No such file or directory"));
    ck_assert_uint_eq(lmb_server_round(w.server), 0);
    lmb_server_destroy(w.server);
    world_start(&w);
    ck_assert(world_says(&w, "round 1 goes on with 1 clients"));
    stop(&w);
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/strangers", add(strangers_do_not_fill_the_log); add(our_paths_are_none_of_a_clients_business);)
