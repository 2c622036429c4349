/* distill/quantize/own_form.c - see own_form.h. */
#include "distill/quantize/own_form.h"

#include <stdlib.h>
#include <string.h>

#include "core/passes/rewrite.h"

typedef struct form {
    const bool *own; /* [values] lists that their readers get copies of */
} form;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* The stored value that v is, or is an Identity of; LMB_NONE: it is computed. */
static lmb_vid origin(const lmb_graph *g, lmb_vid v)
{
    while (v != LMB_NONE && g->value[v].node != LMB_NONE && is(&g->node[g->value[v].node], "Identity"))
        v = g->node[g->value[v].node].in[0];
    return v != LMB_NONE && g->value[v].node == LMB_NONE && g->value[v].data ? v : LMB_NONE;
}

/* Is operand k a number for each channel? */
static bool is_list(const lmb_node *n, int k)
{
    return is(n, "BatchNormalization") ? k >= 1 && k < 5 : (is(n, "Conv") || is(n, "Gemm")) && k == 2;
}

/* Lists that nodes of that kind alone read, more than one or by way of an Identity. */
static void find_own(const lmb_graph *g, bool *own, int *readers)
{
    for (int v = 0; v < g->n_values; v++)
        own[v] = g->value[v].shape.n == 1 && g->value[v].dtype == LMB_F32 && g->value[v].next == LMB_NONE &&
                 origin(g, v) == v;
    for (int i = 0; i < g->n_outputs; i++)
        if (origin(g, g->output[i].value) != LMB_NONE)
            own[origin(g, g->output[i].value)] = false;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->node[i].n_in; k++) {
            lmb_vid from = origin(g, g->node[i].in[k]);
            if (from == LMB_NONE)
                continue;
            readers[from] += is(&g->node[i], "Identity") ? 2 : 1;
            own[from] &= is(&g->node[i], "Identity") || is_list(&g->node[i], k);
        }
    for (int v = 0; v < g->n_values; v++)
        own[v] &= readers[v] > 1;
}

/* What a list is follows from who reads it, unless it is a constant. */
static lmb_role role_of(const lmb_value *x, const lmb_node *n, int k)
{
    if (x->role == LMB_ROLE_CONSTANT)
        return x->role;
    return is(n, "BatchNormalization") && k > 2 ? LMB_ROLE_STATISTIC : LMB_ROLE_PARAMETER;
}

static lmb_status form_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    const form *f = r->ctx;
    const lmb_graph *g = r->old;
    lmb_vid operand[LMB_MAX_IN];
    bool any = false;

    if (is(n, "Identity") && origin(g, n->in[0]) != LMB_NONE) {
        out[0] = in[0];
        *done = true;
        return LMB_OK;
    }
    memcpy(operand, in, sizeof *in * (size_t)n->n_in);
    for (int k = 0; k < n->n_in; k++) {
        lmb_vid from = origin(g, n->in[k]);
        if (from == LMB_NONE || !f->own[from])
            continue;
        const lmb_value *x = &g->value[from];
        operand[k] = lmb_emit_value(&r->b, role_of(x, n, k), x->name, LMB_F32, x->shape, x->data);
        LMB_TRY(lmb_builder_status(&r->b));
        r->b.g->value[operand[k]].frozen = x->frozen;
        r->b.g->value[operand[k]].decay = x->decay;
        any = true;
    }
    if (!any)
        return LMB_OK;
    *done = true;
    LMB_TRY(lmb_graph_node_like(r->b.g, n, operand, out, err));
    return lmb_graph_rename(r->b.g, out[0], g->value[n->out[0]].name, err);
}

static lmb_status form_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    (void)err;
    if (((const form *)r->ctx)->own[v]) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_own_form(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    bool *own = calloc((size_t)g->n_values + 1, sizeof *own);
    int *readers = calloc((size_t)g->n_values + 1, sizeof *readers);
    form f = { own };
    lmb_rewrite r = { .node = form_node, .value = form_value, .ctx = &f };
    lmb_status st = own && readers ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to look for shared numbers");

    if (st == LMB_OK) {
        find_own(g, own, readers);
        st = lmb_rewrite_run(&r, g, out, NULL, err);
    }
    free(own);
    free(readers);
    return st;
}
