/* launch/terminal.h - progress for people: a bar on a terminal, plain lines elsewhere. To stderr. */
#ifndef LMB_LAUNCH_TERMINAL_H
#define LMB_LAUNCH_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lmb_progress {
    bool terminal, seen;
    double started, last, first; /* seconds; first: when `from` was shown, what an earlier run had done */
    int64_t from;
} lmb_progress;

void lmb_progress_begin(lmb_progress *p);
/* What is done of `total`, with a line of figures behind the bar; time left is worked out from the first that was
 * shown. */
void lmb_progress_show(lmb_progress *p, const char *title, int64_t done, int64_t total, const char *figures);
/* Replace the bar by a line that stays. */
void lmb_progress_line(lmb_progress *p, const char *line);
/* Take the bar away: what is said next begins a line. */
void lmb_progress_end(lmb_progress *p);

#endif
