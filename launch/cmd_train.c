/* launch/cmd_train.c - `limbeck train`: one model from a configuration, on one process or under mpirun. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "launch/job.h"
#include "launch/model_file.h"
#include "launch/plan_cache.h"
#include "launch/runner.h"
#include "launch/stage.h"
#include "launch/tracing.h"
#include "launch/update.h"

static const char usage[] =
    "usage: limbeck train CONFIG.yaml [--stage teacher|student] [--continue [--again]] [--trace FILE] [--plan-cache WHERE]\n"
    "                     [--set key=value ...]\n"
    "       mpirun -n 2 limbeck train CONFIG.yaml ...\n\n"
    "Trains the model that the configuration describes on the training part of its split, chooses the best epoch on the\n"
    "validation part and reports the test part once, at the end.\n\n"
    "  --stage NAME       of a configuration with several stages\n"
    "  --fresh            start over, whatever an earlier run has left\n"
    "  --continue         an update of what was trained, with the new samples of the section `update` beside a share of the\n"
    "                     old ones: data, list (CSV of `limbeck monitor --label`), share, train; into <run>/<stage>-updated.\n"
    "                     Where no model of the run was trained it begins with compress.teacher\n"
    "  --again            with --continue: a further update with other new samples, from what the last one has left, into\n"
    "                     <run>/<stage>-updated-2 and so on\n"
    "  --set key=value    change any key, e.g. --set train.epochs=3 --set train.optimizer=adam\n" LMB_PLAN_CACHE_USAGE
        LMB_TRACING_USAGE "\n"
    "`limbeck config keys` lists every key. Checkpoints are written to <run>/<stage>; Ctrl-C, kill -9 or a power cut lose\n"
    "nothing: the same command goes on and ends in the same weights. Exit code 3 says that it was stopped.\n";

typedef struct request { lmb_job job; bool fresh, update, again; lmb_tracing tracing; } request;

/* The model with its chosen weights into a file, and what it is worth on the test part. */
static lmb_status report(const lmb_job *j, const lmb_graph *model, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    LMB_TRY(lmb_stage_path(path, j->c.run, j->stage_name, "model.onnx", err));
    LMB_TRY(lmb_onnx_write(path, model, NULL, err));
    return lmb_stage_report(j->c.run, j->stage_name, path, model, j->test, j->stage.train.backend, err);
}

/* A teacher from a file that the configuration does not say how to train: others have done that. Its normalisation,
 * which the `model` section describes, becomes a part of <run>/teacher/model.onnx. */
static bool is_ready(const lmb_job *j)
{
    const lmb_tree *t = j->c.teacher, *head = lmb_tree_get(lmb_tree_get(t, "model"), "new_head");
    const char *name = "";
    bool fresh_head = false;

    return strcmp(j->stage_name, "teacher") == 0 && !lmb_tree_has(t, "train") &&
           lmb_tree_name(j->stage.model, &name, NULL) == LMB_OK && strcmp(name, "onnx") == 0 &&
           !(head && lmb_tree_bool(head, &fresh_head, NULL) == LMB_OK && fresh_head);
}

static lmb_status train_model(request *r, lmb_comm *comm, lmb_error *err)
{
    lmb_job *j = &r->job;
    lmb_graph *model = NULL;
    lmb_str config = LMB_STR_INIT;
    double smoothing = j->stage.train.label_smoothing;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_job_dump_stage(j, &config, err));
    LMB_TRY_GOTO(st, done, lmb_job_data(j, err));
    LMB_TRY_GOTO(st, done, lmb_job_training(j, err));
    LMB_TRY_GOTO(st, done,
                 lmb_model_of(j, j->stage.model, (uint64_t)j->stage.train.seed, comm->rank == 0, &model, err));
    lmb_run_request q = { j->c.run,
                          j->stage_name,
                          config.text,
                          &j->stage.train,
                          model,
                          &loss,
                          j->train,
                          j->validation,
                          r->fresh,
                          .began = j->began,
                          .plan_cache = j->c.plan_cache,
                          .trace = r->tracing.trace };
    if (!is_ready(j))
        LMB_TRY_GOTO(st, done, lmb_run_training(comm, &q, err));
    else if (comm->rank == 0)
        fprintf(stderr, "the teacher has no `train` and comes from a file: it is taken as it is\n");
    if (comm->rank == 0)
        st = report(j, model, err);
done:
    lmb_graph_destroy(model);
    lmb_str_free(&config);
    return st;
}

static lmb_status train(void *ctx, lmb_comm *comm, lmb_error *err)
{
    request *r = ctx;
    LMB_TRY(lmb_tracing_begin(&r->tracing, comm, err));
    return lmb_tracing_end(&r->tracing, comm,
                           r->update ? lmbi_update(&r->job, comm, r->fresh, r->again, err) : train_model(r, comm, err),
                           err);
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "!fresh", "!continue", "!again", "plan-cache", LMB_TRACING_OPTIONS,
                                         NULL };
    request r = { .fresh = false };
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_tracing_bind(&a, &r.tracing, err));
    r.update = lmb_args_get(&a, "continue", NULL) != NULL;
    LMB_TRY(lmb_job_open(a.word[0], &a, lmb_args_get(&a, "stage", r.update ? LMB_JOB_UPDATE : NULL), &r.job, err));
    r.fresh = lmb_args_get(&a, "fresh", NULL) != NULL;
    r.again = lmb_args_get(&a, "again", NULL) != NULL;
    r.job.c.plan_cache = lmb_args_get(&a, "plan-cache", r.job.c.plan_cache);
    lmb_status st = r.again && !r.update
                        ? LMB_FAIL(err, LMB_E_ARG, "--again is a further update: write --continue --again")
                        : lmb_with_ranks(train, &r, err);
    lmb_job_close(&r.job);
    return st;
}

const lmb_cmd lmb_cmd_train = { "train", "train a model", usage, run };
