/* launch/teacher.h - the teacher of a stage: from a file, and where its logits come from. */
#ifndef LMB_LAUNCH_TEACHER_H
#define LMB_LAUNCH_TEACHER_H

#include "distill/logits.h"
#include "distill/teachers.h"
#include "launch/job.h"
#include "launch/stage.h"
#include "train/loss.h"

/* Where the teachers are read from: path[*n]. */
LMB_MUST_CHECK lmb_status lmb_teacher_files(const lmb_job *j, const lmb_distill_config *c,
                                            char path[LMB_TEACHERS_MAX][LMB_STAGE_PATH], int *n, lmb_error *err);
/* An .onnx file or a checkpoint; default <run>/teacher/model.onnx. Several: their weighted mean
 * (distill/teachers.h). One that ends in Softmax comes without it, and, with `say`, with a line about that. */
LMB_MUST_CHECK lmb_status lmb_teacher_read(const lmb_job *j, const lmb_distill_config *c, bool say, lmb_graph **out,
                                           lmb_error *err);
/* One file of them. */
LMB_MUST_CHECK lmb_status lmb_teacher_read_file(const lmb_job *j, const char *file, bool say, lmb_graph **out,
                                                lmb_error *err);

/* Decide by d->distill.cache, and open or make <run>/teacher/logits-<key>.bin where its logits are to come from it: all
 * ranks call. Sets d->rows and, with a file, d->logits; *out is then the caller's to close after the training, else
 * NULL. */
LMB_MUST_CHECK lmb_status lmb_teacher_cache(const lmb_job *j, const lmb_dataset *samples, const lmb_train_config *c,
                                            lmb_comm *comm, lmb_objective *d, lmb_logits **out, lmb_error *err);

/* What a training learns from a teacher: what its own `section` says (NULL: there is none), and of what that does not
 * say, what the training before it had (NULL, or without a share for a teacher: the defaults). Who names a teacher has
 * named all of them. Without a section and a teacher before, alpha is 0. */
LMB_MUST_CHECK lmb_status lmb_teacher_inherit(const lmb_tree *section, const lmb_distill_config *before,
                                              lmb_distill_config *out, lmb_error *err);

/* Are the files of `teacher` and `teachers` there? Before any work. */
LMB_MUST_CHECK lmb_status lmb_teacher_check(const lmb_distill_config *c, lmb_error *err);
/* Who will teach: what lmb_teacher_read gives, or with `ahead`, in place of the run's own teacher, which may yet have
 * to be trained, its model as the section `teacher` builds it. */
LMB_MUST_CHECK lmb_status lmb_teacher_ahead(const lmb_job *j, const lmb_distill_config *c, bool ahead, lmb_graph **out,
                                            lmb_error *err);

#endif
