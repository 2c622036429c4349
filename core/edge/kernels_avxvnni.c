/* core/edge/kernels_avxvnni.c - x86 with vpdpbusd on 256 bits and no AVX-512: 4 products of u8 and s8 in 8 lanes. */
#include "core/edge/internal.h"

#if LMBI_EDGE_AVXVNNI
#define UNIT __attribute__((target("avx2,fma,avxvnni")))
#include "core/edge/kernels_avx.h"

#define SET lmbi_edge_avxvnni
#define TAP 1
#define FLIP 0
#define BY_CHANNEL 1
#define TAPS 4
#define TILES X(4, 2) X(6, 2) X(4, 1) X(1, 4)

typedef int8_t tap_weight;

UNIT_INLINE ints mac(ints acc, ints x, ints line) { return _mm256_dpbusd_avx_epi32(acc, x, line); }

/* Four taps of 32 channels, turned so that the taps of a channel are neighbours. */
UNIT_INLINE void taps(ints acc[4], const uint8_t *x, const int64_t *at, const tap_weight *w)
{
    __m256i a = load_bytes(x + at[0]), b = load_bytes(x + at[1]), c = load_bytes(x + at[2]), d = load_bytes(x + at[3]);
    __m256i ab = _mm256_unpacklo_epi8(a, b), cd = _mm256_unpacklo_epi8(c, d);
    acc[0] = mac(acc[0], _mm256_unpacklo_epi16(ab, cd), load_line(w));
    acc[1] = mac(acc[1], _mm256_unpackhi_epi16(ab, cd), load_line(w + 32));
    ab = _mm256_unpackhi_epi8(a, b);
    cd = _mm256_unpackhi_epi8(c, d);
    acc[2] = mac(acc[2], _mm256_unpacklo_epi16(ab, cd), load_line(w + 64));
    acc[3] = mac(acc[3], _mm256_unpackhi_epi16(ab, cd), load_line(w + 96));
}

#include "core/edge/kernels_tiles.h"
#else
typedef int lmbi_edge_avxvnni_is_left_out; /* ISO C wants a declaration in every file */
#endif
