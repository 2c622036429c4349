/* tests/core/cuda/played.c - a module with the table of core/cuda/cuda.h and no GPU: memory is the host's, kernels
 * are those of our module on the host, and streams put off whatever they are given until somebody waits, as late as a
 * GPU ever could.
 *
 * So whole trainings with train.backend=cuda run anywhere (LMB_CUDA_MODULE names this file), and what breaks when a
 * copy comes late, an order of two streams is missing or a recorded step is replayed with other numbers, breaks here.
 * LMB_PLAYED says how it goes wrong: "refuse": recording can not begin; "forget": the last piece of work is not
 * replayed; "hang": what is looked at is never done.
 *   source   for what recording allows: CUDA C++ Programming Guide, CUDA Graphs, Stream Capture
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/core/cuda/played.h"

enum { COPY, CALL, RECORD, WAIT };

typedef struct op {
    int kind;
    void *to;
    const void *from;
    size_t bytes;
    lmb_cuda_event *event;
    long turn;
    lmb_status (*run)(void *what, lmb_error *err);
    void *what;
    bool borrowed; /* of a graph */
} op;

typedef struct list { op *op; size_t n, cap; } list;

struct lmb_cuda_graph { list list; bool broken; };
struct lmb_cuda_stream {
    list list;
    size_t done;
    lmb_cuda_graph *capture;
    lmb_error failed;
    lmb_cuda_stream *next;
};
struct lmb_cuda_event { lmb_cuda_stream *stream; long recorded, done; lmb_cuda_graph *capture; };
static const lmb_cuda_api *real;
static lmb_cuda_stream *streams;
static pthread_mutex_t lock;
static _Thread_local bool selected; /* by this thread; CUDA would take the first device */

static lmb_status refuse(lmb_cuda_graph *g, const char *what, lmb_error *err)
{
    if (g)
        g->broken = true;
    return LMB_FAIL(err, LMB_E_DEVICE, "played: %s while recording", what);
}

static void append(list *l, op o)
{
    if (l->n == l->cap) {
        l->cap = l->cap * 2 + 64;
        l->op = realloc(l->op, l->cap * sizeof *l->op);
    }
    l->op[l->n++] = o;
}

static void drop(op *o)
{
    if (!o->borrowed)
        free(o->what);
    memset(o, 0, sizeof *o);
}

static void push(lmb_cuda_stream *s, op o) { append(s->capture ? &s->capture->list : &s->list, o); }

static void advance(lmb_cuda_stream *s);

static void reach(lmb_cuda_event *e, long turn)
{
    while (e->done < turn)
        advance(e->stream);
}

static lmb_status run(const op *o, lmb_error *err)
{
    if (o->kind == COPY)
        memmove(o->to, o->from, o->bytes);
    if (o->kind == CALL)
        return o->run(o->what, err);
    if (o->kind == RECORD)
        o->event->done = o->turn;
    if (o->kind == WAIT)
        reach(o->event, o->turn);
    return LMB_OK;
}

static void advance(lmb_cuda_stream *s)
{
    op o = s->list.op[s->done]; /* the list may move while it runs */
    lmb_error err = LMB_ERROR_INIT;
    if (run(&o, &err) != LMB_OK && s->failed.status == LMB_OK)
        s->failed = err;
    drop(&o);
    if (++s->done == s->list.n)
        s->done = s->list.n = 0;
}

static void run_all(void)
{
    for (lmb_cuda_stream *s = streams; s; s = s->next)
        while (s->list.n)
            advance(s);
}

#define ENTER pthread_mutex_lock(&lock)
#define LEAVE pthread_mutex_unlock(&lock)

void lmbi_played_defer(lmb_cuda_stream *s, lmb_status (*call)(void *what, lmb_error *err), void *what)
{
    ENTER;
    push(s, (op){ .kind = CALL, .run = call, .what = what });
    if (!selected)
        (void)LMB_FAIL(&s->failed, LMB_E_DEVICE, "played: a kernel from a thread that has selected no device");
    LEAVE;
}

void lmbi_played_finish(void)
{
    ENTER;
    run_all();
    LEAVE;
}

static lmb_cuda_graph *capturing(void)
{
    for (lmb_cuda_stream *s = streams; s; s = s->next)
        if (s->capture)
            return s->capture;
    return NULL;
}

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
    selected = true;
    return LMB_OK;
}

static lmb_status stream_create(lmb_cuda_stream **s, lmb_error *err)
{
    (void)err;
    ENTER;
    *s = calloc(1, sizeof **s);
    (*s)->next = streams;
    streams = *s;
    LEAVE;
    return LMB_OK;
}

static lmb_status stream_sync(lmb_cuda_stream *s, lmb_error *err)
{
    ENTER;
    if (s->capture) {
        lmb_status st = refuse(s->capture, "waiting", err);
        LEAVE;
        return st;
    }
    while (s->list.n)
        advance(s);
    lmb_error failed = s->failed;
    s->failed = (lmb_error)LMB_ERROR_INIT;
    LEAVE;
    return failed.status == LMB_OK ? LMB_OK : LMB_FAIL(err, failed.status, "%s", failed.msg);
}

