/* core/cuda/contest.h - of several ways to compute the same, the fastest, found out once a shape.
 *
 * Idea: ways enter in the order in which they would be taken unmeasured. Each runs once unmeasured, which loads its
 * code; who then needs several times the best is out; the others run in turns, so that a clock that changes meets all
 * alike, and the best turn of each counts. The first stays where no other is clearly faster, so that a tie does not
 * change from one run to the next. Running and timing are the caller's: nothing here knows of a GPU.
 *
 * What was decided is kept by shape as long as the process lives, and in one short line, the way, for a file
 * (results.h): with it the next process takes the same way without measuring. All contests of a queue together may take
 * a limited time; after that the first way is taken, as where nothing is measured.
 *
 *   threads  one at a time
 */
#ifndef LMB_CORE_CUDA_CONTEST_H
#define LMB_CORE_CUDA_CONTEST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMBI_CONTEST_MOST = 14, LMBI_CONTEST_NAME = 32 };

typedef struct lmbi_contestant {
    char name[LMBI_CONTEST_NAME];
    int link, place; /* the caller's: where to find it again */
    double ms;       /* the best turn; 0: not measured, below 0: it failed */
} lmbi_contestant;

typedef struct lmbi_contest {
    int n, winner; /* winner: -1 when all failed */
    lmbi_contestant of[LMBI_CONTEST_MOST];
} lmbi_contest;

/* Run way i `turns` times and tell how many milliseconds they took together. A failure leaves that way out. */
typedef lmb_status lmbi_contest_run(void *ctx, int i, int turns, double *ms, lmb_error *err);

void lmbi_contest_enter(lmbi_contest *c, const char *name, int link, int place); /* what is too many is left out */
/* Decide `winner`. Who is alone is not measured. */
void lmbi_contest_hold(lmbi_contest *c, lmbi_contest_run *run, void *ctx);
/* "fused engine 5 0.103 ms, plain engine 5 0.140 ms, own kernel failed", cut where there is no more room. */
void lmbi_contest_text(const lmbi_contest *c, char *to, size_t room);

/* The winner as a line of a file: "fused engine 5 at 3, 0.103 ms", or "none". */
enum { LMBI_CONTEST_WAY = 63 };
void lmbi_contest_way(const lmbi_contest *c, char to[LMBI_CONTEST_WAY + 1]);
/* The same line read: a contest that one took part in, without a link, or, of "none", nobody. false: no such line. */
bool lmbi_contest_read(const char *way, lmbi_contest *c);

/* How long contests may take and have taken, in seconds. limit below 0: as long as they like. */
typedef struct lmbi_contest_time {
    double limit, spent;
    bool told; /* that it is over */
} lmbi_contest_time;
bool lmbi_contest_time_left(const lmbi_contest_time *t);

/* What was decided before, by shape. */
typedef struct lmbi_contests lmbi_contests;
void lmbi_contests_destroy(lmbi_contests *all);                                     /* NULL is fine        */
const lmbi_contest *lmbi_contests_find(const lmbi_contests *all, const char *shape); /* NULL: not decided  */
/* *all begins as NULL. Where there is no memory, nothing is kept: it will be measured again. */
void lmbi_contests_keep(lmbi_contests **all, const char *shape, const lmbi_contest *c);

#ifdef __cplusplus
}
#endif
#endif
