/* tests/federated/world.h - a federation for tests: a server thread or process, clients on threads, a log that can be
 * searched. The trainer is synthetic: client k pulls the model towards its own target, so that the average is known.
 */
#ifndef LMB_TESTS_FEDERATED_WORLD_H
#define LMB_TESTS_FEDERATED_WORLD_H

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/threads.h"
#include "federated/client.h"
#include "federated/server.h"
#include "tests/check_main.h"

enum { WORLD_N = 20000, WORLD_LOG = 1 << 16 };

typedef struct world {
    char dir[64], state[96];
    lmb_server_config cfg;
    lmb_server_job job;
    lmb_log log;
    float *initial, *targets_mean;
    lmb_server *server;
    pthread_t thread;
    lmb_status status;
    lmb_error error;
    pthread_mutex_t lock;
    char text[WORLD_LOG];
    size_t text_n;
    lmb_round_report reports[64]; /* [r]: of round r, unless the server was started anew */
    int n_reports;
} world;

typedef struct world_client {
    world *w;
    int k; /* its target is value (k + 1) everywhere, its examples 10 * (k + 1) */
    char state[96], invite[LMB_SERVER_INVITE];
    _Atomic double seconds; /* training takes so long, with progress reported when `lively` */
    bool lively;
    double idle_s; /* 0: as it comes */
    bool restless; /* its target moves from round to round, so that no two models are the same */
    const char *quiet, *ask; /* NULL: none */
    int nice, threads;       /* as configured */
    atomic_int seen_nice, seen_threads; /* in training */
    lmb_log log;
    const struct lmb_tree *secure; /* what it insists on, NULL: nothing */
    bool rotate;       /* changes its keys */
    const char *admin; /* whose rosters it believes; NULL: needs none */
    atomic_int trained;
    lmb_client *client;
    pthread_t thread;
    lmb_status status;
    lmb_error error;
} world_client;

static inline void world_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    world *w = ctx;
    (void)level;
    (void)subsystem;
    pthread_mutex_lock(&w->lock);
    int n = snprintf(w->text + w->text_n, WORLD_LOG - w->text_n, "%s\n", text);
    if (n > 0 && w->text_n + (size_t)n < WORLD_LOG)
        w->text_n += (size_t)n;
    pthread_mutex_unlock(&w->lock);
    if (getenv("LMB_TEST_LOG"))
        fprintf(stderr, "%s\n", text);
}

static inline bool world_said(world *w, const char *words)
{
    pthread_mutex_lock(&w->lock);
    bool found = strstr(w->text, words) != NULL;
    pthread_mutex_unlock(&w->lock);
    return found;
}

/* Wait for words in the log, at most ten seconds. */
static inline bool world_says(world *w, const char *words)
{
    double end = lmb_seconds() + 60;
    while (!world_said(w, words) && lmb_seconds() < end)
        usleep(5000);
    return world_said(w, words);
}

static inline lmb_status world_evaluate(void *ctx, uint64_t round, const float *model, size_t n, double *score,
                                        lmb_figures *m, lmb_error *err)
{
    double sum = 0;
    (void)ctx;
    (void)round;
    (void)err;
    for (size_t i = 0; i < n; i++)
        sum += ((double)model[i] - 3) * ((double)model[i] - 3);
    *score = -sum / (double)n;
    lmb_figures_add(m, "distance", sum);
    return LMB_OK;
}

static inline void world_round(void *ctx, const lmb_round_report *r)
{
    world *w = ctx;
    pthread_mutex_lock(&w->lock);
    if (w->n_reports < 64)
        w->reports[w->n_reports++] = *r;
    pthread_mutex_unlock(&w->lock);
}

static inline void world_open(world *w)
{
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    strcpy(w->dir, "/tmp/limbeck-fed-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    snprintf(w->state, sizeof w->state, "%s/server", w->dir);
    lmb_fields_default(lmb_server_fields, &w->cfg);
    w->cfg.address = "127.0.0.1";
    w->cfg.port = 0;
    w->cfg.state_dir = w->state;
    w->cfg.rounds = 5;
    w->cfg.target = w->cfg.minimum = 4;
    w->log = (lmb_log){ world_line, w, LMB_LOG_INFO };
    w->initial = calloc(WORLD_N, sizeof *w->initial);
    for (int i = 0; i < WORLD_N; i++)
        w->initial[i] = (float)(i % 7) * 0.1f;
    w->job = (lmb_server_job){ .n = WORLD_N,
                               .initial = w->initial,
                               .layout = lmb_hash_of("layout", 6),
                               .graph = "a graph",
                               .graph_bytes = 7,
                               .settings = "lr: 0.1\n",
                               .evaluate = world_evaluate,
                               .on_round = world_round,
                               .ctx = w,
                               .log = &w->log };
}

/* Files of updates that lie in the spool. */
static inline int world_spooled(const world *w)
{
    char path[128];
    int n = 0;

    snprintf(path, sizeof path, "%s/spool", w->state);
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));)
        n += *e->d_name != '.';
    closedir(d);
    return n;
}

