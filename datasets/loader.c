/* datasets/loader.c - see loader.h. A ring of DEPTH batches between one producer and one consumer. */
#include "datasets/loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/random.h"
#include "core/base/threads.h"

enum { DEPTH = 4 };

typedef struct slot {
    lmb_batch batch;
    float *x;
    int64_t *y;
    uint32_t *sample;
} slot;

struct lmb_loader {
    lmb_loader_options o;
    int64_t batches;
    uint32_t *order;
    uint32_t epoch;
    slot slot[DEPTH];
    uint8_t *raw, *scratch; /* one sample */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, quit, held;
    int64_t made, taken, first; /* batches made and taken in this epoch, counted from `first` */
    lmb_error error;
    double waited;
};

LMB_HOT static void widen(const uint8_t *in, float *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)in[i];
}

static lmb_status fill(lmb_loader *l, slot *s, int64_t index, lmb_error *err)
{
    const lmb_dataset *d = l->o.data;
    int64_t start = index * l->o.batch, total = d->n - start < l->o.batch ? d->n - start : l->o.batch;
    int64_t lo = 0, hi = total, numbers = lmb_shape_count(&d->shape);

    if (l->o.range)
        l->o.range(l->o.range_ctx, total, &lo, &hi);
    s->batch = (lmb_batch){ index, total, lo, hi - lo, s->x, s->y, s->sample };
    for (int64_t i = 0; i < hi - lo; i++) {
        uint32_t k = l->order[start + lo + i];
        int32_t label;
        void *to = d->dtype == LMB_F32 ? (void *)(s->x + i * numbers) : l->raw;
        LMB_TRY(d->read(d, k, to, &label, err));
        if (d->dtype == LMB_U8) {
            if (l->o.augment)
                lmb_augment_apply(l->o.augment, l->raw, &d->shape, l->o.seed, l->epoch, k, l->scratch);
            widen(l->raw, s->x + i * numbers, numbers);
        }
        s->y[i] = label;
        s->sample[i] = k;
    }
    return LMB_OK;
}

static void *produce(void *arg)
{
    lmb_loader *l = arg;

    pthread_mutex_lock(&l->lock);
    while (!l->quit && l->first + l->made < l->batches) {
        if (l->made - l->taken >= DEPTH) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        slot *s = &l->slot[l->made % DEPTH];
        int64_t index = l->first + l->made;
        lmb_error err = LMB_ERROR_INIT;
        pthread_mutex_unlock(&l->lock);
        lmb_status st = fill(l, s, index, &err);
        pthread_mutex_lock(&l->lock);
        if (st != LMB_OK) {
            l->error = err;
            break;
        }
        l->made++;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void stop(lmb_loader *l)
{
    if (!l->started)
        return;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    l->started = l->quit = false;
}

void lmb_loader_destroy(lmb_loader *l)
{
    if (!l)
        return;
    stop(l);
    for (int i = 0; i < DEPTH; i++) {
        free(l->slot[i].x);
        free(l->slot[i].y);
        free(l->slot[i].sample);
    }
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l->order);
    free(l->raw);
    free(l->scratch);
    free(l);
}

lmb_status lmb_loader_create(const lmb_loader_options *o, lmb_loader **out, lmb_error *err)
{
    int64_t numbers = lmb_shape_count(&o->data->shape), most = o->batch < o->data->n ? o->batch : o->data->n;

    if (o->batch < 1 || o->data->n < 1)
        return LMB_FAIL(err, LMB_E_ARG, "batches of %lld out of %lld samples", (long long)o->batch, (long long)o->data->n);
    if (o->augment && (o->data->dtype != LMB_U8 || o->data->shape.n != 3) &&
        (o->augment->crop || o->augment->flip || o->augment->cutout))
        return LMB_FAIL(err, LMB_E_ARG, "augmentation works on images; this data set has signals");
    lmb_loader *l = calloc(1, sizeof *l);
    if (!l)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a loader");
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    l->o = *o;
    l->batches = (o->data->n + o->batch - 1) / o->batch;
    l->order = malloc(sizeof *l->order * (size_t)o->data->n);
    l->raw = malloc((size_t)numbers * 4 + 1);
    l->scratch = malloc((size_t)numbers + 1);
    bool ok = l->order && l->raw && l->scratch;
    for (int i = 0; i < DEPTH; i++) {
        l->slot[i].x = malloc(sizeof(float) * (size_t)(most * numbers) + 64);
        l->slot[i].y = malloc(sizeof(int64_t) * (size_t)most);
        l->slot[i].sample = malloc(sizeof(uint32_t) * (size_t)most);
        ok = ok && l->slot[i].x && l->slot[i].y && l->slot[i].sample;
    }
    if (!ok) {
        lmb_loader_destroy(l);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d batches of %lld samples", DEPTH, (long long)most);
    }
    *out = l;
    return LMB_OK;
}

int64_t lmb_loader_batches(const lmb_loader *l) { return l->batches; }
double lmb_loader_waited(const lmb_loader *l) { return l->waited; }

lmb_status lmb_loader_begin(lmb_loader *l, uint32_t epoch, int64_t first, lmb_error *err)
{
    stop(l);
    lmb_rand r = lmb_rand_at(l->o.seed, LMB_RAND_SHUFFLE, epoch, 0);
    for (int64_t i = 0; i < l->o.data->n; i++)
        l->order[i] = (uint32_t)i;
    if (l->o.shuffle)
        lmb_rand_shuffle(&r, l->order, (uint32_t)l->o.data->n);
    l->epoch = epoch;
    l->first = first;
    l->made = l->taken = 0;
    l->held = false;
    l->error = (lmb_error)LMB_ERROR_INIT;
    if (pthread_create(&l->thread, NULL, produce, l) != 0)
        return LMB_FAIL(err, LMB_E_NOMEM, "the loader's thread could not be started");
    l->started = true;
    return LMB_OK;
}

lmb_status lmb_loader_next(lmb_loader *l, const lmb_batch **out, lmb_error *err)
{
    lmb_status st = LMB_OK;

    pthread_mutex_lock(&l->lock);
    if (l->held) { /* the batch handed out last is free again */
        l->taken++;
        l->held = false;
        pthread_cond_broadcast(&l->changed);
    }
    double t = lmb_seconds();
    while (l->taken == l->made && l->first + l->made < l->batches && l->error.status == LMB_OK)
        pthread_cond_wait(&l->changed, &l->lock);
    l->waited += lmb_seconds() - t;
    if (l->taken < l->made) {
        *out = &l->slot[l->taken % DEPTH].batch;
        l->held = true;
    } else if (l->error.status != LMB_OK) {
        st = LMB_FAIL(err, l->error.status, "%s", l->error.msg);
    } else {
        *out = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    return st;
}
