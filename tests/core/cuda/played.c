/* tests/core/cuda/played.c - a module with the table of core/cuda/cuda.h and no GPU: memory is the host's, kernels
 * are those of our module on the host, and streams put off whatever they are given until somebody waits, as late as a
 * GPU ever could.
 *
 * So whole trainings with train.backend=cuda run anywhere (LMB_CUDA_MODULE names this file), and what breaks when a
 * copy comes late, an order of two streams is missing or a recorded step is replayed with other numbers, breaks here.
 * LMB_PLAYED says how it goes wrong: "refuse": recording can not begin; "forget": the last two pieces of work are not
 * replayed; "clockless": what is replayed sets no event's time; "hang": what is looked at is never done; "wrong":
 * played_steps.c. LMB_PLAYED_GPUS: how many there are (8), the same for all processes; "own": one, and each process has
 * another. LMB_PLAYED_MEMORY: bytes that it has (2^34).
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/core/cuda/played_streams.h"

static const lmb_cuda_api *real;

/* ---- the table ---- */

static lmb_status device_count(int *n, lmb_error *err)
{
    const char *some = getenv("LMB_PLAYED_GPUS");
    (void)err;
    *n = !some ? 8 : strcmp(some, "own") == 0 ? 1 : atoi(some);
    return LMB_OK;
}

static uint64_t memory_of_all(void)
{
    const char *some = getenv("LMB_PLAYED_MEMORY");
    return some ? strtoull(some, NULL, 10) : (uint64_t)1 << 34;
}

static lmb_status device_info(int device, lmb_cuda_device *d, lmb_error *err)
{
    const char *some = getenv("LMB_PLAYED_GPUS");
    int name = some && strcmp(some, "own") == 0 ? (int)getpid() : device + 1;
    (void)err;
    *d = (lmb_cuda_device){ "a played GPU", memory_of_all(), 9, 0, 1, { 0 } };
    memcpy(d->uuid, &name, sizeof name);
    return LMB_OK;
}

static lmb_status device_select(int device, lmb_error *err)
{
    (void)device, (void)err;
    lmbi_played_selected();
    return LMB_OK;
}

static lmb_status device_state(lmb_cuda_state *s, lmb_error *err)
{
    (void)err;
    *s = (lmb_cuda_state){ (uint64_t)15 << 30, "0000:01:00.0", 90, 90 };
    return LMB_OK;
}

static lmb_status stream_create(lmb_cuda_stream **s, lmb_error *err)
{
    (void)err;
    lmbi_played_enter();
    *s = lmbi_played_stream();
    lmbi_played_leave();
    return LMB_OK;
}

static lmb_status stream_sync(lmb_cuda_stream *s, lmb_error *err)
{
    lmbi_played_enter();
    if (s->capture) {
        lmb_status st = lmbi_played_refuse(s->capture, "waiting", err);
        lmbi_played_leave();
        return st;
    }
    lmbi_played_drain(s);
    lmb_error failed = s->failed;
    s->failed = (lmb_error)LMB_ERROR_INIT;
    lmbi_played_leave();
    return failed.status == LMB_OK ? LMB_OK : LMB_FAIL(err, failed.status, "%s", failed.msg);
}

static void stream_destroy(lmb_cuda_stream *s)
{
    if (!s)
        return;
    lmbi_played_enter();
    lmbi_played_stream_end(s);
    lmbi_played_leave();
}

static lmb_status event_create(lmb_cuda_event **e, lmb_error *err)
{
    *e = calloc(1, sizeof **e);
    return (void)err, LMB_OK;
}

static lmb_status event_record(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    (void)err;
    lmbi_played_enter();
    e->capture = s->capture;
    e->stream = s;
    e->put = s->put;
    if (!s->capture) {
        lmbi_played_append(&s->list, (op){ .kind = RECORD, .event = e, .turn = ++e->recorded });
    }
    lmbi_played_leave();
    return LMB_OK;
}

static lmb_status event_wait(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    lmb_status st = LMB_OK;
    lmbi_played_enter();
    if (e->capture && s == e->capture->origin)
        e->stream->joined = e->put > e->stream->joined ? e->put : e->stream->joined;
    if (e->capture)
        s->capture = e->capture; /* the recording goes on there */
    else if (s->capture)
        st = lmbi_played_refuse(s->capture, "waiting for what was not recorded", err);
    else if (e->recorded)
        lmbi_played_append(&s->list, (op){ .kind = WAIT, .event = e, .turn = e->recorded });
    lmbi_played_leave();
    return st;
}