static inline void world_close(world *w)
{
    char cmd[128];
    lmb_server_destroy(w->server);
    free(w->initial);
    snprintf(cmd, sizeof cmd, "rm -rf %s", w->dir);
    ck_assert_int_eq(system(cmd), 0);
    pthread_mutex_destroy(&w->lock);
}

static inline void *world_run(void *arg)
{
    world *w = arg;
    w->status = lmb_server_run(w->server, &w->error);
    return NULL;
}

static inline void world_start(world *w)
{
    lmb_error err = LMB_ERROR_INIT;
    w->error = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_server_create(&w->cfg, &w->job, &w->server, &err));
    ck_assert_int_eq(pthread_create(&w->thread, NULL, world_run, w), 0);
}

static inline void world_join(world *w)
{
    pthread_join(w->thread, NULL);
    ck_assert_msg(w->status == LMB_OK, "server: %s", w->error.msg);
}

static inline lmb_status world_train(void *ctx, const lmb_train_task *t, lmb_train_result *r, lmb_error *err)
{
    world_client *c = ctx;
    double end = lmb_seconds() + c->seconds;
    (void)err;
    ck_assert_str_eq(t->settings, "lr: 0.1\n");
    ck_assert_uint_eq(t->graph_bytes, 7);
    ck_assert_mem_eq(t->graph, "a graph", 7);
    c->seen_nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    c->seen_threads = t->threads;
    for (uint64_t step = 1; lmb_seconds() < end && !lmb_client_cancelled(t); step++) {
        if (c->lively)
            lmb_client_progress(t, step);
        usleep(20000);
    }
    for (size_t i = 0; i < t->n; i++)
        r->delta[i] = 0.5f * ((float)(c->k + 1) + (c->restless ? 0.1f * (float)(t->round % 7) : 0) +
                              (float)(i % 3) * 0.01f - t->model[i]);
    r->examples = (uint64_t)(10 * (c->k + 1));
    lmb_figures_add(&r->metrics, "loss", c->k);
    lmb_figures_add(&r->metrics, "valid_accuracy", 0.2 * (c->k + 1));
    lmb_figures_add(&r->metrics, "personal_accuracy", c->k ? 0.5 : 17); /* client 0 tells nonsense */
    c->trained++;
    return LMB_OK;
}

static inline void *world_client_run(void *arg)
{
    world_client *c = arg;
    c->status = lmb_client_run(c->client, &c->error);
    return NULL;
}

/* A client with an invite of its own; it is created, and runs on a thread. */
static inline void world_client_start(world *w, world_client *c, int k, int port)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_client_config cfg;
    lmb_local_trainer trainer = { world_train, c };
    c->w = w;
    c->k = k;
    snprintf(c->state, sizeof c->state, "%s/client-%d", w->dir, k);
    if (!c->invite[0] && port)
        ck_ok(lmb_server_invite(w->state, "127.0.0.1", port, 600, c->invite, &err));
    lmb_fields_default(lmb_client_fields, &cfg);
    cfg.state_dir = c->state;
    cfg.name = "tester";
    cfg.secure_aggregation = c->secure;
    cfg.rotate_keys = c->rotate;
    if (c->admin)
        cfg.admin = c->admin;
    cfg.retry_s = 0.3;
    if (c->idle_s > 0)
        cfg.idle_s = c->idle_s;
    if (c->quiet)
        cfg.quiet = c->quiet;
    cfg.nice = c->nice;
    cfg.threads = c->threads;
    if (c->ask) {
        cfg.ask = c->ask;
        cfg.ask_s = 0.2;
    }
    c->log = w->log;
    cfg.give_up_s = 120; /* a client that missed the farewell shall fail its test, not hang it */
    c->error = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_client_create(&cfg, c->invite, &trainer, c->quiet || c->ask ? &c->log : NULL, &c->client, &err));
    ck_assert_int_eq(pthread_create(&c->thread, NULL, world_client_run, c), 0);
}

static inline void world_client_join(world_client *c)
{
    pthread_join(c->thread, NULL);
    lmb_client_destroy(c->client);
    c->client = NULL;
}

#endif
