/* launch/cmd_bench.c - `limbeck bench`: where the time of a plan goes, step by step, against what the processor can do.
 *
 * The plan runs on random input until --seconds are over. Each step is charged its shortest run, which other
 * processes disturb least; the throughput printed last comes from the median of whole runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/random.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "core/onnx/onnx.h"
#include "core/passes/fold.h"
#include "launch/job.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck bench CONFIG.yaml|MODEL.onnx [--stage NAME] [--train] [--batch N] [--backend NAME] [--seconds S]\n"
    "                     [--shape C,H,W --classes N] [--brief] [--set key=value ...]\n\n"
    "Runs the plan of a model on one thread with random input and prints a row a step: kernel, node, shape, microseconds,\n"
    "share of the whole, GFLOP/s and their share of the processor's peak, which is measured first. --train: forward, loss and\n"
    "backward of a training step in train.precision; otherwise inference with BatchNormalization folded and weights prepared. --shape and\n"
    "--classes: do not open the configuration's data set.\n"
    "--brief: only the last line, `images/s N`. --batch is 1 unless given (32 with --train).\n";

enum { MAX_RUNS = 100000 };

/* What runs: an inference plan, or a program's training step. */
typedef struct bench {
    lmb_plan *plan;      /* borrowed from `program` when training */
    lmb_program *program;
    lmb_program_step step;
    float *x, *state, *out;
    int64_t *labels;
    lmb_graph *g;
    lmb_dtype products;  /* of the kernels, for the peak */
} bench;

static void bench_free(bench *b)
{
    if (!b->program)
        lmb_plan_destroy(b->plan);
    lmb_program_destroy(b->program);
    lmb_graph_destroy(b->g);
    free(b->x);
    free(b->state);
    free(b->out);
    free(b->labels);
}

static lmb_status random_input(bench *b, int64_t count, lmb_error *err)
{
    lmb_rand r = lmb_rand_at(1, LMB_RAND_SYNTHETIC, 0, 0);

    b->x = malloc(sizeof *b->x * (size_t)(count + 1));
    if (!b->x)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld numbers of input", (long long)count);
    for (int64_t i = 0; i < count; i++)
        b->x[i] = 255 * lmb_rand_uniform(&r, (uint32_t)i);
    return LMB_OK;
}

static lmb_status prepare_training(bench *b, const lmb_graph *model, const lmb_backend *const *backends, int64_t batch,
                                   double *smoothing, lmb_error *err)
{
    static const lmb_step_info info = { 1, 0, NULL };
    const lmb_loss loss = { lmb_loss_cross_entropy, smoothing };
    const lmb_plan *plan = NULL;

    LMB_TRY(lmb_program_create(model, &loss, backends, &b->program, err));
    LMB_TRY(lmb_program_plan(b->program, batch, &plan, err));
    b->plan = (lmb_plan *)plan; /* the program is ours */
    const lmb_state_layout *l = lmb_program_layout(b->program);
    b->state = malloc(sizeof *b->state * (l->count + 1));
    b->out = malloc(sizeof *b->out * (l->count + 1));
    b->labels = malloc(sizeof *b->labels * (size_t)batch);
    if (!b->state || !b->out || !b->labels)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the model's state");
    lmb_state_from_graph(l, model, b->state);
    for (int64_t i = 0; i < batch; i++)
        b->labels[i] = i % lmb_program_classes(b->program);
    b->step = (lmb_program_step){ .n = batch, .x = b->x, .y = b->labels, .state = b->state, .out = b->out, .info = &info };
    return LMB_OK;
}

static lmb_status prepare(bench *b, const lmb_graph *model, const lmb_args *a, lmb_train_config *train, int64_t batch, lmb_error *err)
{
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    lmb_vid in = lmb_graph_input(model, 0);

    train->backend = lmb_args_get(a, "backend", train->backend);
    LMB_TRY(lmb_args_get(a, "train", NULL) ? lmb_train_backends(train, backends, err) : lmb_cpu_backends(train->backend, backends, err));
    if (in == LMB_NONE || lmb_graph_input(model, 1) != LMB_NONE || model->value[in].dtype != LMB_F32 ||
        model->value[in].shape.n < 1 || model->value[in].shape.d[0] < 1)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "only models with one f32 input of samples can be measured");
    LMB_TRY(random_input(b, lmb_shape_count(&model->value[in].shape) / model->value[in].shape.d[0] * batch, err));
    b->products = lmb_args_get(a, "train", NULL) && train->precision == LMB_TRAIN_BF16 ? LMB_BF16 : LMB_F32;
    if (lmb_args_get(a, "train", NULL))
        return prepare_training(b, model, backends, batch, &train->label_smoothing, err);
    lmb_plan_options o = { .backends = backends };
    LMB_TRY(lmb_pass_deploy(model, NULL, batch, &b->g, err));
    LMB_TRY(lmb_plan_compile(b->g, &o, &b->plan, err));
    return lmb_plan_bind(b->plan, lmb_graph_input(b->g, 0), b->x, err);
}

