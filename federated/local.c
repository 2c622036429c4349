/* federated/local.c - rounds of a client's training. See local.h. */
#include "federated/local.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/onnx/onnx.h"
#include "federated/local_memory.h"
#include "federated/local_parts.h"
#include "train/optimizer.h"

static const lmb_field distill_fields[] = {
    LMB_REAL(lmb_distill_config, alpha, 0, 0, 1, "", "share of the round's model as it came; the labels have the rest"),
    LMB_REAL(lmb_distill_config, temperature, 2, 0.05, 100, "", "softens both predictions"), LMB_FIELD_END
};

const lmb_field lmb_local_fields[] = {
    LMB_SECTION(lmbi_local_settings, train, lmb_train_fields, "optimizer, rate, epochs of a round"),
    LMB_SECTION(lmbi_local_settings, distill, distill_fields, "what holds a client to the model it was sent"),
    LMB_REAL(lmbi_local_settings, decay, 1, 1e-3, 1, "",
             "the rate of a round is this much of the rate of the round before"),
    LMB_REAL(lmbi_local_settings, calibrate, 0, 0, 1, "",
             "how much of a client's uneven classes is taken out of its loss"),
    LMB_REAL(lmbi_local_settings, prox, 0, 0, 1e6, "",
             "FedProx: pull of the round's model on the weights, mu of its proximal term"),
    LMB_TREE(lmbi_local_settings, keep, "numbers that stay with each client: batch_norm, or patterns over their names"),
    LMB_REAL(lmbi_local_settings, validation, 0, 0, 0.9, "",
             "share of a client's samples held out, to tell how the round's model does on them"),
    LMB_SECTION(lmbi_local_settings, personal, lmb_personal_fields,
                "what a client makes of the model for itself; never sent"),
    LMB_TEXT(lmbi_local_settings, term, "", "what the aggregator asks of clients; the server sets it"),
    LMB_FIELD_END
};

lmb_status lmbi_local_find_term(const lmbi_local_settings *s, const lmb_term **out, lmb_error *err)
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
    const lmb_optimizer *o = lmb_optimizer_find(name); /* terms ask how far a gradient of 1 would have gone */
    if (!o || !o->reach)
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s needs gradient descent on the clients, with or without momentum, and they have optimizer "
                        "'%s': set local.train.optimizer to {name: sgd, momentum: 0}",
                        (*out)->name, name);
    return LMB_OK;
}

lmb_status lmb_local_check(const lmb_tree *tree, const char *term, lmb_error *err)
{
    const lmb_term *unused;
    lmbi_local_settings s;

    LMB_TRY(lmb_fields_bind(lmb_local_fields, tree, &s, err));
    if (term)
        s.term = term;
    LMB_TRY(lmb_keep_check(s.keep, err));
    if (s.personal.head && s.validation == 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "personal.head trains a last layer for each client, and validation is 0: nobody would learn "
                        "whether it helps; set local.validation");
    return lmbi_local_find_term(&s, &unused, err);
}

lmb_status lmb_local_create(lmb_local **out, lmb_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for local training");
}

void lmb_local_destroy(lmb_local *l)
{
    if (!l)
        return;
    lmbi_local_drop(l);
    free(l);
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

/* memory: [2, lmbi_local_memory], before and after; NULL without. */
static lmb_status train_with(lmb_local *l, const lmb_train_task *task, lmb_train_result *result, float *memory,
                             lmb_error *err)
{
    turn now = { task, result };
    lmb_train_watch watch = { on_step, on_epoch, &now, NULL };
    lmb_gradient_terms terms = { l->s.prox, l->s.prox > 0 ? l->start : NULL, l->shift };
    size_t values = l->layout->count, own = lmbi_local_term_memory(l);
    float *after = memory ? memory + lmbi_local_memory(l) : NULL;

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

/* memory: [2, lmbi_local_memory]. */
static lmb_status train_from(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task,
                             lmb_train_result *result, float *memory, lmb_error *err)
{
    lmb_status st = lmbi_local_fill(l, data, task, memory, err);
    if (st == LMB_OK)
        st = lmb_held_open(data, l->s.validation, (uint64_t)l->s.train.seed, &l->held, err);
    const lmb_dataset *train = l->held.train ? l->held.train : data;
    if (st == LMB_OK)
        st = lmbi_local_make(l, train, task, err);
    if (st != LMB_OK) {
        lmbi_local_drop(l); /* nothing half-made is used again */
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
    st = lmbi_local_read(l, task, err);
    if (st != LMB_OK) {
        lmbi_local_drop(l);
        goto done;
    }
    size_t values = lmbi_local_memory(l);
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
    lmbi_local_settings s;

    *out = (lmb_keep){ NULL, 0 };
    if (!settings_)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_local_fields, settings_, &s, err));
    return lmb_keep_open(s.keep, model, l, out, err);
}
