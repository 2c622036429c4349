/* launch/teacher.c - see teacher.h. */
#include "launch/teacher.h"

#include <stdio.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "core/onnx/onnx.h"
#include "core/store/store.h"
#include "distill/teachers.h"
#include "launch/model_file.h"
#include "launch/signals.h"
#include "launch/softmax.h"
#include "launch/stage.h"
#include "launch/terminal.h"
#include "train/checkpoint_model.h"
#include "train/model.h"

typedef struct named {
    const char *file;
    double weight;
} named;
static const lmb_field named_fields[] = { LMB_TEXT(named, file, "", "an .onnx file or a checkpoint"),
                                          LMB_REAL(named, weight, 1, 1e-6, 1e6, "", "of its logits in the mean"),
                                          LMB_FIELD_END };

/* The run's own. No folder is made for a look. */
static lmb_status name_own(const lmb_job *j, char path[LMB_STAGE_PATH], lmb_error *err)
{
    int n = snprintf(path, LMB_STAGE_PATH, "%s/teacher/model.onnx", j->c.run);
    return n >= 0 && n < LMB_STAGE_PATH
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_ARG, "the path %.80s.../teacher/model.onnx is too long", j->c.run);
}

/* The list of `teachers`: out[*n]. */
static lmb_status name_all(const lmb_distill_config *c, named out[LMB_TEACHERS_MAX], int *n, lmb_error *err)
{
    const lmb_tree *list = c->teachers;

    *n = 0;
    if (*c->teacher)
        return lmb_tree_fail(list, err, LMB_E_ARG, "`teacher` and `teachers` are both given; one of them must go");
    if (list->kind != LMB_TREE_LIST || lmb_tree_count(list) < 1 || lmb_tree_count(list) > LMB_TEACHERS_MAX)
        return lmb_tree_fail(list, err, LMB_E_ARG,
                             "`teachers` is a list of 1 to %d files, such as [a.onnx, {file: b.onnx, weight: 2}]",
                             LMB_TEACHERS_MAX);
    for (const lmb_tree *t = list->child; t; t = t->next) {
        named *one = &out[(*n)++];
        *one = (named){ "", 1 };
        if (t->kind == LMB_TREE_MAP)
            LMB_TRY(lmb_fields_bind(named_fields, t, one, err));
        else
            LMB_TRY(lmb_tree_text(t, &one->file, err));
        if (!lmb_file_exists(one->file))
            return lmb_tree_fail(t, err, LMB_E_IO, "there is no file '%s'", one->file);
    }
    return LMB_OK;
}

lmb_status lmb_teacher_inherit(const lmb_tree *section, const lmb_distill_config *before, lmb_distill_config *out,
                               lmb_error *err)
{
    bool taught = before && before->alpha > 0;

    if (section && section->kind == LMB_TREE_NULL)
        section = NULL;
    lmb_fields_default(lmb_distill_fields, out);
    if (taught)
        *out = *before;
    else if (!section)
        out->alpha = 0;
    if (lmb_tree_get(section, "teacher") || lmb_tree_get(section, "teachers")) {
        out->teacher = "";
        out->teachers = NULL;
    }
    return lmb_fields_bind_over(lmb_distill_fields, section, out, err);
}

lmb_status lmb_teacher_check(const lmb_distill_config *c, lmb_error *err)
{
    named all[LMB_TEACHERS_MAX];
    int n;

    if (c->teachers)
        return name_all(c, all, &n, err);
    if (*c->teacher && strcmp(c->teacher, LMB_TEACHER_SELF) != 0 && !lmb_file_exists(c->teacher))
        return LMB_FAIL(err, LMB_E_IO, "distill.teacher: there is no file %s", c->teacher);
    return LMB_OK;
}

/* The run's own teacher, before it is trained. */
static lmb_status build(const lmb_job *j, lmb_graph **out, lmb_error *err)
{
    lmb_graph *g = NULL;

    LMB_TRY(lmb_model_build(lmb_tree_get(j->c.teacher, "model"), &j->all->shape, j->all->classes, 1, &g, err));
    lmb_status st = lmb_without_softmax("teacher.model", false, &g, err);
    if (st == LMB_OK)
        *out = g;
    else
        lmb_graph_destroy(g);
    return st;
}

lmb_status lmb_teacher_ahead(const lmb_job *j, const lmb_distill_config *c, bool ahead, lmb_graph **out, lmb_error *err)
{
    char path[LMB_STAGE_PATH];

    if (*c->teacher || c->teachers)
        return lmb_teacher_read(j, c, false, out, err);
    if (ahead && lmb_tree_has(j->c.teacher, "model"))
        return build(j, out, err);
    LMB_TRY(name_own(j, path, err));
    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_IO,
                        "there is no teacher: %s is not there; train it first, or name one with distill.teacher", path);
    return lmb_teacher_read_file(j, path, false, out, err);
}

lmb_status lmb_teacher_files(const lmb_job *j, const lmb_distill_config *c, char path[LMB_TEACHERS_MAX][LMB_STAGE_PATH],
                             int *n, lmb_error *err)
{
    named all[LMB_TEACHERS_MAX] = { { c->teacher, 1 } };

    *n = 1;
    if (!c->teachers && !*c->teacher)
        return name_own(j, path[0], err);
    if (c->teachers)
        LMB_TRY(name_all(c, all, n, err));
    for (int i = 0; i < *n; i++)
        if (snprintf(path[i], LMB_STAGE_PATH, "%s", all[i].file) >= LMB_STAGE_PATH)
            return LMB_FAIL(err, LMB_E_ARG, "the path of a teacher has more than %d characters", LMB_STAGE_PATH - 1);
    return LMB_OK;
}

