/* tests/bench/int8_gpu.c - images a second of a .lmb on a GPU, copies there and back included; and on one thread of
 * the processor.
 *
 *     bench_int8_gpu MODEL.lmb [BATCH]     LMB_CUDA_MODULE: the module, where it does not lie beside the program
 *
 * The best of ten runs over 16 batches of noise. Answers are compared: a byte that differs ends it with an error.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "core/cuda/device.h"
#include "core/cuda/int8.h"

enum { RUNS = 10, BATCHES = 16, CHECKED = 64 };

typedef struct bench {
    lmb_edge_model m;
    lmb_edge_tensor x, y;
    uint8_t *in, *out, *want;
    void *prepared, *arena;
} bench;

static lmb_status set_up(bench *b, const char *path, int64_t images, lmb_error *err)
{
    char why[200] = "";
    void *file;
    size_t n;

    LMB_TRY(lmb_file_read(path, (size_t)1 << 28, &file, &n, err));
    if (lmb_edge_open(file, n, &b->m, why, sizeof why) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %s", path, why);
    lmb_edge_tensor_at(&b->m, 0, &b->x);
    lmb_edge_tensor_at(&b->m, b->m.n_ops, &b->y);
    b->in = malloc((size_t)images * b->x.bytes);
    b->out = malloc((size_t)images * b->y.bytes);
    b->want = malloc(b->y.bytes);
    b->prepared = malloc(lmb_edge_prepare_bytes(&b->m));
    b->arena = malloc(lmb_edge_arena_bytes(&b->m));
    if (!b->in || !b->out || !b->want || !b->prepared || !b->arena)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld images", (long long)images);
    uint32_t state = 1;
    for (size_t i = 0; i < (size_t)images * b->x.bytes; i++)
        b->in[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    lmb_edge_prepare(&b->m, b->prepared);
    return LMB_OK;
}

static lmb_status check(const bench *b, lmb_error *err)
{
    for (size_t i = 0; i < CHECKED; i++) {
        if (lmb_edge_run(&b->m, b->arena, b->in + i * b->x.bytes, b->want) != LMB_EDGE_OK)
            return LMB_FAIL(err, LMB_E_FORMAT, "the model refuses to run");
        if (memcmp(b->want, b->out + i * b->y.bytes, b->y.bytes) != 0)
            return LMB_FAIL(err, LMB_E_NUMERIC, "image %zu: the GPU's answer is not that of core/edge", i);
    }
    return LMB_OK;
}

static lmb_status run(const char *path, int64_t batch, lmb_error *err)
{
    int64_t images = batch * BATCHES;
    double best = 0, on_host;
    bench b = { 0 };
    lmb_int8 *model;
    lmb_gpu *gpu;

    LMB_TRY(set_up(&b, path, images, err));
    LMB_TRY(lmb_gpu_open(0, &gpu, err));
    LMB_TRY(lmb_int8_create(lmb_gpu_api(gpu), lmb_gpu_device(gpu), &b.m, batch, &model, err));
    for (int k = 0; k <= RUNS; k++) { /* the first one loads kernels */
        double start = lmb_seconds();
        LMB_TRY(lmb_int8_run(model, b.in, images, b.out, err));
        double t = lmb_seconds() - start;
        best = k == 1 || (k && t < best) ? t : best;
    }
    double start = lmb_seconds();
    LMB_TRY(check(&b, err));
    on_host = lmb_seconds() - start;
    printf("int8, batches of %-6lld %12.0f images/s; one thread of the processor (%s) %.0f\n",
           (long long)lmb_int8_batch(model), (double)images / best, lmb_edge_kernels_of(&b.m), CHECKED / on_host);
    lmb_int8_destroy(model);
    lmb_gpu_close(gpu);
    return LMB_OK;
}

/* What it took goes back with the process. */
int main(int argc, char **argv)
{
    lmb_error err = LMB_ERROR_INIT;
    long batch = argc > 2 ? strtol(argv[2], NULL, 10) : 1024;

    if (argc < 2 || batch < CHECKED / BATCHES || batch > 1 << 20) {
        fprintf(stderr, "usage: bench_int8_gpu MODEL.lmb [BATCH]\n");
        return 2;
    }
    if (run(argv[1], batch, &err) != LMB_OK) {
        fprintf(stderr, "bench_int8_gpu: %s\n", err.msg);
        return 1;
    }
    return 0;
}
