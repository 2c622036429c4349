/* distill/quantize/bits.c - see bits.h. */
#include "distill/quantize/bits.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/graph/op.h"

int lmb_bits_top(int bits) { return (1 << (bits - 1)) - 1; }

static bool is_weighted(const lmb_node *n)
{
    return strcmp(n->op->name, "Conv") == 0 || strcmp(n->op->name, "Gemm") == 0;
}

static const char *weight_of(const lmb_graph *g, int node) { return g->value[g->node[node].in[1]].name; }

static lmb_status unknown(const lmb_graph *g, const lmb_tree *row, lmb_error *err)
{
    const char **names = malloc(sizeof *names * ((size_t)g->n_nodes + 1));
    int n = 0;

    if (!names)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d names", g->n_nodes);
    for (int i = 0; i < g->n_nodes; i++)
        if (is_weighted(&g->node[i]))
            names[n++] = weight_of(g, i);
    names[n] = NULL;
    const char *near = lmb_nearest(row->key, names);
    lmb_status st =
        lmb_tree_fail(row, err, LMB_E_ARG, "'%s' is no layer's weight%s%s%s", row->key, near ? "; did you mean " : "",
                      near ? near : "", near ? "?" : "; `limbeck inspect` lists them");
    free(names);
    return st;
}

/* What `layers` says, by name. */
static lmb_status named(const lmb_graph *g, const lmb_tree *layers, int *bits, lmb_error *err)
{
    if (layers->kind != LMB_TREE_MAP)
        return lmb_tree_fail(layers, err, LMB_E_ARG,
                             "layers must be a mapping of weights to bits, such as {conv1.weight: 4}");
    for (const lmb_tree *row = layers->child; row; row = row->next) {
        int64_t b;
        bool found = false;
        LMB_TRY(lmb_tree_int(row, &b, err));
        if (b < LMB_BITS_MIN || b > LMB_BITS_MAX)
            return lmb_tree_fail(row, err, LMB_E_ARG, "%s: %lld bits; it must be %d .. %d", row->key, (long long)b,
                                 LMB_BITS_MIN, LMB_BITS_MAX);
        for (int i = 0; i < g->n_nodes; i++)
            if (is_weighted(&g->node[i]) && strcmp(weight_of(g, i), row->key) == 0) {
                bits[i] = (int)b;
                found = true;
            }
        if (!found)
            return unknown(g, row, err);
    }
    return LMB_OK;
}

lmb_status lmb_bits_resolve(const lmb_graph *g, const lmb_qat_config *c, int *bits, lmb_error *err)
{
    int first = -1, last = -1, all = c->bits ? (int)c->bits : LMB_BITS_MAX,
        ends = c->ends ? (int)c->ends : LMB_BITS_MAX;

    for (int i = 0; i < g->n_nodes; i++) {
        bits[i] = 0;
        if (is_weighted(&g->node[i])) {
            first = first < 0 ? i : first;
            last = i;
        }
    }
    for (int i = 0; i < g->n_nodes; i++)
        if (is_weighted(&g->node[i])) {
            int own = g->value[g->node[i].in[1]].bits;
            bits[i] = own ? own : i == first || i == last ? ends : all;
        }
    return c->layers ? named(g, c->layers, bits, err) : LMB_OK;
}

lmb_status lmb_bits_settle(lmb_graph *g, const lmb_qat_config *c, lmb_error *err)
{
    int *bits = malloc(sizeof *bits * ((size_t)g->n_nodes + 1));
    lmb_status st = bits ? lmb_bits_resolve(g, c, bits, err)
                         : LMB_FAIL(err, LMB_E_NOMEM, "no memory for the bits of %d nodes", g->n_nodes);
    bool any = false;

    for (int i = 0; st == LMB_OK && i < g->n_nodes; i++)
        any |= bits[i] && bits[i] != LMB_BITS_MAX;
    for (int i = 0; any && i < g->n_nodes; i++)
        if (bits[i] && g->value[g->node[i].in[1]].role == LMB_ROLE_PARAMETER)
            g->value[g->node[i].in[1]].bits = bits[i];
    free(bits);
    return st;
}
