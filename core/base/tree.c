/* core/base/tree.c - what a configuration's tree answers: values with their checks, its text, the nearest known word.
 * See config.h. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"

lmb_status lmb_tree_fail(const lmb_tree *t, lmb_error *err, lmb_status s, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!t || !t->file)
        return LMB_FAIL(err, s, "%s", text);
    if (strncmp(t->file, LMB_CONFIG_SET, strlen(LMB_CONFIG_SET)) == 0 && t->line == 1 && t->column == 1)
        return LMB_FAIL(err, s, "%s: %s", t->file, text);
    return LMB_FAIL(err, s, "%s:%d:%d: %s", t->file, t->line, t->column, text);
}

/* ---- reading values ---- */

const lmb_tree *lmb_tree_get(const lmb_tree *t, const char *key)
{
    if (!t || t->kind != LMB_TREE_MAP)
        return NULL;
    for (const lmb_tree *c = t->child; c; c = c->next)
        if (c->key && strcmp(c->key, key) == 0)
            return c;
    return NULL;
}

bool lmb_tree_has(const lmb_tree *t, const char *key)
{
    const lmb_tree *child = lmb_tree_get(t, key);
    return child && child->kind != LMB_TREE_NULL;
}

size_t lmb_tree_count(const lmb_tree *t)
{
    size_t n = 0;
    for (const lmb_tree *c = t ? t->child : NULL; c; c = c->next)
        n++;
    return n;
}

static const char *label(const lmb_tree *t) { return t->key ? t->key : "the value"; }
static const char *shown(const lmb_tree *t)
{
    return t->kind == LMB_TREE_SCALAR ? t->text : t->kind == LMB_TREE_LIST ? "a list" : t->kind == LMB_TREE_MAP
           ? "a section" : "nothing";
}

lmb_status lmb_tree_real(const lmb_tree *t, double *out, lmb_error *err)
{
    char *end = NULL;
    double v = 0;

    /* strtod also knows hexadecimal, "inf" and "nan", none of which belongs in a configuration. */
    if (t->kind == LMB_TREE_SCALAR && !t->quoted && !t->text[strspn(t->text, "0123456789+-.eE%")]) {
        v = strtod(t->text, &end);
        if (end != t->text && *end == '%' && !end[1]) {
            v /= 100;
            end++;
        }
    }
    if (!end || end == t->text || *end || !isfinite(v))
        return lmb_tree_fail(t, err, LMB_E_ARG, "%s is '%s'; a number is needed", label(t), shown(t));
    *out = v;
    return LMB_OK;
}

lmb_status lmb_tree_int(const lmb_tree *t, int64_t *out, lmb_error *err)
{
    char *end = NULL;
    long long v = 0;

    errno = 0;
    if (t->kind == LMB_TREE_SCALAR && !t->quoted)
        v = strtoll(t->text, &end, t->text[0] == '0' && t->text[1] == 'x' ? 16 : 10); /* 010 is ten */
    if (!end || end == t->text || *end || errno)
        return lmb_tree_fail(t, err, LMB_E_ARG, "%s is '%s'; a whole number is needed", label(t), shown(t));
    *out = v;
    return LMB_OK;
}

lmb_status lmb_tree_bool(const lmb_tree *t, bool *out, lmb_error *err)
{
    static const char *const yes[] = { "true", "yes", "on" }, *const no[] = { "false", "no", "off" };
    if (t->kind == LMB_TREE_SCALAR && !t->quoted)
        for (int i = 0; i < 3; i++) {
            if (strcmp(t->text, yes[i]) == 0)
                return *out = true, LMB_OK;
            if (strcmp(t->text, no[i]) == 0)
                return *out = false, LMB_OK;
        }
    return lmb_tree_fail(t, err, LMB_E_ARG, "%s is '%s'; true or false is needed", label(t), shown(t));
}

lmb_status lmb_tree_text(const lmb_tree *t, const char **out, lmb_error *err)
{
    if (t->kind != LMB_TREE_SCALAR)
        return lmb_tree_fail(t, err, LMB_E_ARG, "%s is %s; a text is needed", label(t), shown(t));
    *out = t->text;
    return LMB_OK;
}

lmb_status lmb_tree_name(const lmb_tree *t, const char **out, lmb_error *err)
{
    if (!t)
        return LMB_FAIL(err, LMB_E_ARG, "a section with a 'name' is missing");
    if (t->kind == LMB_TREE_SCALAR)
        return lmb_tree_text(t, out, err);
    const lmb_tree *name = lmb_tree_get(t, "name");
    if (!name)
        return lmb_tree_fail(t, err, LMB_E_ARG, "%s needs a 'name'", label(t));
    return lmb_tree_text(name, out, err);
}

/* ---- writing ---- */

/* Text that would read back as something else, or not at all, is quoted. */
static void dump_text(const char *s, bool quoted, lmb_str *out)
{
    bool plain = *s && !quoted &&
                 strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+%") == strlen(s) &&
                 *s != '-' && *s != '%';
    if (plain || (!quoted && *s == '-' && s[1] && strspn(s + 1, "0123456789.eE+-") == strlen(s + 1)))
        lmb_str_add(out, s);
    else
        lmb_str_add_json(out, s);
}

lmb_status lmb_tree_dump(const lmb_tree *t, int indent, lmb_str *out)
{
    switch (t->kind) {
    case LMB_TREE_NULL: lmb_str_add(out, " null\n"); break;
    case LMB_TREE_SCALAR:
        lmb_str_add(out, " ");
        dump_text(t->text, t->quoted, out);
        lmb_str_add(out, "\n");
        break;
    case LMB_TREE_LIST:
    case LMB_TREE_MAP:
        if (!t->child) {
            lmb_str_add(out, t->kind == LMB_TREE_LIST ? " []\n" : " {}\n");
            break;
        }
        lmb_str_add(out, "\n");
        for (const lmb_tree *c = t->child; c; c = c->next) {
            lmb_str_addf(out, "%*s", indent, "");
            if (t->kind == LMB_TREE_LIST) {
                lmb_str_add(out, "-");
            } else {
                dump_text(c->key, false, out);
                lmb_str_add(out, ":");
            }
            LMB_TRY(lmb_tree_dump(c, indent + 2, out));
        }
        break;
    }
    return out->failed ? LMB_E_NOMEM : LMB_OK;
}

/* ---- suggestions ---- */

/* Optimal string alignment distance: a swap of two neighbours counts one, as typing errors do. */
static int distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    int d[MAX + 1][MAX + 1], n = (int)strlen(a), m = (int)strlen(b);

    if (n > MAX || m > MAX)
        return MAX;
    for (int i = 0; i <= n; i++)
        for (int j = 0; j <= m; j++) {
            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            int v = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            v = d[i - 1][j] + 1 < v ? d[i - 1][j] + 1 : v;
            v = d[i][j - 1] + 1 < v ? d[i][j - 1] + 1 : v;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < v)
                v = d[i - 2][j - 2] + 1;
            d[i][j] = v;
        }
    return d[n][m];
}

const char *lmb_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    int least = (int)strlen(word) / 3 + 2;

    for (; *names; names++) {
        int d = distance(word, *names);
        if (d < least) {
            least = d;
            best = *names;
        }
    }
    return best;
}
