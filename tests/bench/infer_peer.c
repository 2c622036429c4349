/* tests/bench/infer_peer.c - predictions of networks of train/zoo.c with random weights, for tests/bench/infer_peer.py.
 *
 *     bench_infer_peer write MODEL C H W FOLDER            model.onnx, model-int8.onnx (QDQ) and model.lmb of one
 *                                                          network
 *     bench_infer_peer f32 FILE.onnx BATCH THREADS         the predictor that `limbeck eval` uses
 *     bench_infer_peer int8 FILE.lmb BATCH THREADS [SET]   core/edge, its fastest or the named kernel set
 *
 * The last two read lines, each a number of seconds, predict for so long, and answer with the median microseconds of a
 * batch. Threads share a batch: each has a plan, or an arena, of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "core/base/random.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "core/edge/lmb.h"
#include "core/onnx/onnx.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/qdq.h"
#include "train/model.h"
#include "train/predictor.h"

enum { SAMPLES = 64, CLASSES = 10, MAX_THREADS = 16, MAX_RUNS = 100000 };

/* ---- write ---- */

static lmb_status noise(const lmb_shape *shape, lmb_dataset **out, lmb_error *err)
{
    size_t n = (size_t)lmb_shape_count(shape) * SAMPLES;
    uint8_t *pixels = malloc(n);
    int32_t *labels = calloc(SAMPLES, sizeof *labels);
    lmb_rand r = lmb_rand_at(1, LMB_RAND_SYNTHETIC, 0, 0);

    if (!pixels || !labels) {
        free(pixels);
        free(labels);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d samples", SAMPLES);
    }
    for (size_t i = 0; i < n; i++)
        pixels[i] = (uint8_t)lmb_rand_u32(&r, (uint32_t)i);
    lmb_dataset_arrays a = {
        .samples = pixels, .labels = labels, .n = SAMPLES, .shape = *shape, .dtype = LMB_U8, .classes = CLASSES
    };
    return lmb_dataset_memory(&a, "noise", out, err);
}

