/* core/ops/conv_act.c - a convolution together with what follows it; made by the fusing pass.
 *
 *   ConvAct   x, w [, b [, add like y]]  ->  y = act(conv(x, w) + b + add)      act: "" none, "Relu", or "Clip" to [lo,
 *             hi]
 *   source    core/ops/conv.c, relu.c, clip.c
 */
#include <string.h>

#include "core/ops/common.h"
#include "core/ops/conv.h"

const lmb_attr_row lmb_conv_act_rows[] = { /* those of Conv lie first in the struct */
                                           LMB_A_TEXT(lmb_conv_attr, auto_pad, "NOTSET"),
                                           LMB_A_INTS(lmb_conv_attr, dilations),
                                           LMB_A_INT(lmb_conv_attr, group, 1),
                                           LMB_A_INTS(lmb_conv_attr, kernel_shape),
                                           LMB_A_INTS(lmb_conv_attr, pads),
                                           LMB_A_INTS(lmb_conv_attr, strides),
                                           LMB_A_TEXT(lmb_conv_act_attr, function, ""),
                                           LMB_A_REAL(lmb_conv_act_attr, lo, 0),
                                           LMB_A_REAL(lmb_conv_act_attr, hi, 0),
                                           LMB_A_END
};

extern const lmb_op lmb_op_conv;

static lmb_status infer(const lmb_call *c, lmb_error *err)
{
    const lmb_conv_act_attr *a = c->attr;
    lmb_call conv = *c;

    if (*a->function && strcmp(a->function, "Relu") != 0 && strcmp(a->function, "Clip") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "function '%s'; it must be empty, Relu or Clip", a->function);
    conv.n_in = c->n_in > 3 ? 3 : c->n_in;
    LMB_TRY(lmb_op_conv.infer(&conv, err));
    if (c->n_in > 3 && c->in[3].present &&
        (c->in[3].dtype != LMB_F32 || !lmb_shape_equal(&c->in[3].shape, &c->out[0].shape)))
        return LMB_FAIL(err, LMB_E_SHAPE, "what is added must be f32 and have the shape of the result");
    return LMB_OK;
}

static lmb_status run(const lmb_run *r, lmb_error *err)
{
    const lmb_conv_act_attr *a = r->attr;
    const float *add = r->n_in > 3 ? r->in[3].data : NULL;
    float *y = r->out[0].data;
    lmb_run conv = *r;

    conv.n_in = r->n_in > 3 ? 3 : r->n_in;
    LMB_TRY(lmb_op_conv.run(&conv, err));
    for (int64_t i = 0; i < lmb_shape_count(&r->out[0].shape); i++) {
        float v = y[i] + (add ? add[i] : 0);
        if (*a->function == 'R')
            v = v < 0 ? 0 : v;
        else if (*a->function == 'C')
            v = v < a->lo ? a->lo : v > a->hi ? a->hi : v;
        y[i] = v;
    }
    return LMB_OK;
}

const lmb_op lmb_op_conv_act = {
    .name = "ConvAct",
    .domain = "limbeck",
    .summary = "Conv, a sum, an activation: fused",
    .source = "Conv, Add, Relu, Clip",
    .min_in = 2,
    .max_in = 4,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(lmb_conv_act_attr),
    .attrs = lmb_conv_act_rows,
    .infer = infer,
    .cost = lmbi_conv_cost,
    .run = run,
};
