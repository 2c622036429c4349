/* tests/bench/train_peer.c - how many images a second a whole training step does: loader, forward, backward, reduction,
 * SGD with momentum, by the trainer, on pictures of noise in memory. tests/bench/train_peer.py sets it against PyTorch.
 *
 *     bench_train_peer MODEL C H W BATCH THREADS SECONDS [PRECISION [TEACHER]]
 *                                    MODEL: the `model` section, as "{name: resnet, depth: 8}"; PRECISION: f32, bf16,
 *                                    or on a GPU, where a batch is one shard: cuda (f32), cuda-tf32, cuda-bf16, and
 *                                    behind each -fast: train.mode, engines chosen by their times; -eager: not
 *                                    replayed; -changed: crops and flips; -floats: made by the processor, which sends
 *                                    floats; -counted: behind the images a second, what one costs: operations and bytes
 *                                    TEACHER: a `model` section, too: a step of distillation, in which that model,
 *                                    frozen, answers for every image (alpha 0.9, temperature 4)
 *     mpirun -n 2 bench_train_peer ... 1 SECONDS
 *                                    THREADS of each rank; a run of ranks ends with an epoch
 *
 * What an image costs is counted from the plan of a training step for a GPU, forward and backward: two operations a
 * multiply-accumulate of convolutions and products; bytes of every step's operands, read and written once, as if maps
 * and weights were all kept as PRECISION keeps maps (two bytes in bf16); without the optimizer, and conversions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/base/threads.h"
#include "train/model.h"
#include "train/program.h"
#include "train/trainer.h"
#ifndef LMB_CLIENT_ONLY
#include "core/cuda/device.h"
#endif

enum { SAMPLES = 4096, FEW = 256, CLASSES = 10, PATTERN = 1 << 22 }; /* FEW of large pictures */
/* For a GPU: so many bytes that an epoch, at whose ends weights travel, is longer than what is measured; fewer for less
 * than 3 s. */
static const int64_t much = (int64_t)5 << 29;

typedef struct clock { double began, warm, from, to, seconds; int64_t batch, first, last; } clock;

static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    clock *c = ctx;
    double now = lmb_seconds();
    int64_t done = epoch * batches + batch;

    (void)loss, (void)accuracy, (void)rate;
    if (c->began == 0)
        c->began = now;
    if (c->from == 0 && now - c->began > c->warm) {
        c->from = now;
        c->first = done;
    } else if (c->from > 0) {
        c->to = now;
        c->last = done;
    }
    return c->from == 0 || now - c->from < c->seconds;
}

static lmb_status noise(const lmb_shape *shape, bool gpu, double seconds, lmb_dataset **out, lmb_error *err)
{
    int64_t numbers = lmb_shape_count(shape);
    double share = seconds < 3 ? seconds / 3 : 1;
    int samples = gpu ? (int)((double)much * share / (double)numbers) : numbers > 16384 ? FEW : SAMPLES;
    size_t n = (size_t)(numbers * samples);
    uint8_t *pixels = malloc(n);
    int32_t *labels = malloc(sizeof *labels * (size_t)samples);
    lmb_rand r = lmb_rand_at(1, LMB_RAND_SYNTHETIC, 0, 0);

    if (!pixels || !labels) {
        free(pixels);
        free(labels);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d samples", samples);
    }
    for (size_t i = 0; i < n && i < PATTERN; i++)
        pixels[i] = (uint8_t)lmb_rand_u32(&r, (uint32_t)i);
    for (size_t i = PATTERN; i < n;
         i += PATTERN - 1) /* pictures begin elsewhere in the pattern: none is like another */
        memcpy(pixels + i, pixels + i - (PATTERN - 1), n - i < PATTERN - 1 ? n - i : PATTERN - 1);
    for (int i = 0; i < samples; i++)
        labels[i] = i % CLASSES;
    lmb_dataset_arrays a = {
        .samples = pixels, .labels = labels, .n = samples, .shape = *shape, .dtype = LMB_U8, .classes = CLASSES
    };
    return lmb_dataset_memory(&a, "noise", out, err);
}

#ifndef LMB_CLIENT_ONLY
/* What a step of n rows costs: see the top. */
static lmb_status count(const lmb_graph *model, const lmb_loss *loss, int64_t precision, int64_t n, lmb_cost *out,
                        lmb_error *err)
{
    lmb_backend backend[LMB_CUDA_PRECISIONS];
    const lmb_backend *list[] = { &backend[precision == LMB_TRAIN_BF16   ? LMB_CUDA_BF16_MAPS
                                           : precision == LMB_TRAIN_TF32 ? LMB_CUDA_TF32_PRODUCTS
                                                                         : LMB_CUDA_F32_EXACT], NULL };
    lmb_program *program = NULL;
    const lmb_plan *plan;
    lmb_cuda *cuda;

    LMB_TRY(lmb_cuda_open(NULL, &cuda, err));
    lmb_cuda_backends(cuda, backend);
    lmb_status st = lmb_program_create(model, loss, list, &program, err);
    if (st == LMB_OK) {
        lmb_program_describe_only(program);
        st = lmb_program_plan(program, n, false, &plan, err);
    }
    *out = (lmb_cost){ 0 };
    for (int i = 0; st == LMB_OK && i < lmb_plan_steps(plan); i++) {
        lmb_plan_step s = lmb_plan_step_at(plan, i);
        if (!s.op)
            continue;
        out->macs += s.cost.macs;
        out->bytes += precision == LMB_TRAIN_BF16 ? s.cost.bytes / 2 : s.cost.bytes;
    }
    lmb_program_destroy(program);
    lmb_cuda_close(cuda);
    return st;
}
#else
static lmb_status count(const lmb_graph *model, const lmb_loss *loss, int64_t precision, int64_t n, lmb_cost *out,
                        lmb_error *err)
{
    (void)model, (void)loss, (void)precision, (void)n, (void)out;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build has no kernels for a GPU whose steps could be counted");
}
#endif

