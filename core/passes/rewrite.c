/* core/passes/rewrite.c - see rewrite.h. */
#include "core/passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "core/ops/batch_norm.h"

static lmb_status copy_value(lmb_rewrite *r, lmb_vid v, lmb_error *err)
{
    const lmb_value *x = &r->old->value[v];
    lmb_shape shape = x->shape;
    bool done = false;

    if (r->value)
        LMB_TRY(r->value(r, v, &r->map[v], &done, err));
    if (done)
        return LMB_OK;
    if (x->role == LMB_ROLE_INPUT && r->batch && shape.n > 0)
        shape.d[0] = r->batch;
    LMB_TRY(lmb_graph_value(r->b.g, x->role, x->name, x->dtype, &shape, x->data, &r->map[v], err));
    lmb_value *y = &r->b.g->value[r->map[v]];
    y->reduce = x->reduce;
    y->frozen = x->frozen;
    y->decay = x->decay;
    y->bits = x->bits;
    return LMB_OK;
}

/* A Reshape that spells the old batch out keeps the dimension instead. */
static lmb_status reshape_for_batch(lmb_rewrite *r, const lmb_node *n, lmb_vid *in, lmb_error *err)
{
    const lmb_value *shape = &r->old->value[n->in[1]], *x = &r->old->value[n->in[0]];
    int64_t list[LMB_MAX_DIMS];

    (void)err;
    if (!r->batch || strcmp(n->op->name, "Reshape") || !shape->data || shape->shape.n != 1 || shape->shape.d[0] < 1 ||
        shape->shape.d[0] > LMB_MAX_DIMS || x->shape.n < 1)
        return LMB_OK;
    memcpy(list, shape->data, sizeof *list * (size_t)shape->shape.d[0]);
    if (list[0] <= 0 || list[0] != x->shape.d[0] || r->b.g->value[in[0]].shape.d[0] == x->shape.d[0])
        return LMB_OK;
    list[0] = 0;
    in[1] = lmb_emit_ints(&r->b, list, (int)shape->shape.d[0]);
    return lmb_builder_status(&r->b);
}

static lmb_status copy_node(lmb_rewrite *r, const lmb_node *n, lmb_error *err)
{
    lmb_vid in[LMB_MAX_IN], out[LMB_MAX_OUT];
    bool done = false;

    for (int k = 0; k < n->n_in; k++)
        in[k] = n->in[k] == LMB_NONE ? LMB_NONE : r->map[n->in[k]];
    if (r->node)
        LMB_TRY(r->node(r, n, in, out, &done, err));
    LMB_TRY(lmb_builder_status(&r->b));
    for (int k = 0; k < n->n_in && !done; k++)
        if (n->in[k] != LMB_NONE && in[k] == LMB_NONE)
            return LMB_FAIL(err, LMB_E_ARG, "node %s reads %s, which a pass has taken away", n->name,
                            r->old->value[n->in[k]].name);
    if (!done)
        LMB_TRY(reshape_for_batch(r, n, in, err));
    if (!done) {
        LMB_TRY(lmb_graph_node_like(r->b.g, n, in, out, err));
        for (int k = 0; k < n->n_out; k++)
            LMB_TRY(lmb_graph_rename(r->b.g, out[k], r->old->value[n->out[k]].name, err));
    }
    for (int k = 0; k < n->n_out; k++)
        r->map[n->out[k]] = out[k];
    return LMB_OK;
}

static lmb_status walk(lmb_rewrite *r, const bool *needed, lmb_error *err)
{
    const lmb_graph *g = r->old;

    for (int v = 0; v < g->n_values;) {
        const lmb_value *x = &g->value[v];
        if (x->node == LMB_NONE) {
            if (!needed || needed[v] || x->role == LMB_ROLE_INPUT || lmb_role_is_state(x->role))
                LMB_TRY(copy_value(r, v, err));
            v++;
            continue;
        }
        const lmb_node *n = &g->node[x->node];
        bool runs = !needed;
        for (int k = 0; needed && k < n->n_out; k++)
            runs |= needed[n->out[k]];
        if (runs)
            LMB_TRY(copy_node(r, n, err));
        v += n->n_out;
    }
    for (int v = 0; v < g->n_values; v++) {
        lmb_vid fresh = r->map[v], next = g->value[v].next == LMB_NONE ? LMB_NONE : r->map[g->value[v].next];
        if (fresh != LMB_NONE && next != LMB_NONE && next != fresh && r->b.g->value[fresh].next == LMB_NONE)
            r->b.g->value[fresh].next = next; /* one that is its own next stays as it is */
    }
    for (int i = 0; i < g->n_outputs && !r->drop_outputs; i++)
        LMB_TRY(lmb_graph_output_add(r->b.g, g->output[i].name, r->map[g->output[i].value], err));
    return LMB_OK;
}

lmb_status lmb_rewrite_run(lmb_rewrite *r, const lmb_graph *g, lmb_graph **out, lmb_vid **map_out, lmb_error *err)
{
    lmb_graph *fresh = NULL;
    bool *needed = NULL;
    lmb_status st;

    LMB_TRY(lmb_graph_create(&fresh, err));
    r->old = g;
    r->b = lmb_builder_of(fresh, err);
    r->map = malloc(sizeof *r->map * ((size_t)g->n_values + 1));
    needed = r->drop_dead ? malloc(sizeof *needed * ((size_t)g->n_values + 1)) : NULL;
    if (!r->map || (r->drop_dead && !needed)) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a pass over %d values", g->n_values);
        goto done;
    }
    for (int v = 0; v < g->n_values; v++)
        r->map[v] = LMB_NONE;
    if (needed)
        LMB_TRY_GOTO(st, done, lmb_graph_needed(g, true, needed, err));
    LMB_TRY_GOTO(st, done, walk(r, needed, err));
    *out = fresh;
    fresh = NULL;
    if (map_out) {
        *map_out = r->map;
        r->map = NULL;
    }
