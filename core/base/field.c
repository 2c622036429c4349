/* core/base/field.c - see field.h. */
#include "core/base/field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"

static void *member(void *s, const lmb_field *f) { return (char *)s + f->offset; }
static const void *member_of(const void *s, const lmb_field *f) { return (const char *)s + f->offset; }

/* ---- defaults ---------------------------------------------------------------------------------- */

/* The default of a list is a literal in our own tables, "[1, 2]": no parser, no failure. */
static int default_list(const char *text, double v[LMB_FIELD_MAX_LIST])
{
    int n = 0;

    for (const char *p = text ? text : ""; *p && n < LMB_FIELD_MAX_LIST;) {
        char *end;
        double x = strtod(p, &end);
        if (end == p) {
            p++;
            continue;
        }
        v[n++] = x;
        p = end;
    }
    return n;
}

static void default_ints(const lmb_field *f, lmb_field_ints *out)
{
    double v[LMB_FIELD_MAX_LIST];
    memset(out, 0, sizeof *out);
    out->n = default_list(f->def_text, v);
    for (int i = 0; i < out->n; i++)
        out->v[i] = (int64_t)v[i];
}

static void default_reals(const lmb_field *f, lmb_field_reals *out)
{
    memset(out, 0, sizeof *out);
    out->n = default_list(f->def_text, out->v);
}

static void default_one(const lmb_field *f, void *p)
{
    switch (f->kind) {
    case LMB_FIELD_INT:
    case LMB_FIELD_CHOICE: *(int64_t *)p = (int64_t)f->def; break;
    case LMB_FIELD_REAL: *(double *)p = f->def; break;
    case LMB_FIELD_BOOL: *(bool *)p = f->def != 0; break;
    case LMB_FIELD_TEXT: *(const char **)p = f->def_text ? f->def_text : ""; break;
    case LMB_FIELD_INTS: default_ints(f, p); break;
    case LMB_FIELD_REALS: default_reals(f, p); break;
    case LMB_FIELD_SECTION: lmb_fields_default(f->rows, p); break;
    case LMB_FIELD_TREE: *(const lmb_tree **)p = NULL; break;
    }
}

void lmb_fields_default(const lmb_field *rows, void *out)
{
    for (const lmb_field *f = rows; f->key; f++)
        default_one(f, member(out, f));
}

/* ---- binding ----------------------------------------------------------------------------------- */

static lmb_status out_of_range(const lmb_field *f, const lmb_tree *t, lmb_error *err)
{
    return lmb_tree_fail(t, err, LMB_E_ARG, "'%s' is %s%s%s; it must be in [%.10g, %.10g]", f->key, t->text,
                         f->unit[0] ? " " : "", f->unit, f->lo, f->hi);
}

static lmb_status bind_int(const lmb_field *f, const lmb_tree *t, int64_t *out, lmb_error *err)
{
    LMB_TRY(lmb_tree_int(t, out, err));
    return (double)*out < f->lo || (double)*out > f->hi ? out_of_range(f, t, err) : LMB_OK;
}

static lmb_status bind_real(const lmb_field *f, const lmb_tree *t, double *out, lmb_error *err)
{
    LMB_TRY(lmb_tree_real(t, out, err));
    return !(*out >= f->lo && *out <= f->hi) ? out_of_range(f, t, err) : LMB_OK;
}

static lmb_status bind_choice(const lmb_field *f, const lmb_tree *t, int64_t *out, lmb_error *err)
{
    char list[240] = "";
    const char *word;

    LMB_TRY(lmb_tree_text(t, &word, err));
    for (int i = 0; f->choices[i]; i++)
        if (!strcmp(f->choices[i], word)) {
            *out = i;
            return LMB_OK;
        }
    for (int i = 0; f->choices[i]; i++) {
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", f->choices[i]);
    }
    return lmb_tree_fail(t, err, LMB_E_ARG, "'%s' is '%.60s'; it must be one of %s", f->key, word, list);
}

static lmb_status check_list(const lmb_field *f, const lmb_tree *t, lmb_error *err)
{
    size_t n = lmb_tree_count(t);

    if (t->kind != LMB_TREE_LIST)
        return lmb_tree_fail(t, err, LMB_E_ARG, "'%s' must be a list such as [1, 2]", f->key);
    if (n > LMB_FIELD_MAX_LIST)
        return lmb_tree_fail(t, err, LMB_E_ARG, "'%s' has %zu items; at most %d are allowed", f->key, n,
                             LMB_FIELD_MAX_LIST);
    return LMB_OK;
}

