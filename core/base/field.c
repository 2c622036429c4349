/* core/base/field.c - option rows: defaults, binding a tree, dumping, help. See field.h. */
#include "core/base/field.h"

#include <stdio.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"

static void *member(void *s, const lmb_field *f) { return (char *)s + f->offset; }
static const void *cmember(const void *s, const lmb_field *f) { return (const char *)s + f->offset; }

static lmb_status bind_list(const lmb_field *f, const lmb_tree *t, void *out, lmb_error *err);

void lmb_fields_default(const lmb_field *rows, void *out)
{
    for (const lmb_field *f = rows; f->key; f++) {
        void *m = member(out, f);
        switch (f->kind) {
        case LMB_FIELD_INT:
        case LMB_FIELD_CHOICE: *(int64_t *)m = (int64_t)f->def; break;
        case LMB_FIELD_REAL: *(double *)m = f->def; break;
        case LMB_FIELD_BOOL: *(bool *)m = f->def != 0; break;
        case LMB_FIELD_TEXT: *(const char **)m = f->def_text ? f->def_text : ""; break;
        case LMB_FIELD_INTS: memset(m, 0, sizeof(lmb_field_ints)); break;
        case LMB_FIELD_REALS: memset(m, 0, sizeof(lmb_field_reals)); break;
        case LMB_FIELD_SECTION: lmb_fields_default(f->rows, m); break;
        case LMB_FIELD_TREE: *(const lmb_tree **)m = NULL; break;
        }
        if ((f->kind == LMB_FIELD_INTS || f->kind == LMB_FIELD_REALS) && f->def_text) {
            lmb_config *c;
            if (lmb_config_parse(f->def_text, strlen(f->def_text), f->key, &c, NULL) == LMB_OK) {
                if (bind_list(f, lmb_config_root(c), m, NULL) != LMB_OK)
                    memset(m, 0, f->kind == LMB_FIELD_INTS ? sizeof(lmb_field_ints) : sizeof(lmb_field_reals));
                lmb_config_destroy(c);
            }
        }
    }
}

static lmb_status check_range(const lmb_field *f, const lmb_tree *t, double v, lmb_error *err)
{
    if (v >= f->lo && v <= f->hi)
        return LMB_OK;
    return lmb_tree_fail(t, err, LMB_E_ARG, "%s is %.12g; it must be in [%g, %g]%s%s", f->key, v, f->lo, f->hi,
                         f->unit && *f->unit ? " " : "", f->unit ? f->unit : "");
}

static lmb_status bind_list(const lmb_field *f, const lmb_tree *t, void *out, lmb_error *err)
{
    lmb_field_ints ints = { 0 };
    lmb_field_reals reals = { 0 };
    /* a single number is a list of one */
    const lmb_tree *item = t->kind == LMB_TREE_LIST ? t->child : t->kind == LMB_TREE_NULL ? NULL : t;

    if (t->kind == LMB_TREE_MAP)
        return lmb_tree_fail(t, err, LMB_E_ARG, "%s needs a list of numbers", f->key);
    if (t->kind == LMB_TREE_LIST && lmb_tree_count(t) > LMB_FIELD_MAX_LIST)
        return lmb_tree_fail(t, err, LMB_E_ARG, "%s has %zu numbers; at most %d are allowed", f->key, lmb_tree_count(t),
                             LMB_FIELD_MAX_LIST);
    for (; item; item = t->kind == LMB_TREE_LIST ? item->next : NULL) {
        double v;
        int64_t i;
        if (f->kind == LMB_FIELD_INTS) {
            LMB_TRY(lmb_tree_int(item, &i, err));
            v = (double)i;
            ints.v[ints.n++] = i;
        } else {
            LMB_TRY(lmb_tree_real(item, &v, err));
            reals.v[reals.n++] = v;
        }
        LMB_TRY(check_range(f, item, v, err));
    }
    if (f->kind == LMB_FIELD_INTS)
        *(lmb_field_ints *)out = ints;
    else
        *(lmb_field_reals *)out = reals;
    return LMB_OK;
}

static lmb_status bind_choice(const lmb_field *f, const lmb_tree *t, int64_t *out, lmb_error *err)
{
    char list[240] = "";
    const char *text;

    LMB_TRY(lmb_tree_text(t, &text, err));
    for (int i = 0; f->choices[i]; i++) {
        if (strcmp(f->choices[i], text) == 0) {
            *out = i;
            return LMB_OK;
        }
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", f->choices[i]);
    }
    return lmb_tree_fail(t, err, LMB_E_ARG, "%s is '%s'; it must be one of: %s", f->key, text, list);
}

