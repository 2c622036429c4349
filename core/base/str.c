/* core/base/str.c - see str.h. */
#include "core/base/str.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool grow(lmb_str *s, size_t more)
{
    if (s->failed || more > SIZE_MAX - s->n - 1) {
        s->failed = true;
        return false;
    }
    if (s->n + more + 1 > s->cap) {
        size_t cap = s->cap < 128 ? 256 : s->cap * 2;
        while (cap < s->n + more + 1)
            cap *= 2;
        char *p = realloc(s->text, cap);
        if (!p) {
            s->failed = true;
            return false;
        }
        s->text = p;
        s->cap = cap;
    }
    return true;
}

void lmb_str_add_n(lmb_str *s, const void *bytes, size_t n)
{
    if (!grow(s, n))
        return;
    if (n)
        memcpy(s->text + s->n, bytes, n);
    s->n += n;
    s->text[s->n] = 0;
}

void lmb_str_add(lmb_str *s, const char *text) { lmb_str_add_n(s, text, strlen(text)); }

void lmb_str_addf(lmb_str *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !grow(s, (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(s->text + s->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->n += (size_t)n;
}

/* Length of the UTF-8 sequence at p, 0 if it is none. */
static int utf8_length(const unsigned char *p)
{
    int n = p[0] < 0x80 ? 1 : (p[0] & 0xe0) == 0xc0 && p[0] > 0xc1 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
            : (p[0] & 0xf8) == 0xf0 && p[0] < 0xf5 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

void lmb_str_add_json(lmb_str *s, const char *text)
{
    lmb_str_add(s, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        int n = utf8_length(p);
        if (n == 0) {
            lmb_str_add(s, "\\ufffd");
            p++;
        } else if (*p == '"' || *p == '\\') {
            lmb_str_addf(s, "\\%c", *p++);
        } else if (*p < 0x20) {
            lmb_str_addf(s, "\\u%04x", *p++);
        } else {
            lmb_str_add_n(s, p, (size_t)n);
            p += n;
        }
    }
    lmb_str_add(s, "\"");
}

void lmb_str_add_number(lmb_str *s, double v)
{
    char buf[40];

    if (!isfinite(v)) {
        lmb_str_add(s, "null");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(buf, sizeof buf, "%.*g", digits, v);
        if (strtod(buf, NULL) == v)
            break;
    }
    lmb_str_add(s, buf);
}

void lmb_str_add_html(lmb_str *s, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<': lmb_str_add(s, "&lt;"); break;
        case '>': lmb_str_add(s, "&gt;"); break;
        case '&': lmb_str_add(s, "&amp;"); break;
        case '"': lmb_str_add(s, "&quot;"); break;
        case '\'': lmb_str_add(s, "&#39;"); break;
        default: lmb_str_add_n(s, text, 1);
        }
}

void lmb_str_clear(lmb_str *s)
{
    s->n = 0;
    if (s->text)
        s->text[0] = 0;
}

void lmb_str_free(lmb_str *s)
{
    free(s->text);
    *s = (lmb_str)LMB_STR_INIT;
}

lmb_status lmb_str_check(const lmb_str *s, lmb_error *err)
{
    return s->failed ? LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes of text", s->n) : LMB_OK;
}
