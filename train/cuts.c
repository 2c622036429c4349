/* train/cuts.c - the training graph of a model, cut into stages. See stage.h. */
#include <stdlib.h>

#include "core/base/threads.h"
#include "core/passes/rewrite.h"
#include "train/stage.h"

#define NOMEM(err) LMB_FAIL((err), LMB_E_NOMEM, "no memory to cut a model into stages")

void lmbi_cuts_forget(lmb_graph *g, lmb_vid v)
{
    if (v != LMB_NONE && lmb_role_is_state(g->value[v].role))
        lmb_memory_forget((void *)g->value[v].data, sizeof(float) * (size_t)lmb_shape_count(&g->value[v].shape));
}

static lmb_status training_graph(const lmb_graph *model, const lmb_loss *loss, int64_t rows, lmbi_cuts *c, int *last,
                                 lmb_error *err)
{
    LMB_TRY(lmb_pass_train_form(model, rows, &c->g, err));
    *last = c->g->n_nodes;
    lmb_builder b = lmb_builder_of(c->g, err);
    c->x = lmb_graph_input(c->g, 0);
    c->logits = c->g->output[0].value;
    c->y = lmb_emit_value(&b, LMB_ROLE_INPUT, "labels", LMB_S64, LMB_SHAPE(rows), NULL);
    c->loss = loss->build(loss->ctx, &b, c->x, c->logits, c->y);
    c->g->n_outputs = 0; /* only what training reads */
    lmb_emit_output(&b, "loss", c->loss);
    lmb_emit_output(&b, "logits", c->logits);
    c->feed = loss->feed ? lmb_graph_find(c->g, LMB_LOSS_FEED) : LMB_NONE;
    return lmb_builder_status(&b);
}

static lmb_status find_trained(lmbi_cuts *c, lmb_error *err)
{
    const lmb_graph *g = c->g;

    c->trained = calloc((size_t)g->n_values + 1, sizeof *c->trained);
    if (!c->trained)
        return NOMEM(err);
    for (int v = 0; v < g->n_values; v++)
        c->trained[v] = g->value[v].role == LMB_ROLE_PARAMETER && !g->value[v].frozen;
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        bool any = false;
        for (int k = 0; k < n->n_in; k++)
            any |= n->in[k] != LMB_NONE && c->trained[n->in[k]];
        for (int k = 0; any && k < n->n_out; k++)
            c->trained[n->out[k]] = true;
    }
    return LMB_OK;
}

/* As fine as the model and the list of stages allow. */
static lmb_status count_places(lmbi_cuts *c, lmb_error *err)
{
    LMB_TRY(lmb_stages_most(c->g, c->last, &c->n, err));
    c->n = c->n < LMB_MOST_STAGES ? c->n : LMB_MOST_STAGES;
    return LMB_OK;
}

static lmb_status make_cuts(const lmb_graph *model, const lmb_loss *loss, int64_t rows, int stages, const int32_t *end,
                            lmbi_cuts *c, lmb_error *err)
{
    c->n = stages;
    LMB_TRY(training_graph(model, loss, rows, c, &c->last, err));
    LMB_TRY(find_trained(c, err));
    for (int v = 0; v < model->n_values;
         v++) /* whoever runs a stage binds its state: of the graph only the form is wanted */
        if (lmb_role_is_state(model->value[v].role))
            lmbi_cuts_forget(c->g, lmb_graph_find(c->g, model->value[v].name));
    if (stages == 0)
        LMB_TRY(count_places(c, err));
    return end ? lmb_stages_at(c->g, c->last, c->n, end, c->stage, err)
               : lmb_stages_cut(c->g, c->last, c->n, NULL, c->stage, err);
}

lmb_status lmbi_cuts_make(const lmb_graph *model, const lmb_loss *loss, int64_t rows, int stages, const int32_t *end,
                          lmbi_cuts **out, lmb_error *err)
{
    lmbi_cuts *c = calloc(1, sizeof *c);
    if (!c)
        return NOMEM(err);
    lmb_status st = make_cuts(model, loss, rows, stages, end, c, err);
    if (st != LMB_OK) {
        lmbi_cuts_destroy(c);
        return st;
    }
    *out = c;
    return LMB_OK;
}

void lmbi_cuts_destroy(lmbi_cuts *c)
{
    if (!c)
        return;
    lmb_graph_destroy(c->g);
    free(c->trained);
    free(c);
}

size_t lmbi_cuts_padded(const lmb_value *v)
{
    return (sizeof(float) * (size_t)lmb_shape_count(&v->shape) + 63) / 64 * 64;
}

lmb_status lmbi_cuts_crossing(const lmbi_cuts *c, int at, bool **crosses, size_t *bytes, lmb_error *err)
{
    *bytes = 0;
    *crosses = calloc((size_t)c->g->n_values + 1, sizeof **crosses);
    if (!*crosses)
        return NOMEM(err);
    LMB_TRY(lmb_stages_crossing(c->g, at, *crosses, err));
    for (int v = 0; v < c->g->n_values; v++)
        *bytes += (*crosses)[v] ? lmbi_cuts_padded(&c->g->value[v]) : 0;
    return LMB_OK;
}

lmb_status lmbi_cuts_block(const lmbi_cuts *c, int stage, size_t *bytes, lmb_error *err)
{
    bool *crosses = NULL;
    lmb_status st = lmbi_cuts_crossing(c, c->stage[stage].end, &crosses, bytes, err);
    free(crosses);
    return st;
}

void lmbi_cuts_owners(const lmbi_cuts *c, const lmb_state_layout *l, int *owner)
{
    for (int i = 0; i < l->n; i++) {
        lmb_vid v = lmb_graph_find(c->g, l->segment[i].name);
        owner[i] = 0;
        for (int k = 0; k < c->n && v != LMB_NONE; k++)
            for (int node = c->stage[k].begin; node < c->stage[k].end; node++)
                for (int in = 0; in < c->g->node[node].n_in; in++)
                    if (c->g->node[node].in[in] == v)
                        owner[i] = k;
    }
}
