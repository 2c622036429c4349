/* distill/quantize/narrow.c - see narrow.h. */
#include "distill/quantize/narrow.h"

#include <stdio.h>
#include <string.h>

#include "core/passes/rewrite.h"
#include "distill/quantize/bits.h"

static bool is_narrow(const lmb_graph *g, const lmb_node *n)
{
    if (strcmp(n->op->name, "Conv") != 0 && strcmp(n->op->name, "Gemm") != 0)
        return false;
    const lmb_value *w = &g->value[n->in[1]];
    return w->role == LMB_ROLE_PARAMETER && w->bits >= LMB_BITS_MIN && w->bits <= LMB_BITS_FEW;
}

static lmb_status narrow_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                              lmb_error *err)
{
    lmb_vid operand[LMB_MAX_IN];
    char name[200];

    if (!is_narrow(r->old, n))
        return LMB_OK;
    int64_t top = lmb_bits_top(r->old->value[n->in[1]].bits);
    memcpy(operand, in, sizeof *in * (size_t)n->n_in);
    lmb_vid s = lmb_emit(&r->b, "WeightScale", NULL, LMB_IN(in[1]),
                         LMB_ATTRS(LMB_AINT("axis", 0), LMB_AINT("top", top), LMB_AINT("power_of_two", 0)));
    snprintf(name, sizeof name, "%.180s.qw", n->name);
    operand[1] = lmb_emit(&r->b, "FakeQuant", name, LMB_IN(in[1], s),
                          LMB_ATTRS(LMB_AINT("axis", 0), LMB_AINT("lo", -top), LMB_AINT("hi", top)));
    LMB_TRY(lmb_builder_status(&r->b));
    LMB_TRY(lmb_graph_node_like(r->b.g, n, operand, out, err));
    *done = true;
    return lmb_builder_status(&r->b);
}

lmb_status lmb_pass_narrow(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = narrow_node };
    bool any = false;

    for (int i = 0; i < g->n_nodes; i++)
        any |= is_narrow(g, &g->node[i]);
    *out = NULL;
    return any ? lmb_rewrite_run(&r, g, out, NULL, err) : LMB_OK;
}