static lmb_status bind_ints(const lmb_field *f, const lmb_tree *t, lmb_field_ints *out, lmb_error *err)
{
    LMB_TRY(check_list(f, t, err));
    memset(out, 0, sizeof *out);
    for (const lmb_tree *c = t->child; c; c = c->next)
        LMB_TRY(bind_int(f, c, &out->v[out->n++], err));
    return LMB_OK;
}

static lmb_status bind_reals(const lmb_field *f, const lmb_tree *t, lmb_field_reals *out, lmb_error *err)
{
    LMB_TRY(check_list(f, t, err));
    memset(out, 0, sizeof *out);
    for (const lmb_tree *c = t->child; c; c = c->next)
        LMB_TRY(bind_real(f, c, &out->v[out->n++], err));
    return LMB_OK;
}

static lmb_status bind_section(const lmb_field *f, const lmb_tree *t, void *out, lmb_error *err)
{
    if (t->kind != LMB_TREE_MAP)
        return lmb_tree_fail(t, err, LMB_E_ARG, "'%s' must be a mapping of options", f->key);
    return lmb_fields_bind(f->rows, t, out, err);
}

static lmb_status bind_one(const lmb_field *f, const lmb_tree *t, void *p, lmb_error *err)
{
    if (t->kind == LMB_TREE_NULL)
        return LMB_OK; /* nothing written: the default stands */
    switch (f->kind) {
    case LMB_FIELD_INT: return bind_int(f, t, p, err);
    case LMB_FIELD_REAL: return bind_real(f, t, p, err);
    case LMB_FIELD_BOOL: return lmb_tree_bool(t, p, err);
    case LMB_FIELD_TEXT: return lmb_tree_text(t, p, err);
    case LMB_FIELD_CHOICE: return bind_choice(f, t, p, err);
    case LMB_FIELD_INTS: return bind_ints(f, t, p, err);
    case LMB_FIELD_REALS: return bind_reals(f, t, p, err);
    case LMB_FIELD_SECTION: return bind_section(f, t, p, err);
    case LMB_FIELD_TREE: *(const lmb_tree **)p = t; return LMB_OK;
    }
    return LMB_OK;
}

static const lmb_field *find(const lmb_field *rows, const char *key)
{
    for (const lmb_field *f = rows; f->key; f++)
        if (!strcmp(f->key, key))
            return f;
    return NULL;
}

enum { MAX_ROWS = 128 };
static lmb_status unknown(const lmb_field *rows, const lmb_tree *t, lmb_error *err)
{
    const char *names[MAX_ROWS + 1], *near;
    int n = 0;

    for (const lmb_field *f = rows; f->key && n < MAX_ROWS; f++)
        names[n++] = f->key;
    names[n] = NULL;
    near = lmb_nearest(t->key, names);
    if (near)
        return lmb_tree_fail(t, err, LMB_E_ARG, "unknown key '%.100s'; did you mean '%s'?", t->key, near);
    return lmb_tree_fail(t, err, LMB_E_ARG, "unknown key '%.100s'%s%s", t->key, n ? "; the first known key is " : "",
                         n ? names[0] : "");
}

