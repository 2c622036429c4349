/* core/edge/lmb.h - the `.lmb` file (one integer network, ready to run) and the runtime that runs it.
 *
 * Idea: everything that can be decided before deployment is decided by the writer: order of the ops, places in
 * memory, multipliers. The file is used where it lies (mapped, or in flash); the reader checks every offset,
 * length and shape once, at open, and after that nothing can fail and nothing is allocated. C99 and libc only.
 *
 *     lmb_edge_model m;
 *     char why[200];
 *     if (lmb_edge_open(file, n, &m, why, sizeof why) != LMB_EDGE_OK) ... say why ...
 *     lmb_edge_prepare(&m, malloc(lmb_edge_prepare_bytes(&m)));
 *     void *arena = malloc(lmb_edge_arena_bytes(&m));
 *     lmb_edge_run(&m, arena, image, scores);
 *
 * What the integers are. Activations are u8 with one scale and zero point per tensor, weights are s8 with one
 * scale per output channel; float is IEEE binary32, rounded to nearest even (rne), never contracted:
 *     conv, gemm      acc = bias + sum (q_x - zp_x) * q_w, exact in int32
 *                     q_y = clamp(rne(fl((float)acc * m[c])) + zp_y, lo, hi),  m[c] = fl(fl(s_x * s_w[c]) / s_y)
 *     add             q_y = clamp(rne(fma(q_a, ra, fma(q_b, rb, base))), lo, hi),  ra = fl(s_a / s_y),
 *                     rb = fl(s_b / s_y), base = fl(zp_y - fma(ra, zp_a, fl(rb * zp_b)))
 *     global average  q_y = clamp(rne(fl((float)(sum q_x - n * zp_x) * m)) + zp_y, lo, hi),
 *                     m = fl(s_x / fl(s_y * n))
 *     max pool, concat   no arithmetic: same scale and zero point on both sides; max pool clamps to lo, hi
 *     table           q_y = table[q_x]: requantisation, or any function of one value
 *     dequantise      y = (float)(q_x - zp_x) * s_x
 * The clamp holds a folded ReLU (lo = zp_y) or ReLU6. These are the integers of ONNX Runtime's u8s8
 * QLinearConv, QLinearMatMul and QLinearAdd, and every kernel set gives the same bytes.
 *
 * The file, little-endian throughout:
 *     0   8     magic 89 'L' 'M' 'B' 0D 0A 1A 0A
 *     8   u16   major, 1: another major is refused
 *     10  u16   minor, 0: a higher minor only adds sections, which this reader skips
 *     12  u32   CRC-32C of header and section table, this field taken as zero
 *     16  u64   bytes in the file
 *     24  u32   number of sections, 1..32
 *     28  u32   requantisation, 1 = binary32 as above; another value is refused
 *     32        section table: { u32 type (four characters), u32 CRC-32C, u64 offset, u64 bytes } each
 * Sections follow in the order of the table, at multiples of 64; the bytes between them are zero and the file
 * ends with the last one. Each type appears at most once; TENS and OPS are required.
 *     META  text: lines `key=value`, printable UTF-8 (producer, teacher, data, accuracy ...); readers skip keys that they
 *           do not know
 *     NAME  NUL-terminated printable names
 *     TENS  32-byte records, one more than there are ops:
 *           0 u32 h, 4 u32 w, 8 u32 c     shape; one example, channels innermost in memory
 *           12 u8 type                    0 = u8, 1 = f32
 *           13 u8 layout                  how the caller's buffer is laid out: 0 = HWC, 1 = CHW
 *                                         (tensor 0 and the last one only; others 0)
 *           14 u8 zero point, 15 u8 0
 *           16 f32 scale, 20 u32 name     offset in NAME
 *           24 u64 place                  offset in the arena (the static memory plan)
 *     OPS   64-byte records. Tensor 0 is the input; op i writes tensor i + 1; the last tensor is the output,
 *           so an op can only read what came before it.
 *           0 u8 kind (9 and 10 are conv and gemm with narrow weights), 1 u8 inputs, 2 u8 lo, 3 u8 hi
 *           4 u16 in[8]                   tensors read; 0 where unused
 *           20 u16 kernel h, w; 24 stride h, w; 28 dilation h, w; 32 pads top, left, bottom, right
 *           40 u32 groups, 44 u32 0; of kinds 9 and 10 bits of a weight, 2..7
 *           48 u64 weights                offset in WTS: s8 [out][kernel h][kernel w][in / groups];
 *                                         gemm: [out][h][w][c] of its input. Narrow: the same numbers in the same
 *                                         order, number i in bits [i * bits, (i + 1) * bits), two's complement, lowest
 *                                         bit of the lowest byte first; the bits left in the last byte are zero.
 *                                         Preparing widens them: what runs is the s8 network, to the bit.
 *                                         All ops together have no more bytes than WTS
 *           56 u64 constants              offset in QNT: conv, gemm: s32 bias[out], f32 m[out];
 *                                         add: f32 ra, rb, base; global average: f32 m; table: u8[256]
 *     WTS   weights      QNT  constants
 *     WTSC  in place of WTS: weights coded small, in a file that must be unpacked before it is opened (packed.h);
 *           minor 1
 *     PCK0  weights once more, in the order in which a kernel set reads them; PCK1 ... for others (laid.h). Who does
 *           not call lmb_edge_use_laid skips them
 *     REL   u64 release: a number that grows with each version of a deployed model
 *     MON   a monitor file (monitor.h): what calibration samples look like, for devices to compare with
 *     SIGN  last; a signature over all bytes before it. Its CRC field is 0. This library has no cryptography: who wants
 *           it checked passes a function that can (lmb_edge_open_trusted).
 * An unknown kind of op is refused. Records never change their size or meaning within a major.
 *
 *   threads  a prepared model is read-only: run it from many threads, each with its own arena
 */
