/* core/cpu/table.c - which kernels a backend offers, best first. */
#include <string.h>

#include "core/cpu/kernels.h"

static const lmb_kernel *const portable[] = {
    &lmbi_cpu_batch_norm, &lmbi_cpu_batch_norm_grad, &lmbi_cpu_batch_norm_act, &lmbi_cpu_batch_norm_act_grad,
    &lmbi_cpu_batch_norm_apply,
    &lmbi_cpu_max_pool, &lmbi_cpu_max_pool_grad,
    &lmbi_cpu_average_pool, &lmbi_cpu_average_pool_grad, &lmbi_cpu_global_average_pool, &lmbi_cpu_broadcast_area,
    &lmbi_cpu_bias_grad, &lmbi_cpu_relu, &lmbi_cpu_relu_grad, &lmbi_cpu_clip, &lmbi_cpu_clip_grad, &lmbi_cpu_add,
    &lmbi_cpu_sub, &lmbi_cpu_mul, &lmbi_cpu_div,
    &lmbi_cpu_sum_to, &lmbi_cpu_cross_entropy, &lmbi_cpu_cross_entropy_grad, &lmbi_cpu_dropout,
    &lmbi_cpu_dropout_grad, NULL,
};

const lmb_backend lmb_backend_portable = { .name = "portable",
                                           .summary = "plain C kernels over NHWC activations",
                                           .kernels = portable };

static const lmb_kernel *const own_kernels[] = { LMBI_OWN, NULL };
const lmb_backend lmb_backend_own = { .name = "own",
                                      .summary = "convolutions and matrix products of our own",
                                      .kernels = own_kernels };

static const lmb_backend best = { .name = "cpu", .summary = "convolutions of our own, then those of oneDNN",
                                  .kernels = lmbi_best_kernels };

lmb_layout lmbi_conv_layout(const lmb_call *c, int k)
{
    bool weights = strcmp(c->op->name, "ConvGradWeights") == 0 ? k == LMB_OUT(c, 0) : k == 1;
    return weights || !lmbi_is_map(&lmbi_operand(c, k)->shape) ? LMB_LAYOUT_PLAIN : LMB_LAYOUT_NHWC;
}

lmb_status lmb_cpu_backends(const char *name, const lmb_backend *list[3], lmb_error *err)
{
    int n = 0;

    if (strcmp(name, "cpu") == 0 || strcmp(name, "cuda") == 0) {
        list[n++] = &best;
        list[n++] = &lmb_backend_portable;
    } else if (strcmp(name, "onednn") == 0) {
        if (lmb_backend_onednn())
            list[n++] = lmb_backend_onednn();
        else
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build has no oneDNN; choose the backend cpu");
        list[n++] = &lmb_backend_portable;
    } else if (strcmp(name, "own") == 0) {
        list[n++] = &lmb_backend_own;
        list[n++] = &lmb_backend_portable;
    } else if (strcmp(name, "portable") == 0) {
        list[n++] = &lmb_backend_portable;
    } else if (strcmp(name, "reference") != 0) {
        return LMB_FAIL(err, LMB_E_ARG, "backend '%s'; it must be cpu, onednn, own, portable or reference", name);
    }
    list[n] = NULL;
    return LMB_OK;
}
