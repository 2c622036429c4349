/* distill/tune/space.c - see space.h. */
#include "distill/tune/space.h"

#include <math.h>
#include <string.h>

const char *const lmb_param_kinds[] = { "real", "int", "choice", NULL };

void lmb_tree_line(const lmb_tree *t, lmb_str *out)
{
    bool list = t->kind == LMB_TREE_LIST;

    if (t->kind == LMB_TREE_NULL)
        lmb_str_add(out, "null");
    else if (t->kind == LMB_TREE_SCALAR && !t->quoted && !strpbrk(t->text, "\"\\,:[]{}#\n"))
        lmb_str_add(out, t->text); /* a number or a word, and nothing that means something inside of brackets */
    else if (t->kind == LMB_TREE_SCALAR)
        lmb_str_add_json(out, t->text);
    else {
        lmb_str_add(out, list ? "[" : "{");
        for (const lmb_tree *c = t->child; c; c = c->next) {
            if (!list) {
                lmb_str_add_json(out, c->key);
                lmb_str_add(out, ": ");
            }
            lmb_tree_line(c, out);
            lmb_str_add(out, c->next ? ", " : "");
        }
        lmb_str_add(out, list ? "]" : "}");
    }
}

/* ---- reading ---- */

static lmb_status read_choices(const lmb_tree *t, lmb_param *p, lmb_error *err)
{
    size_t n = lmb_tree_count(t);

    if (t->kind != LMB_TREE_LIST || n < 1 || n > LMB_TUNE_CHOICES)
        return lmb_tree_fail(t, err, LMB_E_ARG, "`choice` is a list of 1 to %d values, such as [sgd, adam]",
                             LMB_TUNE_CHOICES);
    for (const lmb_tree *c = t->child; c; c = c->next)
        p->choice[p->n++] = c;
    return LMB_OK;
}

static lmb_status read_range(const lmb_tree *t, const lmb_tree *range, lmb_param *p, lmb_error *err)
{
    const lmb_tree *log = lmb_tree_get(t, "log"), *step = lmb_tree_get(t, "step");
    int64_t lo, hi;

    if (range->kind != LMB_TREE_LIST || lmb_tree_count(range) != 2)
        return lmb_tree_fail(range, err, LMB_E_ARG, "`%s` is a range of two numbers, such as [1, 10]", range->key);
    if (log)
        LMB_TRY(lmb_tree_bool(log, &p->log, err));
    if (p->kind == LMB_PARAM_REAL) {
        LMB_TRY(lmb_tree_real(range->child, &p->lo, err));
        LMB_TRY(lmb_tree_real(range->child->next, &p->hi, err));
    } else {
        LMB_TRY(lmb_tree_int(range->child, &lo, err));
        LMB_TRY(lmb_tree_int(range->child->next, &hi, err));
        p->lo = (double)lo;
        p->hi = (double)hi;
    }
    if (!(fabs(p->lo) <= 1e12 && fabs(p->hi) <= 1e12))
        return lmb_tree_fail(range, err, LMB_E_ARG, "a range ends at 1e12 at most");
    p->step = 1;
    if (step && p->kind == LMB_PARAM_REAL)
        return lmb_tree_fail(step, err, LMB_E_ARG, "`step` goes with `int`");
    if (step)
        LMB_TRY(lmb_tree_real(step, &p->step, err));
    if (!(p->step >= 1) || p->step != floor(p->step))
        return lmb_tree_fail(step, err, LMB_E_ARG, "`step` is a whole number of at least 1");
    if (p->kind == LMB_PARAM_REAL ? p->lo >= p->hi : p->lo > p->hi)
        return lmb_tree_fail(range, err, LMB_E_ARG, "the range [%g, %g] of %s is empty", p->lo, p->hi, p->key);
    if (p->log && p->lo <= 0)
        return lmb_tree_fail(range, err, LMB_E_ARG,
                             "%s has log: true, so that its range must begin above 0; it begins at %g", p->key, p->lo);
    p->n = p->kind == LMB_PARAM_INT ? (int64_t)((p->hi - p->lo) / p->step) + 1 : 0;
    return LMB_OK;
}

