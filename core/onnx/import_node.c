/* core/onnx/import_node.c - one node of a model -> nodes of the graph.
 *
 * Each node is taken literally if its operator is ours in the file's opset, rewritten by a converter
 * (convert.c) if it is an older or newer form, or evaluated if it only computes shapes (fold.c).
 */
#include <stdio.h>
#include <string.h>

#include "core/onnx/internal.h"

static lmb_status read_attribute(lmbi_node *n, const Onnx__AttributeProto *a, lmb_error *err)
{
    lmb_attr *out = &n->attr[n->n_attr];
    int type = a->has_type ? (int)a->type : a->has_f ? 1 : a->has_i ? 2 : a->has_s ? 3 : 7;

    *out = (lmb_attr){ .name = a->name };
    switch (type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        out->kind = LMB_ATTR_REAL;
        out->f = a->f;
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        out->kind = LMB_ATTR_INT;
        out->i = a->i;
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
        if (a->s.len >= LMBI_TEXT)
            return LMB_FAIL(err, LMB_E_FORMAT, "attribute '%.60s' is a text of %zu bytes; ours have at most %d",
                            a->name, a->s.len, LMBI_TEXT - 1);
        if (a->s.len)
            memcpy(n->text[n->n_attr], a->s.data, a->s.len);
        n->text[n->n_attr][a->s.len] = 0;
        out->kind = LMB_ATTR_TEXT;
        out->s = n->text[n->n_attr];
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        if (a->n_ints > LMB_MAX_INTS)
            return LMB_OK; /* a Constant's list, which is read from the message */
        out->kind = LMB_ATTR_INTS;
        out->ints.n = (int)a->n_ints;
        if (a->n_ints)
            memcpy(out->ints.v, a->ints, a->n_ints * sizeof *a->ints);
        break;
    default: return LMB_OK; /* tensors and float lists are read from the message by who knows them */
    }
    n->n_attr++;
    return LMB_OK;
}

/* Attributes that no kind of ours can hold and no converter reads must not be lost silently. */
static lmb_status check_all_read(const lmbi_node *n, lmb_error *err)
{
    for (size_t i = 0; i < n->p->n_attribute; i++) {
        bool held = false;
        for (int k = 0; k < n->n_attr && !held; k++)
            held = n->attr[k].name == n->p->attribute[i]->name;
        if (!held)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "attribute '%.60s' is of a kind that no operator of ours takes",
                            n->p->attribute[i]->name);
    }
    return LMB_OK;
}

static lmb_status read_node(const lmbi_import *m, const Onnx__NodeProto *p, lmbi_node *n, lmb_error *err)
{
    *n = (lmbi_node){ .p = p, .type = p->op_type, .domain = p->domain ? p->domain : "" };
    if (strcmp(n->domain, "ai.onnx") == 0)
        n->domain = "";
    n->name = p->name && *p->name ? p->name : p->n_output && *p->output[0] ? p->output[0] : p->op_type;
    if (m->literal && p->doc_string && strncmp(p->doc_string, "name=", 5) == 0)
        n->name = p->doc_string + 5; /* what it is called in the graph, where another node has that name */
    if (p->n_input > LMB_MAX_IN || p->n_output > LMB_MAX_OUT || p->n_attribute > LMBI_MAX_ATTRS || !p->n_output)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "%zu inputs, %zu outputs and %zu attributes; at most %d, 1 to %d and %d are "
                        "supported",
                        p->n_input, p->n_output, p->n_attribute, LMB_MAX_IN, LMB_MAX_OUT, LMBI_MAX_ATTRS);
    n->n_in = (int)p->n_input;
    n->n_out = (int)p->n_output;
    for (int i = 0; i < n->n_in; i++) {
        n->in[i] = *p->input[i] ? lmbi_names_get(&m->names, p->input[i]) : LMB_NONE;
        if (*p->input[i] && n->in[i] == LMB_NONE)
            return LMB_FAIL(err, LMB_E_FORMAT, "it reads '%.80s', which nothing before it makes", p->input[i]);
    }
    for (size_t i = 0; i < p->n_attribute; i++) {
        if (!p->attribute[i]->name)
            return LMB_FAIL(err, LMB_E_FORMAT, "attribute %zu has no name", i);
        LMB_TRY(read_attribute(n, p->attribute[i], err));
    }
    for (int i = 0; i < n->n_out; i++)
        n->out[i] = LMB_NONE;
    return LMB_OK;
}

lmb_status lmbi_emit_form(lmbi_import *m, lmbi_node *n, lmb_error *err)
{
    lmbi_convert convert = m->literal || *n->domain ? NULL : lmbi_converter(n->type, m->opset);

    if (convert)
        return convert(m, n, err);
    LMB_TRY(check_all_read(n, err));
    return lmbi_emit(m, n, n->type, err);
}

lmb_status lmbi_import_node(lmbi_import *m, const Onnx__NodeProto *p, lmb_error *err)
{
    lmbi_node n;
    lmb_vid first_new = m->g->n_values;
    bool done = false;

    LMB_TRY(read_node(m, p, &n, err));
    if (!m->literal && !*n.domain)
        LMB_TRY(lmbi_fold(m, &n, &done, err));
    if (!done)
        LMB_TRY(lmbi_emit_form(m, &n, err));
    for (size_t i = 0; i < p->n_output; i++) {
        if (!*p->output[i] || n.out[i] == LMB_NONE)
            continue;
        LMB_TRY(lmbi_declare(m, p->output[i], n.out[i], err));
        if (n.out[i] >= first_new) /* else the node only handed a value on */
            LMB_TRY(lmb_graph_rename(m->g, n.out[i], p->output[i], err));
    }
    return LMB_OK;
}

/* Operators whose form has not changed since opset 1: all that is read of files before LMBI_MIN_OPSET. */
static bool never_changed(const char *type)
{
    static const char *const types[] = { "GlobalAveragePool", "GlobalMaxPool", "Transpose", "Softmax", "LogSoftmax" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], type) == 0)
            return true;
    return false;
}

static bool supported(const lmbi_import *m, const Onnx__NodeProto *p)
{
    const char *domain = p->domain && strcmp(p->domain, "ai.onnx") ? p->domain : "";

    if (!p->op_type || (!m->literal && !*domain && m->opset < LMBI_MIN_OPSET && !never_changed(p->op_type)))
        return false;
    if (lmb_op_find(domain, p->op_type))
        return true;
    return !*domain && !m->literal && (lmbi_converter(p->op_type, m->opset) || lmbi_fold_knows(p->op_type));
}

lmb_status lmbi_check_operators(const lmbi_import *m, lmb_error *err)
{
    const Onnx__GraphProto *g = m->model->graph;
    char list[320] = "";
    size_t used = 0, missing = 0;

    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *p = g->node[i];
        char one[120];
        if (supported(m, p))
            continue;
        snprintf(one, sizeof one, "%s%.40s (node '%.40s')", missing ? ", " : "",
                 p->op_type ? p->op_type : "(no operator)",
                 p->name && *p->name ? p->name
                 : p->n_output       ? p->output[0]
                                     : "");
        if (missing++ < 5 && used + strlen(one) < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s", one);
    }
    if (!missing)
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%zu of %zu nodes use operators that are not supported (opset %lld): %s%s",
                    missing, g->n_node, (long long)m->opset, list, missing > 5 ? ", ..." : "");
}
