/* launch/cmd_tune.c - `limbeck tune`: which settings are best. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "launch/lock.h"
#include "launch/runner.h"
#include "launch/signals.h"
#include "launch/stage.h"
#include "launch/terminal.h"
#include "launch/tune.h"

static const char usage[] =
    "usage: limbeck tune CONFIG.yaml [--fresh] [--set key=value ...]\n"
    "       mpirun -n 4 limbeck tune CONFIG.yaml ...       trials of a round side by side, with the same outcome\n\n"
    "Trains a stage again and again with other settings and says which are best. Section `tune`: stage (teacher or "
    "student), space\n"
    "(keys as --set takes them, each with a range), method (random, grid, bayes, nsga2, pso, halving; `limbeck list methods`), "
    "trials, folds\n"
    "(cross-validation), cost (latency, bytes or macs of the deployed model, for a front), stop. Scores are accuracies "
    "on the\n"
    "validation part, or on the folds that were held out; the test part has no say.\n\n"
    "Leaves in <run>/tune: tune.json and report.html (all trials, the front, what matters), best.yaml (for train, "
    "distill, run) and\n"
    "the journal. Stopped at any instant, the same command goes on; more `trials` continue a search that has ended; "
    "--fresh begins\n"
    "again, with the latencies. Exit code 3 says that it was stopped. See docs/tune.md.\n";

/* ---- what the search asks for ---- */

typedef lmbi_tune request;

typedef struct running {
    request *r;
    lmb_tune_follow *follow;
    double sum;
    bool enough;
} running;

static bool on_epoch(void *ctx, double best, bool last)
{
    running *u = ctx;
    const request *r = u->r;
    u->enough = !lmb_tune_epoch(u->follow, r->fold, (u->sum + best) / (r->fold + 1), last && r->fold + 1 == r->folds.n);
    return !u->enough;
}

static bool on_step(void *ctx, double share)
{
    request *r = ((running *)ctx)->r;
    char title[64], figures[64] = "";

    if (r->rank == 0) {
        snprintf(title, sizeof title, "trial %d%s", r->trial, r->ranks > 1 ? " and those of the other ranks" : "");
        if (r->best > 0)
            snprintf(figures, sizeof figures, "best so far %.2f %%", 100 * r->best);
        lmb_progress_show(&r->bar, title, (int64_t)(1000 * (r->fold + share)), 1000 * r->folds.n, figures);
    }
    return !lmb_interrupted();
}

static lmb_status train(void *ctx, int id, const double *x, lmb_tune_follow *follow, double *score, double *spread,
                        lmb_error *err)
{
    request *r = ctx;
    running u = { r, follow, 0, false };
    lmb_trial_watch watch = { on_epoch, on_step, &u };
    double one = 0, squares = 0;
    lmb_job j;

    LMB_TRY(lmbi_tune_job(r, x, &j, err));
    lmb_status st = LMB_OK;
    j.stage.train.epochs = lmbi_tune_epochs(r, id, j.stage.train.epochs);
    r->trial = id;
    for (r->fold = 0; st == LMB_OK && r->fold < r->folds.n && !u.enough; r->fold++) {
        st = lmb_trial_train(&j, r->folds.train[r->fold], r->folds.held_out[r->fold], r->threads, &watch, NULL, &one,
                             err);
        u.sum += one;
        squares += one * one;
    }
    *score = u.sum / r->fold;
    *spread = r->fold > 1 ? sqrt(fmax(squares - u.sum * u.sum / r->fold, 0) / (r->fold - 1)) : 0;
    lmb_recipe_close(&j);
    return st;
}

static lmb_status cost(void *ctx, const double *x, double *out, lmb_error *err)
{
    request *r = ctx;
    lmb_graph *model = NULL;
    lmb_job j;

    LMB_TRY(lmbi_tune_job(r, x, &j, err));
    lmb_status st = lmb_trial_model(&j, &model, err);
    lmb_recipe_close(&j);
    if (st == LMB_OK)
        st = lmbi_tune_cost(r, model, out, err);
    lmb_graph_destroy(model);
    return st;
}

