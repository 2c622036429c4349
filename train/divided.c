/* train/divided.c - what ranks divide among each other: the model's stages, the optimizer's state; whole again for who
 * asks. See trainer.h. */
#include <stdlib.h>

#include "core/base/str.h"
#include "core/base/threads.h"
#include "train/trainer_internal.h"

/* ---- dividing ---- */

lmb_status lmbi_trainer_pipelines(lmb_trainer *t, int64_t batch, lmb_error *err)
{
    t->of_one = 1;
    if (t->c.pipeline.stages > 1) {
        const char *other = t->c.mode == LMBI_FAST       ? "train.mode=fast"
                            : t->c.shard_optimizer       ? "train.shard_optimizer"
                            : t->c.reduce == LMBI_WINDOW ? "train.reduce=window"
                            : t->c.reduce == LMBI_MESSAGES && lmb_train_on_gpu(&t->c) && t->comm->size > 1
                                ? "train.reduce=messages between GPUs"
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
    t->s.weights_in_parts = t->s.in_parts && t->parts->lazy;
    for (int i = 0; i < t->s.n_slots; i++) {
        t->slot[i] = lmbi_vector(t->parts->own_count);
        if (!t->slot[i])
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what the optimizer remembers of %zu numbers",
                            t->parts->own_count);
        t->s.slot[i] = t->s.in_parts ? NULL : t->slot[i];
    }
    return LMB_OK;
}

/* Where measuring has cut the model, as text: it goes into checkpoints. */
static lmb_status write_ends(lmb_trainer *t, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;

    for (int k = 0; k < (int)t->c.pipeline.stages - 1; k++)
        lmb_str_addf(&s, "%s%d", k ? " " : "", (int)lmbi_pipeline_ends(t->pipeline)[k]);
    lmb_status st = lmb_str_check(&s, err);
    if (st != LMB_OK) {
        lmb_str_free(&s);
        return st;
    }
    free(t->s.stages);
    t->s.stages = s.text;
    return LMB_OK;
}

/* Of another number of stages they say nothing. */
static bool are_ends(const char *text, int stages)
{
    int n = text ? 1 : 0;
    for (; text && *text; text++)
        n += *text == ' ';
    return n == stages - 1;
}

static lmb_status read_ends(const char *text, int stages, int32_t *end, lmb_error *err)
{
    char *at = (char *)text;

    for (int k = 0; k < stages - 1; k++) {
        long node = strtol(at, &at, 10);
        if (node < 1 || node > INT32_MAX)
            return LMB_FAIL(err, LMB_E_FORMAT,
                            "the checkpoint's stages are '%.60s', which are not the ends of %d; use --fresh", text,
                            stages);
        end[k] = (int32_t)node;
    }
    return LMB_OK;
}

/* Sums over pipelines, of what this rank's stages train: when the flow has ended, the communicator being its own till
 * then. */
static lmb_status make_pipeline(lmb_trainer *t, lmb_error *err)
{
    size_t memory;

    LMB_TRY(lmb_train_memory(&t->c, 1, &memory, err));
    int32_t end[LMB_MOST_STAGES] = { 0 };
    bool known = are_ends(t->s.stages, (int)t->c.pipeline.stages);
    if (known && t->comm->rank == 0)
        LMB_TRY(read_ends(t->s.stages, (int)t->c.pipeline.stages, end, err));
    lmbi_pipeline_options o = { t->model,
                                &t->loss,
                                t->layout,
                                t->backends,
                                t->comm,
                                (int)t->c.pipeline.stages,
                                t->of_one,
                                t->c.shard,
                                .small_memory = memory != SIZE_MAX,
                                .timed = t->c.pipeline.cost == LMB_COST_MEASURED,
                                .end = known ? end : NULL,
                                .nccl = lmbi_gpu_nccl(t) };
    LMB_TRY(lmbi_pipeline_create(&o, &t->pipeline, err));
    if (o.timed)
        LMB_TRY(write_ends(t, err));
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
    bool shard = t->c.shard_optimizer && t->comm->size > 1 && !t->sum; /* GPUs divide it among themselves */

    if (t->c.pipeline.stages > 1)
        return make_pipeline(t, err);
    if (shard && t->c.reduce == LMBI_WINDOW)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "train.reduce is window, but with train.shard_optimizer parts of sums go by messages; use auto");
    /* statistics of all ranks travel while gradients are made: only one may use the communicator, so nothing is summed
     * ahead */
    LMB_TRY(lmbi_reducer_create(t->layout, t->comm, t->slots, t->c.sync_batch_norm ? 0 : (size_t)t->c.bucket_kb * 1024,
                                shard ? LMBI_MESSAGES : (int)t->c.reduce, 1, &t->reducer, err));
    return shard ? lmbi_parts_sharded(t->layout, t->comm, t->reducer, &t->parts, err)
                 : lmbi_parts_whole(t->layout, t->comm, &t->parts, err);
}

lmb_status lmbi_trainer_divide(lmb_trainer *t, lmb_error *err)
{
    LMB_TRY(make_sums(t, err));
    LMB_TRY(make_slots(t, err));
    lmb_trainer_drop(t);
    return LMB_OK;
}

/* ---- whole again ---- */

