/* core/onnx/export.c - graph -> ModelProto, written by hand: the wire format is tags, lengths and bytes.
 *
 * A message is written in place: its length is a gap that is filled, and closed up when the message is small,
 * once the content is there. So weights are copied once. See onnx.h for the two kinds of files.
 *   source   protobuf encoding specification; onnx.proto (field numbers)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/onnx/internal.h"

/* ---- wire format ---- */

enum { GAP = 5, CLOSE_BELOW = 1 << 16 };

static size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

static void add_varint(lmb_str *s, uint64_t v)
{
    uint8_t b[10];
    lmb_str_add_n(s, b, put_varint(b, v));
}

static void add_int(lmb_str *s, unsigned field, int64_t v)
{
    add_varint(s, field << 3);
    add_varint(s, (uint64_t)v);
}

static void add_bytes(lmb_str *s, unsigned field, const void *bytes, size_t n)
{
    add_varint(s, field << 3 | 2);
    add_varint(s, n);
    if (n)
        lmb_str_add_n(s, bytes, n);
}

static void add_text(lmb_str *s, unsigned field, const char *text) { add_bytes(s, field, text, strlen(text)); }

static void add_float(lmb_str *s, unsigned field, float v)
{
    add_varint(s, field << 3 | 5);
    lmb_str_add_n(s, &v, sizeof v);
}

static size_t begin(lmb_str *s, unsigned field)
{
    static const uint8_t gap[GAP] = { 0 };
    add_varint(s, field << 3 | 2);
    lmb_str_add_n(s, gap, GAP);
    return s->n;
}

/* Fill the gap with the length: five bytes (a varint may be longer than it must), or fewer where moving the
 * content up is cheap. */
static void end(lmb_str *s, size_t start)
{
    if (s->failed)
        return;
    size_t n = s->n - start;
    uint8_t *gap = (uint8_t *)s->text + start - GAP;
    if (n < CLOSE_BELOW) {
        size_t used = put_varint(gap, n);
        memmove(gap + used, s->text + start, n + 1);
        s->n -= GAP - used;
        return;
    }
    for (int i = 0; i < GAP; i++)
        gap[i] = (uint8_t)((n >> (7 * i) & 0x7f) | (i < GAP - 1 ? 0x80 : 0));
}

/* ---- one export ---- */

typedef struct writer {
    const lmb_graph *g;
    const lmb_onnx_export_options *o;
    lmb_str *out;
    char **name;   /* [n_values] of values in the file   */
    lmbi_names taken;
    bool *narrow;  /* [n_values] s8 that is written as INT4; NULL: none */
    int64_t batch; /* 0: no input has dimensions          */
    int opset;
} writer;

static bool is_default(const lmb_attr_row *row, const char *attr)
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

