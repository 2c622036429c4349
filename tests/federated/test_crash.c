/* Mirrors federated/crash.c: servers and clients in processes of their own, killed at every point of the table, end in the
 * bits of a run that nobody disturbed. Clients are few of more, chosen by what is known of them, with a codec that remembers
 * and an aggregator with a state: all that a crash could lose. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "federated/crash.h"
#include "federated/server.h"
#include "tests/check_main.h"
#include "tests/free_port.h"

extern char **environ;
enum { CLIENTS = 3 };
static const char actor[] = LMB_BINARY_DIR "/tests/federated/federated_actor";
static const char sync_options[] = "{rounds: 3, target: 2, minimum: 2, pool: 3, gather_s: 60, selection: by_loss, aggregator: {name: fedavg, momentum: 0.5},"
                                   " codec: {name: topk, share: 0.8}}";
static const char async_options[] = "{rounds: 3, mode: async, async: {buffer: 2, concurrency: 1}, target: 2, minimum: 2, pool: 3, gather_s: 60,"
                                    " selection: by_loss, aggregator: {name: fedavg, momentum: 0.5}, codec: {name: topk, share: 0.8}}";

/* A client that is killed in a secure round is one that left: only the server's points are passed. */
static const char secure_options[] = "{rounds: 2, target: 3, minimum: 3, gather_s: 60, aggregator: {name: fedavg, momentum: 0.5},"
                                     " secure_aggregation: {clip: 10}}";

typedef struct process {
    pid_t pid;
    int status;
    bool ended;
} process;

typedef struct federation {
    char dir[64];
    const char *options;
    int port;
    const char *server_at, *client_at; /* LIMBECK_CRASH_AT of their first start, NULL: none */
    process server, client[CLIENTS];
    char invite[CLIENTS][LMB_SERVER_INVITE];
    int kills;
} federation;

static lmb_error err;

