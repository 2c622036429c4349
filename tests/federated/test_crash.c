/* Mirrors federated/crash.c: servers and clients in processes of their own, killed at every point of the table, end in
 * the bits of a run that nobody disturbed. Clients are few of more, chosen by what is known of them, with a codec that
 * remembers and an aggregator with a state: all that a crash could lose. */
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
enum { CLIENTS = 3, TOGETHER = 4 }; /* federations at a time: they mostly wait, for disks and for each other */
static const char actor[] = LMB_BINARY_DIR "/tests/federated/federated_actor";
static const char sync_options[] =
    "{rounds: 3, target: 2, minimum: 2, pool: 3, gather_s: 60, selection: by_loss, aggregator: {name: fedavg, momentum: 0.5},"
    " codec: {name: topk, share: 0.8}}";
static const char async_options[] =
    "{rounds: 3, mode: async, async: {buffer: 2, concurrency: 1}, target: 2, minimum: 2, pool: 3, gather_s: 60,"
    " selection: by_loss, aggregator: {name: fedavg, momentum: 0.5}, codec: {name: topk, share: 0.8}}";

/* A client that is killed in a secure round is one that left: only the server's points are passed. */
static const char secure_options[] =
    "{rounds: 2, target: 3, minimum: 3, gather_s: 60, aggregator: {name: fedavg, momentum: 0.5},"
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
    int kills, joined; /* clients that were started */
    double from, until;
    bool busy;
    char at[40], line[100]; /* what the server printed */
    const lmb_crash_row *row; /* NULL: nobody is killed */
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

static void kill_all(const federation *f)
{
    for (int i = 0; i < TOGETHER; i++)
        for (int k = -1; f[i].busy && k < CLIENTS; k++) {
            const process *p = k < 0 ? &f[i].server : &f[i].client[k];
            if (p->pid && !p->ended)
                kill(p->pid, SIGKILL);
        }
}

static void give_up(const federation *all, const federation *f, const char *what)
{
    show(f, "server.log");
    show(f, "client-0.log");
    show(f, "client-1.log");
    show(f, "client-2.log");
    kill_all(all);
    ck_abort_msg("%s: %s (crash at %s)", f->options, what, f->row ? f->at : "no point");
}

static void begin(federation *f, const char *options, const lmb_crash_row *row, int port)
{
    char path[128];

    err = (lmb_error)LMB_ERROR_INIT;
    *f = (federation){ .options = options, .port = port, .row = row, .busy = true, .from = lmb_seconds() };
    f->until = f->from + 60;
    if (row) {
        snprintf(f->at, sizeof f->at, "%s:%d", row->name,
                 row->client ? 1 : 2); /* the first of some is that of round 0 */
        *(row->client ? &f->client_at : &f->server_at) = f->at;
    }
    strcpy(f->dir, "/tmp/limbeck-crash-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    snprintf(path, sizeof path, "%s/options.yaml", f->dir);
    ck_ok(lmb_file_write(path, options, strlen(options), &err));
    snprintf(path, sizeof path, "%s/server", f->dir);
    for (int k = 0; k < CLIENTS; k++)
        ck_ok(lmb_server_invite(path, "127.0.0.1", port, 600, f->invite[k], &err));
    start_server(f, f->server_at);
}

/* Numbers are given in the order of enrolment: clients come one after the other. True when all have ended. */
static bool go_on(const federation *all, federation *f)
{
    tend(f);
    if (f->joined < CLIENTS && enrolments(f) >= f->joined) {
        start_client(f, f->joined, f->client_at);
        f->joined++;
    }
    if (f->joined == CLIENTS && over(f))
        return true;
    if (lmb_seconds() > f->until)
        give_up(all, f, f->joined < CLIENTS ? "a client does not enrol" : "it does not end");
    return false;
}

static void finish(const federation *all, federation *f)
{
    char path[128];
    void *text;
    size_t n;

    for (int k = 0; k < CLIENTS; k++)
        if (f->client[k].status != 0)
            give_up(all, f, "a client failed");
    if (f->server.status != 0)
        give_up(all, f, "the server failed");
    ck_assert(enrolled(f, 0));
    snprintf(path, sizeof path, "%s/server.out", f->dir);
    ck_ok(lmb_file_read(path, sizeof f->line - 1, &text, &n, &err));
    memcpy(f->line, text, n + 1);
    free(text);
    if (getenv("LMB_TEST_LOG")) {
        show(f, "server.log");
        fprintf(stderr, "%s: %.2f s\n", f->at, lmb_seconds() - f->from);
    }
    snprintf(path, sizeof path, "rm -rf %s", f->dir);
    ck_assert_int_eq(system(path), 0);
    f->busy = false;
}

/* Which of its clients is asked next depends on who is there, in these. */
static bool passes(const lmb_crash_row *r, const char *options, bool async)
{
    return r->client ? !async && options != secure_options : async || !r->async;
}

static void every_point(const char *options, bool async, const char *rounds)
{
    federation f[TOGETHER] = { 0 };
    const lmb_crash_row *next = lmb_crash_rows;
    char whole[sizeof f->line];
    int port[TOGETHER], busy;

    for (int i = 0; i < TOGETHER; i++)
        port[i] = free_port(i);
    begin(&f[0], options, NULL, port[0]);
    while (!go_on(f, &f[0]))
        usleep(5000);
    finish(f, &f[0]);
    ck_assert_int_eq(f[0].kills, 0);
    memcpy(whole, f[0].line, sizeof whole);
    ck_assert_ptr_nonnull(strstr(whole, rounds));
    do {
        busy = 0;
        for (int i = 0; i < TOGETHER; i++) {
            while (!f[i].busy && next->name && !passes(next, options, async))
                next++;
            if (!f[i].busy && next->name) {
                begin(&f[i], options, next++, port[i]);
            } else if (f[i].busy && go_on(f, &f[i])) {
                finish(f, &f[i]);
                ck_assert_msg(f[i].row->client ? f[i].kills > 0 : f[i].kills == 1, "%s: nobody was killed", f[i].at);
                ck_assert_msg(strcmp(f[i].line, whole) == 0, "%s: the model is another one: %s, not %s", f[i].at,
                              f[i].line, whole);
            }
            busy += f[i].busy;
        }
        usleep(5000);
    } while (busy || next->name);
}

START_TEST(rounds_survive_every_point) { every_point(sync_options, false, " 3\n"); }
END_TEST
START_TEST(versions_survive_every_point) { every_point(async_options, true, " 3\n"); }
END_TEST

START_TEST(secure_rounds_survive_every_point) { every_point(secure_options, false, " 2\n"); }
END_TEST

LMB_TEST_MAIN("federated/crash", add(rounds_survive_every_point); add(secure_rounds_survive_every_point);
              add(versions_survive_every_point);)
