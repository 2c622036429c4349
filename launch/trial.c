/* launch/trial.c - see trial.h. */
#include "launch/trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "datasets/split.h"
#include "distill/prune/masks.h"
#include "launch/model_file.h"
#include "launch/stage.h"
#include "launch/teacher.h"
#include "train/loss.h"

/* ---- samples ---- */

void lmb_folds_close(lmb_folds *f)
{
    for (int i = 0; i < f->n; i++) {
        lmb_dataset_destroy(f->train[i]);
        lmb_dataset_destroy(f->held_out[i]);
    }
    free(f->order);
    memset(f, 0, sizeof *f);
}

/* Part `which` of the samples in f->order, and all others. */
static lmb_status cut(const lmb_job *j, lmb_folds *f, int which, int64_t n, lmb_error *err)
{
    int64_t lo = n * which / f->n, hi = n * (which + 1) / f->n;
    uint32_t *rest = malloc(sizeof *rest * (size_t)n);

    if (!rest)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a fold of %lld samples", (long long)n);
    memcpy(rest, f->order, sizeof *rest * (size_t)lo);
    memcpy(rest + lo, f->order + hi, sizeof *rest * (size_t)(n - hi));
    lmb_status st = lmb_dataset_subset(j->all, rest, n - (hi - lo), &f->train[which], err);
    if (st == LMB_OK)
        st = lmb_dataset_subset(j->all, f->order + lo, hi - lo, &f->held_out[which], err);
    free(rest);
    return st;
}

lmb_status lmb_folds_open(const lmb_job *j, int n, uint64_t seed, lmb_folds *out, lmb_error *err)
{
    int64_t samples = j->c.split.train + j->c.split.validation;
    lmb_folds f = { .n = n, .order = malloc(sizeof *f.order * (size_t)(samples + 1)) };
    uint32_t *place = malloc(sizeof *place * (size_t)(samples + 1));
    lmb_dataset *pool = NULL;
    lmb_status st = f.order && place
                        ? LMB_OK
                        : LMB_FAIL(err, LMB_E_NOMEM, "no memory for folds of %lld samples", (long long)samples);

    if (st == LMB_OK && samples < n)
        st = LMB_FAIL(err, LMB_E_ARG, "%d folds need as many samples; the training and the validation part have %lld",
                      n, (long long)samples);
    if (st == LMB_OK)
        st = lmb_dataset_subset(j->all, j->order, samples, &pool, err);
    if (st == LMB_OK)
        st = lmb_split_stratified(pool, seed, place, err);
    for (int64_t i = 0; st == LMB_OK && i < samples; i++)
        f.order[i] = j->order[place[i]];
    for (int i = 0; st == LMB_OK && i < n; i++)
        st = cut(j, &f, i, samples, err);
    lmb_dataset_destroy(pool);
    free(place);
    if (st != LMB_OK)
        lmb_folds_close(&f);
    else
        *out = f;
    return st;
}

/* ---- recipes ---- */

lmb_status lmb_recipe_read(const char *path, lmb_recipe *out, lmb_error *err)
{
    lmb_recipe r = { path, NULL, 0 };

    LMB_TRY(lmb_file_read(path, 1 << 20, &r.text, &r.n, err));
    *out = r;
    return LMB_OK;
}

lmb_status lmb_recipe_job(const lmb_recipe *r, const lmb_args *a, const char *stage, const lmb_job *data, lmb_job *out,
                          lmb_error *err)
{
    lmb_config *yaml;

    LMB_TRY(lmb_config_parse(r->text, r->n, r->name, &yaml, err));
    LMB_TRY(lmb_job_of(yaml, a, stage, out, err));
    out->all = data ? data->all : NULL;
    return LMB_OK;
}

void lmb_recipe_close(lmb_job *j)
{
    j->all = NULL;
    lmb_job_close(j);
}

lmb_status lmb_trials_forget(const char *folder, const char *const *names, lmb_error *err)
{
    char path[LMB_STAGE_PATH];

    for (; *names; names++) {
        LMB_TRY(lmb_path_join(path, sizeof path, folder, *names, err));
        if (lmb_file_exists(path) && remove(path))
            return LMB_FAIL(err, LMB_E_IO, "cannot remove %s", path);
    }
    return LMB_OK;
}

/* ---- training ---- */