static lmb_status bind_one(const lmb_field *f, const lmb_tree *t, void *m, lmb_error *err)
{
    double v;

    switch (f->kind) {
    case LMB_FIELD_INT:
        LMB_TRY(lmb_tree_int(t, m, err));
        return check_range(f, t, (double)*(int64_t *)m, err);
    case LMB_FIELD_REAL:
        LMB_TRY(lmb_tree_real(t, &v, err));
        *(double *)m = v;
        return check_range(f, t, v, err);
    case LMB_FIELD_BOOL: return lmb_tree_bool(t, m, err);
    case LMB_FIELD_TEXT:
        if (t->kind == LMB_TREE_NULL)
            return *(const char **)m = "", LMB_OK;
        return lmb_tree_text(t, m, err);
    case LMB_FIELD_CHOICE: return bind_choice(f, t, m, err);
    case LMB_FIELD_INTS:
    case LMB_FIELD_REALS: return bind_list(f, t, m, err);
    case LMB_FIELD_SECTION:
        if (t->kind == LMB_TREE_SCALAR) /* `train: off` would otherwise train with the defaults */
            return lmb_tree_fail(t, err, LMB_E_ARG, "%s is '%s'; it needs a section of 'key: value' lines", f->key,
                                 t->text);
        return lmb_fields_bind(f->rows, t, m, err);
    case LMB_FIELD_TREE: *(const lmb_tree **)m = t->kind == LMB_TREE_NULL ? NULL : t; return LMB_OK;
    }
    return LMB_OK;
}

enum { FEW = 8 }; /* keys, that stand beside what is nearest: it may be wrong */

