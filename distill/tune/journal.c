/* distill/tune/journal.c - trials as lines: written when they are done, read when a search goes on. See tune.h. */
#include <math.h>
#include <string.h>

#include "core/base/file.h"
#include "distill/search/identity.h"
#include "distill/search/lines.h"
#include "distill/tune/internal.h"

enum { PATH = 1024 };

static lmb_status path_of(const lmb_tune_request *r, const char *name, char out[PATH], lmb_error *err)
{
    return lmb_path_join(out, PATH, r->folder, name, err);
}

/* ---- reading ---- */

typedef struct reader {
    const lmb_tune_request *r;
    lmb_trials *out;
    bool begun;
    double seconds;
} reader;

static lmb_status flag(const lmb_tree *line, const char *key, bool *out, lmb_error *err)
{
    const lmb_tree *t = lmb_tree_get(line, key);
    return t ? lmb_tree_bool(t, out, err) : LMB_FAIL(err, LMB_E_FORMAT, "there is no '%s'", key);
}

/* A list of numbers, at most `most`. */
static lmb_status numbers(const lmb_tree *line, const char *key, double *out, int most, int *n, lmb_error *err)
{
    const lmb_tree *t = lmb_tree_get(line, key);

    *n = 0;
    if (!t || t->kind != LMB_TREE_LIST || lmb_tree_count(t) > (size_t)most)
        return LMB_FAIL(err, LMB_E_FORMAT, "'%s' is no list of at most %d numbers", key, most);
    for (t = t->child; t; t = t->next)
        LMB_TRY(lmb_tree_real(t, &out[(*n)++], err));
    return LMB_OK;
}

/* How the curve is divided into folds; with one, it is not written. */
static lmb_status read_folds(const lmb_tune_config *c, const lmb_tree *line, lmb_trial *t, lmb_error *err)
{
    double epochs[LMB_TUNE_FOLDS];
    int sum = 0;

    if (!lmb_tree_get(line, "folds") && c->folds > 1 && c->stop.rule == LMB_TUNE_STOP_MEDIAN && t->n_curve > 0)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "it does not say which epochs were of which fold, and tune.stop compares the same ones: this "
            "journal is of an older version, which did not; begin again with --fresh, or name another `run`");
    if (!lmb_tree_get(line, "folds")) {
        t->n_folds = t->n_curve > 0;
        t->epochs[0] = t->n_curve;
        return LMB_OK;
    }
    LMB_TRY(numbers(line, "folds", epochs, (int)c->folds, &t->n_folds, err));
    for (int i = 0; i < t->n_folds; i++) {
        if (!(epochs[i] >= 0 && epochs[i] <= t->n_curve - sum) || epochs[i] != floor(epochs[i]))
            return LMB_FAIL(err, LMB_E_FORMAT, "fold %d has %g epochs, of a curve of %d", i, epochs[i], t->n_curve);
        sum += t->epochs[i] = (int)epochs[i];
    }
    return sum == t->n_curve
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_FORMAT, "its folds have %d epochs, and the curve has %d", sum, t->n_curve);
}

static lmb_status read_trial(reader *d, const lmb_tree *line, lmb_error *err)
{
    lmb_trial t = { .same = -1 };
    const char *why;
    double id, same;
    int n;

    LMB_TRY(lmb_line_real(line, "trial", &id, err));
    LMB_TRY(lmb_line_real(line, "score", &t.score, err));
    LMB_TRY(lmb_line_real(line, "spread", &t.spread, err));
    LMB_TRY(lmb_line_real(line, "cost", &t.cost, err));
    LMB_TRY(lmb_line_real(line, "same", &same, err));
    t.share = 1;
    if (lmb_tree_get(line, "share"))
        LMB_TRY(lmb_line_real(line, "share", &t.share, err));
    LMB_TRY(flag(line, "hopeless", &t.hopeless, err));
    LMB_TRY(flag(line, "failed", &t.failed, err));
    LMB_TRY(lmb_line_text(line, "why", &why, err));
    LMB_TRY(numbers(line, "curve", t.curve, LMB_TUNE_CURVE, &t.n_curve, err));
    LMB_TRY(read_folds(d->r->c, line, &t, err));
    LMB_TRY(numbers(line, "x", t.x, LMB_TUNE_DIMS, &n, err));
    if (id != d->out->n || n != d->r->space->n || !(same >= -1 && same < id) ||
        t.share != lmb_tune_rung(d->r, (int)id).share || strlen(why) >= sizeof t.why)
        return LMB_FAIL(err, LMB_E_FORMAT, "it is not trial %d of this search", d->out->n);
    for (int i = 0; i < n; i++)
        if (!(t.x[i] >= 0 && t.x[i] <= 1))
            return LMB_FAIL(err, LMB_E_FORMAT, "x is %g; places are between 0 and 1", t.x[i]);
    t.id = (int)id;
    t.same = (int)same;
    memcpy(t.why, why, strlen(why));
    return lmbi_trials_add(d->out, &t, err);
}

