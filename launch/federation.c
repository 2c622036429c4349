/* launch/federation.c - see federation.h. */
#include "launch/federation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "datasets/split.h"

/* How a client trains in a round: the section `local`. */
typedef struct local_config {
    lmb_train_config train;
    lmb_distill_config distill;
    double calibrate, decay;
} local_config;

static const lmb_field distill_fields[] = {
    LMB_REAL(lmb_distill_config, alpha, 0, 0, 1, "", "share of the round's model as it came; the labels have the rest"),
    LMB_REAL(lmb_distill_config, temperature, 2, 0.05, 100, "", "softens both predictions"), LMB_FIELD_END
};

static const lmb_field local_fields[] = {
    LMB_SECTION(local_config, train, lmb_train_fields, "optimizer, rate, epochs of a round"),
    LMB_SECTION(local_config, distill, distill_fields, "what holds a client to the model it was sent"),
    LMB_REAL(local_config, decay, 1, 1e-3, 1, "", "the rate of a round is this much of the rate of the round before"),
    LMB_REAL(local_config, calibrate, 0, 0, 1, "", "how much of a client's uneven classes is taken out of its loss"), LMB_FIELD_END
};

const lmb_field lmb_federation_fields[] = {
    LMB_INT(lmb_federation_config, clients, 4, 1, 100000, "", "slices that the clients' samples are divided into"),
    LMB_CHOICE(lmb_federation_config, partition, 1, lmb_partition_names, "how they are divided"),
    LMB_REAL(lmb_federation_config, alpha, 0.5, 1e-3, 1e6, "", "dirichlet: small is uneven; shards: shards a client"),
    LMB_INT(lmb_federation_config, seed, 1, 0, 9e15, "", "of the division"),
    LMB_INT(lmb_federation_config, least, 10, 1, 1e9, "samples", "that each client must get"),
    LMB_TEXT(lmb_federation_config, host, "127.0.0.1", "what invites tell clients to connect to"),
    LMB_REAL(lmb_federation_config, invite_ttl_s, 3600, 1, 1e8, "s", "how long an invite is good"),
    LMB_TREE(lmb_federation_config, server, "rounds, deadlines, aggregation"),
    LMB_SECTION(lmb_federation_config, client, lmb_client_fields, "what a client puts up with"),
    LMB_TREE(lmb_federation_config, local, "how clients train: train, distill, decay, calibrate"), LMB_FIELD_END
};

lmb_status lmb_federation_of(const lmb_job *j, lmb_federation_config *out, lmb_error *err)
{
    local_config local;

    if (!j->c.federation)
        return LMB_FAIL(err, LMB_E_ARG, "the configuration has no `federation` section; see configs/fashion-mnist/journey.yaml");
    LMB_TRY(lmb_fields_bind(lmb_federation_fields, j->c.federation, out, err));
    return lmb_fields_bind(local_fields, out->local, &local, err); /* a typing error shows here, not on the clients */
}

lmb_status lmb_federation_slice(const lmb_job *j, const lmb_federation_config *c, int i, int k, lmb_dataset **out, lmb_error *err)
{
    if (!j->clients)
        return LMB_FAIL(err, LMB_E_ARG, "split.clients is 0: there are no samples for clients");
    int32_t *client = malloc(sizeof *client * (size_t)j->clients->n);
    if (!client)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to divide the clients' samples");
    lmb_status st = lmb_partition(j->clients, (lmb_partition_kind)c->partition, k, c->alpha, (uint64_t)c->seed, c->least, client, err);
    if (st == LMB_OK)
        st = lmb_partition_view(j->clients, client, i, out, err);
    free(client);
    return st;
}

/* ---- local training ---- */

/* Progress of the local trainer is progress of the client: the server's deadline runs on it. */
static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    const lmb_train_task *task = ctx;
    (void)loss, (void)accuracy, (void)rate;
    lmb_client_progress(task, (uint64_t)(epoch * batches + batch));
    return !lmb_client_cancelled(task);
}

