/* train/sum_ahead.c - a bucket over slots and ranks, and the thread that does so while the last shards are at work.
 * See reduce.h. */
#include <stdio.h>

#include "comm/scatter.h"
#include "train/reduce_internal.h"

/* ---- a bucket ---- */

static void trace_bucket(const lmbi_reducer *r, lmb_trace *t, int lane, const lmbi_bucket *b, const char *what,
                         double from)
{
    char name[32];
    if (!t)
        return;
    snprintf(name, sizeof name, "bucket %d: %zu KiB", (int)(b - r->bucket), b->n * sizeof(float) / 1024);
    lmb_trace_span(t, lane, "sum", name, what, from);
}

/* Empty slots are the last ones: what the tree would add of them is neutral. */
void lmbi_reducer_sum_slots(lmbi_reducer *r, const lmbi_bucket *b, int lane)
{
    lmbi_stretch s = { r->layout, b, r->factors && r->filled ? r->factors[0] : NULL };
    lmb_trace *trace = lmb_trace_fine(r->trace) ? r->trace : NULL;
    double from = lmb_trace_now(trace);

    for (int i = 0; i < r->filled; i += 2) {
        bool pair = i + 1 < r->filled;
        lmbi_tree_leaves(&s, r->slot[i] + b->lo, r->weight[i], pair ? r->slot[i + 1] + b->lo : NULL,
                         pair ? r->weight[i + 1] : 0);
    }
    for (int step = 2; step < r->filled; step *= 2)
        for (int i = 0; i + step < r->filled; i += 2 * step)
            lmbi_tree_combine(&s, r->slot[i] + b->lo, r->slot[i + step] + b->lo, 0, b->n);
    if (!r->multiplied)
        lmbi_reducer_multiply(r, b, lane == LMB_LANE_SUMS ? r->slots : lane - LMB_LANE_TRAINING);
    trace_bucket(r, trace, lane, b, "over shards", from);
}

lmb_status lmbi_reducer_sum_ranks(const lmbi_reducer *r, const lmbi_bucket *b, int lane, lmb_error *err)
{
    lmbi_stretch s = { r->layout, b, NULL };
    lmb_trace *trace = lmb_trace_fine(r->trace) ? r->trace : NULL;
    double from = lmb_trace_now(trace);
    float *v = r->slot[0] + b->lo, *scratch = r->scratch ? r->scratch + b->lo : NULL;
    lmb_status st =
        r->window ? lmb_window_reduce(r->window, b->lo, b->n, lane != LMB_LANE_SUMS, lmbi_tree_combine, &s, err)
        : r->cut  ? lmb_comm_reduce_scatter(r->comm, v, scratch, r->cut[b - r->bucket], lmbi_tree_combine, &s, err)
                  : lmbi_comm_reduce_stride(r->comm, r->stride, v, scratch, 0, b->n, lmbi_tree_combine, &s, err);

    trace_bucket(r, trace, lane, b, "over ranks", from);
    return st;
}

/* ---- the thread ---- */

/* All buckets but the last, which is ready when the batch is: end() sums it, and whatever else is left, without a
 * change of threads. */
static bool has_work(const lmbi_reducer *r)
{
    return r->open && !r->failed && r->next < r->n_buckets - 1 && r->pending[r->next] == 0;
}

static void *summing(void *arg)
{
    lmbi_reducer *r = arg;

    pthread_mutex_lock(&r->lock);
    while (!r->quit) {
        if (!has_work(r)) {
            pthread_cond_wait(&r->wake, &r->lock);
            continue;
        }
        const lmbi_bucket *b = &r->bucket[r->next++];
        atomic_store(&r->busy, true);
        pthread_mutex_unlock(&r->lock);
        lmbi_reducer_sum_slots(r, b, LMB_LANE_SUMS);
        lmb_status st = lmbi_reducer_sum_ranks(r, b, LMB_LANE_SUMS, &r->err);
        pthread_mutex_lock(&r->lock);
        r->failed = r->failed || st != LMB_OK;
        atomic_store(&r->busy, false);
        pthread_cond_signal(&r->idle);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

lmb_status lmbi_reducer_start_ahead(lmbi_reducer *r, lmb_error *err)
{
    r->ahead = pthread_create(&r->thread, NULL, summing, r) == 0;
    return r->ahead ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "the thread that sums gradients could not be started");
}

static bool not_busy(void *ctx) { return !atomic_load(&((lmbi_reducer *)ctx)->busy); }

void lmbi_reducer_stop_ahead(lmbi_reducer *r)
{
    pthread_mutex_lock(&r->lock);
    r->open = false;
    if (r->busy) {
        pthread_mutex_unlock(&r->lock);
        lmb_wait_briefly(not_busy, r);
        pthread_mutex_lock(&r->lock);
    }
    while (r->busy)
        pthread_cond_wait(&r->idle, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

void lmbi_reducer_end_ahead(lmbi_reducer *r)
{
    if (!r->ahead)
        return;
    pthread_mutex_lock(&r->lock);
    r->quit = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
}
