/* launch/cmd_train.c - `limbeck train`: one model from a configuration, on one process or under mpirun. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "launch/job.h"
#include "launch/terminal.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck train CONFIG.yaml [--stage teacher|student] [--set key=value ...]\n"
    "       mpirun -n 2 limbeck train CONFIG.yaml ...\n\n"
    "Trains the model that the configuration describes on the training part of its split, chooses the best epoch on the\n"
    "validation part and reports the test part once, at the end.\n\n"
    "  --stage NAME       of a configuration with several stages\n"
    "  --set key=value    change any key, e.g. --set train.epochs=3 --set train.optimizer=adam\n\n"
    "`limbeck config keys` lists every key. Ctrl-C ends the epoch's step and stops with exit code 3.\n";

static volatile sig_atomic_t interrupted;
static void on_signal(int s) { (void)s; interrupted = 1; }

typedef struct watcher { lmb_progress bar; int64_t epochs; int rank; } watcher;

static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    watcher *w = ctx;
    char title[48], figures[120];

    if (w->rank == 0) {
        snprintf(title, sizeof title, "epoch %lld/%lld", (long long)epoch + 1, (long long)w->epochs);
        snprintf(figures, sizeof figures, "loss %.4f  accuracy %.2f %%  %.0f images/s", loss, 100 * accuracy, rate);
        lmb_progress_show(&w->bar, title, epoch * batches + batch, w->epochs * batches, figures);
    }
    return !interrupted;
}

static lmb_status on_epoch(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *err)
{
    watcher *w = ctx;
    char line[240], valid[80] = "";

    (void)t, (void)err;
    if (w->rank)
        return LMB_OK;
    if (e->valid_accuracy >= 0)
        snprintf(valid, sizeof valid, "  validation %.2f %%%s", 100 * e->valid_accuracy, e->best ? " (best)" : "");
    snprintf(line, sizeof line, "epoch %lld/%lld  loss %.4f  accuracy %.2f %%%s  %.0f images/s  %.1f s  waited %.2f s for data",
             (long long)e->epoch + 1, (long long)w->epochs, e->loss, 100 * e->accuracy, valid, e->images_per_second, e->seconds, e->waited);
    lmb_progress_line(&w->bar, line);
    return LMB_OK;
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

static lmb_status train(lmb_job *j, lmb_comm *comm, lmb_error *err)
{
    lmb_graph *model = NULL;
    lmb_trainer *t = NULL;
    const lmb_train_config *c = &j->stage.train;
    double smoothing = c->label_smoothing;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    watcher w = { .epochs = c->epochs, .rank = comm->rank };
    lmb_train_watch watch = { on_step, on_epoch, &w };
    lmb_status st;

    LMB_TRY(lmb_job_data(j, err));
    LMB_TRY(lmb_model_build(j->stage.model, &j->train->shape, j->train->classes, (uint64_t)c->seed, &model, err));
    lmb_progress_begin(&w.bar);
    LMB_TRY_GOTO(st, done, lmb_trainer_create(c, model, &loss, j->train, j->validation, comm, &t, err));
    LMB_TRY_GOTO(st, done, lmb_trainer_run(t, &watch, err));
    if (comm->rank == 0)
        st = report(j, model, t, err);
done:
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", NULL };
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
        st = train(&j, comm, err);
    if (st != LMB_OK && st != LMB_E_STOPPED && comm && comm->size > 1) { /* the others wait for us: end them too */
        fprintf(stderr, "limbeck train: rank %d: %s\n", comm->rank, err->msg);
        comm->abort(comm, 75);
    }
    lmb_comm_close(comm);
    lmb_job_close(&j);
    return st;
}

const lmb_cmd lmb_cmd_train = { "train", "train a model", usage, run };
