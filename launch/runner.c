/* launch/runner.c - see runner.h. */
#include "launch/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "distill/prune/masks.h"
#include "launch/cmd.h"
#include "launch/job.h"
#include "launch/lock.h"
#include "launch/plan_cache.h"
#include "launch/signals.h"
#include "launch/stage.h"
#include "launch/terminal.h"
#include "train/checkpoint.h"
#include "train/events.h"
#include "train/history.h"

enum { PATIENCE_S = 60 }; /* for the last processes of a killed training in the same folder */

typedef struct watcher {
    lmb_progress bar;
    const lmb_train_config *c;
    const lmb_run_request *q;
    int rank;
    lmb_comm *comm;
    lmb_trainer *trainer;
    const char *config;                                          /* resolved, as text */
    char folder[LMB_STAGE_PATH], checkpoint[LMB_STAGE_PATH], history[LMB_STAGE_PATH];
    lmb_events events;                                           /* of rank 0         */
    double saved;                                                /* when              */
    lmb_error err;                                               /* of a failed save  */
    char steps[600];                                             /* how they run, as said last */
} watcher;

/* Rank 0's part in a checkpoint. */
static lmb_status save(watcher *w, lmb_error *err)
{
    double from = lmb_trace_now(w->q->trace);
    w->saved = lmb_seconds();
    LMB_TRY(lmb_checkpoint_save(w->checkpoint, lmb_trainer_state_of(w->trainer), w->config, err));
    lmb_trace_span(w->q->trace, LMB_LANE_TRAINING, "file", "write a checkpoint", NULL, from);
    return LMB_OK;
}

/* On all ranks at once: the state may be divided among them. */
static lmb_status save_whole(watcher *w, lmb_error *err)
{
    LMB_TRY(lmb_trainer_gather(w->trainer, err));
    lmb_status st = w->rank == 0 ? save(w, err) : LMB_OK;
    lmb_trainer_drop(w->trainer);
    return st;
}

static bool is_due(const watcher *w) { return w->rank == 0 && lmb_seconds() - w->saved > w->c->checkpoint_s; }

/* Inside an epoch rank 0 saves by itself, if it has everything. */
static bool saves_alone(const watcher *w)
{
    return !lmb_trainer_state_of(w->trainer)->in_parts && !lmb_trainer_state_of(w->trainer)->needs_all;
}

/* train.minutes; several ranks end at the end of an epoch, where rank 0 says so. */
static bool time_is_up(const watcher *w)
{
    return w->c->minutes > 0 && lmb_seconds() - w->q->began > 60 * w->c->minutes;
}

static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    watcher *w = ctx;
    char title[48], figures[120];

    if (w->rank == 0) {
        snprintf(title, sizeof title, "epoch %lld/%lld", (long long)epoch + 1, (long long)w->c->epochs);
        snprintf(figures, sizeof figures, "loss %.4f  accuracy %.2f %%  %.0f images/s", loss, 100 * accuracy, rate);
        lmb_progress_show(&w->bar, title, epoch * batches + batch, w->c->epochs * batches, figures);
        if (batch < batches && saves_alone(w) && is_due(w) && save_whole(w, &w->err) != LMB_OK)
            return false;
    }
    return !lmb_interrupted() && !time_is_up(w);
}

static lmb_status on_epoch(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *err)
{
    watcher *w = ctx;
    char line[240], valid[80] = "";

    (void)t;
    if (w->rank)
        return save_whole(w, err);
    if (e->valid_accuracy >= 0)
        snprintf(valid, sizeof valid, "  validation %.2f %%%s", 100 * e->valid_accuracy, e->best ? " (best)" : "");
    snprintf(line, sizeof line,
             "epoch %lld/%lld  loss %.4f  accuracy %.2f %%%s  %.0f images/s  %.1f s  waited %.2f s for data",
             (long long)e->epoch + 1, (long long)w->c->epochs, e->loss, 100 * e->accuracy, valid, e->images_per_second,
             e->seconds, e->waited);
    lmb_progress_line(&w->bar, line);
    if (e->steps && strcmp(e->steps, w->steps) != 0) {
        snprintf(w->steps, sizeof w->steps, "%s", e->steps);
        lmb_progress_line(&w->bar, w->steps);
    }
    if (e->reached) {
        snprintf(line, sizeof line, "validation has reached %.2f %% (train.target_accuracy) %.2f s after the start",
                 100 * w->c->target_accuracy, lmb_seconds() - w->q->began);
        lmb_progress_line(&w->bar, line);
    }
    LMB_TRY(lmb_history_add(w->history, e, err));
    LMB_TRY(lmb_events_epoch(&w->events, (double)time(NULL), e, err));
    return save_whole(w, err);
}

