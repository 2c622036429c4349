/* launch/cmd_inspect.c - `limbeck inspect`: what a model is made of, wherever it is, and the plan that would run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "core/graph/op.h"
#include "core/passes/rewrite.h"
#include "core/plan/device.h"
#include "launch/inspect.h"
#include "launch/job.h"
#include "launch/plan_cache.h"
#include "launch/step_times.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck inspect CONFIG.yaml [--stage NAME] [--batch N] [--ranks N] [--plan train|infer] [--time]\n"
    "                       [--backend NAME] [--plan-cache WHERE] [--augmented FILE.png] [--set key=value ...]\n"
    "       limbeck inspect FILE [--batch N] [--plan infer] [--backend NAME] [--time] [--texts]\n\n"
    "What is in a model: its layers with shapes, parameters and MACs, and the memory it needs. FILE is told by its content:\n"
    "  a configuration      the model that it describes (--stage teacher, student), and what each of --ranks ranks would\n"
    "                       keep of its training: optimizer state, stages of train.pipeline, what crosses their cuts\n"
    "  an .onnx file        what it says about itself, and its graph; what we can not run is named\n"
    "  a .lmb file          integer operators, scales, working memory\n"
    "  a checkpoint         where the training stands, every tensor with its range (--texts: configuration and layers in full)\n"
    "--augmented: training images, each as it is and as eight epochs will be shown it, as a picture\n"
    "--plan prints every step: kernel, shape, MACs, place in memory, and why a faster kernel was refused; --time runs the plan\n"
    "and adds microseconds a step, then the ten longest steps and kernels with their GB/s and TFLOP/s; on a GPU by\n"
    "its own clock. --backend: other kernels than those of train.backend; with cuda each convolution and product\n"
    "tells which step of its chain runs (in one with what follows, plain, our own) and why the ones before it do not;\n"
    "with train.mode fast ways are timed, or known from the folder of --plan-cache (on, off, or a folder; in place of\n"
    "plan_cache).\n";

static void print_layers(const lmb_graph *g)
{
    char shape[LMB_SHAPE_TEXT];

    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        lmb_type in[LMB_MAX_IN], out[LMB_MAX_OUT];
        lmb_call call;
        int64_t parameters = 0;
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] != LMB_NONE && lmb_role_is_state(g->value[n->in[k]].role))
                parameters += lmb_shape_count(&g->value[n->in[k]].shape);
        lmb_call_of(g, n, in, out, &call);
        printf("  %-32.32s %-22s %-20s", n->name, n->op->name,
               lmb_shape_text(&g->value[n->out[0]].shape, shape, sizeof shape));
        double macs = lmb_call_cost(&call).macs;
        const char *value = g->value[n->out[0]].name; /* by which losses of distillation name it */
        bool told = strcmp(value, n->name) == 0 && strlen(value) <= 32;
        if (parameters || macs > 0)
            printf(" %9lld %14.0f", (long long)parameters, macs);
        else if (!told)
            printf("%25s", "");
        printf(told ? "\n" : "  %s\n", value);
    }
}

static void print_totals(const lmb_graph *g)
{
    size_t total[LMB_ROLE_COUNT] = { 0 }, bytes = 0;

    for (int v = 0; v < g->n_values; v++) {
        const lmb_value *x = &g->value[v];
        if (lmb_role_is_state(x->role) || x->role == LMB_ROLE_CONSTANT) {
            total[x->role] += (size_t)lmb_shape_count(&x->shape);
            bytes += lmb_shape_bytes(&x->shape, x->dtype);
        }
    }
    for (int r = 0; r < LMB_ROLE_COUNT; r++)
        if (total[r])
            printf("%zu numbers in %ss, ", total[r], lmb_role_name((lmb_role)r));
    printf("%zu bytes in all\n", bytes);
}

/* The kernels that a plan is made for. */
typedef struct kernels {
    const lmb_backend *list[LMB_CPU_BACKENDS];
    bool device;    /* chains are decided at the first run    */
    bool described; /* of a GPU that is not there: nothing runs */
#ifndef LMB_CLIENT_ONLY
    lmbi_gpu_kernels gpu;
#endif
} kernels;

static void close_kernels(kernels *k)
{
#ifndef LMB_CLIENT_ONLY
    lmbi_gpu_kernels_close(&k->gpu);
#else
    (void)k;
#endif
}

#ifndef LMB_CLIENT_ONLY
static void on_warning(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    fprintf(stderr, "limbeck inspect: %s\n", text);
}

/* Ways that trainings found out are taken, and what is found out here is kept for them. */
static lmb_status measure_ways(lmb_device *d, const lmb_train_config *train, const char *plan_cache, lmb_error *err)
{
    static const lmb_log log = { on_warning, NULL, LMB_LOG_WARN };
    bool fast = train && lmb_train_is_fast(train);
    char path[LMB_PLAN_CACHE_PATH];
    const char *folder = NULL;

    d->measure(d, fast, NULL);
    if (!fast || !d->measure_within)
        return LMB_OK;
    LMB_TRY(lmb_plan_cache_folder(plan_cache, path, &folder, err));
    return d->measure_within(d, train->measure_s, folder, &log, err);
}

