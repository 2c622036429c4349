/* core/plan/layout.c - moving a rank-4 tensor between NCHW and NHWC.
 *
 * Each image is a C x HW matrix that is transposed, in tiles so that both sides stay in cache lines. */
#include <string.h>

#include "core/base/compiler.h"
#include "core/plan/internal.h"

enum { TILE = 16 };

/* dst[j * rows + i] = src[i * cols + j] */
#define TRANSPOSE(name, type)                                                                        \
    LMB_HOT static void name(const type *LMB_RESTRICT src, type *LMB_RESTRICT dst, int64_t rows,     \
                             int64_t cols)                                                           \
    {                                                                                                \
        for (int64_t i0 = 0; i0 < rows; i0 += TILE) {                                                \
            int64_t i1 = i0 + TILE < rows ? i0 + TILE : rows;                                        \
            for (int64_t j = 0; j < cols; j++)                                                       \
                for (int64_t i = i0; i < i1; i++)                                                    \
                    dst[j * rows + i] = src[i * cols + j];                                           \
        }                                                                                            \
    }
TRANSPOSE(transpose1, uint8_t)
TRANSPOSE(transpose2, uint16_t)
TRANSPOSE(transpose4, uint32_t)
TRANSPOSE(transpose8, uint64_t)

/* Pictures: three planes side by side, which vector units can shuffle. */
LMB_HOT static void three_planes(const uint32_t *LMB_RESTRICT src, uint32_t *LMB_RESTRICT dst, int64_t n)
{
    const uint32_t *LMB_RESTRICT b = src + n, *LMB_RESTRICT c = src + 2 * n;

    for (int64_t i = 0; i < n; i++) {
        dst[3 * i] = src[i];
        dst[3 * i + 1] = b[i];
        dst[3 * i + 2] = c[i];
    }
}

void lmbi_transpose(const void *src, void *dst, const lmb_shape *nchw, size_t size, bool to_nhwc)
{
    int64_t c = nchw->d[1], hw = nchw->d[2] * nchw->d[3];
    int64_t rows = to_nhwc ? c : hw, cols = to_nhwc ? hw : c;

    for (int64_t n = 0; n < nchw->d[0]; n++) {
        const char *s = (const char *)src + (size_t)(n * c * hw) * size;
        char *d = (char *)dst + (size_t)(n * c * hw) * size;
        if (rows == 1 || cols == 1) {
            memcpy(d, s, (size_t)(c * hw) * size);
            continue;
        }
        if (rows == 3 && size == 4) {
            three_planes((const uint32_t *)s, (uint32_t *)d, cols);
            continue;
        }
        switch (size) {
        case 1: transpose1((const uint8_t *)s, (uint8_t *)d, rows, cols); break;
        case 2: transpose2((const uint16_t *)s, (uint16_t *)d, rows, cols); break;
        case 4: transpose4((const uint32_t *)s, (uint32_t *)d, rows, cols); break;
        default: transpose8((const uint64_t *)s, (uint64_t *)d, rows, cols); break;
        }
    }
}
