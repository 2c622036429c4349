/* tests/comm/played_nccl_module.c - a module with the table of comm/nccl_api.h and no NCCL: ranks are processes of
 * this machine that meet in a file. With tests/core/cuda/played.c whole trainings of several "GPUs" run anywhere
 * (LMB_NCCL_MODULE names this file). A rank may be in several communicators.
 *
 * Sums are done when it is put on our stream, ranks adding in their order; so what must come before it has to be
 * ordered by stream_after(), which makes the played GPU do what it has put off: numbers are old where that is missing.
 * What is received lies aside until something waits for our stream, so that numbers are old where that is missing, too.
 * A letter has been sent when it was taken, as with large ones of NCCL: who sends and who receives must not both wait.
 * A rank that nobody meets for LMB_PLAYED_PATIENCE seconds (60) goes on as NCCL would: busy for ever; where a process
 * is gone, with an error.
 */
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

enum { MOST = 8, AREA = 1 << 20, BOX = 1 << 14, LETTERS = 64 };
enum { DIED = 6 /* ncclRemoteError */, NO_FILE = 2 /* ncclSystemError */ };

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

/* In a group of calls, then on its way. */
typedef struct letter {
    group *g;
    int from, to;
    const unsigned char *give;
    unsigned char *get, *aside; /* aside: [n] of get, until somebody waits */
    size_t n, done;
} letter;

static char path[LMB_NCCL_ID];
static letter letters[LETTERS], arrived[LETTERS];
static int n_letters, n_arrived, depth;
static int code_now; /* what state() says */
static char our_stream;

static const char *text(int code) { return code == DIED ? "remote process exited" : "unhandled system error"; }
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

/* ---- streams ---- */

static int stream_create(void **stream) { return *stream = &our_stream, LMB_NCCL_OK; }
static int nothing(void *stream) { return (void)stream, LMB_NCCL_OK; }

/* What has been received lies where it was to go. */
static void deliver(void)
{
    for (int i = 0; i < n_arrived; i++) {
        memcpy(arrived[i].get, arrived[i].aside, arrived[i].n);
        free(arrived[i].aside);
    }
    n_arrived = 0;
}

/* What the played GPU has put off until somebody waits. */
static int do_it(void *stream)
{
    if (stream == &our_stream)
        deliver();
    const char *name = getenv("LMB_CUDA_MODULE");
    lmb_error err = LMB_ERROR_INIT;
    void *module = name ? dlopen(name, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    const lmb_cuda_api *gpu = module ? dlsym(module, LMB_CUDA_MODULE_TABLE) : NULL;
    int code = stream == &our_stream                             ? LMB_NCCL_OK
               : gpu && gpu->stream_sync(stream, &err) == LMB_OK ? LMB_NCCL_OK
                                                                 : LMB_NCCL_CUDA + 1;

    if (module)
        dlclose(module);
    return code;
}

static int stream_state(void *stream) { return code_now ? LMB_NCCL_BUSY : do_it(stream); }
static int stream_after(void *stream, void *other) { return (void)stream, do_it(other); }

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

/* Until all have come; false: that will not be. */
static bool meet(const group *g)
{
    double start = now();
    int turn = atomic_load(&g->file->turn);

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
        put(to, i, t, spread || root < 0 || root == g->rank ? x : (double)NAN);
    }
    return meet(g) ? LMB_NCCL_OK : LMB_NCCL_BUSY;
}

static int work(const group *g, const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root,
                bool spread)
{
    size_t most = AREA / bytes_of(t);

    for (size_t at = 0; at < n; at += most) {
        int code = part(g, (const unsigned char *)from + at * bytes_of(t), (unsigned char *)to + at * bytes_of(t),
                        n - at < most ? n - at : most, t, op, root, spread);
        if (code != LMB_NCCL_OK)
            return code;
    }
    return LMB_NCCL_OK;
}

/* As far as it goes now. */
static void go_on(letter *l)
{
    box *b = &l->g->file->box[l->from][l->to];
    size_t left = l->n - l->done, some = left < BOX ? left : BOX;

    if (l->give && !atomic_load(&b->full) && left) {
        memcpy(b->bytes, l->give + l->done, some);
        l->done += some;
        atomic_store(&b->full, 1);
    } else if (l->get && atomic_load(&b->full) && left) {
        memcpy(l->aside + l->done, b->bytes, some);
        l->done += some;
        atomic_store(&b->full, 0);
    }
}

