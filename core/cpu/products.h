/* core/cpu/products.h - gradients of matrices that are kept as what they are products of. See products.c. */
#ifndef LMB_CORE_CPU_PRODUCTS_H
#define LMB_CORE_CPU_PRODUCTS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* scale * a' b, [m, n]: of one shard. rows 0: not kept this way. */
typedef struct lmb_factors {
    float *a, *b;       /* [rows, m], [rows, n] */
    int64_t rows, m, n, room; /* room: rows that there is memory for */
    float scale;
} lmb_factors;

/* Rows [lo, hi) of out [m, n] = the sum over shards of weight[i] * f[i], along the binary tree over their numbers. The
 * bits do not depend on how rows are divided among calls.
 *   scratch  lmb_products_scratch(f, count, hi - lo) bytes */
void lmb_products_sum(const lmb_factors *const *f, const float *weight, int count, int64_t lo, int64_t hi, float *out,
                      void *scratch);
size_t lmb_products_scratch(const lmb_factors *const *f, int count, int64_t rows);

#ifdef __cplusplus
}
#endif
#endif
