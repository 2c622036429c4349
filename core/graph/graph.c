/* core/graph/graph.c - storage of a graph: values, names, outputs. See graph.h; nodes are added by node.c.
 *
 * Everything a graph owns lives in chunks that are freed together. Names are looked up by an open
 * hash table: a big imported model has thousands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/memory.h"

typedef struct lmbi_chunk { struct lmbi_chunk *next; size_t used, cap; } lmbi_chunk;
enum { CHUNK_BYTES = 64 * 1024, HEADER = 64 };

void *lmb_graph_alloc(lmb_graph *g, size_t bytes)
{
    struct lmb_graph_memory *m = g->memory;
    size_t need = (bytes + 63) & ~(size_t)63;

    if (need < bytes)
        return NULL;
    if (!m->chunks || m->chunks->cap - m->chunks->used < need) {
        size_t cap = need > CHUNK_BYTES ? need : CHUNK_BYTES;
        lmbi_chunk *c = aligned_alloc(64, HEADER + cap);
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
    for (lmbi_chunk *c = g->memory->chunks, *next; c; c = next) {
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

bool lmbi_graph_reserve(void **array, int *cap, int n, size_t size)
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

const char *lmbi_graph_text(lmb_graph *g, const char *s)
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
        return lmbi_graph_text(g, want);
    do
        snprintf(buf, sizeof buf, "%.200s_%u", want, ++g->memory->fresh);
    while (lmb_graph_find(g, buf) != LMB_NONE);
    return lmbi_graph_text(g, buf);
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

lmb_status lmbi_graph_append_value(lmb_graph *g, const lmb_value *like, lmb_vid *out, lmb_error *err)
{
    struct lmb_graph_memory *m = g->memory;
    const char *name = fresh_name(g, like->name);

    if (!name || !lmbi_graph_reserve((void **)&g->value, &m->cap_values, g->n_values, sizeof *g->value) ||
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
    return lmbi_graph_append_value(g, &v, out, err);
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

lmb_status lmb_graph_output_add(lmb_graph *g, const char *name, lmb_vid value, lmb_error *err)
{
    if (value < 0 || value >= g->n_values)
        return LMB_FAIL(err, LMB_E_ARG, "output %s is no value of this graph (id %d)", name, (int)value);
    if (lmb_graph_find_output(g, name) != LMB_NONE)
        return LMB_FAIL(err, LMB_E_ARG, "the graph has an output '%s' already", name);
    const char *copy = lmbi_graph_text(g, name);
    if (!copy || !lmbi_graph_reserve((void **)&g->output, &g->memory->cap_outputs, g->n_outputs, sizeof *g->output))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for output %s", name);
    g->output[g->n_outputs++] = (lmb_graph_output){ copy, value };
    return LMB_OK;
}
