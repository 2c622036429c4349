/* launch/cmd_distill.c - `limbeck distill`: a student learns from a teacher, is pruned, then learns to be integers. */
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "core/passes/fold.h"
#include "distill/quantize/equalise.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/qat.h"
#include "launch/compare.h"
#include "launch/job.h"
#include "launch/material.h"
#include "launch/plan_cache.h"
#include "launch/prove.h"
#include "launch/prune.h"
#include "launch/runner.h"
#include "launch/stage.h"
#include "launch/teacher.h"
#include "launch/tracing.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck distill CONFIG.yaml [--stage student] [--fresh] [--plan-cache WHERE] [--trace FILE] [--set "
    "key=value ...]\n"
    "       mpirun -n 2 limbeck distill CONFIG.yaml ...\n\n"
    "1. Trains the student's model against the labels and a teacher (section `distill`: alpha, temperature, teacher: "
    "an .onnx\n"
    "   file or a checkpoint, by default the teacher of this run). Without `distill`: against the labels alone.\n"
    "   cache: true keeps the teacher's logits in <run>/teacher/logits-<key>.bin, one row for each sample and epoch "
    "(augmented\n"
    "   samples differ from epoch to epoch); the training ends in the same bits, and later ones with the same teacher, "
    "data,\n"
    "   seed and augmentation read instead of computing. auto: where nothing is augmented, or the file is there "
    "already.\n"
    "   plain: one row a sample, of the sample without augmentation: small and fast, but the student is then shown a "
    "changed\n"
    "   image and told the answer to the unchanged one. Old files can be deleted. train.augment.versions: 20 shows each "
    "sample in 20\n"
    "   ways in turn, so that the file ends after as many epochs, and augment.seed lets trainings of other seeds share it.\n"
    "   losses: what the teacher's share is made of, such as [kl, {name: attention, weight: 1000}]; `limbeck list "
    "losses` explains\n"
    "   each. All but kl and dkd look into the teacher, so that it answers live. teachers: several files, whose logits "
    "are\n"
    "   averaged with weights. alpha 1: no labels (dkd reads them all the same). teacher: self, with generations: 2, "
    "trains the\n"
    "   student anew, taught by itself as it was.\n"
    "2. With a section `prune`: takes away the least of it and trains on. method channels: whole channels, by "
    "dependency groups,\n"
    "   down to a share of the channels, MACs or parameters; the model is smaller. method magnitude: single weights "
    "are held at\n"
    "   zero, more and more while it trains (pattern: \"2:4\"). `limbeck config keys` explains each key, `limbeck list "
    "criteria` the criteria.\n"
    "3. With a section `quantize`: makes it integers. method qat (the default where `quantize.train` is given): folds\n"
    "   BatchNormalization, inserts fake quantisation, trains on, freezes the ranges. method ptq: takes the ranges "
    "from\n"
    "   `quantize.calibration` training images, without training. `limbeck export` makes the deployable file of it.\n\n"
    "Leaves <run>/student/model.onnx (the pruned one; what it was before is in <run>/student-dense) and\n"
    "<run>/student-int8/qat.onnx. Stopped at any instant, the same command goes on.\n\n" LMB_PLAN_CACHE_USAGE
        LMB_TRACING_USAGE;

typedef struct quantize_config {
    int64_t method, calibration, seed;
    bool prove;
    const lmb_tree *observer;
    bool equalise, correct_bias;
    lmb_qat_config qat;
    lmb_train_config train;
    lmb_distill_config distill;
} quantize_config;
enum { METHOD_AUTO, METHOD_QAT, METHOD_PTQ };
static const char *const methods[] = { "auto", "qat", "ptq", NULL };
static const lmb_field quantize_fields[] = {
    LMB_CHOICE(quantize_config, method, METHOD_AUTO, methods, "auto: qat where `train` is given, else ptq"),
    LMB_INT(quantize_config, calibration, 1000, 1, 1e9, "images",
            "of the training part that ptq takes its ranges from"),
    LMB_INT(quantize_config, seed, 1, 0, 9e15, "", "of the choice of calibration images"),
    LMB_TREE(quantize_config, observer, "of ptq: minmax, moving_average, percentile or entropy, and options"),
    LMB_BOOL(quantize_config, equalise, 0,
             "balance channels between layers before ranges are taken (Clip becomes Relu)"),
    LMB_BOOL(quantize_config, correct_bias, 0, "of ptq: take back what rounding weights shifts"),
    LMB_SECTION(quantize_config, qat, lmb_qat_fields, "bits and scales, of ptq too; the observer is qat's alone"),
    LMB_SECTION(quantize_config, train, lmb_train_fields, "training with fake quantisation"),
    LMB_SECTION(quantize_config, distill, lmb_distill_fields, "the teacher's share in it; without it, and without a teacher of the student: none"),
    LMB_BOOL(
        quantize_config, prove, false,
        "train without the teacher first, go on with it and without, and keep the teacher's if it wins more validation samples than it loses"),
    LMB_FIELD_END
};

