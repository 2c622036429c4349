/* core/onnx/import.c - ModelProto -> graph: inputs and initializers become values, then node after node
 * (import_node.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/scan.h"
#include "core/onnx/internal.h"

enum { MIN_IR = 3, MAX_IR = 10, MAX_NAMES = 1 << 20 };

/* ---- values without producer ---- */

lmb_status lmbi_declare(lmbi_import *m, const char *name, lmb_vid v, lmb_error *err)
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
        const char *name = t->name;
        lmb_value said = { .decay = roles[i].no_decay ? 0.0f : 1.0f };
        lmb_role role = roles[i].role;
        lmb_vid v;
        if (!name || !*name) {
            st = LMB_FAIL(err, LMB_E_FORMAT, "number %zu of %zu has no name", i, g->n_initializer);
            goto done;
        }
        if (m->literal)
            LMB_TRY_GOTO(st, done, read_role(t->doc_string, &role, &said, err));
        LMB_TRY_GOTO(st, done, lmbi_tensor_value(m, t, role, name, &v, err));
        LMB_TRY_GOTO(st, done, lmbi_declare(m, name, v, err));
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
        return lmbi_declare(m, p->name, v, err);
    }
    if (input_type(m, p, &dtype, &shape, err) != LMB_OK)
        return lmb_error_context(err, "input '%.80s'", p->name);
    LMB_TRY(lmb_graph_value(m->g, LMB_ROLE_INPUT, p->name, dtype, &shape, NULL, &v, err));
    return lmbi_declare(m, p->name, v, err);
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
    if (!m->literal && (m->opset < 1 || m->opset > LMBI_MAX_OPSET))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "opset %lld; %d to %d are supported; export the model for opset 13",
                        (long long)m->opset, LMBI_MIN_OPSET, LMBI_MAX_OPSET);
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
    LMB_TRY(lmbi_check_operators(m, err));
    LMB_TRY(import_initializers(m, err));
    LMB_TRY(import_inputs(m, err));
    for (size_t i = 0; i < g->n_node; i++)
        if (lmbi_import_node(m, g->node[i], err) != LMB_OK)
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
