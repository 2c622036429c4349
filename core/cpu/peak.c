/* core/cpu/peak.c - how fast one thread can multiply and add, and move bytes: the roof that measurements are set
 * against.
 *
 * Twelve independent accumulators of one vector hide the latency of a multiply-add on every x86 core of today.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cpu/cpu.h"

enum { CHAINS = 12, ROUNDS = 20000 };

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static double chains_512(float *sink)
{
    __m512 a[CHAINS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    for (int k = 0; k < CHAINS; k++)
        a[k] = _mm512_set1_ps((float)k);
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CHAINS; k++)
            a[k] = _mm512_fmadd_ps(a[k], x, y);
    for (int k = 0; k < CHAINS; k++)
        *sink += _mm512_reduce_add_ps(a[k]);
    return 2.0 * 16 * CHAINS * ROUNDS;
}

__attribute__((target("avx512f,avx512bf16"))) static double chains_bf16(float *sink)
{
    __m512 a[CHAINS];
    __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f00),
             y = (__m512bh)_mm512_set1_epi16(0x0100); /* 0.5 and next to nothing */
    for (int k = 0; k < CHAINS; k++)
        a[k] = _mm512_set1_ps((float)k);
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CHAINS; k++)
            a[k] = _mm512_dpbf16_ps(a[k], x, y);
    for (int k = 0; k < CHAINS; k++)
        *sink += _mm512_reduce_add_ps(a[k]);
    return 4.0 * 16 * CHAINS * ROUNDS;
}

__attribute__((target("avx2,fma"))) static double chains_256(float *sink)
{
    __m256 a[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    for (int k = 0; k < CHAINS; k++)
        a[k] = _mm256_set1_ps((float)k);
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CHAINS; k++)
            a[k] = _mm256_fmadd_ps(a[k], x, y);
    for (int k = 0; k < CHAINS; k++)
        *sink += _mm256_cvtss_f32(a[k]);
    return 2.0 * 8 * CHAINS * ROUNDS;
}
#endif

static double chains_plain(float *sink)
{
    float a[4 * CHAINS];
    for (int k = 0; k < 4 * CHAINS; k++)
        a[k] = (float)k;
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < 4 * CHAINS; k++)
            a[k] = a[k] * 0.999f + 0.001f;
    for (int k = 0; k < 4 * CHAINS; k++)
        *sink += a[k];
    return 2.0 * 4 * CHAINS * ROUNDS;
}

/* Of the calling thread: what others do meanwhile does not count. */
static double processor_seconds(void)
{
    struct timespec t = { 0 };
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double lmb_cpu_peak(lmb_dtype products)
{
    double (*chains)(float *sink) = chains_plain, best = 0, end = processor_seconds() + 0.02;
    volatile float keep; /* or the loops would be taken away */
    float sink = 0;

    (void)products;
#if defined(__x86_64__)
    if (products == LMB_BF16 && __builtin_cpu_supports("avx512bf16"))
        chains = chains_bf16;
    else if (__builtin_cpu_supports("avx512f"))
        chains = chains_512;
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        chains = chains_256;
#endif
    do {
        double t = processor_seconds(), flops = chains(&sink), rate = flops / (processor_seconds() - t + 1e-9);
        best = rate > best ? rate : best;
    } while (processor_seconds() < end);
    keep = sink;
    (void)keep;
    return best;
}

double lmb_cpu_bandwidth(size_t bytes)
{
    size_t half = (bytes < 4096 ? 4096 : bytes) / 2;
    char *m = malloc(2 * half);
    double best = 0, start, end;

    if (!m)
        return 0;
    memset(m, 1, 2 * half);
    start = processor_seconds(), end = start + 0.03;
    do {
        double t = processor_seconds();
        int copies = 0;
        do { /* long enough for the clock */
            memcpy(m + (copies % 2 ? half : 0), m + (copies % 2 ? 0 : half), half);
            copies++;
        } while (processor_seconds() - t < 0.001);
        double rate = 2.0 * (double)half * copies / (processor_seconds() - t);
        best = rate > best ? rate : best;
    } while (processor_seconds() < end);
    volatile char keep = m[half]; /* or the copies would be taken away */
    (void)keep;
    free(m);
    return best;
}
