/* core/onnx/import.c - ModelProto -> graph: inputs and initializers become values, then node after node.
 *
 * Each node is taken literally if its operator is ours in the file's opset, rewritten by a converter
 * (convert.c) if it is an older or newer form, or evaluated if it only computes shapes (fold.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/scan.h"
#include "core/onnx/internal.h"

enum { MIN_OPSET = 6, MAX_OPSET = 21, MIN_IR = 3, MAX_IR = 10, MAX_NAMES = 1 << 20 };

/* ---- values without producer ---- */

static lmb_status declare(lmbi_import *m, const char *name, lmb_vid v, lmb_error *err)
{
    if (!lmbi_names_put(&m->names, name, v))
        return LMB_FAIL(err, LMB_E_FORMAT, "the name '%.80s' is given to two values", name);
    return LMB_OK;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyz"

/* "role=observer;reduce=min;frozen=0;decay=1;next=<name>": the fields in any order, next last. */
static lmb_status read_role(const char *doc, lmb_role *role, lmb_value *v, lmb_error *err)
{
    *v = (lmb_value){ .decay = 1.0f, .reduce = LMB_REDUCE_MEAN };
    *role = LMB_ROLE_CONSTANT;
    while (doc && *doc && strncmp(doc, "next=", 5)) {
        char key[16], text[32];
        const char *at = doc;
        bool known = false;
        if (!lmb_scan_word(&at, LETTERS, key, sizeof key) || !lmb_scan_char(&at, '=') ||
            !lmb_scan_word(&at, LETTERS "0123456789.+-", text, sizeof text) || (*at && *at != ';'))
            return LMB_FAIL(err, LMB_E_FORMAT, "'%.60s' describes no state", doc);
        if (strcmp(key, "role") == 0)
            for (int r = LMB_ROLE_CONSTANT; r < LMB_ROLE_COUNT; r++)
                if (strcmp(text, lmb_role_name((lmb_role)r)) == 0) {
                    *role = (lmb_role)r;
                    known = true;
                }
        if (strcmp(key, "reduce") == 0) {
            v->reduce = text[1] == 'i' ? LMB_REDUCE_MIN : text[1] == 'a' ? LMB_REDUCE_MAX : LMB_REDUCE_MEAN;
            known = true;
        }
        if (strcmp(key, "frozen") == 0) {
            v->frozen = text[0] == '1';
            known = true;
        }
        if (strcmp(key, "decay") == 0) {
            v->decay = (float)strtod(text, NULL);
            known = v->decay >= 0 && v->decay <= 1e6f;
        }
        if (strcmp(key, "bits") == 0) {
            v->bits = text[0] - '0';
            known = text[0] >= '2' && text[0] <= '8' && !text[1];
        }
        if (!known)
            return LMB_FAIL(err, LMB_E_FORMAT, "'%s=%s' describes no state", key, text);
        doc = at + (*at == ';');
    }
    return LMB_OK;
}

static lmb_status import_initializers(lmbi_import *m, lmb_error *err)
{
    const Onnx__GraphProto *g = m->model->graph;
    lmbi_role *roles = calloc(g->n_initializer + 1, sizeof *roles);
    lmb_status st = LMB_OK;

    if (!roles)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu initializers", g->n_initializer);
    LMB_TRY_GOTO(st, done, lmbi_int4_check(g, err));
    LMB_TRY_GOTO(st, done, lmbi_roles(g, roles, err));
    for (size_t i = 0; i < g->n_initializer; i++) {
        const Onnx__TensorProto *t = g->initializer[i];
        const char *name = t->name ? t->name : "";
        lmb_value said = { .decay = roles[i].no_decay ? 0.0f : 1.0f };
        lmb_role role = roles[i].role;
        lmb_vid v;
        if (m->literal)
            LMB_TRY_GOTO(st, done, read_role(t->doc_string, &role, &said, err));
        LMB_TRY_GOTO(st, done, lmbi_tensor_value(m, t, role, name, &v, err));
        LMB_TRY_GOTO(st, done, declare(m, name, v, err));
        m->g->value[v].reduce = said.reduce;
        m->g->value[v].frozen = said.frozen;
        m->g->value[v].decay = said.decay;
        m->g->value[v].bits = said.bits;
    }
done:
    free(roles);
    if (st != LMB_OK)
        lmb_error_context(err, "initializer");
    return st;
}

/* Once all values exist: what each state value becomes after a step. */
static lmb_status import_next(lmbi_import *m, lmb_error *err)
{
    const Onnx__GraphProto *g = m->model->graph;

    for (size_t i = 0; m->literal && i < g->n_initializer; i++) {
        const char *next = g->initializer[i]->doc_string;
        next = next ? strstr(next, "next=") : NULL;
        if (!next)
            continue;
        lmb_value *v = &m->g->value[lmbi_names_get(&m->names, g->initializer[i]->name)];
        lmb_vid to = lmbi_names_get(&m->names, next + 5);
        if (to == LMB_NONE || !lmb_role_is_state(v->role) || m->g->value[to].dtype != v->dtype ||
            !lmb_shape_equal(&m->g->value[to].shape, &v->shape))
            return LMB_FAIL(err, LMB_E_FORMAT, "'%.80s' can not be the next content of %.80s", next + 5, v->name);
        v->next = to;
    }
    return LMB_OK;
}

static lmb_status input_type(const lmbi_import *m, const Onnx__ValueInfoProto *p, lmb_dtype *dtype, lmb_shape *shape,
                             lmb_error *err)
{
    const Onnx__TypeProto *t = p->type;
    const Onnx__TypeProto__Tensor *tensor =
        t && t->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? t->tensor_type : NULL;

    if (!tensor || !lmb_dtype_from_onnx(tensor->elem_type, dtype))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "it must be a tensor of numbers");
    if (!tensor->shape || tensor->shape->n_dim > LMB_MAX_DIMS)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "it must say its shape, of at most %d dimensions", LMB_MAX_DIMS);
    shape->n = (int)tensor->shape->n_dim;
    for (int i = 0; i < shape->n; i++) {
        const Onnx__TensorShapeProto__Dimension *d = tensor->shape->dim[i];
        bool given = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0;
        if (!given && i > 0)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "dimension %d is open; only the first (the batch) may be", i);
        shape->d[i] = given ? d->dim_value : m->batch;
    }
    return LMB_OK;
}

