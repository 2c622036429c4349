/* core/base/agree.c - see agree.h. */
#include "core/base/agree.h"

#include <stdio.h>
#include <string.h>

#include "core/base/field.h"

/* A line as it stands in the text: [indent spaces][words][mark]. */
typedef struct line {
    const char *words;
    size_t indent, n, bytes; /* n: of the words; bytes: of all, with its end */
    bool marked;
} line;

static line line_at(const char *text)
{
    const size_t mark = sizeof LMB_FIELD_MARK - 1;
    line l = { .indent = strspn(text, " ") };
    size_t n = strcspn(text, "\n");

    l.words = text + l.indent;
    l.bytes = n + (text[n] == '\n');
    l.n = n - l.indent;
    l.marked = l.n > mark && memcmp(l.words + l.n - mark, LMB_FIELD_MARK, mark) == 0;
    l.n -= l.marked ? mark : 0;
    return l;
}

static line next_line(const char **text, bool (*passed_over)(const char *line))
{
    line l = line_at(*text);
    while (l.bytes && passed_over && passed_over(l.words)) {
        *text += l.bytes;
        l = line_at(*text);
    }
    return l;
}

static bool same_key(const line *a, const line *b)
{
    size_t key = strcspn(b->words, ":\n");
    return a->indent == b->indent && a->n > key && b->n > key && memcmp(a->words, b->words, key + 1) == 0;
}

/* Past a line and all that is nested in it. */
static const char *past(const char *text, const line *l)
{
    text += l->bytes;
    for (line in = line_at(text); in.bytes && in.indent > l->indent; in = line_at(text))
        text += in.bytes;
    return text;
}

static void keep(const line *l, char out[LMB_AGREE_LINE])
{
    snprintf(out, LMB_AGREE_LINE, "%.*s", l->n ? (int)(l->n < 79 ? l->n : 79) : 9, l->n ? l->words : "(nothing)");
}

bool lmb_agree(const char *stored, const char *here, bool (*passed_over)(const char *line), lmb_agree_lines *differ)
{
    for (;;) {
        line a = next_line(&stored, passed_over), b = next_line(&here, passed_over);
        if (a.indent == b.indent && a.n == b.n && memcmp(a.words, b.words, a.n) == 0) {
            if (!a.bytes)
                return true;
            stored += a.bytes;
            here += b.bytes;
        } else if (b.marked && a.indent <= b.indent && !same_key(&a, &b)) {
            here = past(here, &b); /* a key that is new since then */
        } else {
            if (differ) {
                keep(&a, differ->had);
                keep(&b, differ->has);
            }
            return false;
        }
    }
}
