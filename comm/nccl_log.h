/* comm/nccl_log.h - which piece of work is under way on a communicator's streams.
 *
 * Idea: behind each piece of work a stream adds one to a count in memory that the host may look at, also where the
 * piece was recorded and runs in a graph. The host keeps what it has put there, in order; a graph's pieces once, and
 * again in each replay, with its step. As a communicator does one thing at a time, the first piece that the count has
 * not reached is the one that nothing comes of, whatever has been put behind it.
 *
 *   bounds   the last LMBI_NCCL_LOG pieces have names: some replays of a model with hundreds of buckets
 *   threads  one
 */
#ifndef LMB_COMM_NCCL_LOG_H
#define LMB_COMM_NCCL_LOG_H

#include <stdbool.h>

#include "comm/nccl_api.h"
#include "core/base/error.h"

enum { LMBI_NCCL_LOG = 4096, LMBI_NCCL_DOING = 56 };

typedef struct lmbi_nccl_work {
    int64_t step;
    char doing[LMBI_NCCL_DOING]; /* "all-reduce of bucket 3" */
} lmbi_nccl_work;

typedef struct lmbi_nccl_log {
    const lmb_nccl_api *api;
    volatile uint64_t *count; /* pieces that streams have passed */
    uint64_t put;             /* pieces that were put there      */
    lmbi_nccl_work *last;     /* [LMBI_NCCL_LOG] number i at i modulo that */
    lmbi_nccl_work *recorded; /* those of the graph */
    int n_recorded, room;
} lmbi_nccl_log;

/* A code of the table's; nothing is made then. */
int lmbi_nccl_log_open(lmbi_nccl_log *l, const lmb_nccl_api *api);
/* still: streams may still count, so that the count stays where it is. */
void lmbi_nccl_log_close(lmbi_nccl_log *l, bool still);
/* A piece has been put on `stream`, or is recorded there. The count's code. */
int lmbi_nccl_log_put(lmbi_nccl_log *l, void *stream, int64_t step, const char *doing, bool recording);
void lmbi_nccl_log_record(lmbi_nccl_log *l, bool on); /* on: what is recorded from now on is another graph's */
void lmbi_nccl_log_replayed(lmbi_nccl_log *l, int64_t step);
/* NULL: all has been passed, or so much is under way that its name is gone. */
const lmbi_nccl_work *lmbi_nccl_log_under_way(const lmbi_nccl_log *l);

#endif
