/* tests/core/cuda/played.c - a module with the table of core/cuda/cuda.h and no GPU: memory is the host's, kernels
 * are those of our module on the host, and streams put off whatever they are given until somebody waits, as late as a
 * GPU ever could.
 *
 * So whole trainings with train.backend=cuda run anywhere (LMB_CUDA_MODULE names this file), and what breaks when a
 * copy comes late, an order of two streams is missing or a recorded step is replayed with other numbers, breaks here.
 * LMB_PLAYED says how recording goes wrong: "refuse": it can not begin; "forget": the last piece of work is not
 * replayed.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "tests/core/cuda/played_streams.h"

static const lmb_cuda_api *real;

/* ---- the table ---- */

static lmb_status device_count(int *n, lmb_error *err)
{
    (void)err;
    *n = 1;
    return LMB_OK;
}

static lmb_status device_info(int device, lmb_cuda_device *d, lmb_error *err)
{
    (void)device, (void)err;
    *d = (lmb_cuda_device){ "a played GPU", (uint64_t)1 << 34, 9, 0, 1 };
    return LMB_OK;
}

static lmb_status device_select(int device, lmb_error *err)
{
    (void)device, (void)err;
    lmbi_played_selected();
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
    if (!s->capture) {
        e->stream = s;
        lmbi_played_append(&s->list, (op){ .kind = RECORD, .event = e, .turn = ++e->recorded });
    }
    lmbi_played_leave();
    return LMB_OK;
}

static lmb_status event_wait(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    lmb_status st = LMB_OK;
    lmbi_played_enter();
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

static lmb_status event_elapsed(lmb_cuda_event *from, lmb_cuda_event *to, double *ms, lmb_error *err)
{
    (void)from;
    *ms = 1;
    return event_sync(to, err);
}

static void event_destroy(lmb_cuda_event *e)
{
    if (e)
        lmbi_played_finish();
    free(e);
}

/* For tests of what is kept from one training to the next. */
extern long lmb_played_allocations;
__attribute__((visibility("default"))) long lmb_played_allocations;

static lmb_status device_alloc(size_t bytes, void **memory, lmb_error *err)
{
    lmb_status st = LMB_OK;
    lmbi_played_enter();
    if (lmbi_played_recording()) {
        st = lmbi_played_refuse(lmbi_played_recording(), "allocating", err);
    } else {
        lmb_played_allocations++;
        *memory = aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
        memset(*memory, 0xFF, bytes); /* contents are undefined: NaN */
    }
    lmbi_played_leave();
    return st;
}

static void device_free(void *memory)
{
    lmbi_played_finish();
    free(memory);
}

static lmb_status transfer(void *to, const void *from, size_t bytes, lmb_cuda_stream *s, lmb_error *err)
{
    (void)err;
    lmbi_played_enter();
    lmbi_played_push(s, (op){ .kind = COPY, .to = to, .from = from, .bytes = bytes });
    lmbi_played_leave();
    return LMB_OK;
}

static lmb_status host_alloc(size_t bytes, void **memory, lmb_error *err) { return device_alloc(bytes, memory, err); }

static lmb_status queue_create(lmb_cuda_stream *s, lmb_cuda_queue **q, lmb_error *err)
{
    (void)err;
    *q = calloc(1, sizeof **q);
    (*q)->stream = s;
    return LMB_OK;
}

static void queue_destroy(lmb_cuda_queue *q) { free(q); }

/* There is one way here. */
static void queue_measure(lmb_cuda_queue *q, bool on, const lmb_log *log)
{
    (void)log;
    q->measures = on;
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
    .device_select = device_select, .stream_create = stream_create, .stream_sync = stream_sync,
    .stream_destroy = stream_destroy, .event_create = event_create, .event_record = event_record,
    .event_wait = event_wait, .event_elapsed = event_elapsed, .event_destroy = event_destroy, .alloc = device_alloc,
    .free = device_free, .upload = transfer, .download = transfer, .copy = transfer, .queue_create = queue_create,
    .queue_destroy = queue_destroy, .queue_measure = queue_measure, .event_sync = event_sync,
    .host_alloc = host_alloc, .host_free = device_free,
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
