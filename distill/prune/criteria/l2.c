/* distill/prune/criteria/l2.c - the length of the weights that make a channel, taken as one vector.
 *
 * Against the sum of absolute weights, a filter of a few large weights counts for more.
 *   source  He et al. 2018 (soft filter pruning), arXiv:1808.06866, equation 2, p = 2
 */
#include "distill/prune/criteria.h"

#include <math.h>

static lmb_status l2_score(const lmb_prune_view *v, const lmb_axis_class *class, double *out, lmb_error *err)
{
    LMB_TRY(lmbi_score_weights(v, class, "l2", true, out, err));
    for (int32_t c = 0; c < class->channels; c++)
        out[c] = sqrt(out[c]);
    return LMB_OK;
}

extern const lmb_prune_criterion lmb_criterion_l2;
const lmb_prune_criterion lmb_criterion_l2 = { "l2", "length of the weights that make the channel, as one vector",
                                               "He et al. 2018, arXiv:1808.06866", false, l2_score };