static void on_done(void *ctx, const lmb_trials *all, int trial)
{
    request *r = ctx;
    const lmb_trial *t = &all->trial[trial];
    int best = lmb_trials_best(all);
    lmb_str s = LMB_STR_INIT;
    const lmb_tune_request q = lmbi_tune_asked(r);
    int64_t left = lmb_tune_budget(&q) - all->n;

    r->best = best < 0 ? 0 : all->trial[best].score;
    r->done_here++;
    lmb_str_addf(&s, "trial %d: ", trial);
    if (t->failed)
        lmb_str_addf(&s, "failed: %s;", t->why);
    else
        lmb_str_addf(&s, "%.2f %%%s", 100 * t->score,
                     t->hopeless    ? " so far, stopped as hopeless;"
                     : t->same >= 0 ? " as before;"
                                    : "");
    if (t->share < 1)
        lmb_str_addf(&s, " after %.3g %% of the epochs;", 100 * t->share);
    if (t->cost > 0)
        lmb_str_addf(&s, " %.6g %s;", t->cost, r->c.cost == LMB_TUNE_COST_LATENCY ? "us" : lmb_tune_costs[r->c.cost]);
    lmb_str_add(&s, " ");
    lmb_tune_values(&r->space, t->x, &s);
    if (best >= 0)
        lmb_str_addf(&s, "; best is trial %d with %.2f %%", best, 100 * r->best);
    if (left > 0)
        lmb_str_addf(&s, "; %lld to go, about %.0f s", (long long)left,
                     (double)left * (lmb_seconds() - r->started) / r->done_here);
    lmb_progress_line(&r->bar, s.text ? s.text : "");
    lmb_progress_begin(&r->bar);
    lmb_str_free(&s);
}

/* ---- the whole ---- */

static lmb_status leave(request *r, const lmb_trials *all, lmb_error *err)
{
    int best = lmb_trials_best(all);
    lmb_str config = LMB_STR_INIT;
    lmb_job j = { 0 };
    lmb_status st = lmb_job_dump(&r->job, &config, err);

    if (st == LMB_OK && best >= 0)
        st = lmbi_tune_job(r, all->trial[best].x, &j, err);
    const lmb_tune_request q = lmbi_tune_asked(r);
    int64_t budget = lmb_tune_budget(&q) > all->n ? lmb_tune_budget(&q) : all->n; /* the journal may have more */
    const lmb_tune_end e = { &r->c, &r->space, r->method, all, budget, r->folder, config.text, j.yaml };
    if (st == LMB_OK)
        st = lmb_tune_leave(&e, err);
    lmb_recipe_close(&j);
    lmb_str_free(&config);
    return st;
}

/* The trials, what they came to, and the time that they took, which counts against `seconds`; latencies are still those
 * of this machine. */
static const char *const left_behind[] = { "best.yaml",   "report.html",   "tune.json",
                                           "times.jsonl", "journal.jsonl", NULL };

static lmb_status search_as(request *r, const char *identity, lmb_comm *comm, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    lmb_trials all;

    if (r->fresh && r->rank == 0)
        LMB_TRY(lmb_trials_forget(r->folder, left_behind, err));
    LMB_TRY(lmb_path_join(path, sizeof path, r->folder, "latency.jsonl", err));
    if (r->c.cost == LMB_TUNE_COST_LATENCY && r->rank == 0)
        LMB_TRY(lmb_latency_open(path, false, NULL, &r->latency, err));
    const lmb_tune_request q = { &r->c, &r->space, r->method, r->options, r->folder, identity, comm, train,
                                 r->c.cost ? cost : NULL, on_done, r };
    lmb_progress_begin(&r->bar);
    r->started = lmb_seconds();
    lmb_status st = lmb_tune_run(&q, &all, err);
    lmb_progress_end(&r->bar);
    if (st == LMB_E_STOPPED && r->rank == 0)
        fprintf(stderr, "stopped; the same command goes on after the last trial\n");
    LMB_TRY(st);
    if (r->rank == 0)
        st = leave(r, &all, err);
    lmb_trials_free(&all);
    return st;
}

static lmb_status search(request *r, lmb_comm *comm, lmb_error *err)
{
    lmb_str identity = LMB_STR_INIT;
    lmb_status st = lmbi_tune_identity(r, &identity, err);

    if (st == LMB_OK)
        st = search_as(r, identity.text, comm, err);
    lmb_str_free(&identity);
    return st;
}

static lmb_status tune(void *ctx, lmb_comm *comm, lmb_error *err)
{
    request *r = ctx;
    int lock = -1;

    r->rank = comm->rank;
    r->ranks = comm->size;
    r->threads = (lmb_cpu_count() + comm->size - 1) / comm->size;
    LMB_TRY(lmb_stage_path(r->folder, r->job.c.run, "tune", "", err));
    if (r->rank == 0)
        LMB_TRY(lmb_lock(r->folder, 60, NULL, &lock, err));
    lmb_signals_catch(NULL);
    lmb_status st = search(r, comm, err);
    lmb_unlock(lock);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known_options[] = { "!fresh", NULL };
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known_options, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    request *r = calloc(1, sizeof *r);
    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to search");
    r->fresh = lmb_args_get(&a, "fresh", NULL) != NULL;
    lmb_status st = lmbi_tune_open(r, a.word[0], &a, err);
    if (st == LMB_OK)
        st = lmb_with_ranks(tune, r, err);
    lmbi_tune_close(r);
    free(r);
    return st;
}

const lmb_cmd lmb_cmd_tune = { "tune", "the best settings of a recipe, by trials", usage, run };
