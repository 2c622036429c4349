/* distill/quantize/softmax.c - see softmax.h. */
#include "distill/quantize/softmax.h"

#include <string.h>

#include "core/ops/attrs.h"
#include "core/passes/rewrite.h"

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* Nodes and outputs that read v. */
static int readers(const lmb_graph *g, lmb_vid v)
{
    int n = 0;

    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->node[i].n_in; k++)
            n += g->node[i].in[k] == v;
    for (int i = 0; i < g->n_outputs; i++)
        n += g->output[i].value == v;
    return n;
}

/* Along the axis lie all numbers of a sample? */
static bool of_classes(const lmb_graph *g, const lmb_node *n)
{
    const lmb_shape *s = &g->value[n->in[0]].shape;
    int64_t axis = ((const lmb_axis_attr *)n->attr)->axis;

    axis += axis < 0 ? s->n : 0;
    return axis > 0 && axis < s->n && s->d[0] * s->d[axis] == lmb_shape_count(s);
}

/* The Softmax at the end; NULL: there is none. */
static const lmb_node *find_last(const lmb_graph *g)
{
    lmb_vid v = g->n_outputs > 0 ? g->output[0].value : LMB_NONE;

    while (v != LMB_NONE && g->value[v].node != LMB_NONE && readers(g, v) == 1) {
        const lmb_node *n = &g->node[g->value[v].node];
        if (is(n, "Softmax") || is(n, "LogSoftmax"))
            return of_classes(g, n) ? n : NULL;
        if (!is(n, "Reshape") && !is(n, "Flatten") && !is(n, "Identity"))
            return NULL;
        v = n->in[0];
    }
    return NULL;
}

static lmb_status pass_over(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    (void)err;
    if (n == r->ctx) {
        out[0] = in[0];
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_logits(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = pass_over, .ctx = (void *)find_last(g) };

    *out = NULL;
    return r.ctx ? lmb_rewrite_run(&r, g, out, NULL, err) : LMB_OK;
}
