/* train/gpu.c - a trainer's steps on a GPU: the backend is the GPU's, and where that is possible the steps stay there
 * (resident.h). Where it is not, weights travel in every step, as the rest of the trainer does not know, and a
 * sentence says why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cuda/device.h"
#include "train/device_evaluate.h"
#include "train/device_stages.h"
#include "train/gpu_pick.h"
#include "train/resident.h"
#include "train/trainer_internal.h"

/* Do all ranks have the module? Nobody may be waited for who has none. */
static lmb_status all_have(lmb_comm *c, bool mine, bool *all, lmb_error *err)
{
    char have = mine, *theirs = malloc((size_t)c->size);
    lmb_status st = theirs ? c->gather_all(c, &have, theirs, 1, err)
                           : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d ranks", c->size);

    *all = true;
    for (int r = 0; r < c->size && st == LMB_OK; r++)
        *all = *all && theirs[r];
    free(theirs);
    return st;
}

/* NCCL between the GPUs of several ranks; it speaks before the noticeboard (comm/watch.h) does. */
static lmb_status open_sum(lmb_trainer *t, int index, bool alone, lmb_error *err)
{
    const lmbi_device_nccl_options o = { .nccl = { .device = index,
                                                   .limit_s = 0.8 * t->c.stall_s,
                                                   .fixed_order = t->c.mode == LMBI_DETERMINISTIC },
                                         .stream = t->backends[0]->device->stream,
                                         .narrow = t->c.reduce_type == LMBI_SUMS_BF16,
                                         .sharded = t->c.shard_optimizer };
    const lmb_nccl_api *api = NULL;
    lmb_error why = LMB_ERROR_INIT;
    bool all, stages = t->c.pipeline.stages > 1;
    int of_one = 1;

    if (stages)
        LMB_TRY(lmbi_pipeline_ranks(&t->c.pipeline, t->comm->size, &of_one, err));
    if (t->comm->size == 1 || t->c.reduce == LMBI_WINDOW || t->c.reduce == LMBI_MESSAGES)
        return LMB_OK;
    if (!alone)
        (void)LMB_FAIL(&why, LMB_E_UNSUPPORTED, "ranks share GPUs (train.share_gpu), and NCCL sums between GPUs");
    LMB_TRY(all_have(t->comm, alone && lmb_nccl_load(&api, &why) == LMB_OK, &all, err));
    if (all && stages)
        return lmbi_device_stages_open(t->comm, api, &o, of_one, &t->sum, err);
    if (all)
        return lmbi_device_nccl_open(t->comm, api, &o, &t->sum, err);
    if (stages)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "stages on several GPUs send each other their results by NCCL: %s",
                        api ? "another rank has no NCCL module" : why.msg);
    if (t->c.reduce == LMBI_NCCL || t->c.reduce_type != LMBI_SUMS_F32)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "GPUs of several ranks can not sum: %s",
                        api ? "another rank has no NCCL module" : why.msg);
    snprintf(t->no_sum, sizeof t->no_sum, "several ranks sum their gradients on the host, as %s",
             api ? "another rank has no NCCL module" : why.msg);
    return LMB_OK;
}

lmb_status lmbi_trainer_gpu(lmb_trainer *t, lmb_error *err)
{
    static const lmb_cuda_precision precision[] = { [LMB_TRAIN_F32] = LMB_CUDA_F32_EXACT,
                                                    [LMB_TRAIN_BF16] = LMB_CUDA_BF16_MAPS,
                                                    [LMB_TRAIN_TF32] = LMB_CUDA_TF32_PRODUCTS };

    int index;
    bool alone;

    LMB_TRY(lmb_gpu_pick(t->comm, t->c.share_gpu, &index, &alone, err));
    LMB_TRY(lmb_gpu_open(index, &t->gpu, err));
    t->backends[0] = lmb_gpu_backend(t->gpu, precision[t->c.precision]);
    t->backends[1] = NULL;
    return open_sum(t, index, alone, err);
}

void lmbi_trainer_gpu_end(lmb_trainer *t) { lmb_gpu_close(t->gpu); }

/* Why steps can not stay on the GPU, or NULL. */
static const char *obstacle(const lmb_trainer *t)
{
    return t->comm->size == 1 || t->sum ? NULL
           : t->no_sum[0]               ? t->no_sum
                                        : "several ranks sum their gradients on the host";
}

/* Samples of a full batch; of these the rows of a full shard. */
static int64_t sizes(const lmb_trainer *t, int64_t *rows)
{
    int64_t full = t->c.batch < t->train->n ? t->c.batch : t->train->n, lo, hi;

    lmbi_shard_range(t, full, 0, &lo, &hi);
    *rows = hi - lo;
    return full;
}