static bool gone(const letter *l)
{
    return l->done == l->n && (l->get || !atomic_load(&l->g->file->box[l->from][l->to].full));
}

static int send_all(void)
{
    double start = now();

    for (bool all = false; !all;) {
        all = true;
        for (int i = 0; i < n_letters; i++) {
            go_on(&letters[i]);
            all = all && gone(&letters[i]);
        }
        if (!all && !patient(letters[0].g, start))
            return LMB_NCCL_BUSY;
    }
    for (int i = 0; i < n_letters; i++)
        if (letters[i].get) {
            if (n_arrived == LETTERS)
                deliver();
            arrived[n_arrived++] = letters[i];
        }
    n_letters = 0;
    return LMB_NCCL_OK;
}

static int group_begin(void) { return depth++, code_now ? LMB_NCCL_BUSY : LMB_NCCL_OK; }
static int group_end(void)
{
    if (--depth || code_now)
        return code_now ? LMB_NCCL_BUSY : LMB_NCCL_OK;
    return send_all();
}

/* One letter of a rank to another in a group. */
static int put_letter(letter l)
{
    if (n_letters == LETTERS)
        return NO_FILE;
    if (l.get && !(l.aside = malloc(l.n + 1)))
        return NO_FILE;
    letters[n_letters++] = l;
    return LMB_NCCL_OK;
}

static int exchange(const void *from, int peer_to, void *to, int peer_from, size_t n, lmb_nccl_type t, void *comm,
                    void *stream)
{
    group *g = comm;
    size_t bytes = n * bytes_of(t);

    (void)stream;
    int code = group_begin();
    if (code == LMB_NCCL_OK && peer_to >= 0)
        code = put_letter((letter){ .g = g, .from = g->rank, .to = peer_to, .give = from, .n = bytes });
    if (code == LMB_NCCL_OK && peer_from >= 0)
        code = put_letter((letter){ .g = g, .from = peer_from, .to = g->rank, .get = to, .n = bytes });
    int ended = group_end();
    return code == LMB_NCCL_OK ? ended : code;
}

static int reduce(const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, void *comm, void *stream)
{
    return (void)stream, work(comm, from, to, n, t, op, -1, false);
}
static int reduce_to(void *at, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root, void *comm, void *stream)
{
    return (void)stream, work(comm, at, at, n, t, op, root, false);
}
static int spread(void *at, size_t n, lmb_nccl_type t, int root, void *comm, void *stream)
{
    return (void)stream, work(comm, at, at, n, t, LMB_NCCL_ADD, root, true);
}
static int narrow(const float *from, uint16_t *to, size_t n, void *stream)
{
    (void)stream;
    for (size_t i = 0; i < n; i++)
        to[i] = lmb_bf16_of(from[i]);
    return LMB_NCCL_OK;
}
static int widen(const uint16_t *from, float *to, size_t n, void *stream)
{
    (void)stream;
    for (size_t i = 0; i < n; i++)
        to[i] = lmb_bf16_get(from[i]);
    return LMB_NCCL_OK;
}

/* What a training does not ask for (sum_scatter, gather) is left out. */
extern const lmb_nccl_api lmb_nccl_module;
__attribute__((visibility("default"))) const lmb_nccl_api lmb_nccl_module = {
    .version = LMB_NCCL_API,
    .size = sizeof(lmb_nccl_api),
    .text = text,
    .library = library,
    .device_select = device_select,
    .device_id = device_id,
    .alloc = mem_alloc,
    .free = mem_free,
    .upload = transfer,
    .download = transfer,
    .stream_create = stream_create,
    .stream_destroy = nothing,
    .stream_state = stream_state,
    .stream_after = stream_after,
    .unique_id = unique_id,
    .init = init,
    .state = state,
    .finalize = nothing,
    .destroy = end,
    .abort = end,
    .group_begin = group_begin,
    .group_end = group_end,
    .reduce = reduce,
    .reduce_to = reduce_to,
    .spread = spread,
    .exchange = exchange,
    .narrow = narrow,
    .widen = widen,
};
