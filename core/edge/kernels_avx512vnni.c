/* core/edge/kernels_avx512vnni.c - x86 with AVX-512 and its vpdpbusd: 4 products of u8 and s8 in each of 16 lanes. */
#include "core/edge/internal.h"

#if LMBI_EDGE_AVX512VNNI
#include <immintrin.h>

#define SET lmbi_edge_avx512vnni
#define UNIT __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define UNIT_INLINE UNIT __attribute__((always_inline)) static inline
#define LANES 16
#define TAP 1
#define FLIP 0
#define BY_CHANNEL 1
#define TAPS 4
#define TILES X(8, 2) X(16, 1) X(4, 2) X(8, 1) X(1, 4)
#define HALF 8

typedef int8_t tap_weight;
typedef __m512i ints, bytes;
typedef __m512 floats;

typedef struct output {
    bytes lo, hi;
    __m512i zp; /* s16 */
} output;

UNIT_INLINE bytes load_bytes(const void *p) { return _mm512_loadu_si512(p); }
UNIT_INLINE bytes every_byte(int v) { return _mm512_set1_epi8((char)v); }
UNIT_INLINE bytes larger(bytes a, bytes b) { return _mm512_max_epu8(a, b); }
UNIT_INLINE bytes smaller(bytes a, bytes b) { return _mm512_min_epu8(a, b); }

UNIT_INLINE output output_of(int zp, int lo, int hi)
{
    output q = { every_byte(lo), every_byte(hi), _mm512_set1_epi16((short)zp) };
    return q;
}

UNIT_INLINE ints load_ints(const int32_t *p) { return _mm512_load_si512(p); }
UNIT_INLINE floats load_floats(const float *p) { return _mm512_load_ps(p); }
UNIT_INLINE floats every_lane(float v) { return _mm512_set1_ps(v); }
UNIT_INLINE ints load_line(const void *p) { return _mm512_load_si512(p); }
UNIT_INLINE ints mac(ints acc, ints x, ints line) { return _mm512_dpbusd_epi32(acc, x, line); }
UNIT_INLINE floats scaled(ints acc, floats m) { return _mm512_mul_ps(_mm512_cvtepi32_ps(acc), m); }
UNIT_INLINE floats multiply_add(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }

UNIT_INLINE ints four(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

UNIT_INLINE floats from_bytes(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* Too large becomes large, which a conversion can hold; too small becomes INT_MIN by itself. */
UNIT_INLINE ints rounded(floats v)
{
    return _mm512_cvt_roundps_epi32(_mm512_min_ps(v, _mm512_set1_ps(65536.0f)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

UNIT_INLINE bytes narrow(floats a, floats b, floats c, floats d, const output *q)
{
    __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(rounded(a), rounded(b)), q->zp);
    __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(rounded(c), rounded(d)), q->zp);
    return larger(smaller(_mm512_packus_epi16(ab, cd), q->hi), q->lo);
}

UNIT_INLINE bytes ordered(bytes v)
{
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
}

UNIT_INLINE ints eight(const uint8_t *p)
{
    int64_t v;
    memcpy(&v, p, 8);
    return _mm512_set1_epi64(v);
}

UNIT_INLINE ints apart(const int32_t *p) { return _mm512_cvtepu32_epi64(_mm256_load_si256((const __m256i *)(const void *)p)); }

UNIT_INLINE floats both(const float *p)
{
    __m512 v = _mm512_castsi512_ps(apart((const int32_t *)(const void *)p));
    return _mm512_moveldup_ps(v);
}

UNIT_INLINE ints folded(ints a, ints b)
{
    ints own = _mm512_mask_mov_epi32(a, 0xAAAA, b);
    return _mm512_add_epi32(own, _mm512_mask_shuffle_epi32(_mm512_srli_epi64(a, 32), 0xAAAA, b, _MM_PERM_CCAA));
}

UNIT_INLINE bytes by_pixel(bytes v)
{
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15)));
}

UNIT_INLINE void store(uint8_t *p, bytes v) { _mm512_storeu_si512(p, v); }

UNIT_INLINE void store_some(uint8_t *p, bytes v, size_t n)
{
    _mm512_mask_storeu_epi8(p, ((__mmask64)1 << n) - 1, v);
}

/* Four taps of 64 channels, turned so that the taps of a channel are neighbours. */
UNIT_INLINE void taps(ints acc[4], const uint8_t *x, const int64_t *at, const tap_weight *w)
{
    __m512i a = load_bytes(x + at[0]), b = load_bytes(x + at[1]), c = load_bytes(x + at[2]), d = load_bytes(x + at[3]);
    __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
    acc[0] = mac(acc[0], _mm512_unpacklo_epi16(ab, cd), load_line(w));
    acc[1] = mac(acc[1], _mm512_unpackhi_epi16(ab, cd), load_line(w + 64));
    ab = _mm512_unpackhi_epi8(a, b);
    cd = _mm512_unpackhi_epi8(c, d);
    acc[2] = mac(acc[2], _mm512_unpacklo_epi16(ab, cd), load_line(w + 128));
    acc[3] = mac(acc[3], _mm512_unpackhi_epi16(ab, cd), load_line(w + 192));
}

#include "core/edge/kernels_tiles.h"
#else
typedef int lmbi_edge_avx512vnni_is_left_out; /* ISO C wants a declaration in every file */
#endif
