/* core/cpu/pointwise_bf16.c - Relu, Clip, their gradients and Add of feature maps kept in bf16.
 *
 * A sum and a limit are computed in f32 and rounded once. Relu and its gradient only choose between a number and zero,
 * which is done on the 16 bits: positive numbers are 1 to 0x7f80, negative ones 0x8001 to 0xff80, NaN is neither.
 */
#include <float.h>

#include "core/base/bf16.h"
#include "core/cpu/bf16_vectors.h"
#include "core/cpu/kernels.h"

enum { INFINITE = 0x7f80, SIGN = 0x8000 };

static bool maps_only(const lmb_call *c, const char **why)
{
    const lmb_shape *y = &c->out[0].shape;
    *why = "only f32 feature maps of one shape";
    if (c->in[0].dtype != LMB_F32 || y->n != 4 || y->d[2] * y->d[3] < 2)
        return false;
    return lmb_shape_equal(&c->in[0].shape, y) &&
           (c->n_in < 2 || !c->in[1].present || c->in[1].shape.n == 0 || lmb_shape_equal(&c->in[1].shape, y));
}

/* Add of a number is left to f32. */
static bool both_maps(const lmb_call *c, const char **why)
{
    return maps_only(c, why) && c->in[1].shape.n == 4;
}

static lmb_status relu_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *x = r->in[0].data;
    uint16_t *y = r->out[0].data;
    (void)state, (void)err;
    for (int64_t i = 0, n = lmb_shape_count(&r->out[0].shape); i < n; i++)
        y[i] = (uint16_t)(x[i] - (SIGN + 1)) < INFINITE ? 0 : x[i];
    return LMB_OK;
}

static lmb_status relu_grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *dy = r->in[0].data, *y = r->in[1].data;
    uint16_t *dx = r->out[0].data;
    (void)state, (void)err;
    for (int64_t i = 0, n = lmb_shape_count(&r->out[0].shape); i < n; i++) {
        uint16_t d = dy[i];
        dx[i] = (uint16_t)(y[i] - 1) < INFINITE ? d : 0;
    }
    return LMB_OK;
}

/* Operand i of a run as one number, or `otherwise` if it is left out. */
static float limit(const lmb_run *r, int i, float otherwise)
{
    return r->n_in > i && r->in[i].data ? *(const float *)r->in[i].data : otherwise;
}

static lmb_status clip_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *x = r->in[0].data;
    uint16_t *y = r->out[0].data;
    float lo = limit(r, 1, -FLT_MAX), hi = limit(r, 2, FLT_MAX);
    (void)state, (void)err;
    for (int64_t i = 0, n = lmb_shape_count(&r->out[0].shape); i < n; i += LMBI_LANES) {
        __mmask16 lanes = lmbi_lanes(n - i);
        __m512 v =
            _mm512_max_ps(_mm512_set1_ps(lo), lmbi_bf16_load(x + i, lanes)); /* of a number and NaN the second, NaN */
        lmbi_bf16_store(y + i, lanes, _mm512_min_ps(_mm512_set1_ps(hi), v));
    }
    return LMB_OK;
}

static lmb_status clip_grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *dy = r->in[0].data, *x = r->in[1].data;
    uint16_t *dx = r->out[0].data;
    float lo = limit(r, 2, -FLT_MAX), hi = limit(r, 3, FLT_MAX);
    (void)state, (void)err;
    for (int64_t i = 0, n = lmb_shape_count(&r->out[0].shape); i < n; i++) {
        float v = lmb_bf16_get(x[i]);
        uint16_t d = dy[i];
        d = v >= lo ? d : 0;
        dx[i] = v <= hi ? d : 0;
    }
    return LMB_OK;
}

static lmb_status add_run(void *state, const lmb_run *r, lmb_error *err)
{
    const uint16_t *a = r->in[0].data, *b = r->in[1].data;
    uint16_t *y = r->out[0].data;
    (void)state, (void)err;
    for (int64_t i = 0, n = lmb_shape_count(&r->out[0].shape); i < n; i += LMBI_LANES) {
        __mmask16 lanes = lmbi_lanes(n - i);
        lmbi_bf16_store(y + i, lanes, _mm512_add_ps(lmbi_bf16_load(a + i, lanes), lmbi_bf16_load(b + i, lanes)));
    }
    return LMB_OK;
}

#define POINTWISE(lower, text, Op, Domain, ok, fn)                                                                    \
    const lmb_kernel lmbi_bf16_##lower = { .name = "bf16:" text, .op = Op, .domain = Domain, .accepts = ok, .run = fn, \
                                           .storage = lmbi_bf16_activations, .inplace = true, .order_free = true }
POINTWISE(relu, "relu", "Relu", "", maps_only, relu_run);
POINTWISE(relu_grad, "relu_grad", "ReluGrad", "limbeck", maps_only, relu_grad_run);
POINTWISE(clip, "clip", "Clip", "", maps_only, clip_run);
POINTWISE(clip_grad, "clip_grad", "ClipGrad", "limbeck", maps_only, clip_grad_run);
POINTWISE(add, "add", "Add", "", both_maps, add_run);
