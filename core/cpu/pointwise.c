/* core/cpu/pointwise.c - element by element: Relu, Clip, their gradients, and Add, Sub, Mul, Div of equal shapes or
 * with one number.
 *
 * The bytes are walked in whatever order they lie; no branch depends on data, so that every loop becomes vector
 * instructions. Results are those of the reference, to the bit.
 */
#include <float.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/kernels.h"

/* ---- activations ---- */

static bool f32_only(const lmb_call *c, const char **why)
{
    *why = "only f32";
    return c->in[0].dtype == LMB_F32;
}

LMB_HOT static void relu(const float *x, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

/* A load that always happens can be a vector; the choice then is a mask. */
LMB_HOT static void relu_grad(const float *dy, const float *y, float *dx, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float d = dy[i];
        dx[i] = y[i] > 0.0f ? d : 0.0f;
    }
}

LMB_HOT static void clip(const float *x, float *y, float lo, float hi, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] < lo ? lo : x[i];
        y[i] = v > hi ? hi : v;
    }
}

LMB_HOT static void clip_grad(const float *dy, const float *x, float *dx, float lo, float hi, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float d = dy[i], v = x[i];
        d = v >= lo ? d : 0.0f;
        dx[i] = v <= hi ? d : 0.0f;
    }
}

/* Operand i of a run as one number, or `otherwise` if it is left out. */
static float limit(const lmb_run *r, int i, float otherwise)
{
    return r->n_in > i && r->in[i].data ? *(const float *)r->in[i].data : otherwise;
}

static lmb_status relu_run(void *state, const lmb_run *r, lmb_error *err)
{
    (void)state, (void)err;
    relu(r->in[0].data, r->out[0].data, lmb_shape_count(&r->out[0].shape));
    return LMB_OK;
}

static lmb_status relu_grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    (void)state, (void)err;
    relu_grad(r->in[0].data, r->in[1].data, r->out[0].data, lmb_shape_count(&r->out[0].shape));
    return LMB_OK;
}

static lmb_status clip_run(void *state, const lmb_run *r, lmb_error *err)
{
    (void)state, (void)err;
    clip(r->in[0].data, r->out[0].data, limit(r, 1, -FLT_MAX), limit(r, 2, FLT_MAX), lmb_shape_count(&r->out[0].shape));
    return LMB_OK;
}

static lmb_status clip_grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    (void)state, (void)err;
    clip_grad(r->in[0].data, r->in[1].data, r->out[0].data, limit(r, 2, -FLT_MAX), limit(r, 3, FLT_MAX),
              lmb_shape_count(&r->out[0].shape));
    return LMB_OK;
}

/* ---- arithmetic ---- */

static bool same_or_number(const lmb_call *c, const char **why)
{
    const lmb_shape *a = &c->in[0].shape, *b = &c->in[1].shape, *y = &c->out[0].shape;
    *why = "only f32 of one shape, or with a single number";
    if (c->in[0].dtype != LMB_F32)
        return false;
    return (lmb_shape_equal(a, y) || lmb_shape_count(a) == 1) && (lmb_shape_equal(b, y) || lmb_shape_count(b) == 1);
}

/* A single number is repeated: stride 0. Three loops, so that each has constant strides. */
#define ARITHMETIC(name, OP)                                                                          \
    LMB_HOT static void name(const float *a, int da, const float *b, int db, float *y, int64_t n)     \
    {                                                                                                 \
        float one = da ? *b : *a;                                                                     \
        if (da && db)                                                                                 \
            for (int64_t i = 0; i < n; i++)                                                           \
                y[i] = a[i] OP b[i];                                                                  \
        else if (da)                                                                                  \
            for (int64_t i = 0; i < n; i++)                                                           \
                y[i] = a[i] OP one;                                                                   \
        else                                                                                          \
            for (int64_t i = 0; i < n; i++)                                                           \
                y[i] = one OP b[i * db];                                                              \
    }                                                                                                 \
    static lmb_status name##_run(void *state, const lmb_run *r, lmb_error *err)                       \
    {                                                                                                 \
        int64_t n = lmb_shape_count(&r->out[0].shape);                                                \
        (void)state, (void)err;                                                                       \
        if (n > 0)                                                                                    \
            name(r->in[0].data, lmb_shape_count(&r->in[0].shape) == n, r->in[1].data,                 \
                 lmb_shape_count(&r->in[1].shape) == n, r->out[0].data, n);                           \
        return LMB_OK;                                                                                \
    }
ARITHMETIC(add, +)
ARITHMETIC(sub, -)
ARITHMETIC(mul, *)
ARITHMETIC(quotient, /)

#define POINTWISE(lower, text, Op, Domain, ok, fn)                                                                   \
    const lmb_kernel lmbi_cpu_##lower = { .name = "cpu:" text, .op = Op, .domain = Domain, .accepts = ok, .run = fn, \
                                          .inplace = true, .order_free = true }
POINTWISE(relu, "relu", "Relu", "", f32_only, relu_run);
POINTWISE(relu_grad, "relu_grad", "ReluGrad", "limbeck", f32_only, relu_grad_run);
POINTWISE(clip, "clip", "Clip", "", f32_only, clip_run);
POINTWISE(clip_grad, "clip_grad", "ClipGrad", "limbeck", f32_only, clip_grad_run);
POINTWISE(add, "add", "Add", "", same_or_number, add_run);
POINTWISE(sub, "sub", "Sub", "", same_or_number, sub_run);
POINTWISE(mul, "mul", "Mul", "", same_or_number, mul_run);
POINTWISE(div, "div", "Div", "", same_or_number, quotient_run);
