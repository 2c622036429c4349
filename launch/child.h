/* launch/child.h - processes that a command starts and looks after: what they say is passed on, none is left behind.
 *
 * Idea: a child's stdout and stderr come through pipes. stdout is passed on to ours and to a log; stderr (progress, in
 * bars or lines) to ours, and what remains of it as lines to the log. The last sentence is kept for when it fails.
 * A child that is talked with has pipes for stdin and stdout that are ours to write and read, and says on stderr only
 * what it is reported with when it fails. Each child leads a process group of its own, so that Ctrl-C reaches it only
 * through us, once; should we die, the kernel ends it (prctl).
 *
 *   threads  one thread starts and tends
 */
#ifndef LMB_LAUNCH_CHILD_H
#define LMB_LAUNCH_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/base/error.h"

enum { LMB_CHILD_LINE = 480, LMB_CHILDREN_MAX = 257 };

typedef struct lmb_child_stream {
    int fd;                     /* -1: at its end */
    char line[LMB_CHILD_LINE];  /* what came since the last newline; longer lines are cut in the log */
    size_t n;
    bool returned;              /* the last byte was a carriage return */
} lmb_child_stream;

typedef struct lmb_child {
    const char *name;             /* borrowed */
    pid_t pid;
    bool running;
    int exit_code, signal;        /* once it is not running; signal 0: it ended by itself */
    int stop;                     /* signal that asks it to end; 0: SIGTERM */
    int log;                      /* borrowed file descriptor, -1: none */
    bool talks;                   /* to and from are for whoever started it; stderr is not passed on */
    int to, from;                 /* talks: its stdin (a socket) and stdout, not blocking, until lmb_children_end */
    int keep;                     /* borrowed: stays open in the child, a lock that it shares; 0: none */
    void (*on_line)(void *ctx, const char *line); /* lines of stdout; NULL: passed on to ours and to the log */
    void *ctx;
    lmb_child_stream out, err;
    char said[LMB_CHILD_LINE];    /* last line on stderr, preferably one of `limbeck` itself */
} lmb_child;

/* Set name, stop, log, talks, keep, on_line, ctx; the rest is filled. argv[0] is a path; `env`: NULL-terminated
 * "NAME=value" to add. */
LMB_MUST_CHECK lmb_status lmb_child_start(lmb_child *c, char *const *argv, const char *const *env, lmb_error *err);
/* Pass on what `n` children say, at most for `ms`, and notice ends. Returns how many are running. */
int lmb_children_tend(lmb_child *c, int n, int ms);
/* Ask all that run to end, tend for `patience_s`, then end them and their process groups. `*hurry` (may be
 * NULL) other than 0 ends the patience. */
void lmb_children_end(lmb_child *c, int n, double patience_s, const volatile int *hurry);
/* One sentence: name, exit code or signal, and what it said last. */
lmb_status lmb_child_fail(const lmb_child *c, lmb_error *err);

#endif
