/* core/plan/uses.c - what comes from what, who reads a value last, and so how long each storage lives. */
#include <string.h>

#include "core/plan/internal.h"

void lmbi_find_trained(const lmb_graph *g, bool *trained)
{
    for (int v = 0; v < g->n_values; v++)
        trained[v] = g->value[v].role == LMB_ROLE_PARAMETER && !g->value[v].frozen;
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        bool any = false;
        for (int k = 0; k < n->n_in; k++)
            any |= n->in[k] != LMB_NONE && trained[n->in[k]];
        for (int k = 0; any && k < n->n_out; k++)
            trained[n->out[k]] = true;
    }
}

void lmbi_find_last_uses(const lmb_graph *g, const bool *needed, int *last_use)
{
    for (int v = 0; v < g->n_values; v++)
        last_use[v] = -1;
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        bool runs = false;
        for (int k = 0; k < n->n_out; k++)
            runs |= needed[n->out[k]];
        for (int k = 0; runs && k < n->n_in; k++)
            if (n->in[k] != LMB_NONE)
                last_use[n->in[k]] = i;
    }
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role != LMB_ROLE_ACTIVATION)
            last_use[v] = g->n_nodes;
    for (int i = 0; i < g->n_outputs; i++)
        last_use[g->output[i].value] = g->n_nodes;
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].next != LMB_NONE)
            last_use[g->value[v].next] = g->n_nodes;
}

bool lmbi_dies_here(const lmb_plan *p, int src, int i, const int *last_use)
{
    int storage = p->value[src].storage;
    if (storage < 0 || p->storage[storage].external || p->storage[storage].fixed)
        return false;
    for (int v = 0; v < p->n_values; v++) {
        if (p->value[v].storage != storage)
            continue;
        if (last_use[p->value[v].origin] > i)
            return false;
    }
    return true;
}

void lmbi_find_lifetimes(lmb_plan *p)
{
    for (int i = 0; i < p->n_storage; i++) {
        p->storage[i].first = p->n_steps;
        p->storage[i].last = -1;
        if (p->storage[i].fixed) {
            p->storage[i].first = -1;
            p->storage[i].last = p->n_steps;
        }
    }
    for (int i = 0; i < p->n_steps; i++) {
        lmbi_step *s = &p->step[i];
        for (int k = 0; k < s->n_in + s->n_out; k++) {
            if (s->in[k] < 0)
                continue;
            lmbi_pvalue *x = &p->value[s->in[k]];
            lmbi_storage *m = &p->storage[x->storage];
            x->last = i;
            m->first = i < m->first ? i : m->first;
            m->last = i > m->last ? i : m->last;
        }
    }
}

void lmbi_find_late(const lmb_plan *p, bool *late)
{
    const lmb_graph *g = p->g;

    memset(late, 0, sizeof *late * (size_t)g->n_values);
    for (int i = 0; i < p->options.n_later; i++) {
        lmb_vid v = lmbi_plan_value(p, p->options.later[i]);
        if (v != LMB_NONE)
            late[v] = true;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        bool any = false;
        for (int k = 0; k < n->n_in; k++)
            any |= n->in[k] != LMB_NONE && late[n->in[k]];
        for (int k = 0; any && k < n->n_out; k++)
            late[n->out[k]] = true;
    }
}
