/* train/trainer_setup.c - options of a training, making a trainer and ending it. See trainer.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "train/trainer_internal.h"

enum {
    MOST_FACTOR_ROWS = 128
}; /* of a shard; with more, the product costs more than moving what it is a product of saves */

static const char *const modes[] = { "deterministic", "fast", NULL };
static const char *const precisions[] = { "f32", "bf16", "tf32", NULL };
static const char *const costs[] = { "counted", "measured", NULL };
static const char *const graphs[] = { "auto", "on", "off", NULL };
static const char *const ways[] = { "auto", "window", "messages", "nccl", NULL };
static const char *const reduce_types[] = { "f32", "bf16", NULL };

static const lmb_field pipeline_fields[] = {
    LMB_INT(lmb_pipeline_config, stages, 1, 1, LMB_MOST_STAGES, "",
            "the model is cut into; ranks share them out in order; 1: no pipeline"),
    LMB_INT(lmb_pipeline_config, microbatches, 8, 1, 4096, "",
            "a batch is cut into, each with BatchNormalization statistics of its own"),
    LMB_CHOICE(lmb_pipeline_config, cost, LMB_COST_COUNTED, costs,
               "that stages share evenly; measured: rank 0 runs the model's pieces first; no f32 bit changes"),
    LMB_FIELD_END
};

const lmb_field lmb_train_fields[] = {
    LMB_INT(lmb_train_config, epochs, 10, 1, 1e6, "epochs", "passes over the training set"),
    LMB_INT(lmb_train_config, batch, 128, 1, 1e6, "samples", "in a global batch, over all ranks"),
    LMB_CHOICE(lmb_train_config, mode, 0, modes, "deterministic: the same bits on any number of workers"),
    LMB_CHOICE(
        lmb_train_config, precision, 0, precisions,
        "of feature maps in a step; bf16 halves them and doubles the speed of products, weights stay f32; tf32 (cuda): f32, products of 11 bits"),
    LMB_INT(lmb_train_config, shard, 32, 1, 1e6, "samples",
            "a shard of deterministic mode, which is the work of one thread"),
    LMB_INT(lmb_train_config, bucket_kb, 256, 0, 1e6, "KiB",
            "of gradients are summed over ranks while the backward pass goes on; 0: all at its end"),
    LMB_CHOICE(
        lmb_train_config, reduce, LMBI_AUTO, ways,
        "sums over ranks; window: through memory that the ranks of a node share; auto: where they can; nccl: between GPUs, as auto does"),
    LMB_CHOICE(lmb_train_config, reduce_type, 0, reduce_types,
               "in which gradients travel between GPUs; bf16 halves the bytes and rounds each summand"),
    LMB_INT(lmb_train_config, threads, 0, 0, 1024, "",
            "of each rank; 0: all processors, shared among the ranks of a node"),
    LMB_INT(lmb_train_config, seed, 1, 0, 9e15, "", "of weights, order and augmentation"),
    LMB_REAL(lmb_train_config, lr, 0.1, 0, 1000, "", "learning rate, before the schedule"),
    LMB_REAL(lmb_train_config, warmup_epochs, 0, 0, 1e6, "epochs", "in which the rate rises from 0"),
    LMB_REAL(lmb_train_config, clip, 0, 0, 1e9, "", "largest norm of the gradient; 0: no limit"),
    LMB_REAL(lmb_train_config, label_smoothing, 0, 0, 0.99, "", "share of the label spread over all classes"),
    LMB_REAL(lmb_train_config, ema, 0, 0, 1, "", "memory of the averaged weights; 0: none are kept"),
    LMB_INT(lmb_train_config, patience, 0, 0, 1e6, "epochs",
            "stop when validation has not improved for so long; 0: never"),
    LMB_SECTION(lmb_train_config, augment, lmb_augment_fields, "random changes to training images"),
    LMB_TREE(lmb_train_config, optimizer, "name and options; `limbeck list optimizers`"),
    LMB_TREE(lmb_train_config, schedule, "name and options; `limbeck list schedules`"),
    LMB_BOOL(lmb_train_config, shard_optimizer, false,
             "divide what the optimizer remembers, and its step, among the ranks (ZeRO-1); no bit changes"),
    LMB_BOOL(
        lmb_train_config, sync_batch_norm, false,
        "normalise over the rows of all ranks, one shard each (train.mode=fast, train.threads=1); slow on processors"),
    LMB_SECTION(lmb_train_config, pipeline, pipeline_fields, "a model in stages, for what one rank has no room for"),
    LMB_REAL(lmb_train_config, stall_s, 25, 0.5, 1e6, "s",
             "a rank that keeps the others waiting for so long is named and the job ends"),
    LMB_REAL(lmb_train_config, checkpoint_s, 30, 0, 1e6, "s",
             "between checkpoints inside an epoch; each epoch ends with one"),
    LMB_TEXT(
        lmb_train_config, memory, "fast",
        "of a rank's feature maps: fast; small: cheap ones are computed twice; or a limit in bytes, as 500M or 2G; no bit changes"),
    LMB_CHOICE(lmb_train_config, graph, 0, graphs,
               "a step on a GPU is recorded and replayed as one; auto: where it can be, on: or the training ends"),
    LMB_TEXT(lmb_train_config, backend, "cpu",
             "cpu, onednn, own, portable or reference; cuda: steps run on a GPU, rank r of a node on number r"),
    LMB_FIELD_END
};

