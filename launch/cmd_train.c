/* launch/cmd_train.c - `limbeck train`: one model from a configuration, on one process or under mpirun. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "launch/job.h"
#include "launch/stage.h"
#include "launch/terminal.h"
#include "train/checkpoint.h"
#include "train/history.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck train CONFIG.yaml [--stage teacher|student] [--set key=value ...]\n"
    "       mpirun -n 2 limbeck train CONFIG.yaml ...\n\n"
    "Trains the model that the configuration describes on the training part of its split, chooses the best epoch on the\n"
    "validation part and reports the test part once, at the end.\n\n"
    "  --stage NAME       of a configuration with several stages\n"
    "  --fresh            start over, whatever an earlier run has left\n"
    "  --set key=value    change any key, e.g. --set train.epochs=3 --set train.optimizer=adam\n\n"
    "`limbeck config keys` lists every key. Checkpoints are written to <run>/<stage>; Ctrl-C, kill -9 or a power cut lose\n"
    "nothing: the same command goes on and ends in the same weights. Exit code 3 says that it was stopped.\n";

static volatile sig_atomic_t interrupted;
static void on_signal(int s) { (void)s; interrupted = 1; }

typedef struct watcher {
    lmb_progress bar;
    const lmb_train_config *c;
    int rank;
    lmb_trainer *trainer;
    const char *config;                                          /* resolved, as text */
    char checkpoint[LMB_STAGE_PATH], history[LMB_STAGE_PATH];
    double saved;                                                /* when              */
    lmb_error err;                                               /* of a failed save  */
} watcher;

static lmb_status save(watcher *w, lmb_error *err)
{
    w->saved = lmb_seconds();
    return lmb_checkpoint_save(w->checkpoint, lmb_trainer_state_of(w->trainer), w->config, err);
}

static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    watcher *w = ctx;
    char title[48], figures[120];

    if (w->rank == 0) {
        snprintf(title, sizeof title, "epoch %lld/%lld", (long long)epoch + 1, (long long)w->c->epochs);
        snprintf(figures, sizeof figures, "loss %.4f  accuracy %.2f %%  %.0f images/s", loss, 100 * accuracy, rate);
        lmb_progress_show(&w->bar, title, epoch * batches + batch, w->c->epochs * batches, figures);
        if (batch < batches && lmb_seconds() - w->saved > w->c->checkpoint_s && save(w, &w->err) != LMB_OK)
            return false;
    }
    return !interrupted;
}

static lmb_status on_epoch(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *err)
{
    watcher *w = ctx;
    char line[240], valid[80] = "";

    (void)t;
    if (w->rank)
        return LMB_OK;
    if (e->valid_accuracy >= 0)
        snprintf(valid, sizeof valid, "  validation %.2f %%%s", 100 * e->valid_accuracy, e->best ? " (best)" : "");
    snprintf(line, sizeof line, "epoch %lld/%lld  loss %.4f  accuracy %.2f %%%s  %.0f images/s  %.1f s  waited %.2f s for data",
             (long long)e->epoch + 1, (long long)w->c->epochs, e->loss, 100 * e->accuracy, valid, e->images_per_second, e->seconds, e->waited);
    lmb_progress_line(&w->bar, line);
    LMB_TRY(lmb_history_add(w->history, e, err));
    return save(w, err);
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

/* Go on from the checkpoint of an earlier run, if there is one; rank 0 reads for all. */
static lmb_status resume(watcher *w, lmb_comm *comm, bool fresh, lmb_error *err)
{
    lmb_trainer_state *s = lmb_trainer_state_of(w->trainer);
    int there = comm->rank == 0 && !fresh && lmb_file_exists(w->checkpoint);

    if (there)
        LMB_TRY(lmb_checkpoint_load(w->checkpoint, s, w->config, err));
    if (comm->rank == 0)
        LMB_TRY(lmb_history_cut(w->history, there ? s->epoch : 0, err));
    LMB_TRY(comm->broadcast(comm, &there, sizeof there, 0, err));
    if (!there)
        return LMB_OK;
    if (comm->rank == 0)
        fprintf(stderr, "going on in epoch %lld after batch %lld\n", (long long)s->epoch + 1, (long long)s->batch);
    return lmb_checkpoint_share(comm, s, err);
}

static lmb_status report(const lmb_job *j, const lmb_graph *model, const lmb_trainer *t, lmb_error *err)
{
    lmb_metrics m;
    double lo, hi;

    LMB_TRY(lmb_metrics_init(&m, j->test->classes, err));
    lmb_status st = lmb_evaluate(model, lmb_trainer_result(t), j->test, j->stage.train.backend, lmb_cpu_count(), &m, err);
    lmb_metrics_interval(&m, &lo, &hi);
    if (st == LMB_OK)
        printf("test accuracy %.2f %% (95 %% interval %.2f to %.2f), macro F1 %.4f, loss %.4f, %lld samples\n", 100 * lmb_metrics_accuracy(&m),
               100 * lo, 100 * hi, lmb_metrics_macro_f1(&m), lmb_metrics_loss(&m), (long long)m.n);
    lmb_metrics_deinit(&m);
    return st;
}

static void on_stall(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "\nlimbeck train: %s\n", sentence);
}

