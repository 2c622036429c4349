/* distill/prune/blocks.c - see blocks.h. */
#include "distill/prune/blocks.h"

#include <stdlib.h>
#include <string.h>

#include "core/graph/op.h"
#include "core/passes/rewrite.h"

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* Does an output need the value when each Add with stays[i] >= 0 is that operand alone? Nodes stand in an order in
 * which they can run, so one walk from the last to the first is enough. */
static void mark_needed(const lmb_graph *g, const int *stays, bool *needed)
{
    for (int v = 0; v < g->n_values; v++)
        needed[v] = false;
    for (int i = 0; i < g->n_outputs; i++)
        needed[g->output[i].value] = true;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        const lmb_node *n = &g->node[i];
        bool runs = false;
        for (int k = 0; k < n->n_out; k++)
            runs |= needed[n->out[k]];
        for (int k = 0; runs && k < n->n_in; k++)
            if (n->in[k] != LMB_NONE && (stays[i] < 0 || stays[i] == k))
                needed[n->in[k]] = true;
    }
}

/* What of `before` is needed no longer. */
static void mark_gone(const lmb_graph *g, const int *stays, const bool *before, bool *gone)
{
    mark_needed(g, stays, gone);
    for (int v = 0; v < g->n_values; v++)
        gone[v] = before[v] && !gone[v];
}

static bool is_layer(const lmb_graph *g, const lmb_node *n)
{
    const lmb_value *w = n->n_in > 1 && n->in[1] != LMB_NONE ? &g->value[n->in[1]] : NULL;
    return (is(n, "Conv") || is(n, "Gemm")) && w && w->role == LMB_ROLE_PARAMETER && w->data && w->dtype == LMB_F32;
}

static bool has_layers(const lmb_graph *g, const bool *gone)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (is_layer(g, &g->node[i]) && gone[g->node[i].out[0]])
            return true;
    return false;
}

/* The branch's end: the layer it comes from, by way of a norm or not, and what makes its channels. */
static bool find_end(const lmb_graph *g, lmb_vid v, lmb_block *b)
{
    const lmb_node *n = g->value[v].node == LMB_NONE ? NULL : &g->node[g->value[v].node];

    b->makes[0] = b->makes[1] = LMB_NONE;
    if (n && is(n, "BatchNormalization")) {
        b->makes[0] = n->in[1];
        b->makes[1] = n->in[2];
        n = g->value[n->in[0]].node == LMB_NONE ? NULL : &g->node[g->value[n->in[0]].node];
    } else if (n && is_layer(g, n)) {
        b->makes[0] = n->in[1];
        b->makes[1] = n->n_in > 2 ? n->in[2] : LMB_NONE;
    }
    if (!n || !is_layer(g, n))
        return false;
    b->weight = n->in[1];
    return true;
}

/* stays, before: scratch [nodes], and what is needed as it is. shortcut: scratch [values]. */
static bool is_block(const lmb_graph *g, int node, int side, int *stays, const bool *before, bool *shortcut,
                     lmb_block *b)
{
    const lmb_node *n = &g->node[node];
    const lmb_shape *shape = &g->value[n->out[0]].shape;

    if (!is(n, "Add") || n->in[0] == n->in[1] || !before[n->out[0]] ||
        !lmb_shape_equal(&g->value[n->in[0]].shape, shape) || !lmb_shape_equal(&g->value[n->in[1]].shape, shape) ||
        g->value[n->in[side]].role != LMB_ROLE_ACTIVATION || !find_end(g, n->in[!side], b))
        return false;
    b->node = node;
    b->stays = side;
    stays[node] = side;
    mark_gone(g, stays, before, b->gone);
    stays[node] = !side;
    mark_gone(g, stays, before, shortcut);
    stays[node] = -1;
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role == LMB_ROLE_INPUT && b->gone[v])
            return false; /* what stays would answer without looking */
    return b->gone[b->weight] && !has_layers(g, shortcut);
}

void lmb_blocks_free(lmb_block *b, int n)
{
    for (int i = 0; b && i < n; i++)
        free(b[i].gone);
    free(b);
}

