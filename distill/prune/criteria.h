/* distill/prune/criteria.h - what a channel is worth.
 *
 * Idea: a criterion is a row that gives each channel of a class a number; the channels with the lowest numbers go first.
 * How numbers of different classes compare is not the criterion's business: distill/prune/channels.c divides them by the
 * mean of their class.
 */
#ifndef LMB_DISTILL_PRUNE_CRITERIA_H
#define LMB_DISTILL_PRUNE_CRITERIA_H

#include "distill/prune/axes.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_prune_criterion {
    const char *name, *summary, *source;
    /*   out     [class->channels] >= 0
     *   errors  E_ARG when the class has nothing to go by */
    lmb_status (*score)(const lmb_graph *g, const lmb_axis_map *m, const lmb_axis_class *class, double *out, lmb_error *err);
} lmb_prune_criterion;

extern const lmb_prune_criterion *const lmb_prune_criteria[]; /* NULL-terminated */
/* E_ARG, with all names, if there is none of this name. */
LMB_MUST_CHECK lmb_status lmb_prune_criterion_find(const char *name, const lmb_prune_criterion **out, lmb_error *err);

/* Add |content| of a member's slices to the channels of the class that they belong to. */
void lmbi_score_magnitude(const lmb_graph *g, const lmb_axis_map *m, const lmb_axis_class *class, const lmb_axis_member *x, double *out);

#ifdef __cplusplus
}
#endif
#endif
