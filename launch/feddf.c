/* launch/feddf.c - see feddf.h. */
#include "launch/feddf.h"

#include <stdlib.h>
#include <string.h>

const lmb_field lmb_feddf_fields[] = {
    LMB_TREE(lmb_feddf, data, "samples whose labels are not looked at: a data set; absent: the server's training part, else validation"),
    LMB_INT(lmb_feddf, samples, 0, 0, 1e9, "samples", "of them, the first; 0: all"),
    LMB_REAL(lmb_feddf, temperature, 1, 0.05, 100, "", "softens the predictions of clients and student"),
    LMB_SECTION(lmb_feddf, train, lmb_train_fields, "the student's training in each round"), LMB_FIELD_END
};

lmb_status lmb_feddf_check(const lmb_tree *section, lmb_error *err)
{
    lmb_feddf f;

    return section ? lmb_fields_bind(lmb_feddf_fields, section, &f, err) : LMB_OK;
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

lmb_status lmb_feddf_round(lmb_feddf *f, uint64_t round, lmb_graph *graph, const lmb_state_layout *l, const float *before,
                           const lmb_updates *u, float *model, lmb_error *err)
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
    LMB_TRY(lmb_state_to_graph(l, model, graph, err));
    return lmb_ensemble_teach(f->ensemble, &c, f->temperature, graph, model, &f->loss, err);
}
