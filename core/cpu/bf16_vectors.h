/* core/cpu/bf16_vectors.h - 16 numbers in bf16, or fewer, as a vector of floats; for files built for AVX-512 with
 * BF16. */
#ifndef LMB_CORE_CPU_BF16_VECTORS_H
#define LMB_CORE_CPU_BF16_VECTORS_H

#include <immintrin.h>
#include <stdint.h>

enum { LMBI_LANES = 16 };

/* The lanes that n numbers fill, of the next 16. */
static inline __mmask16 lmbi_lanes(int64_t n) { return n >= LMBI_LANES ? 0xffff : (__mmask16)((1u << n) - 1); }

/* Lanes that are left out are 0. */
static inline __m512 lmbi_bf16_load(const uint16_t *p, __mmask16 lanes)
{
    __m256i half =
        lanes == 0xffff ? _mm256_loadu_si256((const __m256i *)(const void *)p) : _mm256_maskz_loadu_epi16(lanes, p);
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

static inline void lmbi_bf16_store(uint16_t *p, __mmask16 lanes, __m512 v)
{
    __m256i half = (__m256i)_mm512_cvtneps_pbh(v);
    if (lanes == 0xffff) /* a masked store is slower */
        _mm256_storeu_si256((__m256i *)(void *)p, half);
    else
        _mm256_mask_storeu_epi16(p, lanes, half);
}

#endif
