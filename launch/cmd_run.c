/* launch/cmd_run.c - `limbeck run`: all stages of a configuration, in order, and a report.
 *
 * Idea: a stage is a command line of this very program, started as a child: what a run does can be done by hand, and
 * a stage that crashes takes nothing with it. The table below is all there is to know about the stages.
 *
 * <run>/<stage>/started and done hold a hash of the part of the configuration that the stage depends on, chained over
 * the stages before it. done and equal: reused. started and equal: started again, stages go on by themselves. started
 * and different: what is there belongs to another configuration and is moved to <run>/old-N. Nothing is deleted.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "federated/server.h"
#include "launch/child.h"
#include "launch/federation.h"
#include "launch/report.h"
#include "launch/stage.h"

static const char usage[] =
    "usage: limbeck run CONFIG.yaml [--fresh] [--set key=value ...]\n\n"
    "Runs every stage that the configuration has: teacher, student, export, federation with its clients, export of its result;\n"
    "then writes <run>/report.html and <run>/summary.json. Stages that are done are reused; an interrupted one goes on where\n"
    "it was. Ctrl-C stops with exit code 3 and all state saved: the same command goes on.\n\n"
    "  --fresh            do all stages again; earlier results are kept in <run>/old-N\n"
    "  --set key=value    change any key, e.g. --set launch.ranks=4 --set teacher.train.epochs=3\n\n"
    "Training stages run under `mpirun -n launch.ranks`. Each stage's output is kept in <run>/<stage>/log.txt.\n";

enum { ARGV_MAX = 2 * LMB_ARGS_MAX + 32, PATIENCE_S = 30, GOODBYE_S = 15 };

static volatile int interrupted; /* how often */
static void on_signal(int s) { (void)s; interrupted++; }

/* ---- the stages ---- */

typedef struct runner {
    lmb_job job;
    lmb_federation_config federation;
    const lmb_args *args;
    const char *config;             /* its path */
    char exe[LMB_STAGE_PATH], mpirun[LMB_STAGE_PATH];
    char hash[LMB_HASH_HEX];        /* of the configuration up to the present stage */
    bool fresh;
    int log, old;                   /* N of the old-N that this run uses; 0: none yet */
} runner;

typedef struct step {
    const char *name;               /* and folder below the run */
    const char *folders[3];         /* what it fills: moved away when the configuration is another */
    const char *sections[4];        /* of the configuration, that it depends on beside the stages before */
    bool (*wanted)(const lmb_job *j);
    lmb_status (*run)(runner *r, const struct step *s, lmb_error *err);
    const char *argv[8];
} step;

/* Words that are replaced in command lines. */
#define CONFIG "{config}"
#define PORT "{port}"
#define INVITE "{invite}"
#define SLICE "{slice}"

static bool has_teacher(const lmb_job *j) { return j->c.teacher != NULL; }
static bool has_student(const lmb_job *j) { return j->c.student != NULL; }
static bool has_quantize(const lmb_job *j) { return lmb_tree_get(j->c.student, "quantize") != NULL; }
static bool has_federation(const lmb_job *j) { return j->c.federation != NULL; }
static lmb_status run_ranks(runner *r, const step *s, lmb_error *err);
static lmb_status run_alone(runner *r, const step *s, lmb_error *err);
static lmb_status run_federation(runner *r, const step *s, lmb_error *err);

static const step steps[] = {
    { "teacher", { "teacher" }, { "data", "split", "teacher" }, has_teacher, run_ranks, { "train", CONFIG, "--stage", "teacher" } },
    { "student", { "student", "student-int8" }, { "data", "split", "student" }, has_student, run_ranks, { "distill", CONFIG, "--stage", "student" } },
    { "student-int8", { NULL }, { "export" }, has_quantize, run_alone, { "export", CONFIG, "--from", "student" } },
    { "federation", { "federation" }, { "federation" }, has_federation, run_federation, { "serve", CONFIG } },
    { "federated-int8", { "federated-int8" }, { "export" }, has_federation, run_alone, { "export", CONFIG, "--from", "federation" } },
};
static const char *const invite_line[] = { "federation", "invite", CONFIG, "--port", PORT, NULL };
static const char *const join_line[] = { "join", CONFIG, "--invite", INVITE, "--data-slice", SLICE, NULL };

