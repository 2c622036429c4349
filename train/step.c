/* train/step.c - a batch: its shards run, their vectors are summed (reduce.h), the weights move. See trainer.h. */
#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "train/trainer_internal.h"

/* ---- shards ---- */

void lmbi_shard_range(const lmb_trainer *t, int64_t n, int64_t k, int64_t *lo, int64_t *hi)
{
    int64_t size = t->c.mode == LMBI_FAST ? (n + t->slots_all - 1) / t->slots_all : t->c.shard;
    *lo = k * size < n ? k * size : n;
    *hi = (k + 1) * size < n ? (k + 1) * size : n;
}

typedef struct turn { lmb_trainer *t; const lmb_batch *b; lmb_step_info info; } turn;

/* Of rows from `row` on of the batch of all ranks. */
static lmb_place place_of(const lmb_trainer *t, const lmb_batch *b, int64_t row)
{
    return (lmb_place){ t->s.epoch * t->train->n + t->s.seen, row, b->total };
}

/* A shard at work: the bucket that it hands over next. */
typedef struct shard { lmbi_reducer *r; int bucket; } shard;

/* The vector is final from segment `first` on. The last bucket also holds the loss and waits for the end. */
static void on_final(void *ctx, int first)
{
    shard *s = ctx;
    while (s->bucket + 1 < lmbi_reducer_buckets(s->r) && lmbi_reducer_bucket(s->r, s->bucket)->first >= first)
        lmbi_reducer_done(s->r, s->bucket++);
}

static void run_shard(void *ctx, int task, int w)
{
    turn *r = ctx;
    lmb_trainer *t = r->t;
    lmbi_worker *me = &t->worker[w];
    int64_t lo, hi, numbers = lmb_shape_count(&t->train->shape);

    if (me->err.status != LMB_OK)
        return;
    lmbi_shard_range(t, r->b->total, (int64_t)t->replica * t->slots + task, &lo, &hi);
    int64_t at = lo - r->b->lo;
    float *v = lmbi_reducer_slot(t->reducer, task);
    shard mine = { t->reducer, 0 };
    lmb_step_info info = r->info;
    info.sample = r->b->sample + at;
    lmb_rank_sums sums;
    info.ranks = lmbi_sync_norm_sums(t, t->share[task], &sums);
    lmb_program_step s = { .n = hi - lo,
                           .x = r->b->x + at * numbers,
                           .y = r->b->y + at,
                           .state = t->s.state,
                           .out = v + LMBI_SUMS,
                           .info = &info,
                           .place = place_of(t, r->b, lo),
                           .final = on_final,
                           .ctx = &mine,
                           .factors = t->factors ? t->factors[task] : NULL };
    lmb_trace *trace = lmb_trace_fine(t->trace) ? t->trace : NULL;
    double from = lmb_trace_now(trace);
    if (lmb_program_run(me->program, &s, &me->err) != LMB_OK)
        return;
    lmb_trace_span(trace, LMB_LANE_TRAINING + w, "shard", "shard: forward and backward", NULL, from);
    v[LMBI_LOSS] = s.loss * (float)s.n;
    v[LMBI_CORRECT] = (float)s.correct;
    while (mine.bucket < lmbi_reducer_buckets(t->reducer))
        lmbi_reducer_done(t->reducer, mine.bucket++);
}

/* How many of this rank's slots have samples, always the first ones, and the share of the batch that each has. */
static int weigh_slots(lmb_trainer *t, int64_t n)
{
    int filled = 0;
    for (int64_t lo, hi; filled < t->slots; filled++) {
        lmbi_shard_range(t, n, (int64_t)t->replica * t->slots + filled, &lo, &hi);
        if (lo >= hi)
            break;
        t->share[filled] = (float)((double)(hi - lo) / (double)n);
    }
    return filled;
}

/* The shards of this rank's pipeline flow through its stages. */
static lmb_status run_stages(lmb_trainer *t, const lmb_batch *b, int filled, const lmb_step_info *info, lmb_error *err)
{
    lmbi_flow f = { filled,     t->first, b->x,       b->y,     lmb_shape_count(&t->train->shape),
                    t->s.state, *info,    t->reducer, t->watch, t->s.step };

    for (int i = 0; i < filled; i++)
        lmbi_shard_range(t, b->total, (int64_t)t->replica * t->slots + i, &t->first[i], &t->first[i + 1]);
    f.info.sample = b->sample;
    f.place = place_of(t, b, t->first[0]);
    return lmbi_pipeline_run(t->pipeline, &f, err);
}

/* ---- the step ---- */

LMB_HOT static void scale(float *v, float f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] *= f;
}

enum { MANY = 1 << 16 }; /* numbers from which it pays to wake other threads for a step */

LMB_HOT static void pull_to(float *LMB_RESTRICT g, const float *LMB_RESTRICT w, const float *LMB_RESTRICT anchor,
                            float pull, size_t n)
{
    for (size_t i = 0; i < n; i++)
        g[i] += pull * (w[i] - anchor[i]);
}

