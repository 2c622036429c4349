/* core/cpu/winograd_taps.h - the weights of a 3x3 convolution, or their gradient, in vectors along its outputs, for the
 * transforms of winograd.c.
 *
 * In memory the nine taps of a pair of channels lie together, so that neighbouring outputs are 9 numbers apart, or
 * 9 * c: fetched one by one they would cost more than the transform. AVX-512 turns blocks of 16 x 144 numbers in
 * registers and asks early for rows that lie far apart.
 */
#if defined(__AVX512F__)
#include <immintrin.h>

enum { AHEAD = 4 }; /* rows */

/* 16 rows of 16 numbers, `step` apart -> their columns, `apart` from one to the next. */
INLINE void turn_16(const float *from, int64_t step, float *to, int64_t apart)
{
    __m512 a[16], b[16];

    for (int i = 0; i < 16; i++)
        a[i] = _mm512_loadu_ps(from + i * step);
    for (int i = 0; i < 16; i += 2) { /* pairs of rows, then fours within 128 bits */
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d low = _mm512_castps_pd(b[i + j]), high = _mm512_castps_pd(b[i + 2 + j]);
            a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    for (int j = 0; j < 4; j++) { /* a[4 * r + j]: rows 4r ... of columns j, j + 4, j + 8, j + 12 */
        __m512 even_low = _mm512_shuffle_f32x4(a[j], a[4 + j], 0x88);
        __m512 odd_low = _mm512_shuffle_f32x4(a[j], a[4 + j], 0xdd);
        __m512 even_high = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0x88);
        __m512 odd_high = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0xdd);
        _mm512_storeu_ps(to + apart * j, _mm512_shuffle_f32x4(even_low, even_high, 0x88));
        _mm512_storeu_ps(to + apart * (j + 8), _mm512_shuffle_f32x4(even_low, even_high, 0xdd));
        _mm512_storeu_ps(to + apart * (j + 4), _mm512_shuffle_f32x4(odd_low, odd_high, 0x88));
        _mm512_storeu_ps(to + apart * (j + 12), _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd));
    }
}

/* 16 x 9 numbers -> to [9][16]. Of the nine vectors each column holds one number of a tap. */
INLINE void turn_9(const float *from, float *to)
{
    const __m512i count = _mm512_set_epi32(135, 126, 117, 108, 99, 90, 81, 72, 63, 54, 45, 36, 27, 18, 9, 0);
    __m512 a[9];

    for (int v = 0; v < 9; v++)
        a[v] = _mm512_loadu_ps(from + 16 * v);
    for (int t = 0; t < 9; t++) {
        __m512 sum = a[0];
        for (int v = 1; v < 9; v++) /* columns where 16 v + column leaves t by 9 */
            sum = _mm512_mask_mov_ps(sum, (__mmask16)(0x201 << (t + 2 * v) % 9), a[v]);
        _mm512_storeu_ps(to + 16 * t, _mm512_permutexvar_ps(_mm512_add_epi32(count, _mm512_set1_epi32(t)), sum));
    }
}

/* Taps of outputs [0, 16) and CHUNK inputs: to [CHUNK][9][16]. w: of the first of each; per_k, per_c: from one to the
 * next. */
INLINE void taps_of(const float *w, int64_t per_k, int64_t per_c, float *to)
{
    if (per_c == 9) {
        for (int i = 0; i < 9; i++)
            turn_16(w + 16 * i, per_k, to + 256 * i, 16);
        return;
    }
    for (int c = 0; c < CHUNK; c++) {
        for (int i = 0; i < 9; i++)
            _mm_prefetch((const char *)(w + (c + AHEAD) * per_c + 16 * i), _MM_HINT_T0);
        turn_9(w + c * per_c, to + 144 * c);
    }
}

/* Back: from [CHUNK][9][16] -> outputs, `per_k` numbers apart, of CHUNK inputs. */
INLINE void taps_back(const float *from, float *w, int64_t per_k)
{
    for (int i = 0; i < 9; i++)
        turn_16(from + 256 * i, 16, w + 16 * i, per_k);
}
#else
INLINE void taps_of(const float *w, int64_t per_k, int64_t per_c, float *to)
{
    for (int c = 0; c < CHUNK; c++)
        for (int i = 0; i < 9; i++)
            for (int l = 0; l < LANES; l++)
                *to++ = w[l * per_k + c * per_c + i];
}

INLINE void taps_back(const float *from, float *w, int64_t per_k)
{
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 9 * CHUNK; i++)
            w[l * per_k + i] = from[i * LANES + l];
}
#endif
