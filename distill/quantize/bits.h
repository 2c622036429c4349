/* distill/quantize/bits.h - how many bits the weights of each layer get.
 *
 * Idea: four places may say it, the nearest wins: `layers` of the configuration names a weight, or all whose names
 * begin with it and a dot (a block, or the parts that a layer behind a Concat has become, concat_form.h; the longest
 * name counts); the model says it itself (lmb_value.bits: what the search writes, and what stays in its file); `ends`
 * holds for the first and the last layer, which are small and feel coarse weights most; `bits` is for all others. In
 * memory every weight stays an s8: fewer bits only narrow the range, and the `.lmb` file keeps just those bits
 * (core/edge/lmb.h).
 */
#ifndef LMB_DISTILL_QUANTIZE_BITS_H
#define LMB_DISTILL_QUANTIZE_BITS_H

#include "distill/quantize/qat.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Few: so few that training has to feel them (narrow.h). */
enum { LMB_BITS_MIN = 2, LMB_BITS_FEW = 6, LMB_BITS_MAX = 8 };

/* Of each node of a folded graph: bits of its weights, 0 where it is no Conv or Gemm. bits: [g->n_nodes].
 *   errors  E_ARG: `layers` names what is no weight of a layer, or a number outside 2 .. 8 */
LMB_MUST_CHECK lmb_status lmb_bits_resolve(const lmb_graph *g, const lmb_qat_config *c, int *bits, lmb_error *err);

/* The same of any graph, into what its parameters say themselves: for who will change the model, so that layers go by
 * other names or are no longer the first and the last. A model all of whose weights have 8 bits stays as it is. */
LMB_MUST_CHECK lmb_status lmb_bits_settle(lmb_graph *g, const lmb_qat_config *c, lmb_error *err);

/* Which nodes are the first or the last layer, or parts of them. end: [g->n_nodes]. */
void lmb_bits_ends(const lmb_graph *g, bool *end);

/* The largest integer of so many bits, symmetric: 127 of 8, 7 of 4, 1 of 2. */
int lmb_bits_top(int bits);

#ifdef __cplusplus
}
#endif
#endif
