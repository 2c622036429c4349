/* core/edge/kernels_avx.h - what the x86 kernels of 256 bits share; kernels_tiles.h says what these are. */
#include <immintrin.h>

#define UNIT_INLINE UNIT __attribute__((always_inline)) static inline
#define LANES 8

typedef __m256i ints, bytes;
typedef __m256 floats;

typedef struct output {
    bytes lo, hi;
    __m256i zp; /* s16 */
} output;

UNIT_INLINE bytes load_bytes(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
UNIT_INLINE bytes every_byte(int v) { return _mm256_set1_epi8((char)v); }
UNIT_INLINE bytes larger(bytes a, bytes b) { return _mm256_max_epu8(a, b); }
UNIT_INLINE bytes smaller(bytes a, bytes b) { return _mm256_min_epu8(a, b); }

UNIT_INLINE output output_of(int zp, int lo, int hi)
{
    output q = { every_byte(lo), every_byte(hi), _mm256_set1_epi16((short)zp) };
    return q;
}

UNIT_INLINE ints load_line(const void *p) { return _mm256_load_si256((const __m256i *)p); }
UNIT_INLINE ints load_ints(const int32_t *p) { return load_line(p); }
UNIT_INLINE floats load_floats(const float *p) { return _mm256_load_ps(p); }
UNIT_INLINE floats every_lane(float v) { return _mm256_set1_ps(v); }
UNIT_INLINE floats scaled(ints acc, floats m) { return _mm256_mul_ps(_mm256_cvtepi32_ps(acc), m); }
UNIT_INLINE floats multiply_add(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }

UNIT_INLINE ints four(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

UNIT_INLINE floats from_bytes(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

/* Too large becomes large, which a conversion can hold; too small becomes INT_MIN by itself. Rounds as lrintf does. */
UNIT_INLINE ints rounded(floats v)
{
    return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(65536.0f)));
}

UNIT_INLINE bytes narrow(floats a, floats b, floats c, floats d, const output *q)
{
    __m256i ab = _mm256_adds_epi16(_mm256_packs_epi32(rounded(a), rounded(b)), q->zp);
    __m256i cd = _mm256_adds_epi16(_mm256_packs_epi32(rounded(c), rounded(d)), q->zp);
    return larger(smaller(_mm256_packus_epi16(ab, cd), q->hi), q->lo);
}

UNIT_INLINE bytes ordered(bytes v)
{
    return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

UNIT_INLINE void store(uint8_t *p, bytes v) { _mm256_storeu_si256((__m256i *)(void *)p, v); }

UNIT_INLINE void store_some(uint8_t *p, bytes v, size_t n)
{
    uint8_t all[32];
    store(all, v);
    if (n & 16)
        memcpy(p, all, 16);
    if (n & 8)
        memcpy(p + (n & 16), all + (n & 16), 8);
    for (size_t i = n & 24; i < n; i++)
        p[i] = all[i];
}
