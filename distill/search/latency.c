/* distill/search/latency.c - see latency.h. */
#include "distill/search/latency.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "distill/search/deployed.h"
#include "distill/search/lines.h"

enum { AGAIN = 9 }; /* times that a machine which seems slow is looked at */
static const double NOISE = 0.05;

typedef struct row {
    char *key;
    double us;
    bool doubted; /* it may have been measured while the machine was slow */
} row;

struct lmb_latency {
    char *path;
    bool frozen, begun; /* begun: its first line is there */
    bool asked;         /* the timer was there, and fits */
    lmb_timer timer;
    lmb_timer_here here;
    lmb_timer_about about;
    row *row;           /* in the order of their keys */
    size_t n, room;
};

/* ---- the table ---- */

/* Where the key is, or belongs. */
static size_t place(const lmb_latency *t, const char *key, bool *there)
{
    size_t lo = 0, hi = t->n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (strcmp(t->row[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *there = lo < t->n && strcmp(t->row[lo].key, key) == 0;
    return lo;
}

static lmb_status insert(lmb_latency *t, const char *key, double us, lmb_error *err)
{
    bool there;
    size_t at = place(t, key, &there);

    if (there) { /* what only slows down a machine has no say */
        t->row[at].us = fmin(t->row[at].us, us);
        t->row[at].doubted = false;
        return LMB_OK;
    }
    if (t->n == t->room) {
        size_t room = 2 * t->room + 64;
        row *more = realloc(t->row, room * sizeof *more);
        if (!more)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu latencies", room);
        t->row = more;
        t->room = room;
    }
    char *copy = strdup(key);
    if (!copy)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a latency");
    memmove(t->row + at + 1, t->row + at, (t->n - at) * sizeof *t->row);
    t->row[at] = (row){ copy, us, false };
    t->n++;
    return LMB_OK;
}

/* Whose table it is. What a device is, it says when it is there. */
static lmb_status check_machine(const lmb_latency *t, const lmb_timer_about *had, lmb_error *err)
{
    const char *device = t->timer.device ? t->timer.device : "";

    if (strcmp(had->device, device) != 0 && (!t->frozen || t->timer.device))
        return LMB_FAIL(err, LMB_E_ARG,
                        "measured on %s%.63s, and this search measures on %s%.63s: name another file for its table",
                        *had->device ? "the device " : "the machine that searched", had->device,
                        *device ? "the device " : "its own machine", device);
    if (t->frozen || t->timer.device || strcmp(had->kernels, t->about.kernels) == 0)
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_ARG,
                    "measured with the kernels %.30s; this machine's are %s: name another file, or freeze the table",
                    had->kernels, t->about.kernels);
}

static void doubt_all(lmb_latency *t)
{
    for (size_t i = 0; i < t->n; i++)
        t->row[i].doubted = true;
}

static lmb_status read_machine(lmb_latency *t, const lmb_tree *line, lmb_error *err)
{
    lmb_timer_about had;

    LMB_TRY(lmb_timer_about_read(line, &had, err));
    LMB_TRY(check_machine(t, &had, err));
    t->about = had;
    t->begun = true;
    return LMB_OK;
}

static lmb_status read_row(void *ctx, const lmb_tree *line, lmb_error *err)
{
    lmb_latency *t = ctx;
    const char *key;
    double us;

    if (!t->begun || lmb_tree_get(line, "kernels")) /* two searches may have begun it at once */
        return read_machine(t, line, err);
    if (lmb_tree_get(line, "doubted")) {
        if (!t->frozen)
            doubt_all(t);
        return LMB_OK;
    }
    LMB_TRY(lmb_line_text(line, "op", &key, err));
    LMB_TRY(lmb_line_real(line, "us", &us, err));
    if (!(us > 0 && us < 1e12))
        return LMB_FAIL(err, LMB_E_FORMAT, "%.100s takes %g us", key, us);
    return insert(t, key, us, err);
}

/* All that is in the table may be too much; the file says so, too. */
static lmb_status doubt(lmb_latency *t, lmb_error *err)
{
    lmb_str line = LMB_STR_INIT;

    doubt_all(t);
    lmb_str_add(&line, "{\"doubted\": true}");
    lmb_status st = lmb_lines_add(t->path, &line, err);
    lmb_str_free(&line);
    return st;
}

static lmb_status add(lmb_latency *t, const char *key, double us, lmb_error *err)
{
    lmb_str line = LMB_STR_INIT;
    lmb_status st = LMB_OK;

    if (!t->begun) {
        lmb_timer_about_write(&t->about, &line);
        st = lmb_lines_add(t->path, &line, err);
        t->begun = st == LMB_OK;
        lmb_str_clear(&line);
    }
    lmb_str_add(&line, "{\"op\": ");
    lmb_str_add_json(&line, key);
    lmb_str_add(&line, ", \"us\": ");
    lmb_str_add_number(&line, us);
    lmb_str_add(&line, "}");
    if (st == LMB_OK)
        st = lmb_lines_add(t->path, &line, err);
    lmb_str_free(&line);
    return st == LMB_OK ? insert(t, key, us, err) : st;
}

lmb_status lmb_latency_open(const char *path, bool frozen, const lmb_timer *timer, lmb_latency **out, lmb_error *err)
{
    lmb_latency *t = calloc(1, sizeof *t);

    if (!t || !(t->path = strdup(path))) {
        free(t);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a table of latencies");
    }
    t->frozen = frozen;
    lmb_status st = LMB_OK;
    if (timer)
        t->timer = *timer;
    else if (!frozen) {
        t->timer = lmb_timer_of(&t->here);
        st = t->timer.ready(t->timer.ctx, &t->about, err);
        t->asked = true;
    }
    if (st == LMB_OK && frozen && !lmb_file_exists(path))
        st = LMB_FAIL(err, LMB_E_ARG, "the latency table %s is to be frozen and is not there; measure one first", path);
    if (st == LMB_OK)
        st = lmb_lines_read(path, LMB_LINES_MEASURED, read_row, t, err);
    if (st != LMB_OK) {
        lmb_latency_close(t);
        return st;
    }
    *out = t;
    return LMB_OK;
}

void lmb_latency_close(lmb_latency *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        free(t->row[i].key);
    free(t->row);
    free(t->path);
    free(t);
}

bool lmb_latency_frozen(const lmb_latency *t) { return t->frozen; }
const lmb_timer_about *lmb_latency_about(const lmb_latency *t) { return &t->about; }

lmb_status lmb_latency_ready(lmb_latency *t, lmb_error *err)
{
    lmb_timer_about now;

    if (t->frozen || !t->timer.device)
        return LMB_OK;
    LMB_TRY(t->timer.ready(t->timer.ctx, &now, err));
    if ((t->begun || t->asked) &&
        (strcmp(now.kernels, t->about.kernels) != 0 || strcmp(now.processor, t->about.processor) != 0))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "the device %s is %.95s with the kernels %.30s; %.200s was measured on %.95s with %.30s: name another "
            "file for its table",
            t->timer.device, now.processor, now.kernels, t->path, t->about.processor, t->about.kernels);
    t->about = now;
    t->asked = true;
    return LMB_OK;
}

/* ---- measuring ---- */

void lmb_latency_key(const lmb_edge_model *m, uint32_t i, char key[LMB_LATENCY_KEY])
{
    lmb_edge_op op;
    lmb_edge_tensor x, y;
    char geometry[80] = "";

    lmb_edge_op_at(m, i, &op);
    lmb_edge_tensor_at(m, op.in[0], &x);
    lmb_edge_tensor_at(m, i + 1, &y);
    if (op.kind == LMB_EDGE_CONV || op.kind == LMB_EDGE_MAX_POOL)
        snprintf(geometry, sizeof geometry, " k%ux%u s%ux%u d%ux%u p%u,%u,%u,%u g%u", op.kernel[0], op.kernel[1],
                 op.stride[0], op.stride[1], op.dilation[0], op.dilation[1], op.pads[0], op.pads[1], op.pads[2],
                 op.pads[3], op.groups);
    else if (op.n_in > 1)
        snprintf(geometry, sizeof geometry, " of %u", op.n_in);
    snprintf(key, LMB_LATENCY_KEY, "%s %ux%ux%u to %ux%ux%u%s int8", lmb_edge_kind_name(op.kind), x.h, x.w, x.c, y.h,
             y.w, y.c, geometry);
}

/* A model that is measured: the timer holds it from the first op on that is. */
typedef struct bench {
    const lmb_deployed *d;
    void *held;
    double slow;
} bench;

static lmb_status begin(lmb_latency *t, bench *b, lmb_error *err)
{
    if (!t->asked)
        LMB_TRY(lmb_latency_ready(t, err));
    return t->timer.begin(t->timer.ctx, b->d, &b->held, err);
}

static void end(lmb_latency *t, bench *b)
{
    if (b->held)
        t->timer.end(t->timer.ctx, b->held);
}

static lmb_status time_op(lmb_latency *t, const bench *b, uint32_t op, double *us, lmb_error *err)
{
    return t->timer.op(t->timer.ctx, b->held, op, us, err);
}

/* How slow the machine is now against when the table was measured: the dearest op of the model that the table has,
 * again. A few per cent are noise. Faster than then: lmb_latency_whole will see it and put the table right, for in the
 * middle of a step no number may move. */
static lmb_status slowness(lmb_latency *t, bench *b, lmb_error *err)
{
    const lmb_edge_model *m = &b->d->model;
    char key[LMB_LATENCY_KEY];
    double most = 0, us = 0;
    uint32_t op = 0;
    bool there;

    b->slow = 1;
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmb_latency_key(m, i, key);
        size_t at = place(t, key, &there);
        if (there && !t->row[at].doubted && t->row[at].us > most) {
            most = t->row[at].us;
            op = i;
        }
    }
    if (!(most > 0))
        return LMB_OK;
    LMB_TRY(time_op(t, b, op, &us, err));
    double now = us / most;
    for (int i = 0; i < AGAIN && now >= 1 + NOISE; i++) { /* it may have been disturbed for that moment alone */
        lmbi_measure_rest();
        LMB_TRY(time_op(t, b, op, &us, err));
        now = fmin(now, us / most);
    }
    b->slow = now < 1 + NOISE ? 1 : now;
    return LMB_OK;
}

