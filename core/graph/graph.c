/* core/graph/graph.c - storage of a graph: values, nodes, names. See graph.h. */
#include "core/graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/op.h"

/* Everything a graph owns lives in chunks that are freed together. Names are looked up by an open
 * hash table: a big imported model has thousands. */
typedef struct chunk { struct chunk *next; size_t used, cap; } chunk;
enum { CHUNK_BYTES = 64 * 1024, HEADER = 64 };

struct lmb_graph_memory {
    chunk *chunks;
    int cap_values, cap_nodes, cap_outputs;
    lmb_vid *slot; /* hash table of names, LMB_NONE: empty */
    unsigned n_slots;
    unsigned used; /* slots taken, also by values that were renamed since */
    unsigned fresh;
};

void *lmb_graph_alloc(lmb_graph *g, size_t bytes)
{
    struct lmb_graph_memory *m = g->memory;
    size_t need = (bytes + 63) & ~(size_t)63;

    if (need < bytes)
        return NULL;
    if (!m->chunks || m->chunks->cap - m->chunks->used < need) {
        size_t cap = need > CHUNK_BYTES ? need : CHUNK_BYTES;
        chunk *c = aligned_alloc(64, HEADER + cap);
        if (!c)
            return NULL;
        c->next = m->chunks;
        c->used = 0;
        c->cap = cap;
        m->chunks = c;
    }
    void *p = (char *)m->chunks + HEADER + m->chunks->used;
    m->chunks->used += need;
    return p;
}

lmb_status lmb_graph_create(lmb_graph **out, lmb_error *err)
{
    lmb_graph *g = calloc(1, sizeof *g);

    if (g)
        g->memory = calloc(1, sizeof *g->memory);
    if (!g || !g->memory) {
        free(g);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a graph");
    }
    *out = g;
    return LMB_OK;
}

