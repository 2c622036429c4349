/* launch/cmd_distill.c - `limbeck distill`: a student learns from a teacher, then learns to be integers. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "distill/fold.h"
#include "distill/quantize/qat.h"
#include "launch/job.h"
#include "launch/runner.h"
#include "launch/stage.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck distill CONFIG.yaml [--stage student] [--fresh] [--set key=value ...]\n"
    "       mpirun -n 2 limbeck distill CONFIG.yaml ...\n\n"
    "1. Trains the student's model against the labels and a teacher (section `distill`: alpha, temperature, teacher, an .onnx\n"
    "   file; by default the teacher of this run). Without `distill`: against the labels alone.\n"
    "2. With a section `quantize`: folds BatchNormalization, inserts fake quantisation, trains on (quantize.train), freezes the\n"
    "   ranges. `limbeck export` makes the deployable file of it.\n\n"
    "Leaves <run>/student/model.onnx and <run>/student-int8/qat.onnx. Stopped at any instant, the same command goes on.\n";

typedef struct quantize_config { lmb_qat_config qat; lmb_train_config train; lmb_distill_config distill; } quantize_config;
static const lmb_field quantize_fields[] = {
    LMB_SECTION(quantize_config, qat, lmb_qat_fields, "observers"),
    LMB_SECTION(quantize_config, train, lmb_train_fields, "training with fake quantisation"),
    LMB_SECTION(quantize_config, distill, lmb_distill_fields, "the teacher's share in it"), LMB_FIELD_END
};

typedef struct request { lmb_job job; bool fresh; quantize_config quantize; lmb_distill_config distill; } request;

static lmb_status read_teacher(const lmb_job *j, const lmb_distill_config *c, lmb_graph **out, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    LMB_TRY(lmb_stage_path(path, j->c.run, "teacher", "model.onnx", err));
    return lmb_onnx_read(*c->teacher ? c->teacher : path, NULL, out, err);
}

/* Train `model` as stage `name` with a teacher (alpha > 0) or without. */
static lmb_status train_stage(request *r, lmb_comm *comm, const char *name, const lmb_train_config *c, const lmb_distill_config *dc,
                              lmb_graph *model, lmb_error *err)
{
    lmb_job *j = &r->job;
    lmb_graph *teacher = NULL;
    lmb_str config = LMB_STR_INIT;
    lmb_objective o = { .label_smoothing = c->label_smoothing };
    lmb_loss loss = lmb_objective_loss(&o);
    lmb_status st = lmb_job_dump(j, &config, err);

    if (st == LMB_OK && dc && dc->alpha > 0) {
        o.distill = *dc;
        st = read_teacher(j, dc, &teacher, err);
        o.teacher = teacher;
        if (st == LMB_OK)
            st = lmb_objective_check(&o, model, err);
    }
    if (st == LMB_OK) {
        lmb_run_request q = { j->c.run, name, config.text, c, model, &loss, j->train, j->validation, r->fresh };
        st = lmb_run_training(comm, &q, err);
    }
    lmb_graph_destroy(teacher);
    lmb_str_free(&config);
    return st;
}

static lmb_status float_student(request *r, lmb_comm *comm, lmb_graph **out, lmb_error *err)
{
    lmb_job *j = &r->job;
    char path[LMB_STAGE_PATH];

    LMB_TRY(lmb_model_build(j->stage.model, &j->train->shape, j->train->classes, (uint64_t)j->stage.train.seed, out, err));
    LMB_TRY(train_stage(r, comm, j->stage_name, &j->stage.train, j->stage.distill ? &r->distill : NULL, *out, err));
    if (comm->rank)
        return LMB_OK;
    LMB_TRY(lmb_stage_path(path, j->c.run, j->stage_name, "model.onnx", err));
    LMB_TRY(lmb_onnx_write(path, *out, NULL, err));
    return lmb_stage_report(j->c.run, j->stage_name, path, *out, j->test, j->stage.train.backend, err);
}

static lmb_status quantised_student(request *r, lmb_comm *comm, const lmb_graph *student, lmb_error *err)
{
    lmb_graph *folded = NULL, *qat = NULL, *frozen = NULL;
    char stage[64], path[LMB_STAGE_PATH];
    lmb_status st;

    snprintf(stage, sizeof stage, "%s-int8", r->job.stage_name);
    LMB_TRY_GOTO(st, done, lmb_pass_fold(student, &folded, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qat(folded, &r->quantize.qat, &qat, err));
    LMB_TRY_GOTO(st, done, train_stage(r, comm, stage, &r->quantize.train, &r->quantize.distill, qat, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qat_freeze(qat, &frozen, err));
    if (comm->rank == 0) {
        LMB_TRY_GOTO(st, done, lmb_stage_path(path, r->job.c.run, stage, "qat.onnx", err));
        LMB_TRY_GOTO(st, done, lmb_onnx_write(path, frozen, NULL, err));
        printf("quantised student: %s; `limbeck export` makes the deployable file\n", path);
    }
done:
    lmb_graph_destroy(folded);
    lmb_graph_destroy(qat);
    lmb_graph_destroy(frozen);
    return st;
}

static lmb_status distill(void *ctx, lmb_comm *comm, lmb_error *err)
{
    request *r = ctx;
    lmb_graph *student = NULL;

    LMB_TRY(lmb_job_data(&r->job, err));
    lmb_status st = float_student(r, comm, &student, err);
    if (st == LMB_OK && r->job.stage.quantize)
        st = quantised_student(r, comm, student, err);
    lmb_graph_destroy(student);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "!fresh", NULL };
    request r = { .fresh = false };
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(a.word[0], &a, lmb_args_get(&a, "stage", "student"), &r.job, err));
    r.fresh = lmb_args_get(&a, "fresh", NULL) != NULL;
    lmb_status st = lmb_fields_bind(lmb_distill_fields, r.job.stage.distill, &r.distill, err);
    if (st == LMB_OK)
        st = lmb_fields_bind(quantize_fields, r.job.stage.quantize, &r.quantize, err);
    if (st == LMB_OK)
        st = lmb_with_ranks(distill, &r, err);
    lmb_job_close(&r.job);
    return st;
}

const lmb_cmd lmb_cmd_distill = { "distill", "train a student against a teacher, then quantise it", usage, run };
