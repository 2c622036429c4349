/* core/cpu/bf16.c - which kernels keep feature maps in bf16, and whether this processor can.
 *
 * Idea: bf16 is a matter of plans, not of graphs. Kernels that take and give bf16 stand before the f32 ones; the
 * planner carries the storage type from step to step, and converts where a step has no bf16 kernel. Weights come in as
 * f32 and are rounded by the kernel that multiplies them; gradients of weights go out as f32.
 */
#include <string.h>

#include "core/base/bf16.h"
#include "core/cpu/kernels.h"

lmb_dtype lmbi_bf16_activations(const lmb_call *c, int operand)
{
    return lmbi_operand(c, operand)->shape.n == 4 ? LMB_BF16 : LMB_F32;
}

lmb_dtype lmbi_conv_bf16(const lmb_call *c, int operand)
{
    return lmbi_conv_layout(c, operand) == LMB_LAYOUT_NHWC ? LMB_BF16 : LMB_F32;
}

#if defined(LMB_CPU_BF16)
static const lmb_kernel *const fast[] = { &lmbi_bf16_winograd_conv, &lmbi_bf16_winograd_conv_act,
                                          &lmbi_bf16_winograd_conv_data, &lmbi_bf16_winograd_conv_weights, NULL };
static const lmb_kernel *const own[] = {
    &lmbi_bf16_batch_norm_act,
    &lmbi_bf16_batch_norm_act_grad,
    &lmbi_bf16_batch_norm_apply,
    &lmbi_bf16_max_pool,
    &lmbi_bf16_max_pool_grad,
    &lmbi_bf16_global_average_pool,
    &lmbi_bf16_broadcast_area,
    &lmbi_bf16_bias_grad,
    &lmbi_bf16_relu,
    &lmbi_bf16_relu_grad,
    &lmbi_bf16_clip,
    &lmbi_bf16_clip_grad,
    &lmbi_bf16_add,
    &lmbi_bf16_conv,
    &lmbi_bf16_conv_weights,
    NULL,
};
static const lmb_backend winograd = { .name = "winograd-bf16",
                                      .summary = "fast convolutions of feature maps in bf16",
                                      .kernels = fast,
                                      .rounding = 4 * LMB_BF16_ERROR };
static const lmb_backend backend = { .name = "bf16",
                                     .summary = "kernels of our own over feature maps in bf16",
                                     .kernels = own,
                                     .rounding = LMB_BF16_ERROR };

static bool has_bf16(void)
{
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

lmb_status lmb_cpu_backends_bf16(const char *name, const lmb_backend *list[LMB_CPU_BACKENDS], lmb_error *err)
{
    int n = 0;

    if (strcmp(name, "cpu") != 0 && strcmp(name, "onednn") != 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "backend '%s' has no bf16 kernels; set train.backend=cpu or train.precision=f32", name);
    if (!has_bf16())
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "this processor lacks the instructions avx512_bf16; set train.precision=f32");
    if (strcmp(name, "cpu") == 0)
        list[n++] = &winograd;
    list[n++] = &backend;
    list[n++] = lmbi_backend_onednn_bf16();
    return lmb_cpu_backends(name, list + n, err);
}
#else
lmb_status lmb_cpu_backends_bf16(const char *name, const lmb_backend *list[LMB_CPU_BACKENDS], lmb_error *err)
{
    (void)name, (void)list;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                    "this build has no bf16 kernels, which need an x86-64 processor with avx512_bf16, and "
                    "oneDNN; set train.precision=f32");
}
#endif
