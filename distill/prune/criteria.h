/* distill/prune/criteria.h - what a channel is worth.
 *
 * Idea: a criterion is a row that gives each channel of a class a number; the channels with the lowest numbers go
 * first. How numbers of different classes compare is not the criterion's business: distill/prune/channels.c divides
 * them by the mean of their class.
 */
#ifndef LMB_DISTILL_PRUNE_CRITERIA_H
#define LMB_DISTILL_PRUNE_CRITERIA_H

#include "distill/prune/axes.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_taylor; /* distill/search/taylor.h */

/* What a criterion goes by. */
typedef struct lmb_prune_view {
    const lmb_graph *g;
    const lmb_axis_map *map;
    const struct lmb_taylor *gradients; /* of g on data; NULL: there are none */
    uint64_t seed;                      /* of a random choice */
} lmb_prune_view;

typedef struct lmb_prune_criterion {
    const char *name, *summary, *source;
    bool gradients; /* can not do without them */
    /*   out     [class->channels] >= 0
     *   errors  E_ARG when the class has nothing to go by */
    lmb_status (*score)(const lmb_prune_view *v, const lmb_axis_class *class, double *out, lmb_error *err);
} lmb_prune_criterion;

extern const lmb_prune_criterion *const lmb_prune_criteria[]; /* NULL-terminated */
/* E_ARG, with all names, if there is none of this name. */
LMB_MUST_CHECK lmb_status lmb_prune_criterion_find(const char *name, const lmb_prune_criterion **out, lmb_error *err);

/* Is x a weight whose slices make channels: a filter, not a scale or a bias? */
bool lmbi_makes_channels(const lmb_prune_view *v, const lmb_axis_member *x);
/* Add |content|, or its square, of a member's slices to the channels of the class that they belong to. */
void lmbi_score_magnitude(const lmb_prune_view *v, const lmb_axis_class *class, const lmb_axis_member *x, bool square,
                          double *out);
/* The sum over all weights that make the class's channels. E_ARG, naming the criterion, when none does. */
LMB_MUST_CHECK lmb_status lmbi_score_weights(const lmb_prune_view *v, const lmb_axis_class *class,
                                             const char *criterion, bool square, double *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
