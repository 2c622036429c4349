/* distill/prune/shrink.c - a graph without the channels that are not kept. See channels.h.
 *
 * Stored tensors are cut along their axes; shapes of what is computed follow by inference. Two ops carry a number of
 * channels in themselves: a depthwise Conv its groups, a Reshape its target.
 */
#include <stdlib.h>
#include <string.h>

#include "core/ops/conv.h"
#include "core/passes/rewrite.h"
#include "distill/prune/channels.h"

typedef struct shrinker { const lmb_axis_map *map; const bool *keep; } shrinker;

static bool stays(const shrinker *s, lmb_vid v, int axis, int64_t i)
{
    int32_t c = lmb_axis_channel(s->map, v, axis, i);
    return c < 0 || s->keep[c];
}

static int64_t count_left(const shrinker *s, const lmb_graph *g, lmb_vid v, int axis)
{
    int64_t n = 0;
    for (int64_t i = 0; i < g->value[v].shape.d[axis]; i++)
        n += stays(s, v, axis, i);
    return n;
}

static lmb_shape shape_left(const shrinker *s, const lmb_graph *g, lmb_vid v)
{
    lmb_shape to = g->value[v].shape;
    for (int a = 0; a < to.n; a++)
        to.d[a] = count_left(s, g, v, a);
    return to;
}

static bool changes(const shrinker *s, const lmb_graph *g, lmb_vid v)
{
    lmb_shape to = shape_left(s, g, v);
    return !lmb_shape_equal(&to, &g->value[v].shape);
}

/* The indices that are left along each axis. The lists are the caller's, even after an error. */
static lmb_status list_left(const shrinker *s, const lmb_graph *g, lmb_vid v, lmb_kept kept[LMB_MAX_DIMS],
                            lmb_error *err)
{
    const lmb_shape *was = &g->value[v].shape;

    for (int a = 0; a < LMB_MAX_DIMS; a++)
        kept[a] = (lmb_kept){ -1, NULL };
    for (int a = 0; a < was->n; a++) {
        int64_t n = count_left(s, g, v, a);
        if (n == was->d[a])
            continue;
        kept[a] = (lmb_kept){ 0, malloc(sizeof *kept[a].index * ((size_t)n + 1)) };
        if (!kept[a].index)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory to cut %s", g->value[v].name);
        for (int64_t i = 0; i < was->d[a]; i++)
            if (stays(s, v, a, i))
                kept[a].index[kept[a].n++] = i;
    }
    return LMB_OK;
}

static void free_lists(lmb_kept kept[LMB_MAX_DIMS])
{
    for (int a = 0; a < LMB_MAX_DIMS; a++)
        free(kept[a].index);
}

/* ---- the walk ---- */

/* A Reshape's target that no other node reads is written anew with the node. */
static bool is_old_target(const shrinker *s, const lmb_graph *g, lmb_vid v)
{
    bool any = false;

    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->node[i].n_in; k++)
            if (g->node[i].in[k] == v) {
                if (strcmp(g->node[i].op->name, "Reshape") != 0 || k != 1 || !changes(s, g, g->node[i].out[0]))
                    return false;
                any = true;
            }
    return any;
}

static lmb_status shrink_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    const shrinker *s = r->ctx;
    const lmb_value *x = &r->old->value[v];
    lmb_kept kept[LMB_MAX_DIMS];
    lmb_shape to = shape_left(s, r->old, v);

    *done = x->role == LMB_ROLE_CONSTANT && is_old_target(s, r->old, v);
    if (*done || lmb_shape_equal(&to, &x->shape))
        return LMB_OK;
    size_t size = lmb_dtype_bytes(x->dtype);
    void *data = malloc(lmb_shape_bytes(&to, x->dtype) + 1);
    lmb_status st =
        data ? list_left(s, r->old, v, kept, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to cut %s", x->name);
    if (st == LMB_OK) {
        lmbi_gather(x->data, &x->shape, kept, size, data);
        st = lmb_graph_value(r->b.g, x->role, x->name, x->dtype, &to, data, out, err);
    }
    if (st == LMB_OK) {
        lmb_value *y = &r->b.g->value[*out];
        y->reduce = x->reduce;
        y->frozen = x->frozen;
        y->decay = x->decay;
        y->bits = x->bits;
        *done = true;
    }
    if (data)
        free_lists(kept);
    free(data);
    return st;
}