typedef struct request {
    lmb_job job;
    bool fresh;
    quantize_config quantize;
    lmb_distill_config distill;
    lmb_prune_config prune;
    lmb_tracing tracing;
} request;

static bool teaches_itself(const lmb_distill_config *dc) { return dc && strcmp(dc->teacher, LMB_TEACHER_SELF) == 0; }

/* Train `model` as stage `name` with a teacher (alpha > 0) or without; `masks` may be NULL. `was`: the model before,
 * which teaches where the configuration says so. */
static lmb_status train_stage(request *r, lmb_comm *comm, const char *name, const lmb_train_config *c,
                              const lmb_distill_config *dc, const lmb_graph *was, lmb_masks *masks, lmb_graph *model,
                              lmb_error *err)
{
    lmb_job *j = &r->job;
    lmb_graph *teacher = NULL, *taught = NULL;
    lmb_logits *cache = NULL;
    lmb_str config = LMB_STR_INIT;
    lmb_objective o = { .label_smoothing = c->label_smoothing };
    lmb_material m = { NULL, NULL, NULL };
    lmb_status st = lmb_job_dump_stage(j, &config, err);

    if (st == LMB_OK)
        st = lmb_material_open(j, dc, &m, err);
    if (st == LMB_OK && dc && dc->alpha > 0) {
        o.distill = *dc;
        st = lmb_objective_bind(&o, err);
        if (st == LMB_OK)
            st = teaches_itself(dc) ? lmb_graph_copy(was, &teacher, err) : lmb_teacher_read(j, dc, &teacher, err);
        o.teacher = teacher;
        if (st == LMB_OK)
            st = lmb_objective_check(&o, model, err);
        if (st == LMB_OK)
            st = lmb_teacher_cache(j, m.samples, c, comm, &o, &cache, err);
        if (st == LMB_OK)
            st = lmb_objective_prepare(&o, model, (uint64_t)c->seed, &taught, err);
    }
    lmb_loss loss = lmb_objective_loss(&o);
    if (st == LMB_OK) {
        lmb_run_request q = { j->c.run,
                              name,
                              config.text,
                              c,
                              taught ? taught : model,
                              &loss,
                              m.samples,
                              j->validation,
                              r->fresh,
                              .plan_cache = j->c.plan_cache,
                              .stepped = masks ? lmb_masks_stepped : NULL,
                              .hand = masks,
                              .trace = r->tracing.trace };
        st = lmb_run_training(comm, &q, err);
    }
    if (st == LMB_OK && taught)
        st = lmb_objective_finish(taught, model, err);
    lmb_graph_destroy(taught);
    lmb_logits_close(cache);
    lmb_graph_destroy(teacher);
    lmb_material_close(&m);
    lmb_str_free(&config);
    return st;
}

/* Write and report the float model of a stage: rank 0's work. */
static lmb_status leave_model(const lmb_job *j, const char *stage, const lmb_graph *model, lmb_error *err)
{
    char path[LMB_STAGE_PATH];

    LMB_TRY(lmb_stage_path(path, j->c.run, stage, "model.onnx", err));
    LMB_TRY(lmb_onnx_write(path, model, NULL, err));
    return lmb_stage_report(j->c.run, stage, path, model, j->test, j->stage.train.backend, err);
}

/* Generation 0 learns from the labels, each later one from the one before as well (Furlanello et al. 2018,
 * arXiv:1805.04770). */
