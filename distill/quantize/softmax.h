/* distill/quantize/softmax.h - a classifier that ends in Softmax, without it.
 *
 * Idea: exporters often close a model with Softmax or LogSoftmax. The largest answer is of the same class without, an
 * integer form has no use for it, and who teaches must answer in logits: a temperature divides them before the Softmax,
 * and of probabilities it would make something else.
 *
 *   which    the one that the first output comes from, over all classes of a sample, perhaps through Reshape, Flatten
 *            or Identity; what else reads it, or another output, wants it as it is: then it stays
 */
#ifndef LMB_DISTILL_QUANTIZE_SOFTMAX_H
#define LMB_DISTILL_QUANTIZE_SOFTMAX_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out: the model without it, the caller's; NULL: it does not end in one. */
LMB_MUST_CHECK lmb_status lmb_pass_logits(const lmb_graph *g, lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
