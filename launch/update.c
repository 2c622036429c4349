/* launch/update.c - see update.h. */
#include "launch/update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "launch/compress.h"
#include "launch/runner.h"
#include "launch/stage.h"
#include "launch/update_samples.h"

enum { SERIES = 1000 }; /* updates of a stage */

/* What an update is made of. */
typedef struct material {
    lmb_update_samples s;
    char before[LMB_STAGE_PATH]; /* the file that it begins with; "": what a search compresses */
    lmb_graph *model;            /* of that, and then trained */
} material;

static void close_material(material *m)
{
    lmbi_update_samples_close(&m->s);
    lmb_graph_destroy(m->model);
}

static lmb_status accuracy(const lmb_graph *g, const lmb_dataset *d, const lmb_train_config *c, double *out,
                           lmb_error *err)
{
    lmb_metrics m;

    LMB_TRY(lmb_metrics_init(&m, d->classes, err));
    lmb_status st = lmb_evaluate(g, NULL, d, c->backend, (int)c->threads, &m, err);
    *out = lmb_metrics_accuracy(&m);
    lmb_metrics_deinit(&m);
    return st;
}

typedef struct figures {
    double fresh, test;
} figures;

static lmb_status measure(const lmb_job *j, const material *m, const lmb_graph *g, figures *f, lmb_error *err)
{
    LMB_TRY(accuracy(g, m->s.fresh, &m->s.c.train, &f->fresh, err));
    return accuracy(g, j->test, &m->s.c.train, &f->test, err);
}

/* What an update depends on beside its settings, as lines of them: a list that has grown, new labels or other weights
 * to begin with are another update, even where all files have the names that they had. */
static lmb_status add_origin(const material *m, lmb_str *config, lmb_error *err)
{
    char weights[LMB_HASH_HEX];
    lmb_str file = LMB_STR_INIT;
    lmb_status st = lmb_onnx_export(m->model, NULL, &file, err);

    lmb_hash hash = lmb_hash_of(file.text, file.n);
    lmb_str_free(&file);
    LMB_TRY(st);
    lmb_hash_hex(&hash, weights);
    lmb_str_addf(config, "begins with: %s\nnew samples: %lld, %s\n", weights, (long long)m->s.fresh->n, m->s.learnt);
    return lmb_str_check(config, err);
}

/* ---- one update after another ---- */

static lmb_status series_path(const lmb_job *j, int k, const char *file, char stage[64], char path[LMB_STAGE_PATH],
                              lmb_error *err)
{
    if (k == 0)
        snprintf(stage, 64, "%.40s", j->stage_name);
    else if (k == 1)
        snprintf(stage, 64, "%.40s-updated", j->stage_name);
    else
        snprintf(stage, 64, "%.40s-updated-%d", j->stage_name, k);
    int n = snprintf(path, LMB_STAGE_PATH, "%s/%s/%s", j->c.run, stage, file);
    return n > 0 && n < LMB_STAGE_PATH ? LMB_OK
                                       : LMB_FAIL(err, LMB_E_ARG, "the path %.80s/%s is too long", j->c.run, stage);
}

/* Has update k learnt these samples? */
static lmb_status has_learnt(const lmb_job *j, int k, const material *m, bool *out, lmb_error *err)
{
    char path[LMB_STAGE_PATH], stage[64];
    void *text;
    size_t n;

    LMB_TRY(series_path(j, k, "samples.txt", stage, path, err));
    *out = false;
    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, 1 << 12, &text, &n, err));
    *out = strncmp(text, m->s.learnt, strlen(m->s.learnt)) == 0;
    free(text);
    return LMB_OK;
}

/* The last update that is finished; 0: none is. */
static lmb_status last_update(const lmb_job *j, int *last, lmb_error *err)
{
    char path[LMB_STAGE_PATH], stage[64];

    *last = 0;
    do
        LMB_TRY(series_path(j, *last + 1, "model.onnx", stage, path, err));
    while (lmb_file_exists(path) && ++*last < SERIES);
    return LMB_OK;
}

/* What the first update begins with: path, or "" for the teacher of a search. */
static lmb_status first_origin(const lmb_job *j, char path[LMB_STAGE_PATH], lmb_error *err)
{
    char stage[64];

    LMB_TRY(series_path(j, 0, "model.onnx", stage, path, err));
    if (!lmb_file_exists(path) && lmb_compress_has_origin(j))
        *path = '\0';
    return LMB_OK;
}