static lmb_status born_again(request *r, lmb_comm *comm, const char *last, lmb_graph **out, lmb_error *err)
{
    const lmb_job *j = &r->job;
    lmb_graph *was = NULL;
    lmb_status st = LMB_OK;

    for (int64_t k = 0; k <= r->distill.generations && st == LMB_OK; k++) {
        lmb_train_config c = j->stage.train;
        lmb_graph *is = NULL;
        char stage[64];
        c.seed += k;
        if (k == r->distill.generations)
            snprintf(stage, sizeof stage, "%s", last);
        else
            snprintf(stage, sizeof stage, "%s-generation%lld", last, (long long)k);
        st = lmb_model_build(j->stage.model, &j->all->shape, j->all->classes, (uint64_t)c.seed, &is, err);
        if (st == LMB_OK)
            st = train_stage(r, comm, stage, &c, k ? &r->distill : NULL, was, NULL, is, err);
        if (st == LMB_OK && comm->rank == 0)
            st = leave_model(j, stage, is, err);
        lmb_graph_destroy(was);
        was = is;
    }
    *out = was;
    return st;
}

/* The student as the zoo has it, trained. */
static lmb_status whole_student(request *r, lmb_comm *comm, const char *stage, lmb_graph **out, lmb_error *err)
{
    const lmb_job *j = &r->job;

    if (j->stage.distill && teaches_itself(&r->distill))
        return born_again(r, comm, stage, out, err);
    LMB_TRY(lmb_model_build(j->stage.model, &j->all->shape, j->all->classes, (uint64_t)j->stage.train.seed, out, err));
    LMB_TRY(train_stage(r, comm, stage, &j->stage.train, j->stage.distill ? &r->distill : NULL, NULL, NULL, *out, err));
    return comm->rank ? LMB_OK : leave_model(j, stage, *out, err);
}

/* One step: what is left of *out, or of `dense` where there is none yet, learns on as stage `stage`. */
static lmb_status prune_once(request *r, lmb_comm *comm, const char *stage, const lmb_distill_config *teaching,
                             const lmb_graph *dense, lmb_graph **out, lmb_error *err)
{
    lmb_graph *was = *out, *is = NULL;
    lmb_masks *masks = NULL;
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_prune_student(&r->prune, was ? was : dense, r->job.train, &is, err));
    lmb_graph_destroy(was);
    *out = is;
    LMB_TRY_GOTO(st, done, lmb_prune_masks(&r->prune, is, r->job.train->n, &masks, err));
    st = train_stage(r, comm, stage, &r->prune.train, teaching, dense, masks, is, err);
done:
    lmb_masks_destroy(masks);
    return st;
}

/* Trained whole, pruned, and trained on: once, or in steps. What comes later has no part in the first training: it is
 * kept when that changes. */
static lmb_status pruned_student(request *r, lmb_comm *comm, lmb_graph **out, lmb_error *err)
{
    const lmb_job *j = &r->job;
    request before = *r;
    const lmb_distill_config *teaching = lmb_tree_has(j->stage.prune, "distill") ? &r->prune.distill
                                         : j->stage.distill                      ? &r->distill
                                                                                 : NULL;
    lmb_graph *dense = NULL;
    int64_t steps = lmb_prune_steps(&r->prune);
    char stage[64];
    lmb_status st;

    before.job.stage.prune = before.job.stage.quantize = NULL;
    snprintf(stage, sizeof stage, "%s-dense", j->stage_name);
    LMB_TRY_GOTO(st, done, whole_student(&before, comm, stage, &dense, err));
    for (int64_t k = 1; k <= steps; k++) {
        if (k == steps)
            snprintf(stage, sizeof stage, "%s", j->stage_name);
        else
            snprintf(stage, sizeof stage, "%s-step%lld", j->stage_name, (long long)k);
        LMB_TRY_GOTO(st, done, prune_once(r, comm, stage, teaching, dense, out, err));
    }
    if (comm->rank == 0) {
        LMB_TRY_GOTO(st, done, lmb_prune_print(&r->prune, dense, *out, err));
        LMB_TRY_GOTO(st, done, leave_model(j, j->stage_name, *out, err));
    }
done:
    lmb_graph_destroy(dense);
    return st;
}

static lmb_ptq_config calibration_of(const request *r)
{
    const quantize_config *q = &r->quantize;
    return (lmb_ptq_config){ q->calibration, (uint64_t)q->seed, q->observer, q->train.backend, 0, &q->qat, q->equalise,
        q->correct_bias };
}

/* What training with fake quantisation starts from. Learned steps begin where a few images put the ranges: the same on
 * all ranks. */
