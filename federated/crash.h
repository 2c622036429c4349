/* federated/crash.h - where a server or a client may be killed, by name, so that tests can.
 *
 * Idea: what survives a crash is decided at a few steps: a row in the journal, a file that is renamed, an answer that
 * has left. Each has a name. With LIMBECK_CRASH_AT=<point>[:n] in its environment the process raises SIGKILL when it
 * passes that point for the n-th time (default 1): nothing is flushed, no handler runs, as after `kill -9` at just that
 * instant. Without it a point costs one comparison.
 *
 *   note     tests/federated/test_crash.c kills at every point of the table and compares the bits of what comes out
 *   threads  a point belongs to one side's one thread: a lmb_crash is not shared
 */
#ifndef LMB_FEDERATED_CRASH_H
#define LMB_FEDERATED_CRASH_H

#include <stdbool.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum lmb_crash_point {
    LMB_CRASH_NEVER,
    LMB_CRASH_ENROLLED,
    LMB_CRASH_DRAWN,
    LMB_CRASH_ASKED,
    LMB_CRASH_SPOOL_BEGUN,
    LMB_CRASH_SPOOL_PART,
    LMB_CRASH_SPOOL_WHOLE,
    LMB_CRASH_BUFFERED,
    LMB_CRASH_ABSORBED,
    LMB_CRASH_ACCEPTED,
    LMB_CRASH_CLOSED,
    LMB_CRASH_APPLIED,
    LMB_CRASH_MODEL_WRITTEN,
    LMB_CRASH_STATE_WRITTEN,
    LMB_CRASH_ROW_WRITTEN,
    LMB_CRASH_COMMITTED,
    LMB_CRASH_FORGOTTEN,
    LMB_CRASH_REPORTED,
    LMB_CRASH_TOLD,
    LMB_CRASH_CLIENT_GREETED,
    LMB_CRASH_CLIENT_REMEMBERED,
    LMB_CRASH_CLIENT_TASK,
    LMB_CRASH_CLIENT_FETCHED,
    LMB_CRASH_CLIENT_TRAINED,
    LMB_CRASH_CLIENT_OFFERED,
    LMB_CRASH_CLIENT_PART,
    LMB_CRASH_CLIENT_ACCEPTED
} lmb_crash_point;

typedef struct lmb_crash_row {
    lmb_crash_point point;
    const char *name, *help;
    bool client;     /* of a client; else of a server */
    bool async;  /* of an asynchronous server alone */
} lmb_crash_row;

extern const lmb_crash_row lmb_crash_rows[]; /* a row without a name ends them */

typedef struct lmb_crash {
    lmb_crash_point point;
    unsigned long left; /* passings until the end */
} lmb_crash;

/* As LIMBECK_CRASH_AT says; E_ARG for a name that is not in the table. */
LMB_MUST_CHECK lmb_status lmb_crash_open(lmb_crash *c, lmb_error *err);
void lmbi_crash_pass(lmb_crash *c);
/* c NULL: never. */
static inline void lmb_crash_at(lmb_crash *c, lmb_crash_point point)
{
    if (c && c->point == point)
        lmbi_crash_pass(c);
}

#ifdef __cplusplus
}
#endif
#endif
