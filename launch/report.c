/* launch/report.c - reading what stages left, the summary and the table. See report.h. */
#include "launch/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "launch/stage.h"

enum { PATH = 1024, HISTORY_LIMIT = 64 << 20, POINTS_MAX = 100000 };

static const char *const stage_names[LMB_REPORT_STAGES] = { "teacher", "student", "student-int8", "federated-int8" };
static const char *const curve_names[LMB_REPORT_CURVES] = { "teacher", "student", "student-int8", "federation" };

/* ---- stage.json ---- */

static lmb_status read_number(const lmb_tree *t, const char *key, double *out, lmb_error *err)
{
    const lmb_tree *v = lmb_tree_get(t, key);
    if (!v)
        return lmb_tree_fail(t, err, LMB_E_FORMAT, "`%s` is missing; run the stage again with --fresh", key);
    LMB_TRY(lmb_tree_real(v, out, err));
    if (!isfinite(*out) || *out < 0)
        return lmb_tree_fail(v, err, LMB_E_FORMAT, "`%s` must be a number, 0 or more", key);
    return LMB_OK;
}

static lmb_status read_interval(const lmb_tree *t, lmb_report_stage *s, lmb_error *err)
{
    const lmb_tree *v = lmb_tree_get(t, "interval");

    s->lo = s->hi = s->accuracy;
    if (!v)
        return LMB_OK;
    if (v->kind != LMB_TREE_LIST || lmb_tree_count(v) != 2)
        return lmb_tree_fail(v, err, LMB_E_FORMAT, "`interval` must be [low, high]");
    LMB_TRY(lmb_tree_real(v->child, &s->lo, err));
    LMB_TRY(lmb_tree_real(v->child->next, &s->hi, err));
    if (!(s->lo >= 0 && s->lo <= s->accuracy && s->accuracy <= s->hi && s->hi <= 1))
        return lmb_tree_fail(v, err, LMB_E_FORMAT, "`interval` does not contain the accuracy");
    return LMB_OK;
}

static lmb_status read_confusion(const lmb_tree *t, lmb_report_stage *s, lmb_error *err)
{
    const lmb_tree *rows = lmb_tree_get(t, "confusion");
    size_t n = lmb_tree_count(rows), i = 0;

    if (n == 0)
        return LMB_OK;
    if (n > LMB_STAGE_CLASSES)
        return lmb_tree_fail(rows, err, LMB_E_FORMAT, "`confusion` has %zu rows; at most %d are read", n,
                             LMB_STAGE_CLASSES);
    s->confusion = calloc(n * n, sizeof *s->confusion);
    if (!s->confusion)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a confusion matrix of %zu classes", n);
    s->classes = (int)n;
    for (const lmb_tree *row = rows->child; row; row = row->next) {
        if (lmb_tree_count(row) != n)
            return lmb_tree_fail(row, err, LMB_E_FORMAT, "row %zu of `confusion` has %zu numbers, the matrix %zu rows",
                                 i / n + 1, lmb_tree_count(row), n);
        for (const lmb_tree *v = row->child; v; v = v->next) {
            LMB_TRY(lmb_tree_int(v, &s->confusion[i], err));
            if (s->confusion[i++] < 0)
                return lmb_tree_fail(v, err, LMB_E_FORMAT, "`confusion` has a count below 0");
        }
    }
    return LMB_OK;
}

static lmb_status read_classes(const lmb_tree *t, lmb_report_stage *s, lmb_error *err)
{
    const lmb_tree *names = lmb_tree_get(t, "classes");
    int i = 0;

    if (!names || !s->classes)
        return LMB_OK;
    if (lmb_tree_count(names) != (size_t)s->classes)
        return lmb_tree_fail(names, err, LMB_E_FORMAT, "`classes` has %zu names, `confusion` %d rows",
                             lmb_tree_count(names), s->classes);
    s->class_name = calloc((size_t)s->classes, sizeof *s->class_name);
    if (!s->class_name)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d class names", s->classes);
    for (const lmb_tree *v = names->child; v; v = v->next)
        LMB_TRY(lmb_tree_text(v, &s->class_name[i++], err));
    return LMB_OK;
}