static lmb_status start_of_qat(const request *r, const lmb_graph *student, lmb_graph **out, lmb_error *err)
{
    lmb_ptq_config c = calibration_of(r);
    lmb_graph *folded = NULL, *equal = NULL;
    lmb_status st;

    if (r->quantize.qat.scheme == LMB_QAT_LEARNED)
        return lmb_ptq_start(student, &c, r->job.train, out, err);
    LMB_TRY_GOTO(st, done, lmb_pass_fold(student, &folded, err));
    if (r->quantize.equalise)
        LMB_TRY_GOTO(st, done, lmb_pass_equalise(folded, &equal, NULL, err));
    st = lmb_pass_qat(equal ? equal : folded, &r->quantize.qat, out, err);
done:
    lmb_graph_destroy(folded);
    lmb_graph_destroy(equal);
    return st;
}

/* Ranges from a few images. One rank's work, for all. */
static lmb_status calibrated_student(request *r, lmb_comm *comm, const lmb_graph *student, lmb_error *err)
{
    const lmb_job *j = &r->job;
    lmb_ptq_config c = calibration_of(r);
    char stage[64], path[LMB_STAGE_PATH];
    lmb_graph *frozen = NULL;

    if (comm->rank)
        return LMB_OK;
    snprintf(stage, sizeof stage, "%s-int8", j->stage_name);
    LMB_TRY(lmb_ptq(student, &c, j->train, &frozen, err));
    lmb_status st = lmb_stage_path(path, j->c.run, stage, "qat.onnx", err);
    if (st == LMB_OK)
        st = lmb_onnx_write(path, frozen, NULL, err);
    if (st == LMB_OK)
        st = lmb_compare_print(stage, student, frozen, j->test, c.backend, err);
    if (st == LMB_OK)
        printf("quantised student: %s; `limbeck export` makes the deployable file\n", path);
    lmb_graph_destroy(frozen);
    return st;
}

typedef struct integers { request *r; lmb_comm *comm; const lmb_graph *student; lmb_masks *masks; } integers;

/* lmb_prove.train */
static lmb_status train_integers(void *ctx, const char *name, bool taught, lmb_graph *qat, lmb_error *err)
{
    integers *x = ctx;
    return train_stage(x->r, x->comm, name, &x->r->quantize.train, taught ? &x->r->quantize.distill : NULL, x->student,
                       x->masks, qat, err);
}

