/* train/reduce.c - see reduce.h. */
#include "train/reduce.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/scatter.h"
#include "core/base/compiler.h"

struct lmbi_reducer {
    const lmb_state_layout *layout;
    lmb_comm *comm;
    size_t width;
    int slots, filled, n_buckets, stride;
    const size_t *const *cut; /* [buckets]: ranks keep parts of sums; NULL: all keep all */
    lmbi_bucket *bucket;
    float **slot;          /* [slots][width]                                   */
    float *weight;         /* [slots] of the running batch                     */
    lmb_window *window;    /* where slot 0 lies; NULL: ranks exchange messages  */
    float *scratch;        /* [width]: what a peer sends; NULL with a window   */
    lmb_trace *trace;
    lmb_factors *const *factors; /* [slots][segments] or NULL                  */
    struct { void *memory; size_t bytes; } *room; /* [slots + 1]: scratch of products, of each worker and of the thread    */
    bool multiplied;       /* the products of the buckets that are left        */
    atomic_bool no_memory; /* for a scratch                                    */

    /* Guarded by the lock: what the shards have finished, and the thread that sums ahead. */
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    int *pending;          /* [n_buckets] slots still at work on it            */
    int next;              /* bucket to be summed                              */
    bool ahead, quit;      /* there is a thread; it shall end                  */
    bool open;             /* between begin() and end()                        */
    bool failed;           /* a sum of the thread, see err                     */
    atomic_bool busy;      /* the thread sums bucket next - 1                  */
    lmb_error err;
    pthread_t thread;
};

void lmbi_reducer_factors(lmbi_reducer *r, lmb_factors *const *factors) { r->factors = factors; }
void lmbi_reducer_scatter(lmbi_reducer *r, const size_t *const *cut) { r->cut = cut; }
float *lmbi_reducer_slot(const lmbi_reducer *r, int slot) { return r->slot[slot]; }
void lmbi_reducer_trace(lmbi_reducer *r, lmb_trace *t) { r->trace = t; }
int lmbi_reducer_buckets(const lmbi_reducer *r) { return r->n_buckets; }
const lmbi_bucket *lmbi_reducer_bucket(const lmbi_reducer *r, int bucket) { return &r->bucket[bucket]; }

static bool has_peers(const lmbi_reducer *r) { return r->comm->size > r->stride; }

/* ---- the tree ---- */

LMB_HOT static void add(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] += from[i];
}

LMB_HOT static void least(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] = from[i] < into[i] ? from[i] : into[i];
}

LMB_HOT static void greatest(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] = from[i] > into[i] ? from[i] : into[i];
}

/* The leaves of the tree: both sides are weighed, into = a into + b from. */
LMB_HOT static void add_weighed(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, float a, float b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] = into[i] * a + from[i] * b;
}

LMB_HOT static void weigh(float *into, float a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] *= a;
}

/* Do slots have factors instead of a vector's segment? */
static bool has_factors(const lmbi_reducer *r, int segment)
{
    return r->factors && r->filled && r->factors[0][segment].rows > 0;
}

/* Where a stretch that is summed ends, and the segment behind it that is not: NULL at the end of the bucket. Positions
 * count from the bucket's front. `shards`: sums are over slots, where some have no vectors. */
static const lmb_segment *next_stretch(const lmbi_reducer *r, const lmbi_bucket *b, bool shards, int *segment, size_t *end)
{
    while (*segment < b->last) {
        int at = (*segment)++;
        const lmb_segment *s = &r->layout->segment[at];
        *end = LMBI_SUMS + s->offset - b->lo;
        if (s->reduce != LMB_REDUCE_MEAN || (shards && has_factors(r, at)))
            return s;
    }
    *end = b->n;
    return NULL;
}

typedef struct piece { const lmbi_reducer *r; const lmbi_bucket *b; bool shards; } piece;

/* What of [lo, hi) lies in [*from, *to). */
static bool overlap(size_t lo, size_t hi, size_t *from, size_t *to)
{
    *from = *from > lo ? *from : lo;
    *to = *to < hi ? *to : hi;
    return *from < *to;
}

/* into = into + from, except in segments that take a minimum or maximum, for positions lo .. lo + n of the bucket. */
static void combine(void *ctx, float *into, const float *from, size_t lo, size_t n)
{
    const piece *p = ctx;
    const lmb_segment *s;
    size_t at = 0, end, hi = lo + n;
    int segment = p->b->first;

    do {
        s = next_stretch(p->r, p->b, p->shards, &segment, &end);
        size_t next = end + (s ? s->count : 0), a = at, b = end, c = end, d = next;
        if (overlap(lo, hi, &a, &b))
            add(into + (a - lo), from + (a - lo), b - a);
        if (s && s->reduce != LMB_REDUCE_MEAN && overlap(lo, hi, &c, &d))
            (s->reduce == LMB_REDUCE_MIN ? least : greatest)(into + (c - lo), from + (c - lo), d - c);
        at = next;
    } while (s && at < hi);
}

