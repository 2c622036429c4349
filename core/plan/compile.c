/* core/plan/compile.c - graph -> steps: which kernel runs each node, in which layout, in which memory.
 *
 * With backends the graph is first rewritten by core/passes/fuse.h; the plan then owns what it runs and translates the
 * caller's values. One walk over the needed nodes in graph order:
 *   1. choose a kernel: the backends' lists in order, the reference last, or what measuring found (choice.h); remember
 *      why better ones refused
 *   2. make its operands have the layout and storage type it wants, inserting a conversion where they do not (grow.c)
 *   3. give the outputs storage: shared with the input for views and in-place kernels, else new
 * then lifetimes are known and memory.c places the storages.
 */
#include <stdlib.h>
#include <string.h>

#include "core/passes/fuse.h"
#include "core/passes/recompute.h"
#include "core/plan/internal.h"

#define NOMEM(err) LMB_FAIL((err), LMB_E_NOMEM, "no memory for a plan")

/* The layout all operands of an order-free step take: that of its first rank-4 input. */
static lmb_layout common_layout(const lmb_plan *p, const lmb_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != LMB_NONE && lmbi_two_layouts(&p->value[n->in[i]]) && p->value[n->in[i]].bytes > 8)
            return p->value[n->in[i]].layout;
    return LMB_LAYOUT_PLAIN;
}

static lmb_status make_values(lmb_plan *p, const bool *needed, lmb_error *err)
{
    const lmb_graph *g = p->g;
    for (int v = 0; v < g->n_values; v++) {
        const lmb_value *x = &g->value[v];
        lmbi_pvalue pv = { .name = x->name, .dtype = x->dtype, .shape = x->shape,
                           .bytes = lmb_shape_bytes(&x->shape, x->dtype), .storage = -1, .first = -1, .last = -1,
                           .origin = v, .other = -1 };
        pv.fixed = pv.bindable = x->role == LMB_ROLE_INPUT || lmb_role_is_state(x->role);
        int id = lmbi_plan_add_value(p, &pv);
        if (id < 0)
            return NOMEM(err);
        if (x->role == LMB_ROLE_ACTIVATION || !needed[v])
            continue;
        int s = lmbi_plan_add_storage(p, pv.bytes);
        if (s < 0)
            return NOMEM(err);
        p->value[id].storage = s;
        p->storage[s].fixed = true;
        p->storage[s].external = x->role != LMB_ROLE_INPUT && !p->device;
        p->storage[s].data = x->data;
    }
    for (int i = 0; i < g->n_outputs; i++)
        p->value[g->output[i].value].fixed = p->value[g->output[i].value].bindable = true;
    for (int v = 0; p->options.update_state && v < g->n_values; v++)
        if (g->value[v].next != LMB_NONE)
            p->value[g->value[v].next].fixed = p->value[g->value[v].next].bindable = true;
    return LMB_OK;
}

/* Give output `v` of step i its memory: shared with `src` (>= 0) or its own. */
static lmb_status give_storage(lmb_plan *p, int v, int src, lmb_error *err)
{
    lmbi_pvalue *x = &p->value[v];
    if (src >= 0) {
        x->storage = p->value[src].storage;
        return LMB_OK;
    }
    int s = lmbi_plan_add_storage(p, x->bytes);
    if (s < 0)
        return NOMEM(err);
    x->storage = s;
    p->storage[s].fixed = x->fixed;
    return LMB_OK;
}

/* Reshape and its kin: the bytes stay where they are, in plain order, unless the result is a graph output
 * or its source can be rebound by the caller; then they are copied. */
static lmb_status plan_view(lmb_plan *p, const lmb_node *n, lmb_error *err)
{
    int src = lmbi_plan_in_form(p, n->in[0], LMB_LAYOUT_PLAIN, p->g->value[n->in[0]].dtype, err), dst = n->out[0];
    if (src < 0)
        return LMB_E_NOMEM;
    p->value[dst].first = p->n_steps - 1;
    if (!p->value[dst].fixed && !p->value[src].fixed && !p->storage[p->value[src].storage].external) {
        p->value[dst].first = p->value[src].first;
        return give_storage(p, dst, src, err);
    }
    LMB_TRY(give_storage(p, dst, -1, err));
    lmbi_step *s = lmbi_plan_add_step(p, 1, 1);
    if (!s)
        return NOMEM(err);
    s->label = "copy";
    s->in[0] = src;
    s->out[0] = dst;
    s->cost.bytes = 2.0 * (double)p->value[dst].bytes;
    p->value[dst].first = p->n_steps - 1;
    return LMB_OK;
}

static lmb_status keep_reason(lmb_plan *p, int step, const char *reason)
{
    size_t n = strlen(reason) + 1;
    if (n == 1)
        return LMB_OK;
    char *copy = malloc(n);
    if (!copy)
        return LMB_OK; /* only a remark */
    memcpy(copy, reason, n);
    p->step[step].refused = copy;
    return LMB_OK;
}

