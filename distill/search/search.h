/* distill/search/search.h - the smallest cost that keeps the accuracy: min T(model) subject to A(model) >= A(teacher) -
 * drop.
 *
 * Idea: from the teacher as integers on, step by step. A step takes a share of one cost away: the objective's, or that
 * of the limit that is exceeded most. Which moves it is made of is chosen by loss over gain (moves.h); the model learns
 * on for a moment from the teacher's logits, becomes integers, and answers the held-out samples. It is accepted when a
 * paired test says, with the confidence asked for, that it has not lost more than it may, and when what it was to save
 * is saved as it is measured, whatever was predicted. A rejected step is halved, and moves that were part of it count
 * for more; the search ends when steps are too small to pay.
 *
 *   ranks     share the moves that are tried, the candidates of a step and the last trainings (judge.h); rank 0 measures
 *             alone, one at a time, and decides. Which ranks there are changes no decision
 *   round     a step may have several candidates, each of other moves than those before. The best by penalised loss that
 *             passes goes on (penalty.h)
 *   begin     the teacher with ranges alone; where that loses too much (few bits do), trained for a moment as it is
 *   slack     while searching this much more may be lost, because the last training gives some of it back
 *   finish    then the cheapest accepted point is trained on all training samples, in floats (recover), with fake
 *             quantisation (finish) or both, and judged without the slack; if it fails, points between it and the
 *             teacher are, halving their number each time.
 *             Of a point and its finished form, which cost the same, the one with more held-out samples right goes out
 *             prove: it is trained without the teacher as well, and the better of the two is the finished form
 *   diverged  a training that ends in numbers that are none is taken back (judge.h); its point says so
 *   answer    of all points within all limits the best by the objective. If there is none: the nearest, and why
 *   bits      a search with a frozen latency table ends in the same bits however often it was killed (points.h)
 *   source    Yang et al. 2018 (NetAdapt), arXiv:1804.03230; steps halved on rejection: NNCF's adaptive compression
 */
#ifndef LMB_DISTILL_SEARCH_SEARCH_H
#define LMB_DISTILL_SEARCH_SEARCH_H

#include "distill/search/judge.h"
#include "distill/search/points.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_search_table { const char *file; bool frozen; } lmb_search_table;

enum { LMB_SEARCH_CANDIDATES = 64, LMB_SEARCH_STEPS = 100 };

typedef struct lmb_search_config {
    int64_t objective;
    const char *accuracy_drop_max, *latency_max, *bytes_max, *macs_max, *deadline,
        *slack; /* with units: budget.h; "": no limit, the default slack */
    double confidence, step, step_min, gain_min, penalty;
    int64_t steps, candidates, tile, min_channels, bits_min, batches, samples, calibration, seed, probe;
    bool low_rank, equalise, correct_bias, prove;
    const struct lmb_tree *observer, *moves;
    lmb_qat_config qat;
    lmb_train_config tune, recover, finish;
    lmb_distill_config distill, finish_distill; /* the latter: see lmb_search_lessons */
    lmb_search_table table;
} lmb_search_config;
extern const lmb_field lmb_search_fields[];

typedef struct lmb_search_watch {
    lmb_judge_watch work;
    /* After every decision, for each point of its round; `why` is a sentence. Rank 0. */
    void (*point)(void *ctx, const lmb_points *p, int point, const char *why);
    void *ctx;
} lmb_search_watch;

typedef struct lmb_search_request {
    const lmb_search_config *c;
    bool recover, finish;                 /* c->recover, c->finish are to be used */
    const lmb_graph *teacher;             /* in inference form, answers logits (quantize/softmax.h) */
    const lmb_graph *teachers;            /* who teach in its place; NULL: it does */
    const lmb_dataset *train, *held_out;
    const char *folder;                   /* of journal, table and points  */
    const char *identity;                 /* what it all depends on, as a marked dump (points.h): another search's
                                             journal is refused */
    lmb_comm *comm;                       /* all ranks call                */
    const lmb_timer *device;              /* who measures; NULL: this machine */
    lmb_search_watch watch;
} lmb_search_request;

typedef struct lmb_search_result {
    lmb_points points;
    lmb_budget budget;
    double deadline;       /* microseconds; 0: none                  */
    int best;              /* the answer, or the nearest point       */
    bool met;              /* false: nothing is within all limits    */
    int64_t teacher_right;
    char why[400];         /* why the search ended, and what is missing */
} lmb_search_result;
void lmb_search_result_free(lmb_search_result *r);

/* Can all ranks share `recover` and `finish`? E_ARG says why not: rank 0 then trains alone. */
LMB_MUST_CHECK lmb_status lmb_search_ranks_share(const lmb_search_request *r, lmb_error *err);

/* Limits as numbers. E_ARG for what is no number, or nothing to do. */
LMB_MUST_CHECK lmb_status lmb_search_budget(const lmb_search_config *c, lmb_budget *out, lmb_error *err);

/* Which kinds of moves are tried: those of `moves`, else all that the other keys allow. E_ARG names a kind that there
 * is not, or one that they forbid. */
extern const char *const lmb_search_moves_names[]; /* "channels", "ranks", "bits", "blocks", NULL, as lmb_move_kind */
LMB_MUST_CHECK lmb_status lmb_search_moves(const lmb_search_config *c, bool use[LMB_MOVE_KINDS], lmb_error *err);

/* The share that may be lost beside accuracy_drop_max while searching: 0 without a last training (`recover`, `finish`).
 * E_ARG: it is asked for where nothing gives it back, or it is no share. */
LMB_MUST_CHECK lmb_status lmb_search_slack(const lmb_search_config *c, bool last, double *out, lmb_error *err);

/* What of the integers can not go together, with `finish` or without. E_ARG says what to change. */
LMB_MUST_CHECK lmb_status lmb_search_integers(const lmb_search_config *c, bool finish, lmb_error *err);

/* The teacher's share in `finish`: what `finish_distill` does not say is as in `distill`.
 *   errors  E_ARG: lmb_judge_lesson's of both; `finish_distill` or `prove` without `finish`, `prove` without a teacher
 */
LMB_MUST_CHECK lmb_status lmb_search_lessons(const lmb_search_config *c, bool finish, lmb_distill_config *out,
                                             lmb_error *err);

/* Microseconds after which a prediction is late: `deadline`, else `latency_max`; 0: neither is given. */
LMB_MUST_CHECK lmb_status lmb_search_deadline(const lmb_search_config *c, double *out, lmb_error *err);

/* All that is said before any work: c, teacher, train and held_out of the request are looked at. */
LMB_MUST_CHECK lmb_status lmb_search_check(const lmb_search_request *r, lmb_error *err);

/* Search, or go on with it. A budget that can not be met is no error: result->met says so. Rank 0 decides and has the
 * result; the others work for it and end with none.
 *   errors  before any work: as lmb_judge_check; E_UNSUPPORTED names a node of the teacher that has no integer form;
 *           E_ARG for held-out samples too few to show so small a drop; E_STOPPED */
LMB_MUST_CHECK lmb_status lmb_search_run(const lmb_search_request *r, lmb_search_result *out, lmb_error *err);

enum { LMB_SEARCH_PATH = 1024 };
/* <folder>/points/<id>/<file> */
LMB_MUST_CHECK lmb_status lmb_search_file(char path[LMB_SEARCH_PATH], const char *folder, int id, const char *file,
                                          lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
