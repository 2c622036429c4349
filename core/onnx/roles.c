/* core/onnx/roles.c - what an initializer is, told from how it is used.
 *
 * ONNX has one word for weights, running statistics and plain constants. What feeds the weight operand of
 * Conv, Gemm or MatMul is trained, also through a Transpose or a change of shape; so is a bias, given to the
 * node itself or added after a MatMul. Mean and variance of BatchNormalization are statistics.
 */
#include <stdlib.h>
#include <string.h>

#include "core/onnx/internal.h"

/* Where an operator takes weights. */
static const struct use { const char *type; int input; lmb_role role; bool no_decay; } uses[] = {
    { "Conv", 1, LMB_ROLE_PARAMETER, false },
    { "Conv", 2, LMB_ROLE_PARAMETER, true },
    { "Gemm", 0, LMB_ROLE_PARAMETER, false },
    { "Gemm", 1, LMB_ROLE_PARAMETER, false },
    { "Gemm", 2, LMB_ROLE_PARAMETER, true },
    { "MatMul", 0, LMB_ROLE_PARAMETER, false },
    { "MatMul", 1, LMB_ROLE_PARAMETER, false },
    { "BatchNormalization", 1, LMB_ROLE_PARAMETER, true },
    { "BatchNormalization", 2, LMB_ROLE_PARAMETER, true },
    { "BatchNormalization", 3, LMB_ROLE_STATISTIC, true },
    { "BatchNormalization", 4, LMB_ROLE_STATISTIC, true },
};
static const char *const passing[] = { "Transpose", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze" };
enum { A_PRODUCT = -2 }; /* in the table of names: the result of a MatMul */

static void learn(const lmbi_names *names, const Onnx__GraphProto *g, const Onnx__NodeProto *n, lmbi_role *roles)
{
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        if (strcmp(n->op_type, uses[i].type) || (size_t)uses[i].input >= n->n_input)
            continue;
        int at = lmbi_names_get(names, n->input[uses[i].input]);
        if (at >= 0)
            roles[at] = (lmbi_role){ uses[i].role, uses[i].no_decay };
    }
    if (strcmp(n->op_type, "Add") == 0 && n->n_input == 2)
        for (int i = 0; i < 2; i++) {
            int at = lmbi_names_get(names, n->input[i]);
            if (at >= 0 && g->initializer[at]->n_dims == 1 && lmbi_names_get(names, n->input[1 - i]) == A_PRODUCT)
                roles[at] = (lmbi_role){ LMB_ROLE_PARAMETER, true };
        }
}

lmb_status lmbi_roles(const Onnx__GraphProto *g, lmbi_role *roles, lmb_error *err)
{
    lmbi_names names;
    size_t count = g->n_initializer;

    for (size_t i = 0; i < g->n_node; i++)
        count += g->node[i]->n_output;
    LMB_TRY(lmbi_names_create(&names, count, err));
    for (size_t i = 0; i < g->n_initializer; i++) {
        roles[i] = (lmbi_role){ LMB_ROLE_CONSTANT, false };
        if (g->initializer[i]->name)
            lmbi_names_put(&names, g->initializer[i]->name, (int32_t)i);
    }
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        if (!n->op_type || !n->n_output)
            continue;
        learn(&names, g, n, roles);
        if (strcmp(n->op_type, "MatMul") == 0)
            lmbi_names_put(&names, n->output[0], A_PRODUCT);
        for (size_t k = 0; n->n_input && k < sizeof passing / sizeof *passing; k++) {
            int at = lmbi_names_get(&names, n->input[0]);
            if (at >= 0 && strcmp(n->op_type, passing[k]) == 0)
                lmbi_names_put(&names, n->output[0], at);
        }
    }
    for (size_t i = 0; i < g->n_initializer; i++)
        if (g->initializer[i]->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
            roles[i] = (lmbi_role){ LMB_ROLE_CONSTANT, false };
    lmbi_names_free(&names);
    return LMB_OK;
}
