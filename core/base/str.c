/* core/base/str.c - see str.h. */
#include "core/base/str.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"

/* Make room for `more` bytes and a NUL; doubling keeps a long run of appends linear. */
static bool reserve(lmb_str *s, size_t more)
{
    size_t need, cap;
    char *text;

    if (s->failed || more > SIZE_MAX / 2 - s->n - 1) {
        s->failed = true;
        return false;
    }
    need = s->n + more + 1;
    if (need <= s->cap)
        return true;
    cap = s->cap < 64 ? 64 : s->cap;
    while (cap < need)
        cap *= 2;
    text = realloc(s->text, cap);
    if (!text) {
        s->failed = true;
        return false;
    }
    s->text = text;
    s->cap = cap;
    return true;
}

void lmb_str_add_n(lmb_str *s, const void *bytes, size_t n)
{
    if (!reserve(s, n))
        return;
    if (n)
        memcpy(s->text + s->n, bytes, n);
    s->n += n;
    s->text[s->n] = '\0';
}

void lmb_str_add(lmb_str *s, const char *text) { lmb_str_add_n(s, text, strlen(text)); }

void lmb_str_addf(lmb_str *s, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        s->failed = true;
    } else if (reserve(s, (size_t)n)) {
        vsnprintf(s->text + s->n, (size_t)n + 1, fmt, again);
        s->n += (size_t)n;
    }
    va_end(again);
}

void lmb_str_add_json(lmb_str *s, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    lmb_str_add_n(s, "\"", 1);
    while (*p && !s->failed) {
        size_t n = lmb_utf8_length((const char *)p);
        if (n == 0)
            lmb_str_add(s, "\xef\xbf\xbd");
        else if (*p == '"' || *p == '\\')
            lmb_str_addf(s, "\\%c", *p);
        else if (*p == '\n')
            lmb_str_add(s, "\\n");
        else if (*p == '\t')
            lmb_str_add(s, "\\t");
        else if (*p < 0x20 || *p == 0x7f)
            lmb_str_addf(s, "\\u%04x", *p);
        else
            lmb_str_add_n(s, p, n);
        p += n ? n : 1;
    }
    lmb_str_add_n(s, "\"", 1);
}

void lmb_str_add_number(lmb_str *s, double v)
{
    char text[40];

    if (!isfinite(v)) {
        lmb_str_add(s, "null");
        return;
    }
    if (v == trunc(v) && fabs(v) < 1e15) {
        lmb_str_addf(s, "%.0f", v);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    lmb_str_add(s, text);
}

void lmb_str_add_member(lmb_str *s, const char *key, double v)
{
    lmb_str_add(s, ", ");
    lmb_str_add_json(s, key);
    lmb_str_add(s, ": ");
    lmb_str_add_number(s, v);
}

void lmb_str_add_html(lmb_str *s, const char *text)
{
    for (; *text && !s->failed; text++) {
        switch (*text) {
        case '&': lmb_str_add(s, "&amp;"); break;
        case '<': lmb_str_add(s, "&lt;"); break;
        case '>': lmb_str_add(s, "&gt;"); break;
        case '"': lmb_str_add(s, "&quot;"); break;
        case '\'': lmb_str_add(s, "&#39;"); break;
        default: lmb_str_add_n(s, text, 1);
        }
    }
}

void lmb_str_clear(lmb_str *s)
{
    s->n = 0;
    s->failed = false;
    if (s->text)
        s->text[0] = '\0';
}

void lmb_str_free(lmb_str *s)
{
    free(s->text);
    *s = (lmb_str)LMB_STR_INIT;
}

lmb_status lmb_str_check(const lmb_str *s, lmb_error *err)
{
    if (s->failed)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory after %zu bytes of text", s->n);
    return LMB_OK;
}
