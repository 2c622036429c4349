/* core/onnx/export.c - graph -> ModelProto, written by hand (wire.c). See onnx.h for the two kinds of files.
 *   source   onnx.proto (field numbers)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/onnx/internal.h"

/* ---- one export ---- */

typedef struct writer {
    const lmb_graph *g;
    const lmb_onnx_export_options *o;
    lmb_str *out;
    char **name;   /* [n_values] of values in the file   */
    char **node;   /* [n_nodes] of nodes whose own name another has; NULL: its own */
    lmbi_names taken;
    bool *narrow;  /* [n_values] s8 that is written as INT4; NULL: none */
    int64_t batch; /* 0: no input has dimensions          */
    int opset;
} writer;

/* Attributes at their default are left out: older opsets may not have them. */
static void write_attribute(lmb_str *s, const lmb_attr_row *row, const char *attr)
{
    enum { NAME = 1, F = 2, I = 3, S = 4, INTS = 8, TYPE = 20 };
    const char *p = attr + row->offset, *text;
    lmb_ints list;
    int64_t i;
    float f;

    if (!row->required && lmbi_is_default(row, attr))
        return;
    size_t at = lmbi_wire_begin(s, 5);
    lmbi_wire_text(s, NAME, row->name);
    switch (row->kind) {
    case LMB_ATTR_INT:
        memcpy(&i, p, sizeof i);
        lmbi_wire_int(s, I, i);
        lmbi_wire_int(s, TYPE, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
        break;
    case LMB_ATTR_REAL:
        memcpy(&f, p, sizeof f);
        lmbi_wire_float(s, F, f);
        lmbi_wire_int(s, TYPE, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
        break;
    case LMB_ATTR_INTS:
        memcpy(&list, p, sizeof list);
        for (int k = 0; k < list.n; k++)
            lmbi_wire_int(s, INTS, list.v[k]);
        lmbi_wire_int(s, TYPE, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
        break;
    case LMB_ATTR_TEXT:
        memcpy(&text, p, sizeof text);
        lmbi_wire_text(s, S, text);
        lmbi_wire_int(s, TYPE, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
        break;
    }
    lmbi_wire_end(s, at);
}

static void begin_node(writer *w, size_t *at, const lmb_vid *in, int n_in)
{
    *at = lmbi_wire_begin(w->out, 1);
    for (int k = 0; k < n_in; k++)
        lmbi_wire_text(w->out, 1, in[k] == LMB_NONE ? "" : w->name[in[k]]);
}

/* Loaders want nodes of different names: in strict files that of the first output. */
static const char *node_name(const writer *w, const lmb_node *n)
{
    const char *other = w->node ? w->node[n - w->g->node] : NULL;
    return w->o->strict ? w->name[n->out[0]] : other ? other : n->name;
}

/* The name that it has in the graph, for reading it back. */
static void write_own_name(writer *w, const lmb_node *n)
{
    lmb_str doc = LMB_STR_INIT;

    lmb_str_addf(&doc, "name=%s", n->name);
    w->out->failed |= doc.failed;
    if (!doc.failed)
        lmbi_wire_text(w->out, 6, doc.text);
    lmb_str_free(&doc);
}

static void write_node(writer *w, const lmb_node *n)
{
    enum { OUTPUT = 2, NAME = 3, TYPE = 4, DOMAIN_ = 7 };
    size_t at;

    begin_node(w, &at, n->in, n->n_in);
    for (int k = 0; k < n->n_out; k++)
        lmbi_wire_text(w->out, OUTPUT, w->name[n->out[k]]);
    lmbi_wire_text(w->out, NAME, node_name(w, n));
    lmbi_wire_text(w->out, TYPE, n->op->name);
    for (const lmb_attr_row *row = n->op->attrs; row && row->name; row++)
        write_attribute(w->out, row, n->attr);
    if (!w->o->strict && node_name(w, n) != n->name)
        write_own_name(w, n);
    if (*n->op->domain)
        lmbi_wire_text(w->out, DOMAIN_, n->op->domain);
    lmbi_wire_end(w->out, at);
}

/* HardSwish exists from opset 14: x * HardSigmoid(x; 1/6, 1/2), which is its definition. */
static void write_hard_swish(writer *w, const lmb_node *n)
{
    static const lmb_attr_row alpha = { "alpha", LMB_ATTR_REAL, 0, true, 0, 0, NULL };
    float sixth = 1.0f / 6.0f;
    char inner[200];
    size_t at;

    snprintf(inner, sizeof inner, "%.160s/HardSigmoid", w->name[n->out[0]]);
    begin_node(w, &at, n->in, 1);
    lmbi_wire_text(w->out, 2, inner);
    lmbi_wire_text(w->out, 4, "HardSigmoid");
    write_attribute(w->out, &alpha, (const char *)&sixth); /* beta is 0.5 by default */
    lmbi_wire_end(w->out, at);
    begin_node(w, &at, n->in, 1);
    lmbi_wire_text(w->out, 1, inner);
    lmbi_wire_text(w->out, 2, w->name[n->out[0]]);
    lmbi_wire_text(w->out, 3, node_name(w, n));
    lmbi_wire_text(w->out, 4, "Mul");
    lmbi_wire_end(w->out, at);
}

/* ---- values ---- */

static void write_tensor(lmb_str *s, unsigned field, const char *name, const lmb_value *v, bool int4, const char *doc)
{
    enum { DIMS = 1, TYPE = 2, NAME = 8, RAW = 9, DOC = 12 };
    size_t at = lmbi_wire_begin(s, field);

    for (int i = 0; i < v->shape.n; i++)
        lmbi_wire_int(s, DIMS, v->shape.d[i]);
    lmbi_wire_int(s, TYPE, int4 ? LMBI_ONNX_INT4 : lmb_dtype_onnx(v->dtype));
    lmbi_wire_text(s, NAME, name);
    if (int4) {
        size_t raw = lmbi_wire_begin(s, RAW);
        lmbi_int4_pack(v, s);
        lmbi_wire_end(s, raw);
    } else {
        lmbi_wire_bytes(s, RAW, v->data, lmb_shape_bytes(&v->shape, v->dtype));
    }
    if (doc)
        lmbi_wire_text(s, DOC, doc);
    lmbi_wire_end(s, at);
}

static void write_initializer(writer *w, lmb_vid id)
{
    static const char *const reduce[] = { "mean", "min", "max" };
    const lmb_value *v = &w->g->value[id];
    lmb_str doc = LMB_STR_INIT;

    if (!w->o->strict && lmb_role_is_state(v->role)) {
        lmb_str_addf(&doc, "role=%s;reduce=%s;frozen=%d;decay=%.9g", lmb_role_name(v->role), reduce[v->reduce],
                     v->frozen, (double)v->decay);
        if (v->bits)
            lmb_str_addf(&doc, ";bits=%d", v->bits);
        if (v->next != LMB_NONE)
            lmb_str_addf(&doc, ";next=%s", w->name[v->next]);
        w->out->failed |= doc.failed;
    }
    write_tensor(w->out, 5, w->name[id], v, w->narrow && w->narrow[id], doc.text);
    lmb_str_free(&doc);
}

static void write_value_info(writer *w, unsigned field, const char *name, const lmb_value *v, const char *doc)
{
    lmb_str *s = w->out;
    size_t info = lmbi_wire_begin(s, field);
    lmbi_wire_text(s, 1, name);
    size_t type = lmbi_wire_begin(s, 2), tensor = lmbi_wire_begin(s, 1);
    lmbi_wire_int(s, 1, lmb_dtype_onnx(v->dtype));
    size_t shape = lmbi_wire_begin(s, 2);
    for (int i = 0; i < v->shape.n; i++) {
        size_t dim = lmbi_wire_begin(s, 1);
        if (i == 0 && v->shape.d[0] == w->batch)
            lmbi_wire_text(s, 2, "N");
        else
            lmbi_wire_int(s, 1, v->shape.d[i]);
        lmbi_wire_end(s, dim);
    }
    lmbi_wire_end(s, shape);
    lmbi_wire_end(s, tensor);
    lmbi_wire_end(s, type);
    if (doc)
        lmbi_wire_text(s, 3, doc);
    lmbi_wire_end(s, info);
}

static void write_output(writer *w, const lmb_graph_output *o)
{
    const lmb_value *v = &w->g->value[o->value];
    lmb_str doc = LMB_STR_INIT;

    if (!w->o->strict && strcmp(w->name[o->value], o->name))
        lmb_str_addf(&doc, "name=%s", o->name);
    w->out->failed |= doc.failed;
    write_value_info(w, 12, w->name[o->value], v, doc.text);
    lmb_str_free(&doc);
}

/* ---- the model ---- */

/* A Reshape that spells the batch out would fix it: 0 keeps the dimension instead. */
static lmb_vid fixed_shape(const writer *w, const lmb_node *n)
{
    if (!w->o->strict || *n->op->domain || strcmp(n->op->name, "Reshape") || n->in[1] == LMB_NONE)
        return LMB_NONE;
    const lmb_value *x = &w->g->value[n->in[0]], *s = &w->g->value[n->in[1]];
    bool spelled = s->role == LMB_ROLE_CONSTANT && s->dtype == LMB_S64 && s->shape.n == 1 && s->shape.d[0] > 0 &&
                   x->shape.n > 0 && x->shape.d[0] == w->batch && ((const int64_t *)s->data)[0] == w->batch;
    return spelled ? n->in[1] : LMB_NONE;
}

static lmb_status write_reshape(writer *w, const lmb_node *n, lmb_vid shape, lmb_error *err)
{
    lmb_value open = w->g->value[shape];
    int64_t list[LMB_MAX_DIMS];
    char name[200], *own = w->name[shape];

    memcpy(list, open.data, lmb_shape_bytes(&open.shape, LMB_S64));
    list[0] = 0;
    open.data = list;
    snprintf(name, sizeof name, "%.160s/shape", w->name[n->out[0]]);
    w->name[shape] = lmbi_export_name(w->o->strict, &w->taken, name);
    if (!w->name[shape]) {
        w->name[shape] = own;
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the names of a model");
    }
    write_tensor(w->out, 5, w->name[shape], &open, false, NULL);
    write_node(w, n);
    free(w->name[shape]);
    w->name[shape] = own;
    return LMB_OK;
}

static lmb_status write_graph(writer *w, lmb_error *err)
{
    enum { NAME = 2, INPUT = 11 };
    const lmb_graph *g = w->g;
    size_t at = lmbi_wire_begin(w->out, 7);

    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        lmb_vid shape = fixed_shape(w, n);
        if (w->o->strict && strcmp(n->op->name, "HardSwish") == 0)
            write_hard_swish(w, n);
        else if (shape != LMB_NONE)
            LMB_TRY(write_reshape(w, n, shape, err));
        else
            write_node(w, n);
    }
    lmbi_wire_text(w->out, NAME, w->o->name ? w->o->name : "limbeck");
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role == LMB_ROLE_CONSTANT || lmb_role_is_state(g->value[v].role))
            write_initializer(w, v);
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role == LMB_ROLE_INPUT)
            write_value_info(w, INPUT, w->name[v], &g->value[v], NULL);
    for (int i = 0; i < g->n_outputs; i++)
        write_output(w, &g->output[i]);
    lmbi_wire_end(w->out, at);
    return LMB_OK;
}

static void write_property(lmb_str *s, const char *key, const char *value)
{
    size_t at = lmbi_wire_begin(s, 14);
    lmbi_wire_text(s, 1, key);
    lmbi_wire_text(s, 2, value);
    lmbi_wire_end(s, at);
}

static void write_opset(lmb_str *s, const char *domain, int version)
{
    size_t at = lmbi_wire_begin(s, 8);
    lmbi_wire_text(s, 1, domain);
    lmbi_wire_int(s, 2, version);
    lmbi_wire_end(s, at);
}

static lmb_status write_model(writer *w, lmb_error *err)
{
    lmb_str *s = w->out;
    char batch[24];
    bool own = false;

    w->opset = w->narrow ? 21 : 13;
    for (int i = 0; i < w->g->n_nodes; i++) {
        int needed = lmbi_opset_of(&w->g->node[i]);
        w->opset = !w->o->strict && needed > w->opset ? needed : w->opset;
        own |= *w->g->node[i].op->domain != 0;
    }
    lmbi_wire_int(s, 1, w->o->ir_version ? w->o->ir_version : w->narrow ? 10 : 7);
    lmbi_wire_text(s, 2, "limbeck");
    write_opset(s, "", w->opset);
    if (own)
        write_opset(s, "limbeck", 1);
    LMB_TRY(write_graph(w, err));
    for (int i = 0; i < w->o->n_properties; i++)
        write_property(s, w->o->properties[i].key, w->o->properties[i].value);
    if (!w->o->strict) {
        snprintf(batch, sizeof batch, "%lld", (long long)(w->batch ? w->batch : 1));
        write_property(s, LMBI_FORM_KEY, "1");
        write_property(s, LMBI_BATCH_KEY, batch);
    }
    return LMB_OK;
}

lmb_status lmb_onnx_export(const lmb_graph *g, const lmb_onnx_export_options *o, lmb_str *out, lmb_error *err)
{
    static const lmb_onnx_export_options none = { 0 };
    lmb_str bytes = LMB_STR_INIT;
    writer w = { .g = g, .o = o ? o : &none, .out = &bytes, .name = calloc((size_t)g->n_values + 1, sizeof(char *)) };
    lmb_vid x = lmb_graph_input(g, 0);
    lmb_status st;

    w.batch = x != LMB_NONE && g->value[x].shape.n > 0 ? g->value[x].shape.d[0] : 0;
    if (!w.name)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the names of a model");
    LMB_TRY_GOTO(st, done, w.o->strict ? lmbi_check_strict(g, err) : LMB_OK);
    if (w.o->strict && w.o->int4) {
        w.narrow = calloc((size_t)g->n_values + 1, sizeof *w.narrow);
        LMB_TRY_GOTO(st, done,
                     w.narrow ? lmbi_int4_find(g, w.narrow, err)
                              : LMB_FAIL(err, LMB_E_NOMEM, "no memory to write a model"));
    }
    LMB_TRY_GOTO(st, done, lmbi_names_create(&w.taken, (size_t)g->n_values, err));
    LMB_TRY_GOTO(st, done, lmbi_export_names(w.g, w.o->strict, &w.taken, w.name, err));
    if (w.o->distinct && !w.o->strict) {
        w.node = calloc((size_t)g->n_nodes + 1, sizeof *w.node);
        LMB_TRY_GOTO(st, done, w.node ? lmbi_export_nodes(g, w.name, w.node, err)
                                      : LMB_FAIL(err, LMB_E_NOMEM, "no memory for the names of a model"));
    }
    LMB_TRY_GOTO(st, done, write_model(&w, err));
    LMB_TRY_GOTO(st, done, lmb_str_check(&bytes, err));
    if (bytes.n > INT32_MAX) {
        st = LMB_FAIL(err, LMB_E_UNSUPPORTED, "the model has %zu bytes; one ONNX file holds less than 2 GiB", bytes.n);
        goto done;
    }
    lmb_str_add_n(out, bytes.text, bytes.n);
    st = lmb_str_check(out, err);
done:
    lmb_str_free(&bytes);
    lmbi_names_free(&w.taken);
    for (int v = 0; v < g->n_values; v++)
        free(w.name[v]);
    for (int i = 0; w.node && i < g->n_nodes; i++)
        free(w.node[i]);
    free(w.node);
    free(w.name);
    free(w.narrow);
    return st;
}

lmb_status lmb_onnx_write(const char *path, const lmb_graph *g, const lmb_onnx_export_options *o, lmb_error *err)
{
    lmb_onnx_export_options different = o ? *o : (lmb_onnx_export_options){ 0 };
    lmb_str bytes = LMB_STR_INIT;

    different.distinct = true;
    lmb_status st = lmb_onnx_export(g, &different, &bytes, err);
    if (st == LMB_OK)
        st = lmb_file_write(path, bytes.text, bytes.n, err);
    lmb_str_free(&bytes);
    return st;
}
