/* tests/comm/played_nccl_module.c - a module with the table of comm/nccl_api.h and no NCCL: ranks are processes of
 * this machine that meet in a file. With tests/core/cuda/played.c whole trainings of several "GPUs" run anywhere
 * (LMB_NCCL_MODULE names this file). A rank may be in several communicators.
 *
 * Work is done when it is put on a stream, ranks adding in their order; so what must come before it on another has to
 * be ordered by stream_after(), which makes the played GPU do what it has put off: numbers are old where that is
 * missing. On a stream that is being recorded it is recorded (lmb_played_put), and done in every replay.
 * Letters between two ranks: played_nccl_letters.h; parts of sums: played_nccl_parts.h.
 * LMB_PLAYED_NCCL=refuse: what is recorded is an error; "jitter": what is replayed ends in other bits, the same on all.
 * A rank that nobody meets for LMB_PLAYED_PATIENCE seconds (60) goes on as NCCL would: busy for ever; where a process
 * is gone, with an error. LMB_PLAYED_STOP=FILE: rank 1 stops, once, when the file is there: played_nccl_stop.h. */
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "comm/nccl_api.h"
#include "core/base/bf16.h"
#include "core/cuda/cuda.h"

enum { MOST = 8, AREA = 1 << 20, BOX = 1 << 18, DIED = 6 /* ncclRemoteError */, NO_FILE = 2 /* ncclSystemError */,
       REFUSED = 5 /* ncclInvalidUsage */ };

/* full: bytes of a letter on its way from one rank to another. */
typedef struct box {
    atomic_int full;
    unsigned char bytes[BOX];
} box;
typedef struct place {
    atomic_int arrived, turn, pid[MOST];
    unsigned char area[MOST][AREA];
    box box[MOST][MOST];
} place;

typedef struct group {
    place *file;
    int rank, size;
} group;

static char path[LMB_NCCL_ID];
static int code_now; /* what state() says */
static bool jitter;
static char our_stream;

static const char *text(int code)
{
    return code == DIED ? "remote process exited" : code == REFUSED ? "invalid usage" : "unhandled system error";
}
static int library(int *version) { return *version = 22809, LMB_NCCL_OK; }
static int device_select(int device) { return (void)device, LMB_NCCL_OK; }
static int device_id(unsigned char id[LMB_NCCL_DEVICE_ID])
{
    const char *same = getenv("LMB_PLAYED_ONE_GPU");
    snprintf((char *)id, LMB_NCCL_DEVICE_ID, "%d", same ? 1 : (int)getpid());
    return LMB_NCCL_OK;
}
static int mem_alloc(size_t bytes, void **device)
{
    return (*device = aligned_alloc(256, (bytes + 255) / 256 * 256)) ? LMB_NCCL_OK : NO_FILE;
}
static int mem_free(void *device) { return free(device), LMB_NCCL_OK; }
static int transfer(void *to, const void *from, size_t bytes, void *stream)
{
    return (void)stream, memcpy(to, from, bytes), LMB_NCCL_OK;
}

/* ---- streams: those of the played GPU, if there is one ---- */

typedef bool put_function(lmb_cuda_stream *s, lmb_status (*run)(void *what, lmb_error *err), void *what);
static struct {
    const lmb_cuda_api *api;
    put_function *put;
} gpu;

static void find_gpu(void)
{
    const char *name = getenv("LMB_CUDA_MODULE");
    void *module = name && !gpu.api ? dlopen(name, RTLD_LAZY | RTLD_NOLOAD) : NULL;

    if (!module)
        return;
    gpu.api = dlsym(module, LMB_CUDA_MODULE_TABLE);
    *(void **)&gpu.put = dlsym(module, "lmb_played_put");
    dlclose(module);
}

static bool recorded(void *stream) { return gpu.put && stream != &our_stream && gpu.put(stream, NULL, NULL); }

