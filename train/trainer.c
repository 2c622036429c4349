/* train/trainer.c - see trainer.h. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/config.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"

static const char *const modes[] = { "deterministic", "fast", NULL };
enum { DETERMINISTIC, FAST };

const lmb_field lmb_train_fields[] = {
    LMB_INT(lmb_train_config, epochs, 10, 1, 1e6, "epochs", "passes over the training set"),
    LMB_INT(lmb_train_config, batch, 128, 1, 1e6, "samples", "in a global batch, over all ranks"),
    LMB_CHOICE(lmb_train_config, mode, 0, modes, "deterministic: the same bits on any number of workers"),
    LMB_INT(lmb_train_config, shard, 32, 1, 1e6, "samples", "a shard of deterministic mode"),
    LMB_INT(lmb_train_config, threads, 0, 0, 1024, "", "of each rank; 0: all processors, shared among the ranks of a node"),
    LMB_INT(lmb_train_config, seed, 1, 0, 9e15, "", "of weights, order and augmentation"),
    LMB_REAL(lmb_train_config, lr, 0.1, 0, 1000, "", "learning rate, before the schedule"),
    LMB_REAL(lmb_train_config, warmup_epochs, 0, 0, 1e6, "epochs", "in which the rate rises from 0"),
    LMB_REAL(lmb_train_config, clip, 0, 0, 1e9, "", "largest norm of the gradient; 0: no limit"),
    LMB_REAL(lmb_train_config, label_smoothing, 0, 0, 0.99, "", "share of the label spread over all classes"),
    LMB_REAL(lmb_train_config, ema, 0, 0, 1, "", "memory of the averaged weights; 0: none are kept"),
    LMB_INT(lmb_train_config, patience, 0, 0, 1e6, "epochs", "stop when validation has not improved for so long; 0: never"),
    LMB_SECTION(lmb_train_config, augment, lmb_augment_fields, "random changes to training images"),
    LMB_TREE(lmb_train_config, optimizer, "name and options; `limbeck list optimizers`"),
    LMB_TREE(lmb_train_config, schedule, "name and options; `limbeck list schedules`"),
    LMB_REAL(lmb_train_config, stall_s, 25, 0.5, 1e6, "s", "a rank that keeps the others waiting for so long is named and the job ends"),
    LMB_REAL(lmb_train_config, checkpoint_s, 30, 0, 1e6, "s", "between checkpoints inside an epoch; each epoch ends with one"),
    LMB_TEXT(lmb_train_config, backend, "cpu", "cpu, onednn, portable or reference"), LMB_FIELD_END
};

/* One thread's program. */
typedef struct worker { lmb_program *program; lmb_error err; } worker;

struct lmb_trainer {
    lmb_train_config c;
    const lmb_graph *model;
    const lmb_dataset *train, *valid;
    lmb_comm *comm, *own_comm;
    const lmb_backend *backends[3];
    const lmb_optimizer *optimizer;
    const lmb_schedule *schedule;
    void *optimizer_config, *schedule_config;
    lmb_pool *pool;
    int threads;
    worker *worker;
    lmb_loader *loader;
    lmb_state_layout *layout;
    size_t n, width;       /* floats of the state; and of a reduced vector (state + TAIL) */
    int slots;             /* shard slots of this rank, a power of two in deterministic mode */
    int64_t slots_all;     /* of all ranks                                                   */
    float **part;          /* [slots] reduced vectors                                        */
    float *scratch;
    lmb_trainer_state s;
    lmb_watch *watch;
    double rate_seconds;   /* of the running epoch */
    int64_t rate_images;
};

/* Behind the state, a reduced vector carries sums over samples: loss, hits, count. Count 0 marks an empty shard. */
enum { TAIL = 3, LOSS = 0, CORRECT = 1, COUNT = 2 };

/* ---- the tree ---- */

LMB_HOT static void add(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] += from[i];
}