/* m->model of m->before. */
static lmb_status read_before(const lmb_job *j, material *m, bool say, lmb_error *err)
{
    return *m->before ? lmb_onnx_read(m->before, NULL, &m->model, err) : lmb_compress_origin(j, say, &m->model, err);
}

/* Which update it is, and what it begins with (m->before). */
static lmb_status choose_place(const lmb_job *j, bool again, material *m, char stage[64], lmb_error *err)
{
    char path[LMB_STAGE_PATH], other[64];
    int last;
    bool learnt = true;

    LMB_TRY(last_update(j, &last, err));
    if (again && last > 0)
        LMB_TRY(has_learnt(j, last, m, &learnt, err));
    int k = last == 0 ? 1 : learnt ? last : last + 1;
    LMB_TRY(k == 1 ? first_origin(j, m->before, err) : series_path(j, k - 1, "model.onnx", other, m->before, err));
    return series_path(j, k, "", stage, path, err);
}

static lmb_status leave_samples(const lmb_job *j, const char *stage, const material *m, lmb_error *err)
{
    char path[LMB_STAGE_PATH], text[LMB_HASH_HEX + 2];

    LMB_TRY(lmb_stage_path(path, j->c.run, stage, "samples.txt", err));
    snprintf(text, sizeof text, "%s\n", m->s.learnt);
    return lmb_file_write(path, text, strlen(text), err);
}

static lmb_status train_on(lmb_job *j, const material *m, const char *stage, lmb_comm *comm, bool fresh, lmb_error *err)
{
    double smoothing = m->s.c.train.label_smoothing;
    const lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_str config = LMB_STR_INIT;
    lmb_status st = lmb_job_dump_stage(j, &config, err);

    if (st == LMB_OK && lmb_fields_dump_marked(lmb_update_fields, &m->s.c, 0, &config) != LMB_OK)
        st = lmb_str_check(&config, err);
    if (st == LMB_OK)
        st = add_origin(m, &config, err);
    lmb_run_request q = { j->c.run,
                          stage,
                          config.text,
                          &m->s.c.train,
                          m->model,
                          &loss,
                          m->s.both ? m->s.both : m->s.fresh,
                          j->validation,
                          fresh,
                          .began = j->began,
                          .plan_cache = j->c.plan_cache };
    if (st == LMB_OK)
        st = lmb_run_training(comm, &q, err);
    lmb_str_free(&config);
    return st;
}

static lmb_status update(lmb_job *j, const material *m, const char *stage, lmb_comm *comm, bool fresh, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    figures before = { 0, 0 }, after = { 0, 0 };

    if (comm->rank == 0) {
        fprintf(stderr, "%lld new samples and %lld old ones; it begins with %s\n", (long long)m->s.fresh->n,
                (long long)(m->s.old ? m->s.old->n : 0), *m->before ? m->before : "the teacher of `compress`");
        LMB_TRY(measure(j, m, m->model, &before, err));
    }
    LMB_TRY(train_on(j, m, stage, comm, fresh, err));
    if (comm->rank != 0)
        return LMB_OK;
    LMB_TRY(measure(j, m, m->model, &after, err));
    printf("new samples: %.2f %% before, %.2f %% after (trained on); test part: %.2f %% before, %.2f %% after\n",
           100 * before.fresh, 100 * after.fresh, 100 * before.test, 100 * after.test);
    LMB_TRY(lmb_stage_path(path, j->c.run, stage, "model.onnx", err));
    LMB_TRY(leave_samples(j, stage, m, err)); /* before the model, by which an update is there */
    LMB_TRY(lmb_onnx_write(path, m->model, NULL, err));
    return lmb_stage_report(j->c.run, stage, path, m->model, j->test, m->s.c.train.backend, err);
}

/* ---- for who makes something of the last one ---- */

