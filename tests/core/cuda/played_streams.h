/* tests/core/cuda/played_streams.h - the played GPU's streams, events and graphs, for those who play the calls on them
 * (played.c): lists of work that is put off, moved on by played_streams.c. The lock is held meanwhile. */
#ifndef LMB_TESTS_CORE_CUDA_PLAYED_STREAMS_H
#define LMB_TESTS_CORE_CUDA_PLAYED_STREAMS_H

#include <pthread.h>

#include "tests/core/cuda/played.h"

enum { COPY, CALL, RECORD, WAIT, STAMP };

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

struct lmb_cuda_graph { list list; bool broken, meets; lmb_cuda_stream *origin; pthread_t thread; };
struct lmb_cuda_stream {
    list list;
    size_t done;
    lmb_cuda_graph *capture;
    long put, joined; /* of what is recorded here: pieces, and those that the recording's first stream waits for */
    lmb_error failed;
    lmb_cuda_stream *next;
};
struct lmb_cuda_event { lmb_cuda_stream *stream; long recorded, done, put; lmb_cuda_graph *capture; double ms; };

bool lmbi_played_clockless(void); /* what is replayed sets no event's time */
void lmbi_played_open(void); /* before anything else */
void lmbi_played_enter(void);
void lmbi_played_leave(void);
lmb_cuda_stream *lmbi_played_stream(void);      /* a new one */
void lmbi_played_stream_end(lmb_cuda_stream *s); /* all streams are empty then */
void lmbi_played_append(list *l, op o);
void lmbi_played_push(lmb_cuda_stream *s, op o);          /* onto s, or into what is recorded there */
void lmbi_played_drain(lmb_cuda_stream *s);
void lmbi_played_reach(lmb_cuda_event *e, long turn);     /* do what comes before */
void lmbi_played_selected(void);                          /* a device, by this thread */
lmb_cuda_graph *lmbi_played_recording(void);              /* by this thread, or NULL */
/* E_DEVICE; what g has recorded so far is worth nothing. */
lmb_status lmbi_played_refuse(lmb_cuda_graph *g, const char *what, lmb_error *err);
void lmbi_played_recorder(lmb_cuda_api *table); /* fills in recording and graphs */

#endif
