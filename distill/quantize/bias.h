/* distill/quantize/bias.h - bias correction: rounding weights shifts the mean of what a layer says; the bias takes it
 * back.
 *
 * Idea: the quantised weights are w + e, so channel o of the layer is off by sum e[o, i] x[i], whose mean over the data
 * is sum e[o, i] E[x[i]]. The mean of each input channel is measured on the calibration set in the float model, and the
 * sum is subtracted from the bias. Pixels of the border see padding, which the mean over an image leaves out of
 * account. Layers without a bias, such as the factors of a thinner layer or the parts of one that reads a Concat, get one
 * of zeros before.
 *
 *   source   Nagel et al. 2019, arXiv:1906.04721, section 4.2, with means that are measured instead of derived
 */
#ifndef LMB_DISTILL_QUANTIZE_BIAS_H
#define LMB_DISTILL_QUANTIZE_BIAS_H

#include "distill/quantize/ptq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A bias of zeros for each Conv and Gemm, with trained weights [out, ...], that has none. The function stays. */
LMB_MUST_CHECK lmb_status lmb_pass_zero_bias(const lmb_graph *folded, lmb_graph **out, lmb_error *err);
/* qat: of lmb_pass_qat, made of `folded`; its biases change. Layers without a stored bias, or whose weights have no
 * WeightScale, stay as they are. Errors as lmb_calibration_create. */
LMB_MUST_CHECK lmb_status lmb_correct_bias(lmb_graph *qat, const lmb_graph *folded, const lmb_ptq_config *c,
                                           const lmb_dataset *train, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
