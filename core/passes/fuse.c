/* core/passes/fuse.c - see fuse.h.
 *
 * First every node gets a part to play: kept as it is, held (its consumer computes it), or the last of a group, in
 * whose place the fused node is emitted. A value may vanish only if all its readers are in the group.
 */
#include "core/passes/fuse.h"

#include <stdlib.h>
#include <string.h>

#include "core/ops/batch_norm.h"
#include "core/ops/conv.h"
#include "core/ops/gemm.h"
#include "core/passes/rewrite.h"

typedef enum { KEEP, HOLD, CONV, PRODUCT, FORWARD, BACKWARD } part_kind;

typedef struct part {
    part_kind kind;
    int first;             /* node: the Conv, Gemm or BatchNormalization of the group    */
    const char *function;  /* "", "Relu", "Clip"                                         */
    float lo, hi;
    lmb_vid other;         /* CONV, FORWARD: the value added, LMB_NONE. BACKWARD: dy     */
    lmb_vid saved[2];      /* of the norm's own part, in the new graph: mean and inverse */
} part;

typedef struct fusion {
    const lmb_graph *g;
    part *part;  /* [nodes]                                                   */
    int *uses;   /* [values] reads by needed nodes, outputs, `next`           */
    int groups;
    bool *needed;
} fusion;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

static void count_uses(fusion *f)
{
    const lmb_graph *g = f->g;
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        bool runs = false;
        for (int k = 0; k < n->n_out; k++)
            runs |= f->needed[n->out[k]];
        for (int k = 0; runs && k < n->n_in; k++)
            if (n->in[k] != LMB_NONE)
                f->uses[n->in[k]]++;
    }
    for (int i = 0; i < g->n_outputs; i++)
        f->uses[g->output[i].value]++;
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].next != LMB_NONE)
            f->uses[g->value[v].next]++;
}

/* The first needed node after `from` of this kind that reads v as operand k; -1. */
static int reader(const fusion *f, int from, lmb_vid v, const char *op, int k)
{
    for (int i = from + 1; i < f->g->n_nodes; i++) {
        const lmb_node *n = &f->g->node[i];
        if (is(n, op) && k < n->n_in && n->in[k] == v && f->needed[n->out[0]] && f->part[i].kind == KEEP)
            return i;
    }
    return -1;
}

/* A Clip's or ClipGrad's limits, from operand k on; false if they are not known now. */
static bool limits(const lmb_graph *g, const lmb_node *n, int k, float *lo, float *hi)
{
    float *to[2] = { lo, hi };
    for (int i = 0; i < 2; i++) {
        const lmb_value *v = n->n_in > k + i && n->in[k + i] != LMB_NONE ? &g->value[n->in[k + i]] : NULL;
        if (!v || v->role != LMB_ROLE_CONSTANT || v->dtype != LMB_F32)
            return false;
        *to[i] = *(const float *)v->data;
    }
    return true;
}

/* What follows the Conv or norm `i`: fills its part; returns the last node of the group. */
static int find_end(fusion *f, int i, part *p)
{
    const lmb_graph *g = f->g;
    lmb_vid y = g->node[i].out[0];
    int next;

    if (f->uses[y] == 1 && (next = reader(f, i, y, "Relu", 0)) >= 0) {
        p->function = "Relu";
        return next;
    }
    if ((next = reader(f, i, y, "Clip", 0)) >= 0 && limits(g, &g->node[next], 1, &p->lo, &p->hi)) {
        int grad = reader(f, next, y, "ClipGrad", 1);
        float lo, hi;
        if (f->uses[y] == 1 || (f->uses[y] == 2 && grad >= 0 && limits(g, &g->node[grad], 2, &lo, &hi) && lo == p->lo &&
                                hi == p->hi && f->uses[g->node[grad].out[0]] == 1 &&
                                reader(f, grad, g->node[grad].out[0], "BatchNormGrad", 0) >= 0)) {
            p->function = "Clip";
            return next;
        }
    }
    if (f->uses[y] != 1)
        return i;
    int side = 0;
    if ((next = reader(f, i, y, "Add", 0)) < 0)
        next = reader(f, i, y, "Add", side = 1);
    if (next < 0)
        return i;
    const lmb_node *sum = &g->node[next];
    if (!lmb_shape_equal(&g->value[sum->in[0]].shape, &g->value[sum->in[1]].shape))
        return i;
    p->other = sum->in[1 - side];
    int act = f->uses[sum->out[0]] == 1 ? reader(f, next, sum->out[0], "Relu", 0) : -1;
    p->function = act >= 0 ? "Relu" : "";
    if (act < 0 && f->uses[sum->out[0]] == 1) {
        act = reader(f, next, sum->out[0], "Clip", 0);
        if (act >= 0 && limits(g, &g->node[act], 1, &p->lo, &p->hi))
            p->function = "Clip";
        else
            act = -1;
    }
    if (act < 0)
        return next;
    f->part[next].kind = HOLD;
    return act;
}