static lmb_status on_stepped(void *ctx, lmb_trainer *t, lmb_error *err)
{
    watcher *w = ctx;
    char due;

    if (w->q->stepped) {
        LMB_TRY(lmb_trainer_together(t, err));
        LMB_TRY(w->q->stepped(w->q->hand, t, err));
    }
    if (saves_alone(w))
        return LMB_OK;
    due = is_due(w);
    LMB_TRY(w->comm->broadcast(w->comm, &due, 1, 0, err));
    return due ? save_whole(w, err) : LMB_OK;
}

/* The final weights in a word: two runs with the same bits print the same line. */
static void print_hash(lmb_trainer *t)
{
    const lmb_trainer_state *s = lmb_trainer_state_of(t);
    lmb_hash h = lmb_hash_of(s->state, s->layout->count * sizeof *s->state);
    char hex[LMB_HASH_HEX];

    lmb_hash_hex(&h, hex);
    printf("weights %.32s\n", hex);
}

/* All ranks must have been given the same configuration. */
static lmb_status agree(const lmb_str *config, lmb_comm *comm, lmb_error *err)
{
    lmb_hash h = lmb_hash_of(config->text, config->n);
    return lmb_comm_agree(comm, "configuration", &h, sizeof h, err);
}

static void on_warning(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    fprintf(stderr, "limbeck train: %s\n", text);
}

static const lmb_log warnings = { on_warning, NULL, LMB_LOG_WARN };
static const lmb_log notes = { on_warning, NULL, LMB_LOG_INFO }; /* also how kernels were chosen */

/* Go on from the checkpoint of an earlier run, if there is one; rank 0 reads for all. */
static lmb_status resume(watcher *w, lmb_comm *comm, bool fresh, bool *resumed, lmb_error *err)
{
    lmb_trainer_state *s = lmb_trainer_state_of(w->trainer);
    int there = comm->rank == 0 && !fresh && lmb_file_exists(w->checkpoint);

    LMB_TRY(comm->broadcast(comm, &there, sizeof there, 0, err));
    if (there)
        LMB_TRY(lmb_trainer_gather(w->trainer, err));
    if (there && comm->rank == 0)
        LMB_TRY(lmb_checkpoint_load(w->checkpoint, s, w->config, &warnings, err));
    if (comm->rank == 0) {
        int64_t done = there ? s->epoch : 0;
        LMB_TRY(lmb_history_cut(w->history, "epoch", done, err));
        LMB_TRY(lmb_events_cut(w->folder, done, err));
        if (done < w->c->epochs)
            LMB_TRY(lmb_events_begin(&w->events, w->folder, (double)time(NULL), err));
    }
    *resumed = there;
    if (!there)
        return LMB_OK;
    if (comm->rank == 0 && s->epoch >= w->c->epochs)
        fprintf(stderr, "all %lld epochs are done already\n", (long long)s->epoch);
    else if (comm->rank == 0)
        fprintf(stderr, "going on in epoch %lld after batch %lld\n", (long long)s->epoch + 1, (long long)s->batch);
    LMB_TRY(lmb_checkpoint_share(comm, s, err));
    return lmb_trainer_scatter(w->trainer, err);
}

/* A training that begins with what another one has left. */
static lmb_status begin(watcher *w, lmb_error *err)
{
    lmb_trainer_state *s = lmb_trainer_state_of(w->trainer);

    LMB_TRY(lmb_trainer_gather(w->trainer, err));
    if (w->rank == 0)
        LMB_TRY(w->q->begins(w->q->other, s, err));
    LMB_TRY(lmb_checkpoint_share(w->comm, s, err));
    return lmb_trainer_scatter(w->trainer, err);
}

/* The weights are together on every rank, and have to stay so: nothing is dropped before they are stored. */
static lmb_status end(watcher *w, lmb_error *err)
{
    LMB_TRY(lmb_trainer_gather(w->trainer, err));
    return w->rank == 0 ? w->q->ends(w->q->other, lmb_trainer_state_of(w->trainer), err) : LMB_OK;
}

