/* distill/search/internal.h - a running search, shared by the files of the loop: search.c, check.c, step.c,
 * round.c, settle.c, finish.c, answer.c. */
#ifndef LMB_DISTILL_SEARCH_INTERNAL_H
#define LMB_DISTILL_SEARCH_INTERNAL_H

#include "distill/quantize/facts.h"
#include "distill/search/moves.h"
#include "distill/search/search.h"

typedef struct lmbi_search {
    const lmb_search_request *r;
    lmb_budget budget;
    double slack, deadline;
    lmb_graph *start;   /* the teacher in words that have an integer form; its weights say their bits */
    lmb_qat_config qat; /* without bits by name: `start` says them */
    lmb_latency *latency;
    lmb_distill_config finish_distill; /* resolved */
    lmb_judge_config jc;
    lmb_judge *judge;
    lmb_points *points;
    lmb_facts facts;  /* what all points' files say */
    char journal[LMB_SEARCH_PATH];
    char *why; /* lmb_search_result.why */
} lmbi_search;

/* Say to who watches what has become of a point. */
void lmbi_search_tell(const lmbi_search *s, int point);
/* ---- search.c: what the judge is to do, and files of points ---- */
void lmbi_search_lessons(lmbi_search *s); /* s->jc */
LMB_MUST_CHECK lmb_status lmbi_search_read(const lmbi_search *s, int id, lmb_graph **out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_search_write(const lmbi_search *s, int id, const lmb_graph *model, lmb_error *err);

/* ---- settle.c: measure, decide, and write the line in the journal. Takes the points' moves. */
typedef struct lmbi_outcome { lmb_paired pair; int64_t right, status, diverged; } lmbi_outcome;
LMB_MUST_CHECK lmb_status lmbi_search_settle(lmbi_search *s, lmb_point *p, const lmbi_outcome *o, int n, double slack,
                                             lmb_error *err);
int lmbi_search_next_round(const lmbi_search *s);
/* No more than may be lost, and `slack` beside. */
bool lmbi_search_loses_little(const lmbi_search *s, const lmb_point *p, double slack);

/* ---- check.c: before any work ---- */
/* Enough held-out samples for what is asked for? */
LMB_MUST_CHECK lmb_status lmbi_search_check_held_out(const lmbi_search *s, lmb_error *err);
/* What the search begins with: s->start and s->qat. */
LMB_MUST_CHECK lmb_status lmbi_search_check_form(lmbi_search *s, lmb_error *err);
/* Would who guesses among so many classes seldom (once in 100 times) answer so many of n samples rightly? */
bool lmbi_search_beyond_guessing(int64_t right, int64_t n, int classes);
LMB_MUST_CHECK lmb_status lmbi_search_check_teachers(const lmbi_search *s, lmb_error *err);

/* ---- finish.c: the cheapest accepted point that is within the accuracy once it is finished ---- */
LMB_MUST_CHECK lmb_status lmbi_search_finish(lmbi_search *s, lmb_error *err);

/* ---- step.c: *paid is false, and nothing has happened, when no move is worth a step ---- */
LMB_MUST_CHECK lmb_status lmbi_search_step(lmbi_search *s, int from, lmb_goal goal, double share, bool *paid,
                                           lmb_error *err);
/* The teacher trained for a moment as it is: its integers alone lose too much. */
LMB_MUST_CHECK lmb_status lmbi_search_as_it_is(lmbi_search *s, lmb_error *err);

/* ---- round.c: what all ranks do ---- */
/* The deployed files of a point, and how it answers. */
LMB_MUST_CHECK lmb_status lmbi_round_deploy(lmbi_search *s, int id, const lmb_graph *frozen, lmbi_outcome *out,
                                            lmb_error *err);
/* Rank 0: points first .. first + n, whose models are in their files, are trained, deployed and judged. */
LMB_MUST_CHECK lmb_status lmbi_round_run(lmbi_search *s, int first, int n, lmbi_outcome *out, lmb_error *err);
/* Rank 0: moves that were found of the model of point `from`, for point `id`, get the losses that they were tried to
 * have. */
LMB_MUST_CHECK lmb_status lmbi_round_try(lmbi_search *s, int from, int id, lmb_moves *m, lmb_error *err);
/* Rank 0: the last trainings of point `of`, as number `id`; see lmb_judge_finish. */
LMB_MUST_CHECK lmb_status lmbi_round_last_lessons(lmbi_search *s, int of, int id, lmb_graph **frozen,
                                                  lmb_judge_last *last, lmb_error *err);
/* The other ranks, until lmbi_round_end. */
LMB_MUST_CHECK lmb_status lmbi_round_serve(lmbi_search *s, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_round_end(lmbi_search *s, lmb_error *err);

/* Keep the reason of the end; always LMB_OK, so that it can be returned. */
lmb_status lmbi_search_why(lmbi_search *s, const char *fmt, ...) LMB_PRINTF(2, 3);
/* Fill best, met and, where nothing is within the limits, why. */
void lmbi_search_answer(const lmbi_search *s, lmb_search_result *r);

#endif