static lmb_status read_line(void *ctx, const lmb_tree *line, lmb_error *err)
{
    reader *d = ctx;
    const char *identity;

    if (d->begun)
        return read_trial(d, line, err);
    d->begun = true;
    LMB_TRY(lmb_line_text(line, "tune", &identity, err));
    return lmb_identity_check(identity, d->r->identity, "configuration", "`run`", err);
}

static lmb_status read_time(void *ctx, const lmb_tree *line, lmb_error *err)
{
    reader *d = ctx;
    double s;

    LMB_TRY(lmb_line_real(line, "seconds", &s, err));
    d->seconds += s;
    return LMB_OK;
}

static lmb_status begin(const lmb_tune_request *r, const char *path, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;

    lmb_str_add(&s, "{\"tune\": ");
    lmb_str_add_json(&s, r->identity);
    lmb_str_add(&s, "}");
    lmb_status st = lmb_lines_add(path, &s, err);
    lmb_str_free(&s);
    return st;
}

lmb_status lmbi_tune_read(const lmb_tune_request *r, lmb_trials *out, double *seconds, lmb_error *err)
{
    char path[PATH];
    reader d = { r, out, false, 0 };

    LMB_TRY(lmb_file_make_dirs(r->folder, err));
    LMB_TRY(path_of(r, "times.jsonl", path, err));
    LMB_TRY(lmb_lines_read(path, LMB_LINES_AFRESH, read_time, &d, err));
    LMB_TRY(path_of(r, "journal.jsonl", path, err));
    LMB_TRY(lmb_lines_read(path, LMB_LINES_AFRESH, read_line, &d, err));
    *seconds = d.seconds;
    return d.begun ? LMB_OK : begin(r, path, err);
}

/* ---- writing ---- */

static void list(lmb_str *s, const char *key, const double *v, int n)
{
    lmb_str_addf(s, ", \"%s\": [", key);
    for (int i = 0; i < n; i++) {
        lmb_str_add(s, i ? ", " : "");
        lmb_str_add_number(s, v[i]);
    }
    lmb_str_add(s, "]");
}

static void trial_line(const lmb_tune_request *r, const lmb_trial *t, lmb_str *s)
{
    double epochs[LMB_TUNE_FOLDS];

    lmb_str_addf(s, "{\"trial\": %d, \"values\": {", t->id);
    for (int d = 0; d < r->space->n; d++) {
        lmb_str text = LMB_STR_INIT;
        lmb_param_text(&r->space->param[d], t->x[d], &text);
        lmb_str_add(s, d ? ", " : "");
        lmb_str_add_json(s, r->space->param[d].key);
        lmb_str_add(s, ": ");
        lmb_str_add_json(s, text.text ? text.text : "");
        s->failed |= text.failed;
        lmb_str_free(&text);
    }
    lmb_str_add(s, "}");
    lmb_str_add_member(s, "score", t->score);
    lmb_str_add_member(s, "spread", t->spread);
    lmb_str_add_member(s, "cost", t->cost);
    if (t->share < 1)
        lmb_str_add_member(s, "share", t->share);
    lmb_str_addf(s, ", \"same\": %d, \"hopeless\": %s, \"failed\": %s, \"why\": ", t->same,
                 t->hopeless ? "true" : "false", t->failed ? "true" : "false");
    lmb_str_add_json(s, t->why);
    list(s, "x", t->x, r->space->n);
    list(s, "curve", t->curve, t->n_curve);
    if (r->c->folds > 1) {
        for (int i = 0; i < t->n_folds; i++)
            epochs[i] = t->epochs[i];
        list(s, "folds", epochs, t->n_folds);
    }
    lmb_str_add(s, "}");
}

lmb_status lmbi_tune_write(const lmb_tune_request *r, const lmb_trial *t, double seconds, lmb_error *err)
{
    char path[PATH];
    lmb_str s = LMB_STR_INIT;

    trial_line(r, t, &s);
    lmb_status st = path_of(r, "journal.jsonl", path, err);
    if (st == LMB_OK)
        st = lmb_lines_add(path, &s, err);
    lmb_str_clear(&s);
    lmb_str_addf(&s, "{\"trial\": %d, \"seconds\": %.3f}", t->id, seconds);
    if (st == LMB_OK)
        st = path_of(r, "times.jsonl", path, err);
    if (st == LMB_OK)
        st = lmb_lines_add(path, &s, err);
    lmb_str_free(&s);
    return st;
}
