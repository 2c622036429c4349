/* core/ops/dropout.h - what the kernels of Dropout and of its gradient share: which elements stay. */
#ifndef LMB_CORE_OPS_DROPOUT_H
#define LMB_CORE_OPS_DROPOUT_H

#include "core/base/random.h"
#include "core/ops/attrs.h"
#include "core/ops/common.h"

/* A run of either: y = x mask / (1 - ratio) over [rows, width], or y = x. */
typedef struct lmbi_dropout {
    const float *x;
    float *y, keep;     /* 1 / (1 - ratio) */
    uint8_t *mask;      /* or NULL */
    int64_t rows, width, seed;
    uint32_t threshold; /* an element stays whose word is not below */
} lmbi_dropout;

/* false: nothing is dropped, or x is not f32; the op's own run knows what then is to be done. */
bool lmbi_dropout_of(const lmb_run *r, lmbi_dropout *out);
void lmbi_dropout_grad_of(const lmb_run *r, lmbi_dropout *out);

/* The stream of row n: its element i stands in block i / 4. */
lmb_rand lmbi_dropout_row(const lmb_run *r, int64_t seed, int64_t n);

extern const lmb_op lmb_op_dropout, lmb_op_dropout_grad;

#endif
