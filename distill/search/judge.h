/* distill/search/judge.h - who trains, quantises and evaluates the candidates of a search.
 *
 * Idea: the teacher has answered all training samples once (distill/logits.h), so a short training reads its logits
 * from a file; they are of samples without augmentation, or, for the last trainings, of the versions of each. A
 * candidate is then made integers, and it is these integers, run by core/edge, that answer the held-out samples, on
 * which the teacher was as well: one pair of answers for each. Others may teach in its place, such as several as one
 * (distill/teachers.h).
 *
 *   tune      the float model on a share of the training part, other samples for each candidate; weights of few bits
 *             are rounded while it learns (distill/quantize/narrow.h), in `recover` too
 *   quantise  ranges from a few images (distill/quantize/ptq.h)
 *   recover   the float model on the whole training part
 *   finish    the folded model with fake quantisation, on the whole training part (distill/quantize/qat.h); learned
 *             steps are learned here, all other integers have theirs from ranges
 *   prove     finish with the teacher and, as long and from the same, without; kept is the first only if its integers
 *             win more held-out samples than they lose
 *   diverged  a lesson whose numbers are no longer finite, or whose integers nobody can compute: E_NUMERIC. The model is
 *             as it was before it. A last lesson that diverges is taken back
 *   ranks     tune is a matter of one rank; recover and finish are shared by all if they can sum to the same bits as
 *             one, which 1, 2, 4, 8 ... can (train/trainer.h)
 *   threads   one at a time
 */
#ifndef LMB_DISTILL_SEARCH_JUDGE_H
#define LMB_DISTILL_SEARCH_JUDGE_H

#include "comm/collective.h"
#include "distill/quantize/qat.h"
#include "distill/search/deployed.h"
#include "distill/search/paired.h"
#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_judge_config {
    lmb_train_config tune, recover, finish;
    bool recovers, finishes;    /* recover, finish are to be used */
    bool proves;                /* does the teacher help in finish? It is given without as well */
    lmb_distill_config distill; /* alpha, temperature, losses, precision */
    const lmb_distill_config *finish_distill; /* the first three, of finish; NULL: as distill            */
    const lmb_graph *teachers;  /* who teaches in place of whom candidates are compared with; NULL: the same */
    int64_t samples;            /* of the training part that tune sees; more than there are: all */
    int64_t calibration;        /* images */
    int64_t seed;
    const struct lmb_tree *observer;
    const lmb_qat_config *qat;   /* of all integers; NULL: its defaults   */
    bool equalise, correct_bias; /* as lmb_ptq_config has them            */
    const char *identity;       /* what else the last trainings depend on; NULL: nothing */
} lmb_judge_config;

/* Progress of what takes long; false: stop, which gives E_STOPPED. */
typedef struct lmb_judge_watch {
    bool (*work)(void *ctx, const char *what, int64_t done, int64_t all);
    void *ctx;
} lmb_judge_watch;

typedef struct lmb_judge lmb_judge;

/* E_SHAPE when teacher and data have other classes or samples, or samples are no images of bytes. */
LMB_MUST_CHECK lmb_status lmb_judge_check(const lmb_graph *teacher, const lmb_dataset *data, lmb_error *err);

/* Before any work: could each of the lessons be given, to a model such as this one? E_ARG for names and options that
 * there are not, and all that lmb_trainer_create refuses.
 *   ranks   called by all of `comm`; NULL: by one that asks for itself */
LMB_MUST_CHECK lmb_status lmb_judge_check_lessons(const lmb_judge_config *c, const lmb_graph *model,
                                                  const lmb_dataset *train, lmb_comm *comm, lmb_error *err);

/* The teacher's share of a lesson. E_ARG for a loss that looks into the teacher, of whom there is a file of logits, and
 * as lmb_objective_bind. */
LMB_MUST_CHECK lmb_status lmb_judge_lesson(const lmb_distill_config *c, lmb_objective *out, lmb_error *err);

/* All is borrowed. Errors of lmb_judge_check come before any work. */
LMB_MUST_CHECK lmb_status lmb_judge_create(const lmb_judge_config *c, const lmb_graph *teacher,
                                           const lmb_dataset *train, const lmb_dataset *held_out, const char *folder,
                                           lmb_comm *comm, const lmb_judge_watch *watch, lmb_judge **out,
                                           lmb_error *err);
void lmb_judge_destroy(lmb_judge *j); /* NULL is a no-op */
/* Before any lesson, on all ranks: who teaches answers the training samples, or has; kept in `folder`. Errors of
 * lmb_logits_open. */
LMB_MUST_CHECK lmb_status lmb_judge_open_logits(lmb_judge *j, lmb_error *err);

/* What the last lessons have come to. */
typedef struct lmb_judge_last {
    lmb_paired proof; /* won by the teacher's share in finish, and lost: kept is its training if more was won; n 0: it
                         was not to be proved */
    bool diverged;    /* one of them, and it was taken back */
    lmb_graph *floats; /* what the integers were made of: recovered, or as it came; the caller's, NULL on failure */
} lmb_judge_last;

/* Train `model` in place, as number `id`. */
LMB_MUST_CHECK lmb_status lmb_judge_tune(lmb_judge *j, lmb_graph *model, int id, lmb_error *err);
/* A frozen FakeQuant graph: by calibration alone, or after the last lessons, which go on from their last whole epoch
 * where they were stopped.
 *   ranks   finish is called by all ranks if lmb_judge_on_all says so, else by rank 0 */
LMB_MUST_CHECK lmb_status lmb_judge_quantise(lmb_judge *j, const lmb_graph *model, lmb_graph **frozen, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_judge_finish(lmb_judge *j, const lmb_graph *model, int id, lmb_graph **frozen,
                                           lmb_judge_last *last, lmb_error *err);
bool lmb_judge_on_all(const lmb_judge *j);
/* Can `ranks` share the last lessons on so many samples? E_ARG says why not: rank 0 then gives them alone. */
LMB_MUST_CHECK lmb_status lmb_judge_ranks_share(const lmb_judge_config *c, int64_t samples, int ranks, lmb_error *err);
/* The last lessons of number `id` will not be gone on with: what was kept of them is deleted. */
void lmb_judge_forget(const lmb_judge *j, int id);
/* The deployed model against the teacher on the held-out samples; *right: how many it answers rightly. */
LMB_MUST_CHECK lmb_status lmb_judge_compare(lmb_judge *j, const lmb_deployed *d, lmb_paired *pair, int64_t *right,
                                            lmb_error *err);
/* Two deployed models on the same samples: won, what only the second has right. */
LMB_MUST_CHECK lmb_status lmb_judge_against(lmb_judge *j, const lmb_deployed *first, const lmb_deployed *second,
                                            lmb_paired *pair, lmb_error *err);
/* right[i], of [d->n]: do the logits [d->n, d->classes] answer sample i rightly? */
LMB_MUST_CHECK lmb_status lmb_judge_marks(const lmb_dataset *d, const float *logits, bool *right, lmb_error *err);
/* How many the teacher answers rightly, and who teaches in its place (the same: the teacher). */
int64_t lmb_judge_teacher_right(const lmb_judge *j);
int64_t lmb_judge_teaches_right(const lmb_judge *j);

#ifdef __cplusplus
}
#endif
#endif