/* Of the two stages that a compression's teacher may be, the one that has updates, and how many. */
static lmb_status find_updates(lmb_job *as, int *last, lmb_error *err)
{
    static const char *const stages[] = { "teacher", "model" };
    int n[2];

    for (int i = 0; i < 2; i++) {
        as->stage_name = stages[i];
        LMB_TRY(last_update(as, &n[i], err));
    }
    if (n[0] && n[1])
        return LMB_FAIL(
            err, LMB_E_ARG,
            "%s has updates of `teacher` and of `model`: name one's model.onnx with compress.teacher, and another "
            "run",
            as->c.run);
    if (!n[0] && !n[1])
        return LMB_FAIL(err, LMB_E_ARG, "%s has no update to refresh from: `limbeck train --continue` makes one",
                        as->c.run);
    *last = n[0] ? n[0] : n[1];
    as->stage_name = stages[n[0] ? 0 : 1];
    return LMB_OK;
}

lmb_status lmbi_update_last(const lmb_job *j, lmb_update_last *out, lmb_error *err)
{
    lmb_job as = *j; /* of another stage */
    char stage[64];
    bool learnt = false;
    lmb_update_last u = { .material = calloc(1, sizeof *u.material) };

    if (!u.material)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the samples of an update");
    lmb_status st = find_updates(&as, &u.number, err);
    if (st == LMB_OK)
        st = series_path(&as, u.number, "model.onnx", stage, u.model, err);
    if (st == LMB_OK)
        st = lmbi_update_samples_open(&as, &u.material->s, err);
    if (st == LMB_OK)
        st = has_learnt(&as, u.number, u.material, &learnt, err);
    if (st == LMB_OK && !learnt)
        st = LMB_FAIL(err, LMB_E_ARG,
                      "`update` names %lld samples that are not those which %s has learnt: `limbeck train --continue "
                      "--again` first",
                      (long long)u.material->s.fresh->n, stage);
    if (st == LMB_OK)
        st = lmb_dataset_join(u.material->s.fresh, j->train, &u.train, err);
    if (st != LMB_OK) {
        lmbi_update_last_free(&u);
        return st;
    }
    u.fresh = u.material->s.fresh->n;
    snprintf(u.learnt, sizeof u.learnt, "%s", u.material->s.learnt);
    *out = u;
    return LMB_OK;
}

void lmbi_update_last_free(lmb_update_last *u)
{
    lmb_dataset_destroy(u->train);
    if (u->material)
        close_material(u->material);
    free(u->material);
    memset(u, 0, sizeof *u);
}

/* The model that the first update begins with, unless it is still to be trained. */
static lmb_status check_first(const lmb_job *j, material *m, char begins[LMB_UPDATE_BEGINS], lmb_error *err)
{
    LMB_TRY(first_origin(j, m->before, err));
    bool there = !*m->before || lmb_file_exists(m->before);
    snprintf(begins, LMB_UPDATE_BEGINS, "%s%s", *m->before ? m->before : "the teacher of `compress`",
             there ? "" : ", which is not there yet");
    if (!there)
        return LMB_OK;
    LMB_TRY(read_before(j, m, false, err));
    return lmb_job_check_training(&m->s.c.train, m->model, m->s.both ? m->s.both : m->s.fresh, err);
}

lmb_status lmbi_update_check(const lmb_job *j, char begins[LMB_UPDATE_BEGINS], lmb_error *err)
{
    material m = { .model = NULL };
    lmb_status st = lmbi_update_samples_open(j, &m.s, err);

    *begins = '\0';
    if (st == LMB_OK && strcmp(j->stage_name, LMB_JOB_DATA_ONLY) != 0)
        st = check_first(j, &m, begins, err);
    close_material(&m);
    return st;
}

lmb_status lmbi_update(lmb_job *j, lmb_comm *comm, bool fresh, bool again, lmb_error *err)
{
    char path[LMB_STAGE_PATH], stage[64];
    material m = { .model = NULL };
    lmb_status st;

    if (!j->c.update)
        return LMB_FAIL(err, LMB_E_ARG,
                        "--continue needs a section `update` in the configuration: data, list, share, train");
    LMB_TRY(first_origin(j, path, err));
    if (*path && !lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_IO, "%s is not there: train it first, without --continue", path);
    LMB_TRY(lmb_job_data(j, err));
    LMB_TRY(lmb_job_training(j, err));
    LMB_TRY_GOTO(st, done, lmbi_update_samples_open(j, &m.s, err));
    LMB_TRY_GOTO(st, done, choose_place(j, again, &m, stage, err));
    LMB_TRY_GOTO(st, done, read_before(j, &m, comm->rank == 0, err));
    st = update(j, &m, stage, comm, fresh, err);
done:
    close_material(&m);
    return st;
}