/* A leaf and its neighbour, or `from` NULL: a leaf alone. The sums over samples in front are not weighed. */
static void combine_leaves(const lmbi_reducer *r, const lmbi_bucket *b, float *into, float a, const float *from, float c)
{
    const lmb_segment *s;
    size_t at = b->lo ? 0 : LMBI_SUMS, end;
    int segment = b->first;

    if (from)
        add(into, from, at);
    do {
        s = next_stretch(r, b, true, &segment, &end);
        if (from)
            add_weighed(into + at, from + at, a, c, end - at);
        else if (a != 1)
            weigh(into + at, a, end - at);
        if (s && s->reduce != LMB_REDUCE_MEAN && from)
            (s->reduce == LMB_REDUCE_MIN ? least : greatest)(into + end, from + end, s->count);
        at = end + (s ? s->count : 0);
    } while (s);
}

/* What combine() leaves the other side unchanged with. */
static void fill_neutral(const lmbi_reducer *r, float *v)
{
    for (size_t i = 0; i < r->width; i++)
        v[i] = -0.0f;
    for (int i = 0; i < r->layout->n; i++) {
        const lmb_segment *s = &r->layout->segment[i];
        for (size_t k = 0; s->reduce != LMB_REDUCE_MEAN && k < s->count; k++)
            v[LMBI_SUMS + s->offset + k] = s->reduce == LMB_REDUCE_MIN ? INFINITY : -INFINITY;
    }
}

static void trace_bucket(const lmbi_reducer *r, lmb_trace *t, int lane, const lmbi_bucket *b, const char *what, double from)
{
    char name[32];
    if (!t)
        return;
    snprintf(name, sizeof name, "bucket %d: %zu KiB", (int)(b - r->bucket), b->n * sizeof(float) / 1024);
    lmb_trace_span(t, lane, "sum", name, what, from);
}

/* Scratch of one worker, as large as it ever had to be. */
static void *room_for(lmbi_reducer *r, int worker, size_t bytes)
{
    if (r->room[worker].bytes < bytes) {
        free(r->room[worker].memory);
        r->room[worker].bytes = (bytes + 63) / 64 * 64;
        r->room[worker].memory = aligned_alloc(64, r->room[worker].bytes);
        if (!r->room[worker].memory) {
            r->room[worker].bytes = 0;
            atomic_store(&r->no_memory, true);
        }
    }
    return r->room[worker].memory;
}

/* Part `part` of `parts` of a segment's rows, multiplied and summed over all slots, into slot 0. */
static void multiply(lmbi_reducer *r, int segment, int part, int parts, int worker)
{
    const lmb_factors *first = &r->factors[0][segment];
    int64_t lo = first->m * part / parts, hi = first->m * (part + 1) / parts;
    size_t list = (sizeof first * (size_t)r->filled + 63) / 64 * 64;

    /* how much depends on the most rows of a slot, which is the first */
    char *room = room_for(r, worker, list + lmb_products_scratch(&first, 1, hi - lo) * (size_t)r->filled);
    const lmb_factors **shard = (const lmb_factors **)(void *)room;
    if (!room)
        return;
    for (int i = 0; i < r->filled; i++)
        shard[i] = &r->factors[i][segment];
    lmb_products_sum(shard, r->weight, r->filled, lo, hi, r->slot[0] + LMBI_SUMS + r->layout->segment[segment].offset, room + list);
}

/* A bucket of all slots into slot 0. Empty slots are the last ones: what the tree would add of them is neutral. */
static void sum_slots(lmbi_reducer *r, const lmbi_bucket *b, int lane)
{
    piece p = { r, b, true };
    lmb_trace *trace = lmb_trace_fine(r->trace) ? r->trace : NULL;
    double from = lmb_trace_now(trace);

    for (int i = 0; i < r->filled; i += 2) {
        bool pair = i + 1 < r->filled;
        combine_leaves(r, b, r->slot[i] + b->lo, r->weight[i], pair ? r->slot[i + 1] + b->lo : NULL, pair ? r->weight[i + 1] : 0);
    }
    for (int step = 2; step < r->filled; step *= 2)
        for (int i = 0; i + step < r->filled; i += 2 * step)
            combine(&p, r->slot[i] + b->lo, r->slot[i + step] + b->lo, 0, b->n);
    for (int i = b->first; i < b->last && !r->multiplied; i++)
        if (has_factors(r, i))
            multiply(r, i, 0, 1, lane == LMB_LANE_SUMS ? r->slots : lane - LMB_LANE_TRAINING);
    trace_bucket(r, trace, lane, b, "over shards", from);
}

