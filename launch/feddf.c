/* launch/feddf.c - see feddf.h. */
#include "launch/feddf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

const lmb_field lmb_feddf_fields[] = {
    LMB_TREE(lmb_feddf, data,
             "samples whose labels are not looked at: a data set; absent: the server's training part, else validation"),
    LMB_INT(lmb_feddf, samples, 0, 0, 1e9, "samples", "of them, the first; 0: all"),
    LMB_TEXT(lmb_feddf, exchange, "",
             "folder where federations of other architectures, with the same samples, leave their clients' answers"),
    LMB_TEXT(lmb_feddf, name, "federation", "of this one there"),
    LMB_REAL(lmb_feddf, temperature, 1, 0.05, 100, "", "softens the predictions of clients and student"),
    LMB_SECTION(lmb_feddf, train, lmb_train_fields, "the student's training in each round"),
    LMB_FIELD_END
};

lmb_status lmb_feddf_check(const lmb_tree *section, lmb_error *err)
{
    lmb_feddf f;

    if (!section)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_feddf_fields, section, &f, err));
    if (!*f.name || strchr(f.name, '/'))
        return lmb_tree_fail(section, err, LMB_E_ARG, "federation.distill.name is '%.60s'; it must be a file's name",
                             f.name);
    return LMB_OK;
}

static lmb_status open_samples(lmb_feddf *f, const lmb_job *j, const lmb_dataset **out, lmb_error *err)
{
    if (f->data)
        LMB_TRY(lmb_dataset_open(f->data, LMB_PART_TRAIN, &f->opened, err));
    *out = f->opened ? f->opened : j->train ? j->train : j->validation;
    if (!f->samples || f->samples >= (*out)->n)
        return LMB_OK;
    uint32_t *first = malloc((size_t)f->samples * sizeof *first);
    if (!first)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld samples", (long long)f->samples);
    for (int64_t i = 0; i < f->samples; i++)
        first[i] = (uint32_t)i;
    lmb_status st = lmb_dataset_subset(*out, first, f->samples, &f->view, err);
    free(first);
    *out = f->view;
    return st;
}

lmb_status lmb_feddf_open(const lmb_tree *section, const lmb_job *j, size_t n, lmb_feddf **out, lmb_error *err)
{
    const lmb_dataset *samples;
    lmb_feddf *f = calloc(1, sizeof *f);

    *out = f;
    if (!f)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for federation.distill");
    LMB_TRY(lmb_feddf_check(section, err));
    LMB_TRY(lmb_fields_bind(lmb_feddf_fields, section, f, err));
    LMB_TRY(open_samples(f, j, &samples, err));
    f->member = malloc((n + 1) * sizeof *f->member);
    if (!f->member)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %zu values", n);
    return lmb_ensemble_create(samples, j->all->classes, &f->ensemble, err);
}

void lmb_feddf_close(lmb_feddf *f)
{
    if (!f)
        return;
    lmb_ensemble_destroy(f->ensemble);
    lmb_dataset_destroy(f->view);
    lmb_dataset_destroy(f->opened);
    free(f->member);
    free(f);
}

/* Answers of other federations' clients count like those of one's own. */
static lmb_status exchange(const lmb_feddf *f, lmb_error *err)
{
    char name[200], path[4096];

    if (!*f->exchange)
        return LMB_OK;
    snprintf(name, sizeof name, "%.180s%s", f->name, LMB_ENSEMBLE_FILE);
    LMB_TRY(lmb_file_make_dirs(f->exchange, err));
    LMB_TRY(lmb_path_join(path, sizeof path, f->exchange, name, err));
    LMB_TRY(lmb_ensemble_leave(f->ensemble, path, err));
    return lmb_ensemble_join(f->ensemble, f->exchange, name, err);
}

lmb_status lmb_feddf_round(lmb_feddf *f, uint64_t round, lmb_graph *graph, const lmb_state_layout *l,
                           const float *before, const lmb_updates *u, float *model, lmb_error *err)
{
    lmb_train_config c = f->train;

    c.seed = (int64_t)(((uint64_t)c.seed + round * 1000003) & INT64_MAX); /* other batches in each round */
    lmb_ensemble_begin(f->ensemble);
    for (int i = 0; i < u->count; i++) {
        LMB_TRY(u->read(u->ctx, i, 0, u->n, f->member, err));
        for (size_t k = 0; k < l->count; k++)
            f->member[k] += before[k];
        LMB_TRY(lmb_ensemble_add(f->ensemble, graph, f->member, err));
    }
    LMB_TRY(exchange(f, err));
    LMB_TRY(lmb_state_to_graph(l, model, graph, err));
    return lmb_ensemble_teach(f->ensemble, &c, f->temperature, graph, model, &f->loss, err);
}
