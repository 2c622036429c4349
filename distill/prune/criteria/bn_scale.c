/* distill/prune/criteria/bn_scale.c - |gamma|: how much BatchNormalization lets a channel count.
 *
 * A channel that passes several BatchNormalizations (the branches of a residual connection) gets their mean.
 *   source  Liu et al. 2017 (Network Slimming), arXiv:1708.06519, section 3
 */
#include <string.h>

#include "distill/prune/criteria.h"

static bool is_scale(const lmb_graph *g, lmb_vid v)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (strcmp(g->node[i].op->name, "BatchNormalization") == 0 && g->node[i].in[1] == v)
            return true;
    return false;
}

static lmb_status scale_score(const lmb_prune_view *v, const lmb_axis_class *class, double *out, lmb_error *err)
{
    int scales = 0;

    for (int32_t c = 0; c < class->channels; c++)
        out[c] = 0;
    for (int i = 0; i < class->n_members; i++) {
        const lmb_axis_member *x = &class->member[i];
        if (!x->makes || !is_scale(v->g, x->value))
            continue;
        lmbi_score_magnitude(v, class, x, false, out);
        scales++;
    }
    if (!scales)
        return LMB_FAIL(err, LMB_E_ARG, "criterion bn_scale: no BatchNormalization follows %s; use criterion l1",
                        v->g->value[class->label].name);
    for (int32_t c = 0; c < class->channels; c++)
        out[c] /= scales;
    return LMB_OK;
}

extern const lmb_prune_criterion lmb_criterion_bn_scale;
const lmb_prune_criterion lmb_criterion_bn_scale = { "bn_scale", "|scale| of the BatchNormalization behind the channel",
                                                     "Liu et al. 2017, arXiv:1708.06519", false, scale_score };
