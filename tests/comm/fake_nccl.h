/* tests/comm/fake_nccl.h - a table of NCCL (comm/nccl_api.h) that does what a test tells it, on host memory.
 *
 * It counts its calls and refuses, by ending the program, what NCCL does not take: a call on a communicator that is
 * aborted or destroyed.
 */
#ifndef LMB_TESTS_COMM_FAKE_NCCL_H
#define LMB_TESTS_COMM_FAKE_NCCL_H

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/nccl_api.h"
#include "core/base/bf16.h"

enum { FAKE_ERROR = 6 /* ncclRemoteError */, FAKE_FOREVER = 1 << 30 };

static struct fake {
    int busy_init, busy_work; /* how many looks the communicator, or the stream, answers "busy" to after a call */
    int fail_select, fail_id, fail_state; /* codes; fail_state from the next work on */
    int fail_work;                        /* of work itself, which then is none */
    int version, corrupt;                 /* corrupt: the next sum is wrong */
    int stuck;                            /* streams count nothing any more */
    atomic_int graphs;                    /* that abort() waits for */
    uint64_t count;
    unsigned char gpu;
    /* what happened */
    int ids, inits, states, works, aborts, finalizes, destroys, streams, afters, groups;
    int alive, looks, stream_looks, working;
    int size, rank;
    unsigned char id[LMB_NCCL_ID];
} fake;

static char fake_comm, fake_stream;

static void fake_must_live(const void *comm)
{
    if (comm != &fake_comm || !fake.alive)
        abort();
}

static const char *fake_text(int code) { return code == FAKE_ERROR ? "remote process exited" : "something else"; }
static int fake_library(int *version) { return *version = fake.version, LMB_NCCL_OK; }
static int fake_select(int device) { return (void)device, fake.fail_select; }
static int fake_device_id(unsigned char id[LMB_NCCL_DEVICE_ID])
{
    memset(id, fake.gpu, LMB_NCCL_DEVICE_ID);
    return LMB_NCCL_OK;
}
static int fake_alloc(size_t bytes, void **device)
{
    return (*device = calloc(1, bytes)) ? LMB_NCCL_OK : LMB_NCCL_CUDA + 2;
}
static int fake_free(void *device) { return free(device), LMB_NCCL_OK; }
static int fake_copy(void *to, const void *from, size_t bytes, void *stream)
{
    (void)stream;
    memcpy(to, from, bytes);
    return LMB_NCCL_OK;
}
static int fake_stream_create(void **stream) { return *stream = &fake_stream, fake.streams++, LMB_NCCL_OK; }
static int fake_stream_destroy(void *stream) { return (void)stream, fake.streams--, LMB_NCCL_OK; }
static int fake_stream_state(void *stream)
{
    (void)stream;
    return fake.stream_looks++ < fake.busy_work * fake.working ? LMB_NCCL_BUSY : LMB_NCCL_OK;
}
static int fake_stream_after(void *stream, void *other)
{
    return (void)stream, (void)other, fake.afters++, LMB_NCCL_OK;
}
static int fake_event_state(void *event) { return fake_stream_state(event); }
static int fake_count_create(volatile uint64_t **count) { return *count = &fake.count, fake.count = 0, LMB_NCCL_OK; }
static int fake_count_destroy(volatile uint64_t *count) { return (void)count, LMB_NCCL_OK; }
static int fake_count(volatile uint64_t *count, void *stream)
{
    (void)stream;
    *count += !fake.stuck;
    return LMB_NCCL_OK;
}
static int fake_unique_id(unsigned char id[LMB_NCCL_ID])
{
    fake.ids++;
    memset(id, 0x5a, LMB_NCCL_ID);
    return fake.fail_id;
}
static int fake_init(void **comm, int size, const unsigned char id[LMB_NCCL_ID], int rank)
{
    fake.inits++;
    fake.alive = 1;
    fake.size = size;
    fake.rank = rank;
    fake.looks = 0;
    memcpy(fake.id, id, LMB_NCCL_ID);
    *comm = &fake_comm;
    return fake.busy_init ? LMB_NCCL_BUSY : LMB_NCCL_OK;
}
static int fake_state(void *comm)
{
    fake_must_live(comm);
    fake.states++;
    if (fake.working && fake.fail_state)
        return fake.fail_state;
    return fake.looks++ < fake.busy_init ? LMB_NCCL_BUSY : LMB_NCCL_OK;
}
static int fake_finalize(void *comm) { return fake_must_live(comm), fake.finalizes++, fake.looks = 0, LMB_NCCL_BUSY; }
static int fake_destroy(void *comm) { return fake_must_live(comm), fake.destroys++, fake.alive = 0, LMB_NCCL_OK; }
static int fake_abort(void *comm)
{
    fake_must_live(comm);
    while (atomic_load(&fake.graphs))
        nanosleep(&(struct timespec){ 0, 100000 }, NULL);
    return fake.aborts++, fake.alive = 0, LMB_NCCL_OK;
}

