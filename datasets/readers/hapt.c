/* datasets/readers/hapt.c - human activities from a phone at the waist: raw signals of 30 people, cut into windows.
 *
 * Idea: windows of `window` readings, `step` apart, lie wholly inside one labelled segment of one recording, so each
 * has one activity and one person. The person is the sample's group: a set that is federated by nature. The parts are
 * people too: those of `test_subjects` (by default the nine of the authors' own split) are the test part.
 *
 *   shapes   f32 [6, window]: acceleration x y z in g, angular speed x y z in rad/s, 50 readings a second
 *   files    labels.txt: experiment, person, activity (1..12), first and last reading (1-based, inclusive);
 *            acc_expEE_userUU.txt and gyro_expEE_userUU.txt: three numbers a reading
 *   source   Reyes-Ortiz, Oneto, Sama, Parra, Anguita: Transition-Aware Human Activity Recognition Using Smartphones,
 *            Neurocomputing 2016; UCI "Smartphone-Based Recognition of Human Activities and Postural Transitions"
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "datasets/dataset.h"

typedef struct config {
    const char *path;
    int64_t window, step;
    bool transitions;
    lmb_field_ints test_subjects;
} config;
static const lmb_field fields[] = {
    LMB_TEXT(config, path, "data/hapt", "folder of the set, with RawData/ or Raw-Data/ in it"),
    LMB_INT(config, window, 128, 8, 4096, "readings", "length of a sample; 128 are 2.56 s"),
    LMB_INT(config, step, 64, 1, 4096, "readings", "from one window to the next"),
    LMB_BOOL(config, transitions, 0, "12 classes with the changes of posture, instead of the 6 basic activities"),
    LMB_INTS(config, test_subjects, "[2, 4, 9, 10, 12, 13, 18, 20, 24]", 1, 99, "", "people of the test part"),
    LMB_FIELD_END
};

enum { AXES = 3, CHANNELS = 6, BASIC = 6, ALL = 12, MAX_FILE = 64 << 20 };
static const char *const class_names[ALL] = { "walking", "walking upstairs", "walking downstairs", "sitting",
                                              "standing", "laying", "stand to sit", "sit to stand", "sit to lie",
                                              "lie to sit", "stand to lie", "lie to stand" };

/* Numbers of a text file, `columns` a line. */
typedef struct table { double *v; size_t rows; } table;

static lmb_status parse_line(const char *path, size_t row, int columns, char **text, double *v, lmb_error *err)
{
    for (int c = 0; c < columns; c++) {
        char *end;
        *text += strspn(*text, " \t");
        v[c] = strtod(*text, &end);
        if (strchr("\r\n", **text) || end == *text || !isfinite(v[c])) /* strtod itself would go on to the next line */
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: line %zu, column %d is no number; %d numbers a line are expected: "
                            "fetch the file again", path, row + 1, c + 1, columns);
        *text = end;
    }
    *text += strspn(*text, " \t\r");
    if (**text && **text != '\n')
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: line %zu has more than %d columns; fetch the file again", path,
                        row + 1, columns);
    *text += **text == '\n';
    return LMB_OK;
}

static lmb_status read_table(const char *path, int columns, table *out, lmb_error *err)
{
    void *bytes;
    size_t n, lines = 1;

    LMB_TRY(lmb_file_read(path, MAX_FILE, &bytes, &n, err));
    char *text = bytes;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    out->rows = 0;
    out->v = malloc(sizeof *out->v * lines * (size_t)columns);
    lmb_status st = out->v ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for %zu lines", path, lines);
    while (st == LMB_OK && *text) {
        st = parse_line(path, out->rows, columns, &text, out->v + out->rows * (size_t)columns, err);
        out->rows++;
    }
    if (st == LMB_OK && (text != (char *)bytes + n || out->rows == 0))
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: %s; fetch the file again", path,
                      out->rows ? "a zero byte in a text file" : "empty");
    free(bytes);
    if (st != LMB_OK)
        free(out->v);
    return st;
}

/* The samples while they are collected. */
typedef struct windows {
    const config *c;
    char dir[1024];
    lmb_part part;
    float *x;
    int32_t *label, *group;
    size_t n, cap;
} windows;

static lmb_status reserve(windows *w, size_t more, lmb_error *err)
{
    size_t bytes = sizeof(float) * CHANNELS * (size_t)w->c->window, cap = w->cap;

    if (w->n + more <= cap)
        return LMB_OK;
    while (cap < w->n + more)
        cap = cap ? 2 * cap : 1024;
    float *x = realloc(w->x, cap * bytes);
    w->x = x ? x : w->x;
    int32_t *label = realloc(w->label, cap * sizeof *label), *group = NULL;
    w->label = label ? label : w->label;
    group = realloc(w->group, cap * sizeof *group);
    w->group = group ? group : w->group;
    if (!x || !label || !group)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu windows", cap);
    w->cap = cap;
    return LMB_OK;
}