lmb_status lmb_blocks_find(const lmb_graph *g, lmb_block **out, int *n, lmb_error *err)
{
    lmb_block *b = calloc((size_t)g->n_nodes + 1, sizeof *b);
    int *stays = malloc(sizeof *stays * ((size_t)g->n_nodes + 1)), found = 0;
    bool *before = malloc((size_t)g->n_values + 1), *shortcut = malloc((size_t)g->n_values + 1);
    lmb_status st = b && stays && before && shortcut ? LMB_OK : LMB_E_NOMEM;

    for (int i = 0; st == LMB_OK && i < g->n_nodes; i++)
        stays[i] = -1;
    if (st == LMB_OK)
        mark_needed(g, stays, before);
    for (int i = 0; st == LMB_OK && i < g->n_nodes; i++)
        for (int side = 0; side < 2 && is(&g->node[i], "Add"); side++) {
            b[found].gone = b[found].gone ? b[found].gone : malloc((size_t)g->n_values + 1);
            if (!b[found].gone) {
                st = LMB_E_NOMEM;
                break;
            }
            if (is_block(g, i, side, stays, before, shortcut, &b[found])) {
                found++;
                break;
            }
        }
    free(stays);
    free(before);
    free(shortcut);
    if (st != LMB_OK) {
        lmb_blocks_free(b, found + 1);
        return LMB_FAIL(err, st, "no memory to look for residual blocks in %d nodes", g->n_nodes);
    }
    free(b[found].gone);
    b[found].gone = NULL;
    *out = b;
    *n = found;
    return LMB_OK;
}

/* ---- the pass ---- */

typedef struct task { int *stays; bool *gone; } task;

static lmb_status drop_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    const task *t = r->ctx;

    (void)err;
    if (t->gone[v]) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

static lmb_status drop_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    const task *t = r->ctx;
    const lmb_graph *old = r->old, *now = r->b.g;
    int i = (int)(n - old->node);

    (void)err;
    if (t->stays[i] >= 0) {
        out[0] = in[t->stays[i]];
        *done = true;
    } else if (t->gone[n->out[0]]) {
        for (int k = 0; k < n->n_out; k++)
            out[k] = LMB_NONE;
        *done = true;
    } else if (is(n, "Relu")) {
        int before = old->value[n->in[0]].node, comes = now->value[in[0]].node;
        if (before != LMB_NONE && t->stays[before] >= 0 && comes != LMB_NONE && is(&now->node[comes], "Relu")) {
            out[0] = in[0];
            *done = true;
        }
    }
    return LMB_OK;
}

static lmb_status choose(const lmb_graph *g, const lmb_block *b, int n_blocks, const char *const *weight, int n,
                         int *stays, lmb_error *err)
{
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < n_blocks && strcmp(g->value[b[k].weight].name, weight[i]) != 0)
            k++;
        if (k == n_blocks)
            return LMB_FAIL(err, LMB_E_ARG, "%s ends no residual block of this model", weight[i]);
        stays[b[k].node] = b[k].stays;
    }
    return LMB_OK;
}

lmb_status lmb_pass_drop_blocks(const lmb_graph *g, const char *const *weight, int n, lmb_graph **out, lmb_error *err)
{
    task t = { malloc(sizeof *t.stays * ((size_t)g->n_nodes + 1)), malloc((size_t)g->n_values + 1) };
    bool *before = malloc((size_t)g->n_values + 1);
    lmb_rewrite r = { .node = drop_node, .value = drop_value, .ctx = &t };
    lmb_block *b = NULL;
    int n_blocks = 0;
    lmb_status st;

    if (!t.stays || !t.gone || !before) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to drop %d blocks", n);
        goto done;
    }
    for (int i = 0; i < g->n_nodes; i++)
        t.stays[i] = -1;
    mark_needed(g, t.stays, before);
    LMB_TRY_GOTO(st, done, lmb_blocks_find(g, &b, &n_blocks, err));
    LMB_TRY_GOTO(st, done, choose(g, b, n_blocks, weight, n, t.stays, err));
    mark_gone(g, t.stays, before, t.gone);
    st = lmb_rewrite_run(&r, g, out, NULL, err);
done:
    lmb_blocks_free(b, n_blocks);
    free(t.stays);
    free(t.gone);
    free(before);
    return st;
}
