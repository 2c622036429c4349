/* launch/student.c - a student in floats: trained, with a teacher or without, pruned, factorised, and trained on after
 * each. See student.h. */
#include "launch/student.h"

#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "launch/material.h"
#include "launch/model_file.h"
#include "launch/runner.h"
#include "launch/stage.h"
#include "launch/teacher.h"

/* What the optimizer remembers, at both ends of a training. */
typedef struct memories { const lmb_carry *from; lmb_carry *into; const lmb_graph *model; const char *name; } memories;

/* lmb_run_request.begins */
static lmb_status remember(void *other, lmb_trainer_state *s, lmb_error *err)
{
    const memories *m = other;

    if (!m->from || !m->from->layout)
        return LMB_OK;
    if (!lmb_carry_fits(m->from, s))
        fprintf(stderr, "%s: the training before was with %s, this one is with %s, which begins anew (prune.carry)\n",
                m->name, m->from->optimizer, s->optimizer);
    return lmb_carry_give(m->from, s, err);
}

/* lmb_run_request.ends */
static lmb_status keep_in_mind(void *other, const lmb_trainer_state *s, lmb_error *err)
{
    const memories *m = other;
    return m->into ? lmb_carry_take(m->into, m->model, s, err) : LMB_OK;
}

static bool teaches_itself(const lmb_distill_config *dc) { return dc && strcmp(dc->teacher, LMB_TEACHER_SELF) == 0; }

/* The hand that holds weights at zero, on the samples that are trained on; NULL: none does. */
static lmb_status hold_zeros(const lmb_student *r, lmb_zeros zeros, const lmb_graph *model, const lmb_dataset *samples,
                             lmb_masks **out, lmb_error *err)
{
    *out = NULL;
    if (zeros == LMB_ZEROS_FREE || !r->job.stage.prune || r->prune.method != LMB_PRUNE_MAGNITUDE)
        return LMB_OK;
    return zeros == LMB_ZEROS_GROW ? lmb_prune_masks(&r->prune, model, samples->n, out, err)
                                   : lmb_masks_create(NULL, model, 0, 0, out, err);
}

lmb_status lmb_student_train(lmb_student *r, lmb_comm *comm, const char *name, const lmb_train_config *c,
                             const lmb_distill_config *dc, const lmb_graph *was, lmb_zeros zeros, lmb_graph *model,
                             lmb_error *err)
{
    lmb_job *j = &r->job;
    lmb_graph *teacher = NULL, *taught = NULL;
    lmb_logits *cache = NULL;
    lmb_masks *masks = NULL;
    lmb_str config = LMB_STR_INIT;
    lmb_objective o = { .label_smoothing = c->label_smoothing };
    lmb_material m = { NULL, NULL, NULL };
    memories both = { r->remembered, r->remember, model, name };
    lmb_status st = lmb_job_dump_stage(j, &config, err);

    if (st == LMB_OK)
        st = lmb_material_open(j, dc, &m, err);
    if (st == LMB_OK)
        st = hold_zeros(r, zeros, model, m.samples, &masks, err);
    if (st == LMB_OK && dc && dc->alpha > 0) {
        o.distill = *dc;
        st = lmb_objective_bind(&o, err);
        if (st == LMB_OK)
            st = teaches_itself(dc) ? lmb_graph_copy(was, &teacher, err)
                                    : lmb_teacher_read(j, dc, comm->rank == 0, &teacher, err);
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
                              .began = j->began,
                              .plan_cache = j->c.plan_cache,
                              .stepped = masks ? lmb_masks_stepped : NULL,
                              .hand = masks,
                              .least_steps = masks ? lmb_masks_end(masks) : 0,
                              .begins = both.from ? remember : NULL,
                              .ends = both.into ? keep_in_mind : NULL,
                              .other = &both,
                              .trace = r->tracing.trace };
        st = lmb_run_training(comm, &q, err);
    }
    if (st == LMB_OK && taught)
        st = lmb_objective_finish(taught, model, err);
    lmb_graph_destroy(taught);
    lmb_masks_destroy(masks);
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
static lmb_status born_again(lmb_student *r, lmb_comm *comm, const char *last, lmb_graph **out, lmb_error *err)
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
        st = lmb_model_of(j, j->stage.model, (uint64_t)c.seed, comm->rank == 0 && k == 0, &is, err);
        if (st == LMB_OK)
            st = lmb_student_train(r, comm, stage, &c, k ? &r->distill : NULL, was, LMB_ZEROS_FREE, is, err);
        if (st == LMB_OK && comm->rank == 0)
            st = leave_model(j, stage, is, err);
        lmb_graph_destroy(was);
        was = is;
    }
    *out = was;
    return st;
}

/* The student as the zoo has it, trained. */
static lmb_status whole_student(lmb_student *r, lmb_comm *comm, const char *stage, lmb_graph **out, lmb_error *err)
{
    const lmb_job *j = &r->job;

    if (j->stage.distill && teaches_itself(&r->distill))
        return born_again(r, comm, stage, out, err);
    LMB_TRY(lmb_model_of(j, j->stage.model, (uint64_t)j->stage.train.seed, comm->rank == 0, out, err));
    LMB_TRY(lmb_student_train(r, comm, stage, &j->stage.train, &r->distill, NULL, LMB_ZEROS_FREE, *out, err));
    return comm->rank ? LMB_OK : leave_model(j, stage, *out, err);
}