static lmb_status open_gpu(kernels *k, int64_t precision, const lmb_train_config *train, const char *plan_cache,
                           lmb_error *err)
{
    LMB_TRY(lmbi_gpu_kernels_open(&k->gpu, precision == LMB_TRAIN_BF16   ? LMB_CUDA_BF16_MAPS
                                           : precision == LMB_TRAIN_TF32 ? LMB_CUDA_TF32_PRODUCTS
                                                                         : LMB_CUDA_F32_EXACT, err));
    k->list[0] = k->gpu.list[0];
    k->device = k->gpu.gpu != NULL;
    k->described = !k->device;
    return k->device ? measure_ways(k->list[0]->device, train, plan_cache, err) : LMB_OK;
}
#else
static lmb_status open_gpu(kernels *k, int64_t precision, const lmb_train_config *train, const char *plan_cache,
                           lmb_error *err)
{
    (void)k, (void)precision, (void)train, (void)plan_cache;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build is for clients and has no CUDA; give another --backend");
}
#endif

/* Of a training's steps, or of an answer, which the host gives in f32. */
static lmb_status open_kernels(kernels *k, const lmb_train_config *train, const char *backend, int64_t precision,
                               const char *plan_cache, lmb_error *err)
{
    memset(k, 0, sizeof *k);
    if (strcmp(backend, "cuda") == 0)
        return open_gpu(k, precision, train, plan_cache, err);
    if (!train)
        return lmb_cpu_backends(backend, k->list, err);
    lmb_train_config c = *train;
    c.backend = backend;
    return lmb_train_backends(&c, k->list, err);
}

static lmb_status print_plan(const lmb_plan *plan, bool first, bool time, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;
    lmb_step_info info = { 1, 0, NULL };

    if (first && !time)
        LMB_TRY(lmb_plan_run((lmb_plan *)plan, &info, err));
    if (time) {
        LMB_TRY(lmb_plan_run((lmb_plan *)plan, &info, err));
        lmb_plan_timing((lmb_plan *)plan, true);
        for (int i = 0; i < 10; i++)
            LMB_TRY(lmb_plan_run((lmb_plan *)plan, &info, err));
    }
    lmb_plan_print(plan, &s);
    if (time)
        lmb_step_times(plan, &s);
    lmb_status st = lmb_str_check(&s, err);
    printf("%s", s.text ? s.text : "");
    lmb_str_free(&s);
    return st;
}

static lmb_status batch_of(const lmb_args *a, int64_t *batch, lmb_error *err)
{
    return lmb_args_int(a, "batch", 1, 1, 1000000, batch, err);
}

static lmb_status inspect_graph(const lmb_graph *g, const kernels *k, const lmb_args *a, lmb_error *err)
{
    lmb_graph *batched = NULL;
    lmb_plan *plan = NULL;
    int64_t batch;

    LMB_TRY(batch_of(a, &batch, err));
    printf("  %-32s %-22s %-20s %9s %14s  value, if named otherwise\n", "node", "operator", "output", "parameters",
           "MACs");
    print_layers(g);
    print_totals(g);
    LMB_TRY(lmb_pass_infer_form(g, batch, &batched, err));
    lmb_plan_options o = { .backends = k->list, .no_memory = k->described && !lmb_args_get(a, "time", NULL) };
    lmb_status st = lmb_plan_compile(batched, &o, &plan, err);
    if (st == LMB_OK) {
        lmb_plan_info i = lmb_plan_describe(plan);
        printf("%.0f MACs a sample, %zu bytes of activations at batch %lld, %d steps, %d conversions\n",
               i.cost.macs / (double)batch, i.arena_bytes, (long long)batch, i.steps, i.conversions);
        if (strcmp(lmb_args_get(a, "plan", ""), "infer") == 0 || lmb_args_get(a, "time", NULL))
            st = print_plan(plan, k->device, lmb_args_get(a, "time", NULL) != NULL, err);
    }
    lmb_plan_destroy(plan);
    lmb_graph_destroy(batched);
    return st;
}

lmb_status lmbi_inspect_graph(const lmb_graph *g, const char *backend, int64_t precision, const lmb_args *a,
                              lmb_error *err)
{
    kernels k;
    lmb_status st = open_kernels(&k, NULL, lmb_args_get(a, "backend", backend), precision, "off", err);

    if (st == LMB_OK)
        st = inspect_graph(g, &k, a, err);
    close_kernels(&k);
    return st;
}

