/* core/base/threads.c - see threads.h. */
#include "core/base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

struct lmb_pool {
    int size;
    pthread_t *thread; /* [size - 1] */
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    lmb_task fn;
    void *ctx;
    int n_tasks, next;
    /* Changed with the lock held, looked at without it by who waits. */
    atomic_int busy;
    atomic_ulong generation;
    atomic_bool quit;
};

bool lmb_wait_briefly(bool (*over)(void *ctx), void *ctx)
{
    const double spin = 20e-6, longest = 500e-6;
    double start = lmb_seconds(), waited = 0;

    while (!over(ctx)) {
        if (waited > longest)
            return false;
        if (waited > spin)
            sched_yield();
        waited = lmb_seconds() - start;
    }
    return true;
}

typedef struct worker_arg { lmb_pool *p; int worker; } worker_arg;

/* Take tasks until none is left; called with the lock held, returns with it held. */
static void drain(lmb_pool *p, int worker)
{
    while (p->next < p->n_tasks) {
        int task = p->next++;
        lmb_task fn = p->fn;
        void *ctx = p->ctx;
        pthread_mutex_unlock(&p->lock);
        fn(ctx, task, worker);
        pthread_mutex_lock(&p->lock);
    }
}

typedef struct news { lmb_pool *p; unsigned long seen; } news;

static bool is_news(void *ctx)
{
    const news *n = ctx;
    return atomic_load_explicit(&n->p->generation, memory_order_relaxed) != n->seen ||
           atomic_load_explicit(&n->p->quit, memory_order_relaxed);
}

static bool none_busy(void *ctx) { return atomic_load_explicit(&((lmb_pool *)ctx)->busy, memory_order_relaxed) == 0; }

static void *worker_main(void *arg)
{
    worker_arg a = *(worker_arg *)arg;
    lmb_pool *p = a.p;
    news n = { p, 0 };

    free(arg);
    for (;;) {
        lmb_wait_briefly(is_news, &n);
        pthread_mutex_lock(&p->lock);
        while (!is_news(&n))
            pthread_cond_wait(&p->start, &p->lock);
        if (p->quit)
            break;
        n.seen = p->generation;
        p->busy++;
        drain(p, a.worker);
        if (--p->busy == 0)
            pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

lmb_status lmb_pool_create(int size, lmb_pool **out, lmb_error *err)
{
    lmb_pool *p;

    if (size < 1 || size > 1024)
        return LMB_FAIL(err, LMB_E_ARG, "a thread pool of %d threads; it must be in [1, 1024]", size);
    p = calloc(1, sizeof *p);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a thread pool");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    p->size = 1;
    p->thread = calloc((size_t)size, sizeof *p->thread);
    if (!p->thread) {
        lmb_pool_destroy(p);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d threads", size);
    }
    for (int i = 1; i < size; i++) {
        worker_arg *a = malloc(sizeof *a);
        if (a)
            *a = (worker_arg){ p, i };
        if (!a || pthread_create(&p->thread[i - 1], NULL, worker_main, a) != 0) {
            free(a);
            lmb_pool_destroy(p);
            return LMB_FAIL(err, LMB_E_NOMEM, "thread %d of %d could not be started; ask for fewer threads", i, size);
        }
        p->size++;
    }
    *out = p;
    return LMB_OK;
}

void lmb_pool_destroy(lmb_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->size - 1; i++)
        pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->start);
    pthread_mutex_destroy(&p->lock);
    free(p->thread);
    free(p);
}

int lmb_pool_size(const lmb_pool *p) { return p ? p->size : 1; }

void lmb_pool_run(lmb_pool *p, int n_tasks, lmb_task fn, void *ctx)
{
    if (!p || p->size == 1 || n_tasks <= 1) {
        for (int i = 0; i < n_tasks; i++)
            fn(ctx, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->ctx = ctx;
    p->next = 0;
    p->n_tasks = n_tasks;
    p->generation++;
    pthread_cond_broadcast(&p->start);
    drain(p, 0);
    if (p->busy > 0) {
        pthread_mutex_unlock(&p->lock);
        lmb_wait_briefly(none_busy, p);
        pthread_mutex_lock(&p->lock);
    }
    while (p->busy > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

int lmb_cpu_count(void)
{
    cpu_set_t set;
    int n = 0;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

double lmb_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (double)pages * (double)size : 1e18; /* unknown: no limit */
}

void lmb_memory_forget(void *memory, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), skip = (page - (uintptr_t)memory % page) % page;

    if (bytes > skip && (bytes - skip) / page > 0)
        (void)madvise((char *)memory + skip, (bytes - skip) / page * page, MADV_DONTNEED);
}

double lmb_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
