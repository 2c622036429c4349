/* core/cpu/batch_norm_act.h - between batch_norm_act.c, which knows operators, and its loops over rows of C channels,
 * compiled once for each kind of vector unit, and once for activations kept in bf16. */
#ifndef LMB_CORE_CPU_BATCH_NORM_ACT_H
#define LMB_CORE_CPU_BATCH_NORM_ACT_H

#include <stdint.h>

typedef struct lmbi_batch_norm_loops {
    /* s, q [C] += sums of x - x[0] and of their squares */
    void (*statistics)(const void *x, int64_t rows, int64_t C, double *s, double *q);
    /* y = f x + b [+ add], limited to [lo, hi] */
    void (*apply)(const void *x, const void *add, void *y, int64_t rows, int64_t C, const float *f, const float *b,
                  float lo, float hi);
    /* s, p [C] += sums of d and of d (x - mean), where d is dy if f x + b is in (lo, hi], else 0 */
    void (*products)(const void *dy, const void *x, int64_t rows, int64_t C, const float *f, const float *b,
                     const float *mean, float lo, float hi, double *s, double *p);
    /* dx = f d + g x + h; dx may be dy */
    void (*combine)(const void *dy, const void *x, void *dx, int64_t rows, int64_t C, const float *f, const float *b,
                    const float *g, const float *h, float lo, float hi);
} lmbi_batch_norm_loops;

extern const lmbi_batch_norm_loops lmbi_batch_norm_plain, lmbi_batch_norm_avx2, lmbi_batch_norm_avx512,
    lmbi_batch_norm_bf16;

#endif
