/* launch/tracing.h - `--trace FILE` of the commands that train: one file for all ranks, which Perfetto opens. */
#ifndef LMB_LAUNCH_TRACING_H
#define LMB_LAUNCH_TRACING_H

#include "comm/collective.h"
#include "core/base/trace.h"
#include "launch/cmd.h"

/* What a usage page says of it. */
#define LMB_TRACING_USAGE \
    "  --trace FILE       write what was done when, by which thread of which rank: open it at ui.perfetto.dev or chrome://tracing\n" \
    "  --trace-steps N    of the first N steps (50) with every kernel and every sum; of the others less\n"
#define LMB_TRACING_OPTIONS "trace", "trace-steps"

typedef struct lmb_tracing {
    const char *path;   /* NULL: no trace is wanted */
    int64_t fine_steps;
    lmb_trace *trace;   /* NULL: the same           */
} lmb_tracing;

LMB_MUST_CHECK lmb_status lmb_tracing_bind(const lmb_args *a, lmb_tracing *t, lmb_error *err);
/* On all ranks at once; E_IO if the file can not be written, before any work is done. */
LMB_MUST_CHECK lmb_status lmb_tracing_begin(lmb_tracing *t, lmb_comm *comm, lmb_error *err);
/* On all ranks at once, when work ended with `st`: rank 0 gathers and writes, unless one rank alone may have failed.
 * Returns `st`, or why nothing could be written. */
lmb_status lmb_tracing_end(lmb_tracing *t, lmb_comm *comm, lmb_status st, lmb_error *err);

#endif
