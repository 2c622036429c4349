/* federated/keep.c - see keep.h. */
#include "federated/keep.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/scan.h"
#include "core/graph/op.h"

/* The first of the patterns, whether there is one or a list. */
static const lmb_tree *first(const lmb_tree *t) { return t && t->kind == LMB_TREE_LIST ? t->child : t; }
static const lmb_tree *after(const lmb_tree *list, const lmb_tree *t)
{
    return list->kind == LMB_TREE_LIST ? t->next : NULL;
}

lmb_status lmb_keep_check(const lmb_tree *tree, lmb_error *err)
{
    const char *text;

    for (const lmb_tree *t = first(tree); t; t = after(tree, t))
        LMB_TRY(lmb_tree_text(t, &text, err));
    return LMB_OK;
}

/* Marks what BatchNormalization normalises with. */
static size_t mark_norms(const lmb_graph *g, const lmb_state_layout *l, bool *segment)
{
    size_t marked = 0;

    for (int n = 0; n < g->n_nodes; n++) {
        const lmb_node *node = &g->node[n];
        for (int i = 1; strcmp(node->op->name, "BatchNormalization") == 0 && i < node->n_in; i++)
            for (int k = 0; k < l->n; k++)
                if (l->segment[k].value == node->in[i])
                    segment[k] = true, marked++;
    }
    return marked;
}

static size_t mark_named(const char *pattern, const lmb_state_layout *l, bool *segment)
{
    size_t marked = 0;

    for (int k = 0; k < l->n; k++)
        if (lmb_matches(pattern, l->segment[k].name))
            segment[k] = true, marked++;
    return marked;
}

lmb_status lmb_keep_open(const lmb_tree *tree, const lmb_graph *model, const lmb_state_layout *l, lmb_keep *out,
                         lmb_error *err)
{
    const char *text;

    *out = (lmb_keep){ NULL, 0 };
    if (!tree)
        return LMB_OK;
    out->segment = calloc((size_t)l->n + 1, sizeof *out->segment);
    if (!out->segment)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what clients keep");
    for (const lmb_tree *t = first(tree); t; t = after(tree, t)) {
        LMB_TRY(lmb_tree_text(t, &text, err));
        if (strcmp(text, "batch_norm") == 0 ? !mark_norms(model, l, out->segment) : !mark_named(text, l, out->segment))
            return lmb_tree_fail(t, err, LMB_E_ARG,
                                 "no number of the model is named by '%.60s'; `limbeck inspect` shows their names",
                                 text);
    }
    for (int k = 0; k < l->n; k++)
        out->values += out->segment[k] ? l->segment[k].count : 0;
    return LMB_OK;
}

void lmb_keep_close(lmb_keep *k)
{
    free(k->segment);
    *k = (lmb_keep){ NULL, 0 };
}

void lmb_keep_put(const lmb_keep *k, const lmb_state_layout *l, const float *kept, float *state)
{
    for (int i = 0; k->segment && i < l->n; i++)
        if (k->segment[i]) {
            memcpy(state + l->segment[i].offset, kept, l->segment[i].count * sizeof *state);
            kept += l->segment[i].count;
        }
}

void lmb_keep_take(const lmb_keep *k, const lmb_state_layout *l, const float *state, float *kept)
{
    for (int i = 0; k->segment && i < l->n; i++)
        if (k->segment[i]) {
            memcpy(kept, state + l->segment[i].offset, l->segment[i].count * sizeof *state);
            kept += l->segment[i].count;
        }
}
