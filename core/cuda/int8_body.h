/* core/cuda/int8_body.h - bytes by fours, for both compilers: loads, the dot product of four, and requantisation. */
#ifndef LMB_CORE_CUDA_INT8_BODY_H
#define LMB_CORE_CUDA_INT8_BODY_H

#include <string.h>

#include "core/cuda/ops/grid.h"

namespace lmb {

/* Four or sixteen bytes on a boundary of as many. */
template <int WORDS> LMB_BODY void words_of(const uint8_t *at, uint32_t *v)
{
#ifdef __CUDA_ARCH__
    if (WORDS == 4) {
        uint4 q = *(const uint4 *)at;
        v[0] = q.x, v[WORDS > 1] = q.y, v[WORDS > 2 ? 2 : 0] = q.z, v[WORDS > 3 ? 3 : 0] = q.w;
    } else {
        v[0] = *(const uint32_t *)at;
    }
#else
    memcpy(v, at, 4 * WORDS);
#endif
}

/* Up to four bytes from anywhere; what is not there is zero. */
LMB_BODY uint32_t bytes_of(const uint8_t *at, int left)
{
    uint32_t v = 0;
    for (int i = 0; i < 4 && i < left; i++)
        v |= (uint32_t)at[i] << 8 * i;
    return v;
}

LMB_BODY void eight_bytes(uint8_t *at, const uint8_t v[8])
{
#ifdef __CUDA_ARCH__
    uint2 q;
    q.x = v[0] | v[1] << 8 | v[2] << 16 | (uint32_t)v[3] << 24;
    q.y = v[4] | v[5] << 8 | v[6] << 16 | (uint32_t)v[7] << 24;
    *(uint2 *)at = q;
#else
    memcpy(at, v, 8);
#endif
}

/* sum + four products of u8 by s8. */
LMB_BODY uint32_t dot4(uint32_t sum, uint32_t x, uint32_t w)
{
#ifdef __CUDA_ARCH__
    int32_t r;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(w), "r"((int32_t)sum));
    return (uint32_t)r;
#else
    for (int i = 0; i < 4; i++)
        sum += (uint32_t)((int32_t)(x >> 8 * i & 255) * (int8_t)(w >> 8 * i));
    return sum;
#endif
}

/* clamp(rne(v) + zero, lo, hi); clamped before it is rounded, which gives the same and stays in range. */
LMB_BODY uint8_t quantise(float v, int zero, int lo, int hi)
{
    float least = (float)(lo - zero), most = (float)(hi - zero);
    v = v < least ? least : v > most ? most : v;
    return (uint8_t)((int)rintf(v) + zero);
}

} // namespace lmb

#endif
