/* launch/tracing.c - see tracing.h. */
#include "launch/tracing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"

enum { SPANS = 1 << 17 }; /* 14 MB a rank */

static const char head[] = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";

lmb_status lmb_tracing_bind(const lmb_args *a, lmb_tracing *t, lmb_error *err)
{
    const char *steps = lmb_args_get(a, "trace-steps", NULL);
    char *end = NULL;

    *t = (lmb_tracing){ lmb_args_get(a, "trace", NULL), 50, NULL };
    if (steps && !t->path)
        return LMB_FAIL(err, LMB_E_ARG, "--trace-steps is for --trace FILE, which is not given");
    if (steps) {
        t->fine_steps = strtoll(steps, &end, 10);
        if (end == steps || *end || t->fine_steps < 0)
            return LMB_FAIL(err, LMB_E_ARG, "--trace-steps %s: a number of steps is needed, 0 or more", steps);
    }
    return LMB_OK;
}

lmb_status lmb_tracing_begin(lmb_tracing *t, lmb_comm *comm, lmb_error *err)
{
    struct { char host[64]; double origin; } mine = { "", 0 }, first;

    if (!t->path)
        return LMB_OK;
    if (comm->rank == 0)
        LMB_TRY(lmb_file_write(t->path, "{}\n", 3, err));
    LMB_TRY(lmb_trace_create(SPANS, t->fine_steps, &t->trace, err));
    gethostname(mine.host, sizeof mine.host - 1);
    mine.origin = lmb_seconds();
    first = mine;
    LMB_TRY(comm->broadcast(comm, &first, sizeof first, 0, err));
    /* Processes of one host have one clock. Of another host, the moment at which this came is time 0: less than a
     * millisecond off. */
    lmb_trace_begin(t->trace, strncmp(first.host, mine.host, sizeof mine.host) == 0 ? first.origin : lmb_seconds());
    return LMB_OK;
}

/* The text of every rank to rank 0, in order. */
static lmb_status gather(lmb_comm *comm, lmb_str *s, lmb_error *err)
{
    size_t *n = malloc(sizeof *n * (size_t)comm->size), mine = s->n;
    lmb_status st = n ? comm->gather_all(comm, &mine, n, sizeof mine, err)
                      : LMB_FAIL(err, LMB_E_NOMEM, "no memory to gather a trace");

    if (st == LMB_OK && comm->rank > 0)
        st = comm->exchange(comm, s->text, 0, NULL, -1, s->n, err);
    for (int r = 1; r < comm->size && st == LMB_OK && comm->rank == 0; r++) {
        char *text = malloc(n[r] + 1);
        st = text ? comm->exchange(comm, NULL, -1, text, r, n[r], err)
                  : LMB_FAIL(err, LMB_E_NOMEM, "no memory for the trace of rank %d", r);
        if (st == LMB_OK) {
            lmb_str_add(s, ",\n");
            lmb_str_add_n(s, text, n[r]);
        }
        free(text);
    }
    free(n);
    return st;
}

static lmb_status write_all(const lmb_tracing *t, lmb_comm *comm, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT, all = LMB_STR_INIT;
    char host[64] = "", name[100];
    lmb_status st;

    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "rank %d on %s", comm->rank, host);
    lmb_trace_json(t->trace, comm->rank, name, &s);
    LMB_TRY_GOTO(st, done, lmb_str_check(&s, err));
    LMB_TRY_GOTO(st, done, gather(comm, &s, err));
    if (comm->rank == 0) {
        lmb_str_add(&all, head);
        lmb_str_add_n(&all, s.text, s.n);
        lmb_str_addf(&all, "\n],\"otherData\":{\"monotonic seconds at 0\":\"%.6f\"}}\n", lmb_trace_origin(t->trace));
        LMB_TRY_GOTO(st, done, lmb_str_check(&s, err));
        LMB_TRY_GOTO(st, done, lmb_str_check(&all, err));
        st = lmb_file_write(t->path, all.text, all.n, err);
        if (st == LMB_OK)
            fprintf(stderr, "trace: %s; open it at ui.perfetto.dev\n", t->path);
    }
done:
    lmb_str_free(&s);
    lmb_str_free(&all);
    return st;
}

lmb_status lmb_tracing_end(lmb_tracing *t, lmb_comm *comm, lmb_status st, lmb_error *err)
{
    lmb_error local = LMB_ERROR_INIT;
    bool together = st == LMB_OK || st == LMB_E_STOPPED || comm->size == 1;
    lmb_status written = t->trace && together ? write_all(t, comm, &local) : LMB_OK;

    lmb_trace_destroy(t->trace);
    t->trace = NULL;
    if (written != LMB_OK && st == LMB_OK)
        return LMB_FAIL(err, written, "%s", local.msg);
    if (written != LMB_OK)
        fprintf(stderr, "limbeck: no trace was written: %s\n", local.msg);
    return st;
}
