/* distill/quantize/clamp_form.c - see clamp_form.h. */
#include "distill/quantize/clamp_form.h"

#include <stdlib.h>
#include <string.h>

#include "core/passes/fold.h"
#include "core/passes/rewrite.h"

typedef struct form {
    const bool *gone; /* [nodes] clamps that are elsewhere now                                  */
    const int *clamp; /* [nodes] the one that this node's operand is to go through first; -1: none */
} form;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

static bool moves(const lmb_node *n)
{
    return n->n_out == 1 &&
           (is(n, "MaxPool") || is(n, "Flatten") || is(n, "Reshape") || is(n, "Identity") || is(n, "Dropout"));
}

static const float *bound(const lmb_graph *g, const lmb_node *clip, int k)
{
    const lmb_value *v = clip->n_in > k && clip->in[k] != LMB_NONE ? &g->value[clip->in[k]] : NULL;
    return v && v->role == LMB_ROLE_CONSTANT && v->dtype == LMB_F32 ? v->data : NULL;
}

/* A Relu, or a Clip whose bounds are known. */
static bool is_clamp(const lmb_graph *g, const lmb_node *n)
{
    if (!is(n, "Clip"))
        return is(n, "Relu");
    for (int k = 1; k < n->n_in; k++)
        if (n->in[k] != LMB_NONE && !bound(g, n, k))
            return false;
    return true;
}

static const lmb_node *maker(const lmb_graph *g, lmb_vid v)
{
    return g->value[v].node == LMB_NONE ? NULL : &g->node[g->value[v].node];
}

/* The first of the nodes between clamp n and what makes its numbers; NULL: there are none, or somebody else reads one.
 */
static const lmb_node *first_between(const lmb_graph *g, const lmb_node *n)
{
    const lmb_node *first = NULL;

    for (const lmb_node *m = maker(g, n->in[0]); m && moves(m) && lmb_sole_reader(g, m->out[0]) >= 0;
         m = maker(g, m->in[0]))
        first = m;
    return first && lmb_sole_reader(g, first->in[0]) >= 0 ? first : NULL;
}

static bool makes(const lmb_node *n)
{
    static const char *const ops[] = { "Conv", "Gemm", "Add", "BatchNormalization", "GlobalAveragePool" };

    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (is(n, ops[i]))
            return true;
    return false;
}

static void plan(const lmb_graph *g, bool *gone, int *clamp)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i], *first = is_clamp(g, n) ? first_between(g, n) : NULL,
                       *x = first ? maker(g, first->in[0]) : NULL;
        if (!x)
            continue;
        if (makes(x)) {
            clamp[first - g->node] = i;
            gone[i] = true;
        } else if (is(x, "Relu") && is(n, "Relu")) {
            gone[i] = true;
        }
    }
}

static lmb_status emit_clamp(lmb_rewrite *r, const lmb_node *clamp, lmb_vid x, lmb_vid *out, lmb_error *err)
{
    lmb_vid in[3] = { x, LMB_NONE, LMB_NONE };

    for (int k = 1; k < clamp->n_in && k < 3; k++) /* which may stand behind this place */
        in[k] = clamp->in[k] == LMB_NONE ? LMB_NONE : lmb_emit_scalar(&r->b, *bound(r->old, clamp, k));
    LMB_TRY(lmb_builder_status(&r->b));
    return lmb_graph_node_like(r->b.g, clamp, in, out, err);
}

static lmb_status form_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    const form *f = r->ctx;
    int i = (int)(n - r->old->node);
    lmb_vid operand[LMB_MAX_IN];

    if (f->gone[i]) {
        out[0] = in[0];
        *done = true;
        return LMB_OK;
    }
    if (f->clamp[i] < 0)
        return LMB_OK;
    *done = true;
    memcpy(operand, in, sizeof *in * (size_t)n->n_in);
    LMB_TRY(emit_clamp(r, &r->old->node[f->clamp[i]], in[0], &operand[0], err));
    LMB_TRY(lmb_graph_node_like(r->b.g, n, operand, out, err));
    return lmb_graph_rename(r->b.g, out[0], r->old->value[n->out[0]].name, err);
}

lmb_status lmb_pass_clamp_form(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    bool *gone = calloc((size_t)g->n_nodes + 1, sizeof *gone);
    int *clamp = malloc(sizeof *clamp * ((size_t)g->n_nodes + 1));
    form f = { gone, clamp };
    lmb_rewrite r = { .node = form_node, .ctx = &f };
    lmb_status st = gone && clamp ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to look for clamps");

    for (int i = 0; st == LMB_OK && i < g->n_nodes; i++)
        clamp[i] = -1;
    if (st == LMB_OK) {
        plan(g, gone, clamp);
        st = lmb_rewrite_run(&r, g, out, NULL, err);
    }
    free(gone);
    free(clamp);
    return st;
}
