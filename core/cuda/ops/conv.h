/* core/cuda/ops/conv.h - what our convolutions and cuDNN's share: which operands are kept how, and what follows a sum.
 *
 * In NHWC rows the weights come in the same order, [k][h][w][c], and in the type of the maps: the planner makes that
 * form once a run for the convolution and the gradient of its input. Biases, and gradients of weights, are f32 in
 * plain order.
 */
#ifndef LMB_CORE_CUDA_OPS_CONV_H
#define LMB_CORE_CUDA_OPS_CONV_H

#include "core/cuda/ops/maps.h"
#include "core/cuda/ops/table.h"
#include "core/ops/conv.h"

namespace lmb {

/* y = act(y + bias + add) */
struct conv_ending { char function; float lo, hi; };
inline conv_ending ending_of(const lmb_call *c)
{
    if (c->op->attr_size != sizeof(lmb_conv_act_attr))
        return conv_ending{ 0, 0, 0 };
    const lmb_conv_act_attr *a = (const lmb_conv_act_attr *)c->attr;
    return conv_ending{ *a->function, a->lo, a->hi };
}

inline bool makes_weights(const lmb_call *c) { return strcmp(c->op->name, "ConvGradWeights") == 0; }
inline lmb_layout conv_layout(const lmb_call *c, int operand)
{
    return makes_weights(c) && operand == LMB_OUT(c, 0) ? LMB_LAYOUT_PLAIN : LMB_LAYOUT_NHWC;
}
inline lmb_dtype conv_bf16(const lmb_call *c, int operand)
{
    bool map = operand_of(c, operand)->shape.n == 4 && !(makes_weights(c) && operand == LMB_OUT(c, 0));
    return map ? LMB_BF16 : LMB_F32;
}
template <class Form> bool conv_accepts(const lmb_call *c, const char **why)
{
    return Form::nhwc ? two_dimensions(c, 0, why) : all_f32(c, 0, why);
}

template <class K> constexpr lmb_kernel conv_row(const char *name, const char *op, const char *domain,
                                                 const char *(*note)(const void *state) = nullptr)
{
    return formed<K>(name, op, domain, conv_layout, conv_bf16, false, note);
}

} // namespace lmb

#endif
