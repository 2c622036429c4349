/* core/ops/conv.h - geometry shared by the convolution ops, their gradients and every backend's kernels. */
#ifndef LMB_CORE_OPS_CONV_H
#define LMB_CORE_OPS_CONV_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_conv_attr {
    const char *auto_pad;
    lmb_ints dilations, kernel_shape, pads, strides;
    int64_t group;
    lmb_ints shape; /* gradient ops: shape of the result */
} lmb_conv_attr;

/* ConvAct: function is "", "Relu" or "Clip". */
typedef struct lmb_conv_act_attr { lmb_conv_attr conv; const char *function; float lo, hi; } lmb_conv_act_attr;

/* A convolution over 1 or 2 spatial dimensions, written as 2-D (1-D: height 1). */
typedef struct lmb_conv {
    int64_t n, c, h, w;       /* input                          */
    int64_t k, oh, ow;        /* output channels and size       */
    int64_t kh, kw;           /* kernel                         */
    int64_t sh, sw, dh, dw;   /* strides, dilations (1 = dense) */
    int64_t ph, pw, ph2, pw2; /* zeros before and after         */
    int64_t group;
} lmb_conv;

/* Geometry from attributes and the shapes of x [N,C,H,W] (or [N,C,L]) and w [K,C/group,kH,kW].
 * E_SHAPE names what does not fit. */
LMB_MUST_CHECK lmb_status lmb_conv_of(const lmb_conv_attr *a, const lmb_shape *x, const lmb_shape *w, lmb_conv *out,
                                      lmb_error *err);
/* The geometry of a Conv, ConvGradData or ConvGradWeights call that has been inferred. */
lmb_conv lmb_conv_of_call(const lmb_call *c);
/* Shapes of x and w of the forward convolution, whichever of the three calls this is. */
void lmbi_conv_forward_shapes(const lmb_call *c, lmb_shape *x, lmb_shape *w);
/* MACs of the three convolution ops. */
void lmbi_conv_cost(const lmb_call *c, lmb_cost *out);
/* Output positions [*lo, *hi) along one dimension whose tap, at `shift` from the stride grid, lies inside
 * the input. */
void lmbi_conv_inside(int64_t in, int64_t out, int64_t stride, int64_t shift, int64_t *lo, int64_t *hi);
extern const lmb_attr_row lmb_conv_rows[], lmb_conv_grad_rows[], lmb_conv_act_rows[];
#ifdef __cplusplus
}
#endif
#endif
