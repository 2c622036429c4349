/* launch/tune_setup.c - a search over recipes: is it sound, and what is a trial's configuration. See tune.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "distill/search/deployed.h"
#include "distill/search/identity.h"
#include "launch/tune.h"
#include "train/loss.h"

static const char *stage_of(const lmbi_tune *r) { return *r->c.stage ? r->c.stage : NULL; }

/* ---- a trial's configuration ---- */

/* The file with the sets of the command line, and those of a point. */
lmb_status lmbi_tune_job(const lmbi_tune *r, const double *x, lmb_job *out, lmb_error *err)
{
    lmb_args a = r->args;
    lmb_str set[LMB_TUNE_DIMS] = { LMB_STR_INIT };
    lmb_status st = LMB_OK;

    for (int d = 0; d < r->space.n && st == LMB_OK; d++) {
        lmb_str_addf(&set[d], "%s=", r->space.param[d].key);
        lmb_param_text(&r->space.param[d], x[d], &set[d]);
        st = lmb_str_check(&set[d], err);
        a.set[a.n_sets++] = set[d].text;
    }
    if (st == LMB_OK)
        st = lmb_recipe_job(&r->recipe, &a, stage_of(r), &r->job, out, err);
    for (int d = 0; d < r->space.n; d++)
        lmb_str_free(&set[d]);
    return st;
}

lmb_tune_request lmbi_tune_asked(const lmbi_tune *r)
{
    return (lmb_tune_request){ .c = &r->c, .space = &r->space, .method = r->method, .method_config = r->options };
}

int64_t lmbi_tune_epochs(const lmbi_tune *r, int trial, int64_t epochs)
{
    const lmb_tune_request q = lmbi_tune_asked(r);
    int64_t some = llround(lmb_tune_rung(&q, trial).share * (double)epochs);

    return some < 1 ? 1 : some;
}

/* The middle of the space, then every choice of a key, or both ends of its range, with the others in the middle. */
static lmb_status each_point(const lmbi_tune *r,
                             lmb_status (*look)(void *ctx, const lmbi_tune *r, const double *x, bool middle,
                                                lmb_error *err),
                             void *ctx, lmb_error *err)
{
    double middle[LMB_TUNE_DIMS], x[LMB_TUNE_DIMS];

    for (int d = 0; d < r->space.n; d++)
        middle[d] = lmb_param_snap(&r->space.param[d], 0.5);
    LMB_TRY(look(ctx, r, middle, true, err));
    for (int d = 0; d < r->space.n; d++) {
        const lmb_param *p = &r->space.param[d];
        int64_t n = p->kind == LMB_PARAM_CHOICE ? p->n : 2;
        memcpy(x, middle, sizeof x);
        for (int64_t k = 0; k < n; k++) {
            x[d] = lmb_param_snap(p, n > 1 ? (double)k / (double)(n - 1) : 0.5);
            if (p->kind == LMB_PARAM_CHOICE)
                x[d] = lmb_param_cell(p, k);
            if (look(ctx, r, x, false, err) != LMB_OK)
                return lmb_error_context(err, "tune.space, at an end of %s", p->key);
        }
    }
    return LMB_OK;
}

/* ---- is it sound? ---- */

/* Rungs differ in their epochs, or they would be the same trials again. */
static lmb_status check_rungs(const lmbi_tune *r, const lmb_job *j, lmb_error *err)
{
    const lmb_tune_request q = lmbi_tune_asked(r);
    double share = lmb_tune_rung(&q, 0).share;

    if (share * (double)j->stage.train.epochs >= 1)
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_ARG,
                    "the first rung of %s has 1/%.0f of the epochs, and there are %lld: give `train` %.0f or more, or "
                    "fewer rungs",
                    r->method->name, 1 / share, (long long)j->stage.train.epochs, 1 / share);
}

static lmb_status check_stage(const lmbi_tune *r, lmb_error *err)
{
    if (*r->c.stage ? strcmp(r->c.stage, "teacher") != 0 && strcmp(r->c.stage, "student") != 0 : !r->job.c.model)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "tune.stage is '%s'; it is teacher or student, or nothing where the file has a `model` of its own",
            r->c.stage);
    return LMB_OK;
}