#ifndef LMB_CORE_EDGE_LMB_H
#define LMB_CORE_EDGE_LMB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    LMB_EDGE_OK = 0,
    LMB_EDGE_E_ARG = -1,     /* the caller did not keep to this header                  */
    LMB_EDGE_E_FORMAT = -2,  /* the bytes are not a well-formed .lmb file               */
    LMB_EDGE_E_VERSION = -3, /* well-formed, but made for a newer reader                */
    LMB_EDGE_E_NOMEM = -4,   /* the writer ran out of memory; the reader never does     */
    LMB_EDGE_E_UNTRUSTED = -5, /* not signed, or not by a key that is trusted, or changed since */
    LMB_EDGE_E_OLD = -6      /* signed, but an older release than the device allows     */
} lmb_edge_status;

enum {
    LMB_EDGE_MAX_OPS = 1024,
    LMB_EDGE_MAX_INPUTS = 8,
    LMB_EDGE_MAX_COUNT = 1 << 28 /* elements of a tensor, weights of an op */
};

/* Numbers of the file: append, never renumber. */
typedef enum {
    LMB_EDGE_CONV = 1,
    LMB_EDGE_GEMM = 2,
    LMB_EDGE_ADD = 3,
    LMB_EDGE_GLOBAL_AVERAGE = 4,
    LMB_EDGE_MAX_POOL = 5,
    LMB_EDGE_CONCAT = 6,
    LMB_EDGE_TABLE = 7,
    LMB_EDGE_DEQUANTISE = 8 /* 9, 10: conv and gemm with narrow weights; an lmb_edge_op has CONV or GEMM and its bits */
} lmb_edge_kind;

typedef enum { LMB_EDGE_U8 = 0, LMB_EDGE_F32 = 1 } lmb_edge_type;
typedef enum { LMB_EDGE_HWC = 0, LMB_EDGE_CHW = 1 } lmb_edge_layout;