static int fake_work(const void *from, void *to, size_t n, lmb_nccl_type t, const void *comm)
{
    fake_must_live(comm);
    if (fake.fail_work)
        return fake.fail_work;
    fake.works++;
    fake.working = 1;
    fake.stream_looks = 0;
    memmove(to, from, n * (t == LMB_NCCL_BF16 ? 2 : t == LMB_NCCL_F64 ? 8 : 4));
    if (fake.corrupt && n)
        ((unsigned char *)to)[1] ^= 64;
    return LMB_NCCL_OK;
}
static int fake_sum(const void *from, void *to, size_t n, lmb_nccl_type t, void *comm, void *stream)
{
    return (void)stream, fake_work(from, to, n, t, comm);
}
static int fake_reduce(const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, void *comm, void *stream)
{
    return (void)op, fake_sum(from, to, n, t, comm, stream);
}
static int fake_reduce_to(void *at, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root, void *comm, void *stream)
{
    return (void)op, (void)root, fake_sum(at, at, n, t, comm, stream);
}
static int fake_spread(void *at, size_t n, lmb_nccl_type t, int root, void *comm, void *stream)
{
    return (void)root, fake_sum(at, at, n, t, comm, stream);
}
static int fake_group_begin(void) { return fake.groups++, LMB_NCCL_OK; }
static int fake_group_end(void) { return fake.groups--, LMB_NCCL_OK; }
static int fake_exchange(const void *from, int a, void *to, int b, size_t n, lmb_nccl_type t, void *comm, void *stream)
{
    static float nowhere[64]; /* one way */
    return (void)stream, (void)a, (void)b, fake_work(from ? from : nowhere, to ? to : nowhere, n, t, comm);
}

static int fake_narrow(const float *from, uint16_t *to, size_t n, void *stream)
{
    (void)stream;
    for (size_t i = 0; i < n; i++)
        to[i] = lmb_bf16_of(from[i]);
    return LMB_NCCL_OK;
}
static int fake_widen(const uint16_t *from, float *to, size_t n, void *stream)
{
    (void)stream;
    for (size_t i = 0; i < n; i++)
        to[i] = lmb_bf16_get(from[i]);
    return LMB_NCCL_OK;
}

static const lmb_nccl_api fake_api = {
    .version = LMB_NCCL_API,
    .size = sizeof(lmb_nccl_api),
    .text = fake_text,
    .library = fake_library,
    .device_select = fake_select,
    .device_id = fake_device_id,
    .alloc = fake_alloc,
    .free = fake_free,
    .upload = fake_copy,
    .download = fake_copy,
    .stream_create = fake_stream_create,
    .stream_destroy = fake_stream_destroy,
    .stream_state = fake_stream_state,
    .stream_after = fake_stream_after,
    .event_state = fake_event_state,
    .count_create = fake_count_create,
    .count_destroy = fake_count_destroy,
    .count = fake_count,
    .unique_id = fake_unique_id,
    .init = fake_init,
    .state = fake_state,
    .finalize = fake_finalize,
    .destroy = fake_destroy,
    .abort = fake_abort,
    .group_begin = fake_group_begin,
    .group_end = fake_group_end,
    .reduce = fake_reduce,
    .reduce_to = fake_reduce_to,
    .spread = fake_spread,
    .sum_scatter = fake_sum,
    .gather = fake_sum,
    .exchange = fake_exchange,
    .narrow = fake_narrow,
    .widen = fake_widen,
};

#endif
