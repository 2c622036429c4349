/* core/edge/lmb.h - the `.lmb` file: a quantised network a device can run where it lies.
 *
 * Idea: everything is decided when the file is written. Shapes, multipliers, the order of steps and the place of
 * every activation in one arena are stored; the device checks the file once, in place, and then only computes. No
 * parser, no allocation, no float mathematics beyond the multiplications of integer.h. C99 and libc alone.
 *
 *   mmap -> lmb_edge_open -> [lmb_edge_use] -> lmb_edge_prepare -> lmb_edge_run, lmb_edge_run, ...
 *
 * THE FORMAT. Little-endian; every section starts at a multiple of 64 bytes. Batch is 1, activations are u8, NHWC.
 *
 *   header, 64 bytes
 *      0  8  magic "LMBEDGE\0"
 *      8  2  major version, 1      a reader refuses another major
 *     10  2  minor version, 0      grows when skippable sections are added; readers ignore it
 *     12  4  header bytes: 64 + 24 * sections
 *     16  8  file bytes
 *     24  4  flags: bit 0 = the input is handed over as CHW, else as HWC; other bits 0
 *     28  4  number of sections, 1..32
 *     32  4  arena bytes, at most 2^30
 *     36  2  index of the output tensor
 *     38  2  zero
 *     40  4  CRC-32C of the header bytes, this field taken as zero
 *     44 20  zero
 *   section table, 24 bytes each, at most one of a type
 *      0  4  type; a type with bit 31 set may be skipped by a reader that does not know it, others are refused
 *      4  4  CRC-32C of the section
 *      8  8  offset
 *     16  8  length
 *   "TENS"  lmb_edge_tensor[]: tensor 0 is the network's input, tensor i + 1 the result of step i
 *   "OPS "  lmb_edge_op[]: the steps in order; a step reads only tensors that stand before its own
 *   "QNT "  lmb_edge_channel[]: bias and multiplier of each output channel of conv and gemm
 *   "WTS "  s8 weights [OC][KH][KW][C/groups] (gemm: [OC][H*W*C] in HWC order) and 256-byte tables
 *   "STRS"  NUL-terminated names, the first one empty
 *   "META"  lines "key: value", UTF-8, no control characters. Known keys: producer, model, labels (comma
 *           separated, in class order), dataset, accuracy, lineage
 *
 * Limits: a tensor has at most 2^28 bytes, a sum at most 32768 products and |bias| at most 2^30, so that no int32
 * sum can overflow; multipliers are finite, not negative and at most 1e30.
 *
 * A file is hostile until lmb_edge_open has accepted it. Afterwards its bytes must not change.
 */
#ifndef LMB_CORE_EDGE_LMB_H
#define LMB_CORE_EDGE_LMB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The values are those of lmb_status. */
typedef enum {
    LMB_EDGE_OK = 0,
    LMB_EDGE_E_NOMEM = -1,  /* only the writer allocates                        */
    LMB_EDGE_E_ARG = -2,    /* a call out of order or outside its range          */
    LMB_EDGE_E_NOIMPL = -4, /* this machine has no such kernels                  */
    LMB_EDGE_E_FORMAT = -6  /* the file is malformed                             */
} lmb_edge_status;

typedef enum {
    LMB_EDGE_CONV = 1,        /* one input, any groups                            */
    LMB_EDGE_GEMM = 2,        /* one input of any shape, read as H*W*C numbers    */
    LMB_EDGE_ADD = 3,         /* two inputs                                       */
    LMB_EDGE_GLOBAL_AVG = 4,  /* one input                                        */
    LMB_EDGE_MAX_POOL = 5,    /* one input; padding never wins                    */
    LMB_EDGE_CONCAT = 6,      /* 1..8 inputs, joined along the channels           */
    LMB_EDGE_LUT = 7,         /* one input through a 256-byte table               */
    LMB_EDGE_KINDS
} lmb_edge_kind;

enum { LMB_EDGE_MAX_INPUTS = 8, LMB_EDGE_MAX_PRODUCTS = 32768 };

typedef struct lmb_edge_tensor { /* 32 bytes in the file */
    uint32_t h, w, c;
    uint32_t offset;      /* in the arena                                        */
    float scale;          /* x = scale * (q - zero)                              */
    uint8_t zero;
    uint8_t reserved[3];
    uint32_t name;        /* offset in STRS                                      */
    uint32_t reserved2;
} lmb_edge_tensor;

