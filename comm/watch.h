/* comm/watch.h - who is stuck, and at what: a noticeboard that the ranks of a job share.
 *
 * Idea: a collective that waits for ever says nothing. So each rank keeps a line on a board (a small file that all
 * ranks map): what it is doing, which step, its process, and a count of its looks. A thread of each rank looks at the
 * board four times a second. A rank whose process is gone, or that for longer than the limit, while we wait, has been
 * behind or has not looked (it is stopped, its host is away), is named with what it was doing; then the job is ended
 * with exit code 75, so that a scheduler starts it again.
 *
 *   threads  doing() from the working thread; the watching thread only reads
 *   note     processes are looked up on this host; ranks of other hosts are judged by time alone. The board's folder
 *            must be one that all ranks see
 */
#ifndef LMB_COMM_WATCH_H
#define LMB_COMM_WATCH_H

#include <stdint.h>

#include "comm/collective.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_watch lmb_watch;

/* `path`: of the board; rank 0 makes it. `limit_s`: how long a rank may be behind. `report` gets one sentence before
 * the job is ended, on the watching thread. With one rank there is nothing to watch: *out is NULL, which every
 * function takes. */
LMB_MUST_CHECK lmb_status lmb_watch_open(lmb_comm *c, const char *path, double limit_s,
                                         void (*report)(void *ctx, const char *sentence), void *ctx, lmb_watch **out,
                                         lmb_error *err);
void lmb_watch_close(lmb_watch *w);
/* This rank now does `what` (static text) for `step`; `waits`: it waits for the other ranks. */
void lmb_watch_doing(lmb_watch *w, int64_t step, const char *what, bool waits);
/* The rank that is furthest behind, with its host and what it does, as part of a sentence; "" when all are where we
 * are. */
void lmb_watch_behind(const lmb_watch *w, char *text, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
