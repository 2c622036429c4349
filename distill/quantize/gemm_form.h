/* distill/quantize/gemm_form.h - full layers as x W' + b.
 *
 * Idea: exporters write a full layer as Gemm with or without transB, with factors alpha and beta, with a bias of one
 * number, or as MatMul with stored weights and an Add of stored numbers behind it. All that works on layers (integers,
 * ranks, equalising, layers that read a Concat) knows one of these: Gemm with transB 1, alpha and beta 1, and a number
 * for each output. Exact but for what floats round.
 *
 *   errors  none of its own: weights or a bias that something else reads, or that are computed, stay as they are
 */
#ifndef LMB_DISTILL_QUANTIZE_GEMM_FORM_H
#define LMB_DISTILL_QUANTIZE_GEMM_FORM_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

LMB_MUST_CHECK lmb_status lmb_pass_gemm_form(const lmb_graph *g, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
