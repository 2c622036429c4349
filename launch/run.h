/* launch/run.h - what the files of `limbeck run` share: the state of a run, and a stage as one row of a table. */
#ifndef LMB_LAUNCH_RUN_H
#define LMB_LAUNCH_RUN_H

#include "core/base/hash.h"
#include "launch/child.h"
#include "launch/federation.h"
#include "launch/stage.h"

enum { LMBI_RUN_PATIENCE_S = 30 }; /* for children that were asked to end */

typedef struct lmbi_run {
    lmb_job job;
    lmb_federation_config federation;
    const lmb_args *args;
    const char *config;             /* its path */
    char exe[LMB_STAGE_PATH], mpirun[LMB_STAGE_PATH];
    char hash[LMB_HASH_HEX];        /* of the configuration up to the present stage */
    char inputs[LMB_HASH_HEX];      /* of the results of the stages before it */
    bool fresh;
    const volatile int *interrupted; /* how often */
    int lock, log;                  /* file descriptors: of the folder, of the present stage's log */
    int old;                        /* N of the old-N that this run uses; 0: none yet */
} lmbi_run;

typedef struct lmbi_step {
    const char *name;               /* and folder below the run */
    const char *folders[8];         /* what it fills: moved away when the configuration is another */
    const char *sections[4];        /* of the configuration, that it depends on beside the stages before */
    const char *makes[3];           /* files below the run without which it is not done */
    bool (*wanted)(const lmb_job *j);
    lmb_status (*run)(lmbi_run *r, const struct lmbi_step *s, lmb_error *err);
    const char *argv[8];
} lmbi_step;

/* Words that are replaced in command lines. */
#define LMBI_CONFIG "{config}"
#define LMBI_PORT "{port}"
#define LMBI_INVITE "{invite}"
#define LMBI_SLICE "{slice}"
typedef struct lmbi_words { const char *config, *port, *invite, *slice; } lmbi_words;

/* ---- run_child.c: stages as children ---- */

/* Where this program and mpirun are. */
LMB_MUST_CHECK lmb_status lmbi_run_find_programs(lmbi_run *r, lmb_error *err);
/* Start `line` with its words replaced; `ranks` (may be NULL): under mpirun -n. */
LMB_MUST_CHECK lmb_status lmbi_run_start(const lmbi_run *r, lmb_child *c, const char *const *line, const lmbi_words *by,
                                         const char *ranks, lmb_error *err);
/* After Ctrl-C: end all; returns E_STOPPED. */
lmb_status lmbi_run_stop(const lmbi_run *r, lmb_child *c, int n, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_run_alone(lmbi_run *r, const lmbi_step *s, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_run_ranks(lmbi_run *r, const lmbi_step *s, lmb_error *err);

/* ---- run_federation.c: a server and its clients, on this machine ---- */
LMB_MUST_CHECK lmb_status lmbi_run_federation(lmbi_run *r, const lmbi_step *s, lmb_error *err);

/* ---- run_marks.c: what is done, and what is not ---- */

typedef enum lmbi_progress {
    LMBI_ABSENT,
    LMBI_BEGUN,
    LMBI_DONE,
    LMBI_OTHER,       /* of another configuration */
    LMBI_OTHER_INPUTS /* built on other results   */
} lmbi_progress;

/* Chain the part of the configuration that the step depends on into r->hash, and see what an earlier run has left. */
LMB_MUST_CHECK lmb_status lmbi_run_progress(lmbi_run *r, const lmbi_step *s, lmbi_progress *out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_run_started(const lmbi_run *r, const lmbi_step *s, lmb_error *err);
/* The step is done, now or (`reused`) by an earlier run: later ones build on what it left. */
LMB_MUST_CHECK lmb_status lmbi_run_done(lmbi_run *r, const lmbi_step *s, bool reused, lmb_error *err);
/* Move the folders of a step to <run>/old-N: the first that is free, and the same for all steps of this run. */
LMB_MUST_CHECK lmb_status lmbi_run_move_away(lmbi_run *r, const lmbi_step *s, const char *why, lmb_error *err);

#endif
