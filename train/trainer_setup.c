/* train/trainer_setup.c - making a trainer and ending it. See trainer.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "train/trainer_internal.h"

/* Of a shard; with more, the product costs more than moving what it is a product of saves. */
enum { MOST_FACTOR_ROWS = 128 };

static lmb_status pick_optimizer(lmb_trainer *t, lmb_error *err)
{
    const char *name = "sgd";
    if (t->c.optimizer)
        LMB_TRY(lmb_tree_name(t->c.optimizer, &name, err));
    t->optimizer = lmb_optimizer_find(name);
    if (!t->optimizer)
        return lmb_tree_fail(t->c.optimizer, err, LMB_E_ARG,
                             "there is no optimizer '%s'; `limbeck list optimizers` shows all", name);
    t->s.optimizer = t->optimizer->name;
    t->optimizer_config = calloc(1, t->optimizer->config_size + 1);
    if (!t->optimizer_config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for an optimizer");
    LMB_TRY(lmb_fields_bind(t->optimizer->fields, t->c.optimizer, t->optimizer_config, err));
    name = "constant";
    if (t->c.schedule)
        LMB_TRY(lmb_tree_name(t->c.schedule, &name, err));
    t->schedule = lmb_schedule_find(name);
    if (!t->schedule)
        return lmb_tree_fail(t->c.schedule, err, LMB_E_ARG,
                             "there is no schedule '%s'; `limbeck list schedules` shows all", name);
    t->schedule_config = calloc(1, t->schedule->config_size + 1);
    if (!t->schedule_config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a schedule");
    return lmb_fields_bind(t->schedule->fields, t->c.schedule, t->schedule_config, err);
}

lmb_status lmb_train_ranks_share(const lmb_train_config *c, int64_t samples, int ranks, int64_t *slots, lmb_error *err)
{
    int64_t batch = c->batch < samples ? c->batch : samples, shards = (batch + c->shard - 1) / c->shard, all = 1;

    while (all < shards)
        all *= 2;
    *slots = all;
    if (c->mode == LMBI_FAST)
        return LMB_OK;
    if (ranks & (ranks - 1))
        return LMB_FAIL(err, LMB_E_ARG,
                        "deterministic mode sums along a binary tree and needs 1, 2, 4, 8, ... ranks; this job has %d "
                        "(set train.mode=fast)",
                        ranks);
    if (all < ranks)
        return LMB_FAIL(err, LMB_E_ARG,
                        "batch %lld / shard %lld = %lld shards for %d ranks; use a larger batch, a smaller shard or "
                        "fewer ranks",
                        (long long)batch, (long long)c->shard, (long long)shards, ranks);
    return LMB_OK;
}

/* How many shards, and who runs them. */
static lmb_status plan_shards(lmb_trainer *t, lmb_error *err)
{
    int64_t batch = t->c.batch < t->train->n ? t->c.batch : t->train->n;

    LMB_TRY(lmbi_trainer_pipelines(t, batch, err));
    int ranks = t->replicas;

    t->threads = lmbi_train_threads(&t->c, t->comm->size);
    if (t->c.mode == LMBI_FAST) {
        t->slots = t->threads;
        t->slots_all = (int64_t)t->threads * ranks;
        return LMB_OK;
    }
    LMB_TRY(lmb_train_ranks_share(&t->c, batch, ranks, &t->slots_all, err));
    t->slots = (int)(t->slots_all / ranks);
    if (t->threads > t->slots)
        t->threads = t->slots;
    return LMB_OK;
}

float *lmbi_vector(size_t n)
{
    float *v = aligned_alloc(64, (n * sizeof *v + 63) / 64 * 64 + 64); /* never of no bytes */
    if (v)
        memset(v, 0, n * sizeof *v);
    return v;
}

/* Several shards of few samples leave what large gradients are products of. A matter of the batch alone, not of who
 * works on it. */
static lmb_status make_factors(lmb_trainer *t, lmb_error *err)
{
    int64_t rows = t->c.mode == LMBI_FAST ? (t->c.batch + t->slots_all - 1) / t->slots_all : t->c.shard;

    if (t->slots_all == 1 || t->pipeline || rows > MOST_FACTOR_ROWS || !t->backends[0] || lmb_train_on_gpu(&t->c))
        return LMB_OK;
    t->factors = calloc((size_t)t->slots, sizeof *t->factors);
    for (int i = 0; t->factors && i < t->slots; i++)
        t->factors[i] = calloc((size_t)t->layout->n + 1, sizeof **t->factors);
    for (int i = 0; i < t->slots; i++)
        if (!t->factors || !t->factors[i])
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d shards", t->slots);
    lmbi_reducer_factors(t->reducer, t->factors);
    return LMB_OK;
}

static lmb_status make_memory(lmb_trainer *t, lmb_error *err)
{
    t->n = t->layout->count;
    t->s.layout = t->layout;
    t->s.state = lmbi_vector(t->n);
    t->s.best = t->valid ? lmbi_vector(t->n) : NULL;
    t->s.ema = t->c.ema > 0 ? lmbi_vector(t->n) : NULL;
    t->s.best_accuracy = -1;
    t->share = calloc((size_t)t->slots, sizeof *t->share);
    if (!t->share || !t->s.state || (t->valid && !t->s.best) || (t->c.ema > 0 && !t->s.ema))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to train %zu numbers", t->n);
    lmb_state_from_graph(t->layout, t->model, t->s.state);
    if (t->s.ema)
        memcpy(t->s.ema, t->s.state, t->n * sizeof *t->s.ema);
    LMB_TRY(lmbi_trainer_divide(t, err));
    t->kept = t->c.sam.rho > 0 ? lmbi_vector(t->parts->own_count) : NULL;
    if (t->c.sam.rho > 0 && !t->kept)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a second set of weights (train.sam)");
    return make_factors(t, err);
}

/* What this rank needs of a batch: its consecutive shards. */
static void rank_range(void *ctx, int64_t n, int64_t *lo, int64_t *hi)
{
    const lmb_trainer *t = ctx;
    int64_t unused;
    lmbi_shard_range(t, n, (int64_t)t->replica * t->slots, lo, &unused);
    lmbi_shard_range(t, n, (int64_t)t->replica * t->slots + t->slots - 1, &unused, hi);
}

/* A processor makes some 400 thousand pictures of 32 x 32 a second ready, which a GPU may well outrun. */
static int loader_threads(const lmb_trainer *t)
{
    int mine = lmb_cpu_count() / t->comm->size;
    return !lmb_train_on_gpu(&t->c) || mine < 2 ? 1 : mine > 4 ? 4 : mine;
}

static lmb_status make_loader(lmb_trainer *t, lmb_error *err)
{
    lmb_loader_options o = { .data = t->train,
                             .batch = t->c.batch,
                             .seed = (uint64_t)t->c.seed,
                             .shuffle = true,
                             .threads = loader_threads(t),
                             .augment = &t->c.augment,
                             .range = rank_range,
                             .range_ctx = t,
                             .dtype = t->pictures ? LMB_U8 : LMB_F32,
                             .change_later = t->pictures };
    return lmb_loader_create(&o, &t->loader, err);
}

static lmb_status make_workers(lmb_trainer *t, lmb_error *err)
{
    LMB_TRY(lmbi_sync_norm_create(t, err));
    t->worker = calloc((size_t)t->threads, sizeof *t->worker);
    if (!t->worker)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d threads", t->threads);
    size_t memory;
    LMB_TRY(lmb_train_memory(&t->c, t->threads, &memory, err));
    for (int w = 0; w < t->threads; w++) {
        const lmb_graph *model = t->synced ? t->synced : t->model;
        LMB_TRY(lmb_program_create(model, &t->loss, t->backends, &t->worker[w].program, err));
        lmb_program_memory(t->worker[w].program, memory);
        lmb_program_loss_scale(t->worker[w].program, (float)t->c.loss_scale);
    }
    LMB_TRY(lmb_pool_create(t->threads, &t->pool, err));
    LMB_TRY(lmbi_gpu_create(t, err));
    return make_loader(t, err); /* of what the steps take */
}

/* (q - z) * scale has up to 256 values each way; bf16's 8 bits round the far ones by up to half a step, TF32's 11 by an
 * eighth of that. */
static lmb_status check_precision(const lmb_trainer *t, lmb_error *err)
{
    for (int i = 0; t->c.precision == LMB_TRAIN_BF16 && i < t->model->n_nodes; i++)
        if (strcmp(t->model->node[i].op->name, "FakeQuant") == 0)
            return LMB_FAIL(err, LMB_E_ARG,
                            "train.precision is bf16, but the model trains with fake quantisation (node %s): bf16 "
                            "would round its numbers by up to half a step, and training would feel other numbers than "
                            "the integers that are deployed; set train.precision=f32 for this training, or tf32 on a "
                            "GPU (the float training before it may stay bf16)",
                            t->model->node[i].name);
    return LMB_OK;
}

/* Stages begin a backward pass with a one. */
static lmb_status check_scale(const lmb_train_config *c, lmb_error *err)
{
    if (c->loss_scale != 1 && c->pipeline.stages > 1)
        return LMB_FAIL(err, LMB_E_ARG,
                        "train.loss_scale is %g, and train.pipeline.stages is %lld, whose stages scale no loss; leave "
                        "one of them out",
                        c->loss_scale, (long long)c->pipeline.stages);
    return LMB_OK;
}

/* What only GPUs do. */
static lmb_status check_sums(const lmb_trainer *t, lmb_error *err)
{
    const char *key = t->c.reduce == LMBI_NCCL ? "train.reduce is nccl"
                      : t->c.reduce_type       ? "train.reduce_type is bf16"
                                               : NULL;
    if (key && !lmb_train_on_gpu(&t->c))
        return LMB_FAIL(err, LMB_E_ARG, "%s, which is between GPUs; set train.backend=cuda, or leave it out", key);
    if (t->c.augment_on == LMB_CHANGE_GPU && !lmb_train_on_gpu(&t->c))
        return LMB_FAIL(err, LMB_E_ARG, "train.augment_on is gpu; set train.backend=cuda, or leave it out");
    return LMB_OK;
}

static lmb_status set_up(lmb_trainer *t, lmb_error *err)
{
    LMB_TRY(check_precision(t, err));
    LMB_TRY(check_scale(&t->c, err));
    LMB_TRY(check_sums(t, err));
    LMB_TRY(lmbi_sam_check(&t->c, err));
    LMB_TRY(pick_optimizer(t, err));
    if (!t->comm) {
        LMB_TRY(lmbi_comm_open_self(&t->own_comm, err));
        t->comm = t->own_comm;
    }
    if (lmb_train_on_gpu(&t->c))
        LMB_TRY(lmbi_trainer_gpu(t, err));
    else
        LMB_TRY(lmb_train_backends(&t->c, t->backends, err));
    LMB_TRY(plan_shards(t, err));
    LMB_TRY(lmb_state_layout_create(t->model, &t->layout, err));
    for (int i = 0; t->c.decay_all && i < t->layout->n; i++)
        if (t->layout->segment[i].role == LMB_ROLE_PARAMETER)
            t->layout->segment[i].decay = 1;
    const int64_t sums[] = { t->c.bucket_kb, t->c.reduce, t->c.shard_optimizer, t->c.pipeline.stages,
                             t->c.pipeline.microbatches, t->c.pipeline.cost, t->c.reduce_type,
                             lmb_train_on_gpu(&t->c), t->c.sync_batch_norm, t->c.graph };
    LMB_TRY(lmb_comm_agree(t->comm, "model", &t->layout->hash, sizeof t->layout->hash, err));
    LMB_TRY(lmb_comm_agree(
        t->comm,
        "way of summing (train.bucket_kb, train.reduce, train.reduce_type, train.shard_optimizer, train.pipeline, "
        "train.backend, train.sync_batch_norm, train.graph)",
        sums, sizeof sums, err));
    const double step[] = { t->c.sam.rho, t->c.sam.adaptive, t->c.loss_scale };
    LMB_TRY(lmb_comm_agree(t->comm, "kind of step (train.sam, train.loss_scale)", step, sizeof step, err));
    LMB_TRY(lmb_comm_agree(t->comm, "precision (train.precision)", &t->c.precision, sizeof t->c.precision, err));
    LMB_TRY(make_memory(t, err));
    if (t->comm->size > 1) { /* hashing all samples takes its time */
        lmb_hash data = t->train->hash(t->train);
        LMB_TRY(lmb_comm_agree(t->comm, "training set", &data, sizeof data, err));
    }
    return make_workers(t, err);
}

lmb_status lmb_trainer_create(const lmb_train_config *config, const lmb_graph *model, const lmb_loss *loss,
                              const lmb_dataset *train, const lmb_dataset *valid, lmb_comm *comm, lmb_trainer **out,
                              lmb_error *err)
{
    lmb_trainer *t = calloc(1, sizeof *t);
    if (!t)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a trainer");
    t->c = *config;
    t->model = model;
    t->loss = *loss;
    t->train = train;
    t->valid = valid;
    t->comm = comm;
    lmb_status st = set_up(t, err);
    if (st != LMB_OK) {
        lmb_trainer_destroy(t);
        return st;
    }
    *out = t;
    return LMB_OK;
}

lmb_status lmb_trainer_restart(lmb_trainer *t, const lmb_dataset *train, int64_t seed, double lr, lmb_error *err)
{
    int slots = t->slots, threads = t->threads;
    int64_t rows = t->c.shard;

    t->train = train;
    LMB_TRY(plan_shards(t, err));
    if (t->slots != slots || t->threads != threads || (t->pipeline && t->c.shard != rows)) {
        int asked = t->slots;
        t->slots = slots; /* what memory there is */
        t->threads = threads;
        t->c.shard = rows;
        return LMB_FAIL(err, LMB_E_ARG, "a training of %d shards a batch cannot begin again with %d", slots, asked);
    }
    t->c.seed = seed;
    t->c.lr = lr;
    lmb_state_from_graph(t->layout, t->model, t->s.state);
    if (t->s.ema)
        memcpy(t->s.ema, t->s.state, t->n * sizeof *t->s.ema);
    for (int i = 0; i < t->s.n_slots; i++)
        memset(t->slot[i], 0, t->parts->own_count * sizeof *t->slot[i]);
    t->terms = (lmb_gradient_terms){ 0 };
    t->s.epoch = t->s.batch = t->s.step = t->s.steps_before = t->s.best_epoch = t->s.correct = t->s.seen = 0;
    t->s.loss_sum = t->rate_seconds = t->travel = t->reach = 0;
    t->rate_images = 0;
    t->s.best_accuracy = -1;
    lmb_loader_destroy(t->loader);
    t->loader = NULL;
    LMB_TRY(lmbi_gpu_again(t, err));
    return make_loader(t, err);
}

void lmb_trainer_destroy(lmb_trainer *t)
{
    if (!t)
        return;
    lmb_loader_destroy(t->loader);
    lmbi_gpu_destroy(t);
    lmbi_reducer_destroy(t->reducer);
    for (int i = 0; t->factors && i < t->slots; i++)
        lmb_program_free_factors(t->factors[i], t->layout->n);
    free(t->factors);
    lmb_pool_destroy(t->pool);
    for (int w = 0; t->worker && w < t->threads; w++)
        lmb_program_destroy(t->worker[w].program);
    lmbi_trainer_gpu_end(t);
    lmb_trainer_drop(t);
    for (int i = 0; i < LMB_MAX_SLOTS; i++)
        free(t->slot[i]);
    lmbi_parts_destroy(t->parts);
    lmbi_pipeline_destroy(t->pipeline);
    free(t->first);
    lmb_choices_destroy(t->choices);
    free(t->s.kernels);
    free(t->s.stages);
    lmb_graph_destroy(t->synced);
    free(t->s.state);
    free(t->s.ema);
    free(t->s.best);
    free(t->kept);
    free(t->share);
    free(t->worker);
    free(t->optimizer_config);
    free(t->schedule_config);
    lmb_state_layout_destroy(t->layout);
    lmb_comm_close(t->own_comm);
    free(t);
}

void lmb_trainer_watch(lmb_trainer *t, lmb_watch *w)
{
    t->watch = w;
    lmbi_gpu_watch(t);
}

void lmb_trainer_terms(lmb_trainer *t, const lmb_gradient_terms *terms) { t->terms = *terms; }

double lmb_trainer_travel(const lmb_trainer *t) { return t->travel; }

void lmb_trainer_trace(lmb_trainer *t, lmb_trace *trace)
{
    t->trace = trace;
    lmb_loader_trace(t->loader, trace);
    lmbi_reducer_trace(t->reducer, trace);
    if (t->pipeline)
        lmbi_pipeline_trace(t->pipeline, trace);
    for (int w = 0; w < t->threads; w++)
        lmb_program_trace(t->worker[w].program, trace, LMB_LANE_TRAINING + w);
}

lmb_trainer_state *lmb_trainer_state_of(lmb_trainer *t) { return &t->s; }
