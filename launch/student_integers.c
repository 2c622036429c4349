/* launch/student_integers.c - a trained student becomes integers: by the ranges of a few images, or by training on with
 * fake quantisation, in one training or in two, before and after BatchNormalization is folded. See student.h.
 */
#include <stdio.h>

#include "core/onnx/onnx.h"
#include "core/passes/fold.h"
#include "distill/quantize/equalise.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/unfolded.h"
#include "launch/compare.h"
#include "launch/prove.h"
#include "launch/stage.h"
#include "launch/student.h"

/* As many images as are asked for; where nobody asked, as there are. */
static lmb_ptq_config calibration_of(const lmb_student *r)
{
    const lmb_quantize_config *q = &r->quantize;
    lmb_ptq_config c = { q->calibration, (uint64_t)q->seed, q->observer, q->train.backend, 0, &q->qat, q->equalise,
                         q->correct_bias };

    if (!lmb_tree_has(r->job.stage.quantize, "calibration") && c.calibration > r->job.train->n)
        c.calibration = r->job.train->n;
    return c;
}

/* What training with fake quantisation starts from. Learned steps begin where a few images put the ranges: the same on
 * all ranks. */
static lmb_status start_of_qat(const lmb_student *r, const lmb_ptq_config *calibration, const lmb_graph *student,
                               lmb_graph **out, lmb_error *err)
{
    lmb_ptq_config c = *calibration;
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
static lmb_status calibrated_student(lmb_student *r, lmb_comm *comm, const lmb_graph *student, lmb_error *err)
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

typedef struct integers { lmb_student *r; lmb_comm *comm; const lmb_graph *student; } integers;

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
    LMB_TRY_GOTO(st, done, lmb_unfolded_start(x->student, &c, x->r->job.train, &base, &first, err));
    LMB_TRY_GOTO(st, done, train_as(x, name, &q->unfolded, !q->prove, first, err)); /* proofs begin without a teacher */
    st = lmb_unfolded_fold(base, first, &q->qat, out, err);
done:
    lmb_graph_destroy(base);
    lmb_graph_destroy(first);
    return st;
}

static lmb_status trained_student(lmb_student *r, lmb_comm *comm, const lmb_graph *student, lmb_error *err)
{
    lmb_ptq_config c = calibration_of(r);
    lmb_graph *qat = NULL, *frozen = NULL;
    char stage[64], path[LMB_STAGE_PATH];
    lmb_status st;

    snprintf(stage, sizeof stage, "%s-int8", r->job.stage_name);
    integers x = { r, comm, student };
    LMB_TRY_GOTO(st, done,
                 lmb_tree_has(r->job.stage.quantize, "unfolded") ? train_unfolded(&x, stage, &qat, err)
                                                                 : start_of_qat(r, &c, student, &qat, err));
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

/* With training, or by the ranges alone? */
static bool is_trained(const lmb_student *r)
{
    int64_t m = r->quantize.method;
    return m == LMB_QUANTIZE_QAT || (m == LMB_QUANTIZE_AUTO && lmb_tree_has(r->job.stage.quantize, "train"));
}

lmb_status lmb_student_integers_try(const lmb_student *r, const lmb_graph *student, lmb_graph **unfolded,
                                    lmb_graph **start, lmb_error *err)
{
    enum { FEW = 32 };
    const lmb_quantize_config *q = &r->quantize;
    lmb_ptq_config c = calibration_of(r);
    lmb_graph *base = NULL;
    lmb_status st;

    if ((!is_trained(r) || q->qat.scheme == LMB_QAT_LEARNED) && c.calibration > r->job.train->n)
        return LMB_FAIL(err, LMB_E_ARG,
                        "quantize.calibration asks for %lld images; the training part has %lld, so give 1 to %lld",
                        (long long)c.calibration, (long long)r->job.train->n, (long long)r->job.train->n);
    c.calibration = c.calibration < FEW ? c.calibration : FEW;
    if (!is_trained(r)) {
        LMB_TRY(lmb_ptq(student, &c, r->job.train, &base, err));
        lmb_graph_destroy(base);
        return LMB_OK;
    }
    if (q->prove && !r->job.validation)
        return LMB_FAIL(err, LMB_E_ARG,
                        "quantize.prove compares by validation samples, and there are none; set split.validation");
    if (!lmb_tree_has(r->job.stage.quantize, "unfolded"))
        return start_of_qat(r, &c, student, start, err);
    st = lmb_unfolded_start(student, &c, r->job.train, &base, unfolded, err);
    if (st == LMB_OK)
        st = lmb_unfolded_fold(base, *unfolded, &q->qat, start, err);
    lmb_graph_destroy(base);
    return st;
}

lmb_status lmb_student_integers(lmb_student *r, lmb_comm *comm, const lmb_graph *student, lmb_error *err)
{
    char stage[64];

    snprintf(stage, sizeof stage, "%s-int8", r->job.stage_name);
    if (comm->rank == 0)
        LMB_TRY(lmb_prove_forget(r->job.c.run, stage, err));
    return is_trained(r) ? trained_student(r, comm, student, err) : calibrated_student(r, comm, student, err);
}
