/* train/gpu_pick.c - see gpu_pick.h. */
#include "train/gpu_pick.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/cuda/cuda.h"

/* What a rank shows the others. */
typedef struct card {
    int32_t seen; /* GPUs; 0: none, or they can not be asked */
    char host[68];
    lmb_hash set; /* of their names, in the order in which this rank counts them */
} card;

static lmb_status look(card *mine, lmb_error *err)
{
    lmb_cuda *cuda = NULL;
    lmb_cuda_device d;
    lmb_hasher set;
    int n = 0;

    LMB_TRY(lmb_cuda_open(NULL, &cuda, err));
    lmb_status st = cuda->api->device_count(&n, err);
    lmb_hash_begin(&set);
    for (int i = 0; i < n && st == LMB_OK; i++) {
        st = cuda->api->device_info(i, &d, err);
        lmb_hash_add(&set, d.uuid, st == LMB_OK ? sizeof d.uuid : 0);
    }
    mine->set = lmb_hash_end(&set);
    lmb_cuda_close(cuda);
    mine->seen = st == LMB_OK ? n : 0;
    return st;
}

static bool same_gpus(const card *a, const card *b)
{
    return strcmp(a->host, b->host) == 0 && memcmp(&a->set, &b->set, sizeof a->set) == 0;
}

/* All cards are known: every rank comes to the same sentence. */
static lmb_status choose(const card *all, int rank, int size, bool shared, int *index, bool *alone, lmb_error *err)
{
    *alone = true;
    for (int r = 0; r < size; r++) {
        int alike = 0;
        if (!all[r].seen)
            return LMB_FAIL(err, LMB_E_PEER, "rank %d can not use a GPU, so nobody starts; its own sentence says why",
                            r);
        for (int q = 0; q < size; q++)
            alike += same_gpus(&all[q], &all[r]);
        if (alike > all[r].seen && !shared)
            return LMB_FAIL(err, LMB_E_DEVICE,
                            "%d ranks on %s see the same %d GPU%s; start one rank a GPU, give each rank GPUs of its "
                            "own (CUDA_VISIBLE_DEVICES), or let them share with train.share_gpu=true",
                            alike, all[r].host, (int)all[r].seen, all[r].seen == 1 ? "" : "s");
        *alone = *alone && alike <= all[r].seen;
    }
    int before = 0;
    for (int q = 0; q < rank; q++)
        before += same_gpus(&all[q], &all[rank]);
    *index = before % all[rank].seen;
    return LMB_OK;
}

lmb_status lmb_gpu_pick(lmb_comm *c, bool shared, int *index, bool *alone, lmb_error *err)
{
    lmb_error own = LMB_ERROR_INIT;
    card mine, *all = calloc((size_t)c->size, sizeof *all);

    if (!all)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d ranks", c->size);
    memset(&mine, 0, sizeof mine); /* padding travels, too */
    if (gethostname(mine.host, sizeof mine.host - 1) != 0)
        mine.host[0] = '\0';
    lmb_status found = look(&mine, &own);
    lmb_status st = c->gather_all(c, &mine, all, sizeof mine, err); /* also when we failed: nobody may wait for us */
    if (found != LMB_OK)
        st = (lmb_error_clear(err), LMB_FAIL(err, found, "%s", own.msg));
    if (st == LMB_OK)
        st = choose(all, c->rank, c->size, shared, index, alone, err);
    free(all);
    return st;
}
