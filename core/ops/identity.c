/* core/ops/identity.c - y is x. A view: no step runs it unless a graph output needs its own memory.
 *   source   ONNX Identity-14 (tensors) */
#include "core/ops/common.h"

#include <string.h>

static lmb_status identity_run(const lmb_run *r, lmb_error *err)
{
    (void)err;
    memmove(r->out[0].data, r->in[0].data, lmb_shape_bytes(&r->in[0].shape, r->in[0].dtype));
    return LMB_OK;
}

static lmb_status identity_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    g->din[0] = g->dout[0];
    return LMB_OK;
}

const lmb_op lmb_op_identity = {
    .name = "Identity", .domain = "", .summary = "y = x", .source = "ONNX Identity-14", .since = 14,
    .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .flags = LMB_OP_VIEW, .infer = lmbi_infer_same,
    .grad = identity_grad, .axes = lmbi_axes_same, .run = identity_run,
};