/* What the optimizer's state, and weights, cost each of several ranks. */
static void print_memory(const watcher *w)
{
    lmb_trainer_memory m = lmb_trainer_slots(w->trainer);
    if (w->rank == 0 && m.here < m.all)
        fprintf(stderr, "the optimizer remembers %.1f kB, of which rank 0 of %d keeps %.1f kB\n", (double)m.all / 1e3,
                w->comm->size, (double)m.here / 1e3);
    if (w->rank == 0 && m.weights_here < m.weights)
        fprintf(stderr, "weights, their average and the best ones take %.1f kB, of which rank 0 keeps %.1f kB\n",
                (double)m.weights / 1e3, (double)m.weights_here / 1e3);
}

static void on_stall(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "\nlimbeck train: %s\n", sentence);
}

/* Bubbles: how long each rank of a pipeline waited for the others, and how long it must, with stages of equal cost. */
static lmb_status print_bubbles(const watcher *w, lmb_error *err)
{
    lmb_trainer_flow f = lmb_trainer_pipeline(w->trainer);
    double share = f.seconds > 0 ? 100 * f.waited / f.seconds : 0, *all;
    lmb_str line = LMB_STR_INIT;

    if (f.stages == 0 || f.ranks == 1 || f.seconds <= 0) /* on GPUs nobody waits on the host */
        return LMB_OK;
    all = calloc((size_t)w->comm->size, sizeof *all);
    lmb_status st = all ? w->comm->gather_all(w->comm, &share, all, sizeof share, err)
                        : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d ranks' times", w->comm->size);
    for (int r = 0; r < w->comm->size && st == LMB_OK; r++)
        lmb_str_addf(&line, "%s%.0f", r ? ", " : "", all[r]);
    if (st == LMB_OK && w->rank == 0)
        fprintf(stderr,
                "pipeline of %lld stages on %d ranks, %lld microbatches: ranks waited %s %% of the time for others "
                "(%.0f %% with stages of equal cost)\n",
                (long long)f.stages, f.ranks, (long long)f.microbatches, line.text ? line.text : "",
                100.0 * (f.ranks - 1) / (double)(f.microbatches * f.ranks / w->comm->size + f.ranks - 1));
    lmb_str_free(&line);
    free(all);
    return st;
}

static lmb_status run(lmb_comm *comm, const lmb_run_request *q, watcher *w, lmb_error *err)
{
    lmb_train_watch watch = { on_step, on_epoch, w, NULL };
    lmb_watch *board = NULL;
    char path[LMB_STAGE_PATH], cache[LMB_PLAN_CACHE_PATH];
    const char *folder = NULL;
    bool resumed = false;

    LMB_TRY(lmb_trainer_create(q->train, q->model, q->loss, q->data, q->validation, comm, &w->trainer, err));
    if (q->stepped || !saves_alone(w)) /* nothing for every step: then a GPU need not bring weights home for it */
        watch.stepped = on_stepped;
    watch.hands_off = !q->stepped;
    watch.least_steps = q->least_steps;
    print_memory(w);
    LMB_TRY(resume(w, comm, q->fresh, &resumed, err));
    if (q->begins && !resumed)
        LMB_TRY(begin(w, err));
    if (comm->rank == 0 && lmb_trainer_state_of(w->trainer)->stages)
        fprintf(stderr, "stages end before nodes %s, as measured%s\n", lmb_trainer_state_of(w->trainer)->stages,
                resumed ? " when the training began" : "");
    LMB_TRY(lmb_plan_cache_folder(q->plan_cache, cache, &folder, err));
    lmb_trainer_trace(w->trainer, q->trace);
    LMB_TRY(lmb_trainer_kernels(w->trainer, folder, resumed, &notes, err));
    lmb_trainer_lighten(w->trainer, q->model);
    if (q->stepped) {
        LMB_TRY(lmb_trainer_together(w->trainer, err));
        LMB_TRY(q->stepped(q->hand, w->trainer, err));
    }
    LMB_TRY(lmb_stage_path(path, q->run, q->stage, "ranks", err));
    LMB_TRY(lmb_watch_open(comm, path, q->train->stall_s, on_stall, NULL, &board, err));
    lmb_trainer_watch(w->trainer, board);
    lmb_progress_begin(&w->bar);
    w->saved = lmb_seconds();
    lmb_status st = lmb_trainer_run(w->trainer, &watch, err);
    if (st == LMB_E_STOPPED && lmb_trainer_state_of(w->trainer)->epoch >= q->train->epochs) {
        lmb_error_clear(err); /* stopped with the last epoch: no other start has anything to go on with */
        st = lmb_trainer_run(w->trainer, &watch, err);
    }
    lmb_trainer_watch(w->trainer, NULL);
    lmb_watch_close(board);
    lmb_progress_end(&w->bar);
    if (w->err.status != LMB_OK) { /* a save inside an epoch failed: that stopped the run */
        lmb_error_clear(err);
        return LMB_FAIL(err, w->err.status, "%s", w->err.msg);
    }
    if (st == LMB_E_STOPPED) {
        lmb_error local = LMB_ERROR_INIT;
        if (save_whole(w, &local) != LMB_OK)
            return lmb_error_clear(err), LMB_FAIL(err, local.status, "%s", local.msg);
        if (comm->rank == 0 && !lmb_interrupted())
            fprintf(stderr, "%g minutes are over (train.minutes); the same command goes on from here\n", w->c->minutes);
        else if (comm->rank == 0)
            fprintf(stderr, "stopped; the same command goes on from here\n");
    }
    LMB_TRY(st);
    LMB_TRY(print_bubbles(w, err));
    if (q->ends)
        LMB_TRY(end(w, err));
    if (comm->rank == 0)
        print_hash(w->trainer);
    return lmb_trainer_store(w->trainer, q->model, err);
}

