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
#include "launch/plan_cache.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck bench CONFIG.yaml|MODEL.onnx [--stage NAME] [--train] [--batch N] [--backend NAME] [--seconds S]\n"
    "                     [--shape C,H,W --classes N] [--plan-cache WHERE] [--brief] [--set key=value ...]\n\n"
    "Runs the plan of a model on one thread with random input and prints a row a step: kernel, node, shape, microseconds,\n"
    "share of the whole, GFLOP/s and their share of the processor's peak; megabytes of operands, operations a byte, and how near the\n"
    "step comes to its roof: the time that its arithmetic at peak or its bytes at the speed of memory would take at least (over 100 %\n"
    "where operands are still in a nearer cache). Peak and memory are measured first. --train: forward, loss and\n"
    "backward of a training step in train.precision; otherwise inference with BatchNormalization folded and weights prepared. --shape and\n"
    "--classes: do not open the configuration's data set.\n" LMB_PLAN_CACHE_USAGE
    "--brief: only the last line, `images/s N`. --batch is 1 unless given (32 with --train).\n";

enum { MAX_RUNS = 100000, MOST_ROOM = 256 << 20 };

/* What runs: an inference plan, or a program's training step. */
typedef struct bench {
    lmb_plan *plan;      /* borrowed from `program` when training */
    lmb_program *program;
    lmb_program_step step;
    float *x, *state, *out;
    int64_t *labels;
    lmb_graph *g;
    lmb_dtype products;  /* of the kernels, for the peak */
    lmb_choices *choices; /* or NULL */
} bench;

static void bench_free(bench *b)
{
    if (!b->program)
        lmb_plan_destroy(b->plan);
    lmb_program_destroy(b->program);
    lmb_choices_destroy(b->choices);
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
                                   lmb_train_config *train, lmb_error *err)
{
    static const lmb_step_info info = { 1, 0, NULL };
    const lmb_loss loss = { lmb_loss_cross_entropy, &train->label_smoothing };
    const lmb_plan *plan = NULL;
    size_t memory;

    LMB_TRY(lmb_train_memory(train, 1, &memory, err));
    LMB_TRY(lmb_program_create(model, &loss, backends, &b->program, err));
    lmb_program_choices(b->program, b->choices);
    lmb_program_memory(b->program, memory);
    LMB_TRY(lmb_program_plan(b->program, batch, false, &plan, err));
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
    b->step =
        (lmb_program_step){ .n = batch, .x = b->x, .y = b->labels, .state = b->state, .out = b->out, .info = &info };
    return LMB_OK;
}

static lmb_status prepare(bench *b, const lmb_graph *model, const lmb_args *a, lmb_train_config *train, int64_t batch,
                          lmb_error *err)
{
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    lmb_vid in = lmb_graph_input(model, 0);

    train->backend = lmb_args_get(a, "backend", train->backend);
    LMB_TRY(lmb_args_get(a, "train", NULL) ? lmb_train_backends(train, backends, err)
                                           : lmb_cpu_backends(train->backend, backends, err));
    if (in == LMB_NONE || lmb_graph_input(model, 1) != LMB_NONE || model->value[in].dtype != LMB_F32 ||
        model->value[in].shape.n < 1 || model->value[in].shape.d[0] < 1)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "only models with one f32 input of samples can be measured");
    LMB_TRY(random_input(b, lmb_shape_count(&model->value[in].shape) / model->value[in].shape.d[0] * batch, err));
    b->products = lmb_args_get(a, "train", NULL) && train->precision == LMB_TRAIN_BF16 ? LMB_BF16 : LMB_F32;
    if (lmb_args_get(a, "train", NULL))
        return prepare_training(b, model, backends, batch, train, err);
    lmb_plan_options o = { .backends = backends, .choices = b->choices };
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

/* What bounds a step: arithmetic at `peak`, or its operands, moved once, at `bandwidth`. */
typedef struct roof { double peak, bandwidth; } roof;

static double bound(const roof *r, double flops, double bytes)
{
    double a = flops / r->peak, b = r->bandwidth > 0 ? bytes / r->bandwidth : 0;
    return a > b ? a : b;
}

/* The columns that rows of steps, of kernels and of all have in common. `seconds` may be 0 for a step too short to be
 * measured. */
static void print_figures(const roof *r, double seconds, double all, double flops, double bytes)
{
    double rate = seconds > 0 ? flops / seconds : 0;
    printf(" %10.1f %6.1f%% %9.1f %6.1f%% %9.2f %8.1f %6.1f%%", 1e6 * seconds, all > 0 ? 100 * seconds / all : 0,
           rate / 1e9, 100 * rate / r->peak, bytes / 1e6, bytes > 0 ? flops / bytes : 0,
           seconds > 0 ? 100 * bound(r, flops, bytes) / seconds : 0);
}

static const char figures[] = "         us   share   GFLOP/s    peak        MB   flop/B    roof";

static void print_steps(const lmb_plan *p, const roof *r)
{
    char shape[LMB_SHAPE_TEXT];
    double all = 0, flops = 0, bytes = 0;

    for (int i = 0; i < lmb_plan_steps(p); i++)
        all += lmb_plan_step_at(p, i).best;
    printf("%4s  %-24s %-36s %-18s%s\n", "step", "kernel", "node", "output", figures);
    for (int i = 0; i < lmb_plan_steps(p); i++) {
        lmb_plan_step s = lmb_plan_step_at(p, i);
        bool plain = strcmp(s.kernel, "reference") == 0;
        flops += s.cost.flops;
        bytes += s.cost.bytes;
        printf("%4d  %-24s %-36.36s %-18s", i, s.kernel, s.node, lmb_shape_text(&s.shape, shape, sizeof shape));
        print_figures(r, s.best, all, s.cost.flops, s.cost.bytes);
        printf("%s%s\n", plain && s.refused ? "  " : "", plain && s.refused ? s.refused : "");
    }
    printf("%4s  %-24s %-36s %-18s", "", "", "", "all");
    print_figures(r, all, all, flops, bytes);
    printf("\n");
}