static lmb_status trained_student(request *r, lmb_comm *comm, const lmb_graph *student, lmb_error *err)
{
    lmb_graph *qat = NULL, *frozen = NULL;
    lmb_masks *masks = NULL;
    char stage[64], path[LMB_STAGE_PATH];
    lmb_status st;

    snprintf(stage, sizeof stage, "%s-int8", r->job.stage_name);
    LMB_TRY_GOTO(st, done, start_of_qat(r, student, &qat, err));
    if (r->job.stage.prune && r->prune.method == LMB_PRUNE_MAGNITUDE) /* what is zero stays zero */
        LMB_TRY_GOTO(st, done, lmb_masks_create(NULL, qat, 0, 0, &masks, err));
    integers x = { r, comm, student, masks };
    const lmb_prove proof = { r->job.c.run,      stage,          r->quantize.train.backend,
                              r->job.validation, comm->rank == 0, train_integers,
                              &x };
    LMB_TRY_GOTO(st, done,
                 r->quantize.prove ? lmb_prove_teacher(&proof, qat, err) : train_integers(&x, stage, true, qat, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qat_freeze(qat, &frozen, err));
    if (comm->rank == 0) {
        LMB_TRY_GOTO(st, done, lmb_stage_path(path, r->job.c.run, stage, "qat.onnx", err));
        LMB_TRY_GOTO(st, done, lmb_onnx_write(path, frozen, NULL, err));
        printf("quantised student: %s; `limbeck export` makes the deployable file\n", path);
    }
done:
    lmb_masks_destroy(masks);
    lmb_graph_destroy(qat);
    lmb_graph_destroy(frozen);
    return st;
}

static lmb_status make_student(request *r, lmb_comm *comm, lmb_error *err)
{
    lmb_graph *student = NULL;

    LMB_TRY(lmb_job_data(&r->job, err));
    LMB_TRY(lmb_job_training(&r->job, err));
    request floats = *r; /* other integers of a trained student: it is kept */
    floats.job.stage.quantize = NULL;
    lmb_status st = r->job.stage.prune ? pruned_student(&floats, comm, &student, err)
                                       : whole_student(&floats, comm, r->job.stage_name, &student, err);
    if (st == LMB_OK && r->job.stage.quantize) {
        int64_t m = r->quantize.method;
        bool train = m == METHOD_QAT || (m == METHOD_AUTO && lmb_tree_has(r->job.stage.quantize, "train"));
        char stage[64];
        snprintf(stage, sizeof stage, "%s-int8", r->job.stage_name);
        if (comm->rank == 0)
            LMB_TRY_GOTO(st, done, lmb_prove_forget(r->job.c.run, stage, err));
        st = train ? trained_student(r, comm, student, err) : calibrated_student(r, comm, student, err);
    }
done:
    lmb_graph_destroy(student);
    return st;
}

static lmb_status distill(void *ctx, lmb_comm *comm, lmb_error *err)
{
    request *r = ctx;
    LMB_TRY(lmb_tracing_begin(&r->tracing, comm, err));
    return lmb_tracing_end(&r->tracing, comm, make_student(r, comm, err), err);
}

const lmb_field *lmb_distill_quantize_fields(void) { return quantize_fields; }

static lmb_status bind_options(request *r, lmb_error *err)
{
    LMB_TRY(lmb_fields_bind(lmb_distill_fields, r->job.stage.distill, &r->distill, err));
    if (r->job.stage.prune)
        LMB_TRY(lmb_prune_bind(r->job.stage.prune, &r->prune, err));
    LMB_TRY(lmb_fields_bind(quantize_fields, r->job.stage.quantize, &r->quantize, err));
    if (!lmb_tree_has(r->job.stage.quantize, "distill") && (!r->job.stage.distill || r->distill.alpha == 0))
        r->quantize.distill.alpha = 0; /* a student that nobody teaches becomes integers by itself, too */
    if (r->quantize.prove && r->quantize.distill.alpha == 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "quantize.prove asks whether the teacher helps, and there is none: give the student or quantize "
                        "a section `distill`");
    return LMB_OK;
}

/* Would the student be pruned, and learn on? *out: the pruned one, as yet untrained. */
static lmb_status check_prune(const request *r, const lmb_graph *student, lmb_graph **out, lmb_error *err)
{
    lmb_masks *masks = NULL;

    LMB_TRY(lmb_prune_student(&r->prune, student, r->job.train, out, err));
    LMB_TRY(lmb_prune_masks(&r->prune, *out, r->job.train->n, &masks, err));
    lmb_masks_destroy(masks);
    return lmb_job_check_training(&r->prune.train, *out, r->job.train, err);
}

lmb_status lmb_distill_check_job(const lmb_job *j, const lmb_graph *student, lmb_error *err)
{
    request r = { .job = *j };
    lmb_graph *pruned = NULL, *folded = NULL, *qat = NULL;
    lmb_status st = LMB_OK;

    LMB_TRY(bind_options(&r, err));
    const lmb_distill_config *const lessons[] = { &r.distill, &r.quantize.distill,
                                                  j->stage.prune ? &r.prune.distill : NULL, NULL };
    for (int i = 0; lessons[i]; i++) {
        lmb_objective o = { .distill = *lessons[i] };
        LMB_TRY(lmb_teacher_check(lessons[i], err));
        LMB_TRY(lmb_objective_bind(&o, err));
        lmb_material m;
        st = lmb_material_open(j, lessons[i], &m, err);
        lmb_material_close(&m);
        LMB_TRY(st);
    }
    if (j->stage.prune)
        st = check_prune(&r, student, &pruned, err);
    if (st == LMB_OK && j->stage.quantize) {
        st = lmb_pass_fold(pruned ? pruned : student, &folded, err);
        if (st == LMB_OK)
            st = lmb_pass_qat(folded, &r.quantize.qat, &qat, err);
        if (st == LMB_OK)
            st = lmb_job_check_training(&r.quantize.train, qat, j->train, err);
    }
    lmb_graph_destroy(pruned);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(qat);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "!fresh", "plan-cache", LMB_TRACING_OPTIONS, NULL };
    request r = { .fresh = false };
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_tracing_bind(&a, &r.tracing, err));
    LMB_TRY(lmb_job_open(a.word[0], &a, lmb_args_get(&a, "stage", "student"), &r.job, err));
    r.fresh = lmb_args_get(&a, "fresh", NULL) != NULL;
    r.job.c.plan_cache = lmb_args_get(&a, "plan-cache", r.job.c.plan_cache);
    lmb_status st = bind_options(&r, err);
    if (st == LMB_OK)
        st = lmb_with_ranks(distill, &r, err);
    lmb_job_close(&r.job);
    return st;
}

const lmb_cmd lmb_cmd_distill = { "distill", "train a student against a teacher, then quantise it", usage, run };