typedef struct lmb_edge_op { /* 64 bytes in the file */
    uint8_t kind, inputs;
    uint8_t lo, hi;                                 /* clamp of the result: conv, gemm, add, global average */
    uint32_t reserved;
    uint16_t input[LMB_EDGE_MAX_INPUTS];            /* tensors                                       */
    uint8_t kernel_h, kernel_w, stride_h, stride_w; /* conv, max pool                                */
    uint8_t dilation_h, dilation_w;
    uint8_t pad_top, pad_left, pad_bottom, pad_right;
    uint8_t reserved2[2];
    uint32_t groups;                                /* conv                                          */
    uint32_t weights;                               /* conv, gemm, lut: offset in WTS                */
    uint32_t channels;                              /* conv, gemm: first row in QNT                  */
    float a, b, base;                               /* add: ra, rb, base; global average: a = m      */
    uint32_t name;                                  /* offset in STRS                                */
} lmb_edge_op;

typedef struct lmb_edge_channel { /* 8 bytes in the file */
    int32_t bias;
    float m;
} lmb_edge_channel;

/* An opened model. Caller's storage, filled by lmb_edge_open, owning nothing; all fields are to be read only. */
typedef struct lmb_edge_model {
    const lmb_edge_tensor *tensors;
    const lmb_edge_op *ops;
    const lmb_edge_channel *channels;
    const int8_t *weights;
    const char *strings, *meta;
    uint32_t n_tensors, n_ops, n_channels;
    size_t weight_bytes, string_bytes, meta_bytes;
    uint32_t arena_bytes; /* of the stored plan alone; lmb_edge_arena_bytes is what to allocate */
    uint32_t output;      /* index of the output tensor                                        */
    int input_is_chw;
    const struct lmbi_edge_kernels *kernels;
    const unsigned char *prepared;
} lmb_edge_model;

/* Check a whole file and view it.
 *
 *   owns     `file` stays the caller's, aligned to 8 bytes, unchanged as long as m is used
 *   errors   E_FORMAT with one sentence in why (may be NULL); m is untouched
 */
lmb_edge_status lmb_edge_open(const void *file, size_t bytes, lmb_edge_model *m, char *why, size_t why_cap);

/* Choose kernels by name ("scalar", "avx512vnni"); open has chosen the fastest this machine can run. All give the
 * same bytes. Undoes lmb_edge_prepare. errors: E_NOIMPL unknown here, m is unchanged. */
lmb_edge_status lmb_edge_use(lmb_edge_model *m, const char *kernels);
const char *lmb_edge_kernels(const lmb_edge_model *m);
/* The i-th name of the kernels this machine can run, fastest first; NULL after the last. */
const char *lmb_edge_kernels_at(int i);

/* Put the weights in the order the kernels want, once: `memory` of at least lmb_edge_prepare_bytes (0: may be
 * NULL), which the model keeps using and which any number of threads may share. errors: E_ARG too small. */
size_t lmb_edge_prepare_bytes(const lmb_edge_model *m);
lmb_edge_status lmb_edge_prepare(lmb_edge_model *m, void *memory, size_t bytes);

/* Run the network once.
 *
 *   shapes   input h*w*c bytes of tensor 0 in the file's order; output h*w*c bytes of the output tensor, HWC
 *   owns     arena of lmb_edge_arena_bytes, any alignment, no content expected or promised
 *   errors   E_ARG the model is not prepared
 *   threads  safe on one model with one arena each
 */
size_t lmb_edge_arena_bytes(const lmb_edge_model *m);
lmb_edge_status lmb_edge_run(const lmb_edge_model *m, void *arena, const uint8_t *input, uint8_t *output);

/* y = (q - zero) * scale for the n numbers of a tensor, as ONNX DequantizeLinear. */
void lmb_edge_dequantize(const lmb_edge_tensor *t, const uint8_t *q, size_t n, float *y);

/* What is in the file, for people and for reports. */
const char *lmb_edge_kind_name(int kind);                          /* "conv"; "?" for an unknown one  */
const char *lmb_edge_name(const lmb_edge_model *m, uint32_t name); /* never NULL                      */
uint64_t lmb_edge_op_macs(const lmb_edge_model *m, uint32_t op);   /* multiplications in conv and gemm */
uint64_t lmb_edge_macs(const lmb_edge_model *m);
uint64_t lmb_edge_parameters(const lmb_edge_model *m);             /* weights and biases              */
/* The value of a META key, not NUL-terminated, *len bytes; NULL when absent. */
const char *lmb_edge_meta(const lmb_edge_model *m, const char *key, size_t *len);

static inline size_t lmb_edge_tensor_bytes(const lmb_edge_tensor *t)
{
    return (size_t)t->h * t->w * t->c;
}

#ifdef __cplusplus
}
#endif
#endif