/* ---- command lines ---- */

typedef struct words { const char *config, *port, *invite, *slice; } words;

static const char *word(const char *w, const words *by)
{
    return !strcmp(w, CONFIG) ? by->config : !strcmp(w, PORT) ? by->port : !strcmp(w, INVITE) ? by->invite : !strcmp(w, SLICE) ? by->slice : w;
}

/* argv of a child: [mpirun ...] this program, the line with its words replaced, every --set of ours. */
static void command_line(const runner *r, const char *const *line, const words *by, const char *ranks, const char *argv[ARGV_MAX])
{
    int n = 0;

    if (ranks) {
        const char *const mpi[] = { r->mpirun, "-n", ranks, "--bind-to", "none", "--oversubscribe" };
        for (size_t i = 0; i < sizeof mpi / sizeof *mpi; i++)
            argv[n++] = mpi[i];
    }
    argv[n++] = r->exe;
    for (; *line; line++)
        argv[n++] = word(*line, by);
    for (int i = 0; i < r->args->n_sets; i++) {
        argv[n++] = "--set";
        argv[n++] = r->args->set[i];
    }
    argv[n] = NULL;
}

static lmb_status start(const runner *r, lmb_child *c, const char *const *line, const words *by, const char *ranks, lmb_error *err)
{
    const char *env[4], *argv[ARGV_MAX];
    int n = 0;

    if (geteuid() == 0) { /* Open MPI wants to be told twice */
        env[n++] = "OMPI_ALLOW_RUN_AS_ROOT=1";
        env[n++] = "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1";
    }
    if (isatty(STDERR_FILENO))
        env[n++] = "LIMBECK_TERMINAL=1";
    env[n] = NULL;
    command_line(r, line, by, ranks, argv);
    return lmb_child_start(c, (char *const *)(size_t)argv, env, err);
}

static lmb_status stop_all(lmb_child *c, int n, lmb_error *err)
{
    fprintf(stderr, "\nstopping; once more Ctrl-C does not wait\n");
    lmb_children_end(c, n, PATIENCE_S, &interrupted);
    return LMB_FAIL(err, LMB_E_STOPPED, "stopped on request");
}

static lmb_status run_line(runner *r, const step *s, const char *ranks, lmb_error *err)
{
    /* At SIGTERM mpirun ends its ranks on a timetable of its own; SIGUSR1 it hands on, and they end when they have saved. */
    lmb_child c = { .name = s->name, .log = r->log, .stop = ranks ? SIGUSR1 : SIGTERM };
    words by = { .config = r->config };

    LMB_TRY(start(r, &c, s->argv, &by, ranks, err));
    while (!interrupted && lmb_children_tend(&c, 1, 200))
        ;
    if (interrupted)
        return stop_all(&c, 1, err);
    return c.exit_code == 0 ? LMB_OK : lmb_child_fail(&c, err);
}

static lmb_status run_alone(runner *r, const step *s, lmb_error *err) { return run_line(r, s, NULL, err); }

static lmb_status run_ranks(runner *r, const step *s, lmb_error *err)
{
    char ranks[16];

    snprintf(ranks, sizeof ranks, "%lld", (long long)r->job.c.launch.ranks);
    if (r->job.c.launch.ranks > 1 && !*r->mpirun)
        fprintf(stderr, "%s: one process, not %s: %s\n", s->name, ranks,
#ifdef LMB_HAVE_MPI
                "there is no mpirun on the PATH"
#else
                "this program was built without MPI"
#endif
        );
    return run_line(r, s, r->job.c.launch.ranks > 1 && *r->mpirun ? ranks : NULL, err);
}

static void find_mpirun(char out[LMB_STAGE_PATH])
{
    *out = 0;
#ifdef LMB_HAVE_MPI
    const char *p = getenv("PATH");
    for (size_t n; p && *p; p += n + (p[n] == ':')) {
        n = strcspn(p, ":");
        int k = snprintf(out, LMB_STAGE_PATH, "%.*s/mpirun", (int)n, p);
        if (n && k < LMB_STAGE_PATH && access(out, X_OK) == 0)
            return;
        *out = 0;
    }
#endif
}

/* ---- the federation: a server and its clients, on this machine ---- */

