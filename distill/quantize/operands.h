/* distill/quantize/operands.h - which activations few bits are meant for: what inner layers multiply.
 *
 * Idea: w4a4 in papers are operands of convolutions; sums, the mean, the answers, and what the first and the last layer
 * read stay wide. So activation_ends give three kinds of values, said of what is quantised and of all that keeps its
 * integers (MaxPool, Flatten, ...):
 *
 *   narrow   inner layers multiply it and nobody else reads it: activation_bits
 *   both     inner convolutions multiply it and others read it, such as the sum of a residual block: it is wide, and
 *            the convolutions read a second, narrow FakeQuant of it, which is a depthwise 1x1 convolution by 1 when
 *            integers are made (qdq.c)
 *   wide     all else: activation_ends
 *
 *   source   Esser et al. 2020, arXiv:1902.08153, section 2 (operands of matrix multiplications)
 */
#ifndef LMB_DISTILL_QUANTIZE_OPERANDS_H
#define LMB_DISTILL_QUANTIZE_OPERANDS_H

#include "distill/quantize/qat.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMBI_WIDE, LMBI_NARROW, LMBI_BOTH };

/* kind: [g->n_values], LMBI_WIDE for what is no activation. apart: may it be both? Else all that is multiplied is
 * narrow. */
LMB_MUST_CHECK lmb_status lmbi_operand_kinds(const lmb_graph *g, bool apart, int *kind, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
