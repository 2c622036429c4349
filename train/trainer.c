/* train/trainer.c - epochs, validation, stopping. See trainer.h. */
#include <stdio.h>
#include <string.h>

#include "train/trainer_internal.h"

const float *lmb_trainer_result(const lmb_trainer *t)
{
    return t->s.best_accuracy >= 0 && t->s.best ? t->s.best : t->s.ema ? t->s.ema : t->s.state;
}

lmb_status lmb_trainer_store(const lmb_trainer *t, lmb_graph *model, lmb_error *err)
{
    lmb_state_layout *l;

    LMB_TRY(lmb_state_layout_create(model, &l, err));
    lmb_status st = lmb_state_to_graph(l, lmb_trainer_result(t), model, err);
    lmb_state_layout_destroy(l);
    return st;
}

static lmb_status validate(lmb_trainer *t, lmb_epoch *e, lmb_error *err)
{
    lmb_metrics m;
    const float *weights = t->s.ema ? t->s.ema : t->s.state;

    if (!t->valid)
        return LMB_OK;
    double result[2] = { 0, 0 };
    lmb_watch_doing(t->watch, t->s.step, t->comm->rank ? "waiting for validation" : "validation", t->comm->rank != 0);
    if (t->comm->rank == 0) {
        double from = lmb_trace_now(t->trace);
        LMB_TRY(lmb_metrics_init(&m, t->valid->classes, err));
        bool done = false;
        lmb_status st = t->resident ? lmbi_gpu_validate(t, &m, &done, err) : LMB_OK;
        if (st == LMB_OK && !done)
            st = lmb_evaluate(t->model, weights, t->valid, t->c.backend, t->threads, &m, err);
        result[0] = lmb_metrics_loss(&m);
        result[1] = lmb_metrics_accuracy(&m);
        lmb_metrics_deinit(&m);
        lmb_trace_span(t->trace, LMB_LANE_TRAINING, "validation", "validation", NULL, from);
        LMB_TRY(st);
    }
    LMB_TRY(t->comm->broadcast(t->comm, result, sizeof result, 0, err));
    e->valid_loss = result[0];
    e->valid_accuracy = result[1];
    if (e->valid_accuracy > t->s.best_accuracy) {
        t->s.best_accuracy = e->valid_accuracy;
        t->s.best_epoch = t->s.epoch;
        if (t->s.weights_in_parts)
            lmbi_parts_copy(t->parts, t->s.best, weights);
        else
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

static void trace_step(lmb_trainer *t, double from)
{
    char name[40];
    if (!t->trace)
        return;
    snprintf(name, sizeof name, "step %lld", (long long)t->s.step - 1);
    lmb_trace_span(t->trace, LMB_LANE_TRAINING, "step", name, NULL, from);
    lmb_trace_step(t->trace);
}

/* A hand in every step wants to see the weights, and may change them. */
static lmb_status stepped(lmb_trainer *t, const lmb_train_watch *watch, lmb_error *err)
{
    bool home = t->resident && !watch->hands_off;

    if (home)
        LMB_TRY(lmbi_gpu_fetch(t, err));
    LMB_TRY(watch->stepped(watch->ctx, t, err));
    return home ? lmbi_gpu_send(t, err) : LMB_OK;
}

/* What a GPU has done since is in the state again, which from now on counts. */
static lmb_status come_home(lmb_trainer *t, lmb_error *err)
{
    if (t->resident)
        LMB_TRY(lmbi_gpu_fetch(t, err));
    t->away = false;
    return LMB_OK;
}

static lmb_status run_epoch(lmb_trainer *t, const lmb_train_watch *watch, bool *stop, lmb_error *err)
{
    const lmb_batch *b;
    int64_t batches = lmb_loader_batches(t->loader);
    double start = lmb_seconds(), last = start, waited = lmb_loader_waited(t->loader);

    t->rate_images = 0;
    if (t->resident)
        LMB_TRY(lmbi_gpu_send(t, err));
    LMB_TRY(lmb_loader_begin(t->loader, (uint32_t)t->s.epoch, t->s.batch, err));
    for (;;) {
        lmb_watch_doing(t->watch, t->s.step, "waiting for data", false);
        double from = lmb_trace_now(t->trace);
        LMB_TRY(lmb_loader_next(t->loader, &b, err));
        if (!b)
            break;
        lmb_trace_span(t->trace, LMB_LANE_TRAINING, "data", "wait for data", NULL, from);
        LMB_TRY(lmbi_train_batch(t, b, err));
        t->s.batch++;
        if (watch && watch->stepped)
            LMB_TRY(stepped(t, watch, err));
        trace_step(t, from);
        t->rate_images += b->total;
        double now = lmb_seconds();
        if (watch && watch->step && (now - last > 0.1 || t->s.batch == batches)) {
            last = now;
            if (t->resident)
                LMB_TRY(lmbi_gpu_look(t, err));
            /* several ranks stop at the end of the epoch, and must not have forgotten it by then */
            *stop |= !watch->step(watch->ctx, t->s.epoch, t->s.batch, batches, t->s.loss_sum / (double)t->s.seen,
                                  (double)t->s.correct / (double)t->s.seen,
                                  (double)t->rate_images / (now - start + 1e-9));
        }
        if (t->comm->size == 1 && *stop) /* after the last batch the epoch is over all the same, and is told */
            break;
    }
    LMB_TRY(come_home(t, err));
    t->rate_seconds = lmb_seconds() - start;
    t->waited = lmb_loader_waited(t->loader) - waited;
    return LMB_OK;
}

static lmb_status finish_epoch(lmb_trainer *t, const lmb_train_watch *watch, lmb_error *err)
{
    lmb_epoch e = { .epoch = t->s.epoch,
                    .loss = t->s.loss_sum / (double)t->s.seen,
                    .accuracy = (double)t->s.correct / (double)t->s.seen,
                    .lr = lmbi_trainer_rate(t),
                    .seconds = t->rate_seconds,
                    .images_per_second = (double)t->rate_images / (t->rate_seconds + 1e-9),
                    .waited = t->waited,
                    .valid_loss = -1,
                    .valid_accuracy = -1 };

    if (t->s.epoch + 1 >= t->c.validate_from || t->s.epoch + 1 >= t->c.epochs)
        LMB_TRY(validate(t, &e, err));
    e.steps = t->remark[0] ? t->remark : NULL;
    t->s.epoch++;
    t->s.batch = 0;
    t->s.loss_sum = 0;
    t->s.correct = t->s.seen = 0;
    bool may_end = !watch || t->s.step >= watch->least_steps;
    e.reached = may_end && t->c.target_accuracy > 0 && e.valid_accuracy >= t->c.target_accuracy;
    if (e.reached ||
        (may_end && t->c.patience && t->s.best_accuracy >= 0 && t->s.epoch - t->s.best_epoch > t->c.patience))
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
        if (t->s.batch == lmb_loader_batches(t->loader)) {
            LMB_TRY(lmbi_trainer_collect(t, err));
            LMB_TRY(finish_epoch(t, watch, err));
            lmb_trainer_drop(t);
        }
        if (stop)
            return LMB_FAIL(err, LMB_E_STOPPED, "stopped in epoch %lld after batch %lld", (long long)t->s.epoch,
                            (long long)t->s.batch);
    }
    return lmbi_trainer_finish(t, err);
}
