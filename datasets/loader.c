/* datasets/loader.c - see loader.h.
 *
 * A ring of batches between some producers and one consumer. Batch number `first + k` of an epoch lives in slot
 * k % depth; a producer claims the next number when its slot is free, fills it outside the lock and marks it ready; the
 * consumer takes the slots in order. The threads live from begin() to the end of their epoch.
 */
#include "datasets/loader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/threads.h"
#include "datasets/sampler.h"

enum { AHEAD = 3, MAX_THREADS = 64, ALIGN = 64 }; /* AHEAD: one with the consumer, two ready */

typedef struct slot {
    lmb_batch batch;
    void *x;
    int64_t *y;
    uint32_t *sample;
    lmb_picture_change *change; /* or NULL: images are changed here */
    bool ready;
    lmb_error error; /* of the filling; ready then too */
} slot;

typedef struct producer {
    lmb_loader *l;
    pthread_t thread;
    uint8_t *raw, *scratch; /* one sample each */
} producer;

struct lmb_loader {
    lmb_loader_options o;
    lmb_augment augment;
    bool augmented;
    int64_t batches, numbers; /* in an epoch; in a sample */
    uint32_t *order;          /* of this epoch's samples  */
    uint32_t epoch;
    int64_t first;
    slot *slot;
    producer *producer;
    int depth, threads, started; /* started: threads that run or wait to be joined */
    pthread_mutex_t lock;
    pthread_cond_t freed, filled;
    atomic_bool quit;
    bool begun, held;       /* held: the consumer looks at slot taken % depth */
    int64_t claimed, taken; /* batches of this epoch, counted from `first`    */
    double waited;
    lmb_trace *trace;
};

/* ---- filling a slot ---- */

LMB_HOT static void widen(const uint8_t *in, float *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)in[i];
}

static lmb_status fill_sample(producer *p, slot *s, int64_t i, uint32_t k, lmb_error *err)
{
    lmb_loader *l = p->l;
    const lmb_dataset *d = l->o.data;
    bool wide = l->o.dtype == LMB_F32, image = d->dtype == LMB_U8;
    float *x = (float *)s->x + i * l->numbers;
    void *to = !wide ? (void *)((uint8_t *)s->x + i * l->numbers) : image ? (void *)p->raw : (void *)x;
    int32_t label;

    LMB_TRY(d->read(d, k, to, &label, err));
    if (s->change)
        s->change[i] = lmb_augment_change(&l->augment, &d->shape, l->o.seed, l->epoch, k);
    else if (l->augmented && image)
        lmb_augment_apply(&l->augment, to, &d->shape, l->o.seed, l->epoch, k, p->scratch);
    else if (l->augmented)
        lmb_augment_apply_signal(&l->augment, x, &d->shape, l->o.seed, l->epoch, k);
    if (image && wide)
        widen(to, x, l->numbers);
    s->y[i] = label;
    s->sample[i] = k;
    return LMB_OK;
}

static void range_of(const lmb_loader *l, int64_t total, int64_t *lo, int64_t *hi)
{
    *lo = 0;
    *hi = total;
    if (l->o.range)
        l->o.range(l->o.range_ctx, total, lo, hi);
}

static void fill(producer *p, slot *s, int64_t index)
{
    lmb_loader *l = p->l;
    int64_t start, total, lo, hi;
    lmb_status st = LMB_OK;

    lmb_error_clear(&s->error);
    lmb_sampler_batch(l->o.data->n, l->o.batch, index, &start, &total);
    range_of(l, total, &lo, &hi);
    s->batch = (lmb_batch){ .index = index, .total = total, .lo = lo, .n = hi - lo, .y = s->y, .sample = s->sample,
                             .change = s->change };
    if (l->o.dtype == LMB_U8)
        s->batch.x_u8 = s->x;
    else
        s->batch.x = s->x;
    for (int64_t i = 0; i < hi - lo && st == LMB_OK && !atomic_load(&l->quit); i++)
        st = fill_sample(p, s, i, l->order[start + lo + i], &s->error);
}

