/* train/describe.c - what a training keeps on each rank, before any rank is started: for `limbeck inspect`. See
 * trainer.h. */
#include "core/base/config.h"
#include "core/base/str.h"
#include "train/trainer_internal.h"

static lmb_status slots_of(const lmb_train_config *c, int *slots, const char **name, lmb_error *err)
{
    *name = "sgd";
    if (c->optimizer)
        LMB_TRY(lmb_tree_name(c->optimizer, name, err));
    const lmb_optimizer *o = lmb_optimizer_find(*name);
    if (!o)
        return lmb_tree_fail(c->optimizer, err, LMB_E_ARG,
                             "there is no optimizer '%s'; `limbeck list optimizers` shows all", *name);
    *slots = o->n_slots;
    return LMB_OK;
}

lmb_status lmb_train_describe(const lmb_train_config *c, const lmb_graph *model, const lmb_loss *loss, int64_t samples,
                              int ranks, lmb_str *out, lmb_error *err)
{
    lmb_state_layout *l = NULL;
    const char *name;
    int slots = 0;

    LMB_TRY(slots_of(c, &slots, &name, err));
    LMB_TRY(lmb_state_layout_create(model, &l, err));
    double bytes = (double)slots * (double)l->count * sizeof(float);
    lmb_str_addf(out, "%s remembers %.1f kB", name, bytes / 1e3);
    if (c->shard_optimizer && ranks > 1)
        lmb_str_addf(out, ", about %.1f kB on each of %d %s (train.shard_optimizer)", bytes / 1e3 / ranks, ranks,
                     lmb_train_on_gpu(c) ? "GPUs" : "ranks");
    lmb_str_addf(out, "\n");
    lmb_status st = lmb_str_check(out, err);
    if (st == LMB_OK && c->pipeline.stages > 1)
        st = lmbi_pipeline_describe(c, model, loss, l, lmb_train_rows(c, samples, ranks), slots, ranks, out, err);
    lmb_state_layout_destroy(l);
    return st;
}
