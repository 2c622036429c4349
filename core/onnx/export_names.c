/* core/onnx/export_names.c - what values and nodes are called in a file: by their own names, made different, and in strict
 * files of letters that every reader takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/onnx/internal.h"

char *lmbi_export_name(bool strict, const lmbi_names *taken, const char *want)
{
    size_t n = strlen(want) + 12;
    char *s = malloc(n);

    if (!s)
        return NULL;
    snprintf(s, n, "%s", want);
    for (char *c = s; strict && *c; c++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./", *c))
            *c = '_';
    size_t stem = strlen(s);
    for (int i = 2; lmbi_names_get(taken, s) != LMB_NONE; i++)
        snprintf(s + stem, n - stem, "_%d", i);
    return s;
}

static lmb_status name_value(bool strict, lmbi_names *taken, char **name, lmb_vid v, const char *want, lmb_error *err)
{
    name[v] = lmbi_export_name(strict, taken, want);
    if (!name[v])
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the names of a model");
    lmbi_names_put(taken, name[v], v);
    return LMB_OK;
}

lmb_status lmbi_export_names(const lmb_graph *g, bool strict, lmbi_names *taken, char **name, lmb_error *err)
{
    for (int i = 0; strict && i < g->n_outputs; i++) {
        lmb_vid v = g->output[i].value;
        if (g->value[v].node == LMB_NONE || name[v])
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "output '%s' is an input, a constant or another output; ONNX wants "
                            "each output to be made by a node of its own: add an Identity", g->output[i].name);
        LMB_TRY(name_value(strict, taken, name, v, g->output[i].name, err));
    }
    for (int v = 0; v < g->n_values; v++)
        if (!name[v])
            LMB_TRY(name_value(strict, taken, name, v, g->value[v].name, err));
    return LMB_OK;
}

/* Of nodes with one name the first keeps it; the others are named after what they make, of which there is one each. */
lmb_status lmbi_export_nodes(const lmb_graph *g, char *const *value, char **name, lmb_error *err)
{
    lmbi_names taken;
    lmb_status st = LMB_OK;

    LMB_TRY(lmbi_names_create(&taken, (size_t)g->n_nodes, err));
    for (int i = 0; i < g->n_nodes; i++)
        lmbi_names_put(&taken, g->node[i].name, i);
    for (int i = 0; i < g->n_nodes && st == LMB_OK; i++) {
        const lmb_node *n = &g->node[i];
        if (lmbi_names_get(&taken, n->name) == i)
            continue;
        name[i] = lmbi_export_name(false, &taken, value[n->out[0]]);
        if (name[i])
            lmbi_names_put(&taken, name[i], i);
        else
            st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for the names of a model");
    }
    lmbi_names_free(&taken);
    return st;
}
