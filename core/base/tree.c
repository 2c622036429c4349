/* core/base/tree.c - reading the nodes of a configuration tree, and writing them back as YAML. See config.h. */
#include "core/base/config.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

const lmb_tree *lmb_tree_get(const lmb_tree *t, const char *key)
{
    if (!t || t->kind != LMB_TREE_MAP)
        return NULL;
    for (const lmb_tree *c = t->child; c; c = c->next)
        if (!strcmp(c->key, key))
            return c;
    return NULL;
}

size_t lmb_tree_count(const lmb_tree *t)
{
    size_t n = 0;
    for (const lmb_tree *c = t ? t->child : NULL; c; c = c->next)
        n++;
    return n;
}

lmb_status lmb_tree_fail(const lmb_tree *t, lmb_error *err, lmb_status s, const char *fmt, ...)
{
    char what[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (!t)
        return LMB_FAIL(err, s, "%s", what);
    if (t->line == 0)
        return LMB_FAIL(err, s, "%.150s: %s", t->file, what);
    return LMB_FAIL(err, s, "%s:%d:%d: %s", t->file, t->line, t->column, what);
}

/* What a node is, for messages: its text, or its kind. */
static const char *shown(const lmb_tree *t, char buf[72])
{
    static const char *const kinds[] = { "nothing", "text", "a list", "a mapping" };
    if (!t)
        return kinds[0];
    if (t->kind != LMB_TREE_SCALAR)
        return kinds[t->kind];
    snprintf(buf, 72, "%s'%.50s'", t->quoted ? "the quoted text " : "", t->text);
    return buf;
}

static lmb_status wrong(const lmb_tree *t, lmb_error *err, const char *wanted)
{
    char buf[72];
    bool named = t && t->key;
    return lmb_tree_fail(t, err, LMB_E_ARG, "%s%s%smust be %s, not %s", named ? "'" : "", named ? t->key : "",
                         named ? "' " : "this ", wanted, shown(t, buf));
}

static bool is_plain(const lmb_tree *t) { return t && t->kind == LMB_TREE_SCALAR && !t->quoted; }

lmb_status lmb_tree_int(const lmb_tree *t, int64_t *out, lmb_error *err)
{
    const char *s = is_plain(t) ? t->text : "";
    char *end;
    long long v;

    if (!isdigit((unsigned char)s[*s == '-' || *s == '+']))
        return wrong(t, err, "a whole number");
    errno = 0;
    v = strtoll(s, &end, 10);
    if (*end)
        return wrong(t, err, "a whole number");
    if (errno == ERANGE)
        return wrong(t, err, "a whole number of at most 64 bits");
    *out = v;
    return LMB_OK;
}

lmb_status lmb_tree_real(const lmb_tree *t, double *out, lmb_error *err)
{
    const char *s = is_plain(t) ? t->text : "";
    char *end;
    double v;

    /* strtod also knows hexadecimal, "inf" and "nan", none of which belongs in a configuration. */
    if (!*s || s[strspn(s, "0123456789+-.eE")])
        return wrong(t, err, "a number");
    v = strtod(s, &end);
    if (end == s || *end || !isfinite(v))
        return wrong(t, err, "a number");
    *out = v;
    return LMB_OK;
}

lmb_status lmb_tree_bool(const lmb_tree *t, bool *out, lmb_error *err)
{
    static const char *const words[] = { "false", "true",  "no",  "yes",  "off", "on",  "False", "True",
                                         "No",    "Yes",   "Off", "On",   "FALSE", "TRUE", "NO",  "YES",
                                         "OFF",   "ON" };
    for (size_t i = 0; is_plain(t) && i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(t->text, words[i])) {
            *out = i % 2 == 1;
            return LMB_OK;
        }
    return wrong(t, err, "true or false");
}

lmb_status lmb_tree_text(const lmb_tree *t, const char **out, lmb_error *err)
{
    if (!t || t->kind != LMB_TREE_SCALAR)
        return wrong(t, err, "text");
    *out = t->text;
    return LMB_OK;
}

lmb_status lmb_tree_name(const lmb_tree *t, const char **out, lmb_error *err)
{
    const lmb_tree *name = lmb_tree_get(t, "name");

    if (t && t->kind == LMB_TREE_MAP && !name)
        return lmb_tree_fail(t, err, LMB_E_ARG, "%s%s%sneeds a 'name'", t->key ? "'" : "", t->key ? t->key : "",
                             t->key ? "' " : "this ");
    return lmb_tree_text(name ? name : t, out, err);
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void spaces(lmb_str *out, int n) { lmb_str_addf(out, "%*s", n, ""); }

/* Plain where that is surely read back as the same text, else in double quotes (JSON's are YAML's). */
static void dump_text(const char *s, bool quoted, lmb_str *out)
{
    bool start = isalnum((unsigned char)s[0]) || s[0] == '/' || s[0] == '_' ||
                 ((s[0] == '+' || s[0] == '-' || s[0] == '.') && isdigit((unsigned char)s[1]));
    bool plain = start && !quoted;

    for (const char *p = s; *p && plain; p++)
        plain = isalnum((unsigned char)*p) || strchr("_./+-", *p);
    if (plain)
        lmb_str_add(out, s);
    else
        lmb_str_add_json(out, s);
}

static void dump_flow(const lmb_tree *t, lmb_str *out)
{
    if (t->kind == LMB_TREE_NULL) {
        lmb_str_add(out, "null");
    } else if (t->kind == LMB_TREE_SCALAR) {
        dump_text(t->text, t->quoted, out);
    } else {
        bool map = t->kind == LMB_TREE_MAP;
        lmb_str_add(out, map ? "{" : "[");
        for (const lmb_tree *c = t->child; c; c = c->next) {
            if (map) {
                dump_text(c->key, false, out); /* keys are text, whatever they look like */
                lmb_str_add(out, ": ");
            }
            dump_flow(c, out);
            lmb_str_add(out, c->next ? ", " : "");
        }
        lmb_str_add(out, map ? "}" : "]");
    }
}

static bool all_scalars(const lmb_tree *t)
{
    for (const lmb_tree *c = t->child; c; c = c->next)
        if (c->child)
            return false;
    return true;
}

/* Lists of numbers stay on one line; mappings get a line an entry. */
static void dump_block(const lmb_tree *t, int indent, lmb_str *out)
{
    bool map = t->kind == LMB_TREE_MAP;

    if (!t->child || (!map && all_scalars(t))) {
        spaces(out, indent);
        dump_flow(t, out);
        lmb_str_add(out, "\n");
        return;
    }
    for (const lmb_tree *c = t->child; c; c = c->next) {
        spaces(out, indent);
        if (map) {
            dump_text(c->key, false, out);
            lmb_str_add(out, ":");
        } else {
            lmb_str_add(out, "- ");
        }
        if (map && c->child && (c->kind == LMB_TREE_MAP || !all_scalars(c))) {
            lmb_str_add(out, "\n");
            dump_block(c, indent + 2, out);
        } else {
            lmb_str_add(out, map ? " " : "");
            dump_flow(c, out);
            lmb_str_add(out, "\n");
        }
    }
}

lmb_status lmb_tree_dump(const lmb_tree *t, int indent, lmb_str *out)
{
    dump_block(t, indent, out);
    return lmb_str_check(out, NULL);
}

/* ---- suggestions ------------------------------------------------------------------------------- */

/* Levenshtein distance with swaps of neighbours counted as one (optimal string alignment). */
enum { MAX_WORD = 48 };
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), d[MAX_WORD + 1][MAX_WORD + 1];

    if (n > MAX_WORD || m > MAX_WORD)
        return SIZE_MAX;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *lmb_nearest(const char *word, const char *const *names)
{
    const char *found = NULL;
    size_t best = 1 + strlen(word) / 4 + 1; /* about one slip in four letters */

    for (; *names; names++) {
        size_t d = distance(word, *names);
        if (d < best && d < strlen(*names)) {
            best = d;
            found = *names;
        }
    }
    return found;
}
