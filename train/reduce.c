/* train/reduce.c - a batch's sums, from begin() to end(). See reduce.h. */
#include <stdlib.h>
#include <string.h>

#include "train/reduce_internal.h"

void lmbi_reducer_factors(lmbi_reducer *r, lmb_factors *const *factors) { r->factors = factors; }
void lmbi_reducer_scatter(lmbi_reducer *r, const size_t *const *cut) { r->cut = cut; }
float *lmbi_reducer_slot(const lmbi_reducer *r, int slot) { return r->slot[slot]; }
void lmbi_reducer_trace(lmbi_reducer *r, lmb_trace *t) { r->trace = t; }
int lmbi_reducer_buckets(const lmbi_reducer *r) { return r->n_buckets; }
const lmbi_bucket *lmbi_reducer_bucket(const lmbi_reducer *r, int bucket) { return &r->bucket[bucket]; }

static bool has_peers(const lmbi_reducer *r) { return r->comm->size > r->stride; }

/* ---- a batch ---- */

void lmbi_reducer_begin(lmbi_reducer *r, int filled, const float *weight)
{
    r->filled = filled;
    r->multiplied = false;
    memcpy(r->weight, weight, sizeof *weight * (size_t)filled);
    if (filled == 0)
        lmbi_tree_neutral(r->layout, r->slot[0]);
    pthread_mutex_lock(&r->lock);
    for (int b = 0; b < r->n_buckets; b++)
        r->pending[b] = filled;
    r->open = true;
    r->next = 0;
    pthread_mutex_unlock(&r->lock);
}

void lmbi_reducer_done(lmbi_reducer *r, int bucket)
{
    pthread_mutex_lock(&r->lock);
    if (--r->pending[bucket] == 0 && r->ahead && bucket < r->n_buckets - 1)
        pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

static void slots_task(void *ctx, int task, int worker)
{
    lmbi_reducer *r = ctx;
    lmbi_reducer_sum_slots(r, &r->bucket[r->next + task], LMB_LANE_TRAINING + worker);
}

lmb_status lmbi_reducer_end(lmbi_reducer *r, lmb_pool *pool, bool given_up, float **sum, lmb_error *err)
{
    lmbi_reducer_stop_ahead(r);
    *sum = r->slot[0];
    if (given_up)
        return LMB_OK;
    if (r->failed)
        return LMB_FAIL(err, r->err.status, "%s", r->err.msg);
    lmbi_reducer_multiply_left(r, pool);
    lmb_pool_run(pool, r->n_buckets - r->next, slots_task, r);
    if (atomic_load(&r->no_memory))
        return LMB_FAIL(err, LMB_E_NOMEM,
                        "no memory to sum the gradients of %d shards; use smaller shards or fewer threads", r->slots);
    for (; r->next < r->n_buckets && has_peers(r); r->next++)
        LMB_TRY(lmbi_reducer_sum_ranks(r, &r->bucket[r->next], LMB_LANE_TRAINING, err));
    return LMB_OK;
}

/* ---- setting up ---- */

static float *vector(size_t n)
{
    float *v = aligned_alloc(64, (n * sizeof *v + 63) / 64 * 64);
    if (v)
        memset(v, 0, n * sizeof *v);
    return v;
}

/* From the last segment to the first; a bucket is closed once it is large enough. */
static void cut(lmbi_reducer *r, size_t bucket_bytes)
{
    const lmb_state_layout *l = r->layout;
    size_t end = r->width;
    int last = l->n;

    for (int i = l->n - 1; i >= 0; i--) {
        size_t lo = LMBI_SUMS + l->segment[i].offset;
        if (i == 0 || (bucket_bytes && (end - lo) * sizeof(float) >= bucket_bytes)) {
            lo = i ? lo : 0;
            r->bucket[r->n_buckets++] = (lmbi_bucket){ lo, end - lo, i, last };
            end = lo;
            last = i;
        }
    }
    if (l->n == 0)
        r->bucket[r->n_buckets++] = (lmbi_bucket){ 0, end, 0, 0 };
}

/* The vectors: the first where the other ranks of the node can see it. */
static bool make_vectors(lmbi_reducer *r)
{
    bool ok = true;

    if (r->window)
        memset(r->slot[0] = lmb_window_vector(r->window), 0, r->width * sizeof(float));
    for (int i = r->window ? 1 : 0; i < r->slots; i++)
        ok = (r->slot[i] = vector(r->width)) != NULL && ok;
    if (has_peers(r) && !r->window)
        ok = (r->scratch = vector(r->width)) != NULL && ok;
    return ok;
}

static lmb_status set_up(lmbi_reducer *r, size_t bucket_bytes, int way, lmb_error *err)
{
    r->bucket = calloc((size_t)r->layout->n + 1, sizeof *r->bucket);
    r->pending = calloc((size_t)r->layout->n + 1, sizeof *r->pending);
    r->slot = calloc((size_t)r->slots, sizeof *r->slot);
    r->weight = calloc((size_t)r->slots, sizeof *r->weight);
    r->room = calloc((size_t)r->slots + 1, sizeof *r->room);
    if (has_peers(r) && r->stride == 1 && way != LMBI_MESSAGES)
        LMB_TRY(lmb_window_open(r->comm, r->width, way == LMBI_WINDOW, &r->window, err));
    bool fits = (double)r->slots * (double)r->width * sizeof(float) < lmb_memory_bytes();
    if (!fits || !r->bucket || !r->pending || !r->slot || !r->weight || !r->room || !make_vectors(r))
        return LMB_FAIL(err, LMB_E_NOMEM,
                        "no memory for %zu numbers in %d shards; use fewer threads, or a smaller batch or larger "
                        "shards",
                        r->width, r->slots);
    cut(r, bucket_bytes);
    bool any_thread = r->comm->any_thread || (r->window && lmb_window_one_node(r->window));
    return has_peers(r) && any_thread && r->n_buckets > 1 ? lmbi_reducer_start_ahead(r, err) : LMB_OK;
}

lmb_status lmbi_reducer_create(const lmb_state_layout *l, lmb_comm *comm, int slots, size_t bucket_bytes, int way,
                               int stride, lmbi_reducer **out, lmb_error *err)
{
    lmbi_reducer *r = calloc(1, sizeof *r);
    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for sums");
    r->layout = l;
    r->comm = comm;
    r->slots = slots;
    r->stride = stride;
    r->width = LMBI_SUMS + l->count;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    pthread_cond_init(&r->idle, NULL);
    lmb_status st = set_up(r, bucket_bytes, way, err);
    if (st != LMB_OK) {
        lmbi_reducer_destroy(r);
        return st;
    }
    *out = r;
    return LMB_OK;
}

void lmbi_reducer_destroy(lmbi_reducer *r)
{
    if (!r)
        return;
    lmbi_reducer_end_ahead(r);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
    pthread_cond_destroy(&r->idle);
    for (int i = r->window ? 1 : 0; r->slot && i < r->slots; i++)
        free(r->slot[i]);
    for (int i = 0; r->room && i <= r->slots; i++)
        free(r->room[i].memory);
    free(r->room);
    lmb_window_close(r->window);
    free(r->slot);
    free(r->weight);
    free(r->scratch);
    free(r->bucket);
    free(r->pending);
    free(r);
}
