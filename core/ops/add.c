/* core/ops/add.c - sum of two tensors with ONNX (NumPy) broadcasting.
 *
 *   Add      y = a + b            one type: f32, f64, integers (which wrap)
 *   grad     dy summed down to the shape of each operand
 *   source   ONNX Add-14
 */
#include "core/ops/common.h"

#define ADD_LOOP(type, wide)                                              \
    do {                                                                  \
        const type *a = r->in[0].data, *b = r->in[1].data;                \
        type *y = r->out[0].data;                                         \
        for (int64_t i = 0; i < n; i++) {                                 \
            y[i] = (type)((wide)a[same ? i : wa.offset] + (wide)b[same ? i : wb.offset]); \
            if (!same)                                                    \
                lmbi_walk_next(&wa), lmbi_walk_next(&wb);                 \
        }                                                                 \
    } while (0)

static lmb_status add_run(const lmb_run *r, lmb_error *err)
{
    int64_t n = lmb_shape_count(&r->out[0].shape);
    bool same = lmb_shape_equal(&r->in[0].shape, &r->in[1].shape);
    lmbi_walk wa, wb;

    lmbi_walk_begin(&wa, &r->out[0].shape, &r->in[0].shape);
    lmbi_walk_begin(&wb, &r->out[0].shape, &r->in[1].shape);
    switch (r->in[0].dtype) {
    case LMB_F32: ADD_LOOP(float, float); break;
    case LMB_F64: ADD_LOOP(double, double); break;
    case LMB_U8: ADD_LOOP(uint8_t, uint64_t); break;
    case LMB_S8: ADD_LOOP(int8_t, uint64_t); break;
    case LMB_U16: ADD_LOOP(uint16_t, uint64_t); break;
    case LMB_S16: ADD_LOOP(int16_t, uint64_t); break;
    case LMB_U32: ADD_LOOP(uint32_t, uint64_t); break;
    case LMB_S32: ADD_LOOP(int32_t, uint64_t); break;
    case LMB_U64: ADD_LOOP(uint64_t, uint64_t); break;
    case LMB_S64: ADD_LOOP(int64_t, uint64_t); break;
    default: return lmbi_unsupported("Add", r->in[0].dtype, err);
    }
    return LMB_OK;
}

static lmb_status add_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    for (int i = 0; i < 2; i++)
        if (g->wanted[i])
            g->din[i] = lmbi_sum_to_like(g->b, g->dout[0], g->node->in[i]);
    return LMB_OK;
}

const lmb_op lmb_op_add = {
    .name = "Add", .domain = "", .summary = "y = a + b, broadcasting", .source = "ONNX Add-14", .since = 14,
    .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .flags = LMB_OP_BROADCAST | LMB_OP_INPLACE,
    .infer = lmbi_infer_broadcast, .grad = add_grad, .cost = lmbi_cost_elementwise, .axes = lmbi_axes_broadcast,
    .run = add_run,
};
