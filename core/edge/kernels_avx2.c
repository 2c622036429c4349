/* core/edge/kernels_avx2.c - x86 with AVX2 and FMA. Its product of bytes (vpmaddubsw) saturates, so activations and
 * weights are s16 and vpmaddwd adds 2 exact products in each of 8 lanes. */
#include "core/edge/internal.h"

#if LMBI_EDGE_AVX2
#define UNIT __attribute__((target("avx2,fma")))
#include "core/edge/kernels_avx.h"

#define SET lmbi_edge_avx2
#define TAP 2
#define FLIP 0
#define BY_CHANNEL 1
#define TAPS 2
#define TILES X(4, 2) X(6, 2) X(4, 1) X(1, 4)

typedef int16_t tap_weight;

UNIT_INLINE ints mac(ints acc, ints x, ints line) { return _mm256_add_epi32(acc, _mm256_madd_epi16(x, line)); }

UNIT_INLINE void widen(int16_t *to, const uint8_t *from)
{
    __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from));
    _mm256_storeu_si256((__m256i *)(void *)to, v);
}

/* Two taps of 32 channels, turned so that the taps of a channel are neighbours, and widened. */
UNIT_INLINE void taps(ints acc[4], const uint8_t *x, const int64_t *at, const tap_weight *w)
{
    __m256i a = load_bytes(x + at[0]), b = load_bytes(x + at[1]), zero = _mm256_setzero_si256();
    __m256i ab = _mm256_unpacklo_epi8(a, b);
    acc[0] = mac(acc[0], _mm256_unpacklo_epi8(ab, zero), load_line(w));
    acc[1] = mac(acc[1], _mm256_unpackhi_epi8(ab, zero), load_line(w + 16));
    ab = _mm256_unpackhi_epi8(a, b);
    acc[2] = mac(acc[2], _mm256_unpacklo_epi8(ab, zero), load_line(w + 32));
    acc[3] = mac(acc[3], _mm256_unpackhi_epi8(ab, zero), load_line(w + 48));
}

#include "core/edge/kernels_tiles.h"
#else
typedef int lmbi_edge_avx2_is_left_out; /* ISO C wants a declaration in every file */
#endif