typedef struct group { const char *kernel; int n; double seconds, flops, bytes; } group;

static int by_time(const void *a, const void *b)
{
    const group *x = a, *y = b;
    return x->seconds > y->seconds ? -1 : x->seconds < y->seconds;
}

/* The same by kernel, the slowest first. */
static void print_groups(const lmb_plan *p, const roof *r)
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
        g[k].bytes += s.cost.bytes;
        all += s.best;
    }
    qsort(g, (size_t)n, sizeof *g, by_time);
    printf("\n%-24s %6s%s\n", "kernel", "steps", figures);
    for (int i = 0; i < n; i++) {
        printf("%-24s %6d", g[i].kernel, g[i].n);
        print_figures(r, g[i].seconds, all, g[i].flops, g[i].bytes);
        printf("\n");
    }
}

/* Products that only a reference kernel runs. */
static int references(const lmb_plan *p)
{
    int n = 0;
    for (int i = 0; i < lmb_plan_steps(p); i++) {
        lmb_plan_step s = lmb_plan_step_at(p, i);
        n += s.cost.macs > 0 && strcmp(s.kernel, "reference") == 0;
    }
    return n;
}

static lmb_status report(bench *b, const lmb_args *a, int64_t batch, lmb_error *err)
{
    bool brief = lmb_args_get(a, "brief", NULL) != NULL;
    double median = 0, seconds = atof(lmb_args_get(a, "seconds", "1"));

    if (!(seconds > 0 && seconds <= 3600))
        return LMB_FAIL(err, LMB_E_ARG, "--seconds %s; it must be in (0, 3600]", lmb_args_get(a, "seconds", ""));
    lmb_plan_timing(b->plan, !brief);
    LMB_TRY(measure(b, seconds, &median, err));
    if (!brief) {
        lmb_plan_info info = lmb_plan_describe(b->plan);
        size_t room = info.arena_bytes + info.state_bytes;
        roof r = { lmb_cpu_peak(b->products), lmb_cpu_bandwidth(room < MOST_ROOM ? room : MOST_ROOM) };
        print_steps(b->plan, &r);
        print_groups(b->plan, &r);
        printf(
            "\npeak %.1f GFLOP/s in %s, %.1f GB/s in %.1f MB; %.3f ms a run of %lld samples; %d conversions; arena %zu bytes; %d products by "
            "reference kernels\n",
            r.peak / 1e9, lmb_dtype_name(b->products), r.bandwidth / 1e9, (double)room / 1e6, 1e3 * median,
            (long long)batch, info.conversions, info.arena_bytes, references(b->plan));
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
            return LMB_FAIL(err, LMB_E_ARG, "--shape %s; it must be up to three numbers in [1, 65536], as 3,32,32",
                            text);
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

static void on_warning(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    fprintf(stderr, "limbeck bench: %s\n", text);
}

/* Kernels as a training would have them: measured with all processors busy. */
static lmb_status open_cache(bench *b, const lmb_args *a, const char *setting, char path[LMB_PLAN_CACHE_PATH],
                             const char **folder, lmb_str *machine, lmb_error *err)
{
    const lmb_log log = { on_warning, NULL, LMB_LOG_WARN };

    LMB_TRY(lmb_plan_cache_folder(lmb_args_get(a, "plan-cache", setting), path, folder, err));
    if (!*folder)
        return LMB_OK;
    LMB_TRY(lmb_choices_create(lmb_train_measuring_threads(), &b->choices, err));
    lmb_cpu_machine(machine);
    LMB_TRY(lmb_str_check(machine, err));
    LMB_TRY(lmb_choices_load(b->choices, *folder, machine->text, &log, err));
    lmb_choices_measuring(b->choices, true);
    return LMB_OK;
}

static lmb_status bench_model(const lmb_graph *model, const lmb_args *a, lmb_train_config *train,
                              const char *plan_cache, lmb_error *err)
{
    char folder[LMB_PLAN_CACHE_PATH];
    lmb_str machine = LMB_STR_INIT;
    const char *cache = NULL;
    int64_t batch;
    bench b = { 0 };

    LMB_TRY(lmb_args_int(a, "batch", lmb_args_get(a, "train", NULL) ? 32 : 1, 1, 65536, &batch, err));
    lmb_status st = open_cache(&b, a, plan_cache, folder, &cache, &machine, err);
    if (st == LMB_OK)
        st = prepare(&b, model, a, train, batch, err);
    if (st == LMB_OK && b.choices && lmb_choices_measured(b.choices))
        st = lmb_choices_save(b.choices, cache, machine.text, err);
    lmb_str_free(&machine);
    if (st == LMB_OK)
        st = report(&b, a, batch, err);
    bench_free(&b);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "!train", "batch", "backend", "seconds", "shape", "classes",
        "plan-cache", "!brief", NULL };
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
        lmb_train_config train = { .backend = "cpu", .memory = "fast" };
        st = bench_model(model, &a, &train, "off", err);
    } else {
        LMB_TRY(lmb_job_open(a.word[0], &a, lmb_args_get(&a, "stage", NULL), &j, err));
        st = build(&j, &a, &model, err);
        if (st == LMB_OK)
            st = bench_model(model, &a, &j.stage.train, j.c.plan_cache, err);
        lmb_job_close(&j);
    }
    lmb_graph_destroy(model);
    return st;
}

const lmb_cmd lmb_cmd_bench = { "bench", "time of every step of a plan, against the processor's peak", usage, run };