/* into = into + from, except where a segment takes the minimum or maximum; an empty side is no side. */
static void combine(void *ctx, float *into, const float *from, size_t n)
{
    const lmb_trainer *t = ctx;

    if (from[t->n + COUNT] == 0)
        return;
    if (into[t->n + COUNT] == 0) {
        memcpy(into, from, n * sizeof *into);
        return;
    }
    for (int i = 0; i < t->layout->n; i++) {
        const lmb_segment *s = &t->layout->segment[i];
        if (s->reduce == LMB_REDUCE_MEAN)
            continue;
        for (size_t k = s->offset; k < s->offset + s->count; k++) { /* a sum of the two that leaves one of them */
            bool take = s->reduce == LMB_REDUCE_MIN ? from[k] < into[k] : from[k] > into[k];
            t->scratch[k] = take ? from[k] : into[k];
        }
    }
    add(into, from, n);
    for (int i = 0; i < t->layout->n; i++) {
        const lmb_segment *s = &t->layout->segment[i];
        if (s->reduce != LMB_REDUCE_MEAN)
            memcpy(into + s->offset, t->scratch + s->offset, s->count * sizeof *into);
    }
}

/* ---- shards ---- */

/* Positions of shard k of a batch of n samples. */
static void shard_range(const lmb_trainer *t, int64_t n, int64_t k, int64_t *lo, int64_t *hi)
{
    int64_t size = t->c.mode == FAST ? (n + t->slots_all - 1) / t->slots_all : t->c.shard;
    *lo = k * size < n ? k * size : n;
    *hi = (k + 1) * size < n ? (k + 1) * size : n;
}

/* What this rank needs of a batch: its consecutive shards. */
static void rank_range(void *ctx, int64_t n, int64_t *lo, int64_t *hi)
{
    const lmb_trainer *t = ctx;
    int64_t unused;
    shard_range(t, n, (int64_t)t->comm->rank * t->slots, lo, &unused);
    shard_range(t, n, (int64_t)t->comm->rank * t->slots + t->slots - 1, &unused, hi);
}

typedef struct turn { lmb_trainer *t; const lmb_batch *b; lmb_step_info info; } turn;

LMB_HOT static void scale(float *v, float f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] *= f;
}

static void run_shard(void *ctx, int task, int w)
{
    turn *r = ctx;
    lmb_trainer *t = r->t;
    worker *me = &t->worker[w];
    float *out = t->part[task];
    int64_t lo, hi, numbers = lmb_shape_count(&t->train->shape);

    shard_range(t, r->b->total, (int64_t)t->comm->rank * t->slots + task, &lo, &hi);
    if (me->err.status != LMB_OK || hi <= lo) {
        memset(out, 0, t->width * sizeof *out);
        return;
    }
    int64_t at = lo - r->b->lo;
    lmb_step_info info = r->info;
    info.sample = r->b->sample + at;
    lmb_program_step s = { .n = hi - lo, .x = r->b->x + at * numbers, .y = r->b->y + at, .state = t->s.state, .out = out, .info = &info };
    memset(out, 0, t->n * sizeof *out);
    if (lmb_program_run(me->program, &s, &me->err) != LMB_OK)
        return;
    float share = (float)((double)s.n / (double)r->b->total);
    for (int i = 0; i < t->layout->n; i++) {
        const lmb_segment *g = &t->layout->segment[i];
        if (g->reduce == LMB_REDUCE_MEAN)
            scale(out + g->offset, share, g->count);
    }
    out[t->n + LOSS] = s.loss * (float)s.n;
    out[t->n + CORRECT] = (float)s.correct;
    out[t->n + COUNT] = (float)s.n;
}

/* ---- the step ---- */

static double gradient_norm(const lmb_trainer *t, const float *g)
{
    double sum = 0;
    for (int i = 0; i < t->layout->n; i++) {
        const lmb_segment *s = &t->layout->segment[i];
        for (size_t k = 0; s->role == LMB_ROLE_PARAMETER && k < s->count; k++)
            sum += (double)g[s->offset + k] * g[s->offset + k];
    }
    return sqrt(sum);
}