/* One step: what is left of *out, or of `dense` where there is none yet, learns on as stage `stage`. A step before the
 * last whose target is met already does nothing. `carry` (may be NULL): what the optimizer remembers, of the training
 * before and then of this one. */
static lmb_status prune_once(lmb_student *r, lmb_comm *comm, int64_t k, const char *stage, const lmb_graph *dense,
                             lmb_carry *carry, lmb_graph **out, lmb_error *err)
{
    lmb_graph *was = *out, *is = NULL;
    lmb_lineage *lineage = NULL;
    lmb_student step = *r;
    lmb_status st;

    LMB_TRY_GOTO(st, done,
                 lmb_prune_student(&r->prune, k, dense, was ? was : dense, r->job.train, &is, &lineage, err));
    if (k < lmb_prune_steps(&r->prune) && lineage && lineage->count == lineage->count_was) {
        if (comm->rank == 0)
            printf("%s: the step before has met its target; nothing is taken away, nothing is trained\n", stage);
        lmb_graph_destroy(is);
        goto done;
    }
    lmb_graph_destroy(was);
    *out = is;
    if (carry)
        LMB_TRY_GOTO(st, done, lmb_carry_cut(carry, lineage, is, err));
    step.remembered = step.remember = carry;
    LMB_TRY_GOTO(
        st, done,
        lmb_student_train(&step, comm, stage, &r->prune.train, &r->prune.distill, dense, LMB_ZEROS_GROW, is, err));
    st = lmb_prune_check(&r->prune, is, err);
done:
    lmb_lineage_destroy(lineage);
    return st;
}

/* Trained whole, pruned, and trained on as `last`: once, or in steps. What comes later has no part in the first
 * training: it is kept when that changes. */
static lmb_status pruned_student(lmb_student *r, lmb_comm *comm, const char *last, lmb_graph **out, lmb_error *err)
{
    const lmb_job *j = &r->job;
    lmb_student before = *r;
    lmb_carry memory = { 0 }, *carry = lmb_prune_carries(&r->prune) ? &memory : NULL;
    lmb_graph *dense = NULL;
    int64_t steps = lmb_prune_steps(&r->prune);
    char stage[64];
    lmb_status st;

    before.job.stage.prune = before.job.stage.quantize = NULL;
    before.remember = carry;
    snprintf(stage, sizeof stage, "%s-dense", j->stage_name);
    LMB_TRY_GOTO(st, done, whole_student(&before, comm, stage, &dense, err));
    for (int64_t k = 1; k <= steps; k++) {
        if (k == steps)
            snprintf(stage, sizeof stage, "%s", last);
        else
            snprintf(stage, sizeof stage, "%s-step%lld", j->stage_name, (long long)k);
        LMB_TRY_GOTO(st, done, prune_once(r, comm, k, stage, dense, carry, out, err));
    }
    if (comm->rank == 0) {
        LMB_TRY_GOTO(st, done, lmb_prune_print(&r->prune, dense, *out, err));
        LMB_TRY_GOTO(st, done, leave_model(j, last, *out, err));
    }
done:
    lmb_carry_free(&memory);
    lmb_graph_destroy(dense);
    return st;
}

/* Trained whole and, where it is asked for, pruned; then its layers become thinner ones, by what their weights are by
 * then, and learn on. What pruning has set to zero in layers that stay whole is held there. */
static lmb_status factorised_student(lmb_student *r, lmb_comm *comm, lmb_graph **out, lmb_error *err)
{
    const lmb_job *j = &r->job;
    lmb_student before = *r;
    lmb_graph *whole = NULL;
    lmb_ranks ranks = { 0 };
    char stage[64];
    lmb_status st;

    before.job.stage.lowrank = before.job.stage.quantize = NULL;
    snprintf(stage, sizeof stage, "%s-%s", j->stage_name, j->stage.prune ? "pruned" : "dense");
    LMB_TRY_GOTO(st, done,
                 j->stage.prune ? pruned_student(&before, comm, stage, &whole, err)
                                : whole_student(&before, comm, stage, &whole, err));
    LMB_TRY_GOTO(st, done, lmb_lowrank_student(&r->lowrank, whole, &ranks, out, err));
    if (comm->rank == 0)
        lmb_lowrank_print(&ranks);
    LMB_TRY_GOTO(st, done,
                 lmb_student_train(r, comm, j->stage_name, &r->lowrank.train, &r->lowrank.distill, whole,
                                   LMB_ZEROS_STAY, *out, err));
    if (comm->rank == 0) {
        LMB_TRY_GOTO(st, done, lmb_lowrank_leave(&r->lowrank, &ranks, j->c.run, j->stage_name, err));
        LMB_TRY_GOTO(st, done, leave_model(j, j->stage_name, *out, err));
    }
done:
    lmb_ranks_free(&ranks);
    lmb_graph_destroy(whole);
    return st;
}

lmb_status lmb_student_floats(lmb_student *r, lmb_comm *comm, lmb_graph **out, lmb_error *err)
{
    const char *last = r->job.stage_name;

    *out = NULL;
    if (comm->rank == 0) /* of an earlier configuration */
        LMB_TRY(lmb_lowrank_forget(r->job.c.run, last, err));
    if (r->job.stage.lowrank)
        return factorised_student(r, comm, out, err);
    return r->job.stage.prune ? pruned_student(r, comm, last, out, err) : whole_student(r, comm, last, out, err);
}
