/* comm/nccl_abort.c - see nccl_abort.h. */
#include "comm/nccl_abort.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/threads.h"

struct lmbi_nccl_abort {
    const lmb_nccl_api *api;
    void *comm;
    pthread_t thread;
    atomic_bool over;
};

static const double brief_s = 1;

static void *run(void *ctx)
{
    lmbi_nccl_abort *a = ctx;

    a->api->abort(a->comm);
    atomic_store(&a->over, true);
    return NULL;
}

lmbi_nccl_abort *lmbi_nccl_abort_begin(const lmb_nccl_api *api, void *comm)
{
    lmbi_nccl_abort *a = calloc(1, sizeof *a);

    if (a) {
        a->api = api;
        a->comm = comm;
        atomic_init(&a->over, false);
    }
    if (!a || pthread_create(&a->thread, NULL, run, a) != 0) {
        free(a);
        api->abort(comm);
        return NULL;
    }
    return lmbi_nccl_abort_end(a, brief_s) ? NULL : a;
}

bool lmbi_nccl_abort_end(lmbi_nccl_abort *a, double limit_s)
{
    double start = lmb_seconds();

    while (!atomic_load(&a->over)) {
        if (lmb_seconds() - start > limit_s)
            return false;
        nanosleep(&(struct timespec){ 0, 200000 }, NULL);
    }
    pthread_join(a->thread, NULL);
    free(a);
    return true;
}
