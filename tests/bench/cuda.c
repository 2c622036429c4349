/* tests/bench/cuda.c - what one GPU does through the seam: copies and kernels, in bytes a second.
 *
 *     bench_cuda FOLDER      FOLDER: where liblimbeck_cuda.so lies
 *
 * Vectors of 64 Mi floats (256 MiB), far beyond any cache; the best of ten, timed by events on the device. Bytes
 * count each read and each write once. Host memory is pageable, as in the program. Prints "name  value" lines.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/cuda/cuda.h"

enum { RUNS = 10, N = 64 << 20, BYTES = N * 4, KEYS = 8 };

typedef struct bench {
    const lmb_cuda_api *gpu;
    lmb_cuda_stream *stream;
    lmb_cuda_queue *queue;
    float *host;
    void *w, *g, *v;
} bench;

static lmb_status upload(const bench *b, lmb_error *err)
{
    return b->gpu->upload(b->w, b->host, BYTES, b->stream, err);
}
static lmb_status download(const bench *b, lmb_error *err)
{
    return b->gpu->download(b->host, b->w, BYTES, b->stream, err);
}
static lmb_status copy(const bench *b, lmb_error *err)
{
    return b->gpu->copy(b->g, b->w, BYTES, b->stream, err);
}
static lmb_status relu(const bench *b, lmb_error *err)
{
    return b->gpu->relu(b->w, b->g, N, b->stream, err);
}
static lmb_status sgd(const bench *b, lmb_error *err)
{
    return b->gpu->sgd_momentum(b->w, b->g, b->v, N, 0.1f, 0.9f, 5e-4f, false, b->stream, err);
}

/* Keystreams of eight keys, all zero, onto one vector. */
static lmb_status masks(const bench *b, lmb_error *err)
{
    const uint32_t *zeros = b->v;
    lmb_chacha_job j = {
        .numbers = b->w, .n = N, .bits = 32, .keys = KEYS, .key = zeros, .subtract = zeros + 8 * KEYS
    };
    return b->gpu->chacha_add(&j, b->queue, err);
}

static const struct { const char *name; int streams; lmb_status (*run)(const bench *b, lmb_error *err); } rows[] = {
    { "upload", 1, upload }, { "download", 1, download }, { "copy", 2, copy }, { "relu", 2, relu },
    { "masks", KEYS, masks }, /* bytes of keystream */
    { "sgd_momentum", 5, sgd }, /* reads w, g, v; writes w, v */
};

static lmb_status describe(const lmb_cuda_api *gpu, lmb_error *err)
{
    lmb_cuda_versions v;
    lmb_cuda_device d;
    int n;

    LMB_TRY(gpu->versions(&v, err));
    if (v.driver)
        printf("driver             for CUDA %d.%d\n", v.driver / 1000, v.driver % 1000 / 10);
    else
        printf("driver             none\n");
    printf("runtime            CUDA %d.%d\n", v.runtime / 1000, v.runtime % 1000 / 10);
    printf("cuDNN / NCCL       %d.%d.%d / %d.%d.%d\n", v.cudnn / 10000, v.cudnn % 10000 / 100, v.cudnn % 100,
           v.nccl / 10000, v.nccl % 10000 / 100, v.nccl % 100);
    LMB_TRY(gpu->device_count(&n, err));
    for (int i = 0; i < n; i++) {
        LMB_TRY(gpu->device_info(i, &d, err));
        printf("device %-11d %s, %.1f GiB, sm_%d%d, %d processors\n", i, d.name, (double)d.memory / (1 << 30), d.major,
               d.minor, d.processors);
    }
    return gpu->device_select(0, err);
}

static lmb_status measure(const bench *b, lmb_error *err)
{
    lmb_cuda_event *from, *to;

    LMB_TRY(b->gpu->event_create(&from, err));
    LMB_TRY(b->gpu->event_create(&to, err));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double best = 0, ms;
        for (int run = 0; run < RUNS; run++) {
            LMB_TRY(b->gpu->event_record(from, b->stream, err));
            LMB_TRY(rows[i].run(b, err));
            LMB_TRY(b->gpu->event_record(to, b->stream, err));
            LMB_TRY(b->gpu->event_elapsed(from, to, &ms, err));
            best = run == 0 || ms < best ? ms : best;
        }
        printf("%-18s %8.1f GB/s %9.3f ms\n", rows[i].name, (double)rows[i].streams * BYTES / best / 1e6, best);
    }
    return LMB_OK;
}

static lmb_status run(const char *dir, lmb_error *err)
{
    lmb_cuda *cuda;
    bench b = { 0 };

    LMB_TRY(lmb_cuda_open(dir, &cuda, err));
    b.gpu = cuda->api;
    LMB_TRY(describe(b.gpu, err));
    b.host = calloc(N, sizeof *b.host);
    if (!b.host)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory (%d bytes)", BYTES);
    LMB_TRY(b.gpu->stream_create(&b.stream, err));
    LMB_TRY(b.gpu->queue_create(b.stream, &b.queue, err));
    LMB_TRY(b.gpu->alloc(BYTES, &b.w, err));
    LMB_TRY(b.gpu->alloc(BYTES, &b.g, err));
    LMB_TRY(b.gpu->alloc(BYTES, &b.v, err));
    LMB_TRY(b.gpu->upload(b.g, b.host, BYTES, b.stream, err));
    LMB_TRY(b.gpu->upload(b.v, b.host, BYTES, b.stream, err));
    return measure(&b, err);
}

/* What it took goes back with the process. */
int main(int argc, char **argv)
{
    lmb_error err = LMB_ERROR_INIT;
    if (argc != 2) {
        fprintf(stderr, "usage: bench_cuda FOLDER\n");
        return 2;
    }
    if (run(argv[1], &err) != LMB_OK) {
        fflush(stdout);
        fprintf(stderr, "bench_cuda: %s\n", err.msg);
        return 1;
    }
    return 0;
}