typedef struct lmb_edge_tensor {
    const char *name;
    uint32_t h, w, c;
    uint32_t count; /* h * w * c                               */
    uint32_t bytes; /* count * (1 or 4)                        */
    lmb_edge_type type;
    lmb_edge_layout layout;
    float scale; /* value = (q - zero_point) * scale        */
    uint8_t zero_point;
    uint64_t place; /* offset in the arena                     */
} lmb_edge_tensor;

typedef struct lmb_edge_op {
    lmb_edge_kind kind;
    uint8_t n_in, lo, hi;
    uint16_t in[LMB_EDGE_MAX_INPUTS];
    uint16_t kernel[2], stride[2], dilation[2]; /* height, width             */
    uint16_t pads[4];                           /* top, left, bottom, right  */
    uint32_t groups;
    uint8_t bits;             /* of a weight: 8, or 2..7; 0: it has none             */
    const int8_t *weights;    /* in the file: lmb_edge_weight_at; conv and gemm only */
    uint32_t n_weights;       /* per the shapes                                     */
    const uint8_t *constants; /* in the file, unaligned little-endian; NULL if none */
} lmb_edge_op;

/* An open model in the caller's storage. Fields are for this library; copy it freely. */
typedef struct lmb_edge_model {
    const uint8_t *tensors, *ops, *names, *weights, *constants, *meta;
    size_t names_bytes, weights_bytes, constants_bytes, meta_bytes;
    uint32_t n_ops;
    uint64_t release;       /* 0: the file has none    */
    const uint8_t *monitor; /* NULL: the file has none */
    size_t monitor_bytes;
    const uint8_t *file;
    const uint8_t *laid; /* the section that lmb_edge_use_laid has chosen, or NULL */
    const struct lmbi_edge_kernels *kernels;
    uint64_t scratch_max;               /* of a kernel's working memory */
    const struct lmbi_edge_step *steps; /* NULL until prepared */
} lmb_edge_model;

/* ---- load ------------------------------------------------------------------------------------------------- */

/* Check `file` in full and describe it in `*m`; the fastest kernel set of this CPU is chosen.
 *
 *   owns     `file` is borrowed, at any alignment, and must not change while `m` is in use
 *   errors   E_FORMAT, E_VERSION, with one sentence in `why` (may be NULL); then *m is untouched
 */
lmb_edge_status lmb_edge_open(const void *file, size_t n, lmb_edge_model *m, char *why, size_t why_cap);

/* Where the signature is and which bytes it covers, looking at header and section table only: verify before
 * lmb_edge_open looks further. An unsigned file gives *signature NULL.
 *
 *   errors   as lmb_edge_open
 */
lmb_edge_status lmb_edge_signature(const void *file, size_t n, size_t *signed_bytes, const uint8_t **signature,
                                   size_t *signature_bytes, char *why, size_t why_cap);

/* Whom a device believes. */
typedef struct lmb_edge_trust {
    /* 1 if `signature` (its bytes are the signer's business) is that of a trusted key over the n bytes of `message`. */
    int (*verify)(void *ctx, const uint8_t *message, size_t n, const uint8_t *signature, size_t signature_bytes);
    void *ctx;
    uint64_t minimum_release; /* the device keeps it, and raises it to m->release once a model has proved itself */
} lmb_edge_trust;

/* lmb_edge_open for files that others could have touched: nothing but header and section table is looked at before
 * `verify` has said yes, and nothing is run that is older than what has been run before.
 *
 *   errors   E_UNTRUSTED, E_OLD, and as lmb_edge_open; then *m is untouched
 */
lmb_edge_status lmb_edge_open_trusted(const void *file, size_t n, const lmb_edge_trust *trust, lmb_edge_model *m,
                                      char *why, size_t why_cap);

/* The signature alone, of a file that is not opened as it is (packed.h); comparing the release is then the caller's
 * work. */
lmb_edge_status lmb_edge_verify(const void *file, size_t n, const lmb_edge_trust *trust, char *why, size_t why_cap);

