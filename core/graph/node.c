/* core/graph/node.c - adding a node to a graph: its attributes and operands are checked, its types follow. See
 * graph.h. */
#include <stdio.h>
#include <string.h>

#include "core/graph/memory.h"
#include "core/graph/op.h"

static lmb_status set_attr(lmb_graph *g, const lmb_attr_row *row, const lmb_attr *a, char *attr, lmb_error *err)
{
    if (a->kind != row->kind)
        return LMB_FAIL(err, LMB_E_ARG, "attribute %s has the wrong type", row->name);
    switch (row->kind) {
    case LMB_ATTR_INT: memcpy(attr + row->offset, &a->i, sizeof a->i); break;
    case LMB_ATTR_REAL: memcpy(attr + row->offset, &a->f, sizeof a->f); break;
    case LMB_ATTR_INTS:
        if (a->ints.n < 0 || a->ints.n > LMB_MAX_INTS)
            return LMB_FAIL(err, LMB_E_ARG, "attribute %s has %d numbers; at most %d are supported", row->name,
                            a->ints.n, LMB_MAX_INTS);
        memcpy(attr + row->offset, &a->ints, sizeof a->ints);
        break;
    case LMB_ATTR_TEXT: {
        const char *s = lmbi_graph_text(g, a->s);
        if (!s)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for attribute %s", row->name);
        memcpy(attr + row->offset, &s, sizeof s);
        break;
    }
    }
    return LMB_OK;
}

static lmb_status parse_attrs(lmb_graph *g, const lmb_op *op, const lmb_attr *given, int n, void **out, lmb_error *err)
{
    char *attr = lmb_graph_alloc(g, op->attr_size ? op->attr_size : 1);

    if (!attr)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for attributes");
    memset(attr, 0, op->attr_size ? op->attr_size : 1);
    for (int i = 0; i < n; i++) {
        const lmb_attr_row *row = op->attrs;
        while (row && row->name && strcmp(row->name, given[i].name) != 0)
            row++;
        if (!row || !row->name)
            return LMB_FAIL(err, LMB_E_ARG, "%s has no attribute '%s'", op->name, given[i].name);
    }
    for (const lmb_attr_row *row = op->attrs; row && row->name; row++) {
        lmb_attr def = { .name = row->name, .kind = row->kind, .i = row->def_i, .f = row->def_f,
                         .s = row->def_s ? row->def_s : "" };
        const lmb_attr *use = NULL;
        for (int i = 0; i < n && !use; i++)
            if (strcmp(given[i].name, row->name) == 0)
                use = &given[i];
        if (!use && row->required)
            return LMB_FAIL(err, LMB_E_ARG, "%s needs the attribute '%s'", op->name, row->name);
        LMB_TRY(set_attr(g, row, use ? use : &def, attr, err));
    }
    *out = attr;
    return LMB_OK;
}

static lmb_status check_operands(const lmb_graph *g, const lmb_op *op, const lmb_vid *in, int n_in, int n_out,
                                 lmb_error *err)
{
    if (n_in < op->min_in || n_in > op->max_in || n_in > LMB_MAX_IN)
        return LMB_FAIL(err, LMB_E_ARG, "%d inputs; %s takes %d to %d", n_in, op->name, op->min_in, op->max_in);
    if (n_out < op->min_out || n_out > op->max_out || n_out > LMB_MAX_OUT)
        return LMB_FAIL(err, LMB_E_ARG, "%d outputs; %s has %d to %d", n_out, op->name, op->min_out, op->max_out);
    for (int i = 0; i < n_in; i++) {
        if (in[i] < LMB_NONE || in[i] >= g->n_values)
            return LMB_FAIL(err, LMB_E_ARG, "input %d is no value of this graph (id %d)", i, (int)in[i]);
        if (in[i] == LMB_NONE && i < op->min_in)
            return LMB_FAIL(err, LMB_E_ARG, "input %d is required by %s", i, op->name);
    }
    return LMB_OK;
}

