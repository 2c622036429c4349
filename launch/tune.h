/* launch/tune.h - what a search over recipes (distill/tune) leaves for people and scripts.
 *
 *   <run>/tune/tune.json     every trial, the best, and what its keys are worth
 *   <run>/tune/report.html   the same to look at
 *   <run>/tune/best.yaml     the configuration with the best settings, without `tune`: for train, distill and run;
 *                            of no trial that ended there is none
 *   <run>/tune/journal.jsonl, costs.jsonl, times.jsonl   trials as they came in, costs as they were measured, seconds
 *
 * tune.json says nothing about when or how long: two searches with the same decisions leave the same bytes.
 */
#ifndef LMB_LAUNCH_TUNE_H
#define LMB_LAUNCH_TUNE_H

#include "distill/search/latency.h"
#include "distill/tune/tune.h"
#include "launch/stage.h"
#include "launch/terminal.h"
#include "launch/trial.h"

typedef struct lmb_tune_end {
    const lmb_tune_config *c;
    const lmb_space *space;
    const lmb_method *method;
    const lmb_trials *all;
    int64_t budget;              /* trials that there would be without `seconds` */
    const char *folder, *config; /* config: resolved, as YAML */
    lmb_config *best;            /* the configuration with the best settings; NULL: no trial ended */
} lmb_tune_end;
/* Write the three files and say the answer; the last line on stdout is the path of tune.json. */
LMB_MUST_CHECK lmb_status lmb_tune_leave(const lmb_tune_end *e, lmb_error *err);
/* For `limbeck config check`. */
LMB_MUST_CHECK lmb_status lmb_tune_check(const char *path, const lmb_args *a, bool quiet, lmb_error *err);

/* The values of a trial: "train.lr=0.03 model.width=16". */
void lmb_tune_values(const lmb_space *s, const double *x, lmb_str *out);
void lmb_tune_page(const lmb_tune_end *e, lmb_str *out);

/* ---- what the files of the command share ---- */

typedef struct lmbi_tune {
    lmb_args args;
    lmb_recipe recipe;
    lmb_job job; /* as the file is: data and split */
    lmb_tune_config c;
    lmb_space space;
    const lmb_method *method;
    _Alignas(16) unsigned char options[LMB_METHOD_CONFIG];
    lmb_folds folds;
    lmb_latency *latency;
    lmb_progress bar;
    int rank, ranks, threads, trial, fold, done_here;
    double started, best;
    char folder[LMB_STAGE_PATH];
    bool fresh;
} lmbi_tune;

/* ---- tune_setup.c ---- */
/* Everything that would else be found out in the middle of the work. On failure too, lmbi_tune_close. */
LMB_MUST_CHECK lmb_status lmbi_tune_open(lmbi_tune *r, const char *path, const lmb_args *a, lmb_error *err);
void lmbi_tune_close(lmbi_tune *r);
/* The file with the sets of the command line, and those of a point; lmb_recipe_close. */
LMB_MUST_CHECK lmb_status lmbi_tune_job(const lmbi_tune *r, const double *x, lmb_job *out, lmb_error *err);
/* What is searched for, without who does it and where. */
lmb_tune_request lmbi_tune_asked(const lmbi_tune *r);
/* Of the epochs that a trial's recipe has, those that it gets: at least 1. */
int64_t lmbi_tune_epochs(const lmbi_tune *r, int trial, int64_t epochs);
/* What all decisions depend on, as hex; not how many trials or seconds there may be. */
LMB_MUST_CHECK lmb_status lmbi_tune_identity(const lmbi_tune *r, struct lmb_str *out, lmb_error *err);

/* ---- tune_cost.c ---- */
LMB_MUST_CHECK lmb_status lmbi_tune_cost(lmbi_tune *r, const lmb_graph *model, double *out, lmb_error *err);

#endif