done:
    lmb_graph_destroy(fresh);
    free(needed);
    free(r->map);
    r->map = NULL;
    return st;
}

/* ---- training form ---- */

static lmb_status train_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                             lmb_error *err)
{
    lmb_builder *b = &r->b;

    if (strcmp(n->op->name, "BatchNormalization") == 0) {
        const lmb_batch_norm_attr *a = n->attr;
        lmb_vid y[3];
        if (a->training_mode || r->old->value[n->in[1]].frozen || r->old->value[n->in[3]].role != LMB_ROLE_STATISTIC)
            return LMB_OK;
        lmb_emit_n(b, n->op->name, n->name, in, 5,
                   LMB_ATTRS(LMB_AREAL("epsilon", a->epsilon), LMB_AREAL("momentum", a->momentum),
                             LMB_AINT("training_mode", 1)), y, 3);
        LMB_TRY(lmb_builder_status(b));
        b->g->value[in[3]].next = y[1];
        b->g->value[in[4]].next = y[2];
        LMB_TRY(lmb_graph_rename(b->g, y[0], r->old->value[n->out[0]].name, err));
        out[0] = y[0];
        *done = true;
    } else if (strcmp(n->op->name, "Dropout") == 0 && n->n_out == 1) {
        const uint8_t yes = 1;
        lmb_vid mode = lmb_emit_value(b, LMB_ROLE_CONSTANT, "training", LMB_BOOL, (lmb_shape){ 0 }, &yes);
        lmb_vid all[3] = { in[0], n->n_in > 1 ? in[1] : LMB_NONE, mode };
        int64_t seed;
        memcpy(&seed, n->attr, sizeof seed); /* the op's only attribute */
        out[0] = lmb_emit(b, "Dropout", n->name, all, 3, LMB_ATTRS(LMB_AINT("seed", seed)));
        LMB_TRY(lmb_builder_status(b));
        LMB_TRY(lmb_graph_rename(b->g, out[0], r->old->value[n->out[0]].name, err));
        *done = true;
    }
    return lmb_builder_status(b);
}

lmb_status lmb_pass_train_form(const lmb_graph *g, int64_t batch, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = train_node, .batch = batch };
    return lmb_rewrite_run(&r, g, out, NULL, err);
}

/* ---- inference form ---- */

static lmb_status infer_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                             lmb_error *err)
{
    (void)r, (void)err;
    if (strcmp(n->op->name, "ObserveRange") == 0) {
        out[0] = in[1];
        out[1] = in[2];
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_infer_form(const lmb_graph *g, int64_t batch, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = infer_node, .batch = batch };
    return lmb_rewrite_run(&r, g, out, NULL, err);
}

/* ---- freezing ---- */

static lmb_status freeze_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    const lmb_value *x = &r->old->value[v];
    *done = lmb_role_is_state(x->role) && x->data;
    return *done ? lmb_graph_value(r->b.g, LMB_ROLE_CONSTANT, x->name, x->dtype, &x->shape, x->data, out, err) : LMB_OK;
}

/* `next` of a constant means nothing: nodes that only state needs go too. */
lmb_status lmb_pass_freeze(const lmb_graph *g, int64_t batch, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = infer_node, .value = freeze_value, .batch = batch };
    LMB_TRY(lmb_rewrite_run(&r, g, out, NULL, err));
    for (int v = 0; v < (*out)->n_values; v++)
        if ((*out)->value[v].role == LMB_ROLE_CONSTANT)
            (*out)->value[v].next = LMB_NONE;
    return LMB_OK;
}

/* ---- embedding ---- */

lmb_status lmb_pass_embed(lmb_builder *b, const lmb_graph *g, const lmb_vid *in, lmb_vid *out, lmb_error *err)
{
    lmb_vid *map = malloc(sizeof *map * ((size_t)g->n_values + 1));
    lmb_status st = LMB_OK;
    int input = 0;

    if (!map)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to embed a graph");
    for (int v = 0; v < g->n_values && st == LMB_OK;) {
        const lmb_value *x = &g->value[v];
        if (x->role == LMB_ROLE_INPUT) {
            map[v++] = in[input++];
        } else if (x->node == LMB_NONE) {
            st = lmb_graph_value(b->g, LMB_ROLE_CONSTANT, x->name, x->dtype, &x->shape, x->data, &map[v], err);
            v++;
        } else {
            const lmb_node *n = &g->node[x->node];
            lmb_vid operand[LMB_MAX_IN], made[LMB_MAX_OUT];
            for (int k = 0; k < n->n_in; k++)
                operand[k] = n->in[k] == LMB_NONE ? LMB_NONE : map[n->in[k]];
            st = lmb_graph_node_like(b->g, n, operand, made, err);
            for (int k = 0; k < n->n_out && st == LMB_OK; k++)
                map[n->out[k]] = made[k];
            v += n->n_out;
        }
    }
    for (int i = 0; i < g->n_outputs && st == LMB_OK; i++)
        out[i] = map[g->output[i].value];
    free(map);
    if (st != LMB_OK && b->status == LMB_OK)
        b->status = st;
    return st;
}