static lmb_status event_sync(lmb_cuda_event *e, lmb_error *err)
{
    lmb_status st = LMB_OK;
    lmbi_played_enter();
    if (e->capture)
        st = lmbi_played_refuse(e->capture, "waiting for an event", err);
    else
        lmbi_played_reach(e, e->recorded);
    lmbi_played_leave();
    return st;
}

static lmb_status event_query(lmb_cuda_event *e, bool *done, lmb_error *err)
{
    const char *play = getenv("LMB_PLAYED");
    *done = !play || strcmp(play, "hang") != 0;
    return *done ? event_sync(e, err) : LMB_OK;
}

static lmb_status event_stamp(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    (void)err;
    lmbi_played_enter();
    lmbi_played_push(s, (op){ .kind = STAMP, .event = e });
    lmbi_played_leave();
    return LMB_OK;
}

static lmb_status event_elapsed(lmb_cuda_event *from, lmb_cuda_event *to, double *ms, lmb_error *err)
{
    LMB_TRY(event_sync(to, err));
    if (from->ms < 0 || to->ms < 0)
        return LMB_FAIL(err, LMB_E_DEVICE, "played: an event without a time");
    *ms = to->ms - from->ms;
    return LMB_OK;
}

static void event_destroy(lmb_cuda_event *e)
{
    if (e)
        lmbi_played_finish();
    free(e);
}

/* For tests of what is kept from one training to the next. */
extern long lmb_played_allocations, lmb_played_most; /* bytes in use at once */
__attribute__((visibility("default"))) long lmb_played_allocations, lmb_played_most;

/* Memory begins with what it counts for. */
typedef struct block { uint64_t bytes; } block;
enum { HEAD = 256 };
static uint64_t in_use;

static uint64_t memory_left(void) { return memory_of_all() > in_use ? memory_of_all() - in_use : 0; }

/* counts: of the GPU's memory. The lock is held. */
static lmb_status take(size_t bytes, uint64_t counts, void **memory, lmb_error *err)
{
    if (lmbi_played_recording())
        return lmbi_played_refuse(lmbi_played_recording(), "allocating", err);
    if (counts > memory_left())
        return LMB_FAIL(err, LMB_E_NOMEM, "played: allocating %zu bytes: out of memory", bytes);
    char *b = aligned_alloc(HEAD, (bytes + HEAD - 1) / HEAD * HEAD + 2 * HEAD);
    *(block *)b = (block){ counts };
    memset(b + HEAD, 0xFF, bytes); /* contents are undefined: NaN */
    in_use += counts;
    lmb_played_most = (long)in_use > lmb_played_most ? (long)in_use : lmb_played_most;
    lmb_played_allocations++;
    *memory = b + HEAD;
    return LMB_OK;
}

static lmb_status device_alloc(size_t bytes, void **memory, lmb_error *err)
{
    lmbi_played_enter();
    lmb_status st = take(bytes, bytes, memory, err);
    lmbi_played_leave();
    return st;
}

static void device_free(void *memory)
{
    if (!memory)
        return;
    lmbi_played_enter();
    lmbi_played_finish();
    block *b = (block *)((char *)memory - HEAD);
    in_use -= b->bytes;
    free(b);
    lmbi_played_leave();
}

static lmb_status memory_free(uint64_t *bytes, lmb_error *err)
{
    (void)err;
    lmbi_played_enter();
    *bytes = memory_left();
    lmbi_played_leave();
    return LMB_OK;
}

static lmb_status transfer(void *to, const void *from, size_t bytes, lmb_cuda_stream *s, lmb_error *err)
{
    (void)err;
    lmbi_played_enter();
    lmbi_played_push(s, (op){ .kind = COPY, .to = to, .from = from, .bytes = bytes });
    lmbi_played_leave();
    return LMB_OK;
}

static lmb_status host_alloc(size_t bytes, void **memory, lmb_error *err)
{
    lmbi_played_enter();
    lmb_status st = take(bytes, 0, memory, err);
    lmbi_played_leave();
    return st;
}