/* Only what the stage's model and training depend on may change: another data set or split would be another question.
 */
static lmb_status check_keys(const lmbi_tune *r, lmb_error *err)
{
    char inside[3][32];
    const char *dot = *r->c.stage ? "." : "";

    snprintf(inside[0], sizeof inside[0], "%.16s%smodel", r->c.stage, dot);
    snprintf(inside[1], sizeof inside[1], "%.16s%strain.", r->c.stage, dot);
    snprintf(inside[2], sizeof inside[2], "%.16s%sdistill.", r->c.stage, dot);
    for (int d = 0; d < r->space.n; d++) {
        const lmb_param *p = &r->space.param[d];
        int in = -1;
        for (int i = 0; i < (strcmp(r->c.stage, "student") == 0 ? 3 : 2); i++)
            if (strncmp(p->key, inside[i], strlen(inside[i])) == 0)
                in = i;
        if (in < 0)
            return lmb_tree_fail(p->place, err, LMB_E_ARG,
                                 "'%s' is no key of what is trained; those begin with %s, %s%s%s", p->key, inside[0],
                                 inside[1], strcmp(r->c.stage, "student") == 0 ? ", " : "",
                                 strcmp(r->c.stage, "student") == 0 ? inside[2] : "");
        if (strchr(p->key, '='))
            return lmb_tree_fail(p->place, err, LMB_E_ARG, "a key has no '='");
    }
    return LMB_OK;
}

/* A point whose settings are refused, or whose keys are not known, is found out before any work; that layers do not fit
 * together there (E_SHAPE) is for the trials. */
static lmb_status check_point(void *ctx, const lmbi_tune *r, const double *x, bool middle, lmb_error *err)
{
    lmb_graph *model = NULL;
    lmb_error local = LMB_ERROR_INIT;
    lmb_deployed d;
    lmb_job j;

    (void)ctx;
    LMB_TRY(lmbi_tune_job(r, x, &j, err));
    lmb_status st = lmb_trial_model(&j, &model, &local);
    if (st == LMB_OK && middle)
        st = check_rungs(r, &j, &local);
    if (st == LMB_OK && middle)
        st = lmb_job_check_training(&j.stage.train, model, r->folds.train[0], &local);
    if (st == LMB_OK && middle && strcmp(r->c.stage, "student") == 0)
        st = lmb_distill_check_job(&j, model, &local);
    if (st == LMB_OK && middle && r->c.cost) {
        st = lmb_deployed_sketch(model, NULL, &d, &local);
        if (st == LMB_OK)
            lmb_deployed_free(&d);
    }
    lmb_graph_destroy(model);
    lmb_recipe_close(&j);
    return st == LMB_OK || (st == LMB_E_SHAPE && !middle) ? LMB_OK : LMB_FAIL(err, st, "%s", local.msg);
}

/* Samples of one fold: as `train` would have them. */
static lmb_status open_samples(lmbi_tune *r, lmb_error *err)
{
    lmb_job *j = &r->job;

    LMB_TRY(lmb_job_data(j, err));
    LMB_TRY(lmb_job_training(j, err));
    if (r->c.folds > 1)
        return lmb_folds_open(j, (int)r->c.folds, (uint64_t)r->c.seed, &r->folds, err);
    if (!j->validation)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "split.validation is 0, and trials are scored on it; give it samples, or tune.folds of 2 or more");
    r->folds.n = 1;
    r->folds.train[0] = j->train;
    r->folds.held_out[0] = j->validation;
    return LMB_OK;
}