typedef struct fed {
    lmb_child child[LMB_CHILDREN_MAX]; /* 0: the server */
    char name[LMB_CHILDREN_MAX][16];
    bool told[LMB_CHILDREN_MAX];       /* its end has been reported */
    int n, clients;
    char port[8];
} fed;

static void on_server_line(void *ctx, const char *line)
{
    fed *f = ctx;
    const char *colon = strrchr(line, ':');

    printf("%s\n", line);
    fflush(stdout);
    dprintf(f->child[0].log, "%s\n", line);
    if (strncmp(line, "listening on ", 13) == 0 && colon)
        snprintf(f->port, sizeof f->port, "%.7s", colon + 1);
}

/* An invite is a secret: it goes to the client, not to a log. */
static void on_invite(void *ctx, const char *line)
{
    if (*line)
        snprintf(ctx, LMB_SERVER_INVITE, "%s", line);
}

/* Tend everything once; a client that failed is reported, the server decides what becomes of the round. */
static lmb_status tend(fed *f, lmb_error *err)
{
    int failed = 0;

    lmb_children_tend(f->child, f->n, 200);
    if (interrupted)
        return stop_all(f->child, f->n, err);
    for (int i = 1; i < f->n; i++) {
        lmb_error why = LMB_ERROR_INIT;
        if (f->child[i].running || (!f->child[i].exit_code && !f->child[i].signal))
            continue;
        failed++;
        if (!f->told[i] && lmb_child_fail(&f->child[i], &why) != LMB_OK)
            fprintf(stderr, "%s; the federation goes on without it\n", why.msg);
        f->told[i] = true;
    }
    if (f->child[0].running && f->clients && failed == f->clients) {
        lmb_error why = LMB_ERROR_INIT;
        lmb_status st = lmb_child_fail(&f->child[1], &why);
        lmb_children_end(f->child, f->n, PATIENCE_S, &interrupted);
        return LMB_FAIL(err, st, "no client is left; %.400s", why.msg);
    }
    return LMB_OK;
}

static lmb_status get_invite(runner *r, const fed *f, char invite[LMB_SERVER_INVITE], lmb_error *err)
{
    lmb_child c = { .name = "federation invite", .log = -1, .on_line = on_invite, .ctx = invite };
    words by = { r->config, f->port, NULL, NULL };

    *invite = 0;
    LMB_TRY(start(r, &c, invite_line, &by, NULL, err));
    while (lmb_children_tend(&c, 1, 200))
        ;
    if (c.exit_code || !*invite)
        return lmb_child_fail(&c, err);
    return LMB_OK;
}

static lmb_status start_clients(runner *r, fed *f, int k, lmb_error *err)
{
    for (int i = 0; i < k && f->child[0].running; i++) {
        char invite[LMB_SERVER_INVITE], slice[32];
        words by = { r->config, f->port, invite, slice };
        lmb_child *c = &f->child[f->n];

        LMB_TRY(get_invite(r, f, invite, err));
        snprintf(slice, sizeof slice, "%d/%d", i, k);
        snprintf(f->name[f->n], sizeof f->name[0], "client-%d", i);
        *c = (lmb_child){ .name = f->name[f->n], .log = r->log };
        LMB_TRY(start(r, c, join_line, &by, NULL, err));
        f->n++;
        LMB_TRY(tend(f, err));
    }
    f->clients = f->n - 1;
    return LMB_OK;
}

static lmb_status federate(runner *r, const step *s, fed *f, int k, lmb_error *err)
{
    words by = { .config = r->config };
    lmb_child *server = &f->child[0];

    *server = (lmb_child){ .name = s->name, .log = r->log, .on_line = on_server_line, .ctx = f };
    LMB_TRY(start(r, server, s->argv, &by, NULL, err));
    f->n = 1;
    while (!*f->port && server->running)
        LMB_TRY(tend(f, err));
    LMB_TRY(start_clients(r, f, k, err));
    while (server->running)
        LMB_TRY(tend(f, err));
    if (server->exit_code)
        return lmb_child_fail(server, err);
    /* The server has said goodbye to all that are connected; one that just is not gets no second chance. */
    double until = lmb_seconds() + GOODBYE_S;
    while (lmb_children_tend(f->child, f->n, 100) && lmb_seconds() < until && !interrupted)
        ;
    return LMB_OK;
}