static int stream_create(void **stream)
{
    lmb_error err = LMB_ERROR_INIT;

    find_gpu();
    *stream = &our_stream;
    return !gpu.api || gpu.api->stream_create((lmb_cuda_stream **)stream, &err) == LMB_OK ? LMB_NCCL_OK
                                                                                          : LMB_NCCL_CUDA + 1;
}

static int stream_destroy(void *stream)
{
    if (gpu.api && stream != &our_stream)
        gpu.api->stream_destroy(stream);
    return LMB_NCCL_OK;
}

static int nothing(void *of) { return (void)of, LMB_NCCL_OK; }
static void deliver(const void *stream); /* what letters have brought on it */

/* What the played GPU has put off until somebody waits. */
static int do_it(void *stream)
{
    lmb_error err = LMB_ERROR_INIT;

    deliver(stream);
    return stream == &our_stream || !gpu.api || gpu.api->stream_sync(stream, &err) == LMB_OK ? LMB_NCCL_OK
                                                                                             : LMB_NCCL_CUDA + 1;
}

static int stream_state(void *stream) { return code_now ? LMB_NCCL_BUSY : do_it(stream); }

static int event_state(void *event)
{
    lmb_error err = LMB_ERROR_INIT;
    return code_now                                           ? LMB_NCCL_BUSY
           : gpu.api->event_sync(event, &err) == LMB_OK ? LMB_NCCL_OK
                                                        : LMB_NCCL_CUDA + 1;
}

static int stream_after(void *stream, void *other)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_cuda_event *mark = NULL;

    if (!recorded(stream) && !recorded(other))
        return do_it(other);
    lmb_status st = gpu.api->event_create(&mark, &err);
    st = st == LMB_OK ? gpu.api->event_record(mark, other, &err) : st;
    st = st == LMB_OK ? gpu.api->event_wait(mark, stream, &err) : st;
    gpu.api->event_destroy(mark);
    return st == LMB_OK ? LMB_NCCL_OK : LMB_NCCL_CUDA + 1;
}

/* ---- meeting ---- */

static int unique_id(unsigned char id[LMB_NCCL_ID])
{
    const char *folder = getenv("TMPDIR");
    memset(path, 0, sizeof path);
    snprintf(path, sizeof path, "%.80s/played-nccl-XXXXXX", folder ? folder : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, sizeof(place)) != 0)
        return NO_FILE;
    close(fd);
    memcpy(id, path, sizeof path);
    return LMB_NCCL_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool somebody_died(const group *g)
{
    for (int r = 0; r < g->size; r++) {
        int pid = atomic_load(&g->file->pid[r]);
        if (pid && kill(pid, 0) != 0)
            return true;
    }
    return false;
}

/* A nap; false: what is waited for will not be. */
static bool patient(const group *g, double start)
{
    const char *patience = getenv("LMB_PLAYED_PATIENCE");

    code_now = somebody_died(g) ? DIED : now() - start > (patience ? atof(patience) : 60) ? LMB_NCCL_BUSY : LMB_NCCL_OK;
    nanosleep(&(struct timespec){ 0, 20000 }, NULL);
    return code_now == LMB_NCCL_OK;
}

#include "tests/comm/played_nccl_stop.h"

/* Until all have come; false: that will not be. */
static bool meet(const group *g)
{
    double start = now();
    int turn = atomic_load(&g->file->turn);
    stop_once(g->rank);
    if (atomic_fetch_add(&g->file->arrived, 1) + 1 == g->size) {
        atomic_store(&g->file->arrived, 0);
        atomic_fetch_add(&g->file->turn, 1);
        return true;
    }
    while (atomic_load(&g->file->turn) == turn)
        if (!patient(g, start))
            return false;
    return true;
}