lmb_status lmbi_tune_open(lmbi_tune *r, const char *path, const lmb_args *a, lmb_error *err)
{
    r->args = *a;
    LMB_TRY(lmb_recipe_read(path, &r->recipe, err));
    LMB_TRY(lmb_recipe_job(&r->recipe, a, LMB_JOB_DATA_ONLY, NULL, &r->job, err));
    if (!r->job.c.tune)
        return LMB_FAIL(err, LMB_E_ARG, "the configuration has no section `tune`; docs/tune.md shows one");
    LMB_TRY(lmb_fields_bind(lmb_tune_fields, r->job.c.tune, &r->c, err));
    LMB_TRY(check_stage(r, err));
    LMB_TRY(lmb_space_read(r->c.space, &r->space, err));
    LMB_TRY(lmb_method_bind(r->c.method, &r->method, r->options, err));
    const lmb_tune_request q = lmbi_tune_asked(r);
    LMB_TRY(lmb_tune_request_check(&q, err));
    if (a->n_sets + r->space.n > LMB_ARGS_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "%d --set and %d keys of tune.space; together at most %d", a->n_sets,
                        r->space.n, LMB_ARGS_MAX);
    LMB_TRY(check_keys(r, err));
    LMB_TRY(open_samples(r, err));
    return each_point(r, check_point, NULL, err);
}

void lmbi_tune_close(lmbi_tune *r)
{
    if (r->c.folds > 1)
        lmb_folds_close(&r->folds);
    lmb_latency_close(r->latency);
    lmb_job_close(&r->job);
    free(r->recipe.text);
}

lmb_status lmb_tune_check(const char *path, const lmb_args *a, bool quiet, lmb_error *err)
{
    lmbi_tune *r = calloc(1, sizeof *r);

    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to check a search");
    lmb_status st = lmbi_tune_open(r, path, a, err);
    const lmb_tune_request q = lmbi_tune_asked(r);
    if (st == LMB_OK && !quiet)
        printf("%s: tune is sound: %s over %d keys, %lld trials at most\n", path, r->method->name, r->space.n,
               (long long)lmb_tune_budget(&q));
    lmbi_tune_close(r);
    free(r);
    return st;
}

/* ---- what decisions depend on ---- */

typedef struct read_files {
    lmb_trial_files all;
    lmb_hasher taught_by; /* in the middle */
} read_files;

static lmb_status files_at(void *ctx, const lmbi_tune *r, const double *x, bool middle, lmb_error *err)
{
    read_files *f = ctx;
    lmb_job j;

    LMB_TRY(lmbi_tune_job(r, x, &j, err));
    lmb_status st = middle ? lmb_trial_teacher(&j, &f->taught_by, err) : LMB_OK;
    if (st == LMB_OK)
        st = lmb_trial_files_of(&j, &f->all, err);
    lmb_recipe_close(&j);
    return st;
}

static lmb_status add_files(const lmbi_tune *r, lmb_str *out, lmb_error *err)
{
    read_files f = { .all = { 0 } };
    char hex[LMB_HASH_HEX];

    lmb_hash_begin(&f.taught_by);
    lmb_status st = each_point(r, files_at, &f, err);
    lmb_hash hash = lmb_hash_end(&f.taught_by);
    lmb_hash_hex(&hash, hex);
    lmb_str_addf(out, "teacher: %s\n", hex);
    if (st == LMB_OK)
        st = lmb_trial_files_lines(&f.all, out, err);
    lmb_trial_files_free(&f.all);
    return st;
}

lmb_status lmbi_tune_identity(const lmbi_tune *r, lmb_str *out, lmb_error *err)
{
    static const char *const other[] = { "run", "tune", "launch", "plan_cache", "federation", "compress", NULL };
    lmb_tune_config c = r->c;
    bool ok = true;

    c.trials = 1;
    c.seconds = 0;
    for (const lmb_tree *t = lmb_config_root(r->job.yaml)->child; t; t = t->next) {
        int i = 0;
        while (other[i] && strcmp(other[i], t->key) != 0)
            i++;
        if (other[i])
            continue;
        lmb_str_addf(out, "%s:", t->key);
        ok = ok && lmb_tree_dump(t, 2, out) == LMB_OK;
    }
    ok = ok && lmb_fields_dump_marked(lmb_tune_fields, &c, 0, out) == LMB_OK;
    lmb_status st = ok ? lmb_str_check(out, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a configuration");
    if (st == LMB_OK)
        st = add_files(r, out, err);
    if (st == LMB_OK) {
        lmb_identity_samples(out, "training", r->job.train);
        lmb_identity_samples(out, "validation", r->job.validation);
        st = lmb_str_check(out, err);
    }
    return st;
}
