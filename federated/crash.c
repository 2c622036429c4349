/* federated/crash.c - see crash.h. */
#include "federated/crash.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

const lmb_crash_row lmb_crash_rows[] = {
    { LMB_CRASH_ENROLLED, "enrolled", "an invite is spent, its client knows nothing of it", false, false },
    { LMB_CRASH_DRAWN, "drawn", "it is decided who takes part, and not in the journal", false, false },
    { LMB_CRASH_ASKED, "asked", "who takes part is in the journal, no task has left", false, false },
    { LMB_CRASH_SPOOL_BEGUN, "spool-begun", "an upload is agreed, its file is empty", false, false },
    { LMB_CRASH_SPOOL_PART, "spool-part", "a chunk is in the file", false, false },
    { LMB_CRASH_SPOOL_WHOLE, "spool-whole", "all of an upload is in the file, unchecked", false, false },
    { LMB_CRASH_BUFFERED, "buffered", "an update is in the journal, and not in the sum", false, true },
    { LMB_CRASH_ABSORBED, "absorbed", "an update is in the sum, its client was not told", false, false },
    { LMB_CRASH_ACCEPTED, "accepted", "the client was told", false, false },
    { LMB_CRASH_CLOSED, "closed", "all updates are there, the model is the old one", false, false },
    { LMB_CRASH_APPLIED, "applied", "the new model is evaluated, in memory alone", false, false },
    { LMB_CRASH_MODEL_WRITTEN, "model-written", "the new model's file is written", false, false },
    { LMB_CRASH_STATE_WRITTEN, "state-written", "the aggregator's file is written", false, false },
    { LMB_CRASH_ROW_WRITTEN, "row-written", "the journal's transaction is written and not committed", false, false },
    { LMB_CRASH_COMMITTED, "committed", "the round is committed, the old files are still there", false, false },
    { LMB_CRASH_FORGOTTEN, "forgotten", "the old files are gone, nobody was told of the round", false, false },
    { LMB_CRASH_REPORTED, "reported", "the round was reported, the next has not begun", false, false },
    { LMB_CRASH_TOLD, "told", "a client was told that all rounds are over", false, false },
    { LMB_CRASH_CLIENT_GREETED, "client-greeted", "HELLO has left", true, false },
    { LMB_CRASH_CLIENT_REMEMBERED, "client-remembered", "the server's name is kept", true, false },
    { LMB_CRASH_CLIENT_TASK, "client-task", "a task has come", true, false },
    { LMB_CRASH_CLIENT_FETCHED, "client-fetched", "a blob is complete", true, false },
    { LMB_CRASH_CLIENT_TRAINED, "client-trained", "the update is made, and what it leaves out is kept", true, false },
    { LMB_CRASH_CLIENT_OFFERED, "client-offered", "the update is announced", true, false },
    { LMB_CRASH_CLIENT_PART, "client-part", "a chunk of the update has left", true, false },
    { LMB_CRASH_CLIENT_ACCEPTED, "client-accepted", "the server has the update", true, false },
    { LMB_CRASH_NEVER, NULL, NULL, false, false },
};

lmb_status lmb_crash_open(lmb_crash *c, lmb_error *err)
{
    const char *at = getenv("LIMBECK_CRASH_AT");

    *c = (lmb_crash){ LMB_CRASH_NEVER, 1 };
    if (!at || !*at)
        return LMB_OK;
    size_t n = strcspn(at, ":");
    for (const lmb_crash_row *r = lmb_crash_rows; r->name; r++)
        if (strlen(r->name) == n && memcmp(r->name, at, n) == 0)
            c->point = r->point;
    if (at[n]) {
        char *end;
        errno = 0;
        c->left = strtoul(at + n + 1, &end, 10);
        if (errno || *end || !c->left)
            c->point = LMB_CRASH_NEVER;
    }
    if (c->point == LMB_CRASH_NEVER)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "LIMBECK_CRASH_AT=%.60s: write <point> or <point>:<n>, n from 1; `limbeck list crash-points` has the points",
            at);
    return LMB_OK;
}

void lmbi_crash_pass(lmb_crash *c)
{
    if (--c->left == 0)
        raise(SIGKILL);
}
