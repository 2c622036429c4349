/* distill/search/points.h - the points that a search has tried, and the journal that they are read back from.
 *
 * Idea: what a search decides next follows from the points so far, and from nothing else. So its journal is the list of
 * points, a line for each round of them, written when their files are there; a search that was killed reads it and goes
 * on. A measured time is part of its line: it is not taken again.
 *
 *   files   <folder>/journal.jsonl; <folder>/points/007/{model.onnx, qat.onnx, model-int8.onnx, model.lmb}
 */
#ifndef LMB_DISTILL_SEARCH_POINTS_H
#define LMB_DISTILL_SEARCH_POINTS_H

#include "distill/search/lines.h"
#include "distill/search/latency.h"
#include "distill/search/moves.h"
#include "distill/search/paired.h"
#include "distill/search/penalty.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The share by which the time of a whole model differs without a reason. */
#define LMB_POINT_NOISE 0.05

typedef enum { LMB_POINT_TEACHER, LMB_POINT_STEP, LMB_POINT_FINISHED } lmb_point_kind;
extern const char *const lmb_point_kinds[]; /* "teacher", "step", "finished", NULL */

typedef struct lmb_point {
    int id, parent;              /* parent: the point that it was made of, -1 for the teacher */
    int round;                   /* points of one round were tried side by side               */
    lmb_point_kind kind;
    lmb_goal goal;               /* the cost that was worked on                      */
    double step;                 /* share of it that was to go                       */
    lmb_penalty penalty;         /* step: under which its round was chosen           */
    int n_moves;
    lmb_move *move;              /* [n_moves]; loss and gain as they were estimated  */
    double predicted[LMB_COSTS]; /* before it was trained                            */
    double cost[LMB_COSTS];      /* measured microseconds (p50), bytes, MACs         */
    lmb_timing timing;           /* p50 is cost[LMB_GOAL_LATENCY]                             */
    double beside;               /* step: microseconds of its parent, before and after it: the lesser; 0: not taken */
    double parameters, arena;
    lmb_paired pair;             /* against the teacher, on the held-out samples     */
    lmb_paired before;           /* finished: against its parent, on the same; n 0: not compared */
    lmb_paired proof;            /* finished: with the teacher against without; n 0: not to be proved */
    int64_t right;
    double limit;                /* the drop is at most this, with the search's confidence */
    bool diverged;               /* its training did, and was taken back */
    bool accepted;
    bool beaten;                 /* it could be accepted, and another of its round was, or its parent is no worse */
    bool front;                  /* no other point is at least as good in all (set by lmb_points_front) */
} lmb_point;

typedef struct lmb_points {
    lmb_point *point;
    int n, room;
    const char *identity;        /* of the search whose points these are; borrowed */
    bool begun;                  /* the journal has its first line       */
} lmb_points;

void lmb_points_free(lmb_points *p);
/* Read the journal at `path`; none is no error. E_ARG when it is of another search than `identity`: all that it depends
 * on as a marked dump (core/base/agree.h), which is kept, not copied. */
LMB_MUST_CHECK lmb_status lmb_points_read(const char *path, const char *identity, lmb_points *out, lmb_error *err);
/* Append the n points of a round to journal and list. Takes their moves, on failure too. A parent that was faster beside
 * them than when it was measured, by more than noise, is as fast in the list. */
LMB_MUST_CHECK lmb_status lmb_points_add(const char *path, lmb_points *p, const lmb_point *round, int n,
                                         lmb_error *err);

/* Mark the points that no other beats: at least as many held-out samples right, and no cost higher, one of them
 * better. */
void lmb_points_front(lmb_points *p);
double lmb_point_accuracy(const lmb_point *p);
/* The cost that a step works on, of what it was made of. A time: as it was beside the step, less what the machine was
 * slower. */
double lmb_point_from(const lmb_points *all, const lmb_point *p);
/* Is it a step, and no cheaper than that? */
bool lmb_point_saves_nothing(const lmb_points *all, const lmb_point *p);
/* How much slower the machine was than when its parent was measured, as the parent beside it says: this is taken off
 * the times of the point. 1: no more than noise, or the parent was not measured again. */
double lmb_point_slowness(const lmb_points *all, const lmb_point *p);

/* "stage2.conv 32 to 24 channels" or "fc to rank 16". */
void lmb_move_text(const lmb_move *m, lmb_str *out);

#ifdef __cplusplus
}
#endif
#endif