static lmb_status pick_optimizer(lmb_trainer *t, lmb_error *err)
{
    const char *name = "sgd";
    if (t->c.optimizer)
        LMB_TRY(lmb_tree_name(t->c.optimizer, &name, err));
    t->optimizer = lmb_optimizer_find(name);
    if (!t->optimizer)
        return lmb_tree_fail(t->c.optimizer, err, LMB_E_ARG,
                             "there is no optimizer '%s'; `limbeck list optimizers` shows all", name);
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

lmb_status lmb_train_backends(const lmb_train_config *c, const lmb_backend **list, lmb_error *err)
{
    if (c->precision == LMB_TRAIN_TF32)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "train.precision=tf32 is a way of multiplying on GPUs; set train.precision=f32 or train.backend=cuda");
    return c->precision == LMB_TRAIN_BF16 ? lmb_cpu_backends_bf16(c->backend, list, err)
                                          : lmb_cpu_backends(c->backend, list, err);
}

lmb_status lmb_train_memory(const lmb_train_config *c, int threads, size_t *bytes, lmb_error *err)
{
    static const char units[] = "KMG";
    char *end = NULL;
    double n = strtod(c->memory, &end);

    *bytes = SIZE_MAX;
    if (strcmp(c->memory, "fast") == 0)
        return LMB_OK;
    *bytes = 0;
    if (strcmp(c->memory, "small") == 0)
        return LMB_OK;
    const char *unit = *end ? strchr(units, *end) : NULL;
    for (long i = unit ? unit - units : -1; i >= 0; i--)
        n *= 1000;
    if (end == c->memory || (unit ? end[1] : *end) || !(n >= 1000 && n < 1e15))
        return LMB_FAIL(err, LMB_E_ARG,
                        "train.memory is '%s'; it must be fast, small, or bytes from 1000 on, as 500M or 2G",
                        c->memory);
    *bytes = (size_t)(n / threads);
    return LMB_OK;
}

bool lmb_train_on_gpu(const lmb_train_config *c) { return strcmp(c->backend, "cuda") == 0; }
bool lmb_train_is_fast(const lmb_train_config *c) { return c->mode == LMBI_FAST; }

static int threads_of(const lmb_train_config *c, int ranks)
{
    return lmb_train_on_gpu(c) ? 1 : c->threads ? (int)c->threads : (lmb_cpu_count() + ranks - 1) / ranks;
}

int64_t lmb_train_rows(const lmb_train_config *c, int64_t samples, int ranks)
{
    int64_t batch = c->batch < samples ? c->batch : samples, slots = (int64_t)threads_of(c, ranks) * ranks;

    if (c->mode == LMBI_FAST)
        return (batch + slots - 1) / slots;
    if (c->pipeline.stages > 1)
        return (batch + c->pipeline.microbatches - 1) / c->pipeline.microbatches;
    return c->shard < batch ? c->shard : batch;
}