static lmb_status once(bench *b, lmb_error *err)
{
    return b->program ? lmb_program_run(b->program, &b->step, err) : lmb_plan_run(b->plan, NULL, err);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Run for `seconds`; *median of a whole run. */
static lmb_status measure(bench *b, double seconds, double *median, lmb_error *err)
{
    double *time = malloc(sizeof *time * MAX_RUNS), end;
    int n = 0;
    lmb_status st = LMB_OK;

    if (!time)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for measurements");
    for (int i = 0; i < 2 && st == LMB_OK; i++) /* touch all memory */
        st = once(b, err);
    for (end = lmb_seconds() + seconds; st == LMB_OK && n < MAX_RUNS && (n < 3 || lmb_seconds() < end);) {
        double t = lmb_seconds();
        st = once(b, err);
        time[n++] = lmb_seconds() - t;
    }
    qsort(time, (size_t)n, sizeof *time, by_value);
    *median = n ? time[n / 2] : 0;
    free(time);
    return st;
}

static void print_steps(const lmb_plan *p, double peak)
{
    char shape[LMB_SHAPE_TEXT];
    double all = 0, flops = 0;

    for (int i = 0; i < lmb_plan_steps(p); i++)
        all += lmb_plan_step_at(p, i).best;
    printf("%4s  %-24s %-36s %-18s %10s %7s %9s %7s\n", "step", "kernel", "node", "output", "us", "share", "GFLOP/s", "peak");
    for (int i = 0; i < lmb_plan_steps(p); i++) {
        lmb_plan_step s = lmb_plan_step_at(p, i);
        double rate = s.best > 0 ? s.cost.flops / s.best : 0;
        bool plain = strcmp(s.kernel, "reference") == 0;
        flops += s.cost.flops;
        printf("%4d  %-24s %-36.36s %-18s %10.1f %6.1f%% %9.1f %6.1f%%%s%s\n", i, s.kernel, s.node,
               lmb_shape_text(&s.shape, shape, sizeof shape), 1e6 * s.best, 100 * s.best / all, rate / 1e9, 100 * rate / peak,
               plain && s.refused ? "  " : "", plain && s.refused ? s.refused : "");
    }
    printf("%4s  %-24s %-36s %-18s %10.1f %6.1f%% %9.1f %6.1f%%\n", "", "", "", "all", 1e6 * all, 100.0, flops / all / 1e9,
           100 * flops / all / peak);
}

typedef struct group { const char *kernel; int n; double seconds, flops; } group;

static int by_time(const void *a, const void *b)
{
    const group *x = a, *y = b;
    return x->seconds > y->seconds ? -1 : x->seconds < y->seconds;
}

/* The same by kernel, the slowest first. */
static void print_groups(const lmb_plan *p, double peak)
{
    group g[64];
    int n = 0;
    double all = 0;

    for (int i = 0; i < lmb_plan_steps(p); i++) {
        lmb_plan_step s = lmb_plan_step_at(p, i);
        const char *name = strcmp(s.kernel, "reference") == 0 && s.op ? s.op : s.kernel;
        int k = 0;
        while (k < n && strcmp(g[k].kernel, name) != 0)
            k++;
        if (k == LMB_COUNT(g))
            continue;
        if (k == n)
            g[n++] = (group){ .kernel = name };
        g[k].n++;
        g[k].seconds += s.best;
        g[k].flops += s.cost.flops;
        all += s.best;
    }
    qsort(g, (size_t)n, sizeof *g, by_time);
    printf("\n%-24s %6s %10s %7s %9s %7s\n", "kernel", "steps", "us", "share", "GFLOP/s", "peak");
    for (int i = 0; i < n; i++)
        printf("%-24s %6d %10.1f %6.1f%% %9.1f %6.1f%%\n", g[i].kernel, g[i].n, 1e6 * g[i].seconds, 100 * g[i].seconds / all,
               g[i].flops / g[i].seconds / 1e9, 100 * g[i].flops / g[i].seconds / peak);
}

static lmb_status report(bench *b, const lmb_args *a, int64_t batch, lmb_error *err)
{
    bool brief = lmb_args_get(a, "brief", NULL) != NULL;
    double median = 0, seconds = atof(lmb_args_get(a, "seconds", "1")), peak = brief ? 0 : lmb_cpu_peak(b->products);

    if (!(seconds > 0 && seconds <= 3600))
        return LMB_FAIL(err, LMB_E_ARG, "--seconds %s; it must be in (0, 3600]", lmb_args_get(a, "seconds", ""));
    lmb_plan_timing(b->plan, !brief);
    LMB_TRY(measure(b, seconds, &median, err));
    if (!brief) {
        lmb_plan_info info = lmb_plan_describe(b->plan);
        print_steps(b->plan, peak);
        print_groups(b->plan, peak);
        printf("\npeak %.1f GFLOP/s in %s; %.3f ms a run of %lld samples; %d conversions; arena %zu bytes\n", peak / 1e9,
               lmb_dtype_name(b->products), 1e3 * median, (long long)batch, info.conversions, info.arena_bytes);
    }
    printf("images/s %.1f\n", (double)batch / median);
    return LMB_OK;
}

/* --shape C,H,W */
static lmb_status parse_shape(const char *text, lmb_shape *out, lmb_error *err)
{
    const char *at = text;
    char *end = NULL;

    *out = (lmb_shape){ 0 };
    for (;;) {
        long long v = strtoll(at, &end, 10);
        if (end == at || v < 1 || v > 65536 || out->n == 3 || (*end && *end != ','))
            return LMB_FAIL(err, LMB_E_ARG, "--shape %s; it must be up to three numbers in [1, 65536], as 3,32,32", text);
        out->d[out->n++] = v;
        if (!*end)
            return LMB_OK;
        at = end + 1;
    }
}

static lmb_status build(lmb_job *j, const lmb_args *a, lmb_graph **model, lmb_error *err)
{
    const char *shape = lmb_args_get(a, "shape", NULL);
    int64_t classes;
    lmb_shape s;

    if (shape) {
        LMB_TRY(lmb_args_int(a, "classes", 10, 2, 1000000, &classes, err));
        LMB_TRY(parse_shape(shape, &s, err));
        return lmb_model_build(j->stage.model, &s, (int)classes, 1, model, err);
    }
    LMB_TRY(lmb_job_data(j, err));
    return lmb_model_build(j->stage.model, &j->all->shape, j->all->classes, 1, model, err);
}

static lmb_status bench_model(const lmb_graph *model, const lmb_args *a, lmb_train_config *train, lmb_error *err)
{
    int64_t batch;
    bench b = { 0 };

    LMB_TRY(lmb_args_int(a, "batch", lmb_args_get(a, "train", NULL) ? 32 : 1, 1, 65536, &batch, err));
    lmb_status st = prepare(&b, model, a, train, batch, err);
    if (st == LMB_OK)
        st = report(&b, a, batch, err);
    bench_free(&b);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "!train", "batch", "backend", "seconds", "shape", "classes", "!brief", NULL };
    lmb_graph *model = NULL;
    lmb_args a;
    lmb_job j;
    lmb_status st;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration or one .onnx file; --help explains");
    size_t n = strlen(a.word[0]);
    if (n > 5 && strcmp(a.word[0] + n - 5, ".onnx") == 0) {
        LMB_TRY(lmb_onnx_read(a.word[0], NULL, &model, err));
        lmb_train_config train = { .backend = "cpu" };
        st = bench_model(model, &a, &train, err);
    } else {
        LMB_TRY(lmb_job_open(a.word[0], &a, lmb_args_get(&a, "stage", NULL), &j, err));
        st = build(&j, &a, &model, err);
        if (st == LMB_OK)
            st = bench_model(model, &a, &j.stage.train, err);
        lmb_job_close(&j);
    }
    lmb_graph_destroy(model);
    return st;
}

const lmb_cmd lmb_cmd_bench = { "bench", "time of every step of a plan, against the processor's peak", usage, run };