static lmb_status run_federation(runner *r, const step *s, lmb_error *err)
{
    int k = (int)r->federation.clients;

    if (k >= LMB_CHILDREN_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "federation.clients is %d; `limbeck run` starts at most %d on one machine", k, LMB_CHILDREN_MAX - 1);
    fed *f = calloc(1, sizeof *f);
    if (!f)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a federation of %d clients", k);
    lmb_status st = federate(r, s, f, k, err);
    lmb_children_end(f->child, f->n, PATIENCE_S, &interrupted);
    free(f);
    return st;
}

/* ---- what is done, and what is not ---- */

static lmb_status chain(runner *r, const step *s, lmb_error *err)
{
    lmb_str text = LMB_STR_INIT;
    lmb_hasher h;

    for (int i = 0; i < 4 && s->sections[i]; i++) {
        const lmb_tree *t = lmb_tree_get(lmb_config_root(r->job.yaml), s->sections[i]);
        lmb_str_addf(&text, "%s:\n", s->sections[i]);
        if (t && lmb_tree_dump(t, 2, &text) != LMB_OK)
            break;
    }
    lmb_status st = lmb_str_check(&text, err);
    if (st == LMB_OK) {
        lmb_hash_begin(&h);
        lmb_hash_add_text(&h, r->hash);
        lmb_hash_add_text(&h, s->name);
        lmb_hash_add_text(&h, text.text ? text.text : "");
        lmb_hash sum = lmb_hash_end(&h);
        lmb_hash_hex(&sum, r->hash);
    }
    lmb_str_free(&text);
    return st;
}

typedef enum { ABSENT, EQUAL, DIFFERENT } marked;

static lmb_status read_mark(const runner *r, const step *s, const char *name, marked *out, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    void *text;
    size_t n;

    *out = ABSENT;
    LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, name, err));
    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, 4096, &text, &n, err));
    *out = n >= LMB_HASH_HEX - 1 && memcmp(text, r->hash, LMB_HASH_HEX - 1) == 0 ? EQUAL : DIFFERENT;
    free(text);
    return LMB_OK;
}

static lmb_status write_mark(const runner *r, const step *s, const char *name, lmb_error *err)
{
    char path[LMB_STAGE_PATH], text[LMB_HASH_HEX + 1];

    snprintf(text, sizeof text, "%s\n", r->hash);
    LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, name, err));
    return lmb_file_write(path, text, strlen(text), err);
}

/* Move the folders of a step to <run>/old-N: the first that is free, and the same for all steps of this run. */
static lmb_status move_away(runner *r, const step *s, const char *why, lmb_error *err)
{
    for (int i = 0; i < 3 && s->folders[i]; i++) {
        char from[LMB_STAGE_PATH], to[LMB_STAGE_PATH], old[32];

        snprintf(from, sizeof from, "%s/%s", r->job.c.run, s->folders[i]);
        if (!lmb_file_exists(from))
            continue;
        for (bool taken = !r->old; taken; taken = lmb_file_exists(to))
            snprintf(to, sizeof to, "%s/old-%d", r->job.c.run, ++r->old);
        snprintf(old, sizeof old, "old-%d", r->old);
        LMB_TRY(lmb_stage_path(to, r->job.c.run, old, "", err)); /* makes the folder */
        snprintf(to, sizeof to, "%s/%s/%s", r->job.c.run, old, s->folders[i]);
        if (rename(from, to))
            return LMB_FAIL(err, LMB_E_IO, "cannot move %s to %s: %s", from, to, strerror(errno));
        fprintf(stderr, "%s: %s; what was there is now in %s\n", s->name, why, to);
    }
    return LMB_OK;
}

static const char *clock_text(double s, char buf[32])
{
    if (s < 60)
        snprintf(buf, 32, "%.1f s", s);
    else
        snprintf(buf, 32, "%d min %02d s", (int)s / 60, (int)s % 60);
    return buf;
}