lmb_status lmb_fields_bind(const lmb_field *rows, const lmb_tree *node, void *out, lmb_error *err)
{
    lmb_fields_default(rows, out);
    if (!node || node->kind == LMB_TREE_NULL)
        return LMB_OK;
    /* `optimizer: sgd` chose the rows and says nothing more; as a whole document it is a mistake. */
    if (node->kind == LMB_TREE_SCALAR && node != lmb_config_root(node->owner))
        return LMB_OK;
    if (node->kind != LMB_TREE_MAP)
        return lmb_tree_fail(node, err, LMB_E_ARG, "%s%s%smust be a mapping of options", node->key ? "'" : "",
                             node->key ? node->key : "", node->key ? "' " : "this ");
    for (const lmb_tree *t = node->child; t; t = t->next) {
        const lmb_field *f = find(rows, t->key);
        if (f)
            LMB_TRY(bind_one(f, t, member(out, f), err));
        else if (strcmp(t->key, "name") != 0)
            return unknown(rows, t, err);
    }
    return LMB_OK;
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void dump_tree(const lmb_tree *t, int indent, lmb_str *out)
{
    if (!t) {
        lmb_str_add(out, " null\n");
    } else if (t->child) {
        lmb_str_add(out, "\n");
        lmb_tree_dump(t, indent + 2, out);
    } else {
        lmb_str_add(out, " ");
        lmb_tree_dump(t, 0, out);
    }
}

static void dump_one(const lmb_field *f, const void *p, int indent, lmb_str *out)
{
    const lmb_field_ints *ints = p;
    const lmb_field_reals *reals = p;

    lmb_str_addf(out, "%*s%s:", indent, "", f->key);
    switch (f->kind) {
    case LMB_FIELD_INT: lmb_str_addf(out, " %lld\n", (long long)*(const int64_t *)p); break;
    case LMB_FIELD_BOOL: lmb_str_add(out, *(const bool *)p ? " true\n" : " false\n"); break;
    case LMB_FIELD_CHOICE: lmb_str_addf(out, " %s\n", f->choices[*(const int64_t *)p]); break;
    case LMB_FIELD_REAL:
        lmb_str_add(out, " ");
        lmb_str_add_number(out, *(const double *)p);
        lmb_str_add(out, "\n");
        break;
    case LMB_FIELD_TEXT:
        lmb_str_add(out, " ");
        lmb_str_add_json(out, *(const char *const *)p);
        lmb_str_add(out, "\n");
        break;
    case LMB_FIELD_INTS:
        lmb_str_add(out, " [");
        for (int i = 0; i < ints->n; i++)
            lmb_str_addf(out, "%s%lld", i ? ", " : "", (long long)ints->v[i]);
        lmb_str_add(out, "]\n");
        break;
    case LMB_FIELD_REALS:
        lmb_str_add(out, " [");
        for (int i = 0; i < reals->n; i++) {
            lmb_str_add(out, i ? ", " : "");
            lmb_str_add_number(out, reals->v[i]);
        }
        lmb_str_add(out, "]\n");
        break;
    case LMB_FIELD_SECTION:
        lmb_str_add(out, "\n");
        lmb_fields_dump(f->rows, p, indent + 2, out);
        break;
    case LMB_FIELD_TREE: dump_tree(*(const lmb_tree *const *)p, indent, out); break;
    }
}

lmb_status lmb_fields_dump(const lmb_field *rows, const void *in, int indent, lmb_str *out)
{
    for (const lmb_field *f = rows; f->key; f++)
        dump_one(f, member_of(in, f), indent, out);
    return lmb_str_check(out, NULL);
}

static void help_default(const lmb_field *f, lmb_str *out)
{
    switch (f->kind) {
    case LMB_FIELD_INT:
    case LMB_FIELD_REAL:
        lmb_str_add(out, "default ");
        lmb_str_add_number(out, f->def);
        lmb_str_addf(out, ", in [%.10g, %.10g]%s%s", f->lo, f->hi, f->unit[0] ? " " : "", f->unit);
        break;
    case LMB_FIELD_BOOL: lmb_str_addf(out, "default %s", f->def != 0 ? "true" : "false"); break;
    case LMB_FIELD_TEXT: lmb_str_addf(out, "default \"%s\"", f->def_text ? f->def_text : ""); break;
    case LMB_FIELD_CHOICE:
        lmb_str_addf(out, "default %s, one of", f->choices[(int)f->def]);
        for (int i = 0; f->choices[i]; i++)
            lmb_str_addf(out, " %s", f->choices[i]);
        break;
    case LMB_FIELD_INTS:
    case LMB_FIELD_REALS:
        lmb_str_addf(out, "default %s, each in [%.10g, %.10g]%s%s", f->def_text ? f->def_text : "[]", f->lo, f->hi,
                     f->unit[0] ? " " : "", f->unit);
        break;
    case LMB_FIELD_SECTION:
    case LMB_FIELD_TREE: break;
    }
}

void lmb_fields_help(const lmb_field *rows, int indent, lmb_str *out)
{
    static const char *const kinds[] = { "int",  "real",  "bool",    "text", "choice",
                                         "ints", "reals", "section", "tree" };
    for (const lmb_field *f = rows; f->key; f++) {
        lmb_str_addf(out, "%*s%-*s %-7s ", indent, "", 26 - indent > 0 ? 26 - indent : 0, f->key, kinds[f->kind]);
        help_default(f, out);
        lmb_str_addf(out, "%s%s\n", f->kind < LMB_FIELD_SECTION ? "; " : "", f->help);
        if (f->kind == LMB_FIELD_SECTION)
            lmb_fields_help(f->rows, indent + 2, out);
    }
}
