/* core/ops/table.c - every op, one line each. Adding an op touches this line, the op's own file and its
 * test; nothing else in the tree names it. */
#include <string.h>

#include "core/graph/op.h"

#define LMB_OPS(X) \
    X(add)         \
    X(bias_grad)   \
    X(broadcast_to)   \
    X(conv)        \
    X(conv_grad_data)    \
    X(conv_grad_weights) \
    X(identity)    \
    X(relu)        \
    X(relu_grad)   \
    X(sum_to)

#define X(name) extern const lmb_op lmb_op_##name;
LMB_OPS(X)
#undef X

const lmb_op *const lmb_ops[] = {
#define X(name) &lmb_op_##name,
    LMB_OPS(X)
#undef X
    NULL,
};

const lmb_op *lmb_op_find(const char *domain, const char *name)
{
    for (int i = 0; lmb_ops[i]; i++)
        if (strcmp(lmb_ops[i]->name, name) == 0 && strcmp(lmb_ops[i]->domain, domain) == 0)
            return lmb_ops[i];
    return NULL;
}
