/* core/ops/batch_norm_ranks.h - BatchNormalization of training_mode 2 and its gradient; operands as those of the other
 * modes. */
#ifndef LMB_CORE_OPS_BATCH_NORM_RANKS_H
#define LMB_CORE_OPS_BATCH_NORM_RANKS_H

#include "core/graph/op.h"

size_t lmbi_norm_ranks_scratch(const lmb_call *c);
lmb_status lmbi_norm_ranks_run(const lmb_run *r, lmb_error *err);
lmb_status lmbi_norm_ranks_grad(const lmb_run *r, lmb_error *err);

#endif
