/* core/cuda/ops/product.h - what our matrix products and cuBLASLt's share. */
#ifndef LMB_CORE_CUDA_OPS_PRODUCT_H
#define LMB_CORE_CUDA_OPS_PRODUCT_H

#include "core/cuda/ops/maps.h"
#include "core/cuda/ops/table.h"
#include "core/ops/gemm.h"

namespace lmb {

/* Of a Gemm or GemmAct. */
inline bool ends_in_relu(const lmb_call *c)
{
    return c->op->attr_size == sizeof(lmb_gemm_act_attr) && *((const lmb_gemm_act_attr *)c->attr)->function == 'R';
}

} // namespace lmb

#endif
