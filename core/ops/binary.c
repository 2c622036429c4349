/* core/ops/binary.c - Add, Sub, Mul, Div with ONNX (NumPy) broadcasting.
 *
 *   y = a op b             one type: f32, f64 or integers; integers wrap, integer division truncates and
 *                          x / 0 is 0 for integers (ONNX leaves it undefined; we must not trap)
 *   grad (f32)             Add: dy, dy     Sub: dy, -dy     Mul: dy*b, dy*a     Div: dy/b, -dy*y/b
 *                          each summed down to the shape of its operand
 *   source   ONNX Add-14, Sub-14, Mul-14, Div-14
 */
#include "core/ops/common.h"

#include "core/base/compiler.h"

#define PLUS(a, b) ((a) + (b))
#define MINUS(a, b) ((a) - (b))
#define TIMES(a, b) ((a) * (b))
#define OVER(a, b) ((a) / (b))
#define INT_OVER(a, b) ((b) == 0 ? 0 : (a) / (b))
/* The one signed quotient that overflows, MIN / -1, wraps back to MIN. */
#define SIGNED_OVER(a, b) ((b) == -1 ? -(uint64_t)(a) : (uint64_t)((b) == 0 ? 0 : (a) / (b)))

#define LOOP(type, wide, OP)                                                                    \
    do {                                                                                        \
        const type *a = r->in[0].data, *b = r->in[1].data;                                      \
        type *y = r->out[0].data;                                                               \
        if (same)                                                                               \
            for (int64_t i = 0; i < n; i++)                                                     \
                y[i] = (type)(OP((wide)a[i], (wide)b[i]));                                      \
        else                                                                                    \
            for (int64_t i = 0; i < n; i++, lmbi_walk_next(&wa), lmbi_walk_next(&wb))           \
                y[i] = (type)(OP((wide)a[wa.offset], (wide)b[wb.offset]));                      \
    } while (0)

/* Integers go through uint64_t, so that wrapping is defined; division keeps the sign. */
#define BINARY(name, text, OP, INT_WIDE, INT_OP, UINT_OP)                                       \
    LMB_HOT static void name##_f32(const lmb_run *r, int64_t n, bool same, lmbi_walk wa, lmbi_walk wb) \
    {                                                                                           \
        LOOP(float, float, OP);                                                                 \
    }                                                                                           \
    static lmb_status name##_run(const lmb_run *r, lmb_error *err)                              \
    {                                                                                           \
        int64_t n = lmb_shape_count(&r->out[0].shape);                                          \
        bool same = lmb_shape_equal(&r->in[0].shape, &r->in[1].shape);                          \
        lmbi_walk wa, wb;                                                                       \
        lmbi_walk_begin(&wa, &r->out[0].shape, &r->in[0].shape);                                \
        lmbi_walk_begin(&wb, &r->out[0].shape, &r->in[1].shape);                                \
        switch (r->in[0].dtype) {                                                               \
        case LMB_F32: name##_f32(r, n, same, wa, wb); break;                                    \
        case LMB_F64: LOOP(double, double, OP); break;                                          \
        case LMB_U8: LOOP(uint8_t, uint64_t, UINT_OP); break;                                   \
        case LMB_U16: LOOP(uint16_t, uint64_t, UINT_OP); break;                                 \
        case LMB_U32: LOOP(uint32_t, uint64_t, UINT_OP); break;                                 \
        case LMB_U64: LOOP(uint64_t, uint64_t, UINT_OP); break;                                 \
        case LMB_S8: LOOP(int8_t, INT_WIDE, INT_OP); break;                                     \
        case LMB_S16: LOOP(int16_t, INT_WIDE, INT_OP); break;                                   \
        case LMB_S32: LOOP(int32_t, INT_WIDE, INT_OP); break;                                   \
        case LMB_S64: LOOP(int64_t, INT_WIDE, INT_OP); break;                                   \
        default: return lmbi_unsupported(text, r->in[0].dtype, err);                            \
        }                                                                                       \
        return LMB_OK;                                                                          \
    }

BINARY(add, "Add", PLUS, uint64_t, PLUS, PLUS)
BINARY(sub, "Sub", MINUS, uint64_t, MINUS, MINUS)
BINARY(mul, "Mul", TIMES, uint64_t, TIMES, TIMES)
BINARY(div, "Div", OVER, int64_t, SIGNED_OVER, INT_OVER)

static lmb_vid op2(lmb_grad *g, const char *op, lmb_vid a, lmb_vid b)
{
    return lmb_emit(g->b, op, NULL, LMB_IN(a, b), LMB_NO_ATTRS);
}

static lmb_vid negated(lmb_grad *g, lmb_vid v)
{
    return op2(g, "Mul", v, lmb_emit_scalar(g->b, -1.0f));
}

static lmb_vid to_input(lmb_grad *g, lmb_vid v, int i) { return lmbi_sum_to_like(g->b, v, g->node->in[i]); }

static lmb_status add_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    for (int i = 0; i < 2; i++)
        if (g->wanted[i])
            g->din[i] = to_input(g, g->dout[0], i);
    return LMB_OK;
}

static lmb_status sub_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    if (g->wanted[0])
        g->din[0] = to_input(g, g->dout[0], 0);
    if (g->wanted[1])
        g->din[1] = negated(g, to_input(g, g->dout[0], 1));
    return LMB_OK;
}

static lmb_status mul_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    for (int i = 0; i < 2; i++)
        if (g->wanted[i])
            g->din[i] = to_input(g, op2(g, "Mul", g->dout[0], g->node->in[1 - i]), i);
    return LMB_OK;
}

static lmb_status div_grad(lmb_grad *g, lmb_error *err)
{
    (void)err;
    lmb_vid over = op2(g, "Div", g->dout[0], g->node->in[1]);
    if (g->wanted[0])
        g->din[0] = to_input(g, over, 0);
    if (g->wanted[1])
        g->din[1] = negated(g, to_input(g, op2(g, "Mul", over, g->node->out[0]), 1));
    return LMB_OK;
}

#define ROW(lower, Name, formula)                                                                       \
    const lmb_op lmb_op_##lower = {                                                                     \
        .name = Name, .domain = "", .summary = formula ", broadcasting", .source = "ONNX " Name "-14",  \
        .since = 14, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,                              \
        .flags = LMB_OP_BROADCAST | LMB_OP_INPLACE, .infer = lmbi_infer_broadcast, .grad = lower##_grad, \
        .cost = lmbi_cost_elementwise, .axes = lmbi_axes_broadcast, .run = lower##_run,                 \
    }
ROW(add, "Add", "y = a + b");
ROW(sub, "Sub", "y = a - b");
ROW(mul, "Mul", "y = a * b");
ROW(div, "Div", "y = a / b");
