/* launch/student_integers.c - a trained student becomes integers: by the ranges of a few images, or by training on with
 * fake quantisation, in one training or in two, before and after BatchNormalization is folded. See student.h.
 */
#include <stdio.h>

#include "core/onnx/onnx.h"
#include "distill/quantize/integer_form.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/unfolded.h"
#include "launch/compare.h"
#include "launch/prove.h"
#include "launch/stage.h"
#include "launch/student.h"

bool lmb_student_trains_integers(const lmb_student *r)
{
    int64_t m = r->quantize.method;
    return m == LMB_QUANTIZE_QAT || (m == LMB_QUANTIZE_AUTO && lmb_tree_has(r->job.stage.quantize, "train"));
}

/* Without an observer to ask, ranges that training moves begin with its first batch: none are calibrated. */
static bool is_calibrated(const lmb_student *r)
{
    return r->quantize.observer || r->quantize.qat.scheme == LMB_QAT_LEARNED || !lmb_student_trains_integers(r);
}

static lmb_ptq_config calibration_of(const lmb_student *r)
{
    const lmb_quantize_config *q = &r->quantize;
    int64_t images = is_calibrated(r) ? q->calibration : 0;

    if (!lmb_tree_has(r->job.stage.quantize, "calibration") && images > r->job.train->n) /* nobody asked for so many */
        images = r->job.train->n;
    return (lmb_ptq_config){ images, (uint64_t)q->seed, q->observer, q->train.backend, 0, &q->qat, q->equalise,
                             q->correct_bias };
}

/* ---- before any work ---- */

static lmb_status check_options(const lmb_student *r, const lmb_ptq_config *c, lmb_error *err)
{
    static const char *const images[] = { "calibration", "seed" };
    bool trains = lmb_student_trains_integers(r);

    for (int i = 0; i < 2; i++)
        if (!is_calibrated(r) && lmb_tree_has(r->job.stage.quantize, images[i]))
            return LMB_FAIL(err, LMB_E_ARG,
                            "quantize.%s is about the images that an observer takes ranges from, and none is chosen, "
                            "so that they begin with training's first batch: give quantize.observer, such as minmax",
                            images[i]);
    if (trains && r->quantize.prove && !r->job.validation)
        return LMB_FAIL(err, LMB_E_ARG,
                        "quantize.prove compares by validation samples, and there are none; set split.validation");
    return lmb_ptq_check(c, r->job.train, trains, err);
}

lmb_status lmb_student_integers_try(const lmb_student *r, const lmb_graph *student, lmb_graph **unfolded,
                                    lmb_graph **start, lmb_error *err)
{
    enum { FEW = 32 };
    lmb_qat_config q = r->quantize.qat;
    lmb_ptq_config c = calibration_of(r);
    lmb_graph *form = NULL, *base = NULL;
    lmb_status st;

    LMB_TRY(check_options(r, &c, err));
    if (r->job.stage.lowrank)
        q.layers = NULL; /* may name thinner layers, which are not there yet */
    c.qat = &q;
    c.calibration = c.calibration < FEW ? c.calibration : FEW;
    LMB_TRY(lmb_pass_integer_form(student, &form, err));
    if (!lmb_student_trains_integers(r))
        st = lmb_ptq(form, &c, r->job.train, &base, err);
    else if (!lmb_tree_has(r->job.stage.quantize, "unfolded"))
        st = lmb_ptq_start(form, &c, r->job.train, start, err);
    else if ((st = lmb_unfolded_start(form, &c, r->job.train, &base, unfolded, err)) == LMB_OK)
        st = lmb_unfolded_fold(base, *unfolded, &q, start, err);
    lmb_graph_destroy(form);
    lmb_graph_destroy(base);
    return st;
}

/* ---- without training ---- */