/* How many shards, and who runs them. */
static lmb_status plan_shards(lmb_trainer *t, lmb_error *err)
{
    int64_t batch = t->c.batch < t->train->n ? t->c.batch : t->train->n;

    LMB_TRY(lmbi_trainer_pipelines(t, batch, err));
    int ranks = t->replicas;

    t->threads = threads_of(&t->c, t->comm->size);
    if (t->c.mode == LMBI_FAST) {
        t->slots = t->threads;
        t->slots_all = (int64_t)t->threads * ranks;
        return LMB_OK;
    }
    int64_t shards = (batch + t->c.shard - 1) / t->c.shard, all = 1;
    while (all < shards)
        all *= 2;
    if (ranks & (ranks - 1))
        return LMB_FAIL(err, LMB_E_ARG,
                        "deterministic mode sums along a binary tree and needs 1, 2, 4, 8, ... ranks; this job has %d "
                        "(set train.mode=fast)",
                        ranks);
    if (all < ranks)
        return LMB_FAIL(err, LMB_E_ARG,
                        "batch %lld / shard %lld = %lld shards for %d ranks; use a larger batch, a smaller shard or "
                        "fewer ranks",
                        (long long)batch, (long long)t->c.shard, (long long)shards, ranks);
    t->slots_all = all;
    t->slots = (int)(all / ranks);
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
    lmb_loader_options o = { .data = t->train, .batch = t->c.batch, .seed = (uint64_t)t->c.seed, .shuffle = true,
                             .threads = loader_threads(t),
                             .augment = &t->c.augment, .range = rank_range, .range_ctx = t };
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
        LMB_TRY(
            lmb_program_create(t->synced ? t->synced : t->model, &t->loss, t->backends, &t->worker[w].program, err));
        lmb_program_memory(t->worker[w].program, memory);
    }
    LMB_TRY(lmb_pool_create(t->threads, &t->pool, err));
    LMB_TRY(make_loader(t, err));
    return lmbi_gpu_create(t, err);
}

/* Fake quantisation lives on a grid of 8-bit numbers that bf16 would round once more. */
static lmb_status check_precision(const lmb_trainer *t, lmb_error *err)
{
    for (int i = 0; t->c.precision == LMB_TRAIN_BF16 && i < t->model->n_nodes; i++)
        if (strcmp(t->model->node[i].op->name, "FakeQuant") == 0)
            return LMB_FAIL(err, LMB_E_ARG,
                            "train.precision is bf16, but the model trains with fake quantisation (node %s), which "
                            "needs f32; set train.precision=f32 for this training",
                            t->model->node[i].name);
    return LMB_OK;
}

static lmb_status check_sums(const lmb_trainer *t, lmb_error *err)
{
    const char *key = t->c.reduce == LMBI_NCCL ? "train.reduce is nccl"
                      : t->c.reduce_type       ? "train.reduce_type is bf16"
                                               : NULL;
    if (key && !lmb_train_on_gpu(&t->c))
        return LMB_FAIL(err, LMB_E_ARG, "%s, which is between GPUs; set train.backend=cuda, or leave it out", key);
    return LMB_OK;
}

static lmb_status set_up(lmb_trainer *t, lmb_error *err)
{
    LMB_TRY(check_precision(t, err));
    LMB_TRY(check_sums(t, err));
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
    const int64_t sums[] = { t->c.bucket_kb, t->c.reduce, t->c.shard_optimizer, t->c.pipeline.stages,
        t->c.pipeline.microbatches,
                             t->c.pipeline.cost, t->c.reduce_type, lmb_train_on_gpu(&t->c), t->c.sync_batch_norm };
    LMB_TRY(lmb_comm_agree(t->comm, "model", &t->layout->hash, sizeof t->layout->hash, err));
    LMB_TRY(lmb_comm_agree(
        t->comm,
        "way of summing (train.bucket_kb, train.reduce, train.reduce_type, train.shard_optimizer, train.pipeline, train.backend)",
        sums, sizeof sums, err));
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
    t->s.epoch = t->s.batch = t->s.step = t->s.best_epoch = t->s.correct = t->s.seen = 0;
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