/* Why images are changed on the processor, or NULL. */
static const char *no_kernel(const lmb_trainer *t)
{
    const lmb_shape *s = &t->train->shape;

    if (t->train->dtype != LMB_U8 || s->n != 3)
        return "samples are no images of bytes: scale and jitter of signals have no kernel there";
    return s->d[1] > LMB_PICTURE_SIDE || s->d[2] > LMB_PICTURE_SIDE ? "images are too large for its kernel" : NULL;
}

static lmb_status choose_pictures(lmb_trainer *t, lmb_error *err)
{
    const char *why = no_kernel(t);

    if (t->c.augment_on == LMB_CHANGE_GPU && why)
        return LMB_FAIL(err, LMB_E_ARG, "train.augment_on is gpu, but %s; set train.augment_on=auto", why);
    t->pictures = t->c.augment_on != LMB_CHANGE_CPU && !why;
    /* Where nothing is changed, there is nothing to say. */
    if (t->c.augment_on == LMB_CHANGE_AUTO && why && lmb_augment_any(&t->c.augment))
        snprintf(t->besides, sizeof t->besides, "samples are changed on the processor, as %s", why);
    return LMB_OK;
}

static void in_stages(lmb_trainer *t, lmbi_resident_options *o)
{
    o->pipeline = t->pipeline;
    o->layout = lmbi_pipeline_layout(t->pipeline);
    o->offset = lmbi_pipeline_offsets(t->pipeline);
    if (!lmbi_pipeline_reads_x(t->pipeline)) {
        o->numbers = 0;
        o->pictures = (lmb_shape){ 0 };
    }
    if (t->sum)
        lmbi_device_stages_owners(t->sum, t->layout, lmbi_pipeline_owners(t->pipeline));
}

static lmb_status make(lmb_trainer *t, lmb_error *err)
{
    int64_t rows, full = sizes(t, &rows);
    const char *why = obstacle(t);

    if (why)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s", why);
    if (!t->first)
        t->first = calloc((size_t)t->slots + 1, sizeof *t->first);
    if (!t->first)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d shards", t->slots);
    LMB_TRY(choose_pictures(t, err));
    lmbi_resident_options o = { .device = t->backends[0]->device,
                                .program = t->worker[0].program,
                                .layout = t->layout,
                                .optimizer = t->optimizer,
                                .optimizer_config = t->optimizer_config,
                                .sum = t->sum,
                                .bucket_bytes = (size_t)t->c.bucket_kb * 1024,
                                .shards = t->slots,
                                .rows = rows,
                                .numbers = lmb_shape_count(&t->train->shape),
                                .full = full,
                                .pictures = t->pictures ? t->train->shape : (lmb_shape){ 0 },
                                .operations = t->c.augment.policy != LMB_POLICY_NONE,
                                .clip = t->c.clip,
                                .loss_scale = t->c.loss_scale,
                                .sam = t->c.sam,
                                .ema = t->c.ema > 0,
                                .graph = (int)t->c.graph,
                                .limit_s = t->c.stall_s };
    if (t->pipeline)
        in_stages(t, &o);
    return lmbi_resident_create(&o, &t->resident, err);
}

lmb_status lmbi_gpu_create(lmb_trainer *t, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;

    if (!t->gpu)
        return LMB_OK;
    lmb_status st = make(t, &why);
    t->s.needs_all = st == LMB_OK && t->sum && t->c.shard_optimizer;
    if (st == LMB_OK)
        return LMB_OK;
    if (t->pipeline) /* the trainer's own way is for the host's memory */
        return LMB_FAIL(err, st, "stages of a pipeline can not stay on the GPU: %s", why.msg);
    t->pictures = false;
    snprintf(t->remark, sizeof t->remark, "weights travel to the GPU and back in every step: %s", why.msg);
    const char *asked = t->c.graph == LMB_GRAPH_ON          ? "train.graph is on, but "
                        : t->c.augment_on == LMB_CHANGE_GPU ? "train.augment_on is gpu, but "
                                                            : NULL;
    if (st != LMB_E_UNSUPPORTED || asked)
        return LMB_FAIL(err, st, "%s%s", st == LMB_E_UNSUPPORTED ? asked : "",
                        st == LMB_E_UNSUPPORTED ? t->remark : why.msg);
    return LMB_OK;
}

void lmbi_gpu_watch(lmb_trainer *t)
{
    if (t->sum && t->pipeline)
        lmbi_device_stages_watch(t->sum, t->watch);
    else if (t->sum)
        lmbi_device_nccl_watch(t->sum, t->watch);
}

size_t lmbi_gpu_slots(const lmb_trainer *t, size_t host)
{
    return t->resident && t->s.needs_all ? lmbi_resident_slots(t->resident) : host;
}

