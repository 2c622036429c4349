/* core/edge/planes.c - pictures come as planes, CHW; kernels want pixels, HWC: both turns. Three planes, the most
 * frequent by far, go sixteen pixels at a time where bytes can be shuffled.
 */
#include "core/edge/internal.h"

#if LMBI_EDGE_AVX2 || LMBI_EDGE_AVXVNNI || LMBI_EDGE_AVX512VNNI
#include <tmmintrin.h>

/* Byte k of the 48 of sixteen pixels is of plane k % 3 and pixel k / 3: which byte of a plane, for each third. */
static const int8_t from_plane[9][16] = {
    { 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5 },
    { -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1 },
    { -1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1 },
    { -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1 },
    { 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10 },
    { -1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1 },
    { -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1 },
    { -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1 },
    { 10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15 },
};

__attribute__((target("ssse3"))) static void sixteen(uint8_t *to, const uint8_t *from, size_t plane)
{
    for (int third = 0; third < 3; third++) {
        __m128i all = _mm_setzero_si128();
        for (int p = 0; p < 3; p++) {
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(from + (size_t)p * plane));
            __m128i pick = _mm_loadu_si128((const __m128i *)(const void *)from_plane[3 * third + p]);
            all = _mm_or_si128(all, _mm_shuffle_epi8(v, pick));
        }
        _mm_storeu_si128((__m128i *)(void *)(to + 16 * third), all);
    }
}
#define HAVE_SIXTEEN(kernels) ((kernels)->rows != lmbi_edge_scalar)
#elif LMBI_EDGE_NEON || LMBI_EDGE_NEONDOT
#include <arm_neon.h>

static void sixteen(uint8_t *to, const uint8_t *from, size_t plane)
{
    uint8x16x3_t v = { { vld1q_u8(from), vld1q_u8(from + plane), vld1q_u8(from + 2 * plane) } };
    vst3q_u8(to, v);
}
#define HAVE_SIXTEEN(kernels) ((kernels)->rows != lmbi_edge_scalar)
#else
#define HAVE_SIXTEEN(kernels) ((void)(kernels), 0)
static void sixteen(uint8_t *to, const uint8_t *from, size_t plane) { (void)to, (void)from, (void)plane; }
#endif

void lmbi_edge_to_pixels(const lmbi_edge_kernels *k, uint8_t *to, const uint8_t *from, size_t channels, size_t pixels)
{
    if (channels == 1 || pixels == 1) {
        memcpy(to, from, channels * pixels);
    } else if (channels == 3 && pixels >= 16 && HAVE_SIXTEEN(k)) {
        for (size_t i = 0; i < pixels; i += 16) {
            size_t at = i + 16 <= pixels ? i : pixels - 16;
            sixteen(to + 3 * at, from + at, pixels);
        }
    } else {
        for (size_t c = 0; c < channels; c++)
            for (size_t i = 0; i < pixels; i++)
                to[i * channels + c] = *from++;
    }
}

void lmbi_edge_to_planes(uint8_t *to, const uint8_t *from, size_t channels, size_t pixels, size_t size)
{
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < pixels; i++, to += size)
            memcpy(to, from + (i * channels + c) * size, size);
}
