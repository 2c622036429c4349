/* launch/softmax.h - models as others wrote them: who teaches, and what becomes integers, answers in logits. */
#ifndef LMB_LAUNCH_SOFTMAX_H
#define LMB_LAUNCH_SOFTMAX_H

#include "core/graph/graph.h"

/* *g, the caller's, without the Softmax that it ends in (distill/quantize/softmax.h); say: a line on stderr if there
 * was one, about the model `name`. */
LMB_MUST_CHECK lmb_status lmb_without_softmax(const char *name, bool say, lmb_graph **g, lmb_error *err);
/* A line on stderr, about the model `name`, if it has outputs that become no integers. */
void lmb_say_outputs(const char *name, const lmb_graph *g);

#endif