static void *produce(void *arg)
{
    producer *p = arg;
    lmb_loader *l = p->l;

    pthread_mutex_lock(&l->lock);
    while (!atomic_load(&l->quit) && l->first + l->claimed < l->batches) {
        if (l->claimed - l->taken >= l->depth) {
            pthread_cond_wait(&l->freed, &l->lock);
            continue;
        }
        int64_t k = l->claimed++;
        slot *s = &l->slot[k % l->depth];
        pthread_mutex_unlock(&l->lock);
        double from = lmb_trace_now(l->trace);
        fill(p, s, l->first + k);
        lmb_trace_span(l->trace, LMB_LANE_LOADER + (int)(p - l->producer), "data", "make a batch ready", NULL, from);
        pthread_mutex_lock(&l->lock);
        s->ready = true;
        pthread_cond_signal(&l->filled);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- life ---- */

static void stop(lmb_loader *l)
{
    pthread_mutex_lock(&l->lock);
    atomic_store(&l->quit, true);
    pthread_cond_broadcast(&l->freed);
    pthread_mutex_unlock(&l->lock);
    for (; l->started > 0; l->started--)
        pthread_join(l->producer[l->started - 1].thread, NULL);
    atomic_store(&l->quit, false);
    l->begun = l->held = false;
}

void lmb_loader_destroy(lmb_loader *l)
{
    if (!l)
        return;
    stop(l);
    for (int i = 0; l->slot && i < l->depth; i++) {
        free(l->slot[i].x);
        free(l->slot[i].y);
        free(l->slot[i].sample);
        free(l->slot[i].change);
    }
    for (int i = 0; l->producer && i < l->threads; i++) {
        free(l->producer[i].raw);
        free(l->producer[i].scratch);
    }
    pthread_cond_destroy(&l->freed);
    pthread_cond_destroy(&l->filled);
    pthread_mutex_destroy(&l->lock);
    free(l->slot);
    free(l->producer);
    free(l->order);
    free(l);
}

static lmb_status check_options(const lmb_loader_options *o, lmb_error *err)
{
    char text[LMB_SHAPE_TEXT];

    if (o->batch < 1)
        return LMB_FAIL(err, LMB_E_ARG, "batches of %lld samples; a batch must have at least 1", (long long)o->batch);
    if (o->threads < 0 || o->threads > MAX_THREADS)
        return LMB_FAIL(err, LMB_E_ARG, "a loader with %d threads; it must be in [0, %d]", o->threads, MAX_THREADS);
    if ((o->dtype != LMB_F32 && o->dtype != LMB_U8) || (o->dtype == LMB_U8 && o->data->dtype != LMB_U8))
        return LMB_FAIL(err, LMB_E_ARG, "%s batches of %s %s samples; f32 always fits, u8 fits u8 images",
                        lmb_dtype_name(o->dtype), lmb_dtype_name(o->data->dtype),
                        lmb_shape_text(&o->data->shape, text, sizeof text));
    if (o->change_later && (o->dtype != LMB_U8 || !o->augment))
        return LMB_FAIL(err, LMB_E_ARG, "changes that come later are those of u8 batches");
    return o->augment ? lmb_augment_check(o->augment, &o->data->shape, o->data->dtype, err) : LMB_OK;
}

/* The most samples this rank gets of a batch: there are full batches and at most one short one. */
static lmb_status most_samples(const lmb_loader *l, int64_t *most, lmb_error *err)
{
    int64_t n = l->o.data->n, last[2] = { 0, l->batches - 1 };

    *most = 0;
    for (int i = 0; i < 2; i++) {
        int64_t start, total, lo, hi;
        lmb_sampler_batch(n, l->o.batch, last[i], &start, &total);
        range_of(l, total, &lo, &hi);
        if (lo < 0 || hi < lo || hi > total)
            return LMB_FAIL(err, LMB_E_ARG, "positions [%lld, %lld) of a batch of %lld samples", (long long)lo,
                            (long long)hi, (long long)total);
        *most = hi - lo > *most ? hi - lo : *most;
    }
    return LMB_OK;
}

static lmb_status allocate(lmb_loader *l, lmb_error *err)
{
    size_t bytes = lmb_shape_bytes(&l->o.data->shape, LMB_U8), one = lmb_dtype_bytes(l->o.dtype);
    int64_t most;

    LMB_TRY(most_samples(l, &most, err));
    l->order = malloc(sizeof *l->order * (size_t)l->o.data->n);
    l->slot = calloc((size_t)l->depth, sizeof *l->slot);
    l->producer = calloc((size_t)l->threads, sizeof *l->producer);
    bool ok = l->order && l->slot && l->producer;
    for (int i = 0; ok && i < l->threads; i++) {
        l->producer[i] = (producer){ .l = l, .raw = malloc(bytes), .scratch = malloc(bytes) };
        ok = l->producer[i].raw && l->producer[i].scratch;
    }
    for (int i = 0; ok && i < l->depth; i++) {
        slot *s = &l->slot[i];
        size_t whole = ((size_t)(most * l->numbers) * one + ALIGN) / ALIGN * ALIGN; /* never 0 */
        s->x = aligned_alloc(ALIGN, whole);
        s->y = malloc(sizeof *s->y * (size_t)(most + 1));
        s->sample = malloc(sizeof *s->sample * (size_t)(most + 1));
        s->change = l->o.change_later ? malloc(sizeof *s->change * (size_t)(most + 1)) : NULL;
        ok = s->x && s->y && s->sample && (s->change || !l->o.change_later);
    }
    if (!ok)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d batches of %lld samples; use smaller batches or fewer "
                        "loader threads", l->depth, (long long)most);
    return LMB_OK;
}

lmb_status lmb_loader_create(const lmb_loader_options *o, lmb_loader **out, lmb_error *err)
{
    LMB_TRY(check_options(o, err));
    lmb_loader *l = calloc(1, sizeof *l);
    if (!l)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a loader");
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->freed, NULL);
    pthread_cond_init(&l->filled, NULL);
    atomic_init(&l->quit, false);
    l->o = *o;
    l->augmented = o->augment != NULL;
    if (o->augment)
        l->augment = *o->augment;
    l->batches = lmb_sampler_batches(o->data->n, o->batch);
    l->numbers = lmb_shape_count(&o->data->shape);
    l->threads = o->threads ? o->threads : 1;
    l->depth = l->threads + AHEAD;
    lmb_status st = allocate(l, err);
    if (st != LMB_OK) {
        lmb_loader_destroy(l);
        return st;
    }
    *out = l;
    return LMB_OK;
}