/* The BatchNormGrad of norm `i`, and before it the gradient of its activation if nothing else reads that. */
static void find_backward(fusion *f, int i, int end)
{
    const lmb_graph *g = f->g;
    const lmb_node *norm = &g->node[i];
    int grad = i;

    do
        grad = reader(f, grad, norm->in[0], "BatchNormGrad", 1);
    while (grad >= 0 && (g->node[grad].in[2] != norm->in[1] || g->node[grad].in[3] != norm->in[3]));
    if (grad < 0)
        return;
    const part *forward = &f->part[end];
    part *p = &f->part[grad];
    lmb_vid dy = g->node[grad].in[0];
    int act = g->value[dy].node;
    *p = (part){ .kind = BACKWARD, .first = i, .function = "", .other = dy };
    if (act == LMB_NONE || f->uses[dy] != 1 || forward->other != LMB_NONE)
        return;
    const lmb_node *n = &g->node[act];
    bool relu = *forward->function == 'R' && is(n, "ReluGrad") && n->in[1] == g->node[end].out[0];
    bool clip = *forward->function == 'C' && is(n, "ClipGrad") && n->in[1] == norm->out[0];
    if (!relu && !clip)
        return;
    f->part[act].kind = HOLD;
    *p = (part){ .kind = BACKWARD, .first = i, .function = forward->function, .lo = forward->lo, .hi = forward->hi,
                 .other = n->in[0] };
}

static bool is_map(const lmb_shape *s) { return s->n == 3 || s->n == 4; }

static void find_convolutions(fusion *f)
{
    for (int i = 0; i < f->g->n_nodes; i++) {
        const lmb_node *n = &f->g->node[i];
        part p = { .kind = CONV, .first = i, .function = "", .other = LMB_NONE };
        if (!is(n, "Conv") || !is_map(&f->g->value[n->in[0]].shape) || !f->needed[n->out[0]] || f->uses[n->out[0]] != 1)
            continue;
        int end = find_end(f, i, &p);
        if (end == i)
            continue;
        f->part[i].kind = HOLD;
        f->part[end] = p;
        f->groups++;
    }
}

static void find_products(fusion *f)
{
    for (int i = 0; i < f->g->n_nodes; i++) {
        const lmb_node *n = &f->g->node[i];
        if (!is(n, "Gemm") || f->g->value[n->out[0]].dtype != LMB_F32 || !f->needed[n->out[0]] ||
            f->uses[n->out[0]] != 1)
            continue;
        int end = reader(f, i, n->out[0], "Relu", 0);
        if (end < 0)
            continue;
        f->part[i].kind = HOLD;
        f->part[end] = (part){ .kind = PRODUCT, .first = i, .function = "Relu", .other = LMB_NONE };
        f->groups++;
    }
}

static void find_norms(fusion *f)
{
    for (int i = 0; i < f->g->n_nodes; i++) {
        const lmb_node *n = &f->g->node[i];
        const lmb_batch_norm_attr *a = n->attr;
        part p = { .kind = FORWARD, .first = i, .function = "", .other = LMB_NONE };
        if (!is(n, "BatchNormalization") || a->training_mode != LMB_NORM_BATCH ||
            !is_map(&f->g->value[n->in[0]].shape) || lmb_shape_count(&f->g->value[n->in[0]].shape) == 0 ||
            !f->needed[n->out[0]])
            continue;
        int end = find_end(f, i, &p);
        f->part[i].kind = HOLD;
        f->part[end] = p;
        f->groups++;
        find_backward(f, i, end);
    }
}

static void emit_conv(lmb_rewrite *r, const part *p, const lmb_node *conv, lmb_vid *out)
{
    const lmb_conv_attr *a = conv->attr;
    const lmb_attr attr[] = { LMB_ATEXT("auto_pad", a->auto_pad), LMB_AINT("group", a->group),
                              { .name = "dilations", .kind = LMB_ATTR_INTS, .ints = a->dilations },
                              { .name = "kernel_shape", .kind = LMB_ATTR_INTS, .ints = a->kernel_shape },
                              { .name = "pads", .kind = LMB_ATTR_INTS, .ints = a->pads },
                              { .name = "strides", .kind = LMB_ATTR_INTS, .ints = a->strides },
                              LMB_ATEXT("function", p->function), LMB_AREAL("lo", p->lo), LMB_AREAL("hi", p->hi) };
    const lmb_vid in[4] = { r->map[conv->in[0]], r->map[conv->in[1]],
                            conv->n_in > 2 && conv->in[2] != LMB_NONE ? r->map[conv->in[2]] : LMB_NONE,
                            p->other == LMB_NONE ? LMB_NONE : r->map[p->other] };

    out[0] = lmb_emit(&r->b, "ConvAct", conv->name, in, 4, attr, (int)(sizeof attr / sizeof attr[0]));
}