static lmb_vid new_target(lmb_rewrite *r, const lmb_node *n)
{
    const lmb_value *old = &r->old->value[n->in[1]];
    lmb_shape to = shape_left(r->ctx, r->old, n->out[0]);
    int64_t list[LMB_MAX_DIMS];

    memcpy(list, old->data, sizeof *list * (size_t)to.n); /* as many numbers as the result has axes */
    for (int a = 0; a < to.n; a++)
        if (list[a] > 0)
            list[a] = to.d[a]; /* "as it was" and "the rest" stay */
    return lmb_emit_value(&r->b, LMB_ROLE_CONSTANT, old->name, LMB_S64, old->shape, list);
}

static lmb_status shrink_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                              lmb_error *err)
{
    const shrinker *s = r->ctx;
    lmb_node like = *n;
    lmb_conv_attr conv;
    lmb_vid operands[LMB_MAX_IN];

    memcpy(operands, in, sizeof *in * (size_t)n->n_in);
    if (strcmp(n->op->name, "Conv") == 0 && ((const lmb_conv_attr *)n->attr)->group > 1) {
        conv = *(const lmb_conv_attr *)n->attr;
        if (changes(s, r->old, n->in[0]))
            conv.group = count_left(s, r->old, n->in[0], 1); /* depthwise: other groups hold their channels */
        like.attr = &conv;
    } else if (strcmp(n->op->name, "Reshape") == 0 && changes(s, r->old, n->out[0])) {
        operands[1] = new_target(r, n);
        LMB_TRY(lmb_builder_status(&r->b));
    } else {
        return LMB_OK;
    }
    *done = true;
    LMB_TRY(lmb_graph_node_like(r->b.g, &like, operands, out, err));
    return lmb_graph_rename(r->b.g, out[0], r->old->value[n->out[0]].name, err);
}

/* ---- where things come from ---- */

/* Both graphs list their state in the same order. */
static lmb_status make_lineage(const shrinker *s, const lmb_graph *g, const lmb_graph *small, lmb_lineage **out,
                               lmb_error *err)
{
    lmb_state_layout *was = NULL, *is = NULL;
    lmb_lineage *l = calloc(1, sizeof *l);
    lmb_status st = LMB_OK;

    if (!l)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a lineage");
    LMB_TRY_GOTO(st, done, lmb_state_layout_create(g, &was, err));
    LMB_TRY_GOTO(st, done, lmb_state_layout_create(small, &is, err));
    l->row = calloc((size_t)was->n + 1, sizeof *l->row);
    if (!l->row) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a lineage of %d segments", was->n);
        goto done;
    }
    l->count_was = was->count;
    l->count = is->count;
    for (int i = 0; i < was->n; i++) {
        lmb_lineage_row *row = &l->row[l->n++];
        *row = (lmb_lineage_row){ .was = was->segment[i].shape,
                                  .from = was->segment[i].offset,
                                  .to = is->segment[i].offset };
        LMB_TRY_GOTO(st, done, list_left(s, g, was->segment[i].value, row->kept, err));
    }
    *out = l;
    l = NULL;
done:
    lmb_lineage_destroy(l);
    lmb_state_layout_destroy(was);
    lmb_state_layout_destroy(is);
    return st;
}

lmb_status lmb_pass_shrink(const lmb_graph *g, const lmb_axis_map *map, const bool *keep, lmb_graph **out,
                           lmb_lineage **lineage, lmb_error *err)
{
    shrinker s = { map, keep };
    lmb_rewrite r = { .node = shrink_node, .value = shrink_value, .ctx = &s };
    lmb_graph *small;

    LMB_TRY(lmb_rewrite_run(&r, g, &small, NULL, err));
    if (lineage) {
        lmb_status st = make_lineage(&s, g, small, lineage, err);
        if (st != LMB_OK) {
            lmb_graph_destroy(small);
            return st;
        }
    }
    *out = small;
    return LMB_OK;
}
