/* core/cpu/batch_norm_loops.h - the loops of batch_norm_act.c, once for each kind of vector unit: included by
 * batch_norm_plain.c, batch_norm_avx2.c and batch_norm_avx512.c, which say NAME, and give the same bits; and with
 * activations kept in bf16 by batch_norm_bf16.c, which says DATA_IS_BF16. Sums and coefficients are f32 and double in
 * any case. */
#include <stdbool.h>
#include <stddef.h>

#ifdef DATA_IS_BF16
#include <immintrin.h>

#include "core/base/bf16.h"
typedef uint16_t lmbi_data;
#else
typedef float lmbi_data;
#endif

#include "core/cpu/batch_norm_act.h"
#define DATA lmbi_data

#define INLINE __attribute__((always_inline)) static inline

#ifdef __AVX512F__ /* sums of 16 channels would not fit the registers of less */
#define W 16
#include "core/cpu/batch_norm_width.h"
#define EACH_16(C, call16) for (; c + 16 <= (C); c += 16) call16
#else
#define EACH_16(C, call16) (void)0
#endif
#define W 8
#include "core/cpu/batch_norm_width.h"
#define W 1
#include "core/cpu/batch_norm_width.h"

enum { BLOCK = 256 };

/* fn_W(...) for all channels of a block, the widest first; `c` is the first of the W. */
#define EACH_WIDTH(C, call16, call8, call1)  \
    do {                                     \
        int64_t c = 0;                       \
        EACH_16(C, call16);                  \
        for (; c + 8 <= (C); c += 8)         \
            call8;                           \
        for (; c < (C); c++)                 \
            call1;                           \
    } while (0)
#define EACH_BLOCK(rows)                                                                                  \
    for (int64_t r = 0, n = (rows) < BLOCK ? (rows) : BLOCK; r < (rows);                                  \
         r += BLOCK, n = (rows) - r < BLOCK ? (rows) - r : BLOCK)
/* The second pass goes the other way: what the first saw last is still in a cache, and so will be what is read first
 * next. */
#define EACH_BLOCK_BACK(rows)                                                                             \
    for (int64_t r = ((rows) - 1) / BLOCK * BLOCK, n = (rows) - r; r >= 0; r -= BLOCK, n = BLOCK)

/* Of the block that begins at a row, what is asked for while channels from c on of this one are looked at: as many
 * bytes, along memory, which is slow where a line of every row is wanted. */
#define AHEAD(p, row) ((uintptr_t)(p) + (uintptr_t)(((row) * C + c * n) * (int64_t)sizeof *(p)))

static void statistics(const void *data, int64_t rows, int64_t C, double *s, double *q)
{
    const DATA *x = data;
    EACH_BLOCK(rows)
        EACH_WIDTH(C, add_statistics_16(x + r * C + c, AHEAD(x, r + n), n, C, x + c, s + c, q + c),
                   add_statistics_8(x + r * C + c, AHEAD(x, r + n), n, C, x + c, s + c, q + c),
                   add_statistics_1(x + r * C + c, 0, n, C, x + c, s + c, q + c));
}

static void apply(const void *data, const void *other, void *result, int64_t rows, int64_t C, const float *f,
                  const float *b, float lo, float hi)
{
    const DATA *x = data, *add = other;
    DATA *y = result;
#define APPLY(w)                                                                                                      \
    apply_##w(x + r * C + c, AHEAD(x, r - BLOCK), AHEAD(y, r - BLOCK), add ? add + r * C + c : NULL, y + r * C + c, n, \
              C, f + c, b + c, lo, hi)
    EACH_BLOCK_BACK(rows)
        EACH_WIDTH(C, APPLY(16), APPLY(8), APPLY(1));
}

static void products(const void *gradient, const void *data, int64_t rows, int64_t C, const float *f, const float *b,
                     const float *mean, float lo, float hi, double *s, double *p)
{
    const DATA *dy = gradient, *x = data;
#define PRODUCTS(w)                                                                                               \
    add_products_##w(dy + r * C + c, x + r * C + c, AHEAD(dy, r + n), AHEAD(x, r + n), n, C, f + c, b + c, mean + c, \
                     lo, hi, s + c, p + c)
    EACH_BLOCK(rows)
        EACH_WIDTH(C, PRODUCTS(16), PRODUCTS(8), PRODUCTS(1));
}

static void combine(const void *gradient, const void *data, void *result, int64_t rows, int64_t C, const float *f,
                    const float *b, const float *g, const float *h, float lo, float hi)
{
    const DATA *dy = gradient, *x = data;
    DATA *dx = result;
#define COMBINE(w)                                                                                                    \
    combine_##w(dy + r * C + c, x + r * C + c, AHEAD(dy, r - BLOCK), AHEAD(x, r - BLOCK), dx + r * C + c, n, C, f + c, \
                b + c, g + c, h + c, lo, hi)
    EACH_BLOCK_BACK(rows)
        EACH_WIDTH(C, COMBINE(16), COMBINE(8), COMBINE(1));
}

const lmbi_batch_norm_loops NAME = { statistics, apply, products, combine };
