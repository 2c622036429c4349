/* federated/local.c - see local.h. */
#include "federated/local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "core/onnx/onnx.h"
#include "federated/keep.h"
#include "federated/local_memory.h"
#include "federated/personal.h"
#include "federated/terms/term.h"
#include "train/optimizer.h"
#include "train/trainer.h"

typedef struct settings {
    lmb_train_config train;
    lmb_distill_config distill;
    double calibrate, decay, prox, validation;
    lmb_personal_config personal;
    const lmb_tree *keep;
    const char *term;
} settings;

static const lmb_field distill_fields[] = {
    LMB_REAL(lmb_distill_config, alpha, 0, 0, 1, "", "share of the round's model as it came; the labels have the rest"),
    LMB_REAL(lmb_distill_config, temperature, 2, 0.05, 100, "", "softens both predictions"), LMB_FIELD_END
};

const lmb_field lmb_local_fields[] = {
    LMB_SECTION(settings, train, lmb_train_fields, "optimizer, rate, epochs of a round"),
    LMB_SECTION(settings, distill, distill_fields, "what holds a client to the model it was sent"),
    LMB_REAL(settings, decay, 1, 1e-3, 1, "", "the rate of a round is this much of the rate of the round before"),
    LMB_REAL(settings, calibrate, 0, 0, 1, "", "how much of a client's uneven classes is taken out of its loss"),
    LMB_REAL(settings, prox, 0, 0, 1e6, "",
             "FedProx: pull of the round's model on the weights, mu of its proximal term"),
    LMB_TREE(settings, keep, "numbers that stay with each client: batch_norm, or patterns over their names"),
    LMB_REAL(settings, validation, 0, 0, 0.9, "",
             "share of a client's samples held out, to tell how the round's model does on them"),
    LMB_SECTION(settings, personal, lmb_personal_fields, "what a client makes of the model for itself; never sent"),
    LMB_TEXT(settings, term, "", "what the aggregator asks of clients; the server sets it"),
    LMB_FIELD_END
};

struct lmb_local {
    lmb_hash source;       /* of graph and settings: what `yaml` and `model` were read from */
    lmb_config *yaml;
    settings s;
    lmb_graph *model;      /* holds the round's numbers */
    lmb_state_layout *layout;
    lmb_hash baked;        /* of all that the trainer's plans were compiled for */
    lmb_trainer *trainer;
    lmb_objective objective; /* the trainer's; `prior` is owned */
    lmb_loss loss;
    const lmb_term *term; /* NULL: none */
    float *shift;         /* [values], with a term that corrects gradients */
    lmb_keep keep;
    float *start;         /* [values] what this client begins the round with: the round's model and what it has kept */
    lmb_held held;        /* of the client that was trained last */
    lmb_head head;
    const float *own;     /* [values] what it has made of the model for itself; NULL: nothing */
};

/* Terms ask how far a gradient of 1 would have gone. */
static lmb_status find_term(const settings *s, const lmb_term **out, lmb_error *err)
{
    const char *name = "sgd";

    *out = NULL;
    if (!*s->term)
        return LMB_OK;
    *out = lmb_term_find(s->term);
    if (!*out)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the server asks for '%.40s', which this client does not know; use the same version", s->term);
    if (s->train.optimizer)
        LMB_TRY(lmb_tree_name(s->train.optimizer, &name, err));
    const lmb_optimizer *o = lmb_optimizer_find(name);
    if (!o || !o->reach)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "%s needs gradient descent on the clients, with or without momentum, and they have optimizer '%s': "
            "set local.train.optimizer to {name: sgd, momentum: 0}",
            (*out)->name, name);
    return LMB_OK;
}

lmb_status lmb_local_check(const lmb_tree *tree, const char *term, lmb_error *err)
{
    const lmb_term *unused;
    settings s;

    LMB_TRY(lmb_fields_bind(lmb_local_fields, tree, &s, err));
    if (term)
        s.term = term;
    LMB_TRY(lmb_keep_check(s.keep, err));
    if (s.personal.head && s.validation == 0)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "personal.head trains a last layer for each client, and validation is 0: nobody would learn whether it helps; set local.validation");
    return find_term(&s, &unused, err);
}

lmb_status lmb_local_create(lmb_local **out, lmb_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for local training");
}

static void drop_trainer(lmb_local *l)
{
    lmb_trainer_destroy(l->trainer);
    free((void *)l->objective.prior);
    l->trainer = NULL;
    l->objective.prior = NULL;
}

static void drop(lmb_local *l)
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