static lmb_status measure(char **argv, lmb_comm *comm, lmb_error *err)
{
    static const char options[] = "{epochs: 1000000, lr: 0.001, optimizer: {name: sgd, momentum: 0.9}}";
    lmb_shape shape = LMB_SHAPE(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    const char *precision = argv[8] ? argv[8] : "f32", *taught_by = argv[8] ? argv[9] : NULL;
    bool gpu = strncmp(precision, "cuda", 4) == 0;
    double seconds = atof(argv[7]);
    /* a GPU's third step is recorded and compared */
    clock c = { .seconds = seconds, .warm = !gpu ? 0.5 : seconds < 1 ? 2 * seconds : 2 };
    lmb_train_watch watch = { .step = on_step, .ctx = &c };
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_objective taught = { .distill = { .alpha = 0.9, .temperature = 4 } };
    lmb_config *model_text = NULL, *train_text = NULL, *teacher_text = NULL;
    lmb_train_config train;
    lmb_dataset *data = NULL;
    lmb_graph *model = NULL, *teacher = NULL;
    lmb_trainer *t = NULL;
    lmb_cost cost = { 0 };
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_config_parse(argv[1], strlen(argv[1]), "MODEL", &model_text, err));
    LMB_TRY_GOTO(st, done, lmb_config_parse(options, strlen(options), "train", &train_text, err));
    LMB_TRY_GOTO(st, done, lmb_fields_bind(lmb_train_fields, lmb_config_root(train_text), &train, err));
    train.batch = atoi(argv[5]);
    train.threads = atoi(argv[6]);
    int64_t workers = train.threads * comm->size, each = (train.batch + workers - 1) / workers;
    train.shard = each < train.shard ? each : train.shard; /* small batches too have work for every thread */
    if (gpu) {
        train.backend = "cuda";
        train.shard = train.batch;
        train.augment_on = strstr(precision, "-floats") ? LMB_CHANGE_CPU : LMB_CHANGE_AUTO;
        if (strstr(precision, "-changed"))
            train.augment = (lmb_augment){ .crop = 4, .flip = true };
        train.graph = strstr(precision, "-eager") ? LMB_GRAPH_OFF : LMB_GRAPH_AUTO;
    }
    train.mode = gpu && strstr(precision, "-fast");
    train.precision = strstr(precision, "bf16")   ? LMB_TRAIN_BF16
                      : strstr(precision, "tf32") ? LMB_TRAIN_TF32
                                                  : LMB_TRAIN_F32;
    LMB_TRY_GOTO(st, done, noise(&shape, gpu, c.seconds, &data, err));
    LMB_TRY_GOTO(st, done, lmb_model_build(lmb_config_root(model_text), &shape, CLASSES, 1, &model, err));
    if (taught_by) {
        LMB_TRY_GOTO(st, done, lmb_config_parse(taught_by, strlen(taught_by), "TEACHER", &teacher_text, err));
        LMB_TRY_GOTO(st, done, lmb_model_build(lmb_config_root(teacher_text), &shape, CLASSES, 2, &teacher, err));
        taught.teacher = teacher;
        taught.rows = train.shard;
        LMB_TRY_GOTO(st, done, lmb_objective_check(&taught, model, err));
        loss = lmb_objective_loss(&taught);
    }
    if (strstr(precision, "-counted"))
        LMB_TRY_GOTO(st, done, count(model, &loss, train.precision, train.batch, &cost, err));
    LMB_TRY_GOTO(st, done, lmb_trainer_create(&train, model, &loss, data, NULL, comm, &t, err));
    if (gpu)
        LMB_TRY_GOTO(st, done, lmb_trainer_kernels(t, NULL, false, NULL, err));
    st = lmb_trainer_run(t, &watch, err);
    if (st == LMB_E_STOPPED)
        st = LMB_OK;
    if (st == LMB_OK && comm->rank == 0 && c.to > c.from)
        printf(cost.macs > 0 ? "%.1f %.4g %.4g\n" : "%.1f\n",
               (double)((c.last - c.first) * train.batch) / (c.to - c.from), 2 * cost.macs / (double)train.batch,
               cost.bytes / (double)train.batch);
done:
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    lmb_graph_destroy(teacher);
    lmb_dataset_destroy(data);
    lmb_config_destroy(train_text);
    lmb_config_destroy(model_text);
    lmb_config_destroy(teacher_text);
    return st;
}

int main(int argc, char **argv)
{
    lmb_error err = LMB_ERROR_INIT;

    if (argc < 8 || argc > 10) {
        fprintf(stderr, "usage: bench_train_peer MODEL C H W BATCH THREADS SECONDS [PRECISION [TEACHER]]\n");
        return 2;
    }
    lmb_comm *comm = NULL;
    lmb_status st = lmb_comm_open(&comm, &err);
    if (st == LMB_OK)
        st = measure(argv, comm, &err);
    if (st != LMB_OK)
        fprintf(stderr, "bench_train_peer: %s\n", err.msg);
    if (st != LMB_OK && comm)
        comm->abort(comm, 1);
    lmb_comm_close(comm);
    return st != LMB_OK;
}