/* One row of labels.txt: experiment, person, activity, first, last. */
static lmb_status add_segment(windows *w, const double *row, const table *acc, const table *gyro, lmb_error *err)
{
    size_t window = (size_t)w->c->window, step = (size_t)w->c->step, first = (size_t)row[3] - 1, last = (size_t)row[4];

    if (last > acc->rows || last > gyro->rows)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: experiment %g has a label up to reading %zu, but its files have %zu "
                        "and %zu readings; fetch them again", w->dir, row[0], last, acc->rows, gyro->rows);
    if (last - first < window || (row[2] > BASIC && !w->c->transitions))
        return LMB_OK;
    LMB_TRY(reserve(w, (last - first - window) / step + 1, err));
    for (size_t at = first; at + window <= last; at += step, w->n++) {
        float *x = w->x + w->n * CHANNELS * window;
        for (size_t a = 0; a < AXES; a++)
            for (size_t t = 0; t < window; t++) {
                x[a * window + t] = (float)acc->v[(at + t) * AXES + a];
                x[(AXES + a) * window + t] = (float)gyro->v[(at + t) * AXES + a];
            }
        w->label[w->n] = (int32_t)row[2] - 1;
        w->group[w->n] = (int32_t)row[1];
    }
    return LMB_OK;
}

static bool in_part(const windows *w, double person)
{
    bool test = false;
    for (int i = 0; i < w->c->test_subjects.n; i++)
        test |= (double)w->c->test_subjects.v[i] == person;
    return test == (w->part == LMB_PART_TEST);
}

static lmb_status read_signal(const windows *w, const char *sensor, const double *row, table *out, lmb_error *err)
{
    char name[64], path[1100];
    snprintf(name, sizeof name, "%s_exp%02d_user%02d.txt", sensor, (int)row[0], (int)row[1]);
    LMB_TRY(lmb_path_join(path, sizeof path, w->dir, name, err));
    return read_table(path, AXES, out, err);
}

/* All segments of the experiment that starts at `row`; *used is how many rows they are. */
static lmb_status add_experiment(windows *w, const double *row, size_t rows, size_t *used, lmb_error *err)
{
    table acc, gyro;
    size_t n = 1;

    while (n < rows && row[5 * n] == row[0] && row[5 * n + 1] == row[1])
        n++;
    *used = n;
    if (!in_part(w, row[1]))
        return LMB_OK;
    LMB_TRY(read_signal(w, "acc", row, &acc, err));
    lmb_status st = read_signal(w, "gyro", row, &gyro, err);
    if (st == LMB_OK) {
        for (size_t i = 0; i < n && st == LMB_OK; i++)
            st = add_segment(w, row + 5 * i, &acc, &gyro, err);
        free(gyro.v);
    }
    free(acc.v);
    return st;
}

static lmb_status check_labels(const char *path, const table *labels, lmb_error *err)
{
    for (size_t i = 0; i < labels->rows; i++) {
        const double *r = labels->v + 5 * i;
        bool whole = true;
        for (int c = 0; c < 5; c++)
            whole &= r[c] == floor(r[c]) && r[c] >= 1 && r[c] <= 1e9;
        if (!whole || r[0] > 999 || r[1] > 999 || r[2] > ALL || r[3] > r[4])
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: line %zu (%g %g %g %g %g) is not experiment, person, activity in "
                            "[1, %d], first and last reading; fetch the file again", path, i + 1, r[0], r[1], r[2],
                            r[3], r[4], ALL);
    }
    return LMB_OK;
}

/* The set comes as <path>/RawData or <path>/Raw-Data; `path` may also be that folder itself. */
static lmb_status find_dir(windows *w, char *labels, size_t cap, lmb_error *err)
{
    static const char *const names[] = { "RawData", "Raw-Data", "." };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        LMB_TRY(lmb_path_join(w->dir, sizeof w->dir, w->c->path, names[i], err));
        LMB_TRY(lmb_path_join(labels, cap, w->dir, "labels.txt", err));
        if (lmb_file_exists(labels))
            return LMB_OK;
    }
    return LMB_FAIL(err, LMB_E_IO, "%s: there is no RawData/labels.txt here; unpack the UCI set 'Smartphone-Based "
                    "Recognition of Human Activities and Postural Transitions' and set the data set's path",
                    w->c->path);
}

static lmb_status collect(windows *w, lmb_error *err)
{
    char path[1100];
    table labels;

    LMB_TRY(find_dir(w, path, sizeof path, err));
    LMB_TRY(read_table(path, 5, &labels, err));
    lmb_status st = check_labels(path, &labels, err);
    for (size_t i = 0, used = 0; i < labels.rows && st == LMB_OK; i += used)
        st = add_experiment(w, labels.v + 5 * i, labels.rows - i, &used, err);
    free(labels.v);
    if (st == LMB_OK && w->n == 0)
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: no window of %lld readings fits in the %s part's segments; use a shorter "
                      "window, or other test_subjects", w->dir, (long long)w->c->window, lmb_part_names[w->part]);
    return st;
}

static lmb_status open_hapt(const void *config_, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    windows w = { .c = config_, .part = part };
    lmb_status st = collect(&w, err);

    if (st != LMB_OK) {
        free(w.x);
        free(w.label);
        free(w.group);
        return st;
    }
    const lmb_dataset_arrays a = { .samples = w.x, .labels = w.label, .groups = w.group, .n = (int64_t)w.n,
                                   .shape = LMB_SHAPE(CHANNELS, w.c->window), .dtype = LMB_F32,
                                   .classes = w.c->transitions ? ALL : BASIC, .class_names = class_names };
    return lmb_dataset_memory(&a, w.dir, out, err);
}

const lmb_dataset_format lmb_dataset_hapt = {
    .name = "hapt",
    .summary = "windows of phone signals: 30 people, 6 or 12 activities",
    .source = "Reyes-Ortiz et al. 2016",
    .fields = fields,
    .config_size = sizeof(config),
    .open = open_hapt,
};
