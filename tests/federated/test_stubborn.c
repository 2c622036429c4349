/* Mirrors federated/server_peer.c, client_link.c and client_work.c: peers that keep to the letter of the protocol and
 * would still cost the other side its memory, its time or a wrong average. */
#include <sqlite3.h>
#include <sys/stat.h>

#include "tests/federated/raw.h"

static void start_two(world *w, world_client c[2])
{
    memset(c, 0, 2 * sizeof *c);
    world_start(w);
    for (int k = 0; k < 2; k++)
        world_client_start(w, &c[k], k, lmb_server_port(w->server));
}

static void end_two(world *w, world_client c[2])
{
    world_join(w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "client %d: %s", k, c[k].error.msg);
    }
    ck_assert_uint_eq(w->reports[1].updates, 2);
    world_close(w);
}

/* Every message of this client is answered, and it reads no answer. */
START_TEST(one_that_never_reads_is_sent_away)
{
    lmb_update_message u = { .round = 99 };
    world w;
    raw r;

    world_open(&w);
    world_start(&w);
    lmb_token t = raw_invite(&w, &r);
    raw_open(&r, lmb_server_port(w.server), &t, 0);
    ck_assert(raw_shake(&r));
    raw_hello(&r, LMB_FED_VERSION);
    for (int i = 0; i < 200000 && !(i % 1000 == 0 && world_said(&w, "it sends and does not read")); i++) {
        ck_ok(lmb_message_send(r.channel, LMB_MSG_UPDATE, &u, &err));
        raw_flush(&r);
    }
    ck_assert(world_says(&w, "it sends and does not read"));
    raw_close(&r);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* The server waits for a client whose connection is lost, but not for one that it refused. */
START_TEST(a_refused_member_is_out_at_once)
{
    lmb_round_note note = { .round = 1 };
    world w;
    world_client c[2];
    raw r;
    lmb_record rec;
    double began;

    world_open(&w);
    w.cfg.rounds = 1;
    w.cfg.minimum = 2;
    w.cfg.target = 3;
    w.cfg.gather_s = w.cfg.reconnect_s = w.cfg.deadline_s = 600;
    start_two(&w, c);
    join(&w, &r);
    began = lmb_seconds();
    ck_ok(lmb_message_send(r.channel, LMB_MSG_DONE, &note, &err));
    raw_flush(&r);
    ck_assert(raw_wait(&r, LMB_MSG_REFUSED, &rec));
    raw_close(&r);
    ck_assert(world_says(&w, "it was refused"));
    end_two(&w, c);
    ck_assert_double_lt(lmb_seconds() - began, 300);
}
END_TEST

/* A server whose journal is broken must not tell clients never to come back, nor where its files are. */
START_TEST(our_own_fault_is_no_refusal)
{
    world w;
    raw r;
    lmb_record rec;
    lmb_round_note note;
    sqlite3 *db;
    char path[128];

    world_open(&w);
    world_start(&w);
    lmb_token token = raw_invite(&w, &r);
    raw_open(&r, lmb_server_port(w.server), &token, 0);
    ck_assert(raw_shake(&r)); /* it has read its journal, then, and serves */
    snprintf(path, sizeof path, "%s/journal.db", w.state);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 60000);
    ck_assert_int_eq(sqlite3_exec(db, "DROP TABLE clients", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    raw_hello(&r, LMB_FED_VERSION);
    ck_assert(raw_wait(&r, LMB_MSG_REFUSED, &rec));
    ck_ok(lmb_message_read(&rec, &note, &err));
    ck_assert_uint_eq(note.status, 0);
    ck_assert_str_eq(note.sentence, "the server has a problem of its own; try again later");
    ck_assert(world_says(&w, "is sent away"));
    raw_close(&r);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* Something listens there and never says a word. */
START_TEST(a_mute_server_is_given_up)
{
    uint8_t secret[32];
    char text[LMB_INVITE_MAX], dir[] = "/tmp/limbeck-mute-XXXXXX", path[64];
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    lmb_invite invite = { .host = "127.0.0.1", .token = { 7 } };
    lmb_client_config cfg;
    lmb_local_trainer trainer = { world_train, NULL };
    lmb_client *c;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    invite.port = ntohs(a.sin_port);
    lmb_noise_keygen(secret, invite.server_public);
    ck_ok(lmb_invite_format(&invite, text, &err));
    ck_assert_ptr_nonnull(mkdtemp(dir));
    lmb_fields_default(lmb_client_fields, &cfg);
    cfg.state_dir = dir;
    cfg.connect_s = 0.2;
    cfg.give_up_s = 0.5;
    ck_ok(lmb_client_create(&cfg, text, &trainer, NULL, &c, &err));
    ck_assert_int_eq(lmb_client_run(c, &err), LMB_E_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(err.msg, "does not finish the handshake in 0.2 s (connect_s)"));
    lmb_client_destroy(c);
    close(fd);
    snprintf(path, sizeof path, "rm -rf %s", dir);
    ck_assert_int_eq(system(path), 0);
}
END_TEST

/* A client is out of round 1 and told to stop training; then the server starts again and repeats the round from the
 * same model. What the client has of its first try is half a training: it must begin anew. */
START_TEST(half_a_training_is_never_offered)
{
    world w;
    world_client c[1];
    raw r;
    int port;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 1;
    w.cfg.target = w.cfg.minimum = 2;
    w.cfg.deadline_s = 1;
    c[0].seconds = 60;
    world_start(&w);
    port = lmb_server_port(w.server);
    world_client_start(&w, &c[0], 0, port);
    join(&w, &r);
    for (lmb_alive alive = { 1, 1 }; !world_said(&w, "it showed no progress for 1 s"); alive.steps++) {
        ck_ok(lmb_message_send(r.channel, LMB_MSG_ALIVE, &alive, &err)); /* keeps the round open */
        raw_flush(&r);
        ck_assert_uint_lt(alive.steps, 200);
        usleep(50000);
    }
    for (int i = 0; i < 400 && c[0].trained == 0; i++)
        usleep(10000);
    ck_assert_int_eq(c[0].trained, 1);
    raw_close(&r);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    lmb_server_destroy(w.server);
    c[0].seconds = 0;
    w.cfg.port = port;
    w.cfg.deadline_s = 60;
    w.cfg.minimum = 1;
    w.cfg.reconnect_s = 3; /* the other one does not come back */
    world_start(&w);
    world_join(&w);
    world_client_join(&c[0]);
    ck_assert_msg(c[0].status == LMB_OK, "%s", c[0].error.msg);
    ck_assert_uint_eq(w.reports[1].updates, 1);
    ck_assert_int_eq(c[0].trained, 2);
    world_close(&w);
}
END_TEST

/* What it must write down before it connects cannot be written, and then it can: the client is still there. */
START_TEST(a_clients_disk_may_come_back)
{
    world w;
    world_client c[2];
    char path[128];

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 1;
    w.cfg.target = w.cfg.minimum = 2;
    world_start(&w);
    snprintf(path, sizeof path, "%s/client-0", w.dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    strcat(path, "/clock");
    ck_assert_int_eq(mkdir(path, 0700), 0);
    c[0].ask = "exit 0"; /* so that it logs */
    for (int k = 0; k < 2; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    ck_assert(world_says(&w, "client-0/clock"));
    ck_assert(world_says(&w, "trying again"));
    ck_assert_int_eq(rmdir(path), 0);
    end_two(&w, c);
}
END_TEST

static unsigned mode_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return (unsigned)st.st_mode & 0777;
}

/* Models, updates and what is left of them are nobody else's on the machine, whatever umask says. */
START_TEST(folders_are_their_owners_alone)
{
    world w;
    world_client c[2];

    mode_t before = umask(0);
    world_open(&w);
    w.cfg.rounds = 1;
    w.cfg.target = w.cfg.minimum = 2;
    start_two(&w, c);
    umask(before);
    ck_assert_uint_eq(mode_of(w.state), 0700);
    for (int k = 0; k < 2; k++)
        ck_assert_uint_eq(mode_of(c[k].state), 0700);
    end_two(&w, c);
}
END_TEST

LMB_TEST_MAIN("federated/stubborn", add(one_that_never_reads_is_sent_away); add(a_refused_member_is_out_at_once);
              add(our_own_fault_is_no_refusal); add(a_clients_disk_may_come_back);
              add(folders_are_their_owners_alone); add(a_mute_server_is_given_up);
              add(half_a_training_is_never_offered);)
