/* distill/tune/tune.h - which recipe is best: trials of settings, in rounds, with a journal.
 *
 * Idea: a round of trials is proposed from all rounds before (method.h) and shared by the ranks, a trial each at a
 * time. What was seen of a trial (its score, the cost that was measured, whether it was stopped) is a line in a
 * journal before anything is decided by it: killed at any instant, the same search makes the same decisions. How many
 * ranks there are changes none.
 *
 *   same      settings that were tried before, with as many epochs, are not tried again: their outcome is taken over
 *   rungs     a method may give trials a share of their epochs (method.h); only those with the largest share that there
 *             was can be the best, or on the front
 *   hopeless  a trial is stopped after an epoch in which it is worse than the median of the finished trials of
 *             earlier rounds was after the same epoch of the same fold: those whose fold had ended before that epoch
 *             (patience, a target, fewer epochs) have no say in it
 *   failed    settings with which no training goes well (a gradient that is not finite, layers that do not fit): the
 *             reason is kept, the search goes on
 *   files     <folder>/journal.jsonl, and times.jsonl, which decides nothing but when `seconds` are over
 *   source    median rule: Golovin et al. 2017 (Google Vizier), section 3.5.1
 */
#ifndef LMB_DISTILL_TUNE_TUNE_H
#define LMB_DISTILL_TUNE_TUNE_H

#include "comm/collective.h"
#include "distill/tune/method.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_TUNE_CURVE = 400, LMB_TUNE_WHY = 200, LMB_TUNE_ROUND = 256, LMB_TUNE_FOLDS = 100, LMB_TUNE_TRIALS = 100000 };

typedef enum { LMB_TUNE_COST_NONE, LMB_TUNE_COST_LATENCY, LMB_TUNE_COST_BYTES, LMB_TUNE_COST_MACS } lmb_tune_cost;
extern const char *const lmb_tune_costs[]; /* "none", "latency", "bytes", "macs", NULL */
typedef enum { LMB_TUNE_STOP_NONE, LMB_TUNE_STOP_MEDIAN } lmb_tune_stop;

typedef struct lmb_tune_stop_config {
    int64_t rule, epochs, trials;
} lmb_tune_stop_config;

/* The `tune` section of a configuration. */
typedef struct lmb_tune_config {
    const char *stage;
    const struct lmb_tree *space, *method;
    int64_t cost, trials, round, folds, seed;
    double seconds;
    lmb_tune_stop_config stop;
} lmb_tune_config;
extern const lmb_field lmb_tune_fields[];

typedef struct lmb_trial {
    int id;
    double x[LMB_TUNE_DIMS];
    double score, spread; /* mean accuracy and, with folds, its standard deviation */
    double cost;          /* 0: not measured */
    double share;         /* of its epochs that it had: 1, or less in the lower rungs of a method */
    int same;             /* the earlier trial with the same values, whose outcome this is; -1 */
    bool hopeless, failed;
    bool front;             /* no other is at least as accurate and as cheap; set at the end */
    char why[LMB_TUNE_WHY]; /* it failed */
    int n_curve, n_folds;
    int epochs[LMB_TUNE_FOLDS];   /* of the curve, in each fold that was begun: patience may end one early */
    double curve[LMB_TUNE_CURVE]; /* score so far, after each epoch of each fold */
} lmb_trial;

typedef struct lmb_trials {
    int n, room;
    lmb_trial *trial;
} lmb_trials;

/* What the training of a trial reports to. */
typedef struct lmb_tune_follow lmb_tune_follow;
/* After every epoch of every fold, from 0 on: the score so far; `last`: no epoch follows in any fold. false: hopeless,
 * come to an end. */
bool lmb_tune_epoch(lmb_tune_follow *f, int fold, double score, bool last);

typedef struct lmb_tune_request {
    const lmb_tune_config *c;
    const lmb_space *space;
    const lmb_method *method;
    const void *method_config;
    const char *folder, *identity; /* identity: what all depends on, as a marked dump (core/base/agree.h): another
                                      search's journal is refused */
    lmb_comm *comm;                /* all ranks call */
    /* Train with the settings at x; score and spread of what it came to, or so far where `follow` has stopped it. Any
     * rank. E_NUMERIC, E_SHAPE, E_ARG, E_UNSUPPORTED and E_NOMEM fail the trial, E_STOPPED stops the search, others end
     * it. */
    lmb_status (*train)(void *ctx, int id, const double *x, lmb_tune_follow *follow, double *score, double *spread,
                        lmb_error *err);
    /* What the deployed model costs. Rank 0, one at a time. NULL where c->cost is none. */
    lmb_status (*cost)(void *ctx, const double *x, double *cost, lmb_error *err);
    void (*done)(void *ctx, const lmb_trials *all, int trial); /* rank 0, after each; may be NULL */
    void *ctx;
} lmb_tune_request;

/* Do method, space, round and number of trials go together? What lmb_tune_run would refuse, before any work.
 *   errors  E_ARG: as the method's check; fewer trials than a method with an end has, which would be one corner */
LMB_MUST_CHECK lmb_status lmb_tune_request_check(const lmb_tune_request *r, lmb_error *err);
/* The round and the share of its epochs of a trial. */
lmb_rung lmb_tune_rung(const lmb_tune_request *r, int trial);
/* Search, or go on with it. Every rank ends with the same trials, the caller's to free.
 *   errors  E_ARG: settings that do not go together, another search's journal; E_STOPPED: what is done is in the
 * journal */
LMB_MUST_CHECK lmb_status lmb_tune_run(const lmb_tune_request *r, lmb_trials *out, lmb_error *err);
void lmb_trials_free(lmb_trials *t);
/* How many trials there will be: the budget, or all that the method has. */
int64_t lmb_tune_budget(const lmb_tune_request *r);
/* The most accurate that was neither stopped nor failed, of those with the largest share of their epochs; of equal ones
 * the cheapest, then the first. -1: none. */
int lmb_trials_best(const lmb_trials *t);
/* Mark the front. E_NOMEM. */
LMB_MUST_CHECK lmb_status lmb_trials_front(lmb_trials *t, lmb_error *err);
/* Share of the scores' variance that the parts of a key's range (four, or each choice) explain by themselves, 0 to 1: a
 * hint at what matters. Of trials that ended, with the share of epochs that the first one had. */
double lmb_trials_matter(const lmb_trials *t, const lmb_space *s, int key);

#ifdef __cplusplus
}
#endif
#endif
