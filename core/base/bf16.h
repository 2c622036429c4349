/* core/base/bf16.h - the upper half of a float: f32's range with 8 bits of precision.
 *
 * Idea: widening appends zeros; narrowing rounds to nearest, ties to even, by adding just under half of the last place
 * that stays. No branch, so that loops over them become vector instructions. CUDA's compiler takes them for GPUs too.
 */
#ifndef LMB_CORE_BASE_BF16_H
#define LMB_CORE_BASE_BF16_H

#include <stdint.h>
#include <string.h>

/* Largest relative error of rounding to bf16. */
#define LMB_BF16_ERROR 0x1p-8

#ifdef __CUDACC__
#define LMB_BF16_BODY static __host__ __device__ __forceinline__
#else
#define LMB_BF16_BODY static inline
#endif

LMB_BF16_BODY float lmb_bf16_get(uint16_t v)
{
    uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* NaN stays NaN. */
LMB_BF16_BODY uint16_t lmb_bf16_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return (uint16_t)(f != f ? quiet : rounded);
}

#endif