/* Attributes at their default are left out: older opsets may not have them. */
static void write_attribute(lmb_str *s, const lmb_attr_row *row, const char *attr)
{
    enum { NAME = 1, F = 2, I = 3, S = 4, INTS = 8, TYPE = 20 };
    const char *p = attr + row->offset, *text;
    lmb_ints list;
    int64_t i;
    float f;

    if (!row->required && is_default(row, attr))
        return;
    size_t at = begin(s, 5);
    add_text(s, NAME, row->name);
    switch (row->kind) {
    case LMB_ATTR_INT:
        memcpy(&i, p, sizeof i);
        add_int(s, I, i);
        add_int(s, TYPE, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
        break;
    case LMB_ATTR_REAL:
        memcpy(&f, p, sizeof f);
        add_float(s, F, f);
        add_int(s, TYPE, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
        break;
    case LMB_ATTR_INTS:
        memcpy(&list, p, sizeof list);
        for (int k = 0; k < list.n; k++)
            add_int(s, INTS, list.v[k]);
        add_int(s, TYPE, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
        break;
    case LMB_ATTR_TEXT:
        memcpy(&text, p, sizeof text);
        add_text(s, S, text);
        add_int(s, TYPE, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
        break;
    }
    end(s, at);
}

static void begin_node(writer *w, size_t *at, const lmb_vid *in, int n_in)
{
    *at = begin(w->out, 1);
    for (int k = 0; k < n_in; k++)
        add_text(w->out, 1, in[k] == LMB_NONE ? "" : w->name[in[k]]);
}

/* Loaders want nodes of different names: in strict files that of the first output. */
static const char *node_name(const writer *w, const lmb_node *n) { return w->o->strict ? w->name[n->out[0]] : n->name; }

static void write_node(writer *w, const lmb_node *n)
{
    enum { OUTPUT = 2, NAME = 3, TYPE = 4, DOMAIN_ = 7 };
    size_t at;

    begin_node(w, &at, n->in, n->n_in);
    for (int k = 0; k < n->n_out; k++)
        add_text(w->out, OUTPUT, w->name[n->out[k]]);
    add_text(w->out, NAME, node_name(w, n));
    add_text(w->out, TYPE, n->op->name);
    for (const lmb_attr_row *row = n->op->attrs; row && row->name; row++)
        write_attribute(w->out, row, n->attr);
    if (*n->op->domain)
        add_text(w->out, DOMAIN_, n->op->domain);
    end(w->out, at);
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
    add_text(w->out, 2, inner);
    add_text(w->out, 4, "HardSigmoid");
    write_attribute(w->out, &alpha, (const char *)&sixth); /* beta is 0.5 by default */
    end(w->out, at);
    begin_node(w, &at, n->in, 1);
    add_text(w->out, 1, inner);
    add_text(w->out, 2, w->name[n->out[0]]);
    add_text(w->out, 3, node_name(w, n));
    add_text(w->out, 4, "Mul");
    end(w->out, at);
}

/* ---- values ---- */

static void write_tensor(lmb_str *s, unsigned field, const char *name, const lmb_value *v, bool int4, const char *doc)
{
    enum { DIMS = 1, TYPE = 2, NAME = 8, RAW = 9, DOC = 12 };
    size_t at = begin(s, field);

    for (int i = 0; i < v->shape.n; i++)
        add_int(s, DIMS, v->shape.d[i]);
    add_int(s, TYPE, int4 ? LMBI_ONNX_INT4 : lmb_dtype_onnx(v->dtype));
    add_text(s, NAME, name);
    if (int4) {
        size_t raw = begin(s, RAW);
        lmbi_int4_pack(v, s);
        end(s, raw);
    } else {
        add_bytes(s, RAW, v->data, lmb_shape_bytes(&v->shape, v->dtype));
    }
    if (doc)
        add_text(s, DOC, doc);
    end(s, at);
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
    size_t info = begin(s, field);
    add_text(s, 1, name);
    size_t type = begin(s, 2), tensor = begin(s, 1);
    add_int(s, 1, lmb_dtype_onnx(v->dtype));
    size_t shape = begin(s, 2);
    for (int i = 0; i < v->shape.n; i++) {
        size_t dim = begin(s, 1);
        if (i == 0 && v->shape.d[0] == w->batch)
            add_text(s, 2, "N");
        else
            add_int(s, 1, v->shape.d[i]);
        end(s, dim);
    }
    end(s, shape);
    end(s, tensor);
    end(s, type);
    if (doc)
        add_text(s, 3, doc);
    end(s, info);
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

/* ---- names ---- */

static char *make_name(writer *w, const char *want)
{
    size_t n = strlen(want) + 12;
    char *s = malloc(n);

    if (!s)
        return NULL;
    snprintf(s, n, "%s", want);
    for (char *c = s; w->o->strict && *c; c++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./", *c))
            *c = '_';
    size_t stem = strlen(s);
    for (int i = 2; lmbi_names_get(&w->taken, s) != LMB_NONE; i++)
        snprintf(s + stem, n - stem, "_%d", i);
    return s;
}

static lmb_status name_value(writer *w, lmb_vid v, const char *want, lmb_error *err)
{
    w->name[v] = make_name(w, want);
    if (!w->name[v])
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the names of a model");
    lmbi_names_put(&w->taken, w->name[v], v);
    return LMB_OK;
}

/* Strict files name a value after the output that shows it: ONNX has one name for both. */
static lmb_status name_values(writer *w, lmb_error *err)
{
    const lmb_graph *g = w->g;

    for (int i = 0; w->o->strict && i < g->n_outputs; i++) {
        lmb_vid v = g->output[i].value;
        if (g->value[v].node == LMB_NONE || w->name[v])
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "output '%s' is an input, a constant or another output; ONNX wants "
                            "each output to be made by a node of its own: add an Identity", g->output[i].name);
        LMB_TRY(name_value(w, v, g->output[i].name, err));
    }
    for (int v = 0; v < g->n_values; v++)
        if (!w->name[v])
            LMB_TRY(name_value(w, v, g->value[v].name, err));
    return LMB_OK;
}

/* ---- the model ---- */

/* The opset in which a node means what it means here: 13 unless it uses something newer. */
static int opset_of(const lmb_node *n)
{
    static const struct { const char *op, *attr; } newer[] = {
        { "HardSwish", NULL }, { "BatchNormalization", "training_mode" }, { "Reshape", "allowzero" },
    };
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++) {
        if (*n->op->domain || strcmp(n->op->name, newer[i].op))
            continue;
        for (const lmb_attr_row *row = n->op->attrs; newer[i].attr && row->name; row++)
            if (strcmp(row->name, newer[i].attr) == 0 && is_default(row, n->attr))
                return 13;
        return 15;
    }
    return 13;
}

static lmb_status check_strict(const writer *w, lmb_error *err)
{
    for (int i = 0; w->o->strict && i < w->g->n_nodes; i++) {
        const lmb_node *n = &w->g->node[i];
        if (*n->op->domain)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: %s is an operator of our own, which other runtimes lack; "
                            "export the deployment form of the model", n->name, n->op->name);
        if (opset_of(n) > 13 && strcmp(n->op->name, "HardSwish"))
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: %s in this form is newer than opset 13; export the inference "
                            "form of the model", n->name, n->op->name);
    }
    return LMB_OK;
}

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
    w->name[shape] = make_name(w, name);
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
    size_t at = begin(w->out, 7);

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
    add_text(w->out, NAME, w->o->name ? w->o->name : "limbeck");
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role == LMB_ROLE_CONSTANT || lmb_role_is_state(g->value[v].role))
            write_initializer(w, v);
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role == LMB_ROLE_INPUT)
            write_value_info(w, INPUT, w->name[v], &g->value[v], NULL);
    for (int i = 0; i < g->n_outputs; i++)
        write_output(w, &g->output[i]);
    end(w->out, at);
    return LMB_OK;
}