static lmb_status read_stage(const char *path, const char *name, lmb_report_stage *s, lmb_error *err)
{
    LMB_TRY(lmb_config_read(path, &s->json, err));
    const lmb_tree *t = lmb_config_root(s->json), *note = lmb_tree_get(t, "note");
    if (!t || t->kind != LMB_TREE_MAP)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: is no JSON object; run the stage again with --fresh", path);
    s->name = name;
    s->note = "";
    LMB_TRY(read_number(t, "parameters", &s->parameters, err));
    LMB_TRY(read_number(t, "macs", &s->macs, err));
    LMB_TRY(read_number(t, "bytes", &s->bytes, err));
    LMB_TRY(read_number(t, "accuracy", &s->accuracy, err));
    LMB_TRY(read_number(t, "latency_us", &s->latency_us, err));
    if (lmb_tree_get(t, "peak_memory_bytes"))
        LMB_TRY(read_number(t, "peak_memory_bytes", &s->peak_memory, err));
    if (s->accuracy > 1)
        return lmb_tree_fail(lmb_tree_get(t, "accuracy"), err, LMB_E_FORMAT,
                             "`accuracy` is %g; it must be between 0 and 1", s->accuracy);
    LMB_TRY(read_interval(t, s, err));
    LMB_TRY(read_confusion(t, s, err));
    LMB_TRY(read_classes(t, s, err));
    return note && note->kind != LMB_TREE_NULL ? lmb_tree_text(note, &s->note, err) : LMB_OK;
}

/* ---- history.jsonl ---- */

static double optional(const lmb_tree *t, const char *key)
{
    double v = NAN;
    return lmb_tree_get(t, key) && lmb_tree_real(lmb_tree_get(t, key), &v, NULL) == LMB_OK ? v : NAN;
}

/* A stage that went on after an interruption may tell an epoch twice; the later line counts. */
static void put_point(lmb_report_curve *c, const lmb_report_point *p)
{
    while (c->n && c->point[c->n - 1].at >= p->at)
        c->n--;
    c->point[c->n++] = *p;
}

static lmb_status read_line(const char *text, size_t n, const char *name, lmb_report_curve *c, lmb_error *err)
{
    lmb_config *json = NULL;

    LMB_TRY(lmb_config_parse(text, n, name, &json, err));
    const lmb_tree *t = lmb_config_root(json);
    double epoch = optional(t, "epoch"), round = optional(t, "round");
    lmb_report_point p = { isnan(round) ? epoch + 1 : round,
                           optional(t, "loss"),
                           optional(t, "valid_loss"),
                           optional(t, "valid_accuracy"),
                           optional(t, "bytes_in"),
                           optional(t, "bytes_out"),
                           optional(t, "each_client_valid_accuracy_mean"),
                           optional(t, "each_client_valid_accuracy_median"),
                           optional(t, "each_client_valid_accuracy_worst_tenth") };
    if (p.valid_accuracy < 0) /* trained without validation */
        p.valid_accuracy = p.valid_loss = NAN;
    lmb_status st = isfinite(p.at) ? LMB_OK : LMB_FAIL(err, LMB_E_FORMAT, "%s: has neither `epoch` nor `round`", name);
    if (st == LMB_OK)
        put_point(c, &p);
    lmb_config_destroy(json);
    return st;
}

static lmb_status read_lines(const char *path, const char *text, lmb_report_curve *c, lmb_error *err)
{
    int n = 0, number = 0;

    for (const char *p = text; (p = strchr(p, '\n')); p++)
        n++;
    if (n > POINTS_MAX)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: has %d lines; at most %d are read", path, n, POINTS_MAX);
    c->point = calloc((size_t)n + 1, sizeof *c->point);
    if (!c->point)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d lines of %s", n, path);
    /* What follows the last newline is a line that was being written when something stopped: not there yet. */
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        char name[PATH + 32];
        snprintf(name, sizeof name, "%s line %d", path, ++number);
        if (end > text)
            LMB_TRY(read_line(text, (size_t)(end - text), name, c, err));
    }
    return LMB_OK;
}

static lmb_status read_history(const char *path, lmb_report_curve *c, lmb_error *err)
{
    void *text = NULL;
    size_t n = 0;

    LMB_TRY(lmb_file_read(path, HISTORY_LIMIT, &text, &n, err));
    lmb_status st = strlen(text) == n
                        ? read_lines(path, text, c, err)
                        : LMB_FAIL(err, LMB_E_FORMAT, "%s: is no text; run the stage again with --fresh", path);
    free(text);
    return st;
}

