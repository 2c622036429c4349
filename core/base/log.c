/* core/base/log.c - see log.h. */
#include "core/base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/text.h"

void lmb_log_at(const lmb_log *log, lmb_log_level level, const char *subsystem, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    if (!log || !log->line || level > log->max_level)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    lmb_text_clean(text);
    log->line(log->ctx, level, subsystem, text);
}