/* `lane`: of the thread that calls. While shards are at work it must not take a processor from them. */
static lmb_status sum_ranks(const lmbi_reducer *r, const lmbi_bucket *b, int lane, lmb_error *err)
{
    piece p = { r, b, false };
    lmb_trace *trace = lmb_trace_fine(r->trace) ? r->trace : NULL;
    double from = lmb_trace_now(trace);
    float *v = r->slot[0] + b->lo, *scratch = r->scratch ? r->scratch + b->lo : NULL;
    lmb_status st = r->window ? lmb_window_reduce(r->window, b->lo, b->n, lane != LMB_LANE_SUMS, combine, &p, err)
                  : r->cut    ? lmb_comm_reduce_scatter(r->comm, v, scratch, r->cut[b - r->bucket], combine, &p, err)
                              : lmbi_comm_reduce_stride(r->comm, r->stride, v, scratch, 0, b->n, combine, &p, err);

    trace_bucket(r, trace, lane, b, "over ranks", from);
    return st;
}

/* ---- the thread that sums ahead ---- */

/* All buckets but the last, which is ready when the batch is: end() sums it, and whatever else is left, without a change of threads. */
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
        sum_slots(r, b, LMB_LANE_SUMS);
        lmb_status st = sum_ranks(r, b, LMB_LANE_SUMS, &r->err);
        pthread_mutex_lock(&r->lock);
        r->failed = r->failed || st != LMB_OK;
        atomic_store(&r->busy, false);
        pthread_cond_signal(&r->idle);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- a batch ---- */

void lmbi_reducer_begin(lmbi_reducer *r, int filled, const float *weight)
{
    r->filled = filled;
    r->multiplied = false;
    memcpy(r->weight, weight, sizeof *weight * (size_t)filled);
    if (filled == 0)
        fill_neutral(r, r->slot[0]);
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

/* What is left to be multiplied, divided among all workers: a large layer is most of a model. */
typedef struct left { lmbi_reducer *r; int segment, parts; } left;

static void multiply_task(void *ctx, int task, int worker)
{
    const left *l = ctx;
    multiply(l->r, l->segment, task, l->parts, worker);
}

static void multiply_left(lmbi_reducer *r, lmb_pool *pool)
{
    left l = { r, 0, lmb_pool_size(pool) };

    for (int b = r->next; b < r->n_buckets; b++)
        for (l.segment = r->bucket[b].first; l.segment < r->bucket[b].last; l.segment++)
            if (has_factors(r, l.segment))
                lmb_pool_run(pool, l.parts, multiply_task, &l);
    r->multiplied = true;
}

static void slots_task(void *ctx, int task, int worker)
{
    lmbi_reducer *r = ctx;
    sum_slots(r, &r->bucket[r->next + task], LMB_LANE_TRAINING + worker);
}

static bool not_busy(void *ctx) { return !atomic_load(&((lmbi_reducer *)ctx)->busy); }

/* The thread finishes the bucket that it is at and touches no other. */
static void stop_ahead(lmbi_reducer *r)
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

lmb_status lmbi_reducer_end(lmbi_reducer *r, lmb_pool *pool, bool given_up, float **sum, lmb_error *err)
{
    stop_ahead(r);
    *sum = r->slot[0];
    if (given_up)
        return LMB_OK;
    if (r->failed)
        return LMB_FAIL(err, r->err.status, "%s", r->err.msg);
    multiply_left(r, pool);
    lmb_pool_run(pool, r->n_buckets - r->next, slots_task, r);
    if (atomic_load(&r->no_memory))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to sum the gradients of %d shards; use smaller shards or fewer threads", r->slots);
    for (; r->next < r->n_buckets && has_peers(r); r->next++)
        LMB_TRY(sum_ranks(r, &r->bucket[r->next], LMB_LANE_TRAINING, err));
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
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu numbers in %d shards; use fewer threads, or a smaller batch or larger "
                        "shards", r->width, r->slots);
    cut(r, bucket_bytes);
    bool any_thread = r->comm->any_thread || (r->window && lmb_window_one_node(r->window));
    r->ahead = has_peers(r) && any_thread && r->n_buckets > 1;
    if (r->ahead && pthread_create(&r->thread, NULL, summing, r) != 0) {
        r->ahead = false;
        return LMB_FAIL(err, LMB_E_NOMEM, "the thread that sums gradients could not be started");
    }
    return LMB_OK;
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
    if (r->ahead) {
        pthread_mutex_lock(&r->lock);
        r->quit = true;
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
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
