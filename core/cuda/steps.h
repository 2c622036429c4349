/* core/cuda/steps.h - what the CUDA module is told of work that is no graph: a step of an integer network, and
 * keystreams.
 *
 * Plain structs of numbers and pointers, filled by int8.c and chacha.c and read by int8.cu and chacha.cu. Pointers are
 * to the memory where the work runs, the device's or, for checks, the host's.
 */
#ifndef LMB_CORE_CUDA_STEPS_H
#define LMB_CORE_CUDA_STEPS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- integer networks: the ops of core/edge/lmb.h, whose formulas hold to the bit ---- */

typedef enum lmb_int8_kind {
    LMB_INT8_CONV,       /* and gemm                                                 */
    LMB_INT8_DEPTHWISE,  /* convolution of groups of one channel                     */
    LMB_INT8_ADD,        /* x + b: f = ra, rb, base                                  */
    LMB_INT8_AVERAGE,    /* f[0] = m                                                 */
    LMB_INT8_MAX_POOL,
    LMB_INT8_CHANNELS,   /* x becomes channels [first, first + x.c) of y: concat, one input at a time */
    LMB_INT8_TABLE,
    LMB_INT8_DEQUANTISE, /* f[0] = scale; y is f32                                   */
    LMB_INT8_TO_PIXELS,  /* x is CHW, y HWC                                          */
    LMB_INT8_TO_PLANES   /* x is HWC, y CHW, elements of `size` bytes                */
} lmb_int8_kind;

enum {
    LMB_INT8_OUTPUTS = 8, /* outputs that one thread computes, and weights are packed by */
    LMB_INT8_PIXELS = 4   /* places that it computes them for                            */
};

/* One example after the other, channels innermost; u8 unless said otherwise. */
typedef struct lmb_int8_tensor {
    uint8_t *at;
    int32_t h, w, c;
} lmb_int8_tensor;

typedef struct lmb_int8_step {
    lmb_int8_kind kind;
    lmb_int8_tensor x, b, y;
    int32_t kernel[2], stride[2], dilation[2], pads[2]; /* height, width; pads at the top and at the left */
    int32_t groups, first, size;
    int32_t zero_x, zero_y, lo, hi;
    /* conv: width of a load, 16, 4 or 1 (4, byte by byte); weights
     * [group][outputs / 8][tap][channels / width][8][width], zeros where there are none.
     * depthwise: weights [tap][output]; width 4: channels by fours, or 1. */
    int32_t width;
    const int8_t *weights;
    const int32_t *bias; /* less the zero point of x times the sum of all weights: padding holds zero points */
    const float *m;
    const uint8_t *table;
    float f[3];
} lmb_int8_step;

/* ---- sums of ChaCha20 keystreams ---- */

/* numbers[n] += or -= keystream words of every key: nonce 0, counter 0, little-endian words of `bits`, 32 or 64, as in
 * federated/secagg/mask.h. */
typedef struct lmb_chacha_job {
    void *numbers;
    uint64_t n;
    int32_t bits;
    uint32_t keys;
    const uint32_t *key;      /* [keys][8], as the cipher reads them  */
    const uint32_t *subtract; /* [keys]: 0, or all bits to subtract   */
} lmb_chacha_job;

#ifdef __cplusplus
}
#endif
#endif
