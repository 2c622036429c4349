/* train/sync_norm.c - train.sync_batch_norm: batch normalisation with the statistics of the whole batch, whatever
 * ranks share it.
 *
 * Idea: shards normalise by themselves, so that they need nothing of each other; where a rank's shard is small (large
 * pictures, a few on each GPU) its statistics are bad ones. With this option the training's graph asks in every layer
 * for the sums of all ranks' rows (core/passes/rewrite.h, core/ops/batch_norm_ranks.c), in the order of the ranks, so
 * that all have the same bits; between GPUs by NCCL, in the middle of what their streams do. A rank must then have one
 * shard, and all of them rows in every batch. See trainer_internal.h.
 */
#include <stdlib.h>
#include <string.h>

#include "core/passes/rewrite.h"
#include "core/plan/device.h"
#include "train/device_sum.h"
#include "train/trainer_internal.h"

static lmb_status check(const lmb_trainer *t, lmb_error *err)
{
    int64_t batch = t->c.batch < t->train->n ? t->c.batch : t->train->n, last = t->train->n % batch, lo, hi;

    if (t->pipeline)
        return LMB_FAIL(err, LMB_E_ARG, "train.sync_batch_norm does not go with train.pipeline; leave one out");
    if (t->slots != 1)
        return LMB_FAIL(err, LMB_E_ARG,
                        "train.sync_batch_norm needs one shard on each rank, and there are %d; set train.mode=fast and "
                        "train.threads=1, and start a rank for each processor",
                        t->slots);
    lmbi_shard_range(t, last ? last : batch, t->slots_all - 1, &lo, &hi);
    if (lo >= hi)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the last batch of an epoch has %lld samples, which leaves one of %lld ranks without: "
                        "train.sync_batch_norm needs rows of every rank; choose another train.batch",
                        (long long)(last ? last : batch), (long long)t->slots_all);
    return LMB_OK;
}

lmb_status lmbi_sync_norm_create(lmb_trainer *t, lmb_error *err)
{
    if (!t->c.sync_batch_norm)
        return LMB_OK;
    LMB_TRY(check(t, err));
    return lmb_pass_sync_norm(t->model, &t->synced, err);
}

static lmb_status sum(void *ctx, double *v, size_t n, lmb_error *err)
{
    lmb_trainer *t = ctx;
    lmb_comm *c = t->comm;
    double *all = c->size > 1 ? malloc(sizeof *all * n * (size_t)c->size) : NULL;

    if (c->size == 1)
        return LMB_OK;
    if (!all)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for statistics of %d ranks", c->size);
    lmb_watch_doing(t->watch, t->s.step, "statistics of all ranks", true);
    lmb_status st = c->gather_all(c, v, all, n * sizeof *v, err);
    lmb_watch_doing(t->watch, t->s.step, "forward and backward", false);
    for (size_t i = 0; i < n && st == LMB_OK; i++) {
        v[i] = all[i];
        for (int r = 1; r < c->size; r++)
            v[i] += all[(size_t)r * n + i];
    }
    free(all);
    return st;
}

/* Of numbers on this rank's GPU: from GPU to GPU, or, where those can not, by way of the host. */
static lmb_status sum_there(void *ctx, double *v, size_t n, lmb_error *err)
{
    lmb_trainer *t = ctx;

    if (t->comm->size == 1)
        return LMB_OK;
    if (t->sum)
        return t->sum->statistics(t->sum, v, n, err);
    lmb_device *d = t->backends[0]->device;
    double *host = malloc(sizeof *host * n);
    lmb_status st = host ? d->download(d, host, v, sizeof *v * n, err)
                         : LMB_FAIL(err, LMB_E_NOMEM, "no memory for statistics of all ranks");
    st = st == LMB_OK ? d->finish(d, err) : st;
    st = st == LMB_OK ? sum(t, host, n, err) : st;
    st = st == LMB_OK ? d->upload(d, v, host, sizeof *v * n, err) : st;
    st = st == LMB_OK ? d->finish(d, err) : st;
    free(host);
    return st;
}

const lmb_rank_sums *lmbi_sync_norm_sums(lmb_trainer *t, float share, lmb_rank_sums *out)
{
    *out = (lmb_rank_sums){ t, sum, (double)share, lmb_train_on_gpu(&t->c) ? sum_there : NULL };
    return t->synced ? out : NULL;
}