typedef struct watcher {
    const lmb_trial_watch *w;
    lmb_masks *masks; /* zeros that the model came with; NULL: none */
    int64_t epochs;
    double best;
    bool enough;
} watcher;

static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    const watcher *w = ctx;
    (void)loss, (void)accuracy, (void)rate;
    return !w->w->step || w->w->step(w->w->ctx, ((double)epoch + (double)batch / (double)batches) / (double)w->epochs);
}

static lmb_status on_epoch(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *err)
{
    watcher *w = ctx;
    (void)t;
    w->best = fmax(w->best, e->valid_accuracy);
    if (!w->w->epoch || w->w->epoch(w->w->ctx, w->best, e->last))
        return LMB_OK;
    w->enough = true;
    return LMB_FAIL(err, LMB_E_STOPPED, "enough was seen of it");
}

static lmb_status on_stepped(void *ctx, lmb_trainer *t, lmb_error *err)
{
    return lmb_masks_stepped(((watcher *)ctx)->masks, t, err);
}

/* The labels alone, or a teacher with them. */
static lmb_status objective(const lmb_job *j, const lmb_train_config *c, const lmb_graph *model, int64_t samples,
                            lmb_objective *o, lmb_graph **teacher, lmb_error *err)
{
    *o = (lmb_objective){ .label_smoothing = c->label_smoothing };
    if (!j->stage.distill)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_distill_fields, j->stage.distill, &o->distill, err));
    if (!(o->distill.alpha > 0))
        return LMB_OK;
    if (o->distill.unlabelled)
        return LMB_FAIL(err, LMB_E_ARG,
                        "trials learn from the training part: leave student.distill.unlabelled to `limbeck distill`");
    LMB_TRY(lmb_objective_bind(o, err));
    LMB_TRY(lmb_teacher_read(j, &o->distill, false, teacher, err));
    o->teacher = *teacher;
    o->rows = lmb_train_rows(c, samples, 1);
    return lmb_objective_check(o, model, err);
}

static lmb_status learn(const lmb_train_config *c, lmb_graph *model, const lmb_loss *loss, const lmb_dataset *train,
                        const lmb_dataset *validation, watcher *w, lmb_error *err)
{
    lmb_train_watch watch = { on_step, on_epoch, w, NULL };
    lmb_trainer *t = NULL;

    LMB_TRY(lmb_masks_hold(model, &w->masks, NULL, err));
    lmb_status st = lmb_trainer_create(c, model, loss, train, validation, NULL, &t, err);
    if (st == LMB_OK && w->masks) {
        watch.stepped = on_stepped;
        st = on_stepped(w, t, err);
    }
    if (st == LMB_OK)
        st = lmb_trainer_run(t, &watch, err);
    if (st == LMB_E_STOPPED && w->enough) {
        lmb_error_clear(err);
        st = LMB_OK;
    }
    if (st == LMB_OK)
        st = lmb_trainer_store(t, model, err);
    lmb_trainer_destroy(t);
    lmb_masks_destroy(w->masks);
    w->masks = NULL;
    return st;
}

lmb_status lmb_trial_model(const lmb_job *j, lmb_graph **out, lmb_error *err)
{
    return lmb_model_of(j, j->stage.model, (uint64_t)j->stage.train.seed, false, out, err);
}

lmb_status lmb_trial_train(const lmb_job *j, const lmb_dataset *train, const lmb_dataset *validation, int threads,
                           const lmb_trial_watch *watch, lmb_graph **out, double *score, lmb_error *err)
{
    static const lmb_trial_watch nobody;
    lmb_train_config c = j->stage.train;
    lmb_graph *model = NULL, *teacher = NULL;
    lmb_objective o;
    watcher w = { .w = watch ? watch : &nobody, .epochs = c.epochs };

    c.threads = c.threads ? c.threads : threads;
    LMB_TRY(lmb_job_check_patience(&c, validation, err));
    LMB_TRY(lmb_trial_model(j, &model, err));
    lmb_status st = objective(j, &c, model, train->n, &o, &teacher, err);
    lmb_loss loss = lmb_objective_loss(&o);
    if (st == LMB_OK)
        st = learn(&c, model, &loss, train, validation, &w, err);
    *score = w.best;
    if (st == LMB_OK && out) {
        *out = model;
        model = NULL;
    }
    lmb_graph_destroy(teacher);
    lmb_graph_destroy(model);
    return st;
}