static void stream_destroy(lmb_cuda_stream *s)
{
    if (!s)
        return;
    ENTER;
    run_all();
    for (lmb_cuda_stream **at = &streams; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    LEAVE;
    free(s->list.op);
    free(s);
}

static lmb_status event_create(lmb_cuda_event **e, lmb_error *err)
{
    *e = calloc(1, sizeof **e);
    return (void)err, LMB_OK;
}

static lmb_status event_record(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    (void)err;
    ENTER;
    e->capture = s->capture;
    if (!s->capture) {
        e->stream = s;
        append(&s->list, (op){ .kind = RECORD, .event = e, .turn = ++e->recorded });
    }
    LEAVE;
    return LMB_OK;
}

static lmb_status event_wait(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    lmb_status st = LMB_OK;
    ENTER;
    if (e->capture)
        s->capture = e->capture; /* the recording goes on there */
    else if (s->capture)
        st = refuse(s->capture, "waiting for what was not recorded", err);
    else if (e->recorded)
        append(&s->list, (op){ .kind = WAIT, .event = e, .turn = e->recorded });
    LEAVE;
    return st;
}

static lmb_status event_sync(lmb_cuda_event *e, lmb_error *err)
{
    lmb_status st = LMB_OK;
    ENTER;
    if (e->capture)
        st = refuse(e->capture, "waiting for an event", err);
    else
        reach(e, e->recorded);
    LEAVE;
    return st;
}

static lmb_status event_query(lmb_cuda_event *e, bool *done, lmb_error *err)
{
    const char *play = getenv("LMB_PLAYED");
    *done = !play || strcmp(play, "hang") != 0;
    return *done ? event_sync(e, err) : LMB_OK;
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
    ENTER;
    if (capturing()) {
        st = refuse(capturing(), "allocating", err);
    } else {
        lmb_played_allocations++;
        *memory = aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
        memset(*memory, 0xA5, bytes); /* contents are undefined */
    }
    LEAVE;
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
    ENTER;
    push(s, (op){ .kind = COPY, .to = to, .from = from, .bytes = bytes });
    LEAVE;
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

static lmb_status capture_begin(lmb_cuda_stream *s, lmb_error *err)
{
    const char *play = getenv("LMB_PLAYED");
    if (play && strcmp(play, "refuse") == 0)
        return LMB_FAIL(err, LMB_E_DEVICE, "played: this driver records nothing");
    ENTER;
    s->capture = calloc(1, sizeof *s->capture);
    LEAVE;
    return LMB_OK;
}

static void graph_destroy(lmb_cuda_graph *g)
{
    if (!g)
        return;
    lmbi_played_finish();
    for (size_t i = 0; i < g->list.n; i++)
        drop(&g->list.op[i]);
    free(g->list.op);
    free(g);
}

static lmb_status capture_end(lmb_cuda_stream *s, lmb_cuda_graph **out, lmb_error *err)
{
    const char *play = getenv("LMB_PLAYED");
    lmb_cuda_graph *g = s->capture;

    ENTER;
    for (lmb_cuda_stream *o = streams; o; o = o->next)
        o->capture = o->capture == g ? NULL : o->capture;
    LEAVE;
    if (g->broken) {
        graph_destroy(g);
        return LMB_FAIL(err, LMB_E_DEVICE, "played: the recording broke off");
    }
    if (play && strcmp(play, "forget") == 0 && g->list.n)
        drop(&g->list.op[--g->list.n]);
    *out = g;
    return LMB_OK;
}

static lmb_status graph_launch(lmb_cuda_graph *g, lmb_cuda_stream *s, lmb_error *err)
{
    (void)err;
    ENTER;
    for (size_t i = 0; i < g->list.n; i++) {
        op o = g->list.op[i];
        o.borrowed = true;
        append(&s->list, o);
    }
    LEAVE;
    return LMB_OK;
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
    .queue_destroy = queue_destroy, .event_sync = event_sync, .event_query = event_query, .host_alloc = host_alloc, .host_free = device_free,
    .capture_begin = capture_begin, .capture_end = capture_end, .graph_launch = graph_launch,
    .graph_destroy = graph_destroy, .step_work = step_work, .convert = lmbi_played_convert,
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
    pthread_mutexattr_t a;
    void *module = dlopen(LMB_REAL_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &a);
    real = module ? dlsym(module, LMB_CUDA_MODULE_TABLE) : NULL;
    if (!real)
        return; /* a table of version 0, which nobody opens */
    fill_table();
    lmb_cuda_module.kernels = lmbi_played_kernels(real, real->kernels, 0);
    lmb_cuda_module.kernels_tf32 = lmbi_played_kernels(real, real->kernels_tf32, 1);
    lmb_cuda_module.kernels_bf16 = lmbi_played_kernels(real, real->kernels_bf16, 2);
    lmbi_played_steps(&lmb_cuda_module, real);
}