/* What a step reads and writes once, in the types that operands are kept in. */
static void count_bytes(const lmb_plan *p, lmbi_step *s)
{
    s->cost.bytes = 0;
    for (int k = 0; k < s->n_in + s->n_out; k++)
        if (s->in[k] >= 0) /* in and out are one array */
            s->cost.bytes += (double)p->value[s->in[k]].bytes;
}

static lmb_status plan_node(lmb_plan *p, int index, const bool *needed, const int *last_use, lmb_error *err)
{
    const lmb_node *n = &p->g->node[index];
    lmb_type in_types[LMB_MAX_IN], out_types[LMB_MAX_OUT];
    lmb_call call;
    char reason[200];
    int operand[LMB_MAX_IN];

    lmb_call_of(p->g, n, in_types, out_types, &call);
    for (int k = 0; k < n->n_out; k++)
        out_types[k].present = needed[n->out[k]];
    if (n->op->flags & LMB_OP_VIEW)
        return plan_view(p, n, err);

    const lmb_kernel *kernel;
    void *state = NULL;
    size_t scratch = 0;
    LMB_TRY(lmbi_select(p, &call, p->trained && !p->trained[n->out[0]], &kernel, &state, &scratch, reason,
                        sizeof reason, err));
    bool free_order = kernel ? kernel->order_free : lmbi_order_free(&call);
    lmb_layout common = free_order ? common_layout(p, n) : LMB_LAYOUT_PLAIN;
    for (int k = 0; k < n->n_in; k++) {
        operand[k] = -1;
        if (n->in[k] == LMB_NONE)
            continue;
        lmb_layout want = free_order ? common : lmbi_wanted_layout(kernel, &call, k);
        operand[k] = lmbi_plan_in_form(p, n->in[k], want, lmbi_wanted_type(kernel, &call, k), err);
        if (operand[k] < 0) {
            lmbi_drop_state(kernel, state);
            return LMB_E_NOMEM;
        }
    }
    lmbi_step *s = lmbi_plan_add_step(p, n->n_in, n->n_out);
    if (!s) {
        lmbi_drop_state(kernel, state);
        return NOMEM(err);
    }
    int at = p->n_steps - 1;
    s->node = n;
    s->kernel = kernel;
    s->label = kernel ? kernel->name : "reference";
    s->cost = lmb_call_cost(&call);
    memcpy(s->in, operand, sizeof *operand * (size_t)n->n_in);
    keep_reason(p, at, reason);
    s->state = state;
    s->scratch = kernel || !n->op->scratch ? scratch : n->op->scratch(&call);

    bool inplace = kernel ? kernel->inplace : (n->op->flags & LMB_OP_INPLACE) != 0;
    for (int k = 0; k < n->n_out; k++) {
        int v = n->out[k];
        s->out[k] = needed[v] ? v : -1;
        if (!needed[v])
            continue;
        lmb_layout made = free_order ? common : lmbi_wanted_layout(kernel, &call, LMB_OUT(&call, k));
        p->value[v].layout = lmbi_two_layouts(&p->value[v]) ? made : LMB_LAYOUT_PLAIN;
        p->value[v].dtype = lmbi_wanted_type(kernel, &call, LMB_OUT(&call, k));
        p->value[v].bytes = lmb_shape_bytes(&p->value[v].shape, p->value[v].dtype);
        p->value[v].first = at;
        int share = -1;
        if (k == 0 && inplace && operand[0] >= 0 && !p->value[v].fixed && !p->options.no_reuse &&
            p->value[operand[0]].bytes == p->value[v].bytes && p->value[operand[0]].layout == p->value[v].layout &&
            lmbi_dies_here(p, operand[0], index, last_use)) {
            share = operand[0];
            for (int j = 1; j < n->n_in; j++) /* the same value twice: x + x is fine, x * f(x) may not be */
                if (operand[j] >= 0 && p->value[operand[j]].storage == p->value[share].storage)
                    share = -1, j = n->n_in;
        }
        LMB_TRY(give_storage(p, v, share, err));
    }
    count_bytes(p, &p->step[at]);
    return LMB_OK;
}

/* Outputs that the caller may bind are plain and of the graph's type: convert at the end what is not. The converted
 * copy takes the place of the value for binding and reading. */
static lmb_status plain_outputs(lmb_plan *p, lmb_error *err)
{
    for (int v = 0; v < p->g->n_values; v++)
        if (p->value[v].bindable && p->value[v].storage >= 0) {
            int c = lmbi_plan_in_form(p, v, LMB_LAYOUT_PLAIN, p->g->value[v].dtype, err);
            if (c < 0)
                return LMB_E_NOMEM;
            if (c == v)
                continue;
            p->value[c].fixed = true;
            p->storage[p->value[c].storage].fixed = true;
        }
    return LMB_OK;
}

