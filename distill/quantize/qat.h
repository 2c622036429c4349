/* distill/quantize/qat.h - quantisation-aware training as passes.
 *
 * Idea: a folded graph (core/passes/fold.h) gets a FakeQuant wherever the deployed model holds integers, so that
 * training feels the rounding and the straight-through gradient lets it answer:
 *
 *   weights      of Conv and Gemm: s8, symmetric, one scale an output channel, from the weights themselves; with fewer
 *                bits (bits.h) a narrower range of the same s8
 *   activations  u8, one scale and zero point a tensor, from an observer's running range; after Conv, Gemm, Add and
 *                GlobalAveragePool, behind the Relu or Clip that follows (never between them). symmetric: zero point
 *                128, for runtimes that want signed integers without a zero point. With fewer bits a narrower
 *                range; with activation_ends only of what inner layers multiply (operands.h)
 *   input        raw bytes: the normalisation Sub, Mul is the input's own scale and zero point
 *   scheme       range: scales follow what is seen. learned: scales are parameters (steps.h)
 *   scales       power_of_two: every scale the next 2^n upwards, so that requantisation is a shift, the same on every
 *                runtime; the input's scale, too, for which the first layer's weights make up
 *   unchanged    MaxPool, Flatten, Reshape, Identity, Dropout keep the scale of what they read
 *
 *   source   Jacob et al. 2018, arXiv:1712.05877, section 3
 */
#ifndef LMB_DISTILL_QUANTIZE_QAT_H
#define LMB_DISTILL_QUANTIZE_QAT_H

#include "core/base/field.h"
#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

/* Zero is the default of what follows the momentum: 8 bits, ranges, affine, any scale. */
typedef struct lmb_qat_config {
    int64_t observer;
    double momentum;
    int64_t scheme, bits, ends, activation_bits, activation_ends, activations, scales;
    const struct lmb_tree *layers; /* {weight: bits}, or NULL */
} lmb_qat_config;
enum { LMB_QAT_MOVING_AVERAGE, LMB_QAT_MINMAX };
enum { LMB_QAT_RANGE, LMB_QAT_LEARNED };
enum { LMB_QAT_AFFINE, LMB_QAT_SYMMETRIC };
enum { LMB_QAT_ANY_SCALE, LMB_QAT_POWER_OF_TWO };
extern const lmb_field lmb_qat_fields[];

/* E_UNSUPPORTED names the first node that has no integer form; E_ARG for `layers` as lmb_bits_resolve. The graph of the
 * learned scheme is that of the ranges: lmb_pass_steps follows, once there are ranges. */
LMB_MUST_CHECK lmb_status lmb_pass_qat(const lmb_graph *folded, const lmb_qat_config *c, lmb_graph **out,
                                       lmb_error *err);
/* For unfolded.c: the insertion in parts. In graphs with BatchNormalization behind their convolutions (UNFOLDED) its
 * output is observed under the convolution's name, and weights are rounded as the folded ones will be. */
enum { LMBI_QAT_WEIGHTS = 1, LMBI_QAT_ACTIVATIONS = 2, LMBI_QAT_UNFOLDED = 4 };
LMB_MUST_CHECK lmb_status lmbi_qat_insert(const lmb_graph *g, const lmb_qat_config *c, unsigned what, lmb_graph **out,
                                          lmb_error *err);
/* Observers become constants: ranges no longer move. E_ARG if one has seen nothing yet. */
LMB_MUST_CHECK lmb_status lmb_pass_qat_freeze(const lmb_graph *qat, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
