/* core/onnx/portable.c - what a portable file can say: the opset that a node needs, and what has no words in opset 13.
 *   source   ONNX operator changelog
 */
#include <string.h>

#include "core/onnx/internal.h"

bool lmbi_is_default(const lmb_attr_row *row, const char *attr)
{
    const char *p = attr + row->offset;
    switch (row->kind) {
    case LMB_ATTR_INT: return memcmp(p, &row->def_i, sizeof row->def_i) == 0;
    case LMB_ATTR_REAL: return memcmp(p, &row->def_f, sizeof row->def_f) == 0;
    case LMB_ATTR_INTS: return ((const lmb_ints *)(const void *)p)->n == 0;
    case LMB_ATTR_TEXT: {
        const char *text;
        memcpy(&text, p, sizeof text);
        return strcmp(text, row->def_s ? row->def_s : "") == 0;
    }
    }
    return false;
}

/* The opset in which a node means what it means here: 13 unless it uses something newer. */
int lmbi_opset_of(const lmb_node *n)
{
    static const struct { const char *op, *attr; } newer[] = {
        { "HardSwish", NULL }, { "BatchNormalization", "training_mode" }, { "Reshape", "allowzero" },
    };
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++) {
        if (*n->op->domain || strcmp(n->op->name, newer[i].op))
            continue;
        for (const lmb_attr_row *row = n->op->attrs; newer[i].attr && row->name; row++)
            if (strcmp(row->name, newer[i].attr) == 0 && lmbi_is_default(row, n->attr))
                return 13;
        return 15;
    }
    return 13;
}

lmb_status lmbi_check_strict(const lmb_graph *g, lmb_error *err)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        if (*n->op->domain)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: %s is an operator of our own, which other runtimes lack; "
                            "export the deployment form of the model", n->name, n->op->name);
        if (lmbi_opset_of(n) > 13 && strcmp(n->op->name, "HardSwish"))
            return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                            "node %s: %s in this form is newer than opset 13; export the inference "
                            "form of the model",
                            n->name, n->op->name);
    }
    return LMB_OK;
}