/* Where no other hand is in the training, a model that comes with zeros keeps them. */
static lmb_status hold_zeros(lmb_run_request *q, const lmb_comm *comm, lmb_masks **out, lmb_error *err)
{
    double share;

    if (q->stepped)
        return LMB_OK;
    LMB_TRY(lmb_masks_hold(q->model, out, &share, err));
    if (!*out)
        return LMB_OK;
    q->stepped = lmb_masks_stepped;
    q->hand = *out;
    if (comm->rank == 0)
        fprintf(stderr, "%s: holding %.2f %% of the weights at zero, as they came\n", q->stage, 100 * share);
    return LMB_OK;
}

lmb_status lmb_run_training(lmb_comm *comm, const lmb_run_request *request, lmb_error *err)
{
    lmb_run_request held = *request;
    const lmb_run_request *q = &held;
    lmb_masks *masks = NULL;
    lmb_str config = LMB_STR_INIT;
    watcher w = { .c = q->train, .q = q, .rank = comm->rank, .comm = comm };
    int lock = -1;
    lmb_status st;

    LMB_TRY(lmb_job_check_patience(q->train, q->validation, err));
    LMB_TRY(hold_zeros(&held, comm, &masks, err));
    lmb_signals_catch(NULL);
    lmb_str_add(&config, q->config);
    LMB_TRY_GOTO(st, done, agree(&config, comm, err));
    w.config = config.text;
    LMB_TRY_GOTO(st, done, lmb_stage_path(w.folder, q->run, q->stage, "", err));
    if (comm->rank == 0) /* two would write each other's checkpoints */
        LMB_TRY_GOTO(st, done, lmb_lock(w.folder, PATIENCE_S, NULL, &lock, err));
    LMB_TRY_GOTO(st, done, lmb_stage_path(w.checkpoint, q->run, q->stage, "checkpoint.h5", err));
    LMB_TRY_GOTO(st, done, lmb_stage_path(w.history, q->run, q->stage, "history.jsonl", err));
    st = run(comm, q, &w, err);
done:
    lmb_trainer_destroy(w.trainer);
    lmb_masks_destroy(masks);
    lmb_str_free(&config);
    lmb_unlock(lock);
    return st;
}

lmb_status lmb_with_ranks(lmb_status (*fn)(void *ctx, lmb_comm *comm, lmb_error *err), void *ctx, lmb_error *err)
{
    lmb_comm *comm = NULL;
    lmb_status st = lmb_comm_open(&comm, err);
    if (st == LMB_OK)
        st = fn(ctx, comm, err);
    if (st != LMB_OK && st != LMB_E_STOPPED && comm && comm->size > 1) { /* the others wait for us: end them too */
        fprintf(stderr, "limbeck: rank %d: %s\n", comm->rank, err->msg);
        comm->abort(comm, lmb_exit_code(st));
    }
    lmb_comm_close(comm);
    return st;
}