/* State and constants are read where the caller's graph has them, not from the copy in the fused one. */
static void point_at_original(lmb_plan *p)
{
    for (int v = 0; p->map && v < p->asked->n_values; v++)
        if (p->map[v] != LMB_NONE && p->asked->value[v].data && p->value[p->map[v]].storage >= 0)
            p->storage[p->value[p->map[v]].storage].data = p->asked->value[v].data;
}

/* Part 1 of a run begins here: what has been made for the caller so far gets its plain form now. */
static lmb_status pause_here(lmb_plan *p, lmb_error *err)
{
    LMB_TRY(plain_outputs(p, err));
    p->pause = p->n_steps;
    return LMB_OK;
}

static lmb_status compile_steps(lmb_plan *p, bool *needed, int *last_use, bool *late, lmb_error *err)
{
    const lmb_graph *g = p->g;
    bool paused = false;

    LMB_TRY(lmb_graph_needed(g, p->options.update_state, needed, err));
    lmbi_find_last_uses(g, needed, last_use);
    LMB_TRY(make_values(p, needed, err));
    point_at_original(p);
    for (int i = 0; i < g->n_nodes; i++) {
        bool runs = false;
        for (int k = 0; k < g->node[i].n_out; k++)
            runs |= needed[g->node[i].out[k]];
        if (runs && !paused && late[g->node[i].out[0]]) {
            LMB_TRY(pause_here(p, err));
            paused = true;
        }
        if (runs)
            LMB_TRY(plan_node(p, i, needed, last_use, err));
    }
    LMB_TRY(plain_outputs(p, err));
    p->pause = paused ? p->pause : p->n_steps;
    lmbi_find_lifetimes(p);
    LMB_TRY(lmbi_plan_place(p, err));
    return p->device && !p->options.no_memory ? lmbi_device_prepare(p, err) : LMB_OK;
}

/* The fused graph gives way to one that keeps less. */
static lmb_status recompute(lmb_plan *p, lmb_error *err)
{
    lmb_graph *smaller = NULL;
    lmb_vid *map = NULL;

    LMB_TRY(lmb_pass_recompute(p->fused, &smaller, &map, err));
    if (!smaller)
        return LMB_OK;
    for (int v = 0; v < p->asked->n_values; v++)
        p->map[v] = p->map[v] == LMB_NONE ? LMB_NONE : map[p->map[v]];
    lmb_graph_destroy(p->fused);
    p->fused = smaller;
    free(map);
    return LMB_OK;
}

/* Has a backend a kernel for an op? */
static bool has_kernel(const lmb_plan *p, const char *op)
{
    for (const lmb_backend *const *b = p->options.backends; *b; b++)
        for (const lmb_kernel *const *k = (*b)->kernels; *k; k++)
            if (strcmp((*k)->op, op) == 0)
                return true;
    return false;
}

static lmb_status compile(lmb_plan *p, lmb_error *err)
{
    if (p->options.backends && p->options.backends[0] && !p->options.no_fusion)
        LMB_TRY(lmb_pass_fuse(p->asked, has_kernel(p, "GemmAct"), &p->fused, &p->map, err));
    if (p->fused && p->options.small_memory && !p->device) /* devices have no kernel for it */
        LMB_TRY(recompute(p, err));
    if (p->fused)
        p->g = p->fused;
    bool *needed = malloc(sizeof *needed * ((size_t)p->g->n_values + 1));
    int *last_use = malloc(sizeof *last_use * ((size_t)p->g->n_values + 1));
    bool exact = p->options.frozen_exact;
    p->trained = exact ? malloc(sizeof *p->trained * ((size_t)p->g->n_values + 1)) : NULL;
    bool *late = malloc(sizeof *late * ((size_t)p->g->n_values + 1));
    if (p->trained)
        lmbi_find_trained(p->g, p->trained);
    if (late)
        lmbi_find_late(p, late);
    lmb_status st = needed && last_use && late && (!exact || p->trained) ? compile_steps(p, needed, last_use, late, err)
                                                                         : NOMEM(err);
    free(late);
    free(needed);
    free(last_use);
    return st;
}

lmb_status lmb_plan_compile(const lmb_graph *g, const lmb_plan_options *o, lmb_plan **out, lmb_error *err)
{
    lmb_plan *p = calloc(1, sizeof *p);

    if (!p)
        return NOMEM(err);
    p->g = p->asked = g;
    if (o)
        p->options = *o;
    p->device = p->options.backends && p->options.backends[0] ? p->options.backends[0]->device : NULL;
    lmb_status st = compile(p, err);
    p->options.choices = NULL;
    p->options.later = NULL;
    if (st != LMB_OK) {
        lmb_plan_destroy(p);
        return st;
    }
    *out = p;
    return LMB_OK;
}