static lmb_status train_model(lmb_job *j, lmb_comm *comm, const lmb_graph *model, bool fresh, watcher *w, lmb_error *err)
{
    const lmb_train_config *c = &j->stage.train;
    double smoothing = c->label_smoothing;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_watch watch = { on_step, on_epoch, w };
    lmb_watch *board = NULL;
    char path[LMB_STAGE_PATH];

    LMB_TRY(lmb_trainer_create(c, model, &loss, j->train, j->validation, comm, &w->trainer, err));
    LMB_TRY(resume(w, comm, fresh, err));
    LMB_TRY(lmb_stage_path(path, j->c.run, j->stage_name, "ranks", err));
    LMB_TRY(lmb_watch_open(comm, path, c->stall_s, on_stall, NULL, &board, err));
    lmb_trainer_watch(w->trainer, board);
    lmb_progress_begin(&w->bar);
    w->saved = lmb_seconds();
    lmb_status st = lmb_trainer_run(w->trainer, &watch, err);
    lmb_watch_close(board);
    if (w->err.status != LMB_OK) { /* a save inside an epoch failed: that stopped the run */
        lmb_error_clear(err);
        return LMB_FAIL(err, w->err.status, "%s", w->err.msg);
    }
    if (st == LMB_E_STOPPED && comm->rank == 0) {
        lmb_error local = LMB_ERROR_INIT;
        if (save(w, &local) != LMB_OK)
            return lmb_error_clear(err), LMB_FAIL(err, local.status, "%s", local.msg);
        fprintf(stderr, "stopped; the same command goes on from here\n");
    }
    if (st == LMB_OK && comm->rank == 0) {
        print_hash(w->trainer);
        st = report(j, model, w->trainer, err);
    }
    return st;
}

static lmb_status train(lmb_job *j, lmb_comm *comm, bool fresh, lmb_error *err)
{
    lmb_graph *model = NULL;
    lmb_str config = LMB_STR_INIT;
    watcher w = { .c = &j->stage.train, .rank = comm->rank };
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_job_dump(j, &config, err));
    LMB_TRY_GOTO(st, done, agree(&config, comm, err));
    w.config = config.text;
    LMB_TRY_GOTO(st, done, lmb_stage_path(w.checkpoint, j->c.run, j->stage_name, "checkpoint.h5", err));
    LMB_TRY_GOTO(st, done, lmb_stage_path(w.history, j->c.run, j->stage_name, "history.jsonl", err));
    LMB_TRY_GOTO(st, done, lmb_job_data(j, err));
    LMB_TRY_GOTO(st, done, lmb_model_build(j->stage.model, &j->train->shape, j->train->classes, (uint64_t)j->stage.train.seed, &model, err));
    st = train_model(j, comm, model, fresh, &w, err);
done:
    lmb_trainer_destroy(w.trainer);
    lmb_graph_destroy(model);
    lmb_str_free(&config);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "!fresh", NULL };
    lmb_args a;
    lmb_job j;
    lmb_comm *comm = NULL;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(a.word[0], &a, lmb_args_get(&a, "stage", NULL), &j, err));
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    lmb_status st = lmb_comm_open(&comm, err);
    if (st == LMB_OK)
        st = train(&j, comm, lmb_args_get(&a, "fresh", NULL) != NULL, err);
    if (st != LMB_OK && st != LMB_E_STOPPED && comm && comm->size > 1) { /* the others wait for us: end them too */
        fprintf(stderr, "limbeck train: rank %d: %s\n", comm->rank, err->msg);
        comm->abort(comm, 75);
    }
    lmb_comm_close(comm);
    lmb_job_close(&j);
    return st;
}

const lmb_cmd lmb_cmd_train = { "train", "train a model", usage, run };
