/* distill/quantize/unfolded.h - the first of two phases of training with fake quantisation: BatchNormalization is not
 * folded in yet.
 *
 * Idea: folded before the first step, a student learns with the statistics that its float weights had, for ever. Here
 * activations are quantised as they will be, behind the convolution with its normalisation, and weights are rounded as
 * the folded ones will be, while normalisation takes the statistics of each batch and the running ones are learnt on.
 * Then the statistics stop, are folded in, and training goes on with what will be deployed. Folding changes no answer
 * but by what floats round:
 *
 *   ranges         a row's scale is taken from its largest weight, and folding multiplies whole rows: rounding and
 *                  folding change places (narrow.h)
 *   learned        steps are those of unfolded rows, and are multiplied along with them
 *   power_of_two   2^n does not follow its row: the scale is that of the row times what folding would multiply with at
 *                  this moment, scale / sqrt(running variance + eps), divided by that again
 *   activations    observers, learned steps and zero points go on as they are
 *
 * What an optimizer remembers does not go on: for other parameters (a row and its normalisation's scale have become one
 * weight) there is no such memory, and it is made up in a few steps.
 *   source   Jacob et al. 2018, arXiv:1712.05877, section 3.2; Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2
 */
#ifndef LMB_DISTILL_QUANTIZE_UNFOLDED_H
#define LMB_DISTILL_QUANTIZE_UNFOLDED_H

#include "distill/quantize/ptq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A model in inference form -> `first`, which is trained, and `base`, the same with weights that are not rounded, which
 * is kept for lmb_unfolded_fold. Equalising and correcting biases are for folded weights: c says nothing of them here.
 *   train    of it c->calibration images say where ranges or learned steps begin; NULL with none of them
 *   errors   those of lmb_ptq */
LMB_MUST_CHECK lmb_status lmb_unfolded_start(const lmb_graph *model, const lmb_ptq_config *c, const lmb_dataset *train,
                                             lmb_graph **base, lmb_graph **first, lmb_error *err);
/* What `first` has learnt, folded: a graph as of lmb_pass_qat, or lmb_pass_steps, with its ranges or steps. `base`
 * takes in what was learnt. */
LMB_MUST_CHECK lmb_status lmb_unfolded_fold(lmb_graph *base, const lmb_graph *first, const lmb_qat_config *c,
                                            lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
