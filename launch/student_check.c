/* launch/student_check.c - could a student be made as its configuration says? Each step is tried on the model before
 * any training, in their order, so that nothing is found out hours later: what is taken away from it, what it becomes,
 * who teaches it, on which samples, and whether a training would start. See student.h.
 *
 * Numbers of untrained weights say nothing (E_NUMERIC); shapes, names and settings are those of the trained ones.
 */
#include <string.h>

#include "core/base/config.h"
#include "launch/material.h"
#include "launch/student.h"
#include "launch/teacher.h"

typedef struct checking {
    const lmb_student *r;
    bool ahead;
    bool open; /* `samples`, of `from`: trainings that share them open them once */
    const lmb_tree *from;
    lmb_material samples;
} checking;

static lmb_status open_samples(checking *x, const lmb_distill_config *dc, lmb_error *err)
{
    const lmb_tree *from = dc->alpha > 0 ? dc->unlabelled : NULL;

    if (x->open && x->from == from)
        return LMB_OK;
    lmb_material_close(&x->samples);
    x->from = from;
    x->open = true;
    return lmb_material_open(&x->r->job, dc, &x->samples, err);
}

/* Does the teacher go together with `model`, and do the losses with both? `was`: what a student that teaches itself was
 * before. */
static lmb_status check_lesson(checking *x, const lmb_distill_config *dc, const lmb_graph *was, const lmb_graph *model,
                               lmb_error *err)
{
    lmb_objective o = { .distill = *dc };
    lmb_graph *teacher = NULL;

    LMB_TRY(lmb_teacher_check(dc, err));
    LMB_TRY(lmb_objective_bind(&o, err));
    LMB_TRY(open_samples(x, dc, err));
    if (!(dc->alpha > 0))
        return LMB_OK;
    lmb_status st = strcmp(dc->teacher, LMB_TEACHER_SELF) == 0
                        ? lmb_graph_copy(was, &teacher, err)
                        : lmb_teacher_ahead(&x->r->job, dc, x->ahead, &teacher, err);
    o.teacher = teacher;
    if (st == LMB_OK)
        st = lmb_objective_check(&o, model, err);
    lmb_graph_destroy(teacher);
    return st;
}

/* section: of the student, that the training belongs to. */
static lmb_status check_training(checking *x, const char *section, const lmb_train_config *c,
                                 const lmb_distill_config *dc, const lmb_graph *was, const lmb_graph *model,
                                 lmb_error *err)
{
    lmb_status st = check_lesson(x, dc, was, model, err);

    if (st == LMB_OK)
        st = lmb_job_check_patience(c, x->r->job.validation, err);
    if (st == LMB_OK)
        st = lmb_job_check_training(c, model, x->samples.samples, err);
    return st == LMB_OK ? LMB_OK : lmb_error_context(err, "%s", section);
}

/* *out: the student without what would be taken away by the last step, as yet untrained. */
static lmb_status check_prune(checking *x, const lmb_graph *student, lmb_graph **out, lmb_error *err)
{
    const lmb_prune_config *c = &x->r->prune;
    lmb_masks *masks = NULL;

    LMB_TRY(lmb_prune_student(c, lmb_prune_steps(c), student, student, x->r->job.train, out, NULL, err));
    LMB_TRY(check_training(x, "student.prune", &c->train, &c->distill, student, *out, err));
    LMB_TRY(lmb_prune_masks(c, *out, x->samples.samples->n, &masks, err));
    lmb_masks_destroy(masks);
    return LMB_OK;
}

/* Of what rank its layers will be, trained weights alone tell. */
static lmb_status check_lowrank(checking *x, const lmb_graph *whole, lmb_error *err)
{
    const lmb_lowrank_config *c = &x->r->lowrank;

    LMB_TRY(lmb_ranks_check(whole, &c->ranks, err));
    return check_training(x, "student.lowrank", &c->train, &c->distill, whole, whole, err);
}

static lmb_status check_integers(checking *x, const lmb_graph *floats, lmb_error *err)
{
    const lmb_quantize_config *q = &x->r->quantize;
    lmb_graph *unfolded = NULL, *start = NULL;
    lmb_status st = lmb_student_integers_try(x->r, floats, &unfolded, &start, err);

    if (st == LMB_OK && unfolded)
        st = check_training(x, "student.quantize", &q->unfolded, &q->distill, floats, unfolded, err);
    if (st == LMB_OK && start)
        st = check_training(x, "student.quantize", &q->train, &q->distill, floats, start, err);
    lmb_graph_destroy(unfolded);
    lmb_graph_destroy(start);
    return st;
}

static lmb_status but_numbers(lmb_status st, lmb_error *err)
{
    if (st != LMB_E_NUMERIC)
        return st;
    lmb_error_clear(err);
    return LMB_OK;
}

static lmb_status check_all(checking *x, const lmb_graph *student, lmb_graph **pruned, lmb_error *err)
{
    const lmb_job *j = &x->r->job;

    if (!j->train) /* a trial (launch/trial.h): one training, on samples that are yet to be chosen */
        return check_lesson(x, &x->r->distill, student, student, err);
    LMB_TRY(check_training(x, "student", &j->stage.train, &x->r->distill, student, student, err));
    if (j->stage.prune)
        LMB_TRY(but_numbers(check_prune(x, student, pruned, err), err));
    const lmb_graph *left = *pruned ? *pruned : student;
    if (j->stage.lowrank)
        LMB_TRY(check_lowrank(x, left, err));
    return j->stage.quantize ? but_numbers(check_integers(x, left, err), err) : LMB_OK;
}

lmb_status lmb_student_check(const lmb_student *r, const lmb_graph *student, bool ahead, lmb_error *err)
{
    checking x = { .r = r, .ahead = ahead };
    lmb_graph *pruned = NULL;
    lmb_status st = check_all(&x, student, &pruned, err);

    lmb_material_close(&x.samples);
    lmb_graph_destroy(pruned);
    return st;
}