static lmb_status infer_types(const lmb_graph *g, const lmb_node *n, lmb_type *out, lmb_error *err)
{
    lmb_type in[LMB_MAX_IN];
    lmb_call call;
    lmb_node probe = *n;

    probe.out = NULL;
    lmb_call_of(g, &probe, in, out, &call);
    for (int i = 0; i < n->n_out; i++)
        out[i].present = true;
    LMB_TRY(n->op->infer(&call, err));
    for (int i = 0; i < n->n_out; i++)
        LMB_TRY(lmb_shape_check(&out[i].shape, out[i].dtype, err));
    return LMB_OK;
}

/* Append a node whose attribute struct is ready. */
static lmb_status append_node(lmb_graph *g, const lmb_op *op, const char *name, const void *attr, const lmb_vid *in,
                              int n_in, lmb_vid *out, int n_out, lmb_error *err)
{
    lmb_type types[LMB_MAX_OUT];
    lmb_node n = { .op = op, .name = name, .attr = attr, .n_in = n_in, .n_out = n_out, .in = in };
    lmb_vid *ids;

    LMB_TRY(check_operands(g, op, in, n_in, n_out, err));
    LMB_TRY(infer_types(g, &n, types, err));
    ids = lmb_graph_alloc(g, sizeof *ids * (size_t)(n_in + n_out + 1));
    n.name = lmbi_graph_text(g, name);
    if (!ids || !n.name || !lmbi_graph_reserve((void **)&g->node, &g->memory->cap_nodes, g->n_nodes, sizeof *g->node))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a node");
    if (n_in)
        memcpy(ids, in, sizeof *ids * (size_t)n_in);
    n.in = ids;
    n.out = ids + n_in;
    for (int i = 0; i < n_out; i++) {
        char vname[200];
        if (i == 0)
            snprintf(vname, sizeof vname, "%s", name);
        else
            snprintf(vname, sizeof vname, "%.180s:%d", name, i);
        lmb_value v = { .name = vname, .dtype = types[i].dtype, .shape = types[i].shape, .role = LMB_ROLE_ACTIVATION,
                        .node = g->n_nodes, .out_index = i, .next = LMB_NONE, .decay = 1.0f };
        LMB_TRY(lmbi_graph_append_value(g, &v, &ids[n_in + i], err));
        out[i] = ids[n_in + i];
    }
    g->node[g->n_nodes++] = n;
    return LMB_OK;
}

lmb_status lmb_graph_node(lmb_graph *g, const lmb_op *op, const char *name, const lmb_vid *in, int n_in,
                          const lmb_attr *attr, int n_attr, lmb_vid *out, int n_out, lmb_error *err)
{
    void *parsed = NULL;
    lmb_status st;

    if (!name || !*name)
        name = op->name;
    LMB_TRY_GOTO(st, failed, parse_attrs(g, op, attr, n_attr, &parsed, err));
    LMB_TRY_GOTO(st, failed, append_node(g, op, name, parsed, in, n_in, out, n_out, err));
    return LMB_OK;
failed:
    lmb_error_context(err, "%s node %s", op->name, name);
    return st;
}

lmb_status lmb_graph_node_like(lmb_graph *g, const lmb_node *like, const lmb_vid *in, lmb_vid *out, lmb_error *err)
{
    const lmb_op *op = like->op;
    char *attr = lmb_graph_alloc(g, op->attr_size ? op->attr_size : 1);
    lmb_status st;

    if (!attr)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a node");
    memset(attr, 0, op->attr_size ? op->attr_size : 1);
    if (op->attr_size)
        memcpy(attr, like->attr, op->attr_size);
    for (const lmb_attr_row *row = op->attrs; row && row->name; row++)
        if (row->kind == LMB_ATTR_TEXT) { /* the text belongs to the other graph */
            const char *s;
            memcpy(&s, attr + row->offset, sizeof s);
            s = lmbi_graph_text(g, s);
            if (!s)
                return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a node");
            memcpy(attr + row->offset, &s, sizeof s);
        }
    st = append_node(g, op, like->name, attr, in, like->n_in, out, like->n_out, err);
    if (st != LMB_OK)
        lmb_error_context(err, "%s node %s", op->name, like->name);
    return st;
}