void lmb_local_destroy(lmb_local *l)
{
    if (!l)
        return;
    drop(l);
    free(l);
}

/* ---- what the server sent ---- */

static lmb_status read_source(lmb_local *l, const lmb_train_task *task, lmb_error *err)
{
    lmb_hash part[2] = { lmb_hash_of(task->graph, task->graph_bytes),
                         lmb_hash_of(task->settings, strlen(task->settings)) };
    lmb_hash source = lmb_hash_of(part, sizeof part);

    if (l->model && memcmp(&source, &l->source, sizeof source) == 0)
        return LMB_OK;
    drop(l);
    LMB_TRY(lmb_config_parse(task->settings, strlen(task->settings), "settings from the server", &l->yaml, err));
    LMB_TRY(lmb_fields_bind(lmb_local_fields, lmb_config_root(l->yaml), &l->s, err));
    LMB_TRY(lmb_onnx_import(task->graph, task->graph_bytes, NULL, &l->model, err));
    LMB_TRY(lmb_state_layout_create(l->model, &l->layout, err));
    LMB_TRY(find_term(&l->s, &l->term, err));
    LMB_TRY(lmb_keep_open(l->s.keep, l->model, l->layout, &l->keep, err));
    if (!(l->start = malloc((l->layout->count + 1) * sizeof *l->start)))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %zu values", l->layout->count);
    if (l->term && l->term->begin && !(l->shift = malloc((l->layout->count + 1) * sizeof *l->shift)))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the correction of %zu gradients", l->layout->count);
    l->source = source;
    return LMB_OK;
}

/* Numbers a client remembers: [of the term | has it kept any | kept]. */
static size_t term_memory(const lmb_local *l) { return l->term && l->term->memory ? l->layout->count : 0; }
static size_t memory_values(const lmb_local *l) { return term_memory(l) + (l->keep.values ? 1 + l->keep.values : 0); }

/* The round's numbers, and those that the client has kept, into the graph; it must speak of as many classes as the data
 * have. */
static lmb_status fill(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task, const float *memory,
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
    if (l->keep.values && memory[term_memory(l)] == 1)
        lmb_keep_put(&l->keep, l->layout, memory + term_memory(l) + 1, l->start);
    return lmb_state_to_graph(l->layout, l->start, l->model, err);
}

/* ---- the trainer ---- */

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

static lmb_status make_trainer(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task, lmb_error *err)
{
    int64_t seed =
        (int64_t)(((uint64_t)l->s.train.seed + task->round * 1000003) & INT64_MAX); /* other batches in each round */
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

typedef struct turn { const lmb_train_task *task; lmb_train_result *result; } turn;

/* Progress of the local trainer is progress of the client: the server's deadline runs on it. */
static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    const lmb_train_task *task = ((const turn *)ctx)->task;
    (void)loss, (void)accuracy, (void)rate;
    lmb_client_progress(task, (uint64_t)(epoch * batches + batch));
    return !lmb_client_cancelled(task);
}

/* What is told of a training is what its last epoch saw. */
static lmb_status on_epoch(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *err)
{
    turn *now = ctx;
    (void)t, (void)err;
    now->result->metrics.n = 0;
    lmb_figures_add(&now->result->metrics, "loss", e->loss);
    lmb_figures_add(&now->result->metrics, "accuracy", e->accuracy);
    return LMB_OK;
}

/* ---- how the model that came does, and a head of one's own ---- */

static lmb_status score(const lmb_local *l, const float *state, double *accuracy, double *loss, lmb_error *err)
{
    lmb_metrics m;

    LMB_TRY(lmb_metrics_init(&m, l->held.valid->classes, err));
    lmb_status st = lmb_evaluate(l->model, state, l->held.valid, l->s.train.backend, (int)l->s.train.threads, &m, err);
    *accuracy = lmb_metrics_accuracy(&m);
    *loss = lmb_metrics_loss(&m);
    lmb_metrics_deinit(&m);
    return st;
}

/* Behind what the training tells, on samples that it has not seen. */
static lmb_status tell_held(lmb_local *l, const lmb_dataset *train, turn *now, lmb_error *err)
{
    lmb_train_watch watch = { .step = on_step, .ctx = now };
    lmb_train_config c = l->s.train;
    double accuracy, loss;

    LMB_TRY(score(l, l->start, &accuracy, &loss, err));
    lmb_figures_add(&now->result->metrics, "valid_accuracy", accuracy);
    lmb_figures_add(&now->result->metrics, "valid_loss", loss);
    if (!l->s.personal.head)
        return LMB_OK;
    c.epochs = l->s.personal.head;
    c.lr = l->s.personal.lr > 0 ? l->s.personal.lr : c.lr;
    LMB_TRY(lmb_head_train(&l->head, &c, l->model, l->layout, l->start, train, &watch, &l->own, err));
    LMB_TRY(score(l, l->own, &accuracy, &loss, err));
    lmb_figures_add(&now->result->metrics, "personal_accuracy", accuracy);
    return LMB_OK;
}

