/* core/edge/kernels.h - what a set of kernels is, inside core/edge.
 *
 * Idea: a set is a table with one row per op kind; a missing row means the scalar one. A kernel says how many bytes
 * of packed weights it wants (once) and how many bytes beyond the planned arena it may touch (each run), both
 * decided from the step alone. Shapes, offsets and sums were checked by lmb_edge_open: run cannot fail.
 */
#ifndef LMB_CORE_EDGE_KERNELS_H
#define LMB_CORE_EDGE_KERNELS_H

#include "core/edge/lmb.h"

/* One step with everything a kernel needs. src and dst are NULL while memory is only being counted. */
typedef struct lmbi_edge_step {
    const lmb_edge_model *model;
    const lmb_edge_op *op;
    const lmb_edge_tensor *in[LMB_EDGE_MAX_INPUTS], *out;
    const uint8_t *src[LMB_EDGE_MAX_INPUTS];
    uint8_t *dst;
    const unsigned char *packed; /* what pack wrote, aligned to 64 bytes            */
    unsigned char *extra;        /* the bytes behind the planned arena              */
} lmbi_edge_step;

typedef struct lmbi_edge_kernel {
    size_t (*pack_bytes)(const lmbi_edge_step *s);              /* NULL: nothing is packed        */
    void (*pack)(const lmbi_edge_step *s, unsigned char *dst);
    size_t (*extra_bytes)(const lmbi_edge_step *s);             /* NULL: stays inside the tensors */
    void (*run)(const lmbi_edge_step *s);
} lmbi_edge_kernel;

typedef struct lmbi_edge_kernels {
    const char *name;
    int (*usable)(void); /* on the machine this runs on */
    const lmbi_edge_kernel *op[LMB_EDGE_KINDS];
} lmbi_edge_kernels;

extern const lmbi_edge_kernels lmbi_edge_scalar;
extern const lmbi_edge_kernels lmbi_edge_avx512vnni; /* x86-64 only */

/* CRC-32C (Castagnoli, reflected, as in iSCSI and SSE4.2). */
uint32_t lmbi_edge_crc32c(const void *data, size_t bytes);

/* The fastest set this machine can run. */
const lmbi_edge_kernels *lmbi_edge_best(void);

#endif