static lmb_status import_input(lmbi_import *m, const Onnx__ValueInfoProto *p, lmb_error *err)
{
    const lmb_onnx_constant *fixed = NULL;
    lmb_dtype dtype;
    lmb_shape shape = { 0 };
    lmb_vid v;

    for (int i = 0; i < m->o->n_constants && !fixed; i++)
        if (strcmp(m->o->constants[i].name, p->name) == 0)
            fixed = &m->o->constants[i];
    if (fixed) {
        const lmb_tensor *t = &fixed->value;
        LMB_TRY(lmb_graph_value(m->g, LMB_ROLE_CONSTANT, p->name, t->dtype, &t->shape, t->data, &v, err));
        return declare(m, p->name, v, err);
    }
    if (input_type(m, p, &dtype, &shape, err) != LMB_OK)
        return lmb_error_context(err, "input '%.80s'", p->name);
    LMB_TRY(lmb_graph_value(m->g, LMB_ROLE_INPUT, p->name, dtype, &shape, NULL, &v, err));
    return declare(m, p->name, v, err);
}

static lmb_status import_inputs(lmbi_import *m, lmb_error *err)
{
    const Onnx__GraphProto *g = m->model->graph;

    for (int i = 0; i < m->o->n_constants; i++) {
        bool found = false;
        for (size_t k = 0; k < g->n_input && !found; k++)
            found = g->input[k]->name && strcmp(g->input[k]->name, m->o->constants[i].name) == 0;
        if (!found)
            return LMB_FAIL(err, LMB_E_ARG, "the model has no input '%s' to fix", m->o->constants[i].name);
    }
    for (size_t i = 0; i < g->n_input; i++) {
        if (!g->input[i]->name || !*g->input[i]->name)
            return LMB_FAIL(err, LMB_E_FORMAT, "input %zu has no name", i);
        if (lmbi_names_get(&m->names, g->input[i]->name) == LMB_NONE) /* else: default of an initializer */
            LMB_TRY(import_input(m, g->input[i], err));
    }
    return LMB_OK;
}

/* ---- nodes ---- */

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

static lmb_status import_node(lmbi_import *m, const Onnx__NodeProto *p, lmb_error *err)
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
        LMB_TRY(declare(m, p->output[i], n.out[i], err));
        if (n.out[i] >= first_new) /* else the node only handed a value on */
            LMB_TRY(lmb_graph_rename(m->g, n.out[i], p->output[i], err));
    }
    return LMB_OK;
}

/* Operators whose form has not changed since opset 1: all that is read of files before MIN_OPSET. */
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

    if (!p->op_type || (!m->literal && !*domain && m->opset < MIN_OPSET && !never_changed(p->op_type)))
        return false;
    if (lmb_op_find(domain, p->op_type))
        return true;
    return !*domain && !m->literal && (lmbi_converter(p->op_type, m->opset) || lmbi_fold_knows(p->op_type));
}

/* All operators that we lack, in one sentence. */
static lmb_status check_operators(const lmbi_import *m, lmb_error *err)
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