/* ---- a round ---- */

/* memory: [2, memory_values], before and after; NULL without. */
static lmb_status train_with(lmb_local *l, const lmb_train_task *task, lmb_train_result *result, float *memory,
                             lmb_error *err)
{
    turn now = { task, result };
    lmb_train_watch watch = { on_step, on_epoch, &now, NULL };
    lmb_gradient_terms terms = { l->s.prox, l->s.prox > 0 ? l->start : NULL, l->shift };
    size_t values = l->layout->count, own = term_memory(l);
    float *after = memory ? memory + memory_values(l) : NULL;

    if (l->shift)
        l->term->begin(values, task->model + values, memory, l->shift);
    lmb_trainer_terms(l->trainer, &terms);
    LMB_TRY(lmb_trainer_run(l->trainer, &watch, err));
    const float *trained = lmb_trainer_result(l->trainer);
    for (size_t i = 0; i < values; i++)
        result->delta[i] = trained[i] - l->start[i];
    for (int k = 0; k < l->layout->n; k++)
        if (!lmb_local_travels(&l->layout->segment[k]) || lmb_keep_has(&l->keep, k))
            memset(result->delta + l->layout->segment[k].offset, 0,
                   l->layout->segment[k].count * sizeof *result->delta);
    if (l->term)
        l->term->finish(values, lmb_trainer_travel(l->trainer), task->model + values, result->delta,
                        result->delta + values, own ? after : NULL);
    if (l->keep.values) {
        after[own] = 1;
        lmb_keep_take(&l->keep, l->layout, trained, after + own + 1);
        l->own = trained;
    }
    return l->held.valid ? tell_held(l, l->held.train, &now, err) : LMB_OK;
}

/* memory: [2, memory_values]. */
static lmb_status train_from(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task,
                             lmb_train_result *result, float *memory, lmb_error *err)
{
    lmb_status st = fill(l, data, task, memory, err);
    if (st == LMB_OK)
        st = lmb_held_open(data, l->s.validation, (uint64_t)l->s.train.seed, &l->held, err);
    const lmb_dataset *train = l->held.train ? l->held.train : data;
    if (st == LMB_OK)
        st = make_trainer(l, train, task, err);
    if (st != LMB_OK) {
        drop(l); /* nothing half-made is used again */
        return st;
    }
    result->examples = (uint64_t)train->n;
    return train_with(l, task, result, memory, err);
}

lmb_status lmb_local_train(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task, lmb_train_result *result,
                           const char *path, lmb_error *err)
{
    lmb_held before = l->held; /* the trainer looks at it until it has other samples */
    lmb_status st;

    l->held = (lmb_held){ NULL, NULL };
    l->own = NULL;
    st = read_source(l, task, err);
    if (st != LMB_OK) {
        drop(l);
        goto done;
    }
    size_t values = memory_values(l);
    float *memory = malloc((2 * values + 1) * sizeof *memory);
    if (!memory) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to remember %zu values", values);
        goto done;
    }
    st = values ? lmbi_memory_read(path, values, task->round, memory, err) : LMB_OK;
    memcpy(memory + values, memory, values * sizeof *memory);
    if (st == LMB_OK)
        st = train_from(l, data, task, result, memory, err);
    if (st == LMB_OK && values && path)
        st = lmbi_memory_write(path, values, task->round, memory, memory + values, err);
    free(memory);
done:
    lmb_held_close(&before);
    return st;
}

lmb_status lmb_local_own(lmb_local *l, const char *path, lmb_error *err)
{
    if (!l->own)
        return LMB_OK;
    LMB_TRY(lmb_state_to_graph(l->layout, l->own, l->model, err));
    return lmb_onnx_write(path, l->model, NULL, err);
}

lmb_status lmb_local_stays(const lmb_tree *settings_, const lmb_graph *model, const lmb_state_layout *l, lmb_keep *out,
                           lmb_error *err)
{
    settings s;

    *out = (lmb_keep){ NULL, 0 };
    if (!settings_)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_local_fields, settings_, &s, err));
    return lmb_keep_open(s.keep, model, l, out, err);
}
