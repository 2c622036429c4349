/* tests/bench/cuda.c - what one GPU does through the seam: copies and kernels, in bytes a second, and a product of
 * matrices. `copy` and `product` are the ceilings that a training step is measured by.
 *
 *     bench_cuda FOLDER [NUMBERS]      FOLDER: where liblimbeck_cuda.so lies
 *
 * Vectors of NUMBERS (64 Mi) floats, which are 256 MiB, far beyond any cache; the best of ten, timed by events on the
 * device. Bytes count each read and each write once. Host memory is pageable, as in the program. product: square
 * matrices of random bf16 (equal numbers would cost less power, and run at a higher clock) as large as the vectors,
 * 8192 x 8192, with sums in f32. Prints "name  value" lines.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/cuda/cuda.h"
#include "core/ops/gemm.h"

enum { RUNS = 10, KEYS = 8, LEAST = 4096, MOST = 64 << 20 };

typedef struct bench {
    const lmb_cuda_api *gpu;
    lmb_cuda_stream *stream;
    lmb_cuda_queue *queue;
    size_t n, bytes;
    float *host;
    void *w, *g, *v;
    const lmb_kernel *product;
    void *state, *scratch;
    lmb_run product_of;
} bench;

static lmb_status upload(const bench *b, lmb_error *err)
{
    return b->gpu->upload(b->w, b->host, b->bytes, b->stream, err);
}
static lmb_status download(const bench *b, lmb_error *err)
{
    return b->gpu->download(b->host, b->w, b->bytes, b->stream, err);
}
static lmb_status copy(const bench *b, lmb_error *err)
{
    return b->gpu->copy(b->g, b->w, b->bytes, b->stream, err);
}
static lmb_status relu(const bench *b, lmb_error *err)
{
    return b->gpu->relu(b->w, b->g, b->n, b->stream, err);
}
static lmb_status sgd(const bench *b, lmb_error *err)
{
    return b->gpu->sgd_momentum(b->w, b->g, b->v, b->n, 0.1f, 0.9f, 5e-4f, false, b->stream, err);
}

/* Keystreams of eight keys, all zero, onto one vector. */
static lmb_status masks(const bench *b, lmb_error *err)
{
    const uint32_t *zeros = b->v;
    lmb_chacha_job j = {
        .numbers = b->w, .n = b->n, .bits = 32, .keys = KEYS, .key = zeros, .subtract = zeros + 8 * KEYS
    };
    return b->gpu->chacha_add(&j, b->queue, err);
}

static lmb_status product(const bench *b, lmb_error *err) { return b->product->run(b->state, &b->product_of, err); }

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

/* The best of some runs, in ms. */
static lmb_status best_of(const bench *b, lmb_status (*work)(const bench *b, lmb_error *err), double *best,
                          lmb_error *err)
{
    lmb_cuda_event *from, *to;

    LMB_TRY(b->gpu->event_create(&from, err));
    LMB_TRY(b->gpu->event_create(&to, err));
    for (int run = 0; run < RUNS; run++) {
        double ms;
        LMB_TRY(b->gpu->event_record(from, b->stream, err));
        LMB_TRY(work(b, err));
        LMB_TRY(b->gpu->event_record(to, b->stream, err));
        LMB_TRY(b->gpu->event_elapsed(from, to, &ms, err));
        *best = run == 0 || ms < *best ? ms : *best;
    }
    return LMB_OK;
}

static lmb_status measure(const bench *b, lmb_error *err)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double ms;
        LMB_TRY(best_of(b, rows[i].run, &ms, err));
        printf("%-18s %8.1f GB/s %9.3f ms\n", rows[i].name, (double)rows[i].streams * (double)b->bytes / ms / 1e6, ms);
    }
    return LMB_OK;
}

/* Numbers of 0.5 to 1 with both signs, two bf16 in the room of a float. */
static lmb_status fill_with_noise(const bench *b, lmb_error *err)
{
    lmb_rand r = lmb_rand_at(1, LMB_RAND_SYNTHETIC, 0, 0);

    for (size_t i = 0; i < b->n; i++) {
        uint32_t exponents = 0x3F003F00, two = (lmb_rand_u32(&r, (uint32_t)i) & 0x807F807F) | exponents;
        memcpy(b->host + i, &two, sizeof two);
    }
    LMB_TRY(b->gpu->upload(b->w, b->host, b->bytes, b->stream, err));
    LMB_TRY(b->gpu->upload(b->v, b->host, b->bytes, b->stream, err));
    return b->gpu->stream_sync(b->stream, err);
}

