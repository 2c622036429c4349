/* launch/update.c - see update.h. */
#include "launch/update.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "datasets/split.h"
#include "launch/runner.h"
#include "launch/stage.h"

const lmb_field lmb_update_fields[] = {
    LMB_TREE(lmb_update_config, data, "new labelled samples: name and options, as in `data`"),
    LMB_TEXT(lmb_update_config, list, "", "CSV of `limbeck monitor --label`: only those samples"),
    LMB_REAL(lmb_update_config, share, 1, 0, 1000, "", "old samples beside each new one"),
    LMB_SECTION(lmb_update_config, train, lmb_train_fields, "how it is trained"), LMB_FIELD_END
};

/* Samples of an update: views on views, from the whole to what is trained on. */
typedef struct material {
    lmb_update_config c;
    lmb_dataset *all, *listed, *old, *both;
    const lmb_dataset *fresh;
    uint32_t *numbers; /* of the listed samples; NULL: all are new */
} material;

static void close_material(material *m)
{
    lmb_dataset_destroy(m->both);
    lmb_dataset_destroy(m->old);
    lmb_dataset_destroy(m->listed);
    lmb_dataset_destroy(m->all);
    free(m->numbers);
}

static lmb_status take_listed(material *m, lmb_error *err)
{
    int64_t n;

    m->fresh = m->all;
    if (!*m->c.list)
        return LMB_OK;
    LMB_TRY(lmbi_update_list(m->c.list, m->all->n, &m->numbers, &n, err));
    LMB_TRY(lmb_dataset_subset(m->all, m->numbers, n, &m->listed, err));
    m->fresh = m->listed;
    return LMB_OK;
}

/* A choice of the old training part, by the seed. */
static lmb_status take_old(const lmb_job *j, material *m, lmb_error *err)
{
    int64_t n = (int64_t)fmin(ceil(m->c.share * (double)m->fresh->n), (double)j->train->n);
    uint32_t *order = malloc(sizeof *order * (size_t)j->train->n);

    if (!order)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose old samples");
    lmb_split((uint64_t)m->c.train.seed, (uint32_t)j->train->n, order);
    lmb_status st = n ? lmb_dataset_subset(j->train, order, n, &m->old, err) : LMB_OK;
    free(order);
    if (st == LMB_OK && n)
        st = lmb_dataset_join(m->fresh, m->old, &m->both, err);
    return st;
}

static lmb_status open_material(const lmb_job *j, material *m, lmb_error *err)
{
    LMB_TRY(lmb_fields_bind(lmb_update_fields, j->c.update, &m->c, err));
    if (!m->c.data)
        return LMB_FAIL(err, LMB_E_ARG, "the section `update` has no `data`: where are the new samples?");
    LMB_TRY(lmb_dataset_open(m->c.data, LMB_PART_TRAIN, &m->all, err));
    LMB_TRY(take_listed(m, err));
    return take_old(j, m, err);
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
    LMB_TRY(accuracy(g, m->fresh, &m->c.train, &f->fresh, err));
    return accuracy(g, j->test, &m->c.train, &f->test, err);
}

/* What an update depends on beside its settings, as lines of them: a list that has grown, new labels or other weights
 * to begin with are another update, even where all files have the names that they had. */
static lmb_status add_origin(const char *model_file, const material *m, lmb_str *config, lmb_error *err)
{
    char weights[LMB_HASH_HEX], samples[LMB_HASH_HEX];
    int64_t n = m->fresh->n;
    lmb_hasher h;
    lmb_hash hash;
    void *bytes;
    size_t size;

    LMB_TRY(lmb_file_read(model_file, (size_t)1 << 32, &bytes, &size, err));
    hash = lmb_hash_of(bytes, size);
    free(bytes);
    lmb_hash_hex(&hash, weights);
    int32_t *label = malloc(sizeof *label * (size_t)(n + 1));
    if (!label)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld labels", (long long)n);
    lmb_status st = lmb_dataset_labels(m->fresh, label, err);
    lmb_hash_begin(&h);
    lmb_hash_add(&h, label, sizeof *label * (size_t)n);
    if (m->numbers)
        lmb_hash_add(&h, m->numbers, sizeof *m->numbers * (size_t)n);
    hash = lmb_hash_end(&h);
    lmb_hash_hex(&hash, samples);
    free(label);
    if (st == LMB_OK)
        lmb_str_addf(config, "begins with: %s\nnew samples: %lld, %s\n", weights, (long long)n, samples);
    return st == LMB_OK ? lmb_str_check(config, err) : st;
}

