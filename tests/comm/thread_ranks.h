/* tests/comm/thread_ranks.h - ranks as threads of one process: an lmb_comm for each (comm/collective.h), without
 * MPI. */
#ifndef LMB_TESTS_COMM_THREAD_RANKS_H
#define LMB_TESTS_COMM_THREAD_RANKS_H

#include <pthread.h>
#include <string.h>

#include "comm/collective.h"

enum { MOST_RANKS = 4 };

typedef struct thread_ranks thread_ranks;
typedef struct thread_rank {
    lmb_comm base;
    thread_ranks *all;
} thread_rank;
struct thread_ranks {
    int size;
    pthread_barrier_t met;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    const void *shown[MOST_RANKS];
    const void *letter[MOST_RANKS][MOST_RANKS];
    thread_rank rank[MOST_RANKS];
    void (*run)(lmb_comm *c, void *ctx);
    void *ctx;
};

/* Each shows n bytes; all look while nobody goes on. */
static inline lmb_status thread_gather(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *e)
{
    thread_ranks *t = ((thread_rank *)c)->all;
    (void)e;
    t->shown[c->rank] = mine;
    pthread_barrier_wait(&t->met);
    for (int r = 0; r < c->size; r++)
        memcpy((char *)all + (size_t)r * n, t->shown[r], n);
    pthread_barrier_wait(&t->met);
    return LMB_OK;
}

static inline lmb_status thread_broadcast(lmb_comm *c, void *data, size_t n, int root, lmb_error *e)
{
    thread_ranks *t = ((thread_rank *)c)->all;
    (void)e;
    if (c->rank == root)
        t->shown[root] = data;
    pthread_barrier_wait(&t->met);
    if (c->rank != root)
        memcpy(data, t->shown[root], n);
    pthread_barrier_wait(&t->met);
    return LMB_OK;
}

static inline lmb_status thread_exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n,
                                         lmb_error *e)
{
    thread_ranks *t = ((thread_rank *)c)->all;
    static const char nothing;
    (void)e;
    pthread_mutex_lock(&t->lock);
    while (to >= 0 && t->letter[c->rank][to])
        pthread_cond_wait(&t->moved, &t->lock);
    if (to >= 0)
        t->letter[c->rank][to] = n ? send : &nothing;
    pthread_cond_broadcast(&t->moved);
    if (from >= 0) {
        while (!t->letter[from][c->rank])
            pthread_cond_wait(&t->moved, &t->lock);
        memcpy(recv, t->letter[from][c->rank], n);
        t->letter[from][c->rank] = NULL;
        pthread_cond_broadcast(&t->moved);
    }
    while (to >= 0 && t->letter[c->rank][to]) /* until it is read: the caller may change it then */
        pthread_cond_wait(&t->moved, &t->lock);
    pthread_mutex_unlock(&t->lock);
    return LMB_OK;
}

static inline void thread_close(lmb_comm *c) { (void)c; }

static inline void *thread_main(void *arg)
{
    thread_rank *r = arg;
    r->all->run(&r->base, r->all->ctx);
    return NULL;
}

/* run(comm, ctx) on each of `size` ranks at once. */
static inline void on_threads(int size, void (*run)(lmb_comm *c, void *ctx), void *ctx)
{
    thread_ranks t = { .size = size, .run = run, .ctx = ctx };
    pthread_t thread[MOST_RANKS];

    pthread_barrier_init(&t.met, NULL, (unsigned)size);
    pthread_mutex_init(&t.lock, NULL);
    pthread_cond_init(&t.moved, NULL);
    for (int r = 0; r < size; r++) {
        t.rank[r] = (thread_rank){ { .rank = r,
                                     .size = size,
                                     .name = "threads",
                                     .exchange = thread_exchange,
                                     .broadcast = thread_broadcast,
                                     .gather_all = thread_gather,
                                     .close = thread_close,
                                     .any_thread = true },
                                   &t };
        pthread_create(&thread[r], NULL, thread_main, &t.rank[r]);
    }
    for (int r = 0; r < size; r++)
        pthread_join(thread[r], NULL);
    pthread_cond_destroy(&t.moved);
    pthread_mutex_destroy(&t.lock);
    pthread_barrier_destroy(&t.met);
}

#endif
