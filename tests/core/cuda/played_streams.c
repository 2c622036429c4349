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

void lmbi_played_push(lmb_cuda_stream *s, op o) { lmbi_played_append(s->capture ? &s->capture->list : &s->list, o); }

static void advance(lmb_cuda_stream *s);

void lmbi_played_reach(lmb_cuda_event *e, long turn)
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

void lmbi_played_finish(void)
{
    lmbi_played_enter();
    run_all();
    lmbi_played_leave();
}

lmb_cuda_graph *lmbi_played_recording(void)
{
    for (lmb_cuda_stream *s = streams; s; s = s->next)
        if (s->capture)
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
    for (lmb_cuda_stream *o = streams; o; o = o->next)
        o->capture = o->capture == g ? NULL : o->capture;
    lmbi_played_leave();
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
    lmbi_played_enter();
    for (size_t i = 0; i < g->list.n; i++) {
        op o = g->list.op[i];
        o.borrowed = true;
        lmbi_played_append(&s->list, o);
    }
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