static lmb_status write_all(const lmb_graph *model, const lmb_dataset *data, const char *folder, lmb_error *err)
{
    const lmb_onnx_export_options strict = { .strict = true };
    const lmb_ptq_config c = { .calibration = SAMPLES, .seed = 1, .backend = "cpu", .threads = 1 };
    lmb_graph *frozen = NULL, *qdq = NULL;
    lmb_str file = LMB_STR_INIT;
    char path[1024];
    lmb_status st;

    snprintf(path, sizeof path, "%s/model.onnx", folder);
    LMB_TRY_GOTO(st, done, lmb_onnx_write(path, model, &strict, err));
    LMB_TRY_GOTO(st, done, lmb_ptq(model, &c, data, &frozen, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qdq(frozen, &qdq, err));
    snprintf(path, sizeof path, "%s/model-int8.onnx", folder);
    LMB_TRY_GOTO(st, done, lmb_onnx_write(path, qdq, &strict, err));
    LMB_TRY_GOTO(st, done, lmb_lower(qdq, &file, err));
    snprintf(path, sizeof path, "%s/model.lmb", folder);
    st = lmb_file_write(path, file.text, file.n, err);
done:
    lmb_str_free(&file);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(qdq);
    return st;
}

static lmb_status write_network(char **argv, lmb_error *err)
{
    lmb_shape shape = LMB_SHAPE(atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    lmb_config *m = NULL;
    lmb_graph *model = NULL;
    lmb_dataset *data = NULL;

    LMB_TRY(lmb_config_parse(argv[2], strlen(argv[2]), "MODEL", &m, err));
    lmb_status st = lmb_model_build(lmb_config_root(m), &shape, CLASSES, 1, &model, err);
    if (st == LMB_OK)
        st = noise(&shape, &data, err);
    if (st == LMB_OK)
        st = write_all(model, data, argv[6], err);
    lmb_dataset_destroy(data);
    lmb_graph_destroy(model);
    lmb_config_destroy(m);
    return st;
}

/* ---- measure ---- */

/* One batch in equal shares, one a thread. */
typedef struct bench {
    int64_t share;
    int threads;
    lmb_pool *pool;
    lmb_predictor *plan[MAX_THREADS];
    lmb_edge_model edge;
    void *prepared, *arena[MAX_THREADS];
    size_t sample; /* numbers, or bytes, of one input */
    float *x;
    uint8_t *raw;
    lmb_error err[MAX_THREADS];
} bench;

static void share(void *ctx, int task, int worker)
{
    bench *b = ctx;
    size_t first = (size_t)(task * b->share) * b->sample;
    const float *y;
    float scores[CLASSES];

    (void)worker;
    if (b->plan[0]) {
        lmb_status st = lmb_predictor_run(b->plan[task], b->x + first, b->share, &y, &b->err[task]);
        if (st != LMB_OK && b->err[task].status == LMB_OK)
            b->err[task].status = st;
        return;
    }
    for (int64_t i = 0; i < b->share; i++)
        lmb_edge_run(&b->edge, b->arena[task], b->raw + first + (size_t)i * b->sample, scores);
}

static lmb_status once(bench *b, lmb_error *err)
{
    if (b->pool)
        lmb_pool_run(b->pool, b->threads, share, b);
    else
        share(b, 0, 0);
    for (int i = 0; i < b->threads; i++)
        if (b->err[i].status != LMB_OK)
            return LMB_FAIL(err, b->err[i].status, "%s", b->err[i].msg);
    return LMB_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static lmb_status serve(bench *b, lmb_error *err)
{
    double *time = malloc(sizeof *time * MAX_RUNS), seconds;
    lmb_status st = time ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for measurements");

    while (st == LMB_OK && scanf("%lf", &seconds) == 1) {
        int n = 0;
        for (int i = 0; i < 5 && st == LMB_OK; i++)
            st = once(b, err);
        for (double end = lmb_seconds() + seconds; st == LMB_OK && n < MAX_RUNS && (n < 3 || lmb_seconds() < end);) {
            double t = lmb_seconds();
            st = once(b, err);
            time[n++] = lmb_seconds() - t;
        }
        qsort(time, (size_t)n, sizeof *time, by_value);
        if (st == LMB_OK)
            printf("%.3f\n", 1e6 * time[n / 2]);
        fflush(stdout);
    }
    free(time);
    return st;
}

static lmb_status open_f32(bench *b, const char *path, lmb_error *err)
{
    const lmb_backend *backends[3];
    lmb_graph *model = NULL;
    lmb_status st = lmb_cpu_backends("cpu", backends, err);

    LMB_TRY(st);
    LMB_TRY(lmb_onnx_read(path, NULL, &model, err));
    const lmb_shape *in = &model->value[lmb_graph_input(model, 0)].shape;
    b->sample = (size_t)(lmb_shape_count(in) / in->d[0]);
    for (int i = 0; i < b->threads && st == LMB_OK; i++)
        st = lmb_predictor_create(model, NULL, backends, b->share, &b->plan[i], err);
    lmb_graph_destroy(model);
    return st;
}

static lmb_status open_int8(bench *b, const char *path, const char *set, void **file, lmb_error *err)
{
    lmb_edge_tensor t;
    char why[200];
    size_t n;

    LMB_TRY(lmb_file_read(path, 1 << 28, file, &n, err));
    if (lmb_edge_open(*file, n, &b->edge, why, sizeof why) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %s", path, why);
    if (set && lmb_edge_use(&b->edge, set) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_ARG, "this machine has no kernels '%s'", set);
    lmb_edge_tensor_at(&b->edge, b->edge.n_ops, &t);
    if (t.count > CLASSES)
        return LMB_FAIL(err, LMB_E_SHAPE, "%s: more than %d outputs", path, CLASSES);
    lmb_edge_tensor_at(&b->edge, 0, &t);
    b->sample = t.bytes;
    b->prepared = malloc(lmb_edge_prepare_bytes(&b->edge));
    for (int i = 0; i < b->threads; i++)
        b->arena[i] = malloc(lmb_edge_arena_bytes(&b->edge));
    if (!b->prepared || !b->arena[b->threads - 1])
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %s", path);
    lmb_edge_prepare(&b->edge, b->prepared);
    return LMB_OK;
}

static lmb_status measure(int argc, char **argv, lmb_error *err)
{
    bench b = { .threads = atoi(argv[4]) };
    int64_t batch = atoi(argv[3]);
    void *file = NULL;

    if (b.threads < 1 || b.threads > MAX_THREADS || batch < b.threads || batch % b.threads)
        return LMB_FAIL(err, LMB_E_ARG, "%d threads, batch %lld; 1 to %d threads that divide the batch", b.threads,
                        (long long)batch, MAX_THREADS);
    b.share = batch / b.threads;
    lmb_status st = strcmp(argv[1], "f32") ? open_int8(&b, argv[2], argc > 5 ? argv[5] : NULL, &file, err)
                                           : open_f32(&b, argv[2], err);
    size_t numbers = b.sample * (size_t)batch;
    lmb_rand r = lmb_rand_at(1, LMB_RAND_SYNTHETIC, 0, 1);
    b.x = malloc(sizeof *b.x * (numbers + 1));
    b.raw = malloc(numbers + 1);
    if (st == LMB_OK && (!b.x || !b.raw))
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a batch");
    for (size_t i = 0; st == LMB_OK && i < numbers; i++)
        b.x[i] = b.raw[i] = (uint8_t)lmb_rand_u32(&r, (uint32_t)i);
    if (st == LMB_OK && b.threads > 1)
        st = lmb_pool_create(b.threads, &b.pool, err);
    if (st == LMB_OK)
        st = serve(&b, err);
    lmb_pool_destroy(b.pool);
    for (int i = 0; i < b.threads; i++) {
        lmb_predictor_destroy(b.plan[i]);
        free(b.arena[i]);
    }
    free(b.prepared);
    free(b.x);
    free(b.raw);
    free(file);
    return st;
}

int main(int argc, char **argv)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_status st;

    if (argc == 7 && strcmp(argv[1], "write") == 0)
        st = write_network(argv, &err);
    else if ((argc == 5 || argc == 6) && (strcmp(argv[1], "f32") == 0 || strcmp(argv[1], "int8") == 0))
        st = measure(argc, argv, &err);
    else
        st = LMB_FAIL(
            &err, LMB_E_ARG,
            "usage: bench_infer_peer write MODEL C H W FOLDER | f32 FILE BATCH THREADS | int8 FILE BATCH THREADS [SET]");
    if (st != LMB_OK)
        fprintf(stderr, "bench_infer_peer: %s\n", err.msg);
    return st != LMB_OK;
}
