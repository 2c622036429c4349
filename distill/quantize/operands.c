/* distill/quantize/operands.c - see operands.h. */
#include "distill/quantize/operands.h"

#include <stdlib.h>
#include <string.h>

#include "core/graph/op.h"
#include "distill/quantize/bits.h"
#include "distill/quantize/integer_ops.h"

enum { BY_CONV = 1, BY_GEMM = 2, BY_OTHERS = 4 };

static bool keeps_integers(const lmb_node *n)
{
    const lmb_integer_op *row = lmb_integer_op_find(n->op->name);
    return row && row->role == LMB_INTEGER_KEEPS && !*n->op->domain;
}

/* What was quantised, of which v has the integers. */
static lmb_vid root_of(const lmb_graph *g, lmb_vid v)
{
    for (int i; (i = g->value[v].node) != LMB_NONE && keeps_integers(&g->node[i]);)
        v = g->node[i].in[0];
    return v;
}

/* How n reads its operand k. */
static int reads(const lmb_node *n, int k, bool end)
{
    bool conv = strcmp(n->op->name, "Conv") == 0, gemm = strcmp(n->op->name, "Gemm") == 0;

    if (keeps_integers(n))
        return 0;
    return k || end || (!conv && !gemm) ? BY_OTHERS : conv ? BY_CONV : BY_GEMM;
}

static int kind_of(int by, bool apart)
{
    if (!(by & (BY_CONV | BY_GEMM)))
        return LMBI_WIDE;
    return apart && by == (BY_CONV | BY_OTHERS) ? LMBI_BOTH : LMBI_NARROW;
}

lmb_status lmbi_operand_kinds(const lmb_graph *g, bool apart, int *kind, lmb_error *err)
{
    bool *end = malloc(sizeof *end * ((size_t)g->n_nodes + 1));

    if (!end)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d nodes", g->n_nodes);
    lmb_bits_ends(g, end);
    memset(kind, 0, sizeof *kind * (size_t)g->n_values);
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->node[i].n_in; k++)
            if (g->node[i].in[k] != LMB_NONE)
                kind[root_of(g, g->node[i].in[k])] |= reads(&g->node[i], k, end[i]);
    for (int i = 0; i < g->n_outputs; i++)
        kind[root_of(g, g->output[i].value)] |= BY_OTHERS;
    for (int v = 0; v < g->n_values; v++)
        if (root_of(g, v) == v)
            kind[v] = g->value[v].node == LMB_NONE ? LMBI_WIDE : kind_of(kind[v], apart);
    for (int v = 0; v < g->n_values; v++)
        kind[v] = kind[root_of(g, v)];
    free(end);
    return LMB_OK;
}
