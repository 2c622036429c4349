/* core/ops/table.c - see table.h. */
#include <string.h>

#include "core/graph/op.h"
#include "core/ops/table.h"

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