static lmb_status read_param(const lmb_tree *t, lmb_param *p, lmb_error *err)
{
    static const char *const known[] = { "real", "int", "choice", "log", "step", NULL };
    const lmb_tree *what = NULL;

    *p = (lmb_param){ .key = t->key, .place = t };
    if (t->kind != LMB_TREE_MAP)
        return lmb_tree_fail(t, err, LMB_E_ARG, "write a range, such as %s: {real: [0.01, 0.1], log: true}", t->key);
    for (const lmb_tree *c = t->child; c; c = c->next) {
        int k = 0;
        while (known[k] && strcmp(known[k], c->key) != 0)
            k++;
        if (!known[k])
            return lmb_tree_fail(c, err, LMB_E_ARG,
                                 "a range has no key '%s'; it has one of real, int, choice, and log or step", c->key);
        if (k <= LMB_PARAM_CHOICE && what)
            return lmb_tree_fail(c, err, LMB_E_ARG, "%s is `%s` and `%s` at once", t->key, what->key, c->key);
        if (k <= LMB_PARAM_CHOICE) {
            what = c;
            p->kind = (lmb_param_kind)k;
        }
    }
    if (!what)
        return lmb_tree_fail(t, err, LMB_E_ARG, "%s needs one of real, int, choice", t->key);
    if (p->kind == LMB_PARAM_CHOICE && lmb_tree_count(t) > 1)
        return lmb_tree_fail(t, err, LMB_E_ARG, "`log` and `step` do not go with `choice`");
    return p->kind == LMB_PARAM_CHOICE ? read_choices(what, p, err) : read_range(t, what, p, err);
}

lmb_status lmb_space_read(const lmb_tree *tree, lmb_space *out, lmb_error *err)
{
    out->n = 0;
    if (!tree || tree->kind != LMB_TREE_MAP || !tree->child)
        return LMB_FAIL(err, LMB_E_ARG,
                        "tune.space is empty; name the keys that may change, such as space: {train.lr: {real: [0.01, "
                        "0.5], log: true}}");
    if (lmb_tree_count(tree) > LMB_TUNE_DIMS)
        return lmb_tree_fail(tree, err, LMB_E_ARG, "tune.space has %zu keys; at most %d can change",
                             lmb_tree_count(tree), LMB_TUNE_DIMS);
    for (const lmb_tree *c = tree->child; c; c = c->next)
        LMB_TRY(read_param(c, &out->param[out->n++], err));
    return LMB_OK;
}

/* ---- values ---- */

static int64_t cell(const lmb_param *p, double x)
{
    int64_t i = (int64_t)floor(x * (double)p->n);
    return i < 0 ? 0 : i >= p->n ? p->n - 1 : i;
}

/* INT on a logarithm: a number has the part of 0 .. 1 that lies between its logarithm and the next one's. */
static int64_t log_cell(const lmb_param *p, double x)
{
    double v = exp(log(p->lo) + x * (log(p->hi + p->step) - log(p->lo)));
    int64_t i = (int64_t)floor((v - p->lo) / p->step + 1e-12);
    return i < 0 ? 0 : i >= p->n ? p->n - 1 : i;
}

double lmb_param_cell(const lmb_param *p, int64_t k)
{
    if (!p->log)
        return ((double)k + 0.5) / (double)p->n;
    double lo = p->lo + (double)k * p->step, whole = log(p->hi + p->step) - log(p->lo);
    return (log(lo) + log(lo + p->step) - 2 * log(p->lo)) / (2 * whole);
}

double lmb_param_snap(const lmb_param *p, double x)
{
    if (!(x >= 0))
        x = 0;
    if (x > 1)
        x = 1;
    return p->n ? lmb_param_cell(p, p->log ? log_cell(p, x) : cell(p, x)) : x;
}

double lmb_param_number(const lmb_param *p, double x)
{
    if (p->kind == LMB_PARAM_CHOICE)
        return (double)cell(p, x);
    if (p->kind == LMB_PARAM_INT)
        return p->lo + (double)(p->log ? log_cell(p, x) : cell(p, x)) * p->step;
    return p->log ? exp(log(p->lo) + x * (log(p->hi) - log(p->lo))) : p->lo + x * (p->hi - p->lo);
}

void lmb_param_text(const lmb_param *p, double x, lmb_str *out)
{
    double v = lmb_param_number(p, x);

    if (p->kind == LMB_PARAM_CHOICE)
        lmb_tree_line(p->choice[(int)v], out);
    else if (p->kind == LMB_PARAM_INT)
        lmb_str_addf(out, "%.0f", v);
    else
        lmb_str_addf(out, "%.6g", v); /* who reads it sees what was tried */
}

int64_t lmb_space_points(const lmb_space *s)
{
    double n = 1;

    for (int d = 0; d < s->n; d++)
        n *= (double)s->param[d].n;
    return n > 1e15 ? 0 : (int64_t)n;
}
