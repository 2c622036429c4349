/* distill/teachers.h - several teachers as one: a graph whose logits are the weighted mean of theirs.
 *
 * Idea: the mean is taken in a graph, so that what has one teacher (losses, files of logits) has several without
 * knowing it.
 *   owns     *out is the caller's; the teachers are copied into it, their weights as constants
 *   source   mean of logits: the geometric mean of predictions, renormalised; Hinton, Vinyals, Dean 2015, section 1
 */
#ifndef LMB_DISTILL_TEACHERS_H
#define LMB_DISTILL_TEACHERS_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_TEACHERS_MAX = 16 };

/* weight[n] above 0, divided by their sum.
 *   errors  E_SHAPE when one takes other samples than the first, or has other classes; E_ARG outside 1 to 16
 *           teachers */
LMB_MUST_CHECK lmb_status lmb_teachers_join(const lmb_graph *const *teacher, const double *weight, int n,
                                            lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