static lmb_status queue_create(lmb_cuda_stream *s, lmb_cuda_queue **q, lmb_error *err)
{
    (void)err;
    *q = calloc(1, sizeof **q);
    (*q)->stream = s;
    (*q)->limit = -1;
    return LMB_OK;
}

static void queue_destroy(lmb_cuda_queue *q) { free(q); }

static void queue_measure(lmb_cuda_queue *q, bool on, const lmb_log *log)
{
    (void)log;
    q->measures = on;
}

static void queue_measure_within(lmb_cuda_queue *q, double seconds, const lmb_cuda_known *known)
{
    q->known = known ? *known : (lmb_cuda_known){ 0 };
    q->limit = seconds;
    q->spent = 0;
}

/* Contests that were held, and ways that were known, for tests. There is one way here, and a contest takes a second of
 * nobody's time. */
extern long lmb_played_contests, lmb_played_known;
__attribute__((visibility("default"))) long lmb_played_contests, lmb_played_known;

void lmbi_played_measure(lmb_cuda_queue *q, const char *shape)
{
    if (!q->measures)
        return;
    if (q->known.find && q->known.find(q->known.ctx, shape)) {
        lmb_played_known++;
    } else if (q->limit < 0 || q->spent < q->limit) {
        q->spent += 1;
        lmb_played_contests++;
        if (q->known.found)
            q->known.found(q->known.ctx, shape, "played engine 1 at 0, 1 ms");
    }
}

static lmb_status run_work(void *what, lmb_error *err) { return real->step_work(NULL, what, err); }

static lmb_status step_work(void *queue, const lmb_step_work *w, lmb_error *err)
{
    if (!queue)
        return real->step_work(NULL, w, err);
    lmb_step_work *copy = malloc(sizeof *copy);
    *copy = *w;
    lmbi_played_defer(((lmb_cuda_queue *)queue)->stream, run_work, copy);
    return LMB_OK;
}

static const lmb_cuda_api played = {
    .version = LMB_CUDA_API, .size = sizeof(lmb_cuda_api), .device_count = device_count, .device_info = device_info,
    .device_select = device_select, .device_state = device_state,
    .stream_create = stream_create, .stream_sync = stream_sync,
    .stream_destroy = stream_destroy, .event_create = event_create, .event_record = event_record,
    .event_wait = event_wait, .event_elapsed = event_elapsed, .event_stamp = event_stamp,
    .event_destroy = event_destroy, .alloc = device_alloc,
    .free = device_free, .upload = transfer, .download = transfer, .copy = transfer, .queue_create = queue_create,
    .queue_destroy = queue_destroy, .queue_measure = queue_measure,
    .queue_measure_within = queue_measure_within, .event_sync = event_sync,
    .event_query = event_query, .host_alloc = host_alloc, .host_free = device_free,
    .memory_free = memory_free,
    .step_work = step_work, .convert = lmbi_played_convert,
};

extern lmb_cuda_api lmb_cuda_module; /* LMB_CUDA_MODULE_TABLE */
__attribute__((visibility("default"))) lmb_cuda_api lmb_cuda_module;

/* What is not played is our module's. */
static void fill_table(void)
{
    void *own[sizeof played / sizeof(void *)], *other[sizeof played / sizeof(void *)];

    memcpy(own, &played, sizeof played);
    memcpy(other, real, sizeof *real);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        own[i] = own[i] ? own[i] : other[i];
    memcpy(&lmb_cuda_module, own, sizeof lmb_cuda_module);
}

__attribute__((constructor)) static void begin(void)
{
    void *module = dlopen(LMB_REAL_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    lmbi_played_open();
    real = module ? dlsym(module, LMB_CUDA_MODULE_TABLE) : NULL;
    if (!real)
        return; /* a table of version 0, which nobody opens */
    fill_table();
    lmb_cuda_module.kernels = lmbi_played_kernels(real, real->kernels, 0);
    lmb_cuda_module.kernels_tf32 = lmbi_played_kernels(real, real->kernels_tf32, 1);
    lmb_cuda_module.kernels_bf16 = lmbi_played_kernels(real, real->kernels_bf16, 2);
    lmbi_played_recorder(&lmb_cuda_module);
    lmbi_played_steps(&lmb_cuda_module, real);
}