/* ---- the run ---- */

static bool is_asked(const char *name, const char *const *stages)
{
    bool found = !stages;
    for (; stages && *stages && !found; stages++)
        found = strcmp(*stages, name) == 0;
    return found;
}

/* A private federation has left what it promises: JSON, which the summary repeats. */
static lmb_status read_privacy(const char *path, lmb_report *r, lmb_error *err)
{
    enum { LIMIT = 4096 };
    lmb_config *json;
    void *text;
    size_t n;

    LMB_TRY(lmb_file_read(path, LIMIT, &text, &n, err));
    r->privacy = text;
    LMB_TRY(lmb_config_parse(text, n, path, &json, err));
    bool map = lmb_config_root(json) && lmb_config_root(json)->kind == LMB_TREE_MAP;
    lmb_config_destroy(json);
    while (n && (r->privacy[n - 1] == '\n' || r->privacy[n - 1] == ' '))
        r->privacy[--n] = 0;
    return map ? LMB_OK : LMB_FAIL(err, LMB_E_FORMAT, "%s: is no JSON object; run the federation again", path);
}

static lmb_status read_run(const char *run, const char *const *stages, lmb_report *r, lmb_error *err)
{
    char path[PATH];

    for (int i = 0; i < LMB_REPORT_STAGES; i++) {
        if (!is_asked(stage_names[i], stages))
            continue;
        snprintf(path, sizeof path, "%s/%s/stage.json", run, stage_names[i]);
        if (lmb_file_exists(path)) {
            lmb_report_stage *s = &r->stage[r->n_stages++]; /* counted first: a half-read one is freed as well */
            s->place = i;
            LMB_TRY(read_stage(path, stage_names[i], s, err));
        } else {
            size_t n = strlen(r->missing);
            snprintf(r->missing + n, sizeof r->missing - n, "%s%s", n ? ", " : "", stage_names[i]);
        }
    }
    snprintf(path, sizeof path, "%s/student/lowrank.json", run);
    if (is_asked("student", stages) && lmb_file_exists(path))
        LMB_TRY(lmb_report_read_ranks(path, r, err));
    snprintf(path, sizeof path, "%s/federation/privacy.json", run);
    if (is_asked("federation", stages) && lmb_file_exists(path))
        LMB_TRY(read_privacy(path, r, err));
    if (!r->n_stages)
        return LMB_FAIL(err, LMB_E_ARG, "no stage has left a result in %s; `limbeck run` makes them", run);
    for (int i = 0; i < LMB_REPORT_CURVES; i++) {
        snprintf(path, sizeof path, "%s/%s/history.jsonl", run, curve_names[i]);
        if (!is_asked(curve_names[i], stages) || !lmb_file_exists(path))
            continue;
        lmb_report_curve *c = &r->curve[r->n_curves++];
        c->name = curve_names[i];
        LMB_TRY(read_history(path, c, err));
    }
    return LMB_OK;
}

lmb_status lmb_report_read(const char *run, const char *const *stages, lmb_report *out, lmb_error *err)
{
    lmb_report r = { 0 };

    if (strlen(run) > PATH - 64)
        return LMB_FAIL(err, LMB_E_ARG, "the path of the run, %.80s..., is too long", run);
    lmb_status st = read_run(run, stages, &r, err);
    if (st != LMB_OK) {
        lmb_report_free(&r);
        return st;
    }
    *out = r;
    return LMB_OK;
}

void lmb_report_free(lmb_report *r)
{
    free(r->privacy);
    free(r->rank);
    lmb_config_destroy(r->ranks_json);
    for (int i = 0; i < r->n_stages; i++) {
        lmb_config_destroy(r->stage[i].json);
        free(r->stage[i].confusion);
        free(r->stage[i].class_name);
    }
    for (int i = 0; i < r->n_curves; i++)
        free(r->curve[i].point);
    memset(r, 0, sizeof *r);
}

/* ---- what is told ---- */

