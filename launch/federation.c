/* launch/federation.c - see federation.h. */
#include "launch/federation.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "datasets/split.h"

const lmb_field lmb_federation_fields[] = {
    LMB_INT(lmb_federation_config, clients, 4, 1, 100000, "", "slices that the clients' samples are divided into"),
    LMB_CHOICE(lmb_federation_config, partition, 1, lmb_partition_names, "how they are divided"),
    LMB_REAL(lmb_federation_config, alpha, 0.5, 1e-3, 1e6, "", "dirichlet: small is uneven; shards: shards a client"),
    LMB_INT(lmb_federation_config, seed, 1, 0, 9e15, "", "of the division"),
    LMB_INT(lmb_federation_config, least, 10, 1, 1e9, "samples", "that each client must get"),
    LMB_TEXT(lmb_federation_config, host, "127.0.0.1", "what invites tell clients to connect to"),
    LMB_REAL(lmb_federation_config, invite_ttl_s, 3600, 1, 1e8, "s", "how long an invite is good"),
    LMB_SECTION(lmb_federation_config, server, lmb_server_fields, "rounds, deadlines, aggregation"),
    LMB_SECTION(lmb_federation_config, client, lmb_client_fields, "what a client puts up with"),
    LMB_TREE(lmb_federation_config, local, "how clients train: keys of `train`"), LMB_FIELD_END
};

lmb_status lmb_federation_of(const lmb_job *j, lmb_federation_config *out, lmb_error *err)
{
    lmb_train_config local;

    if (!j->c.federation)
        return LMB_FAIL(err, LMB_E_ARG, "the configuration has no `federation` section; see configs/fashion-mnist/journey.yaml");
    LMB_TRY(lmb_fields_bind(lmb_federation_fields, j->c.federation, out, err));
    return lmb_fields_bind(lmb_train_fields, out->local, &local, err); /* a typing error shows here, not on the clients */
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

/* Progress of the local trainer is progress of the client: the server's deadline runs on it. */
static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    const lmb_train_task *task = ctx;
    (void)loss, (void)accuracy, (void)rate;
    lmb_client_progress(task, (uint64_t)(epoch * batches + batch));
    return !lmb_client_cancelled(task);
}

static lmb_status train_here(const lmb_dataset *data, const lmb_graph *model, const lmb_train_config *c, const lmb_train_task *task,
                             lmb_train_result *result, lmb_error *err)
{
    double smoothing = c->label_smoothing;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_watch watch = { on_step, NULL, (void *)task };
    lmb_trainer *t;

    LMB_TRY(lmb_trainer_create(c, model, &loss, data, NULL, NULL, &t, err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    lmb_status st = LMB_OK;
    if (s->layout->count != task->n || memcmp(&s->layout->hash, &task->layout, sizeof task->layout))
        st = LMB_FAIL(err, LMB_E_FORMAT, "the server's graph has %zu numbers of another layout than the model of %zu that it sent",
                      s->layout->count, task->n);
    if (st == LMB_OK) {
        memcpy(s->state, task->model, task->n * sizeof *s->state);
        st = lmb_trainer_run(t, &watch, err);
    }
    for (size_t i = 0; i < task->n && st == LMB_OK; i++)
        result->delta[i] = s->state[i] - task->model[i];
    result->examples = (uint64_t)data->n;
    lmb_trainer_destroy(t);
    return st;
}

lmb_status lmb_federation_train(void *ctx, const lmb_train_task *task, lmb_train_result *result, lmb_error *err)
{
    lmb_config *yaml = NULL;
    lmb_graph *model = NULL;
    lmb_train_config c;
    lmb_status st;

    LMB_TRY(lmb_config_parse(task->settings, strlen(task->settings), "settings from the server", &yaml, err));
    LMB_TRY_GOTO(st, done, lmb_fields_bind(lmb_train_fields, lmb_config_root(yaml), &c, err));
    c.seed += (int64_t)task->round * 1000003; /* other batches in each round */
    LMB_TRY_GOTO(st, done, lmb_onnx_import(task->graph, task->graph_bytes, NULL, &model, err));
    st = train_here(ctx, model, &c, task, result, err);
done:
    lmb_graph_destroy(model);
    lmb_config_destroy(yaml);
    return st;
}
