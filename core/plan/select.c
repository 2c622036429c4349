/* core/plan/select.c - which kernel runs a node: the backends' lists in order, the reference last, or what measuring
 * found (choice.h), and in what forms it wants its operands. */
#include <stdio.h>
#include <string.h>

#include "core/plan/internal.h"

bool lmbi_same_op(const lmb_kernel *k, const lmb_op *op)
{
    return strcmp(k->op, op->name) == 0 && strcmp(k->domain, op->domain) == 0;
}

void lmbi_drop_state(const lmb_kernel *k, void *state)
{
    if (k && k->destroy)
        k->destroy(state);
}

/* The kernel that measuring prefers to *k, which is made; one that can not be made leaves things as they are. */
static lmb_status choose_another(const lmb_plan *p, const lmb_call *c, const lmb_kernel **k, void **state,
                                 size_t *scratch, lmb_error *err)
{
    const lmb_kernel *better = *k;
    lmb_error local = LMB_ERROR_INIT;
    void *its_state = NULL;
    size_t its_scratch = 0;

    lmb_status st = lmbi_choose(p, c, *k, &better, err);
    if (st != LMB_OK)
        lmbi_drop_state(*k, *state);
    if (st != LMB_OK || better == *k ||
        (better->create && better->create(c, &its_state, &its_scratch, &local) != LMB_OK))
        return st;
    lmbi_drop_state(*k, *state);
    *k = better;
    *state = its_state;
    *scratch = its_scratch;
    return LMB_OK;
}

/* An operand without a single element: a model's file may have one, and kernels divide by sizes. */
static bool has_nothing(const lmb_call *c)
{
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const lmb_type *t = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        if (t->present && lmb_shape_count(&t->shape) == 0)
            return true;
    }
    return false;
}

lmb_status lmbi_select(const lmb_plan *p, const lmb_call *c, bool exact, const lmb_kernel **out, void **state,
                       size_t *scratch, char *reason, size_t cap, lmb_error *err)
{
    reason[0] = 0;
    *out = NULL;
    if (!p->device && has_nothing(c))
        return LMB_OK;
    for (const lmb_backend *const *b = p->options.backends; b && *b; b++)
        for (const lmb_kernel *const *k = (*b)->kernels; *k; k++) {
            const char *why = "no reason given";
            lmb_error local = LMB_ERROR_INIT;
            lmb_status st = LMB_OK;
            if (!lmbi_same_op(*k, c->op) || (exact && (*k)->storage))
                continue;
            if ((*k)->accepts && !(*k)->accepts(c, &why))
                st = LMB_E_UNSUPPORTED;
            else if ((*k)->create)
                st = (*k)->create(c, state, scratch, &local);
            if (st == LMB_OK) {
                *out = *k;
                return p->options.choices && !exact && !p->device ? choose_another(p, c, out, state, scratch, err)
                                                                  : LMB_OK;
            }
            if (st != LMB_E_UNSUPPORTED)
                return LMB_FAIL(err, st, "node %s, kernel %s: %s", c->node, (*k)->name, local.msg);
            if (!reason[0])
                snprintf(reason, cap, "%s: %s", (*k)->name, local.msg[0] ? local.msg : why);
        }
    return LMB_OK;
}

bool lmbi_order_free(const lmb_call *c)
{
    if (c->op->flags & LMB_OP_ORDER_FREE)
        return true;
    if (!(c->op->flags & (LMB_OP_ELEMENTWISE | LMB_OP_BROADCAST)))
        return false;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].present && lmb_shape_count(&c->in[i].shape) != 1 &&
            !lmb_shape_equal(&c->in[i].shape, &c->out[0].shape))
            return false;
    return true;
}

lmb_dtype lmbi_wanted_type(const lmb_kernel *k, const lmb_call *c, int operand)
{
    lmb_dtype own = operand < c->n_in ? c->in[operand].dtype : c->out[operand - c->n_in].dtype;
    return k && k->storage && own == LMB_F32 ? k->storage(c, operand) : own;
}

lmb_layout lmbi_wanted_layout(const lmb_kernel *k, const lmb_call *c, int operand)
{
    return k && k->layout ? k->layout(c, operand) : LMB_LAYOUT_PLAIN;
}
