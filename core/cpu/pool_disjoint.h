/* core/cpu/pool_disjoint.h - max pooling where no window meets another and none reaches beyond the input: each element
 * has one window, so gradients are stored, not added, and vectors may overlap. */
#ifndef LMB_CORE_CPU_POOL_DISJOINT_H
#define LMB_CORE_CPU_POOL_DISJOINT_H

#include "core/ops/pool.h"

bool lmbi_pool_is_disjoint(const lmb_pooling *p);
/* Channels last. The same numbers as max_all and max_grad_all of pool.c. */
void lmbi_max_disjoint(const lmb_pooling *p, const float *x, float *y);
void lmbi_max_disjoint_grad(const lmb_pooling *p, const float *dy, const float *x, float *dx);

#endif
