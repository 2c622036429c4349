/* distill/prune/axes.c - see axes.h. */
#include "distill/prune/axes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What holds a slot: nothing, the input or output of the model, a node. */
typedef struct hold { enum { FREE, BY_INPUT, BY_OUTPUT, BY_NODE } kind; int32_t id; } hold;

typedef struct finder {
    const lmb_graph *g;
    const size_t *first;
    int32_t *parent; /* [slots] */
    hold *held;      /* [slots], at roots */
    bool *makes;     /* [values * LMB_MAX_DIMS] */
    const lmb_node *node;
    bool tied[LMB_MAX_IN + LMB_MAX_OUT][LMB_MAX_DIMS]; /* axes of the present node's operands */
} finder;

/* ---- union-find ---- */

static int32_t root_of(finder *f, size_t slot)
{
    int32_t s = (int32_t)slot;
    while (f->parent[s] != s)
        s = f->parent[s] = f->parent[f->parent[s]];
    return s;
}

/* The lower number stays the root: channels come out in the order of the graph. */
static void join(finder *f, size_t a, size_t b)
{
    int32_t x = root_of(f, a), y = root_of(f, b), low = x < y ? x : y, high = x < y ? y : x;
    f->parent[high] = low;
    if (f->held[low].kind == FREE)
        f->held[low] = f->held[high];
}

static size_t slot_of(const finder *f, lmb_vid v, int axis)
{
    return f->first[(size_t)v * LMB_MAX_DIMS + (size_t)axis];
}

static void hold_axis(finder *f, lmb_vid v, int axis, hold by)
{
    for (int64_t i = 0; i < f->g->value[v].shape.d[axis]; i++) {
        int32_t r = root_of(f, slot_of(f, v, axis) + (size_t)i);
        if (f->held[r].kind == FREE)
            f->held[r] = by;
    }
}

static void hold_all(finder *f, lmb_vid v, hold by)
{
    for (int a = 0; a < f->g->value[v].shape.n; a++)
        hold_axis(f, v, a, by);
}

/* ---- what the ops say ---- */

static lmb_vid operand(const finder *f, int k)
{
    return k < f->node->n_in ? f->node->in[k] : f->node->out[k - f->node->n_in];
}

static void on_fix(void *ctx, int a, int axis)
{
    finder *f = ctx;
    f->tied[a][axis] = true;
    if (operand(f, a) != LMB_NONE)
        hold_axis(f, operand(f, a), axis, (hold){ BY_NODE, (int32_t)(f->node - f->g->node) });
}

static void on_tie(void *ctx, int a, int a_axis, int b, int b_axis, int64_t offset, int64_t block)
{
    finder *f = ctx;
    lmb_vid x = operand(f, a), y = operand(f, b);

    f->tied[a][a_axis] = f->tied[b][b_axis] = true;
    if (x == LMB_NONE || y == LMB_NONE)
        return;
    int64_t n = f->g->value[x].shape.d[a_axis];
    if (offset < 0 || block < 1 || offset + n * block > f->g->value[y].shape.d[b_axis]) { /* no relation of channels */
        on_fix(ctx, a, a_axis);
        on_fix(ctx, b, b_axis);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < block; k++)
            join(f, slot_of(f, x, a_axis) + (size_t)i, slot_of(f, y, b_axis) + (size_t)(offset + i * block + k));
    if (b >= f->node->n_in && f->g->value[x].role == LMB_ROLE_PARAMETER)
        f->makes[(size_t)x * LMB_MAX_DIMS + (size_t)a_axis] = true;
}

/* An axis that the op does not speak of is one that it needs whole: a mean over it, a kernel's height. */
static void relate(finder *f, const lmb_node *n)
{
    lmb_type in[LMB_MAX_IN], out[LMB_MAX_OUT];
    const lmb_axes axes = { f, on_tie, on_fix };
    lmb_call call;

    f->node = n;
    memset(f->tied, 0, sizeof f->tied);
    lmb_call_of(f->g, n, in, out, &call);
    if (n->op->axes)
        n->op->axes(&call, &axes);
    for (int k = 0; k < n->n_in + n->n_out; k++)
        for (int a = 0; operand(f, k) != LMB_NONE && a < f->g->value[operand(f, k)].shape.n; a++)
            if (!f->tied[k][a])
                on_fix(f, k, a);
}