LMB_HOT static void average(float *LMB_RESTRICT ema, const float *LMB_RESTRICT w, float keep, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ema[i] = keep * ema[i] + (1 - keep) * w[i];
}

static double rate(const lmb_trainer *t)
{
    int64_t per_epoch = lmb_loader_batches(t->loader), total = per_epoch * t->c.epochs;
    return lmb_schedule_rate(t->schedule, t->schedule_config, t->c.lr, (int64_t)(t->c.warmup_epochs * (double)per_epoch),
                             t->s.step, total, per_epoch);
}

static lmb_status apply(lmb_trainer *t, float *v, lmb_error *err)
{
    double norm = gradient_norm(t, v), lr = rate(t);

    if (!isfinite(norm))
        return LMB_FAIL(err, LMB_E_NUMERIC, "step %lld: the gradient is not finite; use a smaller learning rate (now %g), "
                        "warm-up or clip", (long long)t->s.step, lr);
    float shrink = t->c.clip > 0 && norm > t->c.clip ? (float)(t->c.clip / norm) : 1;
    for (int i = 0; i < t->layout->n; i++) {
        const lmb_segment *s = &t->layout->segment[i];
        if (s->role == LMB_ROLE_PARAMETER && !s->frozen) {
            lmb_opt_range r = { .w = t->s.state + s->offset, .g = v + s->offset, .n = s->count, .lr = lr, .decay = s->decay,
                                .t = t->s.step + 1 };
            for (int k = 0; k < t->s.n_slots; k++)
                r.slot[k] = t->s.slot[k] + s->offset;
            if (shrink != 1)
                scale(v + s->offset, shrink, s->count);
            t->optimizer->step(t->optimizer_config, &r);
        } else if (s->has_next || (s->role == LMB_ROLE_STATISTIC && !s->frozen)) {
            memcpy(t->s.state + s->offset, v + s->offset, s->count * sizeof *v);
        }
    }
    if (t->s.ema) { /* a short memory at first, so that the start does not linger */
        double steps = (double)t->s.step + 1, keep = fmin(t->c.ema, (1 + steps) / (10 + steps));
        average(t->s.ema, t->s.state, (float)keep, t->n);
    }
    t->s.step++;
    return LMB_OK;
}

static lmb_status train_batch(lmb_trainer *t, const lmb_batch *b, lmb_error *err)
{
    turn r = { t, b, { (uint64_t)t->c.seed, (uint32_t)t->s.epoch, NULL } };

    lmb_watch_doing(t->watch, t->s.step, "forward and backward", false);
    lmb_pool_run(t->pool, t->slots, run_shard, &r);
    for (int w = 0; w < t->threads; w++)
        if (t->worker[w].err.status != LMB_OK)
            return LMB_FAIL(err, t->worker[w].err.status, "%s", t->worker[w].err.msg);
    for (int step = 1; step < t->slots; step *= 2)
        for (int i = 0; i + step < t->slots; i += 2 * step)
            combine(t, t->part[i], t->part[i + step], t->width);
    lmb_watch_doing(t->watch, t->s.step, "sum of gradients", true);
    LMB_TRY(lmb_comm_reduce_all(t->comm, t->part[0], t->scratch + t->width, t->width, combine, t, err));
    t->s.loss_sum += t->part[0][t->n + LOSS];
    t->s.correct += (int64_t)t->part[0][t->n + CORRECT];
    t->s.seen += b->total;
    return apply(t, t->part[0], err);
}

/* ---- the loop ---- */

const float *lmb_trainer_result(const lmb_trainer *t)
{
    return t->s.best_accuracy >= 0 && t->s.best ? t->s.best : t->s.ema ? t->s.ema : t->s.state;
}

