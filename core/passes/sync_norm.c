/* core/passes/sync_norm.c - normalisation over the rows of all ranks. See rewrite.h. */
#include <string.h>

#include "core/ops/batch_norm.h"
#include "core/passes/rewrite.h"

/* Those that the training form would give statistics of their batch. */
static lmb_status sync_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    const lmb_batch_norm_attr *a = n->attr;
    lmb_builder *b = &r->b;
    lmb_vid y[3];

    if (strcmp(n->op->name, "BatchNormalization") != 0 || a->training_mode || r->old->value[n->in[1]].frozen ||
        r->old->value[n->in[3]].role != LMB_ROLE_STATISTIC)
        return LMB_OK;
    lmb_emit_n(b, n->op->name, n->name, in, 5,
               LMB_ATTRS(LMB_AREAL("epsilon", a->epsilon), LMB_AREAL("momentum", a->momentum),
                         LMB_AINT("training_mode", LMB_NORM_RANKS)),
               y, 3);
    LMB_TRY(lmb_builder_status(b));
    b->g->value[in[3]].next = y[1];
    b->g->value[in[4]].next = y[2];
    LMB_TRY(lmb_graph_rename(b->g, y[0], r->old->value[n->out[0]].name, err));
    out[0] = y[0];
    *done = true;
    return LMB_OK;
}

lmb_status lmb_pass_sync_norm(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = sync_node };
    return lmb_rewrite_run(&r, g, out, NULL, err);
}
