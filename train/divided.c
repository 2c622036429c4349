/* train/divided.c - what ranks divide among each other: the model's stages, the optimizer's state; whole again for who
 * asks. See trainer.h. */
#include <stdlib.h>

#include "train/trainer_internal.h"

/* ---- dividing ---- */

lmb_status lmbi_trainer_pipelines(lmb_trainer *t, int64_t batch, lmb_error *err)
{
    t->of_one = 1;
    if (t->c.pipeline.stages > 1) {
        const char *other = t->c.mode == LMBI_FAST       ? "train.mode=fast"
                            : t->c.shard_optimizer       ? "train.shard_optimizer"
                            : t->c.reduce == LMBI_WINDOW ? "train.reduce=window"
                            : lmb_train_on_gpu(&t->c)    ? "train.backend=cuda"
                                                         : NULL;
        if (other)
            return LMB_FAIL(err, LMB_E_ARG, "train.pipeline does not go with %s; leave one out", other);
        LMB_TRY(lmbi_pipeline_ranks(&t->c.pipeline, t->comm->size, &t->of_one, err));
        t->c.shard = (batch + t->c.pipeline.microbatches - 1) / t->c.pipeline.microbatches;
    }
    t->replica = t->comm->rank / t->of_one;
    t->replicas = t->comm->size / t->of_one;
    return LMB_OK;
}

/* What the optimizer remembers: of the numbers that this rank steps. */
static lmb_status make_slots(lmb_trainer *t, lmb_error *err)
{
    t->s.n_slots = t->optimizer->n_slots;
    t->s.in_parts = t->parts->groups > 1;
    for (int i = 0; i < t->s.n_slots; i++) {
        t->slot[i] = lmbi_vector(t->parts->own_count);
        if (!t->slot[i])
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what the optimizer remembers of %zu numbers",
                            t->parts->own_count);
        t->s.slot[i] = t->s.in_parts ? NULL : t->slot[i];
    }
    return LMB_OK;
}

/* Sums over pipelines, of what this rank's stages train: when the flow has ended, the communicator being its own till
 * then. */
static lmb_status make_pipeline(lmb_trainer *t, lmb_error *err)
{
    size_t memory;

    LMB_TRY(lmb_train_memory(&t->c, 1, &memory, err));
    lmbi_pipeline_options o = { t->model,    &t->loss,   t->layout,
                                t->backends, t->comm,    (int)t->c.pipeline.stages,
                                t->of_one,   t->c.shard, .small_memory = memory != SIZE_MAX };
    LMB_TRY(lmbi_pipeline_create(&o, &t->pipeline, err));
    t->first = calloc((size_t)t->slots + 1, sizeof *t->first);
    if (!t->first)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d microbatches", t->slots);
    LMB_TRY(lmbi_reducer_create(lmbi_pipeline_layout(t->pipeline), t->comm, t->slots, 0, LMBI_MESSAGES, t->of_one,
                                &t->reducer, err));
    return lmbi_parts_stages(t->layout, t->comm, t->of_one, lmbi_pipeline_owners(t->pipeline),
                             lmbi_pipeline_places(t->pipeline), t->of_one - 1, &t->parts, err);
}

/* The thread that adds up, and who steps what. */
static lmb_status make_sums(lmb_trainer *t, lmb_error *err)
{
    bool shard = t->c.shard_optimizer && t->comm->size > 1;

    if (t->c.pipeline.stages > 1)
        return make_pipeline(t, err);
    if (shard && t->c.reduce == LMBI_WINDOW)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "train.reduce is window, but with train.shard_optimizer parts of sums go by messages; use auto");
    LMB_TRY(lmbi_reducer_create(t->layout, t->comm, t->slots, (size_t)t->c.bucket_kb * 1024,
                                shard ? LMBI_MESSAGES : (int)t->c.reduce, 1, &t->reducer, err));
    return shard ? lmbi_parts_sharded(t->layout, t->comm, t->reducer, &t->parts, err)
                 : lmbi_parts_whole(t->layout, t->comm, &t->parts, err);
}

lmb_status lmbi_trainer_divide(lmb_trainer *t, lmb_error *err)
{
    LMB_TRY(make_sums(t, err));
    return make_slots(t, err);
}

/* ---- whole again ---- */

void lmb_trainer_drop(lmb_trainer *t)
{
    for (int i = 0; i < t->s.n_slots && t->s.in_parts; i++) {
        free(t->s.slot[i]);
        t->s.slot[i] = NULL;
    }
}

lmb_status lmb_trainer_together(lmb_trainer *t, lmb_error *err)
{
    if (!t->parts->lazy)
        return LMB_OK;
    LMB_TRY(lmbi_parts_share(t->parts, t->s.state, err));
    return t->s.ema ? lmbi_parts_share(t->parts, t->s.ema, err) : LMB_OK;
}

lmb_status lmb_trainer_gather(lmb_trainer *t, lmb_error *err)
{
    char enough = 1; /* memory on rank 0, which the others can not see */

    if (t->resident)
        LMB_TRY(lmbi_gpu_fetch(t, err));
    if (!t->s.in_parts)
        return LMB_OK;
    LMB_TRY(lmb_trainer_together(t, err));
    for (int i = 0; i < t->s.n_slots && t->comm->rank == 0; i++)
        enough = (t->s.slot[i] = lmbi_vector(t->n)) != NULL && enough;
    LMB_TRY(t->comm->broadcast(t->comm, &enough, 1, 0, err));
    if (!enough)
        return LMB_FAIL(err, LMB_E_NOMEM,
                        "no memory on rank 0 to put together what the optimizer remembers of %zu numbers", t->n);
    for (int i = 0; i < t->s.n_slots; i++)
        LMB_TRY(lmbi_parts_gather(t->parts, t->slot[i], t->s.slot[i], err));
    return LMB_OK;
}

lmb_status lmb_trainer_scatter(lmb_trainer *t, lmb_error *err)
{
    for (int i = 0; i < t->s.n_slots && t->s.in_parts; i++)
        LMB_TRY(lmbi_parts_scatter(t->parts, t->s.slot[i], t->slot[i], err));
    lmb_trainer_drop(t);
    return LMB_OK;
}

lmb_trainer_memory lmb_trainer_slots(const lmb_trainer *t)
{
    size_t each = sizeof(float) * (size_t)t->s.n_slots;
    return (lmb_trainer_memory){ each * t->n, each * t->parts->own_count };
}

lmb_trainer_flow lmb_trainer_pipeline(const lmb_trainer *t)
{
    lmb_trainer_flow f = { t->of_one, t->pipeline ? t->c.pipeline.stages : 0, t->c.pipeline.microbatches, 0, 0 };
    if (t->pipeline)
        lmbi_pipeline_times(t->pipeline, &f.seconds, &f.waited);
    return f;
}
