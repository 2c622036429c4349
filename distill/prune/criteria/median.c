/* distill/prune/criteria/median.c - how far a filter is from all the others of its layer: the sum of its distances to
 * them.
 *
 * What lies near the geometric median of the filters can be said by the others; a small filter need not be the one to
 * go. Of several filters that make one channel (the branches of a residual connection) the distances are added up.
 *   source  He et al. 2019 (FPGM), arXiv:1811.00250, section 3.3, equation 6
 */
#include "distill/prune/criteria.h"

#include <math.h>

/* The slice at index i of a tensor's axis: `outer` runs of `inner` numbers. */
typedef struct slices { const float *w; int64_t n, outer, inner; } slices;

static double apart(const slices *s, int64_t i, int64_t j)
{
    double sum = 0;

    for (int64_t o = 0; o < s->outer; o++) {
        const float *a = s->w + (o * s->n + i) * s->inner, *b = s->w + (o * s->n + j) * s->inner;
        for (int64_t k = 0; k < s->inner; k++) {
            double d = (double)a[k] - (double)b[k];
            sum += d * d;
        }
    }
    return sqrt(sum);
}

/* Channel of index i within the class; -1: another class's. */
static int32_t channel_at(const lmb_prune_view *v, const lmb_axis_class *class, const lmb_axis_member *x, int64_t i)
{
    int32_t c = lmb_axis_channel(v->map, x->value, x->axis, i) - class->first;
    return c < class->channels ? c : -1;
}

static void add_distances(const lmb_prune_view *v, const lmb_axis_class *class, const lmb_axis_member *x, double *out)
{
    const lmb_value *t = &v->g->value[x->value];
    slices s = { t->data, t->shape.d[x->axis], 1, 1 };

    for (int a = 0; a < t->shape.n; a++)
        *(a < x->axis ? &s.outer : &s.inner) *= a == x->axis ? 1 : t->shape.d[a];
    for (int64_t i = 0; i < s.n; i++) {
        int32_t c = channel_at(v, class, x, i);
        for (int64_t j = 0; j < i && c >= 0; j++) {
            int32_t d = channel_at(v, class, x, j);
            if (d < 0 || d == c)
                continue;
            double far = apart(&s, i, j);
            out[c] += far;
            out[d] += far;
        }
    }
}

static lmb_status median_score(const lmb_prune_view *v, const lmb_axis_class *class, double *out, lmb_error *err)
{
    int weights = 0;

    for (int32_t c = 0; c < class->channels; c++)
        out[c] = 0;
    for (int i = 0; i < class->n_members; i++)
        if (lmbi_makes_channels(v, &class->member[i])) {
            add_distances(v, class, &class->member[i], out);
            weights++;
        }
    return weights ? LMB_OK
                   : LMB_FAIL(err, LMB_E_ARG, "criterion median: the channels of %s are made by no weights",
                              v->g->value[class->label].name);
}

extern const lmb_prune_criterion lmb_criterion_median;
const lmb_prune_criterion lmb_criterion_median = {
    "median", "distance of the channel's weights from those of the layer's other channels",
    "He et al. 2019 (FPGM), arXiv:1811.00250", false, median_score
};
