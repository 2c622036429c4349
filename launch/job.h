/* launch/job.h - a configuration file, read and checked: data, split, and the stage to work on.
 *
 *   run: runs/fashion-mnist            everything is left here
 *   data: {name: idx, path: ...}       the data set
 *   split: {train: 40000, validation: 5000, clients: 15000, seed: 1}
 *   launch: {ranks: 2}                 how `limbeck run` starts the stages
 *   model: ...   train: ...            of a single-stage configuration, or the same below `teacher:`, `student:`
 *
 * The training part of the data set is shuffled once by split.seed and cut: training (the cluster's), validation,
 * clients. `train: 0` means the rest. The test part is only ever used to report.
 */
#ifndef LMB_LAUNCH_JOB_H
#define LMB_LAUNCH_JOB_H

#include "core/base/config.h"
#include "launch/cmd.h"
#include "train/trainer.h"

typedef struct lmb_split_config { int64_t train, validation, clients, seed; } lmb_split_config;

typedef struct lmb_launch_config { int64_t ranks; } lmb_launch_config;

typedef struct lmb_job_config {
    const char *run, *plan_cache;
    lmb_launch_config launch;
    const lmb_tree *data, *model, *teacher, *student, *federation, *compress, *tune, *update;
    lmb_split_config split;
    lmb_train_config train;
} lmb_job_config;
extern const lmb_field lmb_job_fields[];

typedef struct lmb_stage_config { /* below `teacher:` or `student:` */
    const lmb_tree *model;
    lmb_train_config train;
    const lmb_tree *distill, *prune, *lowrank, *quantize;
} lmb_stage_config;
extern const lmb_field lmb_stage_fields[];

typedef struct lmb_job {
    lmb_config *yaml;
    lmb_job_config c;
    lmb_stage_config stage;   /* the one chosen; a single-stage file is its own stage */
    const char *stage_name;   /* "model", "teacher", "student"                        */
    lmb_dataset *all, *test;  /* opened by lmb_job_data                               */
    lmb_dataset *train, *validation, *clients; /* views of `all`; NULL where empty     */
    uint32_t *order;
    double began;             /* when it was opened: lmb_seconds() */
} lmb_job;

/* Stage name for commands that need the data but build no model. */
#define LMB_JOB_DATA_ONLY "data"
/* Stage name for an update that names none: the file's own `model`, or, of a search without one, what it compresses:
 * the stage `teacher`, or what compress.teacher is, as if it were the `model`. */
#define LMB_JOB_UPDATE "update"
/* Read `path`, apply --set, bind and check everything below the chosen stage (NULL: the file's own `model`). */
LMB_MUST_CHECK lmb_status lmb_job_open(const char *path, const lmb_args *args, const char *stage, lmb_job *job,
                                       lmb_error *err);
/* The same of a configuration that is read already; takes it, on failure too. */
LMB_MUST_CHECK lmb_status lmb_job_of(lmb_config *yaml, const lmb_args *args, const char *stage, lmb_job *job,
                                     lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_job_data(lmb_job *job, lmb_error *err);
/* E_ARG where clients have all samples that are not validation's, so that `train` is NULL: only a federation can
 * learn. */
LMB_MUST_CHECK lmb_status lmb_job_training(const lmb_job *job, lmb_error *err);
void lmb_job_close(lmb_job *job);
/* The resolved configuration as YAML. */
LMB_MUST_CHECK lmb_status lmb_job_dump(const lmb_job *job, struct lmb_str *out, lmb_error *err);
/* Of it what the chosen stage's weights depend on: what a checkpoint must agree with. */
LMB_MUST_CHECK lmb_status lmb_job_dump_stage(const lmb_job *job, struct lmb_str *out, lmb_error *err);


/* ---- is it sound? Everything that would else be found out in the middle of the work ---- */

/* Bind every section of the configuration at `path`, build its models, open its data, and say a line to stdout for each
 * stage that is sound. `only`: that stage alone; NULL: all there are. */
LMB_MUST_CHECK lmb_status lmb_job_check(const char *path, const lmb_args *args, const char *only, bool quiet,
                                        lmb_error *err);
/* Would a training with these settings start? */
LMB_MUST_CHECK lmb_status lmb_job_check_training(const lmb_train_config *c, const lmb_graph *model,
                                                 const lmb_dataset *data, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_job_check_patience(const lmb_train_config *c, const lmb_dataset *validation /* or NULL */,
                                                 lmb_error *err);
/* launch/cmd_distill.c: the student's own sections, and whether all that they say can be done. */
const lmb_field *lmb_distill_quantize_fields(void); /* of `student.quantize` */
LMB_MUST_CHECK lmb_status lmb_distill_check_job(const lmb_job *job, const lmb_graph *student, lmb_error *err);

#endif