static lmb_status unknown_key(const lmb_field *rows, const lmb_tree *t, lmb_error *err)
{
    const char *names[128];
    int n = 0;

    for (const lmb_field *f = rows; f->key && n < 127; f++)
        names[n++] = f->key;
    names[n] = NULL;
    const char *near = lmb_nearest(t->key, names);
    if (near && n > FEW)
        return lmb_tree_fail(t, err, LMB_E_ARG, "there is no key '%s' here; did you mean '%s'?", t->key, near);
    char list[300] = "";
    int shown = 0;
    for (; shown < n && strlen(list) + strlen(names[shown]) + 3 < sizeof list; shown++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", shown ? ", " : "", names[shown]);
    char more[60] = "";
    if (shown < n)
        snprintf(more, sizeof more, " and %d more, which `limbeck config keys` shows", n - shown);
    return lmb_tree_fail(t, err, LMB_E_ARG, "there is no key '%s' here; %s%s%skeys are: %s%s", t->key,
                         near ? "did you mean '" : "", near ? near : "", near ? "'? " : "", list, more);
}

lmb_status lmb_fields_bind(const lmb_field *rows, const lmb_tree *node, void *out, lmb_error *err)
{
    lmb_fields_default(rows, out);
    return lmb_fields_bind_over(rows, node, out, err);
}

lmb_status lmb_fields_bind_over(const lmb_field *rows, const lmb_tree *node, void *out, lmb_error *err)
{
    if (!node || node->kind == LMB_TREE_NULL)
        return LMB_OK;
    if (node->kind == LMB_TREE_SCALAR && !lmb_tree_get(node, "name")) {
        /* `optimizer: sgd` where the name was all there is to say */
        for (const lmb_field *f = rows; f->key; f++)
            if (strcmp(f->key, "name") == 0)
                return bind_one(f, node, member(out, f), err);
        return node->key ? LMB_OK : lmb_tree_fail(node, err, LMB_E_ARG, "a section of 'key: value' lines is needed");
    }
    if (node->kind != LMB_TREE_MAP)
        return lmb_tree_fail(node, err, LMB_E_ARG, "%s needs a section of 'key: value' lines",
                             node->key ? node->key : "this");
    for (const lmb_tree *t = node->child; t; t = t->next) {
        const lmb_field *f = rows;
        while (f->key && strcmp(f->key, t->key) != 0)
            f++;
        if (f->key)
            LMB_TRY(bind_one(f, t, member(out, f), err));
        else if (strcmp(t->key, "name") != 0)
            return unknown_key(rows, t, err);
    }
    return LMB_OK;
}

static void dump_numbers(const lmb_field *f, const void *m, lmb_str *out)
{
    const lmb_field_ints *a = m;
    const lmb_field_reals *b = m;
    int n = f->kind == LMB_FIELD_INTS ? a->n : b->n;

    lmb_str_add(out, " [");
    for (int i = 0; i < n; i++) {
        lmb_str_add(out, i ? ", " : "");
        if (f->kind == LMB_FIELD_INTS)
            lmb_str_addf(out, "%lld", (long long)a->v[i]);
        else
            lmb_str_add_number(out, b->v[i]);
    }
    lmb_str_add(out, "]");
}

static bool is_default(const lmb_field *f, const void *m);

static bool all_default(const lmb_field *rows, const void *in)
{
    for (const lmb_field *f = rows; f->key; f++)
        if (!is_default(f, cmember(in, f)))
            return false;
    return true;
}

static bool list_is_default(const lmb_field *f, const void *m)
{
    lmb_field row[] = { *f, LMB_FIELD_END };
    lmb_field_ints ints;
    lmb_field_reals reals;

    row[0].offset = 0;
    if (f->kind == LMB_FIELD_INTS) {
        lmb_fields_default(row, &ints);
        const lmb_field_ints *is = m;
        return is->n == ints.n && memcmp(is->v, ints.v, (size_t)ints.n * sizeof *ints.v) == 0;
    }
    lmb_fields_default(row, &reals);
    const lmb_field_reals *is = m;
    return is->n == reals.n && memcmp(is->v, reals.v, (size_t)reals.n * sizeof *reals.v) == 0;
}

static bool is_default(const lmb_field *f, const void *m)
{
    switch (f->kind) {
    case LMB_FIELD_INT:
    case LMB_FIELD_CHOICE: return *(const int64_t *)m == (int64_t)f->def;
    case LMB_FIELD_REAL: return *(const double *)m == f->def;
    case LMB_FIELD_BOOL: return *(const bool *)m == (f->def != 0);
    case LMB_FIELD_TEXT: return strcmp(*(const char *const *)m, f->def_text ? f->def_text : "") == 0;
    case LMB_FIELD_INTS:
    case LMB_FIELD_REALS: return list_is_default(f, m);
    case LMB_FIELD_SECTION: return all_default(f->rows, m);
    case LMB_FIELD_TREE: return !*(const lmb_tree *const *)m;
    }
    return false;
}

static lmb_status dump(const lmb_field *rows, const void *in, int indent, bool marks, lmb_str *out)
{
    for (const lmb_field *f = rows; f->key; f++) {
        const void *m = cmember(in, f);
        const char *end = marks && is_default(f, m) ? LMB_FIELD_MARK "\n" : "\n";
        if (f->kind == LMB_FIELD_TREE && !*(const lmb_tree *const *)m)
            continue;
        lmb_str_addf(out, "%*s%s:", indent, "", f->key);
        switch (f->kind) {
        case LMB_FIELD_INT: lmb_str_addf(out, " %lld%s", (long long)*(const int64_t *)m, end); break;
        case LMB_FIELD_REAL:
            lmb_str_add(out, " ");
            lmb_str_add_number(out, *(const double *)m);
            lmb_str_add(out, end);
            break;
        case LMB_FIELD_BOOL: lmb_str_addf(out, " %s%s", *(const bool *)m ? "true" : "false", end); break;
        case LMB_FIELD_TEXT:
            lmb_str_add(out, " ");
            lmb_str_add_json(out, *(const char *const *)m);
            lmb_str_add(out, end);
            break;
        case LMB_FIELD_CHOICE: lmb_str_addf(out, " %s%s", f->choices[*(const int64_t *)m], end); break;
        case LMB_FIELD_INTS:
        case LMB_FIELD_REALS:
            dump_numbers(f, m, out);
            lmb_str_add(out, end);
            break;
        case LMB_FIELD_SECTION:
            lmb_str_add(out, end);
            LMB_TRY(dump(f->rows, m, indent + 2, marks, out));
            break;
        case LMB_FIELD_TREE: LMB_TRY(lmb_tree_dump(*(const lmb_tree *const *)m, indent + 2, out)); break;
        }
    }
    return out->failed ? LMB_E_NOMEM : LMB_OK;
}

lmb_status lmb_fields_dump(const lmb_field *rows, const void *in, int indent, lmb_str *out)
{
    return dump(rows, in, indent, false, out);
}

lmb_status lmb_fields_dump_marked(const lmb_field *rows, const void *in, int indent, lmb_str *out)
{
    return dump(rows, in, indent, true, out);
}

void lmb_fields_help(const lmb_field *rows, int indent, lmb_str *out)
{
    static const char *const kinds[] = { "whole number", "number", "true/false", "text", "one of", "list", "list",
                                         "section", "section" };
    for (const lmb_field *f = rows; f->key; f++) {
        lmb_str_addf(out, "%*s%-*s %s", indent, "", 24 - indent, f->key, kinds[f->kind]);
        switch (f->kind) {
        case LMB_FIELD_INT:
        case LMB_FIELD_REAL:
            lmb_str_addf(out, ", default %g, in [%g, %g]%s%s", f->def, f->lo, f->hi, *f->unit ? " " : "", f->unit);
            break;
        case LMB_FIELD_BOOL: lmb_str_addf(out, ", default %s", f->def != 0 ? "true" : "false"); break;
        case LMB_FIELD_TEXT: lmb_str_addf(out, ", default \"%s\"", f->def_text ? f->def_text : ""); break;
        case LMB_FIELD_CHOICE:
            for (int i = 0; f->choices[i]; i++)
                lmb_str_addf(out, "%s %s%s", i ? "," : "", f->choices[i], i == (int)f->def ? " (default)" : "");
            break;
        case LMB_FIELD_INTS:
        case LMB_FIELD_REALS: lmb_str_addf(out, ", default %s", f->def_text ? f->def_text : "[]"); break;
        default: break;
        }
        lmb_str_addf(out, ": %s\n", f->help);
        if (f->kind == LMB_FIELD_SECTION)
            lmb_fields_help(f->rows, indent + 2, out);
    }
}
