/* core/edge/write.h - builds a .lmb file from ONNX-shaped pieces. Host side: allocates, not for devices.
 *
 * Idea: call one function an op, in the order they shall run; each returns the number of the tensor it writes.
 * Weights come as ONNX has them (OIHW; gemm rows in CHW order of the input, as Flatten gives) and are permuted
 * here; multipliers are computed here, once, by the formulas of lmb.h; finish() places tensors in memory and opens
 * its own result, so what it returns is readable.
 *
 * The first error sticks: later calls return -1 and do nothing, and finish() reports its sentence. So a caller
 * checks once, at the end.
 *
 * Flatten and Reshape to [1, K] are no ops here: pass the tensor on, its gemm does the rest.
 */
#ifndef LMB_CORE_EDGE_WRITE_H
#define LMB_CORE_EDGE_WRITE_H

#include "core/edge/lmb.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_edge_writer lmb_edge_writer;

/* Quantisation of a tensor and the clamp of the op that writes it: lo = zero_point is a folded ReLU. */
typedef struct lmb_edge_quant {
    float scale;
    int zero_point, lo, hi; /* 0..255 */
} lmb_edge_quant;

typedef struct lmb_edge_conv {
    int x; /* tensor read */
    lmb_edge_quant y;
    uint32_t channels, groups;            /* of the output; groups 1, x.c for depthwise, or between      */
    uint16_t kernel[2], stride[2], dilation[2]; /* height, width                                         */
    uint16_t pads[4];                     /* top, left, bottom, right                                    */
    const int8_t *weights;                /* [channels][x.c / groups][kernel h][kernel w]                */
    const float *weight_scales;           /* [channels]                                                  */
    const int32_t *bias;                  /* [channels], units x.scale * weight_scales[c]; NULL: zero    */
    const char *name;                     /* of the tensor written                                       */
    int bits;                             /* of a weight in the file, 2..7; 0 or 8: a byte               */
} lmb_edge_conv;

typedef struct lmb_edge_gemm {
    int x;
    lmb_edge_quant y;
    uint32_t channels;
    const int8_t *weights;      /* [channels][x.c][x.h][x.w] */
    const float *weight_scales; /* [channels]                */
    const int32_t *bias;        /* [channels] or NULL        */
    const char *name;
    int bits;                   /* as lmb_edge_conv          */
} lmb_edge_gemm;

/* owns: everything passed in is copied. A NULL return of create is out of memory; destroy(NULL) is allowed. */
lmb_edge_writer *lmb_edge_writer_create(void);
void lmb_edge_writer_destroy(lmb_edge_writer *w);

/* Tensor 0: call first. `layout` is that of the caller's buffer at run. */
int lmb_edge_write_input(lmb_edge_writer *w, uint32_t h, uint32_t width, uint32_t c, lmb_edge_layout layout,
                         lmb_edge_quant q, const char *name);
int lmb_edge_write_conv(lmb_edge_writer *w, const lmb_edge_conv *op);
int lmb_edge_write_gemm(lmb_edge_writer *w, const lmb_edge_gemm *op);
int lmb_edge_write_add(lmb_edge_writer *w, int a, int b, lmb_edge_quant y, const char *name);
int lmb_edge_write_global_average(lmb_edge_writer *w, int x, lmb_edge_quant y, const char *name);
/* Output has the scale and zero point of x; lo, hi clamp it. Sizes round down: ceil_mode is a larger pad. */
int lmb_edge_write_max_pool(lmb_edge_writer *w, int x, const uint16_t kernel[2], const uint16_t stride[2],
                            const uint16_t dilation[2], const uint16_t pads[4], int lo, int hi, const char *name);
/* Along channels; all of one scale and zero point: requantise those that are not. */
int lmb_edge_write_concat(lmb_edge_writer *w, const int *x, int n, const char *name);
/* q_y = table[q_x]: any function of one value. */
int lmb_edge_write_table(lmb_edge_writer *w, int x, lmb_edge_quant y, const uint8_t table[256], const char *name);
/* DequantizeLinear, QuantizeLinear: q_y = clamp(rne(fl(fl((q_x - zp_x) * s_x) / s_y)) + zp_y, lo, hi). */
int lmb_edge_write_requantise(lmb_edge_writer *w, int x, lmb_edge_quant y, const char *name);
/* Float output. */
int lmb_edge_write_dequantise(lmb_edge_writer *w, int x, const char *name);

/* How the caller gets the output, the tensor of the last op; HWC without this call. */
void lmb_edge_write_output_layout(lmb_edge_writer *w, lmb_edge_layout layout);

/* A line of META: key=value. Of two lines with one key, the first is found. */
void lmb_edge_write_meta(lmb_edge_writer *w, const char *key, const char *value);

/* Bytes that n weights of so many bits take in the file. */
size_t lmb_edge_weight_bytes(uint32_t n, int bits);

/* The tensor as it stands, for writers that need its shape; E_ARG if there is none of that number. */
lmb_edge_status lmb_edge_write_tensor(const lmb_edge_writer *w, int tensor, lmb_edge_tensor *t);

/* A growing buffer of the caller: start with zeros, free(data) at the end. */
typedef struct lmb_edge_buffer {
    uint8_t *data;
    size_t size, capacity;
} lmb_edge_buffer;

/* The file, appended to `out`. With signature_bytes > 0 it ends with that much zeroed room for a signature over
 * the bytes before (lmb_edge_signature says where).
 *
 *   errors   the first one since create: E_ARG, E_FORMAT, E_NOMEM, with its sentence in `why`; `out` keeps its size
 */
lmb_edge_status lmb_edge_write_finish(lmb_edge_writer *w, size_t signature_bytes, lmb_edge_buffer *out, char *why,
                                      size_t why_cap);

/* A finished file once more, appended to `out`: with this release, and with room for a signature instead of what it
 * had; all other sections as they are.
 *
 *   errors   as lmb_edge_open for a file that is none; E_NOMEM. Then `out` keeps its size
 */
lmb_edge_status lmb_edge_write_release(const void *file, size_t n, uint64_t release, size_t signature_bytes,
                                       lmb_edge_buffer *out, char *why, size_t why_cap);

/* The same with the reference of a monitor (monitor.h) in the file; a signature goes, for it would no longer hold. */
lmb_edge_status lmb_edge_write_reference(const void *file, size_t n, const void *reference, size_t reference_bytes,
                                         lmb_edge_buffer *out, char *why, size_t why_cap);

/* The same with these lines, `key=value` each and a newline at the end, in place of its META; a signature goes. E_FORMAT
 * too for lines that are no printable text. */
lmb_edge_status lmb_edge_write_lines(const void *file, size_t n, const char *lines, size_t bytes, lmb_edge_buffer *out,
                                     char *why, size_t why_cap);

#ifdef __cplusplus
}
#endif
#endif
