/* federated/server_strangers.c - what the log says of connections that have not proved a key.
 *
 * Idea: anybody who reaches the port can make such a connection, as often as they like. The first of each minute are
 * told of one by one, of the others how many there were: whoever scans the port does not fill the disk with our
 * complaints.
 */
#include <stdarg.h>
#include <stdio.h>

#include "federated/server_parts.h"

enum { LINES = 20 };
static const double minute_s = 60;

void lmbi_stranger(lmb_server *s, const char *fmt, ...)
{
    char text[LMB_FED_SENTENCE + 200];
    va_list ap;

    if (s->strangers.lines == LINES) {
        s->strangers.more++;
        return;
    }
    if (!s->strangers.lines++)
        s->strangers.since = lmbi_now(s);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "%s", text);
}

void lmbi_strangers_check(lmb_server *s, bool over)
{
    if (!s->strangers.lines || (!over && lmbi_now(s) - s->strangers.since < minute_s))
        return;
    if (s->strangers.more)
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "%llu more connections proved no key, within %.0f s",
                   s->strangers.more, lmbi_now(s) - s->strangers.since);
    s->strangers.lines = 0;
    s->strangers.more = 0;
}