static lmb_status run_step(runner *r, const step *s, lmb_error *err)
{
    char path[LMB_STAGE_PATH], spent[32];
    marked started, done;
    double begun = lmb_seconds();

    LMB_TRY(chain(r, s, err));
    LMB_TRY(read_mark(r, s, "started", &started, err));
    LMB_TRY(read_mark(r, s, "done", &done, err));
    if (!r->fresh && done == EQUAL) {
        fprintf(stderr, "%s: done, reused\n", s->name);
        return LMB_OK;
    }
    if (started != ABSENT && (r->fresh || started == DIFFERENT))
        LMB_TRY(move_away(r, s, r->fresh ? "--fresh" : "the configuration has changed", err));
    LMB_TRY(write_mark(r, s, "started", err));
    LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, "log.txt", err));
    r->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (r->log < 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot open %s: %s", path, strerror(errno));
    fprintf(stderr, "%s: %s\n", s->name, started == EQUAL && !r->fresh ? "was interrupted, goes on" : "begins");
    lmb_status st = s->run(r, s, err);
    close(r->log);
    LMB_TRY(st);
    fprintf(stderr, "%s: done in %s\n", s->name, clock_text(lmb_seconds() - begun, spent));
    return write_mark(r, s, "done", err);
}

/* ---- the run ---- */

static lmb_status report(const runner *r, const lmb_str *config, lmb_error *err)
{
    char path[LMB_STAGE_PATH];

    LMB_TRY(lmb_path_join(path, sizeof path, r->job.c.run, "config.yaml", err));
    LMB_TRY(lmb_file_write(path, config->text, config->n, err));
    return lmb_report_write(r->job.c.run, config->text, err);
}

static lmb_status run_steps(runner *r, lmb_error *err)
{
    lmb_str config = LMB_STR_INIT;
    int n = 0;

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (!steps[i].wanted(&r->job))
            continue;
        LMB_TRY(run_step(r, &steps[i], err));
        n++;
    }
    if (!n)
        return LMB_FAIL(err, LMB_E_ARG, "%s has no stages (teacher, student, federation); `limbeck train` trains a single model", r->config);
    lmb_status st = lmb_job_dump(&r->job, &config, err);
    if (st == LMB_OK)
        st = report(r, &config, err);
    lmb_str_free(&config);
    return st;
}

/* Two runs in one folder would undo each other's work. The lock goes with the process. */
static lmb_status lock_run(const char *run, int *lock, lmb_error *err)
{
    char path[LMB_STAGE_PATH];

    LMB_TRY(lmb_file_make_dirs(run, err));
    LMB_TRY(lmb_path_join(path, sizeof path, run, "lock", err));
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*lock < 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(*lock, LOCK_EX | LOCK_NB)) {
        close(*lock);
        return LMB_FAIL(err, LMB_E_ARG, "another `limbeck run` works in %s; wait for it, or choose a folder with --set run=...", run);
    }
    return LMB_OK;
}

static lmb_status run_job(runner *r, lmb_error *err)
{
    struct sigaction act = { .sa_handler = on_signal }; /* no SA_RESTART: poll is to notice */
    int lock = -1;

    ssize_t n = readlink("/proc/self/exe", r->exe, sizeof r->exe - 1);
    if (n < 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot find this program in /proc/self/exe: %s", strerror(errno));
    r->exe[n] = 0;
    find_mpirun(r->mpirun);
    if (r->job.c.federation) { /* a typing error shows now, not when the teacher is done */
        lmb_server_config server;
        LMB_TRY(lmb_federation_of(&r->job, &r->federation, err));
        LMB_TRY(lmb_fields_bind(lmb_server_fields, r->federation.server, &server, err));
    }
    LMB_TRY(lock_run(r->job.c.run, &lock, err));
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
    lmb_status st = run_steps(r, err);
    if (st == LMB_E_STOPPED)
        fprintf(stderr, "stopped; the same command goes on from here\n");
    close(lock);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "!fresh", NULL };
    lmb_args a;
    runner r = { .args = &a };

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    r.config = a.word[0];
    r.fresh = lmb_args_get(&a, "fresh", NULL) != NULL;
    LMB_TRY(lmb_job_open(r.config, &a, LMB_JOB_DATA_ONLY, &r.job, err));
    lmb_status st = run_job(&r, err);
    lmb_job_close(&r.job);
    return st;
}

const lmb_cmd lmb_cmd_run = { "run", "all stages of a configuration, and a report", usage, run };