static lmb_status import_outputs(lmbi_import *m, lmb_error *err)
{
    const Onnx__GraphProto *g = m->model->graph;

    for (size_t i = 0; i < g->n_output; i++) {
        const char *name = g->output[i]->name ? g->output[i]->name : "";
        const char *own = m->literal ? g->output[i]->doc_string : NULL; /* our graphs name outputs apart */
        lmb_vid v = lmbi_names_get(&m->names, name);
        if (v == LMB_NONE)
            return LMB_FAIL(err, LMB_E_FORMAT, "output '%.80s' is made by no node", name);
        LMB_TRY(lmb_graph_output_add(m->g, own && strncmp(own, "name=", 5) == 0 ? own + 5 : name, v, err));
    }
    return LMB_OK;
}

/* ---- the model ---- */

static lmb_status check_model(lmbi_import *m, lmb_error *err)
{
    const Onnx__ModelProto *p = m->model;
    const char *batch = lmbi_metadata(p, LMBI_BATCH_KEY);

    if (!p->graph)
        return LMB_FAIL(err, LMB_E_FORMAT, "the model has no graph");
    if (!p->has_ir_version || p->ir_version < MIN_IR || p->ir_version > MAX_IR)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "IR version %lld; %d to %d are supported", (long long)p->ir_version,
                        MIN_IR, MAX_IR);
    m->opset = lmbi_opset(p);
    m->literal = lmbi_metadata(p, LMBI_FORM_KEY) != NULL;
    if (!m->literal && (m->opset < 1 || m->opset > MAX_OPSET))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "opset %lld; %d to %d are supported; export the model for opset 13",
                        (long long)m->opset, MIN_OPSET, MAX_OPSET);
    m->batch = m->o->batch > 0 ? m->o->batch : batch ? strtoll(batch, NULL, 10) : 1;
    if (m->batch < 1 || m->batch > INT32_MAX)
        return LMB_FAIL(err, LMB_E_FORMAT, "a batch of %lld; it must be at least 1", (long long)m->batch);
    if (p->graph->n_sparse_initializer || p->n_functions)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "sparse initializers and functions are not supported; save the model without");
    return LMB_OK;
}

static lmb_status import_graph(lmbi_import *m, lmb_error *err)
{
    const Onnx__GraphProto *g = m->model->graph;
    size_t count = g->n_initializer + g->n_input;

    for (size_t i = 0; i < g->n_node; i++)
        count += g->node[i]->n_output;
    if (count > MAX_NAMES)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%zu values; at most %d are supported", count, MAX_NAMES);
    LMB_TRY(lmbi_names_create(&m->names, count, err));
    LMB_TRY(check_operators(m, err));
    LMB_TRY(import_initializers(m, err));
    LMB_TRY(import_inputs(m, err));
    for (size_t i = 0; i < g->n_node; i++)
        if (import_node(m, g->node[i], err) != LMB_OK)
            return lmb_error_context(err, "%.40s '%.60s'", g->node[i]->op_type,
                                     g->node[i]->name && *g->node[i]->name ? g->node[i]->name
                                     : g->node[i]->n_output                ? g->node[i]->output[0]
                                                                           : "");
    LMB_TRY(import_next(m, err));
    return import_outputs(m, err);
}

lmb_status lmb_onnx_import(const void *bytes, size_t n, const lmb_onnx_import_options *o, lmb_graph **out,
                           lmb_error *err)
{
    static const lmb_onnx_import_options none = { 0 };
    lmbi_import m = { .o = o ? o : &none };
    lmbi_proto p;
    Onnx__ModelProto *model = NULL;
    lmb_status st;

    LMB_TRY(lmbi_proto_model(&p, bytes, n, m.o->max_bytes ? m.o->max_bytes : LMB_ONNX_MAX_BYTES, &model, err));
    m.model = model;
    LMB_TRY_GOTO(st, done, check_model(&m, err));
    LMB_TRY_GOTO(st, done, lmb_graph_create(&m.g, err));
    LMB_TRY_GOTO(st, done, import_graph(&m, err));
    *out = m.g;
    m.g = NULL;
done:
    lmb_graph_destroy(m.g);
    lmbi_names_free(&m.names);
    lmbi_proto_free(&p, model);
    return st;
}

lmb_status lmb_onnx_read(const char *path, const lmb_onnx_import_options *o, lmb_graph **out, lmb_error *err)
{
    void *bytes = NULL;
    size_t n = 0;

    LMB_TRY(lmb_file_read(path, o && o->max_bytes ? o->max_bytes : LMB_ONNX_MAX_BYTES, &bytes, &n, err));
    lmb_status st = lmb_onnx_import(bytes, n, o, out, err);
    free(bytes);
    return st == LMB_OK ? st : lmb_error_context(err, "%s", path);
}