/* calibrate * log of each class's share, one sample added to each: a class that is absent is rare, not impossible.
 * malloc'd. */
static lmb_status class_prior(const lmb_dataset *data, double calibrate, float **out, lmb_error *err)
{
    size_t classes = (size_t)data->classes;
    int32_t *label = malloc(sizeof *label * (size_t)data->n);
    float *prior = calloc(classes, sizeof *prior);
    lmb_status st = label && prior ? lmb_dataset_labels(data, label, err)
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

/* `model` holds the round's numbers: it is where training starts, and the teacher. */
static lmb_status train_here(const lmb_dataset *data, const lmb_graph *model, const local_config *c, const lmb_train_task *task,
                             lmb_train_result *result, lmb_error *err)
{
    lmb_objective o = { .distill = c->distill, .label_smoothing = c->train.label_smoothing,
                        .teacher = c->distill.alpha > 0 ? model : NULL };
    lmb_loss loss = lmb_objective_loss(&o);
    lmb_train_watch watch = { on_step, NULL, (void *)task };
    lmb_trainer *t = NULL;
    float *prior = NULL;
    lmb_status st;

    if (c->calibrate > 0)
        LMB_TRY(class_prior(data, c->calibrate, &prior, err));
    o.prior = prior;
    LMB_TRY_GOTO(st, done, lmb_trainer_create(&c->train, model, &loss, data, NULL, NULL, &t, err));
    LMB_TRY_GOTO(st, done, lmb_trainer_run(t, &watch, err));
    for (size_t i = 0; i < task->n; i++)
        result->delta[i] = lmb_trainer_result(t)[i] - task->model[i];
    result->examples = (uint64_t)data->n;
done:
    lmb_trainer_destroy(t);
    free(prior);
    return st;
}

/* The server's graph with the round's numbers in it; it must speak of as many classes as the data have. */
static lmb_status fill(lmb_graph *model, const lmb_dataset *data, const lmb_train_task *task, lmb_error *err)
{
    lmb_state_layout *l = NULL;
    lmb_status st = LMB_OK;
    lmb_shape y = model->n_outputs ? model->value[model->output[0].value].shape : LMB_SHAPE(0);

    if (y.n != 2 || y.d[1] != data->classes)
        return LMB_FAIL(err, LMB_E_SHAPE, "the server's model has %lld classes, this client's data %d",
                        (long long)(y.n == 2 ? y.d[1] : 0), data->classes);
    LMB_TRY(lmb_state_layout_create(model, &l, err));
    if (l->count != task->n || memcmp(&l->hash, &task->layout, sizeof task->layout))
        st = LMB_FAIL(err, LMB_E_FORMAT, "the server's graph has %zu numbers of another layout than the model of %zu that it sent",
                      l->count, task->n);
    else
        st = lmb_state_to_graph(l, task->model, model, err);
    lmb_state_layout_destroy(l);
    return st;
}

lmb_status lmb_federation_train(void *ctx, const lmb_train_task *task, lmb_train_result *result, lmb_error *err)
{
    lmb_config *yaml = NULL;
    lmb_graph *model = NULL;
    local_config c;
    lmb_status st;

    LMB_TRY(lmb_config_parse(task->settings, strlen(task->settings), "settings from the server", &yaml, err));
    LMB_TRY_GOTO(st, done, lmb_fields_bind(local_fields, lmb_config_root(yaml), &c, err));
    c.train.seed = (int64_t)(((uint64_t)c.train.seed + task->round * 1000003) & INT64_MAX); /* other batches in each round */
    c.train.lr *= pow(c.decay, (double)task->round - 1);
    LMB_TRY_GOTO(st, done, lmb_onnx_import(task->graph, task->graph_bytes, NULL, &model, err));
    LMB_TRY_GOTO(st, done, fill(model, ctx, task, err));
    st = train_here(ctx, model, &c, task, result, err);
done:
    lmb_graph_destroy(model);
    lmb_config_destroy(yaml);
    return st;
}
