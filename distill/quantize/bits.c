/* distill/quantize/bits.c - see bits.h. */
#include "distill/quantize/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/graph/op.h"
#include "distill/quantize/concat_form.h"

int lmb_bits_top(int bits) { return (1 << (bits - 1)) - 1; }

static bool is_weighted(const lmb_node *n)
{
    return strcmp(n->op->name, "Conv") == 0 || strcmp(n->op->name, "Gemm") == 0;
}

static const char *weight_of(const lmb_graph *g, int node) { return g->value[g->node[node].in[1]].name; }

/* Are both one layer, or parts of one? */
static bool same_layer(const lmb_graph *g, int a, int b)
{
    const char *x = weight_of(g, a), *y = weight_of(g, b);
    size_t n = lmb_whole_name(x);
    return a == b || (x[n] && n == lmb_whole_name(y) && strncmp(x, y, n) == 0);
}

/* Does `key` name the weight: by its whole name, or by one that goes on behind a dot? */
static bool names(const char *key, const char *weight)
{
    size_t n = strlen(key);
    return n && strncmp(key, weight, n) == 0 && (!weight[n] || weight[n] == '.');
}

/* The nearest name is of a whole layer, not of a part. */
static lmb_status unknown(const lmb_graph *g, const lmb_tree *row, lmb_error *err)
{
    enum { LONGEST = 200 };
    char(*whole)[LONGEST] = malloc(sizeof *whole * ((size_t)g->n_nodes + 1));
    const char **list = malloc(sizeof *list * ((size_t)g->n_nodes + 1));
    lmb_status st;
    int n = 0;

    if (!whole || !list) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d names", g->n_nodes);
        goto done;
    }
    for (int i = 0; i < g->n_nodes; i++)
        if (is_weighted(&g->node[i])) {
            snprintf(whole[n], LONGEST, "%.*s", (int)lmb_whole_name(weight_of(g, i)), weight_of(g, i));
            list[n] = whole[n];
            n++;
        }
    list[n] = NULL;
    const char *near = lmb_nearest(row->key, list);
    st = lmb_tree_fail(row, err, LMB_E_ARG, "'%s' is no layer's weight%s%s%s", row->key, near ? "; did you mean " : "",
                       near ? near : "", near ? "?" : "; `limbeck inspect` lists them");
done:
    free(whole);
    free(list);
    return st;
}

static lmb_status name_one(const lmb_graph *g, const lmb_tree *row, size_t *longest, int *bits, lmb_error *err)
{
    size_t n = strlen(row->key);
    bool found = false;
    int64_t b;

    LMB_TRY(lmb_tree_int(row, &b, err));
    if (b < LMB_BITS_MIN || b > LMB_BITS_MAX)
        return lmb_tree_fail(row, err, LMB_E_ARG, "%s: %lld bits; it must be %d .. %d", row->key, (long long)b,
                             LMB_BITS_MIN, LMB_BITS_MAX);
    for (int i = 0; i < g->n_nodes; i++) {
        if (!is_weighted(&g->node[i]) || !names(row->key, weight_of(g, i)))
            continue;
        found = true;
        if (n < longest[i])
            continue;
        longest[i] = n;
        bits[i] = (int)b;
    }
    return found ? LMB_OK : unknown(g, row, err);
}

/* What `layers` says: of the names that are a weight's, the longest counts. */
static lmb_status named(const lmb_graph *g, const lmb_tree *layers, int *bits, lmb_error *err)
{
    size_t *longest;
    lmb_status st = LMB_OK;

    if (layers->kind != LMB_TREE_MAP)
        return lmb_tree_fail(layers, err, LMB_E_ARG,
                             "layers must be a mapping of weights to bits, such as {conv1.weight: 4}");
    longest = calloc((size_t)g->n_nodes + 1, sizeof *longest);
    if (!longest)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the bits of %d nodes", g->n_nodes);
    for (const lmb_tree *row = layers->child; row && st == LMB_OK; row = row->next)
        st = name_one(g, row, longest, bits, err);
    free(longest);
    return st;
}

void lmb_bits_ends(const lmb_graph *g, bool *end)
{
    int first = -1, last = -1;

    for (int i = 0; i < g->n_nodes; i++)
        if (is_weighted(&g->node[i])) {
            first = first < 0 ? i : first;
            last = i;
        }
    for (int i = 0; i < g->n_nodes; i++)
        end[i] = is_weighted(&g->node[i]) && (same_layer(g, i, first) || same_layer(g, i, last));
}

lmb_status lmb_bits_resolve(const lmb_graph *g, const lmb_qat_config *c, int *bits, lmb_error *err)
{
    int all = c->bits ? (int)c->bits : LMB_BITS_MAX, ends = c->ends ? (int)c->ends : LMB_BITS_MAX;
    bool *end = malloc(sizeof *end * ((size_t)g->n_nodes + 1));

    if (!end)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the bits of %d nodes", g->n_nodes);
    lmb_bits_ends(g, end);
    for (int i = 0; i < g->n_nodes; i++) {
        int own = is_weighted(&g->node[i]) ? g->value[g->node[i].in[1]].bits : 0;
        bits[i] = own ? own : !is_weighted(&g->node[i]) ? 0 : end[i] ? ends : all;
    }
    free(end);
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
