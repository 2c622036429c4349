/* tests/comm/played_nccl.h - a table of NCCL (comm/nccl_api.h) that really sums, for ranks that are threads of one
 * process (thread_ranks.h): device memory is the host's, and work is done when it is put on the stream. What NCCL
 * leaves undefined is filled with NaN.
 */
#ifndef LMB_TESTS_COMM_PLAYED_NCCL_H
#define LMB_TESTS_COMM_PLAYED_NCCL_H

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "comm/nccl_api.h"
#include "core/base/bf16.h"
#include "tests/comm/thread_ranks.h"

enum { PLAYED_DIED = 6 /* ncclRemoteError */ };

/* One job at a time. */
static struct played {
    pthread_barrier_t met;
    const void *shown[MOST_RANKS];
    int size;
    int die_at;                    /* after so many pieces of work a peer is dead: state() says so; 0: never */
    int reduced, spread, bytes[3]; /* rank 0's: pieces, and bytes of each type */
} played;
static _Thread_local struct played_rank {
    int rank, works, groups;
} played_me;

static const char *played_text(int code) { return code == PLAYED_DIED ? "remote process exited" : "something else"; }
static int played_library(int *version) { return *version = 22809, LMB_NCCL_OK; }
static int played_select(int device) { return (void)device, LMB_NCCL_OK; }
static int played_device_id(unsigned char id[LMB_NCCL_DEVICE_ID])
{
    static atomic_int next;
    memset(id, ++next, LMB_NCCL_DEVICE_ID);
    return LMB_NCCL_OK;
}
static int played_alloc(size_t bytes, void **device)
{
    return (*device = calloc(1, bytes)) ? LMB_NCCL_OK : LMB_NCCL_CUDA + 2;
}
static int played_free(void *device) { return free(device), LMB_NCCL_OK; }
static int played_copy(void *to, const void *from, size_t bytes, void *stream)
{
    return (void)stream, memcpy(to, from, bytes), LMB_NCCL_OK;
}
static int played_stream_create(void **stream) { return *stream = &played_me, LMB_NCCL_OK; }
static int played_nothing(void *of) { return (void)of, LMB_NCCL_OK; }
static int played_after(void *stream, void *other) { return (void)stream, (void)other, LMB_NCCL_OK; }
static int played_count_create(volatile uint64_t **count)
{
    return (*count = calloc(1, sizeof **count)) ? LMB_NCCL_OK : LMB_NCCL_CUDA + 2;
}
static int played_count_destroy(volatile uint64_t *count) { return free((void *)count), LMB_NCCL_OK; }
static bool played_dead(void);
static int played_count(volatile uint64_t *count, void *stream)
{
    (void)stream;
    *count += !played_dead();
    return LMB_NCCL_OK;
}
static int played_id(unsigned char id[LMB_NCCL_ID]) { return memset(id, 7, LMB_NCCL_ID), LMB_NCCL_OK; }
static int played_init(void **comm, int size, const unsigned char id[LMB_NCCL_ID], int rank)
{
    played_me = (struct played_rank){ rank, 0, 0 };
    *comm = &played_me;
    return size == played.size && id[0] == 7 ? LMB_NCCL_OK : PLAYED_DIED;
}
static bool played_dead(void) { return played.die_at && played_me.works >= played.die_at; }
static int played_state(void *comm) { return (void)comm, played_dead() ? PLAYED_DIED : LMB_NCCL_OK; }
static int played_group_begin(void) { return played_me.groups++, LMB_NCCL_OK; }
static int played_group_end(void) { return played_me.groups--, played_dead() ? LMB_NCCL_BUSY : LMB_NCCL_OK; }

static double played_get(const void *v, size_t i, lmb_nccl_type t)
{
    return t == LMB_NCCL_F64    ? ((const double *)v)[i]
           : t == LMB_NCCL_BF16 ? (double)lmb_bf16_get(((const uint16_t *)v)[i])
                                : (double)((const float *)v)[i];
}
static void played_put(void *v, size_t i, lmb_nccl_type t, double x)
{
    if (t == LMB_NCCL_F64)
        ((double *)v)[i] = x;
    else if (t == LMB_NCCL_BF16)
        ((uint16_t *)v)[i] = lmb_bf16_of((float)x);
    else
        ((float *)v)[i] = (float)x;
}

