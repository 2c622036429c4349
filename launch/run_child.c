/* launch/run_child.c - a stage is a command line of this very program, started as a child, under mpirun or not. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/run.h"

enum { ARGV_MAX = 2 * LMB_ARGS_MAX + 32 };

static const char *word(const char *w, const lmbi_words *by)
{
    return !strcmp(w, LMBI_CONFIG)   ? by->config
           : !strcmp(w, LMBI_PORT)   ? by->port
           : !strcmp(w, LMBI_INVITE) ? by->invite
           : !strcmp(w, LMBI_SLICE)  ? by->slice
                                     : w;
}

/* argv of a child: [mpirun ...] this program, the line with its words replaced, every --set of ours. */
static void command_line(const lmbi_run *r, const char *const *line, const lmbi_words *by, const char *ranks,
                         const char *argv[ARGV_MAX])
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

lmb_status lmbi_run_start(const lmbi_run *r, lmb_child *c, const char *const *line, const lmbi_words *by,
                          const char *ranks, lmb_error *err)
{
    const char *env[5], *argv[ARGV_MAX];
    int n = 0;

    if (geteuid() == 0) { /* Open MPI wants to be told twice */
        env[n++] = "OMPI_ALLOW_RUN_AS_ROOT=1";
        env[n++] = "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1";
    }
    if (isatty(STDERR_FILENO))
        env[n++] = "LIMBECK_TERMINAL=1";
    if (!ranks) /* one process is meant, whatever the allocation */
        env[n++] = "SLURM_NTASKS=1";
    env[n] = NULL;
    command_line(r, line, by, ranks, argv);
    c->keep = r->lock; /* whoever comes after `kill -9` waits for it */
    return lmb_child_start(c, (char *const *)(size_t)argv, env, err);
}

lmb_status lmbi_run_stop(const lmbi_run *r, lmb_child *c, int n, lmb_error *err)
{
    fprintf(stderr, "\nstopping; once more Ctrl-C does not wait\n");
    lmb_children_end(c, n, LMBI_RUN_PATIENCE_S, r->interrupted);
    return LMB_FAIL(err, LMB_E_STOPPED, "stopped on request");
}

static lmb_status run_line(lmbi_run *r, const lmbi_step *s, const char *ranks, lmb_error *err)
{
    /* At SIGTERM mpirun ends its ranks on a timetable of its own; SIGUSR1 it hands on, and they end when they have
     * saved. */
    lmb_child c = { .name = s->name, .log = r->log, .stop = ranks ? SIGUSR1 : SIGTERM };
    lmbi_words by = { .config = r->config };

    LMB_TRY(lmbi_run_start(r, &c, s->argv, &by, ranks, err));
    while (!*r->interrupted && lmb_children_tend(&c, 1, 200))
        ;
    if (*r->interrupted)
        return lmbi_run_stop(r, &c, 1, err);
    return c.exit_code == 0 ? LMB_OK : lmb_child_fail(&c, err);
}

lmb_status lmbi_run_alone(lmbi_run *r, const lmbi_step *s, lmb_error *err) { return run_line(r, s, NULL, err); }

lmb_status lmbi_run_ranks(lmbi_run *r, const lmbi_step *s, lmb_error *err)
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

lmb_status lmbi_run_find_programs(lmbi_run *r, lmb_error *err)
{
    ssize_t n = readlink("/proc/self/exe", r->exe, sizeof r->exe - 1);
    if (n < 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot find this program in /proc/self/exe: %s", strerror(errno));
    r->exe[n] = 0;
    find_mpirun(r->mpirun);
    return LMB_OK;
}
