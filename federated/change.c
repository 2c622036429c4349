/* federated/change.c - see change.h. */
#include "federated/change.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"

lmb_status lmb_change_open(const lmb_tree *tree, const lmb_aggregator_limits *limits, const lmb_aggregator **out,
                           void **config, void **state, lmb_error *err)
{
    static const lmb_field none[] = { LMB_FIELD_END };
    const char *name = "fedavg";

    if (tree)
        LMB_TRY(lmb_tree_name(tree, &name, err));
    LMB_TRY(lmb_aggregator_find(name, out, err));
    *config = calloc(1, (*out)->config_bytes + 1);
    if (!*config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the aggregator");
    LMB_TRY(lmb_fields_bind((*out)->fields ? (*out)->fields : none, tree && tree->kind == LMB_TREE_MAP ? tree : NULL,
                            *config, err));
    return (*out)->create(*config, limits, state, err);
}

lmb_status lmb_change_apply(float *model, float *delta, size_t n, const lmb_fed_segment *segments, size_t n_segments,
                            double rate, lmb_error *err)
{
    for (size_t k = 0; k < n_segments; k++)
        if (!segments[k].aggregate)
            memset(delta + segments[k].at, 0, segments[k].count * sizeof *delta);
    for (size_t i = 0; i < n; i++) {
        model[i] += (float)(rate * (double)delta[i]);
        if (!isfinite(model[i]))
            return LMB_FAIL(err, LMB_E_NUMERIC,
                            "value %zu of the model is no longer finite; lower server_lr or max_abs", i);
    }
    return LMB_OK;
}