/* An op that the table does not have, or that is doubted. */
static lmb_status measure_row(lmb_latency *t, const char *key, uint32_t op, bench *b, lmb_error *err)
{
    bool there;
    double us;

    if (!b->held) {
        LMB_TRY(begin(t, b, err));
        LMB_TRY(slowness(t, b, err));
    }
    LMB_TRY(time_op(t, b, op, &us, err));
    size_t at = place(t, key, &there);
    if (there && us >= t->row[at].us) {
        t->row[at].doubted = false;
        return LMB_OK;
    }
    return add(t, key, there ? us : us / b->slow, err);
}

lmb_status lmb_latency_ops(lmb_latency *t, const lmb_deployed *d, double *us, double *sum, lmb_error *err)
{
    char key[LMB_LATENCY_KEY];
    bench b = { d, NULL, 1 };
    lmb_status st = LMB_OK;

    *sum = 0;
    for (uint32_t i = 0; i < d->model.n_ops && st == LMB_OK; i++) {
        bool there;
        lmb_latency_key(&d->model, i, key);
        size_t at = place(t, key, &there);
        if (!there && t->frozen)
            st = LMB_FAIL(err, LMB_E_UNSUPPORTED,
                          "the latency table %s has no %s, and nothing is measured now: put it back as it was, or "
                          "measure that before it is frozen",
                          t->path, key);
        else if (!there || t->row[at].doubted)
            st = measure_row(t, key, i, &b, err);
        if (st != LMB_OK)
            break;
        double v = t->row[place(t, key, &there)].us;
        *sum += v;
        if (us)
            us[i] = v;
    }
    end(t, &b);
    return st;
}

