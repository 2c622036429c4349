/* core/passes/recompute.c - see recompute.h.
 *   source   Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174: cheap results are
 *            dropped and computed again
 */
#include "core/passes/recompute.h"

#include <stdlib.h>
#include <string.h>

#include "core/ops/batch_norm.h"
#include "core/passes/rewrite.h"

typedef struct plan {
    const lmb_graph *g;
    int *late;      /* [values] first node that reads the value again in the backward pass; -1: it is kept */
    lmb_vid *again; /* [values] in the new graph: computed again, LMB_NONE as long as it is not            */
    int count;
} plan;

/* Gradients' nodes read what the forward pass has made. */
static bool is_gradient(const lmb_node *n) { return strstr(n->op->name, "Grad") != NULL; }

/* y of a norm with saved statistics and nothing added. */
static bool can_be_computed_again(const lmb_node *n)
{
    return strcmp(n->op->name, "BatchNormAct") == 0 && n->n_out == 5 && (n->n_in < 6 || n->in[5] == LMB_NONE);
}

static bool outlives(const lmb_graph *g, lmb_vid v)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (g->output[i].value == v)
            return true;
    for (int i = 0; i < g->n_values; i++)
        if (g->value[i].next == v)
            return true;
    return false;
}

/* The first gradient that reads v, if no other node does after it. */
static int first_late_reader(const lmb_graph *g, int from, lmb_vid v)
{
    int first = -1;
    for (int i = from + 1; i < g->n_nodes; i++)
        for (int k = 0; k < g->node[i].n_in; k++) {
            if (g->node[i].in[k] != v)
                continue;
            if (!is_gradient(&g->node[i]) && first >= 0)
                return -1;
            if (is_gradient(&g->node[i]) && first < 0)
                first = i;
        }
    return first;
}

static void find(plan *p)
{
    const lmb_graph *g = p->g;

    for (int v = 0; v < g->n_values; v++) {
        p->late[v] = -1;
        p->again[v] = LMB_NONE;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        lmb_vid y = can_be_computed_again(&g->node[i]) ? g->node[i].out[0] : LMB_NONE;
        if (y == LMB_NONE || outlives(g, y))
            continue;
        p->late[y] = first_late_reader(g, i, y);
        p->count += p->late[y] >= 0;
    }
}

static lmb_vid compute_again(lmb_rewrite *r, lmb_vid y)
{
    const lmb_node *n = &r->old->node[r->old->value[y].node];
    const lmb_batch_norm_act_attr *a = n->attr;
    lmb_vid in[5] = { r->map[n->in[0]], r->map[n->in[1]], r->map[n->in[2]], r->map[n->out[3]], r->map[n->out[4]] };

    return lmb_emit(&r->b, "BatchNormApply", n->name, in, 5,
                    LMB_ATTRS(LMB_ATEXT("function", a->function), LMB_AREAL("lo", a->lo), LMB_AREAL("hi", a->hi)));
}

static lmb_status replace_inputs(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                                 lmb_error *err)
{
    plan *p = r->ctx;
    int index = (int)(n - r->old->node);
    lmb_vid fresh[LMB_MAX_IN];

    for (int k = 0; k < n->n_in; k++) {
        lmb_vid v = n->in[k];
        fresh[k] = in[k];
        if (v == LMB_NONE || p->late[v] < 0 || index < p->late[v])
            continue;
        if (p->again[v] == LMB_NONE)
            p->again[v] = compute_again(r, v);
        LMB_TRY(lmb_builder_status(&r->b));
        fresh[k] = p->again[v];
        *done = true;
    }
    if (!*done)
        return LMB_OK;
    LMB_TRY(lmb_graph_node_like(r->b.g, n, fresh, out, err));
    for (int k = 0; k < n->n_out; k++)
        LMB_TRY(lmb_graph_rename(r->b.g, out[k], r->old->value[n->out[k]].name, err));
    return LMB_OK;
}

lmb_status lmb_pass_recompute(const lmb_graph *g, lmb_graph **out, lmb_vid **map, lmb_error *err)
{
    plan p = { .g = g };
    lmb_rewrite r = { .node = replace_inputs, .ctx = &p };
    lmb_status st = LMB_OK;

    *out = NULL;
    *map = NULL;
    p.late = malloc(sizeof *p.late * ((size_t)g->n_values + 1));
    p.again = malloc(sizeof *p.again * ((size_t)g->n_values + 1));
    if (!p.late || !p.again)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a pass over %d values", g->n_values);
    if (st == LMB_OK)
        find(&p);
    if (st == LMB_OK && p.count)
        st = lmb_rewrite_run(&r, g, out, map, err);
    free(p.late);
    free(p.again);
    return st;
}
