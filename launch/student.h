/* launch/student.h - the stages of `limbeck distill`: a student is trained, with a teacher or without; pruned, and
 * trained on; gets thinner layers, and is trained on (student.c); and becomes integers (student_integers.c). Whether
 * all of that can be is asked before (student_check.c). Each training leaves a folder of its own in the run, so that
 * the same command goes on where it was stopped.
 */
#ifndef LMB_LAUNCH_STUDENT_H
#define LMB_LAUNCH_STUDENT_H

#include "distill/prune/carry.h"
#include "distill/quantize/qat.h"
#include "launch/job.h"
#include "launch/lowrank.h"
#include "launch/prune.h"
#include "launch/tracing.h"

/* The section `student.quantize`. */
typedef struct lmb_quantize_config {
    int64_t method, calibration, seed;
    bool prove;
    const lmb_tree *observer;
    bool equalise, correct_bias;
    lmb_qat_config qat;
    lmb_train_config unfolded, train; /* the first of two phases, or none of it; the only one, or the second */
    lmb_distill_config distill;
} lmb_quantize_config;
enum { LMB_QUANTIZE_AUTO, LMB_QUANTIZE_QAT, LMB_QUANTIZE_PTQ };

typedef struct lmb_student {
    lmb_job job;
    bool fresh;
    lmb_quantize_config quantize;
    lmb_distill_config distill;
    lmb_prune_config prune;
    lmb_lowrank_config lowrank;
    lmb_tracing tracing;
    const lmb_carry *remembered; /* what a training's optimizer begins with; NULL: nothing    */
    lmb_carry *remember;         /* where it is kept when the training has ended; NULL: nowhere */
} lmb_student;

/* What becomes of weights that are zero: they learn like all others; as those of a student that magnitudes have pruned
 * they stay zero; or more and more become so, as the section `prune` says. The latter two mean nothing to any other
 * student. */
typedef enum { LMB_ZEROS_FREE, LMB_ZEROS_STAY, LMB_ZEROS_GROW } lmb_zeros;

/* Train `model` as stage `name` with a teacher (alpha > 0) or without. `was`: the model before, which teaches where the
 * configuration says so. */
LMB_MUST_CHECK lmb_status lmb_student_train(lmb_student *r, lmb_comm *comm, const char *name, const lmb_train_config *c,
                                            const lmb_distill_config *dc, const lmb_graph *was, lmb_zeros zeros,
                                            lmb_graph *model, lmb_error *err);
/* The student in floats, trained and, where it is asked for, pruned and factorised; the caller's to destroy, also after
 * an error. */
LMB_MUST_CHECK lmb_status lmb_student_floats(lmb_student *r, lmb_comm *comm, lmb_graph **out, lmb_error *err);
/* Make it integers, with training or without. */
LMB_MUST_CHECK lmb_status lmb_student_integers(lmb_student *r, lmb_comm *comm, const lmb_graph *student,
                                               lmb_error *err);
/* Is `quantize` a training, or ranges alone? */
bool lmb_student_trains_integers(const lmb_student *r);
/* The graphs that training with fake quantisation begins with, of a student as it is: the first of two phases
 * (`unfolded`, left alone where there is none) and the last one; both left alone where nothing is trained. A few images
 * calibrate. The caller's to destroy, also after an error.
 *   errors  all by which lmb_student_integers would refuse a configuration */
LMB_MUST_CHECK lmb_status lmb_student_integers_try(const lmb_student *r, const lmb_graph *student, lmb_graph **unfolded,
                                                   lmb_graph **start, lmb_error *err);

/* Could all of it be done? Before any work: `student` is the model as it is built (student_check.c).
 *   ahead  the run's own teacher may yet have to be trained: its section `teacher` says what it will be */
LMB_MUST_CHECK lmb_status lmb_student_check(const lmb_student *r, const lmb_graph *student, bool ahead, lmb_error *err);

#endif