static void emit_product(lmb_rewrite *r, const part *p, const lmb_node *gemm, lmb_vid *out)
{
    const lmb_gemm_attr *a = gemm->attr;
    const lmb_attr attr[] = { LMB_AREAL("alpha", a->alpha), LMB_AREAL("beta", a->beta), LMB_AINT("transA", a->transA),
                              LMB_AINT("transB", a->transB), LMB_ATEXT("function", p->function) };
    const lmb_vid in[3] = { r->map[gemm->in[0]], r->map[gemm->in[1]],
                            gemm->n_in > 2 && gemm->in[2] != LMB_NONE ? r->map[gemm->in[2]] : LMB_NONE };

    out[0] = lmb_emit(&r->b, "GemmAct", gemm->name, in, 3, attr, (int)(sizeof attr / sizeof attr[0]));
}

static void emit_norm(lmb_rewrite *r, const part *p, const lmb_node *norm, const char *name, lmb_vid *saved,
                      lmb_vid *out, int n_out)
{
    const lmb_batch_norm_attr *a = norm->attr;
    const lmb_attr attr[] = { LMB_AREAL("epsilon", a->epsilon), LMB_AREAL("momentum", a->momentum),
                              LMB_ATEXT("function", p->function), LMB_AREAL("lo", p->lo), LMB_AREAL("hi", p->hi) };
    lmb_vid in[6], made[5];

    if (p->kind == BACKWARD) {
        const lmb_vid all[6] = {
            r->map[p->other], r->map[norm->in[0]], r->map[norm->in[1]], r->map[norm->in[2]], saved[0], saved[1]
        };
        lmb_emit_n(&r->b, "BatchNormActGrad", name, all, 6, attr, 5, out, 3);
        return;
    }
    for (int k = 0; k < 5; k++)
        in[k] = r->map[norm->in[k]];
    if (p->other != LMB_NONE)
        in[5] = r->map[p->other];
    lmb_emit_n(&r->b, "BatchNormAct", norm->name, in, p->other == LMB_NONE ? 5 : 6, attr, 5, made, 5);
    saved[0] = made[3];
    saved[1] = made[4];
    for (int k = 1; k < norm->n_out; k++)
        r->map[norm->out[k]] = made[k];
    for (int k = 0; k < n_out; k++)
        out[k] = made[k];
}

static lmb_status fuse_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    fusion *f = r->ctx;
    const part *p = &f->part[n - r->old->node];
    const lmb_node *first = &r->old->node[p->first];

    (void)in, (void)err;
    *done = p->kind != KEEP;
    for (int k = 0; *done && k < n->n_out; k++)
        out[k] = LMB_NONE;
    if (p->kind == CONV)
        emit_conv(r, p, first, out);
    else if (p->kind == PRODUCT)
        emit_product(r, p, first, out);
    else if (p->kind == FORWARD || p->kind == BACKWARD)
        emit_norm(r, p, first, n->name, f->part[p->first].saved, out, n->n_out);
    return lmb_builder_status(&r->b);
}

lmb_status lmb_pass_fuse(const lmb_graph *g, bool products, lmb_graph **out, lmb_vid **map, lmb_error *err)
{
    fusion f = { .g = g };
    lmb_rewrite r = { .node = fuse_node, .ctx = &f, .drop_dead = true };
    lmb_status st = LMB_OK;

    *out = NULL;
    *map = NULL;
    f.part = calloc((size_t)g->n_nodes + 1, sizeof *f.part);
    f.uses = calloc((size_t)g->n_values + 1, sizeof *f.uses);
    f.needed = malloc(sizeof *f.needed * ((size_t)g->n_values + 1));
    if (!f.part || !f.uses || !f.needed)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to fuse %d nodes", g->n_nodes);
    if (st == LMB_OK)
        st = lmb_graph_needed(g, true, f.needed, err);
    if (st == LMB_OK) {
        count_uses(&f);
        find_norms(&f);
        find_convolutions(&f);
        if (products)
            find_products(&f);
    }
    if (st == LMB_OK && f.groups)
        st = lmb_rewrite_run(&r, g, out, map, err);
    free(f.part);
    free(f.uses);
    free(f.needed);
    return st;
}