static void relate_all(finder *f)
{
    const lmb_graph *g = f->g;

    for (int v = 0; v < g->n_values; v++) {
        if (g->value[v].role == LMB_ROLE_INPUT)
            hold_all(f, v, (hold){ BY_INPUT, v });
        for (int a = 0; g->value[v].next != LMB_NONE && a < g->value[v].shape.n; a++)
            for (int64_t i = 0; i < g->value[v].shape.d[a]; i++) /* state and what it becomes have one shape */
                join(f, slot_of(f, v, a) + (size_t)i, slot_of(f, g->value[v].next, a) + (size_t)i);
    }
    for (int i = 0; i < g->n_outputs; i++)
        hold_all(f, g->output[i].value, (hold){ BY_OUTPUT, i });
    for (int i = 0; i < g->n_nodes; i++)
        relate(f, &g->node[i]);
}

/* ---- channels and classes ---- */

/* What is known of the channel that a root stands for. */
typedef struct channel { uint64_t axes; size_t last; int32_t class; bool made; } channel;

/* Roots get a hash of the axes that they run through: equal for channels of one class. */
static void describe_channels(finder *f, channel *c)
{
    for (int v = 0; v < f->g->n_values; v++)
        for (int a = 0; a < f->g->value[v].shape.n; a++) {
            size_t axis = (size_t)v * LMB_MAX_DIMS + (size_t)a;
            for (int64_t i = 0; i < f->g->value[v].shape.d[a]; i++) {
                channel *x = &c[root_of(f, slot_of(f, v, a) + (size_t)i)];
                x->made |= f->makes[axis];
                if (x->last == axis + 1)
                    continue; /* a block: several indices, one axis */
                x->last = axis + 1;
                x->axes = (x->axes ^ (axis + 1)) * 0x9E3779B97F4A7C15u;
                x->axes ^= x->axes >> 29;
            }
        }
}

static void explain(const finder *f, lmb_axis_class *c, hold h)
{
    const lmb_graph *g = f->g;

    c->prunable = h.kind == FREE;
    if (h.kind == BY_INPUT)
        snprintf(c->why, sizeof c->why, "the model's input %.80s has this axis", g->value[h.id].name);
    else if (h.kind == BY_OUTPUT)
        snprintf(c->why, sizeof c->why, "the model's output %.80s has this axis", g->output[h.id].name);
    else if (h.kind == BY_NODE)
        snprintf(c->why, sizeof c->why, "%.40s (node %.80s) needs this axis whole", g->node[h.id].op->name,
                 g->node[h.id].name);
}

/* Classes as they are found, each with the hash of its axes. */
typedef struct found { int32_t n, room; lmb_axis_class *class; uint64_t *axes; } found;

static lmb_status add_class(found *f, uint64_t axes, lmb_error *err)
{
    if (f->n == f->room) {
        int32_t room = 2 * f->room + 32;
        lmb_axis_class *class = realloc(f->class, sizeof *class * (size_t)room);
        f->class = class ? class : f->class;
        uint64_t *hashes = class ? realloc(f->axes, sizeof *hashes * (size_t)room) : NULL;
        if (!hashes)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d classes", (int)room);
        f->axes = hashes;
        f->room = room;
    }
    f->axes[f->n] = axes;
    f->class[f->n++] = (lmb_axis_class){ .label = LMB_NONE, .prunable = true };
    return LMB_OK;
}

/* Number the classes in the order of their first slots, and count. Channels of one class lie near each other: look
 * back. */
static lmb_status find_classes(finder *f, size_t slots, channel *c, lmb_axis_map *m, lmb_error *err)
{
    found all = { 0 };
    lmb_status st = LMB_OK;

    for (size_t s = 0; s < slots && st == LMB_OK; s++) {
        if (f->parent[s] != (int32_t)s || !c[s].made)
            continue;
        int32_t k = all.n - 1;
        while (k >= 0 && all.axes[k] != c[s].axes)
            k--;
        if (k < 0) {
            st = add_class(&all, c[s].axes, err);
            k = all.n - 1;
        }
        if (st != LMB_OK)
            break;
        if (all.class[k].prunable) /* what holds one of its channels holds all */
            explain(f, &all.class[k], f->held[s]);
        c[s].class = k;
        all.class[k].channels++;
        m->n_channels++;
    }
    m->class = all.class;
    m->n_classes = all.n;
    free(all.axes);
    return st;
}

/* Channels are numbered class by class; m->channel, which held the roots, now holds their numbers. */
static lmb_status number_channels(finder *f, size_t slots, const channel *c, lmb_axis_map *m, lmb_error *err)
{
    int32_t *next = malloc(sizeof *next * ((size_t)m->n_classes + 1)), at = 0;

    m->class_of = malloc(sizeof *m->class_of * ((size_t)m->n_channels + 1));
    m->channel = malloc(sizeof *m->channel * (slots + 1));
    if (!next || !m->class_of || !m->channel) {
        free(next);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d channels", (int)m->n_channels);
    }
    for (int32_t k = 0; k < m->n_classes; k++) {
        m->class[k].first = next[k] = at;
        at += m->class[k].channels;
        for (int32_t i = next[k]; i < at; i++)
            m->class_of[i] = k;
    }
    for (size_t s = 0; s < slots; s++) { /* a root has the lowest number of its channel: it is met first */
        int32_t r = root_of(f, s);
        m->channel[s] = !c[r].made ? -1 : r == (int32_t)s ? next[c[r].class]++ : m->channel[r];
    }
    free(next);
    return LMB_OK;
}