static lmb_status validate(lmb_trainer *t, lmb_epoch *e, lmb_error *err)
{
    lmb_metrics m;
    const float *weights = t->s.ema ? t->s.ema : t->s.state;

    e->valid_loss = e->valid_accuracy = -1;
    if (!t->valid)
        return LMB_OK;
    double result[2] = { 0, 0 };
    lmb_watch_doing(t->watch, t->s.step, t->comm->rank ? "waiting for validation" : "validation", t->comm->rank != 0);
    if (t->comm->rank == 0) {
        LMB_TRY(lmb_metrics_init(&m, t->valid->classes, err));
        lmb_status st = lmb_evaluate(t->model, weights, t->valid, t->c.backend, t->threads, &m, err);
        result[0] = lmb_metrics_loss(&m);
        result[1] = lmb_metrics_accuracy(&m);
        lmb_metrics_deinit(&m);
        LMB_TRY(st);
    }
    LMB_TRY(t->comm->broadcast(t->comm, result, sizeof result, 0, err));
    e->valid_loss = result[0];
    e->valid_accuracy = result[1];
    if (e->valid_accuracy > t->s.best_accuracy) {
        t->s.best_accuracy = e->valid_accuracy;
        t->s.best_epoch = t->s.epoch;
        memcpy(t->s.best, weights, t->n * sizeof *weights);
        e->best = true;
    }
    return LMB_OK;
}

/* Should all ranks stop? Rank 0 decides. */
static lmb_status agree_to_stop(lmb_trainer *t, bool *stop, lmb_error *err)
{
    char flag = *stop;
    LMB_TRY(t->comm->broadcast(t->comm, &flag, 1, 0, err));
    *stop = flag;
    return LMB_OK;
}

static lmb_status run_epoch(lmb_trainer *t, const lmb_train_watch *watch, bool *stop, lmb_error *err)
{
    const lmb_batch *b;
    int64_t batches = lmb_loader_batches(t->loader);
    double start = lmb_seconds(), last = start;

    t->rate_images = 0;
    LMB_TRY(lmb_loader_begin(t->loader, (uint32_t)t->s.epoch, t->s.batch, err));
    for (;;) {
        lmb_watch_doing(t->watch, t->s.step, "waiting for data", false);
        LMB_TRY(lmb_loader_next(t->loader, &b, err));
        if (!b)
            break;
        LMB_TRY(train_batch(t, b, err));
        if (watch && watch->stepped)
            LMB_TRY(watch->stepped(watch->ctx, t, err));
        t->s.batch++;
        t->rate_images += b->total;
        double now = lmb_seconds();
        if (watch && watch->step && (now - last > 0.1 || t->s.batch == batches)) {
            last = now;
            *stop = !watch->step(watch->ctx, t->s.epoch, t->s.batch, batches, t->s.loss_sum / (double)t->s.seen,
                                 (double)t->s.correct / (double)t->s.seen, (double)t->rate_images / (now - start + 1e-9));
        }
        if (t->comm->size == 1 && *stop)
            return LMB_OK;
    }
    t->rate_seconds = lmb_seconds() - start;
    return LMB_OK;
}

static lmb_status finish_epoch(lmb_trainer *t, const lmb_train_watch *watch, lmb_error *err)
{
    lmb_epoch e = { .epoch = t->s.epoch, .loss = t->s.loss_sum / (double)t->s.seen,
                    .accuracy = (double)t->s.correct / (double)t->s.seen, .lr = rate(t), .seconds = t->rate_seconds,
                    .images_per_second = (double)t->rate_images / (t->rate_seconds + 1e-9),
                    .waited = lmb_loader_waited(t->loader) };

    LMB_TRY(validate(t, &e, err));
    t->s.epoch++;
    t->s.batch = 0;
    t->s.loss_sum = 0;
    t->s.correct = t->s.seen = 0;
    if (t->c.patience && t->valid && t->s.epoch - t->s.best_epoch > t->c.patience)
        t->s.epoch = t->c.epochs;
    e.last = t->s.epoch >= t->c.epochs;
    return watch && watch->epoch ? watch->epoch(watch->ctx, t, &e, err) : LMB_OK;
}