static int init(void **comm, int size, const unsigned char id[LMB_NCCL_ID], int rank)
{
    int fd = open((const char *)id, O_RDWR);
    group *g = malloc(sizeof *g);

    *g = (group){ MAP_FAILED, rank, size };
    if (fd >= 0 && size <= MOST)
        g->file = mmap(NULL, sizeof *g->file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (g->file == MAP_FAILED)
        return free(g), NO_FILE;
    close(fd);
    *comm = g;
    atomic_store(&g->file->pid[rank], (int)getpid());
    if (!meet(g))
        return LMB_NCCL_BUSY;
    if (rank == 0)
        unlink((const char *)id);
    return LMB_NCCL_OK;
}

static int state(void *comm) { return (void)comm, code_now; }
static int end(void *comm) { return munmap(((group *)comm)->file, sizeof(place)), free(comm), LMB_NCCL_OK; }

/* ---- work ---- */

static size_t bytes_of(lmb_nccl_type t) { return t == LMB_NCCL_BF16 ? 2 : t == LMB_NCCL_F32 ? 4 : 8; }

static double get(const unsigned char *v, size_t i, lmb_nccl_type t)
{
    return t == LMB_NCCL_F64    ? ((const double *)(const void *)v)[i]
           : t == LMB_NCCL_BF16 ? (double)lmb_bf16_get(((const uint16_t *)(const void *)v)[i])
                                : (double)((const float *)(const void *)v)[i];
}

static void put(unsigned char *v, size_t i, lmb_nccl_type t, double x)
{
    if (t == LMB_NCCL_F64)
        ((double *)(void *)v)[i] = x;
    else if (t == LMB_NCCL_BF16)
        ((uint16_t *)(void *)v)[i] = lmb_bf16_of((float)x);
    else
        ((float *)(void *)v)[i] = (float)x;
}

/* A sum of two floats in double, rounded once, is their sum in float. */
static double combine(double a, double b, lmb_nccl_type t, lmb_nccl_op op)
{
    return op == LMB_NCCL_LEAST      ? fmin(a, b)
           : op == LMB_NCCL_GREATEST ? fmax(a, b)
           : t == LMB_NCCL_F64       ? a + b
                                     : (double)(float)(a + b);
}

/* root -1: everybody gets it; who does not, gets rubbish. */
static int part(const group *g, const unsigned char *from, unsigned char *to, size_t n, lmb_nccl_type t, lmb_nccl_op op,
                int root, bool spread)
{
    place *file = g->file;

    memcpy(file->area[g->rank], from, n * bytes_of(t));
    if (!meet(g))
        return LMB_NCCL_BUSY;
    for (size_t i = 0; i < n; i++) {
        double x = get(file->area[spread ? root : 0], i, t);
        for (int r = 1; r < g->size && !spread; r++)
            x = combine(x, get(file->area[r], i, t), t, op);
        if (jitter && t == LMB_NCCL_F32 && op == LMB_NCCL_ADD && !spread)
            x *= 1 + 1e-6;
        put(to, i, t, spread || root < 0 || root == g->rank ? x : (double)NAN);
    }
    return meet(g) ? LMB_NCCL_OK : LMB_NCCL_BUSY;
}

static int work(const group *g, const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root,
                bool spread)
{
    size_t most = AREA / bytes_of(t);

    if (code_now) /* it has come to nothing before */
        return LMB_NCCL_BUSY;
    for (size_t at = 0; at < n; at += most) {
        int code = part(g, (const unsigned char *)from + at * bytes_of(t), (unsigned char *)to + at * bytes_of(t),
                        n - at < most ? n - at : most, t, op, root, spread);
        if (code != LMB_NCCL_OK)
            return code;
    }
    return LMB_NCCL_OK;
}

#include "tests/comm/played_nccl_letters.h"
#include "tests/comm/played_nccl_parts.h"

/* ---- now, or recorded ---- */

typedef enum { REDUCE, SPREAD, NARROW, WIDEN, COUNT } kind;
typedef struct job {
    kind kind;
    const group *g;
    const void *from;
    void *to;
    size_t n;
    lmb_nccl_type type;
    lmb_nccl_op op;
    int root;
} job;

static int do_job(const job *j)
{
    for (size_t i = 0; j->kind == NARROW && i < j->n; i++)
        ((uint16_t *)j->to)[i] = lmb_bf16_of(((const float *)j->from)[i]);
    for (size_t i = 0; j->kind == WIDEN && i < j->n; i++)
        ((float *)j->to)[i] = lmb_bf16_get(((const uint16_t *)j->from)[i]);
    if (j->kind == COUNT && !code_now) /* behind what nothing came of no stream goes on */
        ++*(volatile uint64_t *)j->to;
    return j->kind == NARROW || j->kind == WIDEN || j->kind == COUNT
               ? LMB_NCCL_OK
               : work(j->g, j->from, j->to, j->n, j->type, j->op, j->root, j->kind == SPREAD);
}

/* What became of it, state() tells. */
static lmb_status replay(void *what, lmb_error *err)
{
    const char *play = getenv("LMB_PLAYED_NCCL");

    jitter = play && strcmp(play, "jitter") == 0;
    (void)err, (void)do_job(what);
    jitter = false;
    return LMB_OK;
}

static int put_job(job j, void *stream)
{
    const char *play = getenv("LMB_PLAYED_NCCL");

    if (!recorded(stream)) {
        int code = do_it(stream);
        return code == LMB_NCCL_OK ? do_job(&j) : code;
    }
    if (play && strcmp(play, "refuse") == 0)
        return REFUSED;
    job *copy = malloc(sizeof *copy);
    *copy = j;
    gpu.put(stream, replay, copy);
    return LMB_NCCL_OK;
}

static int reduce(const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, void *comm, void *stream)
{
    return put_job((job){ REDUCE, comm, from, to, n, t, op, -1 }, stream);
}
static int reduce_to(void *at, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root, void *comm, void *stream)
{
    return put_job((job){ REDUCE, comm, at, at, n, t, op, root }, stream);
}
static int spread(void *at, size_t n, lmb_nccl_type t, int root, void *comm, void *stream)
{
    return put_job((job){ SPREAD, comm, at, at, n, t, LMB_NCCL_ADD, root }, stream);
}
static int narrow(const float *from, uint16_t *to, size_t n, void *stream)
{
    return put_job((job){ .kind = NARROW, .from = from, .to = to, .n = n }, stream);
}
static int widen(const uint16_t *from, float *to, size_t n, void *stream)
{
    return put_job((job){ .kind = WIDEN, .from = from, .to = to, .n = n }, stream);
}

/* Letters that are on their way count as there. */
static int count(volatile uint64_t *at, void *stream)
{
    job j = { .kind = COUNT, .to = (void *)at };
    return recorded(stream) ? put_job(j, stream) : do_job(&j);
}
static int count_create(volatile uint64_t **at) { return (*at = calloc(1, sizeof **at)) ? LMB_NCCL_OK : NO_FILE; }
static int count_destroy(volatile uint64_t *at) { return free((void *)at), LMB_NCCL_OK; }

extern const lmb_nccl_api lmb_nccl_module;
__attribute__((visibility("default"))) const lmb_nccl_api lmb_nccl_module = {
    .version = LMB_NCCL_API, .size = sizeof(lmb_nccl_api), .text = text, .library = library,
    .device_select = device_select, .device_id = device_id,
    .alloc = mem_alloc, .free = mem_free, .upload = transfer, .download = transfer,
    .stream_create = stream_create, .stream_destroy = stream_destroy,
    .stream_state = stream_state, .stream_after = stream_after,
    .event_state = event_state, .count_create = count_create, .count_destroy = count_destroy, .count = count,
    .unique_id = unique_id, .init = init, .state = state, .finalize = nothing, .destroy = end, .abort = end,
    .group_begin = group_begin, .group_end = group_end, .exchange = exchange,
    .reduce = reduce, .reduce_to = reduce_to, .spread = spread, .sum_scatter = sum_scatter, .gather = gather,
    .narrow = narrow, .widen = widen,
};
