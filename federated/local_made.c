/* federated/local_made.c - what a client's round of training is made of: the server's model and settings, the
 * numbers that the client begins with, a trainer. See local.h.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/onnx/onnx.h"
#include "federated/local_parts.h"

static void drop_trainer(lmb_local *l)
{
    lmb_trainer_destroy(l->trainer);
    free((void *)l->objective.prior);
    l->trainer = NULL;
    l->objective.prior = NULL;
}

void lmbi_local_drop(lmb_local *l)
{
    drop_trainer(l);
    lmb_head_close(&l->head);
    lmb_held_close(&l->held);
    lmb_keep_close(&l->keep);
    free(l->start);
    free(l->shift);
    lmb_state_layout_destroy(l->layout);
    lmb_graph_destroy(l->model);
    lmb_config_destroy(l->yaml);
    memset(l, 0, sizeof *l);
}

lmb_status lmbi_local_read(lmb_local *l, const lmb_train_task *task, lmb_error *err)
{
    lmb_hash part[2] = { lmb_hash_of(task->graph, task->graph_bytes),
                         lmb_hash_of(task->settings, strlen(task->settings)) };
    lmb_hash source = lmb_hash_of(part, sizeof part);

    if (l->model && memcmp(&source, &l->source, sizeof source) == 0)
        return LMB_OK;
    lmbi_local_drop(l);
    LMB_TRY(lmb_config_parse(task->settings, strlen(task->settings), "settings from the server", &l->yaml, err));
    LMB_TRY(lmb_fields_bind(lmb_local_fields, lmb_config_root(l->yaml), &l->s, err));
    LMB_TRY(lmb_onnx_import(task->graph, task->graph_bytes, NULL, &l->model, err));
    LMB_TRY(lmb_state_layout_create(l->model, &l->layout, err));
    LMB_TRY(lmbi_local_find_term(&l->s, &l->term, err));
    LMB_TRY(lmb_keep_open(l->s.keep, l->model, l->layout, &l->keep, err));
    if (!(l->start = malloc((l->layout->count + 1) * sizeof *l->start)))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %zu values", l->layout->count);
    if (l->term && l->term->begin && !(l->shift = malloc((l->layout->count + 1) * sizeof *l->shift)))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the correction of %zu gradients", l->layout->count);
    l->source = source;
    return LMB_OK;
}

size_t lmbi_local_term_memory(const lmb_local *l) { return l->term && l->term->memory ? l->layout->count : 0; }

size_t lmbi_local_memory(const lmb_local *l)
{
    return lmbi_local_term_memory(l) + (l->keep.values ? 1 + l->keep.values : 0);
}

lmb_status lmbi_local_fill(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task, const float *memory,
                       lmb_error *err)
{
    lmb_shape y = l->model->n_outputs ? l->model->value[l->model->output[0].value].shape : LMB_SHAPE(0);

    if (y.n != 2 || y.d[1] != data->classes)
        return LMB_FAIL(err, LMB_E_SHAPE, "the server's model has %lld classes, this client's data %d",
                        (long long)(y.n == 2 ? y.d[1] : 0), data->classes);
    if (l->layout->count + (l->term ? l->term->extra(l->layout->count) : 0) != task->n ||
        memcmp(&l->layout->hash, &task->layout, sizeof task->layout))
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "the server's graph has %zu numbers of another layout than the model of %zu that it sent",
                        l->layout->count, task->n);
    memcpy(l->start, task->model, l->layout->count * sizeof *l->start);
    if (l->keep.values && memory[lmbi_local_term_memory(l)] == 1)
        lmb_keep_put(&l->keep, l->layout, memory + lmbi_local_term_memory(l) + 1, l->start);
    return lmb_state_to_graph(l->layout, l->start, l->model, err);
}

/* calibrate * log of each class's share, one sample added to each: a class that is absent is rare, not impossible.
 * malloc'd; NULL without calibration. */
static lmb_status class_prior(const lmb_dataset *data, double calibrate, float **out, lmb_error *err)
{
    size_t classes = (size_t)data->classes;
    int32_t *label = malloc(sizeof *label * (size_t)data->n);
    float *prior = calloc(classes, sizeof *prior);
    lmb_status st = label && prior
                        ? lmb_dataset_labels(data, label, err)
                        : LMB_FAIL(err, LMB_E_NOMEM, "no memory for the labels of %lld samples", (long long)data->n);

    for (int64_t i = 0; i < data->n && st == LMB_OK; i++)
        prior[label[i]]++;
    for (size_t k = 0; k < classes && st == LMB_OK; k++)
        prior[k] = (float)(calibrate * log(((double)prior[k] + 1) / ((double)data->n + (double)classes)));
    free(label);
    if (st != LMB_OK) {
        free(prior);
        return st;
    }
    *out = prior;
    return LMB_OK;
}

/* Plans hold the teacher's numbers and the prior as constants, and are made for a number of shards. */
static lmb_hash baked_of(const lmb_local *l, const lmb_dataset *data, const float *prior)
{
    struct { lmb_hash teacher, prior; int64_t rows, shards; } key;
    int64_t batch = l->s.train.batch < data->n ? l->s.train.batch : data->n;

    memset(&key, 0, sizeof key);
    if (l->s.distill.alpha > 0)
        key.teacher = lmb_hash_of(l->start, l->layout->count * sizeof *l->start);
    if (prior)
        key.prior = lmb_hash_of(prior, (size_t)data->classes * sizeof *prior);
    key.shards = (batch + l->s.train.shard - 1) / l->s.train.shard;
    return lmb_hash_of(&key, sizeof key);
}

lmb_status lmbi_local_make(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task, lmb_error *err)
{
    /* other batches in each round */
    int64_t seed = (int64_t)(((uint64_t)l->s.train.seed + task->round * 1000003) & INT64_MAX);
    double rate = l->s.train.lr * pow(l->s.decay, (double)task->round - 1);
    lmb_train_config c = l->s.train;
    float *prior = NULL;

    if (l->s.calibrate > 0)
        LMB_TRY(class_prior(data, l->s.calibrate, &prior, err));
    lmb_hash baked = baked_of(l, data, prior);
    if (l->trainer && memcmp(&baked, &l->baked, sizeof baked) == 0) {
        free(prior);
        return lmb_trainer_restart(l->trainer, data, seed, rate, err);
    }
    drop_trainer(l);
    l->objective = (lmb_objective){ .distill = l->s.distill, .label_smoothing = c.label_smoothing, .prior = prior,
                                    .teacher = l->s.distill.alpha > 0 ? l->model : NULL };
    l->loss = lmb_objective_loss(&l->objective);
    l->baked = baked;
    c.seed = seed;
    c.lr = rate;
    if (task->threads && (!c.threads || c.threads > task->threads))
        c.threads = task->threads;
    return lmb_trainer_create(&c, l->model, &l->loss, data, NULL, NULL, &l->trainer, err);
}
