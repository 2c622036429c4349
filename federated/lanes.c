/* federated/lanes.c - see lanes.h. */
#include "federated/lanes.h"

#include <stdlib.h>

#include "core/base/threads.h"
#include "core/cuda/cuda.h"
#include "federated/local_parts.h"

enum { UNASKED = 8 }; /* lanes at most when nobody says how many */

struct lmb_lanes {
    const lmb_log *log;
    int count, left;
    bool gpu, automatic, begun; /* automatic: nobody has said how many, and nothing has been trained */
    uint64_t before; /* bytes of the GPU that were free when lane 0 began; 0: not known */
    lmb_local *local[LMB_LANES_MOST];
};

static lmb_status on_gpu(const lmb_tree *settings, bool *yes, lmb_error *err)
{
    lmbi_local_settings s;

    *yes = false;
    if (!settings)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_local_fields, settings, &s, err));
    *yes = lmb_train_on_gpu(&s.train);
    return LMB_OK;
}

lmb_status lmb_lanes_check(const lmb_tree *settings, int64_t streams, lmb_error *err)
{
    bool gpu;

    LMB_TRY(on_gpu(settings, &gpu, err));
    if (streams > 1 && !gpu)
        return LMB_FAIL(err, LMB_E_ARG,
                        "simulate.streams is %lld, but clients train on the processor, where one has all threads; set "
                        "federation.local.train.backend=cuda, or leave it out",
                        (long long)streams);
    return LMB_OK;
}

static void say(const lmb_lanes *l)
{
    if (l->count > 1)
        lmb_log_at(l->log, LMB_LOG_INFO, "federated", "%d clients train at a time", l->count);
}

lmb_status lmb_lanes_create(const lmb_tree *settings, int64_t streams, const lmb_log *log, lmb_lanes **out,
                            lmb_error *err)
{
    int processors = lmb_cpu_count();
    bool gpu;

    LMB_TRY(lmb_lanes_check(settings, streams, err));
    LMB_TRY(on_gpu(settings, &gpu, err));
    lmb_lanes *l = calloc(1, sizeof *l);
    if (!l)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a simulation's clients");
    l->gpu = gpu;
    l->automatic = gpu && streams == 0;
    l->count = streams > 0 ? (int)streams : !gpu ? 1 : processors < UNASKED ? processors : UNASKED;
    l->log = log;
    if (!l->automatic)
        say(l);
    *out = l;
    return LMB_OK;
}

void lmb_lanes_destroy(lmb_lanes *l)
{
    for (int i = 0; l && i < l->count; i++)
        lmb_local_destroy(l->local[i]);
    free(l);
}

bool lmb_lanes_on_gpu(const lmb_lanes *l) { return l->gpu; }

int lmb_lanes_count(lmb_lanes *l, bool *unsettled)
{
    int n = 0;

    for (int i = 0; i < l->count && l->left; i++) { /* those with memory come first */
        lmb_local *at = l->local[i];
        l->local[i] = NULL;
        if (at)
            l->local[n++] = at;
    }
    l->count -= l->left;
    l->left = 0;
    *unsettled = l->automatic;
    return l->count;
}

/* On the GPU that a process alone takes, the first one; 0: nobody can say. */
static uint64_t bytes_free(void)
{
    lmb_error none = LMB_ERROR_INIT;
    lmb_cuda *cuda = NULL;
    uint64_t bytes = 0;

    if (lmb_cuda_open(NULL, &cuda, &none) != LMB_OK)
        return 0;
    if (cuda->api->device_select(0, &none) != LMB_OK || cuda->api->memory_free(&bytes, &none) != LMB_OK)
        bytes = 0;
    lmb_cuda_close(cuda);
    return bytes;
}

lmb_status lmb_lanes_train(lmb_lanes *l, int lane, const lmb_dataset *data, const lmb_train_task *task,
                           lmb_train_result *result, const char *memory, lmb_error *err)
{
    if (l->automatic && lane == 0 && !l->begun) {
        l->begun = true;
        l->before = bytes_free();
    }
    if (!l->local[lane])
        LMB_TRY(lmb_local_create(&l->local[lane], err));
    return lmb_local_train(l->local[lane], data, task, result, memory, err);
}

int lmb_lanes_room(lmb_lanes *l)
{
    uint64_t left = bytes_free(), each = l->before > left ? l->before - left : 0;
    /* a tenth stays, as clients with more samples take more */
    uint64_t more = each ? left / 10 * 9 / each : 0;

    l->automatic = false;
    l->count = more < (uint64_t)l->count ? 1 + (int)more : l->count;
    say(l);
    return l->count;
}

void lmb_lanes_leave(lmb_lanes *l, int lane)
{
    l->left += lane < l->count;
    lmb_local_destroy(l->local[lane]);
    l->local[lane] = NULL;
}
