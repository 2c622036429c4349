/* core/graph/query.c - asking a graph: roles, calls, inputs and outputs, what is needed; copying it. See graph.h. */
#include <string.h>

#include "core/graph/graph.h"
#include "core/graph/op.h"

const char *lmb_role_name(lmb_role r)
{
    static const char *const names[] = {
#define X(name, text) text,
        LMB_ROLE_MAP(X)
#undef X
    };
    return (unsigned)r < LMB_ROLE_COUNT ? names[r] : "unknown";
}

void lmb_call_of(const lmb_graph *g, const lmb_node *n, lmb_type *in, lmb_type *out, lmb_call *call)
{
    memset(in, 0, sizeof(lmb_type) * (size_t)n->n_in);
    memset(out, 0, sizeof(lmb_type) * (size_t)n->n_out);
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != LMB_NONE) {
            const lmb_value *v = &g->value[n->in[i]];
            in[i] = (lmb_type){ true, v->dtype, v->shape, v->role == LMB_ROLE_CONSTANT ? v->data : NULL };
        }
    for (int i = 0; i < n->n_out && n->out; i++) {
        const lmb_value *v = &g->value[n->out[i]];
        out[i] = (lmb_type){ true, v->dtype, v->shape, NULL };
    }
    *call = (lmb_call){ n->name, n->op, n->attr, n->n_in, n->n_out, in, out };
}

lmb_cost lmb_call_cost(const lmb_call *c)
{
    lmb_cost cost = { 0, 0, 0 };

    if (c->op->cost)
        c->op->cost(c, &cost);
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].present)
            cost.bytes += (double)lmb_shape_bytes(&c->in[i].shape, c->in[i].dtype);
    for (int i = 0; i < c->n_out; i++)
        if (c->out[i].present)
            cost.bytes += (double)lmb_shape_bytes(&c->out[i].shape, c->out[i].dtype);
    return cost;
}

double lmb_graph_macs(const lmb_graph *g)
{
    lmb_type in[LMB_MAX_IN], out[LMB_MAX_OUT];
    lmb_call call;
    double n = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        lmb_call_of(g, &g->node[i], in, out, &call);
        n += lmb_call_cost(&call).macs;
    }
    return n;
}

lmb_vid lmb_graph_find_output(const lmb_graph *g, const char *name)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (strcmp(g->output[i].name, name) == 0)
            return g->output[i].value;
    return LMB_NONE;
}

lmb_vid lmb_graph_input(const lmb_graph *g, int i)
{
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role == LMB_ROLE_INPUT && i-- == 0)
            return v;
    return LMB_NONE;
}

lmb_status lmb_graph_needed(const lmb_graph *g, bool states, bool *needed, lmb_error *err)
{
    (void)err;
    memset(needed, 0, sizeof *needed * (size_t)g->n_values);
    for (int i = 0; i < g->n_outputs; i++)
        needed[g->output[i].value] = true;
    for (int v = 0; states && v < g->n_values; v++)
        if (g->value[v].next != LMB_NONE)
            needed[g->value[v].next] = true;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        const lmb_node *n = &g->node[i];
        bool any = false;
        for (int k = 0; k < n->n_out; k++)
            any |= needed[n->out[k]];
        for (int k = 0; any && k < n->n_in; k++)
            if (n->in[k] != LMB_NONE)
                needed[n->in[k]] = true;
    }
    return LMB_OK;
}

/* Values are copied in id order and nodes just before the first value they make, so ids stay equal. */
lmb_status lmb_graph_copy(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    lmb_graph *c = NULL;
    lmb_status st;

    LMB_TRY(lmb_graph_create(&c, err));
    for (int v = 0; v < g->n_values;) {
        const lmb_value *x = &g->value[v];
        if (x->node == LMB_NONE) {
            lmb_vid id;
            LMB_TRY_GOTO(st, failed, lmb_graph_value(c, x->role, x->name, x->dtype, &x->shape, x->data, &id, err));
            v++;
        } else {
            const lmb_node *n = &g->node[x->node];
            lmb_vid ids[LMB_MAX_OUT];
            LMB_TRY_GOTO(st, failed, lmb_graph_node_like(c, n, n->in, ids, err));
            for (int k = 0; k < n->n_out; k++)
                LMB_TRY_GOTO(st, failed, lmb_graph_rename(c, ids[k], g->value[n->out[k]].name, err));
            v += n->n_out;
        }
    }
    for (int v = 0; v < g->n_values; v++) {
        c->value[v].next = g->value[v].next;
        c->value[v].reduce = g->value[v].reduce;
        c->value[v].frozen = g->value[v].frozen;
        c->value[v].decay = g->value[v].decay;
        c->value[v].bits = g->value[v].bits;
    }
    for (int i = 0; i < g->n_outputs; i++)
        LMB_TRY_GOTO(st, failed, lmb_graph_output_add(c, g->output[i].name, g->output[i].value, err));
    *out = c;
    return LMB_OK;
failed:
    lmb_graph_destroy(c);
    return st;
}
