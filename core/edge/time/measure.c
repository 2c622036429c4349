/* core/edge/time/measure.c - see measure.h. */
#include "core/edge/time/measure.h"

#include <stdlib.h>
#include <time.h>

enum { SAMPLES = 31, RUNS = 301, REPEATS = 3, WHOLES = 9, RETRIES = 30, REST_NS = 20000000 };
static const double SAMPLE_S = 20e-6, REPEAT_S = 2, MUCH = 1.15, ENERGY_S = 0.33;

/* As core/base/threads.h has it, which devices do not have. */
static double lmb_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double lmbi_measure_whole_s(double sum) { return RETRIES * (1e-6 * RUNS * sum + 1e-9 * REST_NS); }

void lmbi_measure_rest(void) { nanosleep(&(struct timespec){ 0, REST_NS }, NULL); }

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

void lmbi_bench_free(lmbi_bench *b)
{
    free(b->arena);
    free(b->input);
    free(b->output);
    free(b->run);
}

bool lmbi_bench_make(const lmb_edge_model *m, lmbi_bench *b)
{
    lmb_edge_tensor x, y;

    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    *b = (lmbi_bench){ calloc(1, lmb_edge_arena_bytes(m)), calloc(1, (size_t)x.bytes + 1),
                       calloc(1, (size_t)y.bytes + 4), malloc(2 * RETRIES * RUNS * sizeof *b->run), 0 };
    if (b->arena && b->input && b->output && b->run && lmb_edge_run(m, b->arena, b->input, b->output) == LMB_EDGE_OK)
        return true;
    lmbi_bench_free(b);
    return false;
}

static double seconds_of(const lmb_edge_model *m, const lmbi_bench *b, uint32_t op, uint32_t times)
{
    double start = lmb_seconds();
    (void)!lmb_edge_run_op(m, b->arena, op, times); /* the model ran when the bench was made */
    return lmb_seconds() - start;
}

double lmbi_measure_op(const lmb_edge_model *m, const lmbi_bench *b, uint32_t op)
{
    double sample[SAMPLES], best = 0;
    uint32_t times = 1;

    while (times < 1 << 20 && seconds_of(m, b, op, times) < SAMPLE_S)
        times *= 2;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = lmb_seconds();
        int n = 0;
        while (n < SAMPLES && (n == 0 || lmb_seconds() - start < REPEAT_S))
            sample[n++] = seconds_of(m, b, op, times) / times;
        qsort(sample, (size_t)n, sizeof *sample, by_time);
        if (repeat == 0 || sample[n / 2] < best)
            best = sample[n / 2];
    }
    return 1e6 * best + 1e-6; /* a clock that stood still is no reason to divide by zero */
}

/* Of runs in the order of their length, in seconds. */
static lmb_timing timing_of(const double run[RUNS])
{
    double all = 0;

    for (int i = 0; i < RUNS; i++)
        all += run[i];
    return (lmb_timing){ .p50 = 1e6 * run[RUNS / 2] + 1e-6, .throughput = RUNS / (all + 1e-9) };
}

void lmbi_measure_tail(double *run, int n, double deadline, lmb_timing *out)
{
    int late = 0;

    qsort(run, (size_t)n, sizeof *run, by_time);
    for (int i = 0; i < n; i++)
        late += deadline > 0 && 1e6 * run[i] > deadline;
    out->p99 = 1e6 * run[(int64_t)n * 99 / 100];
    out->p99 = out->p99 < out->p50 ? out->p50 : out->p99; /* of a clock that stood still */
    out->missed = (double)late / n;
}

/* A busy machine is slow for a while, longer than a few runs take: they are measured again after a rest, and more often
 * as long as a run takes much longer than its ops do. */
void lmbi_measure_whole(const lmb_edge_model *m, lmbi_bench *b, double sum, lmb_timing *out)
{
    if (b->n_runs > RETRIES * RUNS) /* there is room for a question and for one more that doubts its answer */
        b->n_runs = 0;
    for (int repeat = 0; repeat < WHOLES || (repeat < RETRIES && out->p50 > MUCH * sum); repeat++) {
        double *run = b->run + b->n_runs;
        if (repeat > 0)
            lmbi_measure_rest();
        for (int i = 0; i < RUNS; i++) {
            double start = lmb_seconds();
            (void)!lmb_edge_run(m, b->arena, b->input, b->output);
            run[i] = lmb_seconds() - start;
        }
        b->n_runs += RUNS;
        qsort(run, RUNS, sizeof *run, by_time);
        if (repeat == 0 || 1e6 * run[RUNS / 2] < out->p50)
            *out = timing_of(run);
    }
}

/* What a third of a second of runs uses, and with it the processor's rest. */
void lmbi_measure_energy(lmb_energy *e, const lmb_edge_model *m, const lmbi_bench *b, lmb_timing *out)
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
