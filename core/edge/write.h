/* core/edge/write.h - build a `.lmb` file; host side, may allocate.
 *
 * Idea: the builder takes what an exporter has, in ONNX's terms (OIHW weights, scales, zero points), and stores what
 * a device needs: NHWC-ordered weights, precomputed multipliers, a place in the arena for every tensor. Each call
 * appends one step and returns the tensor it makes. The first failure is kept and every later call does nothing, so
 * only lmb_edge_writer_finish has to be checked; it opens what it wrote with the device's own checker.
 *
 * Flatten needs no step: lmb_edge_write_gemm reads a tensor of any shape and takes its weights in ONNX's order,
 * which flattens CHW. ReLU is the lower clamp of the step before it.
 */
#ifndef LMB_CORE_EDGE_WRITE_H
#define LMB_CORE_EDGE_WRITE_H

#include "core/edge/lmb.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_edge_writer lmb_edge_writer;

/* A tensor's scale and zero point, and what its values are clamped to: 0..255, or zero..255 for ReLU. */
typedef struct lmb_edge_quant {
    float scale;
    int zero, lo, hi;
} lmb_edge_quant;

typedef struct lmb_edge_window {
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int pad_top, pad_left, pad_bottom, pad_right;
} lmb_edge_window;

/* Bytes that grow by realloc; start from { NULL, 0, 0 }, free(data) when done. */
typedef struct lmb_edge_buffer {
    unsigned char *data;
    size_t bytes, capacity;
} lmb_edge_buffer;

lmb_edge_writer *lmb_edge_writer_create(void); /* NULL: out of memory */
void lmb_edge_writer_destroy(lmb_edge_writer *w);

/* The network's input, first and once. `is_chw`: callers hand over CHW bytes. Returns tensor 0, or -1. */
int lmb_edge_write_input(lmb_edge_writer *w, const char *name, int h, int width, int c, float scale, int zero,
                         int is_chw);

/* Steps. Each returns the number of the tensor it makes, or -1.
 *
 *   shapes   conv weights [out][C/groups][kh][kw], gemm weights [out][C*H*W] of the source; w_scale and bias [out]
 *   units    bias in steps of s_x * s_w[channel]; NULL: zeros
 *   owns     everything is copied
 */
int lmb_edge_write_conv(lmb_edge_writer *w, const char *name, int src, int out, int groups, const lmb_edge_window *win,
                        const int8_t *weights, const float *w_scale, const int32_t *bias, lmb_edge_quant y);
int lmb_edge_write_gemm(lmb_edge_writer *w, const char *name, int src, int out, const int8_t *weights,
                        const float *w_scale, const int32_t *bias, lmb_edge_quant y);
int lmb_edge_write_add(lmb_edge_writer *w, const char *name, int a, int b, lmb_edge_quant y);
int lmb_edge_write_global_avg(lmb_edge_writer *w, const char *name, int src, lmb_edge_quant y);
int lmb_edge_write_max_pool(lmb_edge_writer *w, const char *name, int src, const lmb_edge_window *win);
int lmb_edge_write_concat(lmb_edge_writer *w, const char *name, const int *srcs, int n);
/* Any function of one activation; y gives the result's scale and zero point, its clamp must be in the table. */
int lmb_edge_write_table(lmb_edge_writer *w, const char *name, int src, const uint8_t table[256], lmb_edge_quant y);
/* DequantizeLinear, QuantizeLinear: move a tensor to another scale, zero point and clamp. */
int lmb_edge_write_requantize(lmb_edge_writer *w, const char *name, int src, lmb_edge_quant y);

/* One line of META; neither part may hold a line break. */
void lmb_edge_write_meta(lmb_edge_writer *w, const char *key, const char *value);

/* Plan the memory and write the file into `out`, replacing its content.
 *
 *   errors   the first failure of any call, with its sentence in why (may be NULL); out is then empty
 */
lmb_edge_status lmb_edge_writer_finish(lmb_edge_writer *w, int output, lmb_edge_buffer *out, char *why,
                                       size_t why_cap);

/* Offsets for n tensors that live from birth[i] to death[i] (both included), so that tensors alive together do not
 * overlap: largest first, each into the smallest gap that fits. owner[i] != i puts tensor i on top of tensor
 * owner[i] < i, whose death already covers it. Returns the arena's bytes, UINT64_MAX when out of memory. */
uint64_t lmb_edge_plan(const uint64_t *bytes, const uint32_t *birth, const uint32_t *death, const uint32_t *owner,
                       uint32_t n, uint64_t *offset);

#ifdef __cplusplus
}
#endif
#endif
