/* distill/search/latency.c - see latency.h. */
#include "distill/search/latency.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "distill/search/energy.h"
#include "distill/search/lines.h"

enum { SAMPLES = 31, RUNS = 301, REPEATS = 3, WHOLES = 9, RETRIES = 30, REST_NS = 20000000 };
static const double SAMPLE_S = 20e-6, NOISE = 0.05, MUCH = 1.15, ENERGY_S = 0.33;

typedef struct row {
    char *key;
    double us;
    bool doubted; /* it may have been measured while the machine was slow */
} row;

struct lmb_latency {
    char *path;
    bool frozen, begun; /* begun: its first line is there */
    char kernels[32];
    lmb_energy energy;  /* n 0: it can not be read */
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

static lmb_status read_row(void *ctx, const lmb_tree *line, lmb_error *err)
{
    lmb_latency *t = ctx;
    const char *key;
    double us;

    if (!t->begun) {
        LMB_TRY(lmb_line_text(line, "kernels", &key, err));
        if (!t->frozen && strcmp(key, t->kernels) != 0)
            return LMB_FAIL(
                err, LMB_E_ARG,
                "measured with the kernels %.30s; this machine's are %s: name another file, or freeze the table", key,
                t->kernels);
        t->begun = true;
        return LMB_OK;
    }
    LMB_TRY(lmb_line_text(line, "op", &key, err));
    LMB_TRY(lmb_line_real(line, "us", &us, err));
    if (!(us > 0 && us < 1e12))
        return LMB_FAIL(err, LMB_E_FORMAT, "%.100s takes %g us", key, us);
    return insert(t, key, us, err);
}

static lmb_status add(lmb_latency *t, const char *key, double us, lmb_error *err)
{
    lmb_str line = LMB_STR_INIT;
    lmb_status st = LMB_OK;

    if (!t->begun) {
        lmb_str_add(&line, "{\"kernels\": ");
        lmb_str_add_json(&line, t->kernels);
        lmb_str_add(&line, "}");
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

lmb_status lmb_latency_open(const char *path, bool frozen, lmb_latency **out, lmb_error *err)
{
    int usable = 0;
    lmb_latency *t = calloc(1, sizeof *t);

    if (!t || !(t->path = strdup(path))) {
        free(t);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a table of latencies");
    }
    char why[LMB_ENERGY_PATH + 80];
    t->frozen = frozen;
    if (!frozen && !lmb_energy_open(LMB_ENERGY_ROOT, &t->energy, why, sizeof why))
        t->energy.n = 0; /* who leaves a report says why */
    for (int i = 0; !usable && lmb_edge_kernels(i, &usable); i++) /* the first that runs here is what a model takes */
        snprintf(t->kernels, sizeof t->kernels, "%s", lmb_edge_kernels(i, &usable));
    lmb_status st = LMB_OK;
    if (frozen && !lmb_file_exists(path))
        st = LMB_FAIL(err, LMB_E_ARG, "the latency table %s is to be frozen and is not there; measure one first", path);
    if (st == LMB_OK)
        st = lmb_lines_read(path, read_row, t, err);
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

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* A model that can be run: memory, and input and output of zeros. */
typedef struct bench { void *arena, *input; float *output; } bench;

static void bench_free(bench *b)
{
    free(b->arena);
    free(b->input);
    free(b->output);
}

static lmb_status bench_make(const lmb_edge_model *m, bench *b, lmb_error *err)
{
    lmb_edge_tensor x, y;

    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    *b = (bench){ calloc(1, lmb_edge_arena_bytes(m)), calloc(1, (size_t)x.bytes + 1), calloc(1, (size_t)y.bytes + 4) };
    if (b->arena && b->input && b->output && lmb_edge_run(m, b->arena, b->input, b->output) == LMB_EDGE_OK)
        return LMB_OK;
    bench_free(b);
    return LMB_FAIL(err, LMB_E_NOMEM, "no memory to measure a model");
}

static double seconds_of(const lmb_edge_model *m, const bench *b, uint32_t op, uint32_t times)
{
    double start = lmb_seconds();
    (void)!lmb_edge_run_op(m, b->arena, op, times); /* the model ran when the bench was made */
    return lmb_seconds() - start;
}

static double measure_op(const lmb_edge_model *m, const bench *b, uint32_t op)
{
    double sample[SAMPLES], best = 0;
    uint32_t times = 1;

    while (times < 1 << 20 && seconds_of(m, b, op, times) < SAMPLE_S)
        times *= 2;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        for (int i = 0; i < SAMPLES; i++)
            sample[i] = seconds_of(m, b, op, times) / times;
        qsort(sample, SAMPLES, sizeof *sample, by_time);
        if (repeat == 0 || sample[SAMPLES / 2] < best)
            best = sample[SAMPLES / 2];
    }
    return 1e6 * best + 1e-6; /* a clock that stood still is no reason to divide by zero */
}

/* How slow the machine is now against when the table was measured: the dearest op of the model that the table has,
 * again. A few per cent are noise. Faster than then: lmb_latency_whole will see it and put the table right, for in the
 * middle of a step no number may move. */
static double slowness(const lmb_latency *t, const lmb_edge_model *m, const bench *b)
{
    char key[LMB_LATENCY_KEY];
    double most = 0;
    uint32_t op = 0;
    bool there;

    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmb_latency_key(m, i, key);
        size_t at = place(t, key, &there);
        if (there && !t->row[at].doubted && t->row[at].us > most) {
            most = t->row[at].us;
            op = i;
        }
    }
    double now = most > 0 ? measure_op(m, b, op) / most : 1;
    return now < 1 + NOISE ? 1 : now;
}

/* An op that the table does not have, or that is doubted. */
static lmb_status measure_row(lmb_latency *t, const char *key, const lmb_edge_model *m, uint32_t op, bench *b,
                              double *slow, lmb_error *err)
{
    bool there;

    if (!b->arena) {
        LMB_TRY(bench_make(m, b, err));
        *slow = slowness(t, m, b);
    }
    double us = measure_op(m, b, op) / *slow;
    size_t at = place(t, key, &there);
    if (there && us >= t->row[at].us) {
        t->row[at].doubted = false;
        return LMB_OK;
    }
    return add(t, key, us, err);
}

lmb_status lmb_latency_ops(lmb_latency *t, const lmb_edge_model *m, double *us, double *sum, lmb_error *err)
{
    char key[LMB_LATENCY_KEY];
    bench b = { 0 };
    double slow = 1;
    lmb_status st = LMB_OK;

    *sum = 0;
    for (uint32_t i = 0; i < m->n_ops && st == LMB_OK; i++) {
        bool there;
        lmb_latency_key(m, i, key);
        size_t at = place(t, key, &there);
        if (!there && t->frozen)
            st = LMB_FAIL(err, LMB_E_UNSUPPORTED, "the frozen latency table %s has no %s", t->path, key);
        else if (!there || t->row[at].doubted)
            st = measure_row(t, key, m, i, &b, &slow, err);
        if (st != LMB_OK)
            break;
        double v = t->row[place(t, key, &there)].us;
        *sum += v;
        if (us)
            us[i] = v;
    }
    if (b.arena)
        bench_free(&b);
    return st;
}

/* Of runs in the order of their length, in seconds. */
static lmb_timing timing_of(const double run[RUNS], double deadline)
{
    lmb_timing t = { 1e6 * run[RUNS / 2], 1e6 * run[RUNS * 99 / 100], 0, 0, 0 };
    double all = 0;

    for (int i = 0; i < RUNS; i++) {
        all += run[i];
        t.missed += deadline > 0 && 1e6 * run[i] > deadline ? 1.0 / RUNS : 0;
    }
    t.throughput = RUNS / (all + 1e-9);
    return t;
}

/* A busy machine is slow for a while, longer than a few runs take: they are measured again after a rest, and more often
 * as long as a run takes much longer than its ops do. */
static void measure_whole(const lmb_edge_model *m, const bench *b, double sum, double deadline, lmb_timing *out)
{
    double run[RUNS];

    for (int repeat = 0; repeat < WHOLES || (repeat < RETRIES && out->p50 > MUCH * sum); repeat++) {
        if (repeat > 0)
            nanosleep(&(struct timespec){ 0, REST_NS }, NULL);
        for (int i = 0; i < RUNS; i++) {
            double start = lmb_seconds();
            (void)!lmb_edge_run(m, b->arena, b->input, b->output);
            run[i] = lmb_seconds() - start;
        }
        qsort(run, RUNS, sizeof *run, by_time);
        if (repeat == 0 || 1e6 * run[RUNS / 2] < out->p50)
            *out = timing_of(run, deadline);
    }
}

/* What a third of a second of runs uses, and with it the processor's rest. */
static void measure_energy(lmb_energy *e, const lmb_edge_model *m, const bench *b, lmb_timing *out)
{
    double before, after, start = lmb_seconds();
    int64_t runs = 0;

    if (e->n == 0 || !lmb_energy_read(e, &before))
        return;
    for (; lmb_seconds() - start < ENERGY_S; runs++)
        (void)!lmb_edge_run(m, b->arena, b->input, b->output);
    if (lmb_energy_read(e, &after))
        out->energy = (after - before) / (double)runs;
}

lmb_status lmb_latency_whole(lmb_latency *t, const lmb_edge_model *m, double deadline, lmb_timing *out, lmb_error *err)
{
    double sum;
    bench b;

    LMB_TRY(lmb_latency_ops(t, m, NULL, &sum, err));
    if (t->frozen) {
        *out = (lmb_timing){ sum, sum, 1e6 / sum, deadline > 0 && sum > deadline, 0 };
        return LMB_OK;
    }
    LMB_TRY(bench_make(m, &b, err));
    measure_whole(m, &b, sum, deadline, out);
    if (out->p50 * (1 + NOISE) < sum) { /* a model takes no less than its ops: they were measured in a slow moment */
        for (size_t i = 0; i < t->n; i++)
            t->row[i].doubted = true;
        lmb_status st = lmb_latency_ops(t, m, NULL, &sum, err);
        if (st != LMB_OK) {
            bench_free(&b);
            return st;
        }
        measure_whole(m, &b, sum, deadline, out);
    }
    measure_energy(&t->energy, m, &b, out);
    bench_free(&b);
    return LMB_OK;
}
