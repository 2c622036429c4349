/* distill/logits_fill.c - computing the chunks of logits that a file lacks: samples from a loader in the order of their
 * numbers, augmented as training will see them; each batch split over ranks and threads; rank 0 writes whole chunks. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "core/cuda/device.h"
#include "datasets/loader.h"
#include "distill/logits_file.h"
#include "train/gpu_pick.h"
#include "train/predictor.h"
#include "train/trainer.h"

enum { LEAST_BATCH = 128 };

typedef struct worker {
    lmb_predictor *p;
    lmb_error err;
} worker;

typedef struct filler {
    const lmbi_logits_file *f;
    lmb_comm *comm;
    lmb_loader *loader;
    lmb_pool *pool;
    worker *worker;
    int threads;
    lmb_gpu *gpu;           /* train.backend is cuda, else NULL */
    const lmb_batch *batch; /* under way                                */
    int64_t numbers, share; /* in a sample; most rows of a rank's part  */
    int64_t rows;           /* of a prediction: always as many          */
    int64_t size;           /* samples loaded at once; divides a chunk  */
    float *mine, *all;      /* [share, classes] and of all ranks        */
    unsigned char *chunk;   /* rank 0                                   */
    int fd;
} filler;

/* Rank r's part of n rows: `share` is that of a full batch, so that all ranks know where each part lies. */
static void part_of(const filler *w, int rank, int64_t n, int64_t *lo, int64_t *hi)
{
    *lo = rank * w->share < n ? rank * w->share : n;
    *hi = *lo + w->share < n ? *lo + w->share : n;
}

static void my_part(void *ctx, int64_t n, int64_t *lo, int64_t *hi)
{
    const filler *w = ctx;
    part_of(w, w->comm->rank, n, lo, hi);
}

static lmb_status predict(filler *w, worker *me, int64_t first, lmb_error *err)
{
    int64_t n = w->batch->n - first < w->rows ? w->batch->n - first : w->rows, k = w->f->classes;
    const float *logits;

    LMB_TRY(lmb_predictor_run(me->p, w->batch->x + first * w->numbers, n, &logits, err));
    for (int64_t i = 0; i < n * k; i++)
        if (!isfinite(logits[i]))
            return LMB_FAIL(err, LMB_E_NUMERIC, "the teacher's logits of sample %u are not finite",
                            w->batch->sample[first + i / k]);
    memcpy(w->mine + first * k, logits, (size_t)(n * k) * sizeof *logits);
    return LMB_OK;
}

static void task(void *ctx, int t, int which)
{
    filler *w = ctx;
    worker *me = &w->worker[which];
    if (me->err.status == LMB_OK && predict(w, me, t * w->rows, &me->err) != LMB_OK && me->err.status == LMB_OK)
        me->err.status = LMB_E_NOMEM;
}

/* One batch into rows [at, at + total) of the chunk. */
static lmb_status fill_batch(filler *w, int64_t at, lmb_error *err)
{
    size_t row = (size_t)w->f->classes * sizeof(float);
    int64_t lo, hi;

    LMB_TRY(lmb_loader_next(w->loader, &w->batch, err));
    lmb_pool_run(w->pool, (int)((w->batch->n + w->rows - 1) / w->rows), task, w);
    for (int i = 0; i < w->threads; i++)
        if (w->worker[i].err.status != LMB_OK)
            return LMB_FAIL(err, w->worker[i].err.status, "%s", w->worker[i].err.msg);
    LMB_TRY(w->comm->gather_all(w->comm, w->mine, w->all, (size_t)w->share * row, err));
    for (int r = 0; w->comm->rank == 0 && r < w->comm->size; r++) {
        part_of(w, r, w->batch->total, &lo, &hi);
        memcpy(w->chunk + (size_t)(at + lo) * row, w->all + (int64_t)r * w->share * w->f->classes,
               (size_t)(hi - lo) * row);
    }
    return LMB_OK;
}