static process start(const federation *f, const char *log, const char *at, const char *const argv[])
{
    char path[128], out[128];
    posix_spawn_file_actions_t files;
    process p = { 0 };

    snprintf(path, sizeof path, "%s/%s.log", f->dir, log);
    snprintf(out, sizeof out, "%s/%s.out", f->dir, log);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&files, 2, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (at)
        setenv("LIMBECK_CRASH_AT", at, 1);
    else
        unsetenv("LIMBECK_CRASH_AT");
    ck_assert_int_eq(posix_spawn(&p.pid, actor, &files, NULL, (char *const *)(const void *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&files);
    return p;
}

static void start_server(federation *f, const char *at)
{
    char state[96], port[16], options[96];
    const char *const argv[] = { actor, "server", state, port, options, NULL };
    snprintf(state, sizeof state, "%s/server", f->dir);
    snprintf(options, sizeof options, "%s/options.yaml", f->dir);
    snprintf(port, sizeof port, "%d", f->port);
    f->server = start(f, "server", at, argv);
}

static void start_client(federation *f, int k, const char *at)
{
    char state[96], name[16], number[16];
    const char *const argv[] = { actor, "client", state, f->invite[k], number, NULL };
    snprintf(name, sizeof name, "client-%d", k);
    snprintf(state, sizeof state, "%s/%s", f->dir, name);
    snprintf(number, sizeof number, "%d", k);
    f->client[k] = start(f, name, at, argv);
}

static void show(const federation *f, const char *name)
{
    char path[128];
    void *text;
    size_t n;
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    if (lmb_file_read(path, 1 << 20, &text, &n, NULL) == LMB_OK) {
        fprintf(stderr, "---- %s\n%s", name, (const char *)text);
        free(text);
    }
}

/* Whoever was killed starts again, undisturbed. */
static void tend(federation *f)
{
    if (!f->server.ended && waitpid(f->server.pid, &f->server.status, WNOHANG) == f->server.pid) {
        f->server.ended = true;
        if (WIFSIGNALED(f->server.status) && WTERMSIG(f->server.status) == SIGKILL) {
            f->kills++;
            start_server(f, NULL);
        }
    }
    for (int k = 0; k < CLIENTS; k++) {
        process *c = &f->client[k];
        if (!c->pid || c->ended || waitpid(c->pid, &c->status, WNOHANG) != c->pid)
            continue;
        c->ended = true;
        if (WIFSIGNALED(c->status) && WTERMSIG(c->status) == SIGKILL) {
            f->kills++;
            start_client(f, k, NULL);
        }
    }
}

static bool over(const federation *f)
{
    for (int k = 0; k < CLIENTS; k++)
        if (!f->client[k].ended)
            return false;
    return f->server.ended;
}

/* Does a client know its server? */
static bool enrolled(const federation *f, int k)
{
    char path[128];
    snprintf(path, sizeof path, "%s/client-%d/server.txt", f->dir, k);
    return lmb_file_exists(path);
}

static int enrolments(const federation *f)
{
    char path[128];
    void *text;
    size_t n;
    int count = 0;
    snprintf(path, sizeof path, "%s/server.log", f->dir);
    if (lmb_file_read(path, 1 << 20, &text, &n, NULL) != LMB_OK)
        return 0;
    for (int k = 1; k <= CLIENTS; k++) {
        char words[32];
        snprintf(words, sizeof words, "client %d (actor", k);
        count += strstr(text, words) != NULL;
    }
    free(text);
    return count;
}

static void wait_a_little(federation *f, double until, const char *what)
{
    tend(f);
    if (lmb_seconds() > until) {
        show(f, "server.log");
        show(f, "client-0.log");
        show(f, "client-1.log");
        show(f, "client-2.log");
        kill(f->server.pid, SIGKILL);
        for (int k = 0; k < CLIENTS; k++)
            if (f->client[k].pid)
                kill(f->client[k].pid, SIGKILL);
        ck_abort_msg("%s: %s (crash at %s)", f->options, what, f->server_at ? f->server_at : f->client_at ? f->client_at : "no point");
    }
    usleep(5000);
}

/* A whole federation; what the server printed into line[100]. Returns how often somebody was killed. */
static int federate(const char *options, int port, const char *server_at, const char *client_at, char *line)
{
    federation f = { .options = options, .port = port, .server_at = server_at, .client_at = client_at };
    char path[128];
    double until = lmb_seconds() + 40;
    void *text;
    size_t n;

    err = (lmb_error)LMB_ERROR_INIT;
    strcpy(f.dir, "/tmp/limbeck-crash-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f.dir));
    snprintf(path, sizeof path, "%s/options.yaml", f.dir);
    ck_ok(lmb_file_write(path, options, strlen(options), &err));
    snprintf(path, sizeof path, "%s/server", f.dir);
    for (int k = 0; k < CLIENTS; k++)
        ck_ok(lmb_server_invite(path, "127.0.0.1", port, 600, f.invite[k], &err));
    start_server(&f, server_at);
    for (int k = 0; k < CLIENTS; k++) { /* numbers are given in the order of enrolment: one after the other */
        start_client(&f, k, client_at);
        while (enrolments(&f) < k + 1)
            wait_a_little(&f, until, "a client does not enrol");
    }
    while (!over(&f))
        wait_a_little(&f, until, "it does not end");
    for (int k = 0; k < CLIENTS; k++)
        if (f.client[k].status != 0)
            show(&f, "server.log"), show(&f, "client-0.log"), ck_abort_msg("%s: a client failed", server_at ? server_at : client_at);
    if (f.server.status != 0)
        show(&f, "server.log"), ck_abort_msg("%s: the server failed", server_at ? server_at : client_at);
    ck_assert(enrolled(&f, 0));
    snprintf(path, sizeof path, "%s/server.out", f.dir);
    ck_ok(lmb_file_read(path, 99, &text, &n, &err));
    memcpy(line, text, n + 1);
    free(text);
    if (getenv("LMB_TEST_LOG"))
        show(&f, "server.log");
    snprintf(path, sizeof path, "rm -rf %s", f.dir);
    ck_assert_int_eq(system(path), 0);
    return f.kills;
}

static void every_point(const char *options, bool async, const char *rounds)
{
    char whole[100], line[100];
    int port = free_port();

    ck_assert_int_eq(federate(options, port, NULL, NULL, whole), 0);
    ck_assert_ptr_nonnull(strstr(whole, rounds));
    for (const lmb_crash_row *r = lmb_crash_rows; r->name; r++) {
        if ((r->async && !async) || (r->client && (async || options == secure_options))) /* which of its clients is asked next depends on who is there */
            continue;
        char at[40];
        double from = lmb_seconds();
        snprintf(at, sizeof at, "%s:%d", r->name, r->client ? 1 : 2); /* the first of some is that of round 0 */
        int kills = federate(options, port, r->client ? NULL : at, r->client ? at : NULL, line);
        ck_assert_msg(r->client ? kills > 0 : kills == 1, "%s: nobody was killed", at);
        ck_assert_msg(strcmp(line, whole) == 0, "%s: the model is another one: %s, not %s", at, line, whole);
        if (getenv("LMB_TEST_LOG"))
            fprintf(stderr, "%s: %.2f s\n", at, lmb_seconds() - from);
    }
}

START_TEST(rounds_survive_every_point) { every_point(sync_options, false, " 3\n"); }
END_TEST
START_TEST(versions_survive_every_point) { every_point(async_options, true, " 3\n"); }
END_TEST

START_TEST(secure_rounds_survive_every_point) { every_point(secure_options, false, " 2\n"); }
END_TEST

LMB_TEST_MAIN("federated/crash", add(rounds_survive_every_point); add(secure_rounds_survive_every_point); add(versions_survive_every_point);)
