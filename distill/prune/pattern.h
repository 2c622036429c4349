/* distill/prune/pattern.h - N:M sparsity: of every M weights in a row at most N are other than zero.
 *
 * Idea: a row is along the inputs that one output sums over, channel by channel for each place of a kernel, so that
 * hardware that skips zeros reads M inputs at a time and knows how many products there are. Rows start at the first
 * input; an axis that M does not divide keeps its last weights whole, and one shorter than M (an image's 3 channels,
 * depthwise filters) has no row.
 *
 *   source   2:4: Mishra et al. 2021, arXiv:2104.08378; N:M: Zhou et al. 2021, arXiv:2102.04010
 */
#ifndef LMB_DISTILL_PRUNE_PATTERN_H
#define LMB_DISTILL_PRUNE_PATTERN_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_pattern { int n, m; } lmb_pattern; /* m 0: none */

/* "2:4"; "": none. E_ARG when it is not 1 <= N < M <= 32. */
LMB_MUST_CHECK lmb_status lmb_pattern_parse(const char *text, lmb_pattern *out, lmb_error *err);

/* The axis of a weight along which one output sums its inputs: of Conv 1, of Gemm and MatMul their inner one; -1: none
 * of these reads it, or reads it otherwise elsewhere. */
int lmb_pattern_axis(const lmb_graph *g, lmb_vid weight);

/* Set the least of every m along the axis to zero until `zeros` are; of equal ones the first. True when that changed
 * any. */
bool lmb_pattern_prune(float *w, const lmb_shape *s, int axis, int m, int zeros);
/* Rows of m along the axis, and those that have more than n weights other than zero. */
void lmb_pattern_count(const float *w, const lmb_shape *s, int axis, lmb_pattern p, int64_t *rows, int64_t *over);

#ifdef __cplusplus
}
#endif
#endif
