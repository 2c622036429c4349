/* core/ops/common.h - what many ops share: type checks, broadcasting walks, gradient helpers. */
#ifndef LMB_CORE_OPS_COMMON_H
#define LMB_CORE_OPS_COMMON_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out[0] has the type of in[0]. */
lmb_status lmbi_infer_same(const lmb_call *c, lmb_error *err);
/* E_SHAPE unless operand i is one f32 number. */
lmb_status lmbi_want_number(const lmb_call *c, int i, const char *what, lmb_error *err);
/* The shape of f32 that an attribute asks for: dimensions and size are checked, so that one may calculate with them. */
lmb_status lmbi_wanted_shape(const lmb_ints *list, lmb_shape *out, lmb_error *err);
/* out[0] is the broadcast of in[0] and in[1], which must have one type. */
lmb_status lmbi_infer_broadcast(const lmb_call *c, lmb_error *err);
/* E_SHAPE unless operand `i` has type t; `what` names it. */
lmb_status lmbi_want(const lmb_call *c, int i, lmb_dtype t, const char *what, lmb_error *err);
/* FLOPs: `per` for each element of out[0]. */
void lmbi_cost_elementwise(const lmb_call *c, lmb_cost *out);
/* Every axis of in[0] goes with the same axis of out[0]. */
void lmbi_axes_same(const lmb_call *c, const lmb_axes *a);
/* The axes of broadcasting operands, aligned from the right; size-1 axes are left out. */
void lmbi_axes_broadcast(const lmb_call *c, const lmb_axes *a);
/* Sum v (gradient of a broadcast result) down to the shape of `like`; v itself when shapes agree. */
lmb_vid lmbi_sum_to_like(lmb_builder *b, lmb_vid v, lmb_vid like);
/* log of the sum of exp(x / t), of all k classes or all but one (`without` -1: none). */
double lmbi_log_sum_exp(const float *x, int64_t k, int64_t without, double t);
lmb_status lmbi_unsupported(const char *op, lmb_dtype t, lmb_error *err);

/* A walk over a broadcast result: offset of element i of the result in an operand of shape `from`. */
typedef struct lmbi_walk {
    int n;
    int64_t d[LMB_MAX_DIMS], stride[LMB_MAX_DIMS], at[LMB_MAX_DIMS];
    int64_t offset;
} lmbi_walk;
void lmbi_walk_begin(lmbi_walk *w, const lmb_shape *result, const lmb_shape *from);
void lmbi_walk_next(lmbi_walk *w); /* to the next element of the result, row-major */

/* Normalise an axis attribute in [-n, n); E_ARG otherwise. */
lmb_status lmbi_axis(int64_t axis, int n, int *out, lmb_error *err);

/* kept: x's shape with 1 in the reduced places; that is the result with keepdims. axes: a second operand, or NULL. */
struct lmb_reduce_attr;
lmb_status lmbi_kept_shape(const struct lmb_reduce_attr *a, const lmb_shape *x, const lmb_type *axes, lmb_shape *kept,
                           lmb_error *err);

/* Slice and its gradient are a walk: element at[] of the result comes from begin + at * step of x, dimension by
 * dimension. */
typedef struct lmbi_cut { int64_t begin[LMB_MAX_DIMS], step[LMB_MAX_DIMS]; lmb_shape out; } lmbi_cut;
lmb_status lmbi_slice_of(const lmb_type *in, int n_in, lmbi_cut *out, lmb_error *err);
/* A constant list of s32 or s64, and one of its numbers. */
lmb_status lmbi_index_list(const lmb_type *t, const char *what, lmb_error *err);
int64_t lmbi_index_at(const lmb_type *t, int64_t i);
#ifdef __cplusplus
}
#endif
#endif
