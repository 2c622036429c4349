/* comm/nccl_log.c - see nccl_log.h. */
#include "comm/nccl_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_MEMORY = LMB_NCCL_CUDA + 2 /* cudaErrorMemoryAllocation */ };

int lmbi_nccl_log_open(lmbi_nccl_log *l, const lmb_nccl_api *api)
{
    volatile uint64_t *count = NULL;
    int code = api->count_create(&count);

    if (code != LMB_NCCL_OK)
        return code;
    *l = (lmbi_nccl_log){ .api = api, .count = count, .last = calloc(LMBI_NCCL_LOG, sizeof *l->last) };
    return l->last ? LMB_NCCL_OK : NO_MEMORY;
}

void lmbi_nccl_log_close(lmbi_nccl_log *l, bool still)
{
    if (l->count && !still)
        l->api->count_destroy(l->count);
    free(l->last);
    free(l->recorded);
    *l = (lmbi_nccl_log){ 0 };
}

static lmbi_nccl_work work_of(int64_t step, const char *doing)
{
    lmbi_nccl_work w = { .step = step };
    snprintf(w.doing, sizeof w.doing, "%s", doing);
    return w;
}

static int add_recorded(lmbi_nccl_log *l, const char *doing)
{
    if (l->n_recorded == l->room) {
        int room = l->room ? 2 * l->room : 64;
        lmbi_nccl_work *more = realloc(l->recorded, (size_t)room * sizeof *more);
        if (!more)
            return NO_MEMORY;
        l->recorded = more;
        l->room = room;
    }
    l->recorded[l->n_recorded++] = work_of(0, doing);
    return LMB_NCCL_OK;
}

int lmbi_nccl_log_put(lmbi_nccl_log *l, void *stream, int64_t step, const char *doing, bool recording)
{
    int code = l->api->count(l->count, stream);

    if (code != LMB_NCCL_OK)
        return code;
    if (recording)
        return add_recorded(l, doing);
    l->last[l->put++ % LMBI_NCCL_LOG] = work_of(step, doing);
    return LMB_NCCL_OK;
}

void lmbi_nccl_log_record(lmbi_nccl_log *l, bool on) { l->n_recorded = on ? 0 : l->n_recorded; }

void lmbi_nccl_log_replayed(lmbi_nccl_log *l, int64_t step)
{
    for (int i = 0; i < l->n_recorded; i++) {
        lmbi_nccl_work *w = &l->last[l->put++ % LMBI_NCCL_LOG];
        *w = l->recorded[i];
        w->step = step;
    }
}

const lmbi_nccl_work *lmbi_nccl_log_under_way(const lmbi_nccl_log *l)
{
    uint64_t passed = l->count ? *l->count : 0;
    bool known = passed < l->put && l->put - passed <= LMBI_NCCL_LOG;
    return known ? &l->last[passed % LMBI_NCCL_LOG] : NULL;
}
