/* launch/terminal.c - see terminal.h. */
#include "launch/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/threads.h"

enum { WIDTH = 24 };
/* On a narrow terminal a bar is cut: wrapped, the next one could not take its place. DECAWM, DEC VT100. */
#define NO_WRAP "\r\033[K\033[?7l"
#define WRAP "\033[?7h"

void lmb_progress_begin(lmb_progress *p)
{
    /* `limbeck run` passes on what its children say, through a pipe, and tells them where it ends. */
    *p = (lmb_progress){ .terminal = isatty(STDERR_FILENO) || getenv("LIMBECK_TERMINAL"), .started = lmb_seconds() };
    p->last = p->started;
}

/* Nothing, as long as nobody knows. */
static void time_left(const lmb_progress *p, double now, int64_t done, int64_t total, char *buf, size_t cap)
{
    *buf = 0;
    if (done <= p->from)
        return;
    double s = (now - p->first) * (double)(total - done) / (double)(done - p->from);
    if (s < 3600)
        snprintf(buf, cap, "  %d:%02d left", (int)s / 60, (int)s % 60);
    else
        snprintf(buf, cap, "  %d:%02d h left", (int)s / 3600, (int)s / 60 % 60);
}

void lmb_progress_show(lmb_progress *p, const char *title, int64_t done, int64_t total, const char *figures)
{
    double now = lmb_seconds();
    char bar[WIDTH * 3 + 1] = "", left[32];
    int full = total ? (int)(done * WIDTH / total) : 0;

    if (!p->seen) {
        p->seen = true;
        p->first = now;
        p->from = done;
    }
    if (!p->terminal && now - p->last < 20) /* a log file wants a line now and then */
        return;
    p->last = now;
    time_left(p, now, done, total, left, sizeof left);
    for (int i = 0; i < WIDTH; i++)
        strcat(bar, i < full ? "\xe2\x96\x88" : "\xe2\x96\x91");
    if (p->terminal)
        fprintf(stderr, NO_WRAP "%s %s %3d %%  %s%s" WRAP, title, bar, total ? (int)(100 * done / total) : 0,
                figures, left);
    else
        fprintf(stderr, "%s %d %%  %s%s\n", title, total ? (int)(100 * done / total) : 0, figures, left);
    fflush(stderr);
}

void lmb_progress_line(lmb_progress *p, const char *line)
{
    fprintf(stderr, "%s%s\n", p->terminal ? "\r\033[K" : "", line);
}

void lmb_progress_end(lmb_progress *p)
{
    if (p->terminal && p->last > p->started)
        fprintf(stderr, "\r\033[K");
}
