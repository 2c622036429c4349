/* core/cpu/vectors.h - vectors of LANES floats, for loops that are compiled once for each kind of vector unit; who
 * includes it says LANES: 4 for any processor, 8 with AVX2, 16 with AVX-512. */
#include <stddef.h>
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
#define INLINE __attribute__((always_inline)) static inline

/* Loops over a register tile disappear: an array of vectors then is registers. */
#define UNROLL _Pragma("GCC unroll 16")

INLINE vec load(const float *p) { return *(const vec *)(const void *)p; }
INLINE void store(float *p, vec v) { *(vec *)(void *)p = v; }

/* Into the second-level cache, the i-th vector from an address on: what comes next, along memory, while this is looked
 * at with strides. There may be nothing: to ask is not to read. */
INLINE void ask(uintptr_t from, int64_t i)
{
    __builtin_prefetch((const void *)(from + (uintptr_t)(i * (int64_t)sizeof(vec))), 0, 2);
}

/* v in [low, high]; NaN stays: of two operands the x86 instructions give the second when one is NaN. */
INLINE vec limited(vec v, vec low, vec high)
{
#if LANES == 16
    return (vec)_mm512_min_ps((__m512)high, _mm512_max_ps((__m512)low, (__m512)v));
#elif LANES == 8
    return (vec)_mm256_min_ps((__m256)high, _mm256_max_ps((__m256)low, (__m256)v));
#else
    ivec below = v < low;
    v = (vec)((below & (ivec)low) | (~below & (ivec)v));
    ivec above = v > high;
    return (vec)((above & (ivec)high) | (~above & (ivec)v));
#endif
}

/* n floats, in whole vectors the last of which ends where the numbers end. from NULL: zeros. */
INLINE void move(float *to, const float *from, int64_t n)
{
    if (n >= LANES) {
        for (int64_t i = 0; i < n; i += LANES) {
            int64_t at = i + LANES <= n ? i : n - LANES;
            store(to + at, from ? load(from + at) : (vec){ 0 });
        }
    } else if (n >= 4) {
        for (int64_t i = 0; i < n; i += 4) {
            int64_t at = i + 4 <= n ? i : n - 4;
            *(four *)(void *)(to + at) = from ? *(const four *)(const void *)(from + at) : (four){ 0 };
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i] = from ? from[i] : 0;
    }
}
