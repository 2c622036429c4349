/* tests/core/cuda/played_streams.c - the played GPU's work, put off and done, recorded and replayed. See played.c.
 *   source   for what recording allows: CUDA C++ Programming Guide, CUDA Graphs, Stream Capture
 */
#include "tests/core/cuda/played_streams.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static lmb_cuda_stream *streams;
static pthread_mutex_t lock;
static _Thread_local bool selected; /* by this thread; CUDA would take the first device */

void lmbi_played_open(void)
{
    pthread_mutexattr_t a;

    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &a);
}

void lmbi_played_enter(void) { pthread_mutex_lock(&lock); }
void lmbi_played_leave(void) { pthread_mutex_unlock(&lock); }
void lmbi_played_selected(void) { selected = true; }

lmb_status lmbi_played_refuse(lmb_cuda_graph *g, const char *what, lmb_error *err)
{
    if (g)
        g->broken = true;
    return LMB_FAIL(err, LMB_E_DEVICE, "played: %s while recording", what);
}

void lmbi_played_append(list *l, op o)
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

void lmbi_played_push(lmb_cuda_stream *s, op o)
{
    s->put += s->capture != NULL;
    lmbi_played_append(s->capture ? &s->capture->list : &s->list, o);
}

static void advance(lmb_cuda_stream *s);

void lmbi_played_reach(lmb_cuda_event *e, long turn)
{
    while (e->done < turn)
        advance(e->stream);
}

/* The time there, in milliseconds: a kernel takes 1, a copy a quarter, whatever the clocks of this machine say. */
static double now;

bool lmbi_played_clockless(void)
{
    const char *play = getenv("LMB_PLAYED");
    return play && strcmp(play, "clockless") == 0;
}

static lmb_status run(const op *o, lmb_error *err)
{
    now += o->kind == CALL ? 1 : o->kind == COPY ? 0.25 : 0;
    if (o->kind == STAMP || o->kind == RECORD)
        o->event->ms = o->borrowed && lmbi_played_clockless() ? -1 : now;
    if (o->kind == COPY)
        memmove(o->to, o->from, o->bytes);
    if (o->kind == CALL)
        return o->run(o->what, err);
    if (o->kind == RECORD)
        o->event->done = o->turn;
    if (o->kind == WAIT)
        lmbi_played_reach(o->event, o->turn);
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

void lmbi_played_defer(lmb_cuda_stream *s, lmb_status (*call)(void *what, lmb_error *err), void *what)
{
    lmbi_played_enter();
    lmbi_played_push(s, (op){ .kind = CALL, .run = call, .what = what });
    if (!selected)
        (void)LMB_FAIL(&s->failed, LMB_E_DEVICE, "played: a kernel from a thread that has selected no device");
    lmbi_played_leave();
}

/* For the played NCCL (tests/comm/played_nccl_module.c): put run(what), which meets other ranks, into what is being
 * recorded on a stream. false: nothing is. */
bool lmb_played_put(lmb_cuda_stream *s, lmb_status (*run)(void *what, lmb_error *err), void *what);
__attribute__((visibility("default"))) bool lmb_played_put(lmb_cuda_stream *s,
                                                           lmb_status (*call)(void *what, lmb_error *err), void *what)
{
    lmbi_played_enter();
    bool recorded = s->capture != NULL;
    if (recorded && call) {
        s->capture->meets = true;
        lmbi_played_push(s, (op){ .kind = CALL, .run = call, .what = what });
    }
    lmbi_played_leave();
    return recorded;
}

void lmbi_played_finish(void)
{
    lmbi_played_enter();
    run_all();
    lmbi_played_leave();
}

/* Recording is limited to its thread (cudaStreamCaptureModeThreadLocal): others may allocate meanwhile. */
lmb_cuda_graph *lmbi_played_recording(void)
{
    for (lmb_cuda_stream *s = streams; s; s = s->next)
        if (s->capture && pthread_equal(s->capture->thread, pthread_self()))
            return s->capture;
    return NULL;
}

void lmbi_played_drain(lmb_cuda_stream *s)
{
    while (s->list.n)
        advance(s);
}

lmb_cuda_stream *lmbi_played_stream(void)
{
    lmb_cuda_stream *s = calloc(1, sizeof *s);
    s->next = streams;
    streams = s;
    return s;
}

void lmbi_played_stream_end(lmb_cuda_stream *s)
{
    run_all();
    for (lmb_cuda_stream **at = &streams; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    free(s->list.op);
    free(s);
}

/* ---- recording ---- */

static lmb_status capture_begin(lmb_cuda_stream *s, lmb_error *err)
{
    const char *play = getenv("LMB_PLAYED");
    if (play && strcmp(play, "refuse") == 0)
        return LMB_FAIL(err, LMB_E_DEVICE, "played: this driver records nothing");
    lmbi_played_enter();
    s->capture = calloc(1, sizeof *s->capture);
    s->capture->origin = s;
    s->capture->thread = pthread_self();
    lmbi_played_leave();
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

    lmbi_played_enter();
    for (lmb_cuda_stream *o = streams; o; o = o->next) {
        if (o->capture != g)
            continue;
        g->broken |= o != s && o->put > o->joined; /* nobody would wait for it */
        o->put = o->joined = 0;
        o->capture = NULL;
    }
    lmbi_played_leave();
    if (g->broken) {
        graph_destroy(g);
        return LMB_FAIL(err, LMB_E_DEVICE, "played: the recording broke off");
    }
    for (int i = 0; i < 2 && play && strcmp(play, "forget") == 0 && g->list.n; i++) /* a count may be behind it */
        drop(&g->list.op[--g->list.n]);
    *out = g;
    return LMB_OK;
}

static lmb_status graph_launch(lmb_cuda_graph *g, lmb_cuda_stream *s, lmb_error *err)
{
    (void)err;
    lmbi_played_enter();
    for (size_t i = 0; i < g->list.n; i++) {
        op o = g->list.op[i];
        o.borrowed = true;
        lmbi_played_append(&s->list, o);
    }
    if (g->meets) /* others wait for it, and a GPU needs nobody's looks to go on */
        lmbi_played_drain(s);
    lmbi_played_leave();
    return LMB_OK;
}

void lmbi_played_recorder(lmb_cuda_api *table)
{
    table->capture_begin = capture_begin;
    table->capture_end = capture_end;
    table->graph_launch = graph_launch;
    table->graph_destroy = graph_destroy;
}
