/* distill/prune/criteria.c - see criteria.h. */
#include "distill/prune/criteria.h"

#include <math.h>
#include <string.h>

#include "core/base/str.h"

extern const lmb_prune_criterion lmb_criterion_bn_scale, lmb_criterion_l1;

const lmb_prune_criterion *const lmb_prune_criteria[] = { &lmb_criterion_bn_scale, &lmb_criterion_l1, NULL };

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

void lmbi_score_magnitude(const lmb_graph *g, const lmb_axis_map *m, const lmb_axis_class *class, const lmb_axis_member *x, double *out)
{
    const lmb_value *v = &g->value[x->value];
    const float *w = v->data;
    int64_t n = v->shape.d[x->axis], outer = 1, inner = 1;

    for (int a = 0; a < x->axis; a++)
        outer *= v->shape.d[a];
    for (int a = x->axis + 1; a < v->shape.n; a++)
        inner *= v->shape.d[a];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            int32_t c = lmb_axis_channel(m, x->value, x->axis, i) - class->first;
            if (c < 0 || c >= class->channels)
                continue; /* another class's part of this axis */
            double sum = 0;
            for (int64_t k = 0; k < inner; k++)
                sum += fabs((double)w[(o * n + i) * inner + k]);
            out[c] += sum;
        }
}
