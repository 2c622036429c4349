/* launch/cmd_run.c - `limbeck run`: all stages of a configuration, in order, and a report.
 *
 * Idea: a stage is a command line of this very program, started as a child: what a run does can be done by hand, and
 * a stage that crashes takes nothing with it. The table below is all there is to know about the stages; run_marks.c
 * says which of them are done, run_child.c and run_federation.c start them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "launch/lock.h"
#include "launch/report.h"
#include "launch/run.h"
#include "launch/signals.h"

static const char usage[] =
    "usage: limbeck run CONFIG.yaml [--fresh] [--set key=value ...]\n\n"
    "Runs every stage that the configuration has: teacher, student, export, federation with its clients, export of its result;\n"
    "then writes <run>/report.html and <run>/summary.json. Stages that are done are reused; an interrupted one goes on where\n"
    "it was. Ctrl-C stops with exit code 3 and all state saved: the same command goes on.\n\n"
    "  --fresh            do all stages again; earlier results are kept in <run>/old-N\n"
    "  --set key=value    change any key, e.g. --set launch.ranks=4 --set teacher.train.epochs=3\n\n"
    "Training stages run under `mpirun -n launch.ranks`. Each stage's output is kept in <run>/<stage>/log.txt.\n";

/* ---- the stages ---- */

static bool has_teacher(const lmb_job *j) { return j->c.teacher != NULL; }
static bool has_student(const lmb_job *j) { return j->c.student != NULL; }
static bool has_quantize(const lmb_job *j) { return lmb_tree_has(j->c.student, "quantize"); }
static bool stays_float(const lmb_job *j) { return has_student(j) && !has_quantize(j); }
static bool has_federation(const lmb_job *j) { return j->c.federation != NULL; }

static const lmbi_step steps[] = {
    { "teacher",
      { "teacher", "teacher-*" }, /* an update of it, too */
      { "data", "split", "teacher" },
      { "teacher/model.onnx", "teacher/stage.json" },
      has_teacher,
      lmbi_run_ranks,
      { "train", LMBI_CONFIG, "--stage", "teacher" } },
    { "student",
      { "student", "student-*" },
      { "data", "split", "student" },
      { "student/model.onnx", "student/stage.json" },
      stays_float,
      lmbi_run_ranks,
      { "distill", LMBI_CONFIG, "--stage", "student" } },
    { "student",
      { "student", "student-*" },
      { "data", "split", "student" },
      { "student/model.onnx", "student/stage.json", "student-int8/qat.onnx" },
      has_quantize,
      lmbi_run_ranks,
      { "distill", LMBI_CONFIG, "--stage", "student" } },
    { "student-int8",
      { NULL },
      { NULL },
      { "student-int8/model.lmb", "student-int8/stage.json" },
      has_quantize,
      lmbi_run_alone,
      { "export", LMBI_CONFIG, "--from", "student" } },
    { "federation",
      { "federation" },
      { "federation" },
      { "federation/model.onnx" },
      has_federation,
      lmbi_run_federation,
      { "serve", LMBI_CONFIG } },
    { "federated-int8",
      { "federated-int8" },
      { NULL },
      { "federated-int8/model.lmb", "federated-int8/stage.json" },
      has_federation,
      lmbi_run_alone,
      { "export", LMBI_CONFIG, "--from", "federation" } },
};

static const char *clock_text(double s, char buf[32])
{
    if (s < 60)
        snprintf(buf, 32, "%.1f s", s);
    else
        snprintf(buf, 32, "%d min %02d s", (int)s / 60, (int)s % 60);
    return buf;
}

static lmb_status run_step(lmbi_run *r, const lmbi_step *s, lmb_error *err)
{
    char path[LMB_STAGE_PATH], spent[32];
    lmbi_progress left;
    double begun = lmb_seconds();

    LMB_TRY(lmbi_run_progress(r, s, &left, err));
    if (!r->fresh && left == LMBI_DONE) {
        fprintf(stderr, "%s: done, reused\n", s->name);
        return lmbi_run_done(r, s, true, err);
    }
    bool other = left == LMBI_OTHER || left == LMBI_OTHER_INPUTS;
    if (left != LMBI_ABSENT && (r->fresh || other))
        LMB_TRY(lmbi_run_move_away(r, s,
                                   r->fresh             ? "--fresh"
                                   : left == LMBI_OTHER ? "the configuration has changed"
                                                        : "what it builds on has changed",
                                   err));
    LMB_TRY(lmbi_run_started(r, s, err));
    LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, "log.txt", err));
    r->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (r->log < 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot open %s: %s", path, strerror(errno));
    fprintf(stderr, "%s: %s\n", s->name, left == LMBI_BEGUN && !r->fresh ? "was interrupted, goes on" : "begins");
    lmb_status st = s->run(r, s, err);
    close(r->log);
    LMB_TRY(st);
    fprintf(stderr, "%s: done in %s\n", s->name, clock_text(lmb_seconds() - begun, spent));
    return lmbi_run_done(r, s, false, err);
}

/* ---- the run ---- */

static lmb_status report(const lmbi_run *r, const lmb_str *config, lmb_error *err)
{
    const char *wanted[sizeof steps / sizeof *steps + 1];
    char path[LMB_STAGE_PATH];
    int n = 0;

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (steps[i].wanted(&r->job))
            wanted[n++] = steps[i].name;
    wanted[n] = NULL;
    LMB_TRY(lmb_path_join(path, sizeof path, r->job.c.run, "config.yaml", err));
    LMB_TRY(lmb_file_write(path, config->text, config->n, err));
    return lmb_report_write(r->job.c.run, wanted, config->text, err);
}

static lmb_status run_steps(lmbi_run *r, lmb_error *err)
{
    lmb_str config = LMB_STR_INIT;

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (steps[i].wanted(&r->job))
            LMB_TRY(run_step(r, &steps[i], err));
    }
    lmb_status st = lmb_job_dump(&r->job, &config, err);
    if (st == LMB_OK)
        st = report(r, &config, err);
    lmb_str_free(&config);
    return st;
}

static lmb_status run_job(lmbi_run *r, lmb_error *err)
{
    if (!has_teacher(&r->job) && !has_student(&r->job) && !has_federation(&r->job))
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s has no stages (teacher, student, federation); `limbeck train` trains a single model",
                        r->config);
    LMB_TRY(lmbi_run_find_programs(r, err));
    LMB_TRY(lmb_job_check(r->config, r->args, NULL, true,
                          err)); /* a typing error shows now, not after the teacher's hours */
    if (r->job.c.federation)
        LMB_TRY(lmb_federation_of(&r->job, &r->federation, err));
    if (r->job.c.federation && !has_quantize(&r->job))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "the federation of `limbeck run` improves the quantised student; give the configuration `student.quantize`");
    if (r->job.c.federation && !r->job.c.split.clients)
        return LMB_FAIL(err, LMB_E_ARG, "split.clients is 0: there are no samples for the clients of the federation");
    lmb_signals_catch(NULL);
    signal(SIGPIPE, SIG_IGN);
    lmb_status st = lmb_lock(r->job.c.run, 2 * LMBI_RUN_PATIENCE_S, lmb_interruptions(), &r->lock, err);
    if (st == LMB_OK)
        st = run_steps(r, err);
    if (st == LMB_E_STOPPED)
        fprintf(stderr, "stopped; the same command goes on from here\n");
    lmb_unlock(r->lock);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "!fresh", NULL };
    lmb_args a;
    lmbi_run r = { .args = &a, .interrupted = lmb_interruptions(), .lock = -1 };

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