/* cuBLASLt's, by the kernel that trainings take for it. */
static lmb_status measure_product(bench *b, lmb_error *err)
{
    int64_t side = 1;
    size_t scratch = 0;
    double ms;

    while (4 * side * side <= (int64_t)b->n)
        side *= 2;
    lmb_gemm_attr attr = { .alpha = 1, .beta = 1 };
    lmb_type in[] = { { true, LMB_F32, LMB_SHAPE(side, side), NULL }, { true, LMB_F32, LMB_SHAPE(side, side), NULL } };
    lmb_type out[] = { { true, LMB_F32, LMB_SHAPE(side, side), NULL } };
    lmb_call call = { "product", lmb_op_find("", "Gemm"), &attr, 2, 1, in, out };
    lmb_tensor from[] = { { .data = b->w, .dtype = LMB_BF16, .shape = in[0].shape },
                          { .data = b->v, .dtype = LMB_BF16, .shape = in[1].shape } };
    lmb_tensor to[] = { { .data = b->g, .dtype = LMB_F32, .shape = out[0].shape } };
    lmb_step_info step = { 0 };

    for (int i = 0; b->gpu->kernels_bf16[i] && !b->product; i++)
        if (strcmp(b->gpu->kernels_bf16[i]->name, "cublaslt-bf16:gemm") == 0)
            b->product = b->gpu->kernels_bf16[i];
    if (!b->product)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "the module has no cublaslt-bf16:gemm");
    LMB_TRY(fill_with_noise(b, err));
    LMB_TRY(b->product->create(&call, &b->state, &scratch, err));
    LMB_TRY(b->gpu->alloc(scratch, &b->scratch, err));
    b->product_of = (lmb_run){ .attr = &attr, .n_in = 2, .n_out = 1, .in = from, .out = to, .scratch = b->scratch,
                               .step = &step, .queue = b->queue };
    LMB_TRY(product(b, err)); /* chooses */
    LMB_TRY(best_of(b, product, &ms, err));
    double operations = 2.0 * (double)side * (double)side * (double)side;
    printf("%-18s %8.4g TFLOP/s %6.3f ms, %lld x %lld; %s\n", "product", operations / ms / 1e9, ms, (long long)side,
           (long long)side, b->product->note ? b->product->note(b->state) : "");
    b->product->destroy(b->state);
    return LMB_OK;
}

static lmb_status run(const char *dir, size_t n, lmb_error *err)
{
    lmb_cuda *cuda;
    bench b = { .n = n, .bytes = n * sizeof(float) };

    LMB_TRY(lmb_cuda_open(dir, &cuda, err));
    b.gpu = cuda->api;
    LMB_TRY(describe(b.gpu, err));
    b.host = calloc(n, sizeof *b.host);
    if (!b.host)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory (%zu bytes)", b.bytes);
    LMB_TRY(b.gpu->stream_create(&b.stream, err));
    LMB_TRY(b.gpu->queue_create(b.stream, &b.queue, err));
    LMB_TRY(b.gpu->alloc(b.bytes, &b.w, err));
    LMB_TRY(b.gpu->alloc(b.bytes, &b.g, err));
    LMB_TRY(b.gpu->alloc(b.bytes, &b.v, err));
    LMB_TRY(b.gpu->upload(b.g, b.host, b.bytes, b.stream, err));
    LMB_TRY(b.gpu->upload(b.v, b.host, b.bytes, b.stream, err));
    LMB_TRY(measure(&b, err));
    return measure_product(&b, err);
}

/* What it took goes back with the process. */
int main(int argc, char **argv)
{
    lmb_error err = LMB_ERROR_INIT;
    long n = argc > 2 ? strtol(argv[2], NULL, 10) : MOST;

    if (argc < 2 || argc > 3 || n < LEAST || n > MOST) {
        fprintf(stderr, "usage: bench_cuda FOLDER [NUMBERS], NUMBERS from %d to %d\n", LEAST, MOST);
        return 2;
    }
    if (run(argv[1], (size_t)n, &err) != LMB_OK) {
        fflush(stdout);
        fprintf(stderr, "bench_cuda: %s\n", err.msg);
        return 1;
    }
    return 0;
}
