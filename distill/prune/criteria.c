/* distill/prune/criteria.c - see criteria.h. */
#include "distill/prune/criteria.h"

#include <math.h>
#include <string.h>

#include "core/base/str.h"

#define CRITERIA(X) X(bn_scale) X(l1) X(l2) X(median) X(taylor) X(random)
#define X(name) extern const lmb_prune_criterion lmb_criterion_##name;
CRITERIA(X)
#undef X
#define X(name) &lmb_criterion_##name,
const lmb_prune_criterion *const lmb_prune_criteria[] = { CRITERIA(X) NULL };
#undef X

lmb_status lmb_prune_criterion_find(const char *name, const lmb_prune_criterion **out, lmb_error *err)
{
    lmb_str names = LMB_STR_INIT;

    for (int i = 0; lmb_prune_criteria[i]; i++) {
        if (strcmp(lmb_prune_criteria[i]->name, name) == 0) {
            *out = lmb_prune_criteria[i];
            lmb_str_free(&names);
            return LMB_OK;
        }
        lmb_str_addf(&names, "%s%s", i ? ", " : "", lmb_prune_criteria[i]->name);
    }
    lmb_status st = LMB_FAIL(err, LMB_E_ARG, "there is no criterion '%s' to prune by; there are %s", name, names.text);
    lmb_str_free(&names);
    return st;
}

bool lmbi_makes_channels(const lmb_prune_view *v, const lmb_axis_member *x)
{
    return x->makes && v->g->value[x->value].shape.n >= 2;
}

void lmbi_score_magnitude(const lmb_prune_view *view, const lmb_axis_class *class, const lmb_axis_member *x,
                          bool square, double *out)
{
    const lmb_value *v = &view->g->value[x->value];
    const float *w = v->data;
    int64_t n = v->shape.d[x->axis], outer = 1, inner = 1;

    for (int a = 0; a < x->axis; a++)
        outer *= v->shape.d[a];
    for (int a = x->axis + 1; a < v->shape.n; a++)
        inner *= v->shape.d[a];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            int32_t c = lmb_axis_channel(view->map, x->value, x->axis, i) - class->first;
            if (c < 0 || c >= class->channels)
                continue; /* another class's part of this axis */
            double sum = 0;
            for (int64_t k = 0; k < inner; k++) {
                double u = fabs((double)w[(o * n + i) * inner + k]);
                sum += square ? u * u : u;
            }
            out[c] += sum;
        }
}

lmb_status lmbi_score_weights(const lmb_prune_view *v, const lmb_axis_class *class, const char *criterion, bool square,
                              double *out, lmb_error *err)
{
    int weights = 0;

    for (int32_t c = 0; c < class->channels; c++)
        out[c] = 0;
    for (int i = 0; i < class->n_members; i++)
        if (lmbi_makes_channels(v, &class->member[i])) {
            lmbi_score_magnitude(v, class, &class->member[i], square, out);
            weights++;
        }
    return weights ? LMB_OK
                   : LMB_FAIL(err, LMB_E_ARG, "criterion %s: the channels of %s are made by no weights", criterion,
                              v->g->value[class->label].name);
}
