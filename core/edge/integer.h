/* core/edge/integer.h - the integer arithmetic of a quantised model, to the bit.
 *
 * Idea: one definition of every rounding, used by the runtime, by the writer that stores the multipliers and by
 * whoever evaluates a quantised graph elsewhere, so that all of them produce the same bytes. Activations are u8
 * with one scale s and zero point z per tensor, x = s (q - z); weights are s8 with zero point 0 and one scale per
 * output channel; sums are exact int32. All float steps are IEEE binary32, round to nearest even, never
 * contracted (-ffp-contract=off); fl() marks each rounding:
 *
 *   conv, gemm      acc = bias + sum (q_x - z_x) q_w              m = fl(fl(s_x s_w) / s_y)
 *                   q = clamp(rne(fl(fl(acc) m)) + z_y, lo, hi)
 *   add             ra = fl(s_a / s_y), rb = fl(s_b / s_y), base = fl(z_y - fma(ra, z_a, fl(rb z_b)))
 *                   q = clamp(rne(fma(q_b, rb, fma(q_a, ra, base))), lo, hi)
 *   global average  acc = sum (q - z_x) over n pixels, m = fl(s_x / fl(s_y n)), then as conv
 *   requantise      q = clamp(rne(fl(fl((q_x - z_x) s_x) / s_y)) + z_y, lo, hi)
 *   max pool, concat: no arithmetic, all sides share scale and zero point
 *
 * The clamp is applied before rounding, in float: its ends are integers, so the result is the same, and no
 * conversion can overflow.
 *
 *   source   ONNX Runtime's QLinearConv, QLinearMatMul, QLinearAdd, QLinearGlobalAveragePool (u8 x s8 kernels);
 *            the float requantisation is XNNPACK's "fp32" one. Equality was checked against ORT 1.30.
 *   threads  all functions are pure; they assume the default rounding mode
 */
#ifndef LMB_CORE_EDGE_INTEGER_H
#define LMB_CORE_EDGE_INTEGER_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#if FLT_EVAL_METHOD != 0
#error "binary32 arithmetic must not carry extra precision: compile with -msse2 -mfpmath=sse or for a 64-bit target"
#endif

/* Round to nearest even for |v| < 2^22: adding 1.5 * 2^23 leaves no fraction bits. */
static inline float lmb_edge_rne(float v)
{
    return (v + 12582912.0f) - 12582912.0f;
}

/* clamp(rne(v), lo, hi) for any v that is not a NaN; -255 <= lo <= hi <= 255. */
static inline int lmb_edge_round_clamp(float v, int lo, int hi)
{
    if (v < (float)lo)
        v = (float)lo;
    if (v > (float)hi)
        v = (float)hi;
    return (int)lmb_edge_rne(v);
}

/* Accumulator to activation: conv, gemm, global average. */
static inline uint8_t lmb_edge_requantize(int32_t acc, float m, int zero, int lo, int hi)
{
    return (uint8_t)(lmb_edge_round_clamp((float)acc * m, lo - zero, hi - zero) + zero);
}

/* The multiplier of a conv or gemm channel. */
static inline float lmb_edge_multiplier(float s_x, float s_w, float s_y)
{
    float product = s_x * s_w;
    return product / s_y;
}

/* The multiplier of a global average over n pixels. */
static inline float lmb_edge_average_multiplier(float s_x, float s_y, uint32_t n)
{
    float area = s_y * (float)n;
    return s_x / area;
}

typedef struct lmb_edge_add_terms {
    float ra, rb, base;
} lmb_edge_add_terms;

static inline lmb_edge_add_terms lmb_edge_add_prepare(float s_a, int z_a, float s_b, int z_b, float s_y, int z_y)
{
    lmb_edge_add_terms t;
    float zb;
    t.ra = s_a / s_y;
    t.rb = s_b / s_y;
    zb = t.rb * (float)z_b;
    t.base = (float)z_y - fmaf(t.ra, (float)z_a, zb);
    return t;
}

static inline uint8_t lmb_edge_add(uint8_t a, uint8_t b, float ra, float rb, float base, int lo, int hi)
{
    return (uint8_t)lmb_edge_round_clamp(fmaf((float)b, rb, fmaf((float)a, ra, base)), lo, hi);
}

/* One entry of the table that moves an activation from one scale to another. */
static inline uint8_t lmb_edge_rescale(uint8_t q, float s_x, int z_x, float s_y, int z_y, int lo, int hi)
{
    float x = (float)(q - z_x) * s_x;
    return (uint8_t)(lmb_edge_round_clamp(x / s_y, lo - z_y, hi - z_y) + z_y);
}

#endif