LMB_HOT static void shift_by(float *LMB_RESTRICT g, const float *LMB_RESTRICT shift, size_t n)
{
    for (size_t i = 0; i < n; i++)
        g[i] += shift[i];
}

/* What train.loss_scale has multiplied; new content of what is no parameter it has not. */
static void unscale(const lmb_trainer *t, float *v)
{
    for (int i = 0; i < t->parts->n_own && t->c.loss_scale != 1; i++) {
        const lmb_segment *s = &t->layout->segment[t->parts->own[i].segment];
        if (s->role == LMB_ROLE_PARAMETER && !s->frozen)
            scale(v + t->parts->own[i].from, (float)(1 / t->c.loss_scale), t->parts->own[i].n);
    }
}

static void add_terms(const lmb_trainer *t, float *v)
{
    const lmb_gradient_terms *e = &t->terms;
    for (int i = 0; i < t->parts->n_own && (e->anchor || e->shift); i++) {
        const lmbi_range *o = &t->parts->own[i];
        const lmb_segment *s = &t->layout->segment[o->segment];
        if (s->role != LMB_ROLE_PARAMETER || s->frozen)
            continue;
        if (e->anchor)
            pull_to(v + o->from, t->s.state + o->offset, e->anchor + o->offset, (float)e->pull, o->n);
        if (e->shift)
            shift_by(v + o->from, e->shift + o->offset, o->n);
    }
}

LMB_HOT static void average(float *LMB_RESTRICT ema, const float *LMB_RESTRICT w, float keep, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ema[i] = keep * ema[i] + (1 - keep) * w[i];
}

double lmbi_trainer_rate(const lmb_trainer *t)
{
    int64_t per_epoch = lmb_loader_batches(t->loader), total = per_epoch * t->c.epochs;
    return lmb_schedule_rate(t->schedule, t->schedule_config, t->c.lr,
                             (int64_t)(t->c.warmup_epochs * (double)per_epoch), t->s.step, total, per_epoch);
}

/* A short memory at first, so that the start does not linger. */
double lmbi_trainer_keep(const lmb_trainer *t)
{
    double steps = (double)t->s.step + 1;
    return fmin(t->c.ema, (1 + steps) / (10 + steps));
}

void lmbi_trainer_stepped(lmb_trainer *t, double rate)
{
    if (t->optimizer->reach)
        t->travel += rate * t->optimizer->reach(t->optimizer_config, &t->reach);
    t->s.step++;
}

/* What a step does to one range of numbers; ranges do not depend on each other. */
typedef struct move { lmb_trainer *t; float *v, shrink, keep; double lr; } move;

static void move_range(void *ctx, int i, int worker)
{
    const move *m = ctx;
    lmb_trainer *t = m->t;
    const lmbi_range *o = &t->parts->own[i];
    const lmb_segment *s = &t->layout->segment[o->segment];

    (void)worker;
    if (s->role == LMB_ROLE_PARAMETER && !s->frozen) {
        lmb_opt_range r = { .w = t->s.state + o->offset, .g = m->v + o->from, .n = o->n, .lr = m->lr, .decay = s->decay,
                            .t = t->s.steps_before + t->s.step + 1 };
        for (int k = 0; k < t->s.n_slots; k++)
            r.slot[k] = t->slot[k] + o->at;
        if (m->shrink != 1)
            scale(m->v + o->from, m->shrink, o->n);
        t->optimizer->step(t->optimizer_config, &r);
    } else if (s->has_next || (s->role == LMB_ROLE_STATISTIC && !s->frozen)) {
        memcpy(t->s.state + o->offset, m->v + o->from, o->n * sizeof *m->v);
    }
    if (t->s.ema && !t->parts->cut)
        average(t->s.ema + o->offset, t->s.state + o->offset, m->keep, o->n);
}

static void average_segment(void *ctx, int i, int worker)
{
    const move *m = ctx;
    const lmb_segment *s = &m->t->layout->segment[i];

    (void)worker;
    average(m->t->s.ema + s->offset, m->t->s.state + s->offset, m->keep, s->count);
}

/* The new weights of all ranks on each. */
static lmb_status put_together(lmb_trainer *t, lmb_error *err)
{
    lmb_trace *trace = lmb_trace_fine(t->trace) ? t->trace : NULL;
    double from = lmb_trace_now(trace);

    float *scratch = lmbi_reducer_slot(t->reducer, 0); /* its sums are used up */
    LMB_TRY(lmbi_parts_weights(t->parts, t->reducer, t->s.state, scratch, err));
    lmb_trace_span(trace, LMB_LANE_TRAINING, "sum", "weights from all ranks", NULL, from);
    return LMB_OK;
}

