/* core/cpu/batch_norm_width.h - inner loops of batch_norm_loops.h over W channels side by side, W a power of two:
 * included once for each W, so that sums stay in registers. Rows are C numbers apart. Four sums take turns, which hides
 * the latency of additions; their order is the same for every processor. */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define VEC JOIN(vec, W)
#define INT JOIN(int, W)
#define FN(name) JOIN(JOIN(name, _), W)

typedef float VEC __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t INT __attribute__((vector_size(4 * W), aligned(4), may_alias));

#ifdef DATA_IS_BF16
INLINE VEC FN(get)(const uint16_t *p)
{
#if W == 16
    return (VEC)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16);
#elif W == 8
    return (VEC)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16);
#else
    return (VEC){ lmb_bf16_get(*p) };
#endif
}
INLINE void FN(put)(uint16_t *p, VEC v)
{
#if W == 16
    _mm256_storeu_si256((__m256i *)(void *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v));
#elif W == 8
    _mm_storeu_si128((__m128i *)(void *)p, (__m128i)_mm256_cvtneps_pbh((__m256)v));
#else
    *p = lmb_bf16_of(v[0]);
#endif
}
#else
INLINE VEC FN(get)(const float *p) { return *(const VEC *)(const void *)p; }
INLINE void FN(put)(float *p, VEC v) { *(VEC *)(void *)p = v; }
#endif
INLINE VEC FN(load)(const float *p) { return *(const VEC *)(const void *)p; }
INLINE VEC FN(choose)(INT yes, VEC a, VEC b) { return (VEC)((yes & (INT)a) | (~yes & (INT)b)); }
/* NaN stays: of two operands max and min give the second when one is NaN. */
INLINE VEC FN(limited)(VEC v, VEC low, VEC high)
{
#if defined(DATA_IS_BF16) && W == 16
    return (VEC)_mm512_min_ps((__m512)high, _mm512_max_ps((__m512)low, (__m512)v));
#else
    v = FN(choose)(v < low, low, v);
    return FN(choose)(v > high, high, v);
#endif
}
/* Into the second-level cache, the r-th W numbers from an address on. There may be nothing: to ask is not to read. */
INLINE void FN(ask)(uintptr_t block, int64_t r)
{
    if (W > 1)
        __builtin_prefetch((const void *)(block + (uintptr_t)r * W * sizeof(DATA)), 0, 2);
}
INLINE VEC FN(all)(float v) { return (VEC){ 0 } + v; }

/* s, q [W] += sums of x - shift and of their squares over `rows` rows, into double */
INLINE void FN(add_statistics)(const DATA *x, uintptr_t next, int64_t rows, int64_t C, const DATA *shift, double *s,
                               double *q)
{
    VEC sum[4] = { { 0 } }, square[4] = { { 0 } }, at = FN(get)(shift);
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
        _Pragma("GCC unroll 4")
        for (int k = 0; k < 4; k++) {
            FN(ask)(next, r + k);
            VEC v = FN(get)(x + (r + k) * C) - at;
            sum[k] += v;
            square[k] += v * v;
        }
    for (; r < rows; r++) {
        VEC v = FN(get)(x + r * C) - at;
        sum[0] += v;
        square[0] += v * v;
    }
    VEC a = (sum[0] + sum[1]) + (sum[2] + sum[3]), b = (square[0] + square[1]) + (square[2] + square[3]);
    for (int i = 0; i < W; i++) {
        s[i] += (double)a[i];
        q[i] += (double)b[i];
    }
}

/* y = act(f x + b [+ add]) */
INLINE void FN(apply)(const DATA *x, uintptr_t next_x, uintptr_t next_y, const DATA *add, DATA *y, int64_t rows,
                      int64_t C, const float *f, const float *b, float lo, float hi)
{
    VEC scale = FN(load)(f), shift = FN(load)(b), low = FN(all)(lo), high = FN(all)(hi);
    for (int64_t r = 0; r < rows; r++) {
        FN(ask)(next_x, r);
        FN(ask)(next_y, r);
        VEC v = scale * FN(get)(x + r * C) + shift;
        if (add)
            v += FN(get)(add + r * C);
        FN(put)(y + r * C, FN(limited)(v, low, high));
    }
}

/* dy where the value before the activation lies in (lo, hi], else 0 */
INLINE VEC FN(masked)(VEC dy, VEC x, VEC scale, VEC shift, VEC lo, VEC hi)
{
    VEC v = scale * x + shift;
    return (VEC)((INT)dy & (v > lo) & (v <= hi));
}

/* s, p [W] += sums of masked dy and of its products with x - mean */
INLINE void FN(add_products)(const DATA *dy, const DATA *x, uintptr_t next_dy, uintptr_t next_x, int64_t rows,
                             int64_t C, const float *f, const float *b, const float *mean, float lo, float hi,
                             double *s, double *p)
{
    VEC sum[4] = { { 0 } }, product[4] = { { 0 } }, scale = FN(load)(f), shift = FN(load)(b), at = FN(load)(mean),
        low = FN(all)(lo), high = FN(all)(hi);
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
        _Pragma("GCC unroll 4")
        for (int k = 0; k < 4; k++) {
            FN(ask)(next_dy, r + k);
            FN(ask)(next_x, r + k);
            VEC v = FN(get)(x + (r + k) * C), d = FN(masked)(FN(get)(dy + (r + k) * C), v, scale, shift, low, high);
            sum[k] += d;
            product[k] += d * (v - at);
        }
    for (; r < rows; r++) {
        VEC v = FN(get)(x + r * C), d = FN(masked)(FN(get)(dy + r * C), v, scale, shift, low, high);
        sum[0] += d;
        product[0] += d * (v - at);
    }
    VEC a = (sum[0] + sum[1]) + (sum[2] + sum[3]), c = (product[0] + product[1]) + (product[2] + product[3]);
    for (int i = 0; i < W; i++) {
        s[i] += (double)a[i];
        p[i] += (double)c[i];
    }
}

/* dx = f masked(dy) + g x + h */
INLINE void FN(combine)(const DATA *dy, const DATA *x, uintptr_t next_dy, uintptr_t next_x, DATA *dx, int64_t rows,
                        int64_t C, const float *f, const float *b, const float *g, const float *h, float lo, float hi)
{
    VEC scale = FN(load)(f), shift = FN(load)(b), slope = FN(load)(g), rest = FN(load)(h), low = FN(all)(lo),
        high = FN(all)(hi);
    for (int64_t r = 0; r < rows; r++) {
        FN(ask)(next_dy, r);
        FN(ask)(next_x, r);
        VEC v = FN(get)(x + r * C), d = FN(masked)(FN(get)(dy + r * C), v, scale, shift, low, high);
        FN(put)(dx + r * C, scale * d + (slope * v + rest));
    }
}

#undef JOIN_
#undef JOIN
#undef VEC
#undef INT
#undef FN
#undef W