void lmb_graph_destroy(lmb_graph *g)
{
    if (!g)
        return;
    for (chunk *c = g->memory->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(g->memory->slot);
    free(g->memory);
    free(g->value);
    free(g->node);
    free(g->output);
    free(g);
}

/* Make room for one more element of a growing array. */
static bool reserve(void **array, int *cap, int n, size_t size)
{
    if (n < *cap)
        return true;
    int bigger = *cap ? *cap * 2 : 32;
    void *p = realloc(*array, (size_t)bigger * size);
    if (!p)
        return false;
    *array = p;
    *cap = bigger;
    return true;
}

/* ---- names ---- */

static unsigned hash_name(const char *s)
{
    unsigned h = 2166136261u; /* FNV-1a */
    while (*s)
        h = (h ^ (unsigned char)*s++) * 16777619u;
    return h;
}

static void slot_put(struct lmb_graph_memory *m, const char *name, lmb_vid v)
{
    unsigned i = hash_name(name) & (m->n_slots - 1);
    while (m->slot[i] != LMB_NONE)
        i = (i + 1) & (m->n_slots - 1);
    m->slot[i] = v;
    m->used++;
}

static bool slots_rebuild(lmb_graph *g, unsigned n_slots)
{
    struct lmb_graph_memory *m = g->memory;
    lmb_vid *slot = malloc(n_slots * sizeof *slot);

    if (!slot)
        return false;
    for (unsigned i = 0; i < n_slots; i++)
        slot[i] = LMB_NONE;
    free(m->slot);
    m->slot = slot;
    m->n_slots = n_slots;
    m->used = 0;
    for (int v = 0; v < g->n_values; v++)
        slot_put(m, g->value[v].name, v);
    return true;
}

/* Keep the table at most half full. */
static bool slots_reserve(lmb_graph *g)
{
    struct lmb_graph_memory *m = g->memory;

    if (m->used * 2 < m->n_slots)
        return true;
    return slots_rebuild(g, (unsigned)g->n_values * 4 >= m->n_slots ? (m->n_slots ? m->n_slots * 2 : 64) : m->n_slots);
}

lmb_vid lmb_graph_find(const lmb_graph *g, const char *name)
{
    const struct lmb_graph_memory *m = g->memory;

    if (!m->n_slots || !name)
        return LMB_NONE;
    for (unsigned i = hash_name(name) & (m->n_slots - 1); m->slot[i] != LMB_NONE; i = (i + 1) & (m->n_slots - 1))
        if (strcmp(g->value[m->slot[i]].name, name) == 0)
            return m->slot[i];
    return LMB_NONE;
}

static const char *copy_text(lmb_graph *g, const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = lmb_graph_alloc(g, n);
    return p ? memcpy(p, s, n) : NULL;
}

/* The wanted name, or "name_2", "name_3", ... when it is taken. */
static const char *fresh_name(lmb_graph *g, const char *want)
{
    char buf[256];

    if (!want || !*want)
        want = "v";
    if (lmb_graph_find(g, want) == LMB_NONE)
        return copy_text(g, want);
    do
        snprintf(buf, sizeof buf, "%.200s_%u", want, ++g->memory->fresh);
    while (lmb_graph_find(g, buf) != LMB_NONE);
    return copy_text(g, buf);
}

lmb_status lmb_graph_rename(lmb_graph *g, lmb_vid v, const char *name, lmb_error *err)
{
    if (strcmp(g->value[v].name, name) == 0)
        return LMB_OK;
    const char *fresh = fresh_name(g, name);
    if (!fresh)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the name %s", name);
    if (!slots_reserve(g))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the name %s", name);
    g->value[v].name = fresh; /* the old slot stays: it no longer matches its name */
    slot_put(g->memory, fresh, v);
    return LMB_OK;
}

/* ---- values ---- */

/* Append a value whose type is already checked. */
static lmb_status append_value(lmb_graph *g, const lmb_value *like, lmb_vid *out, lmb_error *err)
{
    struct lmb_graph_memory *m = g->memory;
    const char *name = fresh_name(g, like->name);

    if (!name || !reserve((void **)&g->value, &m->cap_values, g->n_values, sizeof *g->value) ||
        !slots_reserve(g))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for value %s", like->name ? like->name : "");
    g->value[g->n_values] = *like;
    g->value[g->n_values].name = name;
    slot_put(m, name, g->n_values);
    *out = g->n_values++;
    return LMB_OK;
}

lmb_status lmb_graph_value(lmb_graph *g, lmb_role role, const char *name, lmb_dtype dtype, const lmb_shape *shape,
                           const void *data, lmb_vid *out, lmb_error *err)
{
    lmb_value v = { .name = name, .dtype = dtype, .shape = *shape, .role = role, .node = LMB_NONE,
                    .next = LMB_NONE, .decay = 1.0f };

    if (role == LMB_ROLE_ACTIVATION)
        return LMB_FAIL(err, LMB_E_ARG, "value %s: only nodes make activations", name ? name : "");
    if (lmb_role_is_state(role) && dtype != LMB_F32)
        return LMB_FAIL(err, LMB_E_ARG, "%s %s has type %s; state is f32", lmb_role_name(role), name ? name : "",
                        lmb_dtype_name(dtype));
    if (role == LMB_ROLE_CONSTANT && !data && lmb_shape_count(shape) > 0)
        return LMB_FAIL(err, LMB_E_ARG, "constant %s has no content", name ? name : "");
    if (lmb_shape_check(shape, dtype, err) != LMB_OK)
        return lmb_error_context(err, "value %s", name ? name : "");
    if (role != LMB_ROLE_INPUT) {
        size_t bytes = lmb_shape_bytes(shape, dtype);
        void *copy = lmb_graph_alloc(g, bytes ? bytes : 1);
        if (!copy)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes of %s", bytes, name ? name : "a value");
        if (data && bytes)
            memcpy(copy, data, bytes);
        else
            memset(copy, 0, bytes ? bytes : 1);
        v.data = copy;
    }
    return append_value(g, &v, out, err);
}

lmb_status lmb_graph_set_data(lmb_graph *g, lmb_vid v, const void *data, lmb_error *err)
{
    lmb_value *x = &g->value[v];

    if (x->role != LMB_ROLE_CONSTANT && !lmb_role_is_state(x->role))
        return LMB_FAIL(err, LMB_E_ARG, "%s is %s; it has no stored content", x->name, lmb_role_name(x->role));
    /* Each such value has memory of its shape from the start; a client that is given a model a round must not grow. */
    memmove((void *)(uintptr_t)x->data, data, lmb_shape_bytes(&x->shape, x->dtype));
    return LMB_OK;
}

/* ---- attributes ---- */

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
        const char *s = copy_text(g, a->s);
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

/* ---- nodes ---- */

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
    n.name = copy_text(g, name);
    if (!ids || !n.name || !reserve((void **)&g->node, &g->memory->cap_nodes, g->n_nodes, sizeof *g->node))
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
        LMB_TRY(append_value(g, &v, &ids[n_in + i], err));
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
            s = copy_text(g, s);
            if (!s)
                return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a node");
            memcpy(attr + row->offset, &s, sizeof s);
        }
    st = append_node(g, op, like->name, attr, in, like->n_in, out, like->n_out, err);
    if (st != LMB_OK)
        lmb_error_context(err, "%s node %s", op->name, like->name);
    return st;
}

lmb_status lmb_graph_output_add(lmb_graph *g, const char *name, lmb_vid value, lmb_error *err)
{
    if (value < 0 || value >= g->n_values)
        return LMB_FAIL(err, LMB_E_ARG, "output %s is no value of this graph (id %d)", name, (int)value);
    if (lmb_graph_find_output(g, name) != LMB_NONE)
        return LMB_FAIL(err, LMB_E_ARG, "the graph has an output '%s' already", name);
    const char *copy = copy_text(g, name);
    if (!copy || !reserve((void **)&g->output, &g->memory->cap_outputs, g->n_outputs, sizeof *g->output))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for output %s", name);
    g->output[g->n_outputs++] = (lmb_graph_output){ copy, value };
    return LMB_OK;
}
