/* core/base/tensor.h - what a block of numbers is: type, shape, bytes.
 *
 *   shapes   row-major, d[0] slowest, ONNX order (N, C, H, W); n = 0 is a scalar with one element
 *   owns     nothing: a lmb_tensor is a view unless a function says otherwise
 */
#ifndef LMB_CORE_BASE_TENSOR_H
#define LMB_CORE_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_MAX_DIMS = 8 };
typedef struct lmb_shape { int n; int64_t d[LMB_MAX_DIMS]; } lmb_shape;

/* One row a type: enum, text, C type, bytes, number in ONNX TensorProto.DataType. */
#define LMB_DTYPE_MAP(X)                 \
    X(F32, "f32", float, sizeof(float), 1) \
    X(U8, "u8", uint8_t, 1, 2)           \
    X(S8, "s8", int8_t, 1, 3)            \
    X(U16, "u16", uint16_t, 2, 4)        \
    X(S16, "s16", int16_t, 2, 5)         \
    X(S32, "s32", int32_t, 4, 6)         \
    X(S64, "s64", int64_t, 8, 7)         \
    X(BOOL, "bool", uint8_t, 1, 9)       \
    X(F16, "f16", uint16_t, 2, 10)       \
    X(F64, "f64", double, 8, 11)         \
    X(U32, "u32", uint32_t, 4, 12)       \
    X(U64, "u64", uint64_t, 8, 13)       \
    X(BF16, "bf16", uint16_t, 2, 16)

typedef enum {
#define X(name, text, type, bytes, onnx) LMB_##name,
    LMB_DTYPE_MAP(X)
#undef X
    LMB_DTYPE_COUNT
} lmb_dtype;

typedef struct lmb_tensor {
    lmb_dtype dtype;
    lmb_shape shape;
    void *data;
} lmb_tensor;

size_t lmb_dtype_bytes(lmb_dtype t);
const char *lmb_dtype_name(lmb_dtype t);                 /* "f32" */
int lmb_dtype_onnx(lmb_dtype t);                         /* TensorProto.DataType */
bool lmb_dtype_from_onnx(int onnx, lmb_dtype *out);

/* Elements; 1 for a scalar. Shapes inside a graph are checked: no overflow, every d >= 0. */
int64_t lmb_shape_count(const lmb_shape *s);
size_t lmb_shape_bytes(const lmb_shape *s, lmb_dtype t);
bool lmb_shape_equal(const lmb_shape *a, const lmb_shape *b);
/* E_SHAPE unless 0 <= n <= LMB_MAX_DIMS, every d in [0, 2^31) and the bytes fit 2^46. */
LMB_MUST_CHECK lmb_status lmb_shape_check(const lmb_shape *s, lmb_dtype t, lmb_error *err);
lmb_shape lmb_shape_of(int n, const int64_t *d);
/* "[64, 3, 32, 32]" into buf (always terminated); returns buf. */
const char *lmb_shape_text(const lmb_shape *s, char *buf, size_t cap);
enum { LMB_SHAPE_TEXT = 112 };
/* ONNX (NumPy) broadcasting of two shapes; E_SHAPE names both. */
LMB_MUST_CHECK lmb_status lmb_shape_broadcast(const lmb_shape *a, const lmb_shape *b, lmb_shape *out, lmb_error *err);

#define LMB_SHAPE(...)                                                                 \
    lmb_shape_of((int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (const int64_t[]){ __VA_ARGS__ })

#ifdef __cplusplus
}
#endif
#endif