static lmb_status train_on(lmb_job *j, const material *m, const char *stage, lmb_graph *model, lmb_comm *comm,
                           bool fresh, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    double smoothing = m->c.train.label_smoothing;
    const lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_str config = LMB_STR_INIT;
    lmb_status st = lmb_job_dump_stage(j, &config, err);

    if (st == LMB_OK && lmb_fields_dump(lmb_update_fields, &m->c, 0, &config) != LMB_OK)
        st = lmb_str_check(&config, err);
    if (st == LMB_OK)
        st = lmb_stage_path(path, j->c.run, j->stage_name, "model.onnx", err);
    if (st == LMB_OK)
        st = add_origin(path, m, &config, err);
    lmb_run_request q = { j->c.run,
                          stage,
                          config.text,
                          &m->c.train,
                          model,
                          &loss,
                          m->both ? m->both : m->fresh,
                          j->validation,
                          fresh,
                          .plan_cache = j->c.plan_cache };
    if (st == LMB_OK)
        st = lmb_run_training(comm, &q, err);
    lmb_str_free(&config);
    return st;
}

static lmb_status update(lmb_job *j, const material *m, lmb_graph *model, lmb_comm *comm, bool fresh, lmb_error *err)
{
    char stage[64], path[LMB_STAGE_PATH];
    figures before = { 0, 0 }, after = { 0, 0 };

    snprintf(stage, sizeof stage, "%.40s-updated", j->stage_name);
    if (comm->rank == 0) {
        fprintf(stderr, "%lld new samples and %lld old ones\n", (long long)m->fresh->n,
                (long long)(m->old ? m->old->n : 0));
        LMB_TRY(measure(j, m, model, &before, err));
    }
    LMB_TRY(train_on(j, m, stage, model, comm, fresh, err));
    if (comm->rank != 0)
        return LMB_OK;
    LMB_TRY(measure(j, m, model, &after, err));
    printf("new samples: %.2f %% before, %.2f %% after (trained on); test part: %.2f %% before, %.2f %% after\n",
           100 * before.fresh, 100 * after.fresh, 100 * before.test, 100 * after.test);
    LMB_TRY(lmb_stage_path(path, j->c.run, stage, "model.onnx", err));
    LMB_TRY(lmb_onnx_write(path, model, NULL, err));
    return lmb_stage_report(j->c.run, stage, path, model, j->test, m->c.train.backend, err);
}

lmb_status lmbi_update(lmb_job *j, lmb_comm *comm, bool fresh, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    material m = { .all = NULL };
    lmb_graph *model = NULL;
    lmb_status st;

    if (!j->c.update)
        return LMB_FAIL(err, LMB_E_ARG,
                        "--continue needs a section `update` in the configuration: data, list, share, train");
    LMB_TRY(lmb_stage_path(path, j->c.run, j->stage_name, "model.onnx", err));
    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_IO, "%s is not there: train it first, without --continue", path);
    LMB_TRY(lmb_job_data(j, err));
    LMB_TRY(lmb_job_training(j, err));
    LMB_TRY_GOTO(st, done, open_material(j, &m, err));
    LMB_TRY_GOTO(st, done, lmb_onnx_read(path, NULL, &model, err));
    st = update(j, &m, model, comm, fresh, err);
done:
    lmb_graph_destroy(model);
    close_material(&m);
    return st;
}