static lmb_status write_chunk(filler *w, int64_t chunk, lmb_error *err)
{
    size_t done = 0, n = w->f->chunk_bytes;
    lmb_hash h;

    lmbi_logits_hash(w->f, chunk, w->chunk, &h);
    memcpy(w->chunk + n - LMB_HASH_BYTES, &h, sizeof h);
    while (done < n) {
        ssize_t k = pwrite(w->fd, w->chunk + done, n - done, (off_t)(lmbi_logits_offset(w->f, chunk) + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return LMB_FAIL(err, LMB_E_IO, "%s: writing %zu bytes failed: %s", w->f->path, n,
                            k < 0 ? strerror(errno) : "nothing was written");
        done += (size_t)k;
    }
    return LMB_OK;
}

static lmb_status fill_chunk(filler *w, int64_t chunk, bool follows, lmb_error *err)
{
    int64_t first = chunk % w->f->per_epoch * LMBI_LOGITS_ROWS, left = w->f->samples - first;
    int64_t rows = left < LMBI_LOGITS_ROWS ? left : LMBI_LOGITS_ROWS;

    if (!follows)
        LMB_TRY(lmb_loader_begin(w->loader, (uint32_t)(chunk / w->f->per_epoch), first / w->size, err));
    memset(w->chunk, 0, w->f->chunk_bytes);
    for (int64_t at = 0; at < rows; at += w->size)
        LMB_TRY(fill_batch(w, at, err));
    return w->comm->rank ? LMB_OK : write_chunk(w, chunk, err);
}

static lmb_status fill_all(filler *w, const uint8_t *there, const lmb_logits_watch *watch, lmb_error *err)
{
    int64_t all = 0, done = 0, before = -2;
    char stop = 0;

    for (int64_t c = 0; c < w->f->chunks; c++)
        all += !there[c];
    for (int64_t c = 0; c < w->f->chunks && !stop; c++) {
        if (there[c])
            continue;
        LMB_TRY(fill_chunk(w, c, before == c - 1 && c % w->f->per_epoch, err));
        before = c;
        done++;
        if (watch && watch->rows && !watch->rows(watch->ctx, done * LMBI_LOGITS_ROWS, all * LMBI_LOGITS_ROWS))
            stop = done < all;
        LMB_TRY(w->comm->broadcast(w->comm, &stop, 1, 0, err));
    }
    if (w->comm->rank == 0 && fsync(w->fd) != 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: sync failed: %s", w->f->path, strerror(errno));
    LMB_TRY(w->comm->broadcast(w->comm, &stop, 1, 0, err)); /* nobody maps before rank 0 is through */
    return stop ? LMB_FAIL(err, LMB_E_STOPPED, "stopped after %lld of %lld parts of the teacher's logits",
                           (long long)done, (long long)all)
                : LMB_OK;
}

/* Enough for every rank to answer `rows` at once, and a divisor of a chunk. */
static int64_t batch_size(int64_t rows)
{
    int64_t n = LEAST_BATCH;
    while (n < rows && n < LMBI_LOGITS_ROWS)
        n *= 2;
    return n;
}

/* The teacher answers where the student trains: live, the two are one plan there. */
static lmb_status find_kernels(filler *w, const lmb_logits_key *k, const lmb_backend *list[LMB_CPU_BACKENDS],
                               lmb_error *err)
{
    bool narrow = k->precision == LMB_TRAIN_BF16;

    if (strcmp(k->backend, "cuda") != 0)
        return narrow ? lmb_cpu_backends_bf16(k->backend, list, err) : lmb_cpu_backends(k->backend, list, err);
    int index;
    bool alone;
    LMB_TRY(lmb_gpu_pick(w->comm, true, &index, &alone, err));
    LMB_TRY(lmb_gpu_open(index, &w->gpu, err));
    list[0] = lmb_gpu_backend(w->gpu, narrow ? LMB_CUDA_BF16_MAPS : LMB_CUDA_F32_EXACT);
    list[1] = NULL;
    return LMB_OK;
}

static lmb_status set_up(filler *w, const lmb_logits_key *k, int threads, lmb_error *err)
{
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    size_t row = (size_t)w->f->classes * sizeof(float);

    LMB_TRY(find_kernels(w, k, backends, err));
    w->rows = k->rows;
    w->size = batch_size(k->rows * w->comm->size);
    w->share = (w->size + w->comm->size - 1) / w->comm->size;
    w->numbers = lmb_shape_count(&k->data->shape);
    lmb_loader_options o = { .data = k->data,
                             .batch = w->size,
                             .seed = k->seed,
                             .augment = w->f->augmented ? k->augment : NULL,
                             .range = my_part,
                             .range_ctx = w };
    int tasks = (int)((w->share + w->rows - 1) / w->rows);
    w->threads = threads > 0 ? threads : (lmb_cpu_count() + w->comm->size - 1) / w->comm->size;
    w->threads = w->gpu ? 1 : w->threads > tasks ? tasks : w->threads;
    w->worker = calloc((size_t)w->threads, sizeof *w->worker);
    w->mine = calloc((size_t)w->share, row);
    w->all = calloc((size_t)(w->share * w->comm->size), row);
    w->chunk = malloc(w->f->chunk_bytes);
    if (!w->worker || !w->mine || !w->all || !w->chunk)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to compute logits");
    for (int i = 0; i < w->threads; i++)
        LMB_TRY(lmb_predictor_create(k->teacher, NULL, backends, w->rows, &w->worker[i].p, err));
    LMB_TRY(lmb_pool_create(w->threads, &w->pool, err));
    LMB_TRY(lmb_loader_create(&o, &w->loader, err));
    if (w->comm->rank == 0 && (w->fd = open(w->f->path, O_WRONLY | O_CLOEXEC)) < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: open failed: %s", w->f->path, strerror(errno));
    return LMB_OK;
}

lmb_status lmbi_logits_fill(const lmbi_logits_file *f, const lmb_logits_key *k, const uint8_t *there, int threads,
                            lmb_comm *comm, const lmb_logits_watch *watch, lmb_error *err)
{
    filler w = { .f = f, .comm = comm, .fd = -1 };
    lmb_status st = set_up(&w, k, threads, err);

    if (st == LMB_OK)
        st = fill_all(&w, there, watch, err);
    if (w.fd >= 0)
        close(w.fd);
    lmb_loader_destroy(w.loader);
    lmb_pool_destroy(w.pool);
    for (int i = 0; w.worker && i < w.threads; i++)
        lmb_predictor_destroy(w.worker[i].p);
    lmb_gpu_close(w.gpu);
    free(w.worker);
    free(w.mine);
    free(w.all);
    free(w.chunk);
    return st;
}
