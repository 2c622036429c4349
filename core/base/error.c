/* core/base/error.c - see error.h. */
#include "core/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"

const char *lmb_status_name(lmb_status s)
{
    switch (s) {
#define X(name, value, text) \
    case LMB_##name: return #name;
        LMB_STATUS_MAP(X)
#undef X
    }
    return "E_UNKNOWN";
}

const char *lmb_status_text(lmb_status s)
{
    switch (s) {
#define X(name, value, text) \
    case LMB_##name: return text;
        LMB_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

lmb_status lmb_fail_at(lmb_error *err, lmb_status s, const char *file, int line, const char *fmt, ...)
{
    if (err && err->status == LMB_OK) {
        va_list ap;
        err->status = s;
        err->file = file;
        err->line = line;
        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
        lmb_text_clean(err->msg); /* it quotes what came from outside: keys, file names, wire bytes */
    }
    return s;
}

lmb_status lmb_error_context(lmb_error *err, const char *fmt, ...)
{
    char text[sizeof err->msg];
    va_list ap;
    int n;

    if (!err || err->status == LMB_OK)
        return err ? err->status : LMB_OK;
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n + 3 < sizeof text) {
        snprintf(text + n, sizeof text - (size_t)n, ": %s", err->msg);
        memcpy(err->msg, text, sizeof text);
        lmb_text_clean(err->msg);
    }
    return err->status;
}

void lmb_error_clear(lmb_error *err)
{
    if (err)
        *err = (lmb_error)LMB_ERROR_INIT;
}
