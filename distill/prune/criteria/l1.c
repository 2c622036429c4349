/* distill/prune/criteria/l1.c - the sum of the absolute weights that make a channel: a filter's L1 norm.
 *
 * Where several filters make it (both branches of a residual connection, a depthwise filter), their sum.
 *   source  Li et al. 2017, arXiv:1608.08710, section 3.1; summed over a group as in Fang et al. 2023, arXiv:2301.12900
 */
#include "distill/prune/criteria.h"

static lmb_status l1_score(const lmb_graph *g, const lmb_axis_map *m, const lmb_axis_class *class, double *out, lmb_error *err)
{
    int weights = 0;

    for (int32_t c = 0; c < class->channels; c++)
        out[c] = 0;
    for (int i = 0; i < class->n_members; i++) {
        const lmb_axis_member *x = &class->member[i];
        if (!x->makes || g->value[x->value].shape.n < 2)
            continue; /* scales and biases are not weights */
        lmbi_score_magnitude(g, m, class, x, out);
        weights++;
    }
    if (!weights)
        return LMB_FAIL(err, LMB_E_ARG, "criterion l1: the channels of %s are made by no weights", g->value[class->label].name);
    return LMB_OK;
}

extern const lmb_prune_criterion lmb_criterion_l1;
const lmb_prune_criterion lmb_criterion_l1 = { "l1", "sum of the absolute weights that make the channel", "Li et al. 2017, arXiv:1608.08710",
                                               l1_score };