static void write_property(lmb_str *s, const char *key, const char *value)
{
    size_t at = begin(s, 14);
    add_text(s, 1, key);
    add_text(s, 2, value);
    end(s, at);
}

static void write_opset(lmb_str *s, const char *domain, int version)
{
    size_t at = begin(s, 8);
    add_text(s, 1, domain);
    add_int(s, 2, version);
    end(s, at);
}

static lmb_status write_model(writer *w, lmb_error *err)
{
    lmb_str *s = w->out;
    char batch[24];
    bool own = false;

    w->opset = w->narrow ? 21 : 13;
    for (int i = 0; i < w->g->n_nodes; i++) {
        int needed = opset_of(&w->g->node[i]);
        w->opset = !w->o->strict && needed > w->opset ? needed : w->opset;
        own |= *w->g->node[i].op->domain != 0;
    }
    add_int(s, 1, w->o->ir_version ? w->o->ir_version : w->narrow ? 10 : 7);
    add_text(s, 2, "limbeck");
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
    LMB_TRY_GOTO(st, done, check_strict(&w, err));
    if (w.o->strict && w.o->int4) {
        w.narrow = calloc((size_t)g->n_values + 1, sizeof *w.narrow);
        LMB_TRY_GOTO(st, done, w.narrow ? lmbi_int4_find(g, w.narrow, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to write a model"));
    }
    LMB_TRY_GOTO(st, done, lmbi_names_create(&w.taken, (size_t)g->n_values, err));
    LMB_TRY_GOTO(st, done, name_values(&w, err));
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
    free(w.name);
    free(w.narrow);
    return st;
}

lmb_status lmb_onnx_write(const char *path, const lmb_graph *g, const lmb_onnx_export_options *o, lmb_error *err)
{
    lmb_str bytes = LMB_STR_INIT;
    lmb_status st = lmb_onnx_export(g, o, &bytes, err);

    if (st == LMB_OK)
        st = lmb_file_write(path, bytes.text, bytes.n, err);
    lmb_str_free(&bytes);
    return st;
}
