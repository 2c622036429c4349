/* federated/personal.c - see personal.h. */
#include "federated/personal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/split.h"

const lmb_field lmb_personal_fields[] = {
    LMB_INT(lmb_personal_config, head, 0, 0, 10000, "epochs",
            "that a client trains the last layer for itself; 0: it does not"),
    LMB_REAL(lmb_personal_config, lr, 0, 0, 10, "", "rate of that training; 0: that of local.train"), LMB_FIELD_END
};

/* ---- samples held out ---- */

lmb_status lmb_held_open(const lmb_dataset *d, double share, uint64_t seed, lmb_held *out, lmb_error *err)
{
    int64_t valid = (int64_t)(share * (double)d->n + 0.5);

    *out = (lmb_held){ NULL, NULL };
    if (!(share > 0) || d->n < 2)
        return LMB_OK;
    valid = valid < 1 ? 1 : valid > d->n - 1 ? d->n - 1 : valid;
    uint32_t *order = malloc(sizeof *order * (size_t)d->n);
    lmb_status st =
        order ? lmb_split_stratified(d, seed, order, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to hold out samples");
    if (st == LMB_OK)
        st = lmb_dataset_subset(d, order, valid, &out->valid, err);
    if (st == LMB_OK)
        st = lmb_dataset_subset(d, order + valid, d->n - valid, &out->train, err);
    free(order);
    return st;
}

void lmb_held_close(lmb_held *h)
{
    lmb_dataset_destroy(h->train);
    lmb_dataset_destroy(h->valid);
    *h = (lmb_held){ NULL, NULL };
}

/* ---- a head of one's own ---- */

/* The parameters nearest to the output, back to the first that is a matrix or a kernel. */
static bool thaw_last(lmb_graph *g)
{
    for (int n = g->n_nodes - 1; n >= 0; n--)
        for (int i = 0; i < g->node[n].n_in; i++) {
            lmb_vid v = g->node[n].in[i];
            if (v == LMB_NONE || g->value[v].role != LMB_ROLE_PARAMETER)
                continue;
            if (g->value[v].shape.n < 2) {
                g->value[v].frozen = false;
                continue;
            }
            for (int k = i; k < g->node[n].n_in; k++) /* and what stands beside it: a bias */
                if (g->node[n].in[k] != LMB_NONE)
                    g->value[g->node[n].in[k]].frozen = false;
            return true;
        }
    return false;
}

void lmb_head_close(lmb_head *h)
{
    lmb_trainer_destroy(h->trainer);
    lmb_graph_destroy(h->model);
    memset(h, 0, sizeof *h);
}

static lmb_status open_head(lmb_head *h, const lmb_graph *model, lmb_error *err)
{
    LMB_TRY(lmb_graph_copy(model, &h->model, err));
    for (int v = 0; v < h->model->n_values; v++)
        h->model->value[v].frozen = lmb_role_is_state(h->model->value[v].role);
    return thaw_last(h->model)
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_UNSUPPORTED, "the model has no last layer with weights to train (personal.head)");
}

lmb_status lmb_head_train(lmb_head *h, const lmb_train_config *c, const lmb_graph *model, const lmb_state_layout *l,
                          const float *start, const lmb_dataset *data, const lmb_train_watch *watch,
                          const float **trained, lmb_error *err)
{
    int64_t batch = c->batch < data->n ? c->batch : data->n, shards = (batch + c->shard - 1) / c->shard;

    if (!h->model)
        LMB_TRY(open_head(h, model, err));
    LMB_TRY(lmb_state_to_graph(l, start, h->model, err));
    if (h->trainer && h->shards == shards) {
        LMB_TRY(lmb_trainer_restart(h->trainer, data, c->seed, c->lr, err));
    } else {
        lmb_trainer_destroy(h->trainer);
        h->trainer = NULL;
        h->smoothing = c->label_smoothing;
        h->loss = (lmb_loss){ .build = lmb_loss_cross_entropy, .ctx = &h->smoothing };
        h->shards = shards;
        LMB_TRY(lmb_trainer_create(c, h->model, &h->loss, data, NULL, NULL, &h->trainer, err));
    }
    LMB_TRY(lmb_trainer_run(h->trainer, watch, err));
    *trained = lmb_trainer_result(h->trainer);
    return LMB_OK;
}