const char *lmb_report_count(double v, const char *unit, char *buf, size_t cap)
{
    static const struct { double at; const char *prefix; } scale[] = { { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" } };
    for (size_t i = 0; i < sizeof scale / sizeof *scale; i++)
        if (v >= scale[i].at * 0.9995) {
            double x = v / scale[i].at;
            snprintf(buf, cap, "%.*f %s%s", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x, scale[i].prefix, unit);
            return buf;
        }
    snprintf(buf, cap, "%.0f%s%s", v, *unit ? " " : "", unit);
    return buf;
}

const char *lmb_report_class(const lmb_report_stage *s, int c, char *buf, size_t cap)
{
    if (s->class_name)
        return s->class_name[c];
    snprintf(buf, cap, "class %d", c);
    return buf;
}

void lmb_report_table(const lmb_report *r, lmb_str *out)
{
    char parameters[32], macs[32], bytes[32], memory[32];

    lmb_str_addf(out, "%-15s %11s %9s %9s %10s %20s %12s\n", "stage", "parameters", "MACs", "bytes", "accuracy",
                 "latency at batch 1", "peak memory");
    for (int i = 0; i < r->n_stages; i++) {
        const lmb_report_stage *s = &r->stage[i];
        lmb_str_addf(out, "%-15s %11s %9s %9s %8.2f %% %17.1f us %12s\n", s->name,
                     lmb_report_count(s->parameters, "", parameters, sizeof parameters),
                     lmb_report_count(s->macs, "", macs, sizeof macs),
                     lmb_report_count(s->bytes, "B", bytes, sizeof bytes), 100 * s->accuracy, s->latency_us,
                     s->peak_memory > 0 ? lmb_report_count(s->peak_memory, "B", memory, sizeof memory) : "-");
    }
    if (*r->missing)
        lmb_str_addf(out, "without a result: %s\n", r->missing);
}

static void add_figure(lmb_str *out, const char *key, double v)
{
    lmb_str_addf(out, ", \"%s\": ", key);
    lmb_str_add_number(out, v);
}

void lmb_report_summary(const lmb_report *r, lmb_str *out)
{
    lmb_str_add(out, "{\"stages\": [");
    for (int i = 0; i < r->n_stages; i++) {
        const lmb_report_stage *s = &r->stage[i];
        lmb_str_add(out, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        lmb_str_add_json(out, s->name);
        add_figure(out, "parameters", s->parameters);
        add_figure(out, "macs", s->macs);
        add_figure(out, "bytes", s->bytes);
        add_figure(out, "accuracy", s->accuracy);
        add_figure(out, "latency_us", s->latency_us);
        if (s->peak_memory > 0)
            add_figure(out, "peak_memory_bytes", s->peak_memory);
        lmb_str_add(out, "}");
    }
    if (r->privacy)
        lmb_str_addf(out, "\n], \"privacy\": %s}\n", r->privacy);
    else
        lmb_str_add(out, "\n]}\n");
}

static lmb_status write_text(const char *run, const char *name, const lmb_str *text, char path[PATH], lmb_error *err)
{
    LMB_TRY(lmb_str_check(text, err));
    LMB_TRY(lmb_path_join(path, PATH, run, name, err));
    return lmb_file_write(path, text->text, text->n, err);
}

lmb_status lmb_report_write(const char *run, const char *const *stages, const char *config, lmb_error *err)
{
    lmb_report r;
    lmb_str page = LMB_STR_INIT, summary = LMB_STR_INIT, table = LMB_STR_INIT;
    char page_path[PATH], summary_path[PATH];
    lmb_status st;

    LMB_TRY(lmb_report_read(run, stages, &r, err));
    lmb_report_page(&r, run, config, &page);
    lmb_report_summary(&r, &summary);
    lmb_report_table(&r, &table);
    LMB_TRY_GOTO(st, done, write_text(run, "report.html", &page, page_path, err));
    LMB_TRY_GOTO(st, done, write_text(run, "summary.json", &summary, summary_path, err));
    LMB_TRY_GOTO(st, done, lmb_str_check(&table, err));
    printf("%s%s\n%s\n", table.text, page_path, summary_path);
done:
    lmb_str_free(&page);
    lmb_str_free(&summary);
    lmb_str_free(&table);
    lmb_report_free(&r);
    return st;
}