int64_t lmb_loader_batches(const lmb_loader *l) { return l->batches; }
double lmb_loader_waited(const lmb_loader *l) { return l->waited; }
void lmb_loader_trace(lmb_loader *l, lmb_trace *t) { l->trace = t; }

/* ---- the consumer ---- */

lmb_status lmb_loader_begin(lmb_loader *l, uint32_t epoch, int64_t first, lmb_error *err)
{
    if (first < 0 || first > l->batches)
        return LMB_FAIL(err, LMB_E_ARG, "an epoch of %lld batches cannot begin at batch %lld", (long long)l->batches,
                        (long long)first);
    stop(l);
    lmb_sampler_order(l->o.seed, epoch, l->o.shuffle, (uint32_t)l->o.data->n, l->order);
    l->epoch = epoch;
    l->first = first;
    l->claimed = l->taken = 0;
    for (int i = 0; i < l->depth; i++)
        l->slot[i].ready = false;
    for (; l->started < l->threads; l->started++) {
        producer *p = &l->producer[l->started];
        if (pthread_create(&p->thread, NULL, produce, p) != 0) {
            stop(l);
            return LMB_FAIL(err, LMB_E_NOMEM, "thread %d of the loader's %d could not be started; use fewer",
                            l->started + 1, l->threads);
        }
    }
    l->begun = true;
    return LMB_OK;
}

lmb_status lmb_loader_next(lmb_loader *l, const lmb_batch **out, lmb_error *err)
{
    if (!l->begun)
        return LMB_FAIL(err, LMB_E_ARG, "a loader was asked for a batch before its epoch began");
    pthread_mutex_lock(&l->lock);
    if (l->held) { /* the batch handed out last is free again */
        l->slot[l->taken % l->depth].ready = false;
        l->taken++;
        l->held = false;
        pthread_cond_signal(&l->freed);
    }
    if (l->first + l->taken == l->batches) {
        pthread_mutex_unlock(&l->lock);
        *out = NULL;
        return LMB_OK;
    }
    slot *s = &l->slot[l->taken % l->depth];
    if (!s->ready) {
        double from = lmb_seconds();
        while (!s->ready)
            pthread_cond_wait(&l->filled, &l->lock);
        l->waited += lmb_seconds() - from;
    }
    l->held = s->error.status == LMB_OK;
    pthread_mutex_unlock(&l->lock);
    if (s->error.status != LMB_OK)
        return LMB_FAIL(err, s->error.status, "%s", s->error.msg);
    *out = &s->batch;
    return LMB_OK;
}