/* A model takes no less than its ops: they were measured in a slow moment. */
static lmb_status measure_again(lmb_latency *t, const bench *b, double deadline, lmb_timing *out, lmb_error *err)
{
    lmb_timing again;
    double sum;

    LMB_TRY(doubt(t, err));
    LMB_TRY(lmb_latency_ops(t, b->d, NULL, &sum, err));
    LMB_TRY(t->timer.whole(t->timer.ctx, b->held, sum, deadline, &again, err));
    if (out->p50 <= again.p50) {
        again.p50 = out->p50;
        again.throughput = out->throughput;
    }
    *out = again; /* whose tail is that of all runs */
    return LMB_OK;
}

lmb_status lmb_latency_whole(lmb_latency *t, const lmb_deployed *d, double deadline, lmb_timing *out, lmb_error *err)
{
    bench b = { d, NULL, 1 };
    double sum;

    LMB_TRY(lmb_latency_ops(t, d, NULL, &sum, err));
    if (t->frozen) {
        *out = (lmb_timing){ sum, sum, 1e6 / sum, deadline > 0 && sum > deadline, 0 };
        return LMB_OK;
    }
    LMB_TRY(begin(t, &b, err));
    lmb_status st = t->timer.whole(t->timer.ctx, b.held, sum, deadline, out, err);
    if (st == LMB_OK && out->p50 * (1 + NOISE) < sum)
        st = measure_again(t, &b, deadline, out, err);
    if (st == LMB_OK)
        st = t->timer.energy(t->timer.ctx, b.held, out, err);
    end(t, &b);
    return st;
}