lmb_nccl *lmbi_gpu_nccl(const lmb_trainer *t)
{
    return t->sum && t->c.pipeline.stages > 1 ? lmbi_device_stages_nccl(t->sum) : NULL;
}

lmb_status lmbi_gpu_anew(lmb_trainer *t, lmb_error *err)
{
    lmbi_evaluator_destroy(t->evaluator);
    t->evaluator = NULL;
    lmbi_resident_destroy(t->resident);
    t->resident = NULL;
    return lmbi_gpu_create(t, err);
}

lmb_status lmbi_gpu_again(lmb_trainer *t, lmb_error *err)
{
    int64_t rows, full = sizes(t, &rows);

    t->away = false;
    if (!t->resident || lmbi_resident_again(t->resident, rows, full))
        return LMB_OK;
    return lmbi_gpu_anew(t, err);
}

void lmbi_gpu_destroy(lmb_trainer *t)
{
    lmbi_evaluator_destroy(t->evaluator);
    t->evaluator = NULL;
    lmbi_resident_destroy(t->resident);
    if (t->pipeline)
        lmbi_pipeline_leave(t->pipeline);
    if (t->sum)
        t->sum->close(t->sum);
    t->sum = NULL;
}

static lmbi_resident_vectors vectors_of(const lmb_trainer *t)
{
    lmbi_resident_vectors v = { .state = t->s.state,
                                .ema = t->s.ema,
                                .anchor = t->terms.anchor,
                                .shift = t->terms.shift,
                                .loss = t->s.loss_sum,
                                .correct = t->s.correct };
    for (int i = 0; i < t->s.n_slots; i++)
        v.slot[i] = t->slot[i];
    return v;
}

lmb_status lmbi_gpu_send(lmb_trainer *t, lmb_error *err)
{
    const lmbi_resident_vectors v = vectors_of(t);

    LMB_TRY(lmbi_resident_send(t->resident, &v, err));
    t->away = true;
    return LMB_OK;
}

void lmbi_gpu_remark(lmb_trainer *t)
{
    const char *steps = lmbi_resident_remark(t->resident);
    if (*steps || *t->besides)
        snprintf(t->remark, sizeof t->remark, "%s%s%s", steps, *steps && *t->besides ? "; " : "", t->besides);
}

lmb_status lmbi_gpu_fetch(lmb_trainer *t, lmb_error *err)
{
    lmbi_resident_vectors v = vectors_of(t);

    if (!t->away)
        return LMB_OK;
    lmbi_gpu_remark(t);
    lmb_status st = lmbi_resident_fetch(t->resident, &v, err);
    t->s.loss_sum = v.loss;
    t->s.correct = v.correct;
    return st;
}

lmb_status lmbi_gpu_look(lmb_trainer *t, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;
    lmb_status st = lmbi_resident_look(t->resident, &t->s.loss_sum, &t->s.correct, &why);

    if (st == LMB_E_NUMERIC) /* with the weights before it, as on the processor; and it says so again */
        return lmbi_gpu_fetch(t, err);
    return st == LMB_OK ? LMB_OK : LMB_FAIL(err, st, "%s", why.msg);
}

lmb_status lmbi_gpu_batch(lmb_trainer *t, const lmb_batch *b, int filled, lmb_error *err)
{
    double rate = lmbi_trainer_rate(t);
    lmb_rank_sums sums;
    lmbi_resident_batch s = { .total = b->total,
                              .shown = t->s.epoch * t->train->n + t->s.seen,
                              .row = b->lo,
                              .shards = filled,
                              .first = t->first,
                              .share = t->share,
                              .x = b->x,
                              .pixels = b->x_u8,
                              .change = b->change,
                              .y = b->y,
                              .sample = b->sample,
                              .seed = (uint64_t)t->c.seed,
                              .epoch = (uint32_t)t->s.epoch,
                              .ranks = lmbi_sync_norm_sums(t, t->share[0], &sums),
                              .even = b->total % t->slots_all == 0,
                              .step = t->s.step,
                              .steps_before = t->s.steps_before,
                              .rate = rate,
                              .keep = lmbi_trainer_keep(t),
                              .pull = t->terms.pull };

    for (int i = 0; i < filled; i++) {
        int64_t lo, hi;
        lmbi_shard_range(t, b->total, (int64_t)t->replica * t->slots + i, &lo, &hi);
        t->first[i] = lo - b->lo;
        t->first[i + 1] = hi - b->lo;
    }
    LMB_TRY(lmbi_resident_step(t->resident, &s, err));
    t->s.seen += b->total;
    lmbi_trainer_stepped(t, rate);
    return LMB_OK;
}