static lmb_status add_member(const finder *f, lmb_axis_class *c, lmb_vid v, int axis, lmb_error *err)
{
    bool makes = f->makes[(size_t)v * LMB_MAX_DIMS + (size_t)axis];

    for (int i = c->n_members - 1; i >= 0; i--)
        if (c->member[i].value == v && c->member[i].axis == axis)
            return LMB_OK;
    if ((c->n_members & (c->n_members - 1)) == 0) { /* room for the next power of two */
        lmb_axis_member *more = realloc(c->member, sizeof *more * (c->n_members ? 2 * (size_t)c->n_members : 1));
        if (!more)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the members of a class");
        c->member = more;
    }
    c->member[c->n_members++] = (lmb_axis_member){ v, axis, makes };
    if (makes && (c->label == LMB_NONE || (f->g->value[c->label].shape.n < 2 && f->g->value[v].shape.n >= 2)))
        c->label = v;
    return LMB_OK;
}

static lmb_status find_members(const finder *f, lmb_axis_map *m, lmb_error *err)
{
    for (int v = 0; v < f->g->n_values; v++) {
        const lmb_value *x = &f->g->value[v];
        if (x->node != LMB_NONE || x->role == LMB_ROLE_INPUT)
            continue;
        for (int a = 0; a < x->shape.n; a++)
            for (int64_t i = 0, last = -1; i < x->shape.d[a]; i++) {
                int32_t c = lmb_axis_channel(m, v, a, i);
                if (c < 0 || m->class_of[c] == last)
                    continue;
                last = m->class_of[c];
                LMB_TRY(add_member(f, &m->class[last], v, a, err));
            }
    }
    return LMB_OK;
}

static lmb_status lay_out(const lmb_graph *g, size_t *first, size_t *slots, lmb_error *err)
{
    *slots = 0;
    for (int v = 0; v < g->n_values; v++)
        for (int a = 0; a < g->value[v].shape.n; a++) {
            first[(size_t)v * LMB_MAX_DIMS + (size_t)a] = *slots;
            *slots += (size_t)g->value[v].shape.d[a];
            if (*slots > (size_t)1 << 28)
                return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                                "the axes of this graph have more than 2^28 indices in all (at %s)", g->value[v].name);
        }
    return LMB_OK;
}

lmb_status lmb_axis_map_create(const lmb_graph *g, lmb_axis_map **out, lmb_error *err)
{
    size_t axes = (size_t)g->n_values * LMB_MAX_DIMS, slots = 0;
    lmb_axis_map *m = calloc(1, sizeof *m);
    finder f = { .g = g, .makes = calloc(axes + 1, sizeof *f.makes) };
    channel *c = NULL;
    lmb_status st;

    if (m)
        f.first = m->first = calloc(axes + 1, sizeof *m->first);
    if (!m || !f.makes || !m->first) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for the axes of %d values", g->n_values);
        goto done;
    }
    LMB_TRY_GOTO(st, done, lay_out(g, m->first, &slots, err));
    f.parent = malloc(sizeof *f.parent * (slots + 1));
    f.held = calloc(slots + 1, sizeof *f.held);
    c = calloc(slots + 1, sizeof *c);
    if (!f.parent || !f.held || !c) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu slots", slots);
        goto done;
    }
    for (size_t s = 0; s < slots; s++)
        f.parent[s] = (int32_t)s;
    relate_all(&f);
    describe_channels(&f, c);
    LMB_TRY_GOTO(st, done, find_classes(&f, slots, c, m, err));
    LMB_TRY_GOTO(st, done, number_channels(&f, slots, c, m, err));
    LMB_TRY_GOTO(st, done, find_members(&f, m, err));
    *out = m;
    m = NULL;
done:
    lmb_axis_map_destroy(m);
    free(f.parent);
    free(f.held);
    free(f.makes);
    free(c);
    return st;
}

void lmb_axis_map_destroy(lmb_axis_map *m)
{
    if (!m)
        return;
    for (int k = 0; k < m->n_classes; k++)
        free(m->class[k].member);
    free(m->class);
    free(m->class_of);
    free(m->channel);
    free(m->first);
    free(m);
}