/* Ranges from a few images. One rank's work, for all. `form`: of the student, for integers. */
static lmb_status calibrated_student(lmb_student *r, lmb_comm *comm, const lmb_graph *student, const lmb_graph *form,
                                     lmb_error *err)
{
    const lmb_job *j = &r->job;
    lmb_ptq_config c = calibration_of(r);
    char stage[64], path[LMB_STAGE_PATH];
    lmb_graph *frozen = NULL;

    if (comm->rank)
        return LMB_OK;
    snprintf(stage, sizeof stage, "%s-int8", j->stage_name);
    LMB_TRY(lmb_ptq(form, &c, j->train, &frozen, err));
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

/* ---- with training ---- */

typedef struct integers {
    lmb_student *r;
    lmb_comm *comm;
    const lmb_graph *student, *form; /* as it was trained; the same for integers */
} integers;

/* With fake quantisation `qat` trains as stage `name`. What is zero by magnitude stays zero. */
static lmb_status train_as(integers *x, const char *name, const lmb_train_config *c, bool taught, lmb_graph *qat,
                           lmb_error *err)
{
    lmb_student *r = x->r;
    return lmb_student_train(r, x->comm, name, c, taught ? &r->quantize.distill : NULL, x->student, LMB_ZEROS_STAY, qat,
                             err);
}

/* lmb_prove.train */
static lmb_status train_integers(void *ctx, const char *name, bool taught, lmb_graph *qat, lmb_error *err)
{
    integers *x = ctx;
    return train_as(x, name, &x->r->quantize.train, taught, qat, err);
}

/* The first of two phases, stage <stage>-unfolded; *out: what the second one starts from. */
static lmb_status train_unfolded(integers *x, const char *stage, lmb_graph **out, lmb_error *err)
{
    const lmb_quantize_config *q = &x->r->quantize;
    lmb_ptq_config c = calibration_of(x->r);
    lmb_graph *base = NULL, *first = NULL;
    char name[80];
    lmb_status st;

    snprintf(name, sizeof name, "%s-unfolded", stage);
    LMB_TRY_GOTO(st, done, lmb_unfolded_start(x->form, &c, x->r->job.train, &base, &first, err));
    LMB_TRY_GOTO(st, done, train_as(x, name, &q->unfolded, !q->prove, first, err)); /* proofs begin without a teacher */
    st = lmb_unfolded_fold(base, first, &q->qat, out, err);
done:
    lmb_graph_destroy(base);
    lmb_graph_destroy(first);
    return st;
}

static lmb_status trained_student(lmb_student *r, lmb_comm *comm, const lmb_graph *student, const lmb_graph *form,
                                  lmb_error *err)
{
    lmb_ptq_config c = calibration_of(r);
    lmb_graph *qat = NULL, *frozen = NULL;
    char stage[64], path[LMB_STAGE_PATH];
    lmb_status st;

    snprintf(stage, sizeof stage, "%s-int8", r->job.stage_name);
    integers x = { r, comm, student, form };
    LMB_TRY_GOTO(st, done,
                 lmb_tree_has(r->job.stage.quantize, "unfolded") ? train_unfolded(&x, stage, &qat, err)
                                                                 : lmb_ptq_start(form, &c, r->job.train, &qat, err));
    const lmb_prove proof = { r->job.c.run, stage, r->quantize.train.backend, r->job.validation, comm->rank == 0,
                              train_integers, &x };
    LMB_TRY_GOTO(st, done,
                 r->quantize.prove ? lmb_prove_teacher(&proof, qat, err) : train_integers(&x, stage, true, qat, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qat_freeze(qat, &frozen, err));
    if (comm->rank == 0) {
        LMB_TRY_GOTO(st, done, lmb_stage_path(path, r->job.c.run, stage, "qat.onnx", err));
        LMB_TRY_GOTO(st, done, lmb_onnx_write(path, frozen, NULL, err));
        printf("quantised student: %s; `limbeck export` makes the deployable file\n", path);
    }
done:
    lmb_graph_destroy(qat);
    lmb_graph_destroy(frozen);
    return st;
}

lmb_status lmb_student_integers(lmb_student *r, lmb_comm *comm, const lmb_graph *student, lmb_error *err)
{
    lmb_graph *form;
    char stage[64];

    snprintf(stage, sizeof stage, "%s-int8", r->job.stage_name);
    if (comm->rank == 0)
        LMB_TRY(lmb_prove_forget(r->job.c.run, stage, err));
    LMB_TRY(lmb_pass_integer_form(student, &form, err));
    lmb_status st = lmb_student_trains_integers(r) ? trained_student(r, comm, student, form, err)
                                                   : calibrated_student(r, comm, student, form, err);
    lmb_graph_destroy(form);
    return st;
}
