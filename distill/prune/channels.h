/* distill/prune/channels.h - channels are taken away, and the model is smaller for it.
 *
 * Idea: the channels of all classes (axes.h) are put in one order by a criterion (criteria.h), each divided by the mean
 * of its class, because filters of different layers are of different sizes. The worst go until the target is met: a
 * share of the channels, of the multiply-accumulates or of the parameters, counted on the graph that comes out. Then
 * every weight, statistic and constant is cut along its axes. What is left answers as the old model does with the same
 * channels held at zero.
 *
 *   source   a global order: Liu et al. 2017 (Network Slimming), arXiv:1708.06519; division by the class's mean and
 *            groups: Fang et al. 2023 (DepGraph), arXiv:2301.12900
 */
#ifndef LMB_DISTILL_PRUNE_CHANNELS_H
#define LMB_DISTILL_PRUNE_CHANNELS_H

#include "core/base/field.h"
#include "distill/prune/axes.h"
#include "distill/prune/lineage.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_prune_channels {
    const char *criterion;
    double keep, macs, parameters; /* exactly one is given: the share of `whole` that may be left */
    int64_t scope, min_channels, round_to;
    int64_t steps; /* the caller's: lmb_prune_step(c, 1) to lmb_prune_step(c, steps), with training after each */
    bool carry;    /* the caller's: each training begins with what the optimizer remembers (carry.h) */
    int64_t seed, batches;
    const struct lmb_taylor *gradients; /* for a criterion that needs them */
    const lmb_graph *whole; /* what the target is a share of, where g is what earlier steps have left of it; NULL: g */
} lmb_prune_channels;
enum { LMB_SCOPE_GLOBAL, LMB_SCOPE_LAYER };
extern const char *const lmb_prune_scopes[];
extern const lmb_field lmb_prune_channel_fields[];

/*   g        in inference form (BatchNormalization as trained); state holds its content
 *   out      the smaller graph; names are those of g. One that meets its target is copied
 *   lineage  may be NULL; of g's state to that of *out
 *   errors   E_ARG: no target or several, a target that the floors do not allow, a criterion that has nothing to go by;
 *            E_UNSUPPORTED: no channel of the graph can be taken away, with the reasons; E_NUMERIC: weights that are
 *            not finite */
LMB_MUST_CHECK lmb_status lmb_pass_prune_channels(const lmb_graph *g, const lmb_prune_channels *c, lmb_graph **out,
                                                  lmb_lineage **lineage, lmb_error *err);

/* Does the criterion need gradients? They are then to be of the graph that is pruned (distill/search/taylor.h). E_ARG:
 * no such criterion. */
LMB_MUST_CHECK lmb_status lmb_prune_needs_gradients(const lmb_prune_channels *c, bool *out, lmb_error *err);
/* The target of step `step`, 1 .. c->steps, as a share of the model before any: equal ratios, c's own at last. What one
 * step takes away beyond its target, by round_to or min_channels, the next need not. */
lmb_prune_channels lmb_prune_step(const lmb_prune_channels *c, int64_t step);

/* The channels of each prunable class by what they are worth, worst first: order[map->n_channels], at class->first
 * each. E_NUMERIC where that is no finite number. */
LMB_MUST_CHECK lmb_status lmb_prune_order(const lmb_graph *g, const lmb_axis_map *map, const lmb_prune_channels *c,
                                          int32_t *order, lmb_error *err);

/* Is there a class that channels can be taken from? E_UNSUPPORTED with the reasons. */
LMB_MUST_CHECK lmb_status lmb_prune_check_any(const lmb_graph *g, const lmb_axis_map *map, lmb_error *err);

/* Which channels are left, keep[map->n_channels], as a graph: the second half of the pass. */
LMB_MUST_CHECK lmb_status lmb_pass_shrink(const lmb_graph *g, const lmb_axis_map *map, const bool *keep,
                                          lmb_graph **out, lmb_lineage **lineage, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