/* Two ranks' f32 in f32, as on a GPU: a sum of two floats in double, rounded once, is their sum in float. */
static void played_combine(double *out, double x, lmb_nccl_type t, lmb_nccl_op op)
{
    *out = op == LMB_NCCL_LEAST      ? fmin(*out, x)
           : op == LMB_NCCL_GREATEST ? fmax(*out, x)
           : t == LMB_NCCL_F64       ? *out + x
                                     : (double)(float)(*out + x);
}

/* root -1: all get it. */
static int played_work(const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root, bool spread)
{
    double *sum = malloc(sizeof *sum * (n + 1));

    played_me.works++;
    if (played_dead())
        return free(sum), LMB_NCCL_BUSY; /* nobody comes */
    if (played_me.rank == 0)
        *(spread ? &played.spread : &played.reduced) += 1, played.bytes[t] += (int)n * (t == LMB_NCCL_BF16  ? 2
                                                                                        : t == LMB_NCCL_F32 ? 4
                                                                                                            : 8);
    played.shown[played_me.rank] = from;
    pthread_barrier_wait(&played.met);
    for (size_t i = 0; i < n && sum; i++) {
        sum[i] = played_get(played.shown[spread ? root : 0], i, t);
        for (int r = 1; r < played.size && !spread; r++)
            played_combine(&sum[i], played_get(played.shown[r], i, t), t, op);
    }
    pthread_barrier_wait(&played.met);
    for (size_t i = 0; i < n && sum; i++)
        played_put(to, i, t, spread || root < 0 || root == played_me.rank ? sum[i] : (double)NAN);
    free(sum);
    return LMB_NCCL_OK;
}
static int played_reduce(const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, void *comm,
                         void *stream)
{
    return (void)comm, (void)stream, played_work(from, to, n, t, op, -1, false);
}
static int played_reduce_to(void *at, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root, void *comm, void *stream)
{
    return (void)comm, (void)stream, played_work(at, at, n, t, op, root, false);
}
static int played_spread(void *at, size_t n, lmb_nccl_type t, int root, void *comm, void *stream)
{
    return (void)comm, (void)stream, played_work(at, at, n, t, LMB_NCCL_ADD, root, true);
}
static int played_narrow(const float *from, uint16_t *to, size_t n, void *stream)
{
    (void)stream;
    for (size_t i = 0; i < n; i++)
        to[i] = lmb_bf16_of(from[i]);
    return LMB_NCCL_OK;
}
static int played_widen(const uint16_t *from, float *to, size_t n, void *stream)
{
    (void)stream;
    for (size_t i = 0; i < n; i++)
        to[i] = lmb_bf16_get(from[i]);
    return LMB_NCCL_OK;
}

static const lmb_nccl_api played_nccl = {
    .version = LMB_NCCL_API,
    .size = sizeof(lmb_nccl_api),
    .text = played_text,
    .library = played_library,
    .device_select = played_select,
    .device_id = played_device_id,
    .alloc = played_alloc,
    .free = played_free,
    .upload = played_copy,
    .download = played_copy,
    .stream_create = played_stream_create,
    .stream_destroy = played_nothing,
    .stream_state = played_nothing,
    .stream_after = played_after,
    .event_state = played_nothing,
    .count_create = played_count_create,
    .count_destroy = played_count_destroy,
    .count = played_count,
    .unique_id = played_id,
    .init = played_init,
    .state = played_state,
    .finalize = played_nothing,
    .destroy = played_nothing,
    .abort = played_nothing,
    .group_begin = played_group_begin,
    .group_end = played_group_end,
    .reduce = played_reduce,
    .reduce_to = played_reduce_to,
    .spread = played_spread,
    .narrow = played_narrow,
    .widen = played_widen,
};

static inline void play_nccl(int size)
{
    memset(&played, 0, sizeof played);
    played.size = size;
    pthread_barrier_init(&played.met, NULL, (unsigned)size);
}

#endif
