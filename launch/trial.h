/* launch/trial.h - a recipe tried: trained by one rank on some samples, scored on others, and nothing left behind.
 *
 * What `limbeck tune` and `limbeck compare` share. A student learns from its teacher, which answers live; what comes
 * after that training (`prune`, `quantize`) is not part of a trial. A model that comes with zeros keeps them
 * (distill/prune/masks.h), as in the training that the trial stands for.
 */
#ifndef LMB_LAUNCH_TRIAL_H
#define LMB_LAUNCH_TRIAL_H

#include "core/base/hash.h"
#include "launch/job.h"

/* Samples to learn from and to be scored on, `n` times; views of job->all. */
typedef struct lmb_folds {
    int n;
    lmb_dataset *train[100], *held_out[100];
    uint32_t *order;
} lmb_folds;

/* Stratified: the training and the validation part of an opened job in n parts, each held out once.
 *   errors  E_ARG when there are fewer samples than folds */
LMB_MUST_CHECK lmb_status lmb_folds_open(const lmb_job *job, int n, uint64_t seed, lmb_folds *out, lmb_error *err);
void lmb_folds_close(lmb_folds *f);

/* A configuration as text, with the sets that a command line and a trial add: a job for each trial. */
typedef struct lmb_recipe {
    const char *name;
    void *text;
    size_t n;
} lmb_recipe;
LMB_MUST_CHECK lmb_status lmb_recipe_read(const char *path, lmb_recipe *out, lmb_error *err);
/* data: a job whose data is open, which is borrowed; NULL: none yet. */
LMB_MUST_CHECK lmb_status lmb_recipe_job(const lmb_recipe *r, const lmb_args *a, const char *stage, const lmb_job *data,
                                         lmb_job *out, lmb_error *err);
void lmb_recipe_close(lmb_job *j); /* of lmb_recipe_job with data */
/* The model that the stage begins with. */
LMB_MUST_CHECK lmb_status lmb_trial_model(const lmb_job *j, lmb_graph **out, lmb_error *err);

/* Remove what an earlier search or comparison has left in a folder: names, up to NULL, that need not be there. The
 * journal comes last: after a kill the rest is either of it or not there. */
LMB_MUST_CHECK lmb_status lmb_trials_forget(const char *folder, const char *const *names, lmb_error *err);

/* ---- trial_files.c: what trials depend on beside settings and samples ---- */

/* What j's teachers are, not their names: the bytes of their files go into h.
 *   errors  E_IO: one is not there. E_ARG: it would teach itself, which is for `limbeck distill` */
LMB_MUST_CHECK lmb_status lmb_trial_teacher(const lmb_job *j, lmb_hasher *h, lmb_error *err);

/* The files that trials may read: models that they begin with, and teachers. */
typedef struct lmb_trial_files {
    struct lmb_trial_file *file;
    int n;
    bool taught; /* by any of the teachers: alpha is above 0 somewhere */
} lmb_trial_files;
/* Those of one more job. Teachers count where alpha is 0, too; errors as of lmb_trial_teacher where it is not. */
LMB_MUST_CHECK lmb_status lmb_trial_files_of(const lmb_job *j, lmb_trial_files *f, lmb_error *err);
/* A line with the hash of each, as lmb_identity_check (distill/search/identity.h) knows those of samples. */
LMB_MUST_CHECK lmb_status lmb_trial_files_lines(const lmb_trial_files *f, struct lmb_str *out, lmb_error *err);
void lmb_trial_files_free(lmb_trial_files *f);

/* ---- a training ---- */

typedef struct lmb_trial_watch {
    /* After an epoch: accuracy on `validation` so far, at best. false: that is enough. NULL: none */
    bool (*epoch)(void *ctx, double best, bool last);
    bool (*step)(void *ctx, double share); /* of the training; false: stop, which gives E_STOPPED */
    void *ctx;
} lmb_trial_watch;

/* Train j's stage on `train`; *model (may be NULL) ends with the chosen weights, the caller's. *score: the best
 * accuracy on `validation`, which may be NULL: the last weights then, and no score. threads: where the recipe names
 * none. */
LMB_MUST_CHECK lmb_status lmb_trial_train(const lmb_job *j, const lmb_dataset *train, const lmb_dataset *validation,
                                          int threads, const lmb_trial_watch *watch, lmb_graph **model, double *score,
                                          lmb_error *err);

#endif