lmb_status lmb_teacher_read_file(const lmb_job *j, const char *file, bool say, lmb_graph **out, lmb_error *err)
{
    lmb_graph *g = NULL;

    LMB_TRY(lmb_no_lmb(file, err));
    LMB_TRY(lmb_store_is(file) ? lmb_checkpoint_model(file, &j->all->shape, j->all->classes, &g, err)
                               : lmb_onnx_read(file, NULL, &g, err));
    lmb_status st = lmb_without_softmax(file, say, &g, err);
    if (st == LMB_OK)
        *out = g;
    else
        lmb_graph_destroy(g);
    return st;
}

lmb_status lmb_teacher_read(const lmb_job *j, const lmb_distill_config *c, bool say, lmb_graph **out, lmb_error *err)
{
    named all[LMB_TEACHERS_MAX];
    lmb_graph *graph[LMB_TEACHERS_MAX] = { NULL };
    double weight[LMB_TEACHERS_MAX];
    char path[LMB_STAGE_PATH];
    int n = 0;

    if (!c->teachers) {
        LMB_TRY(name_own(j, path, err));
        return lmb_teacher_read_file(j, *c->teacher ? c->teacher : path, say, out, err);
    }
    LMB_TRY(name_all(c, all, &n, err));
    lmb_status st = LMB_OK;
    for (int i = 0; i < n && st == LMB_OK; i++) {
        weight[i] = all[i].weight;
        st = lmb_teacher_read_file(j, all[i].file, say, &graph[i], err);
    }
    if (st == LMB_OK)
        st = lmb_teachers_join((const lmb_graph *const *)graph, weight, n, out, err);
    for (int i = 0; i < n; i++)
        lmb_graph_destroy(graph[i]);
    return st;
}

/* `auto`: a file pays where an epoch reads what another has written, where there is one already, or where the teacher
 * answers faster into a file. */
static lmb_status pays(const char *folder, const lmb_logits_key *k, bool *use, lmb_error *err)
{
    int64_t different = !k->augment || !lmb_augment_any(k->augment) ? 1 : k->augment->versions; /* epochs; 0: all */
    uint64_t bytes, room;

    *use = false;
    if ((different && different < k->epochs) || k->precision != LMB_TRAIN_F32) {
        LMB_TRY(lmb_logits_size(folder, k, &bytes, &room, err));
        *use = bytes <= room;
        if (bytes > room)
            fprintf(stderr, "the teacher answers live: its logits would need %llu bytes, and %llu are free\n",
                    (unsigned long long)bytes, (unsigned long long)room);
        return LMB_OK;
    }
    return lmb_logits_there(folder, k, use, err);
}

static lmb_status decide(const char *folder, const lmb_logits_key *k, int64_t mode, lmb_comm *comm, bool *use,
                         lmb_error *err)
{
    char flag = mode != LMB_CACHE_FALSE;

    if (mode == LMB_CACHE_AUTO && comm->rank == 0) { /* the disk that counts is that of rank 0 */
        LMB_TRY(pays(folder, k, use, err));
        flag = *use;
    }
    LMB_TRY(comm->broadcast(comm, &flag, 1, 0, err));
    *use = flag;
    return LMB_OK;
}

static bool show(void *ctx, int64_t done, int64_t all)
{
    lmb_progress_show(ctx, "teacher's logits", done, all, "samples");
    return !lmb_interrupted();
}

lmb_status lmb_teacher_cache(const lmb_job *j, const lmb_dataset *samples, const lmb_train_config *c, lmb_comm *comm,
                             lmb_objective *d, lmb_logits **out, lmb_error *err)
{
    char folder[LMB_STAGE_PATH];
    lmb_progress bar;
    lmb_logits_watch watch = { comm->rank ? NULL : show, &bar };
    bool use;

    *out = NULL;
    d->rows = lmb_train_rows(c, samples->n, comm->size);
    lmb_logits_key k = { d->teacher,
                         samples,
                         d->distill.cache == LMB_CACHE_PLAIN ? NULL : &c->augment,
                         (uint64_t)c->seed,
                         c->backend,
                         d->rows,
                         c->epochs,
                         d->distill.precision };
    if (lmb_objective_looks_inside(d)) /* true and plain: lmb_objective_bind has refused them */
        return LMB_OK;
    LMB_TRY(lmb_stage_path(folder, j->c.run, "teacher", "", err));
    LMB_TRY(decide(folder, &k, d->distill.cache, comm, &use, err));
    if (!use)
        return LMB_OK;
    lmb_progress_begin(&bar);
    lmb_status st = lmb_logits_open(folder, &k, (int)c->threads, comm, &watch, out, err);
    if (st == LMB_E_STOPPED && comm->rank == 0)
        lmb_progress_line(&bar, "stopped; the same command goes on with the answers that are there");
    LMB_TRY(st);
    if (comm->rank == 0)
        lmb_progress_line(&bar, "the teacher answers from its file of logits");
    d->logits = lmb_logits_rows;
    d->logits_ctx = *out;
    lmb_logits_extent(*out, &d->logits_epochs, &d->logits_samples);
    return LMB_OK;
}
