/* core/ops/gemm_act.c - a matrix product together with what follows it; made by the fusing pass.
 *
 *   GemmAct  A, B [, C]  ->  y = act(alpha A' B' + beta C)      act: "" none, or "Relu"; f32
 *   source   core/ops/gemm.c, relu.c
 */
#include <string.h>

#include "core/ops/common.h"
#include "core/ops/gemm.h"

extern const lmb_op lmb_op_gemm;

static const lmb_attr_row rows[] = { /* those of Gemm lie first in the struct */
                                     LMB_A_REAL(lmb_gemm_attr, alpha, 1.0f),
                                     LMB_A_REAL(lmb_gemm_attr, beta, 1.0f),
                                     LMB_A_INT(lmb_gemm_attr, transA, 0),
                                     LMB_A_INT(lmb_gemm_attr, transB, 0),
                                     LMB_A_TEXT(lmb_gemm_act_attr, function, ""),
                                     LMB_A_END
};

static lmb_status infer(const lmb_call *c, lmb_error *err)
{
    const lmb_gemm_act_attr *a = c->attr;

    if (*a->function && strcmp(a->function, "Relu") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "function '%s'; it must be empty or Relu", a->function);
    if (c->in[0].dtype != LMB_F32)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "GemmAct of %s; f32 is supported", lmb_dtype_name(c->in[0].dtype));
    return lmb_op_gemm.infer(c, err);
}

static void cost(const lmb_call *c, lmb_cost *out) { lmb_op_gemm.cost(c, out); }

static lmb_status run(const lmb_run *r, lmb_error *err)
{
    const lmb_gemm_act_attr *a = r->attr;
    float *y = r->out[0].data;

    LMB_TRY(lmb_op_gemm.run(r, err));
    for (int64_t i = 0, n = lmb_shape_count(&r->out[0].shape); *a->function && i < n; i++)
        y[i] = y[i] < 0 ? 0 : y[i];
    return LMB_OK;
}

const lmb_op lmb_op_gemm_act = {
    .name = "GemmAct",
    .domain = "limbeck",
    .summary = "Gemm and an activation: fused",
    .source = "Gemm, Relu",
    .min_in = 2,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(lmb_gemm_act_attr),
    .attrs = rows,
    .infer = infer,
    .cost = cost,
    .run = run,
};
