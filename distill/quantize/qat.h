/* distill/quantize/qat.h - quantisation-aware training as passes.
 *
 * Idea: a folded graph (core/passes/fold.h) gets a FakeQuant wherever the deployed model holds integers, so that training
 * feels the rounding and the straight-through gradient lets it answer:
 *
 *   weights      of Conv and Gemm: s8, symmetric, one scale an output channel, from the weights themselves
 *   activations  u8, one scale and zero point a tensor, from an observer's running range; after Conv, Gemm, Add and
 *                GlobalAveragePool, behind the Relu or Clip that follows (never between them)
 *   input        raw bytes: the normalisation Sub, Mul is the input's own scale and zero point
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

typedef struct lmb_qat_config { int64_t observer; double momentum; } lmb_qat_config;
extern const lmb_field lmb_qat_fields[];

/* E_UNSUPPORTED names the first node that has no integer form. */
LMB_MUST_CHECK lmb_status lmb_pass_qat(const lmb_graph *folded, const lmb_qat_config *c, lmb_graph **out, lmb_error *err);
/* Observers become constants: ranges no longer move. E_ARG if one has seen nothing yet. */
LMB_MUST_CHECK lmb_status lmb_pass_qat_freeze(const lmb_graph *qat, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