/* The plan of a training step. */
static lmb_status training_plan(const lmb_graph *model, const lmb_train_config *train, const kernels *k,
                                const lmb_args *a, lmb_error *err)
{
    lmb_program *program = NULL;
    const lmb_plan *p = NULL;
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing, NULL };
    int64_t batch;
    size_t memory;

    LMB_TRY(batch_of(a, &batch, err));
    LMB_TRY(lmb_train_memory(train, 1, &memory, err));
    LMB_TRY(lmb_program_create(model, &loss, k->list, &program, err));
    lmb_program_memory(program, memory);
    if (k->described && !lmb_args_get(a, "time", NULL))
        lmb_program_describe_only(program);
    lmb_status st = lmb_program_plan(program, batch, false, &p, err);
    if (st == LMB_OK) {
        printf("a training step of %lld samples needs %zu bytes\n", (long long)batch, lmb_plan_describe(p).arena_bytes);
        st = print_plan(p, k->device, lmb_args_get(a, "time", NULL) != NULL, err);
    }
    lmb_program_destroy(program);
    return st;
}

static lmb_status inspect_training(const lmb_graph *model, const lmb_train_config *train, const char *plan_cache,
                                   const lmb_args *a, lmb_error *err)
{
    kernels k;
    lmb_status st = open_kernels(&k, train, lmb_args_get(a, "backend", train->backend), train->precision,
                                 lmb_args_get(a, "plan-cache", plan_cache), err);

    if (st == LMB_OK)
        st = training_plan(model, train, &k, a, err);
    close_kernels(&k);
    return st;
}

/* What a training with as many ranks as `limbeck run` starts, or --ranks, keeps on each: optimizer state, stages of a
 * pipeline. */
static lmb_status print_training(const lmb_job *j, const lmb_graph *model, const lmb_args *a, lmb_error *err)
{
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing, NULL };
    lmb_str s = LMB_STR_INIT;
    int64_t ranks;

    LMB_TRY(lmb_args_int(a, "ranks", j->c.launch.ranks, 1, 4096, &ranks, err));
    lmb_status st =
        lmb_train_describe(&j->stage.train, model, &loss, j->train ? j->train->n : j->all->n, (int)ranks, &s, err);
    if (st == LMB_OK)
        printf("%s", s.text);
    lmb_str_free(&s);
    return st;
}

static lmb_status inspect_config(const char *path, const lmb_args *a, lmb_error *err)
{
    const char *plan = lmb_args_get(a, "plan", "");
    lmb_graph *model = NULL;
    lmb_job j;

    LMB_TRY(lmb_job_open(path, a, lmb_args_get(a, "stage", NULL), &j, err));
    lmb_status st = lmb_job_data(&j, err);
    if (st == LMB_OK && lmb_args_get(a, "augmented", NULL)) {
        st = lmbi_inspect_augmented(&j, lmb_args_get(a, "augmented", NULL), err);
        lmb_job_close(&j);
        return st;
    }
    if (st == LMB_OK)
        st = lmb_model_build(j.stage.model, &j.all->shape, j.all->classes, 1, &model, err);
    if (st == LMB_OK)
        st = strcmp(plan, "train") == 0
                 ? inspect_training(model, &j.stage.train, j.c.plan_cache, a, err)
                 : lmbi_inspect_graph(model, j.stage.train.backend, j.stage.train.precision, a, err);
    if (st == LMB_OK)
        st = print_training(&j, model, a, err);
    lmb_graph_destroy(model);
    lmb_job_close(&j);
    return st;
}

/* Best told first; what is none of these is a configuration. */
static const lmb_inspector *const inspectors[] = { &lmbi_inspect_lmb, &lmbi_inspect_store, &lmbi_inspect_onnx, NULL };

static lmb_status inspect(const char *path, const lmb_args *a, lmb_error *err)
{
    unsigned char head[16];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;

    bool empty = f && n == 0 && feof(f);
    if (f)
        fclose(f);
    if (empty)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s has no bytes", path);
    for (int i = 0; f && inspectors[i]; i++)
        if (inspectors[i]->is(path, head, n))
            return inspectors[i]->print(path, a, err);
    for (size_t i = 0; i < n; i++)
        if (head[i] < ' ' && !memchr("\t\n\r", head[i], 3))
            return LMB_FAIL(err, LMB_E_FORMAT,
                            "%s: no configuration, .onnx, .lmb or checkpoint: cut short, damaged, or something else",
                            path);
    return inspect_config(path, a, err);
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "batch", "backend", "plan", "plan-cache",
                                         "ranks", "augmented", "!time", "!texts", NULL };
    const char *plan;
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one file; --help explains");
    plan = lmb_args_get(&a, "plan", "infer");
    if (strcmp(plan, "train") != 0 && strcmp(plan, "infer") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "--plan %s; it must be train or infer", plan);
    return inspect(a.word[0], &a, err);
}

const lmb_cmd lmb_cmd_inspect = { "inspect",
                                  "what is in a configuration, .onnx, .lmb or checkpoint: layers, MACs, memory, plan",
                                  usage, run };
