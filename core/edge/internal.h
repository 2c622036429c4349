/* core/edge/internal.h - what the files of this folder share: records, checks, steps and kernel sets. */
#ifndef LMB_CORE_EDGE_INTERNAL_H
#define LMB_CORE_EDGE_INTERNAL_H

#include <string.h>

#include "core/edge/lmb.h"

enum {
    LMBI_EDGE_HEADER = 32,
    LMBI_EDGE_SECTION = 24,
    LMBI_EDGE_MAX_SECTIONS = 32,
    LMBI_EDGE_TENSOR = 32,
    LMBI_EDGE_OP = 64,
    LMBI_EDGE_ALIGN = 64,
    LMBI_EDGE_SLACK = 64 /* kernels may read, never write, this far past a tensor */
};

/* Kinds of the file alone: lmb_edge_op_at makes LMB_EDGE_CONV and LMB_EDGE_GEMM of them. */
enum { LMBI_EDGE_CONV_NARROW = 9, LMBI_EDGE_GEMM_NARROW = 10 };

#define LMBI_EDGE_MAGIC "\x89LMB\r\n\x1a\n"
#define LMBI_EDGE_TYPE(a, b, c, d) \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* ---- bytes of the file ------------------------------------------------------------------------------------ */

static inline uint16_t lmbi_edge_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t lmbi_edge_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t lmbi_edge_u64(const uint8_t *p)
{
    return lmbi_edge_u32(p) | (uint64_t)lmbi_edge_u32(p + 4) << 32;
}
static inline float lmbi_edge_f32(const uint8_t *p)
{
    uint32_t u = lmbi_edge_u32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* CRC-32C (Castagnoli), as in RFC 3720 appendix B.4. Start with crc = 0; may be called in pieces. */
uint32_t lmbi_edge_crc32c(uint32_t crc, const void *p, size_t n);

static inline uint64_t lmbi_edge_round_up(uint64_t x)
{
    return (x + LMBI_EDGE_ALIGN - 1) & ~(uint64_t)(LMBI_EDGE_ALIGN - 1);
}

/* ---- open ------------------------------------------------------------------------------------------------- */

typedef struct lmbi_edge_why {
    char *text;
    size_t cap;
} lmbi_edge_why;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
lmb_edge_status lmbi_edge_fail(const lmbi_edge_why *why, lmb_edge_status s, const char *fmt, ...);

/* Everything about the records of an op and its tensors; the sections are already known to lie in the file. */
lmb_edge_status lmbi_edge_check_graph(const lmb_edge_model *m, const lmbi_edge_why *why);

/* Two scales are the same number: compared by their bits. */
int lmbi_edge_same_quant(const lmb_edge_tensor *a, const lmb_edge_tensor *b);

/* ---- numbers that are laid out in the file (laid.h) -------------------------------------------------------- */

#define LMBI_EDGE_LAID_TYPE LMBI_EDGE_TYPE('P', 'C', 'K', 0) /* the fourth character counts them */
enum { LMBI_EDGE_LAID_HEAD = 24 }; /* bytes of the section before its list: one u32 an op */

/* ---- run -------------------------------------------------------------------------------------------------- */

/* One op, decided: what a kernel is handed. Lives in the memory given to lmb_edge_prepare. */
typedef struct lmbi_edge_step {
    lmb_edge_op op;
    lmb_edge_tensor x, y;                   /* first input and output; gemm sees x as 1 x 1 x count     */
    uint64_t in_at[LMB_EDGE_MAX_INPUTS];    /* arena offset of each input                               */
    uint32_t in_c[LMB_EDGE_MAX_INPUTS];     /* channels of each input                                   */
    int32_t *bias;                          /* conv, gemm: y.c values and zeros up to a multiple of 16  */
    float *m;                               /* same                                                     */
    float constant[3];                      /* add: ra, rb, base; global average: m                     */
    void *packed;                           /* what the kernel's pack() wrote; 64-byte aligned          */
    const struct lmbi_edge_kernel *kernel;
    uint64_t scratch;                       /* bytes of arena that it wants at run                      */
    const uint8_t *laid;                    /* its numbers in the file (laid.h); NULL: pack() lays them out behind
                                               its own head                                             */
} lmbi_edge_step;

/* One way to run one kind of op. Optional functions may be NULL. */
typedef struct lmbi_edge_kernel {
    lmb_edge_kind kind;
    int reads_bias;                                    /* run() reads bias and m of the step, which the file then has
                                                          before the other numbers                      */
    int (*accepts)(const lmbi_edge_step *s);           /* NULL: every op of its kind                    */
    uint64_t (*packed_bytes)(const lmbi_edge_step *s); /* of memory at prepare                          */
    void (*pack)(lmbi_edge_step *s);
    uint64_t (*scratch_bytes)(const lmbi_edge_step *s); /* of arena at run                              */
    void (*run)(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch);
} lmbi_edge_kernel;

/* A kernel set: rows tried in order, then those of the scalar set, which takes everything. */
typedef struct lmbi_edge_kernels {
    const char *name;
    int (*usable)(void);
    const lmbi_edge_kernel *rows; /* ends with kind 0 */
} lmbi_edge_kernels;

extern const lmbi_edge_kernels *const lmbi_edge_kernel_sets[]; /* fastest first, NULL at the end */
extern const lmbi_edge_kernel lmbi_edge_scalar[];

/* The step of op i without its constants, which is enough to ask its kernel what it needs. */
void lmbi_edge_decode(const lmb_edge_model *m, uint32_t i, lmbi_edge_step *s);

/* The step's kernel: the first that takes it with no more scratch than the model may have; else the scalar one, which
 * has none. Numbers in the file are those of the first that takes it: any other has none there. */
void lmbi_edge_choose(const lmb_edge_model *m, lmbi_edge_step *s);

/* The taps of one output pixel that fall on the input: [ky0, ky1) x [kx0, kx1). */
typedef struct lmbi_edge_window {
    int64_t y, x; /* input position of tap (0, 0), may be negative */
    int64_t ky0, ky1, kx0, kx1;
} lmbi_edge_window;
lmbi_edge_window lmbi_edge_window_at(const lmbi_edge_step *s, int64_t oy, int64_t ox);

/* CHW -> HWC, of bytes; HWC -> CHW, of elements of `size` bytes. */
void lmbi_edge_to_pixels(const lmbi_edge_kernels *k, uint8_t *to, const uint8_t *from, size_t channels, size_t pixels);
void lmbi_edge_to_planes(uint8_t *to, const uint8_t *from, size_t channels, size_t pixels, size_t size);

/* Sets that are built: those that the compiler can, or, with LMB_EDGE_ONLY, those that are named one by one. */
#if defined(__x86_64__) && defined(__GNUC__)
#define LMBI_EDGE_X86 1
#if !LMB_EDGE_ONLY || LMB_EDGE_AVX512VNNI
#define LMBI_EDGE_AVX512VNNI 1
extern const lmbi_edge_kernel lmbi_edge_avx512vnni[];
#endif
#if !LMB_EDGE_ONLY || LMB_EDGE_AVXVNNI
#define LMBI_EDGE_AVXVNNI 1
extern const lmbi_edge_kernel lmbi_edge_avxvnni[];
#endif
#if !LMB_EDGE_ONLY || LMB_EDGE_AVX2
#define LMBI_EDGE_AVX2 1
extern const lmbi_edge_kernel lmbi_edge_avx2[];
#endif
#elif defined(__aarch64__) && defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#if defined(__linux__) && (!LMB_EDGE_ONLY || LMB_EDGE_NEONDOT)
#define LMBI_EDGE_NEONDOT 1
extern const lmbi_edge_kernel lmbi_edge_neondot[];
#endif
#if !LMB_EDGE_ONLY || LMB_EDGE_NEON
#define LMBI_EDGE_NEON 1
extern const lmbi_edge_kernel lmbi_edge_neon[];
#endif
#endif

#endif
