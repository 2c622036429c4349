/* core/plan/layout.c - the same numbers in another form: NCHW or NHWC, f32 or bf16.
 *
 * Each image is a C x HW matrix that is transposed, in tiles so that both sides stay in cache lines; a change of the
 * storage type is done on the way. */
#include <string.h>

#include "core/base/bf16.h"
#include "core/base/compiler.h"
#include "core/plan/internal.h"

enum { TILE = 16, WIDE_TILE = 64 };

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

LMB_HOT static void narrow(const float *LMB_RESTRICT src, uint16_t *LMB_RESTRICT dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = lmb_bf16_of(src[i]);
}

LMB_HOT static void widen(const uint16_t *LMB_RESTRICT src, float *LMB_RESTRICT dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = lmb_bf16_get(src[i]);
}

/* With a change of type: tiles are changed first, along the rows, where that is a vector instruction. */
#define TRANSPOSE_AS(name, from, to, change)                                                         \
    LMB_HOT static void name(const from *LMB_RESTRICT src, to *LMB_RESTRICT dst, int64_t rows,       \
                             int64_t cols)                                                           \
    {                                                                                                \
        to tile[TILE][WIDE_TILE];                                                                    \
        for (int64_t i0 = 0; i0 < rows; i0 += TILE)                                                  \
            for (int64_t j0 = 0; j0 < cols; j0 += WIDE_TILE) {                                       \
                int64_t ni = rows - i0 < TILE ? rows - i0 : TILE;                                    \
                int64_t nj = cols - j0 < WIDE_TILE ? cols - j0 : WIDE_TILE;                          \
                for (int64_t i = 0; i < ni; i++)                                                     \
                    for (int64_t j = 0; j < nj; j++)                                                 \
                        tile[i][j] = change(src[(i0 + i) * cols + j0 + j]);                          \
                for (int64_t j = 0; j < nj; j++)                                                     \
                    for (int64_t i = 0; i < ni; i++)                                                 \
                        dst[(j0 + j) * rows + i0 + i] = tile[i][j];                                  \
            }                                                                                        \
    }
TRANSPOSE_AS(transpose_narrow, float, uint16_t, lmb_bf16_of)
TRANSPOSE_AS(transpose_widen, uint16_t, float, lmb_bf16_get)

/* One image, or the whole tensor where the order stays (rows 1). */
static void move(const void *src, lmb_dtype from, void *dst, lmb_dtype to, int64_t rows, int64_t cols)
{
    bool flat = rows == 1 || cols == 1;

    if (from == LMB_F32 && to == LMB_BF16) {
        if (flat)
            narrow(src, dst, rows * cols);
        else
            transpose_narrow(src, dst, rows, cols);
        return;
    }
    if (from == LMB_BF16 && to == LMB_F32) {
        if (flat)
            widen(src, dst, rows * cols);
        else
            transpose_widen(src, dst, rows, cols);
        return;
    }
    if (flat) {
        memcpy(dst, src, (size_t)(rows * cols) * lmb_dtype_bytes(from));
        return;
    }
    if (rows == 3 && lmb_dtype_bytes(from) == 4) {
        three_planes(src, dst, cols);
        return;
    }
    switch (lmb_dtype_bytes(from)) {
    case 1: transpose1(src, dst, rows, cols); break;
    case 2: transpose2(src, dst, rows, cols); break;
    case 4: transpose4(src, dst, rows, cols); break;
    default: transpose8(src, dst, rows, cols); break;
    }
}

void lmbi_convert(const lmb_tensor *from, lmb_layout before, const lmb_tensor *to, lmb_layout after)
{
    const lmb_shape *s = &from->shape;

    if (before == after) {
        move(from->data, from->dtype, to->data, to->dtype, 1, lmb_shape_count(s));
        return;
    }
    int64_t c = s->d[1], hw = s->d[2] * (s->n == 4 ? s->d[3] : 1), image = c * hw;
    for (int64_t n = 0; n < s->d[0]; n++)
        move((const char *)from->data + (size_t)(n * image) * lmb_dtype_bytes(from->dtype), from->dtype,
             (char *)to->data + (size_t)(n * image) * lmb_dtype_bytes(to->dtype), to->dtype,
             after == LMB_LAYOUT_NHWC ? c : hw, after == LMB_LAYOUT_NHWC ? hw : c);
}