/* The vectors that ranks of a pipeline have in parts; unused ones are NULL. */
enum { IN_PARTS = 3 };
static void vectors_of(const lmb_trainer *t, float *v[IN_PARTS])
{
    v[0] = t->s.state;
    v[1] = t->s.ema;
    v[2] = t->s.best;
}

void lmb_trainer_lighten(const lmb_trainer *t, lmb_graph *model)
{
    for (int i = 0; i < t->layout->n && t->s.weights_in_parts; i++) {
        const lmb_segment *s = &t->layout->segment[i];
        lmb_memory_forget((void *)model->value[s->value].data, s->count * sizeof(float));
    }
}

void lmb_trainer_drop(lmb_trainer *t)
{
    float *v[IN_PARTS];

    vectors_of(t, v);
    for (int i = 0; i < IN_PARTS && t->s.weights_in_parts; i++)
        if (v[i])
            lmbi_parts_forget(t->parts, v[i]);
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

lmb_status lmbi_trainer_finish(lmb_trainer *t, lmb_error *err)
{
    LMB_TRY(lmb_trainer_together(t, err));
    return t->parts->lazy && t->s.best ? lmbi_parts_share(t->parts, t->s.best, err) : LMB_OK;
}

lmb_status lmbi_trainer_collect(lmb_trainer *t, lmb_error *err)
{
    float *v[IN_PARTS];

    vectors_of(t, v);
    if (t->s.weights_in_parts) /* rank 0 waits for all */
        lmb_watch_doing(t->watch, t->s.step, "weights of all stages", true);
    for (int i = 0; i < IN_PARTS && t->s.weights_in_parts; i++)
        if (v[i])
            LMB_TRY(lmbi_parts_collect(t->parts, v[i], err));
    return LMB_OK;
}

lmb_status lmb_trainer_gather(lmb_trainer *t, lmb_error *err)
{
    char enough = 1; /* memory on rank 0, which the others can not see */

    if (t->resident)
        LMB_TRY(lmbi_gpu_fetch(t, err));
    if (!t->s.in_parts)
        return LMB_OK;
    LMB_TRY(lmbi_trainer_collect(t, err));
    for (int i = 0; i < t->s.n_slots && t->comm->rank == 0; i++)
        enough = (t->s.slot[i] = lmbi_vector(t->n)) != NULL && enough;
    LMB_TRY(t->comm->broadcast(t->comm, &enough, 1, 0, err));
    if (!enough)
        return LMB_FAIL(err, LMB_E_NOMEM,
                        "no memory on rank 0 to put together what the optimizer remembers of %zu numbers", t->n);
    for (int i = 0; i < t->s.n_slots; i++)
        LMB_TRY(lmbi_parts_gather(t->parts, t->slot[i], t->s.slot[i], err));
    lmb_watch_doing(t->watch, t->s.step, "saving", false);
    return LMB_OK;
}

/* Rank 0 may have loaded another cut than the one that was measured when this process began. */
static lmb_status cut_as_saved(lmb_trainer *t, lmb_error *err)
{
    if (!t->pipeline || t->c.pipeline.cost != LMB_COST_MEASURED)
        return LMB_OK;
    lmbi_reducer_destroy(t->reducer);
    lmbi_pipeline_destroy(t->pipeline);
    lmbi_parts_destroy(t->parts);
    free(t->first);
    t->reducer = NULL;
    t->pipeline = NULL;
    t->parts = NULL;
    t->first = NULL;
    LMB_TRY(make_pipeline(t, err));
    for (int i = 0; i < t->s.n_slots && t->s.in_parts; i++) {
        free(t->slot[i]);
        t->slot[i] = lmbi_vector(t->parts->own_count);
        if (!t->slot[i])
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what the optimizer remembers of %zu numbers",
                            t->parts->own_count);
    }
    return lmbi_gpu_anew(t, err);
}

lmb_status lmb_trainer_scatter(lmb_trainer *t, lmb_error *err)
{
    float *v[IN_PARTS];

    LMB_TRY(cut_as_saved(t, err));
    vectors_of(t, v);
    for (int i = 0; i < IN_PARTS && t->s.weights_in_parts; i++)
        if (v[i])
            LMB_TRY(lmbi_parts_spread(t->parts, v[i], err));
    for (int i = 0; i < t->s.n_slots && t->s.in_parts; i++)
        LMB_TRY(lmbi_parts_scatter(t->parts, t->s.slot[i], t->slot[i], err));
    lmb_trainer_drop(t);
    return LMB_OK;
}

lmb_trainer_memory lmb_trainer_slots(const lmb_trainer *t)
{
    size_t each = sizeof(float) * (size_t)t->s.n_slots,
           vectors = sizeof(float) * (1 + (t->s.ema != NULL) + (t->s.best != NULL));
    size_t slots = lmbi_gpu_slots(t, each * t->parts->own_count);
    size_t here = t->s.weights_in_parts ? t->parts->own_count : t->n;
    return (lmb_trainer_memory){ each * t->n, slots, vectors * t->n, vectors * here };
}

lmb_trainer_flow lmb_trainer_pipeline(const lmb_trainer *t)
{
    lmb_trainer_flow f = { t->of_one, t->pipeline ? t->c.pipeline.stages : 0, t->c.pipeline.microbatches, 0, 0 };
    if (t->pipeline)
        lmbi_pipeline_times(t->pipeline, &f.seconds, &f.waited);
    return f;
}
