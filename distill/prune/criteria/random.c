/* distill/prune/criteria/random.c - any channel is worth as much as another: what every criterion has to beat.
 *
 * A number of the seed and the channel's number alone, so that all ranks choose the same.
 *   source  the baseline of Mittal et al. 2018, arXiv:1801.10447
 */
#include "core/base/random.h"
#include "distill/prune/criteria.h"

static lmb_status random_score(const lmb_prune_view *v, const lmb_axis_class *class, double *out, lmb_error *err)
{
    lmb_rand r = lmb_rand_at(v->seed, LMB_RAND_SELECT, 0, 0);

    (void)err;
    for (int32_t c = 0; c < class->channels; c++)
        out[c] = (double)lmb_rand_uniform(&r, (uint32_t)(class->first + c));
    return LMB_OK;
}

extern const lmb_prune_criterion lmb_criterion_random;
const lmb_prune_criterion lmb_criterion_random = { "random", "a random choice: what every criterion has to beat",
                                                   "Mittal et al. 2018, arXiv:1801.10447", false, random_score };