lmb_status lmb_trainer_run(lmb_trainer *t, const lmb_train_watch *watch, lmb_error *err)
{
    while (t->s.epoch < t->c.epochs) {
        bool stop = false;
        LMB_TRY(run_epoch(t, watch, &stop, err));
        LMB_TRY(agree_to_stop(t, &stop, err));
        if (t->s.batch == lmb_loader_batches(t->loader))
            LMB_TRY(finish_epoch(t, watch, err));
        if (stop)
            return LMB_FAIL(err, LMB_E_STOPPED, "stopped in epoch %lld after batch %lld", (long long)t->s.epoch, (long long)t->s.batch);
    }
    return LMB_OK;
}

/* ---- setting up ---- */

static lmb_status pick_optimizer(lmb_trainer *t, lmb_error *err)
{
    const char *name = "sgd";
    if (t->c.optimizer)
        LMB_TRY(lmb_tree_name(t->c.optimizer, &name, err));
    t->optimizer = lmb_optimizer_find(name);
    if (!t->optimizer)
        return lmb_tree_fail(t->c.optimizer, err, LMB_E_ARG, "there is no optimizer '%s'; `limbeck list optimizers` shows all", name);
    t->optimizer_config = calloc(1, t->optimizer->config_size + 1);
    if (!t->optimizer_config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for an optimizer");
    LMB_TRY(lmb_fields_bind(t->optimizer->fields, t->c.optimizer, t->optimizer_config, err));
    name = "constant";
    if (t->c.schedule)
        LMB_TRY(lmb_tree_name(t->c.schedule, &name, err));
    t->schedule = lmb_schedule_find(name);
    if (!t->schedule)
        return lmb_tree_fail(t->c.schedule, err, LMB_E_ARG, "there is no schedule '%s'; `limbeck list schedules` shows all", name);
    t->schedule_config = calloc(1, t->schedule->config_size + 1);
    if (!t->schedule_config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a schedule");
    return lmb_fields_bind(t->schedule->fields, t->c.schedule, t->schedule_config, err);
}

/* How many shards, and who runs them. */
static lmb_status plan_shards(lmb_trainer *t, lmb_error *err)
{
    int ranks = t->comm->size;
    int64_t batch = t->c.batch < t->train->n ? t->c.batch : t->train->n;

    t->threads = t->c.threads ? (int)t->c.threads : (lmb_cpu_count() + ranks - 1) / ranks;
    if (t->c.mode == FAST) {
        t->slots = t->threads;
        t->slots_all = (int64_t)t->threads * ranks;
        return LMB_OK;
    }
    int64_t shards = (batch + t->c.shard - 1) / t->c.shard, all = 1;
    while (all < shards)
        all *= 2;
    if (ranks & (ranks - 1))
        return LMB_FAIL(err, LMB_E_ARG, "deterministic mode sums along a binary tree and needs 1, 2, 4, 8, ... ranks; this job has %d "
                        "(set train.mode=fast)", ranks);
    if (all < ranks)
        return LMB_FAIL(err, LMB_E_ARG, "batch %lld / shard %lld = %lld shards for %d ranks; use a larger batch, a smaller shard or "
                        "fewer ranks", (long long)batch, (long long)t->c.shard, (long long)shards, ranks);
    t->slots_all = all;
    t->slots = (int)(all / ranks);
    if (t->threads > t->slots)
        t->threads = t->slots;
    return LMB_OK;
}

static float *vector(size_t n)
{
    float *v = aligned_alloc(64, (n * sizeof *v + 63) / 64 * 64 + 64);
    if (v)
        memset(v, 0, n * sizeof *v);
    return v;
}

static lmb_status make_memory(lmb_trainer *t, lmb_error *err)
{
    bool ok = true;

    t->n = t->layout->count;
    t->width = t->n + TAIL;
    t->part = calloc((size_t)t->slots, sizeof *t->part);
    for (int i = 0; t->part && i < t->slots; i++)
        ok = (t->part[i] = vector(t->width)) != NULL && ok;
    t->scratch = vector(2 * t->width);
    t->s.layout = t->layout;
    t->s.state = vector(t->n);
    t->s.best = t->valid ? vector(t->n) : NULL;
    t->s.ema = t->c.ema > 0 ? vector(t->n) : NULL;
    t->s.n_slots = t->optimizer->n_slots;
    for (int i = 0; i < t->s.n_slots; i++)
        ok = (t->s.slot[i] = vector(t->n)) != NULL && ok;
    t->s.best_accuracy = -1;
    if (!ok || !t->part || !t->scratch || !t->s.state || (t->valid && !t->s.best) || (t->c.ema > 0 && !t->s.ema))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to train %zu numbers in %d shards", t->n, t->slots);
    lmb_state_from_graph(t->layout, t->model, t->s.state);
    if (t->s.ema)
        memcpy(t->s.ema, t->s.state, t->n * sizeof *t->s.ema);
    return LMB_OK;
}

static lmb_status make_workers(lmb_trainer *t, const lmb_loss *loss, lmb_error *err)
{
    lmb_loader_options o = { .data = t->train, .batch = t->c.batch, .seed = (uint64_t)t->c.seed, .shuffle = true,
                             .augment = &t->c.augment, .range = rank_range, .range_ctx = t };

    t->worker = calloc((size_t)t->threads, sizeof *t->worker);
    if (!t->worker)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d threads", t->threads);
    for (int w = 0; w < t->threads; w++)
        LMB_TRY(lmb_program_create(t->model, loss, t->backends, &t->worker[w].program, err));
    LMB_TRY(lmb_pool_create(t->threads, &t->pool, err));
    return lmb_loader_create(&o, &t->loader, err);
}

static lmb_status set_up(lmb_trainer *t, const lmb_loss *loss, lmb_error *err)
{
    LMB_TRY(lmb_cpu_backends(t->c.backend, t->backends, err));
    LMB_TRY(pick_optimizer(t, err));
    if (!t->comm) {
        LMB_TRY(lmbi_comm_open_self(&t->own_comm, err));
        t->comm = t->own_comm;
    }
    LMB_TRY(plan_shards(t, err));
    LMB_TRY(lmb_state_layout_create(t->model, &t->layout, err));
    LMB_TRY(make_memory(t, err));
    LMB_TRY(lmb_comm_agree(t->comm, "model", &t->layout->hash, sizeof t->layout->hash, err));
    LMB_TRY(lmb_comm_agree(t->comm, "training set", &t->train->hash, sizeof t->train->hash, err));
    return make_workers(t, loss, err);
}

lmb_status lmb_trainer_create(const lmb_train_config *config, const lmb_graph *model, const lmb_loss *loss, const lmb_dataset *train,
                              const lmb_dataset *valid, lmb_comm *comm, lmb_trainer **out, lmb_error *err)
{
    lmb_trainer *t = calloc(1, sizeof *t);
    if (!t)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a trainer");
    t->c = *config;
    t->model = model;
    t->train = train;
    t->valid = valid;
    t->comm = comm;
    lmb_status st = set_up(t, loss, err);
    if (st != LMB_OK) {
        lmb_trainer_destroy(t);
        return st;
    }
    *out = t;
    return LMB_OK;
}

void lmb_trainer_destroy(lmb_trainer *t)
{
    if (!t)
        return;
    lmb_loader_destroy(t->loader);
    lmb_pool_destroy(t->pool);
    for (int w = 0; t->worker && w < t->threads; w++)
        lmb_program_destroy(t->worker[w].program);
    for (int i = 0; t->part && i < t->slots; i++)
        free(t->part[i]);
    for (int i = 0; i < LMB_MAX_SLOTS; i++)
        free(t->s.slot[i]);
    free(t->s.state);
    free(t->s.ema);
    free(t->s.best);
    free(t->worker);
    free(t->part);
    free(t->scratch);
    free(t->optimizer_config);
    free(t->schedule_config);
    lmb_state_layout_destroy(t->layout);
    lmb_comm_close(t->own_comm);
    free(t);
}

void lmb_trainer_watch(lmb_trainer *t, lmb_watch *w) { t->watch = w; }

lmb_trainer_state *lmb_trainer_state_of(lmb_trainer *t) { return &t->s; }
