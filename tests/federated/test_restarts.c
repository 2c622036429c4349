/* Mirrors federated/server.c and journal.c: servers that are killed, stopped, and refused at their start. */
#include <signal.h>
#include <sys/wait.h>

#include "core/base/config.h"
#include "tests/federated/expected.h"
#include "tests/free_port.h"

static lmb_error err;

enum { KILL_ROUNDS = 6 };

typedef struct told { uint64_t round, bytes_in; } told;

static void tell_round(void *ctx, const lmb_round_report *r)
{
    told t = { r->round, r->bytes_in };
    if (write(*(int *)ctx, &t, sizeof t) != sizeof t)
        _exit(3);
}

/* A server in a process of its own; it writes a `told` to `fd` after every round. */
static pid_t fork_server(world *w, int fd)
{
    pid_t pid = fork();
    if (pid == 0) {
        lmb_server *s;
        lmb_error e = LMB_ERROR_INIT;
        w->job.on_round = tell_round;
        w->job.ctx = &fd;
        if (lmb_server_create(&w->cfg, &w->job, &s, &e) != LMB_OK || lmb_server_run(s, &e) != LMB_OK) {
            fprintf(stderr, "server process: %s\n", e.msg);
            _exit(2);
        }
        lmb_server_destroy(s);
        _exit(0);
    }
    return pid;
}

/* Servers are forked by a process without threads, because theirs would not all start in one of a process that has some
 * (under ThreadSanitizer). For each 'k' it is sent it kills one and forks the next; for another letter it ends as the
 * last one does. */
static pid_t fork_nursery(world *w, int fd, int commands[2])
{
    ck_assert_int_eq(pipe(commands), 0);
    pid_t pid = fork();
    if (pid == 0)
        close(commands[1]);
    for (int status; pid == 0;) {
        char c = 0;
        pid_t server = fork_server(w, fd);
        bool heard = read(commands[0], &c, 1) == 1, again = heard && c == 'k';
        if (again || !heard)
            kill(server, SIGKILL);
        waitpid(server, &status, 0);
        if (!again)
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    return pid;
}

/* Run KILL_ROUNDS rounds; `kills` times the server is killed when a round was just reported. Final model to out. */
static void federation_with_kills(int kills, float *out)
{
    world w;
    world_client c[4];
    uint64_t round;
    double score;
    int pipes[2], commands[2], port = free_port(0), done = 0, status;
    pid_t pid;

    static const char options[] = "{name: fedavg, momentum: 0.25}";
    lmb_config *yaml;

    memset(c, 0, sizeof c);
    world_open(&w);
    ck_ok(lmb_config_parse(options, strlen(options), "test", &yaml, &err));
    w.cfg.aggregator = lmb_config_root(yaml); /* with state of its own to be restored */
    w.cfg.rounds = KILL_ROUNDS;
    w.cfg.port = port;
    ck_assert_int_eq(pipe(pipes), 0);
    for (int k = 0; k < 4; k++) { /* invites first: a fork of a process with threads is no place for them */
        c[k].seconds = 0.05;
        ck_ok(lmb_server_invite(w.state, "127.0.0.1", port, 600, c[k].invite, &err));
    }
    pid = fork_nursery(&w, pipes[1], commands);
    for (int k = 0; k < 4; k++)
        world_client_start(&w, &c[k], k, port);
    while (done < KILL_ROUNDS) {
        told t;
        ck_assert_int_eq(read(pipes[0], &t, sizeof t), sizeof t);
        done = (int)t.round;
        ck_assert_uint_lt(t.bytes_in, 4 * (4 * WORLD_N + 4000)); /* who trained while the server was gone offers once */
        if (kills > 0 && done < KILL_ROUNDS) {
            kills--;
            usleep((useconds_t)(done * 17000)); /* another moment of the round each time */
            ck_assert_int_eq(write(commands[1], "k", 1), 1);
        }
    }
    for (int k = 0; k < 4; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "client %d: %s", k, c[k].error.msg);
    }
    ck_assert_int_eq(write(commands[1], "e", 1), 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(commands[0]);
    close(commands[1]);
    w.cfg.port = 0;
    ck_ok(lmb_server_create(&w.cfg, &w.job, &w.server, &err));
    ck_assert_uint_eq(lmb_server_round(w.server), KILL_ROUNDS);
    ck_ok(lmb_server_run(w.server, &err)); /* nothing left to do */
    memcpy(out, lmb_server_model(w.server), WORLD_N * sizeof *out);
    ck_ok(lmb_server_best(w.server, out, &round, &score, &err));
    ck_assert_uint_eq(round, KILL_ROUNDS);
    ck_assert_mem_eq(out, lmb_server_model(w.server), WORLD_N * sizeof *out);
    close(pipes[0]);
    close(pipes[1]);
    lmb_config_destroy(yaml);
    world_close(&w);
}

START_TEST(a_killed_server_arrives_at_the_same_bits)
{
    float *whole = malloc(WORLD_N * sizeof *whole), *killed = malloc(WORLD_N * sizeof *killed);
    err = (lmb_error)LMB_ERROR_INIT;
    federation_with_kills(0, whole);
    federation_with_kills(4, killed);
    ck_assert_mem_eq(whole, killed, WORLD_N * sizeof *whole);
    ck_assert_double_eq_tol(whole[1], expected(1, KILL_ROUNDS, 0.25), 1e-5);
    free(whole);
    free(killed);
}
END_TEST

START_TEST(a_stopped_server_says_so)
{
    world w;
    world_open(&w);
    world_start(&w);
    usleep(100000);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    ck_assert_int_eq(w.status, LMB_E_STOPPED);
    world_close(&w);
}
END_TEST

START_TEST(refusals_at_the_start)
{
    world w;
    lmb_server *second = NULL;
    world_open(&w);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_server_create(&w.cfg, &w.job, &w.server, &err));
    /* the same folder */
    ck_assert_int_eq(lmb_server_create(&w.cfg, &w.job, &second, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "another server is running on"));
    /* the same port */
    char other[128];
    snprintf(other, sizeof other, "%s/other", w.dir);
    w.cfg.state_dir = other;
    w.cfg.port = lmb_server_port(w.server);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_server_create(&w.cfg, &w.job, &second, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "is in use by another program; choose another port"));
    /* sums that could overflow */
    w.cfg.port = 0;
    w.cfg.max_examples = 1 << 30;
    w.cfg.max_abs = 1e6;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_server_create(&w.cfg, &w.job, &second, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "lower target, max_examples or max_abs"));
    /* another model in the same folder */
    lmb_fields_default(lmb_server_fields, &w.cfg);
    lmb_server_destroy(w.server);
    w.server = NULL;
    w.cfg.address = "127.0.0.1";
    w.cfg.port = 0;
    w.cfg.state_dir = w.state;
    w.job.layout = lmb_hash_of("other", 5);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_server_create(&w.cfg, &w.job, &second, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "holds a federation of another model"));
    /* a model file that is not what the journal says */
    w.job.layout = lmb_hash_of("layout", 6);
    snprintf(other, sizeof other, "%s/model-0.f32", w.state);
    FILE *f = fopen(other, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ne(fputc(77, f), EOF);
    fclose(f);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_server_create(&w.cfg, &w.job, &second, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "model-0.f32 does not match the journal"));
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/restarts", add(a_killed_server_arrives_at_the_same_bits); add(a_stopped_server_says_so);
              add(refusals_at_the_start);)
