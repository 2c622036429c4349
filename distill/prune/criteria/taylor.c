/* distill/prune/criteria/taylor.c - how much the loss would change, to first order, were the channel not there.
 *
 * The one criterion that looks at data: gradients of a few batches of the training part (distill/search/taylor.h).
 *   source  Molchanov et al. 2019, arXiv:1906.10771, section 3.1
 */
#include "distill/prune/criteria.h"
#include "distill/search/taylor.h"

static lmb_status taylor_score(const lmb_prune_view *v, const lmb_axis_class *class, double *out, lmb_error *err)
{
    if (!v->gradients)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "criterion taylor goes by gradients of the training data, and there are none here; use l1, l2 or median");
    return lmb_taylor_class(v->gradients, v->g, v->map, class, out, err);
}

extern const lmb_prune_criterion lmb_criterion_taylor;
const lmb_prune_criterion lmb_criterion_taylor = {
    "taylor", "change of the loss without the channel, from gradients of a few batches",
    "Molchanov et al. 2019, arXiv:1906.10771", true, taylor_score
};