lmb_status lmbi_trainer_norm(lmb_trainer *t, float *sum, bool counts, double *norm, lmb_error *err)
{
    LMB_TRY(lmbi_parts_norm(t->parts, sum + LMBI_SUMS, sum, norm, err));
    if (counts) {
        t->s.loss_sum += sum[LMBI_LOSS];
        t->s.correct += (int64_t)sum[LMBI_CORRECT];
    }
    if (isfinite(*norm))
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_NUMERIC,
                    "step %lld: the gradient is not finite; use a smaller learning rate (now %g), warm-up or clip%s",
                    (long long)t->s.step, lmbi_trainer_rate(t),
                    t->c.loss_scale > 1 ? ", or a smaller train.loss_scale" : "");
}

static lmb_pool *pool_of(const lmb_trainer *t) { return t->n > MANY ? t->pool : NULL; }

/* `sum`: of all shards, or this rank's part of it. */
static lmb_status apply(lmb_trainer *t, float *sum, lmb_error *err)
{
    double norm;
    move m = { t, sum + LMBI_SUMS, 1, 0, lmbi_trainer_rate(t) };

    add_terms(t, m.v);
    lmb_status st = lmbi_trainer_norm(t, sum, !t->kept, &norm, err);
    if (st == LMB_E_NUMERIC && t->kept && t->parts->cut) { /* weights of other ranks are those uphill */
        lmb_error unsaid = LMB_ERROR_INIT;
        (void)put_together(t, &unsaid);
    }
    LMB_TRY(st);
    if (t->c.clip > 0 && norm > t->c.clip)
        m.shrink = (float)(t->c.clip / norm);
    m.keep = (float)lmbi_trainer_keep(t);
    lmb_pool_run(pool_of(t), t->parts->n_own, move_range, &m);
    if (t->parts->cut)
        LMB_TRY(put_together(t, err));
    if (t->parts->cut && t->s.ema) /* which every rank keeps whole */
        lmb_pool_run(pool_of(t), t->layout->n, average_segment, &m);
    lmbi_trainer_stepped(t, m.lr);
    return LMB_OK;
}

/* Forward, backward, and the sum of all shards. */
static lmb_status run_pass(turn *r, int filled, float **sum, lmb_error *err)
{
    lmb_trainer *t = r->t;
    const lmb_error *failed = NULL;

    lmb_watch_doing(t->watch, t->s.step, "forward and backward", false);
    lmbi_reducer_begin(t->reducer, filled, t->share);
    if (t->pipeline)
        LMB_TRY(run_stages(t, r->b, filled, &r->info, err));
    else
        lmb_pool_run(t->pool, filled, run_shard, r);
    for (int w = 0; w < t->threads && !failed; w++)
        failed = t->worker[w].err.status != LMB_OK ? &t->worker[w].err : NULL;
    lmb_watch_doing(t->watch, t->s.step, "sum of gradients", true);
    lmb_trace *trace = lmb_trace_fine(t->trace) ? t->trace : NULL;
    double from = lmb_trace_now(trace);
    LMB_TRY(lmbi_reducer_end(t->reducer, t->pool, failed != NULL, sum, err));
    lmb_trace_span(trace, LMB_LANE_TRAINING, "sum", "sums: what is left of them", NULL, from);
    if (failed)
        return LMB_FAIL(err, failed->status, "%s", failed->msg);
    unscale(t, *sum + LMBI_SUMS);
    return LMB_OK;
}

/* The second pass of train.sam, uphill; the weights are back whatever comes of it. */
static lmb_status run_uphill(turn *r, int filled, float **sum, lmb_error *err)
{
    lmb_trainer *t = r->t;

    LMB_TRY(lmbi_sam_climb(t, *sum, pool_of(t), err));
    lmb_status st = t->parts->cut ? put_together(t, err) : LMB_OK;
    if (st == LMB_OK)
        st = run_pass(r, filled, sum, err);
    lmbi_sam_back(t, st == LMB_OK ? *sum : NULL, pool_of(t));
    return st;
}

lmb_status lmbi_train_batch(lmb_trainer *t, const lmb_batch *b, lmb_error *err)
{
    turn r = { t, b, { (uint64_t)t->c.seed, (uint32_t)t->s.epoch, NULL } };
    int filled = weigh_slots(t, b->total);
    float *sum;

    if (t->resident) {
        lmb_watch_doing(t->watch, t->s.step, "forward and backward", false);
        return lmbi_gpu_batch(t, b, filled, err);
    }
    LMB_TRY(run_pass(&r, filled, &sum, err));
    if (t->kept)
        LMB_TRY(run_uphill(&r, filled, &sum, err));
    lmb_trace *trace = lmb_trace_fine(t->trace) ? t->trace : NULL;
    double from = lmb_trace_now(trace);
    t->s.seen += b->total;
    LMB_TRY(apply(t, sum, err));
    lmb_trace_span(trace, LMB_LANE_TRAINING, "update", "update of the weights", NULL, from);
    return LMB_OK;
}
