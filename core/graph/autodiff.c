/* core/graph/autodiff.c - see autodiff.h. */
#include "core/graph/autodiff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/op.h"

/* depends[v]: v depends on one of wrt. Only such values need gradients. */
static void mark_dependents(const lmb_graph *g, const lmb_vid *wrt, int n, bool *depends)
{
    memset(depends, 0, sizeof *depends * (size_t)g->n_values);
    for (int i = 0; i < n; i++)
        depends[wrt[i]] = true;
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *node = &g->node[i];
        bool any = false;
        for (int k = 0; k < node->n_in; k++)
            any |= node->in[k] != LMB_NONE && depends[node->in[k]];
        for (int k = 0; k < node->n_out; k++)
            depends[node->out[k]] |= any;
    }
}

static void add_gradient(lmb_builder *b, lmb_vid *grad, lmb_vid more)
{
    if (more == LMB_NONE)
        return;
    *grad = *grad == LMB_NONE ? more : lmb_emit(b, "Add", "grad_sum", LMB_IN(*grad, more), LMB_NO_ATTRS);
}

/* Apply the rule of node `i` of the original graph, which has the same index in b->g. */
static void differentiate_node(lmb_builder *b, int i, lmb_vid *grad, const bool *depends)
{
    lmb_node node = b->g->node[i]; /* by value: appending moves the array */
    lmb_vid dout[LMB_MAX_OUT], din[LMB_MAX_IN];
    bool wanted[LMB_MAX_IN], any_out = false, any_in = false;

    for (int k = 0; k < node.n_out; k++) {
        dout[k] = grad[node.out[k]];
        any_out |= dout[k] != LMB_NONE;
    }
    for (int k = 0; k < node.n_in; k++) {
        din[k] = LMB_NONE;
        wanted[k] = node.in[k] != LMB_NONE && depends[node.in[k]];
        any_in |= wanted[k];
    }
    if (!any_out || !any_in)
        return;
    if (!node.op->grad) {
        b->status = LMB_FAIL(b->err, LMB_E_UNSUPPORTED, "the loss depends on node %s, and %s has no gradient",
                             node.name, node.op->name);
        return;
    }
    snprintf(b->scope, sizeof b->scope, "grad/%.80s/", node.name);
    lmb_grad rule = { b, &node, dout, wanted, din };
    lmb_status st = node.op->grad(&rule, b->err);
    if (st != LMB_OK && b->status == LMB_OK)
        b->status = st;
    for (int k = 0; k < node.n_in && b->status == LMB_OK; k++)
        if (wanted[k])
            add_gradient(b, &grad[node.in[k]], din[k]);
}

static lmb_status check_seed(const lmb_graph *g, lmb_vid of, lmb_vid seed, lmb_error *err)
{
    if (seed == LMB_NONE && (g->value[of].dtype != LMB_F32 || lmb_shape_count(&g->value[of].shape) != 1))
        return LMB_FAIL(err, LMB_E_SHAPE, "loss %s is no single f32 number", g->value[of].name);
    if (seed != LMB_NONE &&
        (g->value[of].dtype != g->value[seed].dtype || !lmb_shape_equal(&g->value[of].shape, &g->value[seed].shape)))
        return LMB_FAIL(err, LMB_E_SHAPE, "%s is given as the gradient of %s, but has another type or shape",
                        g->value[seed].name, g->value[of].name);
    return LMB_OK;
}

lmb_status lmb_autodiff_from(const lmb_graph *g, const lmb_vid *of, const lmb_vid *seed, int n_of, const lmb_vid *wrt,
                             int n, lmb_graph **out, lmb_vid *grads, lmb_error *err)
{
    lmb_graph *copy = NULL;
    lmb_vid *grad = NULL;
    bool *depends = NULL;
    lmb_status st = LMB_OK;

    for (int i = 0; i < n_of; i++)
        LMB_TRY(check_seed(g, of[i], seed[i], err));
    grad = malloc(sizeof *grad * (size_t)g->n_values);
    depends = malloc(sizeof *depends * (size_t)g->n_values);
    if (!grad || !depends) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for gradients of %d values", g->n_values);
        goto done;
    }
    LMB_TRY_GOTO(st, done, lmb_graph_copy(g, &copy, err));
    for (int v = 0; v < g->n_values; v++)
        grad[v] = LMB_NONE;
    mark_dependents(g, wrt, n, depends);

    lmb_builder b = lmb_builder_of(copy, err);
    const float one = 1.0f;
    for (int i = 0; i < n_of; i++)
        grad[of[i]] = seed[i] != LMB_NONE
                          ? seed[i]
                          : lmb_emit_value(&b, LMB_ROLE_CONSTANT, "grad/one", LMB_F32, g->value[of[i]].shape, &one);
    for (int i = g->n_nodes - 1; i >= 0 && b.status == LMB_OK; i--)
        differentiate_node(&b, i, grad, depends);
    st = b.status;
    if (st == LMB_OK) {
        for (int i = 0; i < n; i++)
            grads[i] = grad[wrt[i]];
        *out = copy;
        copy = NULL;
    }
done:
    lmb_graph_destroy(copy);
    free(grad);
    free(depends);
    return st;
}

lmb_status lmb_autodiff(const lmb_graph *g, lmb_vid loss, const lmb_vid *wrt, int n, lmb_graph **out, lmb_vid *grads,
                        lmb_error *err)
{
    const lmb_vid one = LMB_NONE;
    return lmb_autodiff_from(g, &loss, &one, 1, wrt, n, out, grads, err);
}