/* Choose the kernel set by name ("scalar", "avx2", "avxvnni", "avx512vnni", "neon", "neondot"), before
 * lmb_edge_prepare: for tests; open has chosen the fastest. All give the same bytes. E_ARG if there is none of that
 * name or this CPU cannot run it. */
lmb_edge_status lmb_edge_use(lmb_edge_model *m, const char *kernels);

/* For a machine with little memory, before lmb_edge_prepare: the arena will have at most `bytes`. A kernel that would
 * want more (the fast convolutions copy their input into a border of padding) makes place for the scalar one, which is
 * slower, wants nothing, and gives the same bytes. E_ARG, and nothing is changed, if the plan of the file alone is
 * larger. */
lmb_edge_status lmb_edge_within(lmb_edge_model *m, size_t bytes);

/* Name of kernel set `i` and whether this CPU can run it; NULL past the last. Fastest first. */
const char *lmb_edge_kernels(int i, int *usable);
const char *lmb_edge_kernels_of(const lmb_edge_model *m);

/* Lay out constants and repack weights for the chosen kernels, in memory of the caller. What the file has laid out is
 * used where it lies, after lmb_edge_use_laid (laid.h).
 *
 *   owns     `memory`, lmb_edge_prepare_bytes() long, at any alignment, belongs to the model until it is dropped
 *   note     sizes are SIZE_MAX where they do not fit in size_t
 */
size_t lmb_edge_prepare_bytes(const lmb_edge_model *m);
void lmb_edge_prepare(lmb_edge_model *m, void *memory);

/* ---- run -------------------------------------------------------------------------------------------------- */

/* Bytes of working memory, at any alignment: the plan of the file and the scratch of the chosen kernels. */
size_t lmb_edge_arena_bytes(const lmb_edge_model *m);

/* One inference.
 *
 *   shapes   input u8 and output u8 or f32, as lmb_edge_tensor_at(m, 0 and n_ops) say; f32 output is aligned to 4
 *   errors   E_ARG if the model is not prepared; nothing else can fail
 */
lmb_edge_status lmb_edge_run(const lmb_edge_model *m, void *arena, const uint8_t *input, void *output);

/* Op i alone, `times` times, on what the arena holds since the last run: for those who measure. E_ARG: not prepared, or
 * no such op. */
lmb_edge_status lmb_edge_run_op(const lmb_edge_model *m, void *arena, uint32_t i, uint32_t times);

/* ---- inspect ---------------------------------------------------------------------------------------------- */

/* Tensor i of 0..n_ops, op i of 0..n_ops-1; i must be in range. */
void lmb_edge_tensor_at(const lmb_edge_model *m, uint32_t i, lmb_edge_tensor *t);
void lmb_edge_op_at(const lmb_edge_model *m, uint32_t i, lmb_edge_op *op);

const char *lmb_edge_kind_name(lmb_edge_kind kind); /* "conv"; never NULL */

/* Weight i of an op that has any. */
int8_t lmb_edge_weight_at(const lmb_edge_op *op, uint32_t i);

/* Multiply-accumulates of op i; of the whole model; weights and biases of the model. */
uint64_t lmb_edge_op_macs(const lmb_edge_model *m, uint32_t i);
uint64_t lmb_edge_macs(const lmb_edge_model *m);
uint64_t lmb_edge_parameters(const lmb_edge_model *m);

/* What one lmb_edge_run costs, whatever the model is made of: multiply-accumulates, comparisons of windows and numbers
 * that are read and written one by one. Who runs files of others asks first: a run can not be stopped. */
uint64_t lmb_edge_work(const lmb_edge_model *m);
#define LMB_EDGE_WORK_MOST ((uint64_t)1 << 42) /* that Limbeck's own programs run: minutes to hours */

/* The value of `key` in META, not NUL-terminated, or NULL. The whole text is m->meta. */
const char *lmb_edge_meta(const lmb_edge_model *m, const char *key, size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
