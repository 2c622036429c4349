/* distill/prune/criteria/l1.c - the sum of the absolute weights that make a channel: a filter's L1 norm.
 *
 * Where several filters make it (both branches of a residual connection, a depthwise filter), their sum.
 *   source  Li et al. 2017, arXiv:1608.08710, section 3.1; summed over a group as in Fang et al. 2023, arXiv:2301.12900
 */
#include "distill/prune/criteria.h"

static lmb_status l1_score(const lmb_prune_view *v, const lmb_axis_class *class, double *out, lmb_error *err)
{
    return lmbi_score_weights(v, class, "l1", false, out, err);
}

extern const lmb_prune_criterion lmb_criterion_l1;
const lmb_prune_criterion lmb_criterion_l1 = { "l1", "sum of the absolute weights that make the channel",
                                               "Li et al. 2017, arXiv:1608.08710", false, l1_score };
