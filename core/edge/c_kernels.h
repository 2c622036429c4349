/* core/edge/c_kernels.h - the kernels of a C export as text: kernels_scalar.c once more, without libm. One row a
 * function; a source file has the rows that its operators call. */
#ifndef LMB_CORE_EDGE_C_KERNELS_H
#define LMB_CORE_EDGE_C_KERNELS_H

#include "core/edge/lmb.h"

/* What a source file can need, beside what is named after the kinds of operators. */
typedef enum lmbi_c_need {
    LMBI_C_CONV = 1 << 0, /* and gemm */
    LMBI_C_ADD = 1 << 1,
    LMBI_C_AVERAGE = 1 << 2,
    LMBI_C_MAX_POOL = 1 << 3,
    LMBI_C_CONCAT = 1 << 4,
    LMBI_C_TABLE = 1 << 5,
    LMBI_C_DEQUANTISE = 1 << 6,
    LMBI_C_TO_PIXELS = 1 << 7, /* input in planes        */
    LMBI_C_TO_PLANES = 1 << 8  /* u8 output in planes    */
} lmbi_c_need;

typedef struct lmbi_c_row {
    unsigned needed_by; /* any of these */
    const char *text;
} lmbi_c_row;

extern const lmbi_c_row lmbi_c_rows[]; /* in an order that compiles; text NULL at the end */

#endif
