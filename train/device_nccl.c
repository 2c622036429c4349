/* train/device_nccl.c - see device_nccl.h. */
#include "train/device_nccl.h"

#include <stdio.h>
#include <stdlib.h>

/* Numbers [lo, lo + n) of the vector, head included, that become what `op` says of all ranks': the owner's, or, -1,
 * everybody's. */
typedef struct range {
    size_t lo, n;
    lmb_nccl_op op;
    int owner;
} range;

typedef struct nccl_sum {
    lmb_device_sum base;
    lmb_comm *c;
    const lmb_nccl_api *api;
    lmbi_device_nccl_options o;
    lmb_nccl *nccl;
    lmb_device_vector v;
    int64_t step;
    int *owner;            /* [n_chunks] with parts                          */
    lmb_device_part *part; /* this rank's: [n_buckets] at most                */
    range *range;          /* of all buckets, one after another               */
    int *first;            /* [n_buckets + 1]: their first range              */
    lmb_nccl_piece *piece; /* as many as there are ranges                     */
    uint16_t *half;        /* device [head + count], or NULL                  */
    char name[48];
} nccl_sum;

#define NOMEM(err) LMB_FAIL((err), LMB_E_NOMEM, "no memory to sum gradients over GPUs")

static nccl_sum *of(lmb_device_sum *s) { return (nccl_sum *)s; }
static lmb_nccl_label label(const nccl_sum *s, int bucket) { return (lmb_nccl_label){ s->step, bucket }; }
static size_t head_end(const lmb_device_bucket *b) { return b->lo > LMB_STEP_HEAD ? b->lo : LMB_STEP_HEAD; }
static size_t place(const lmb_device_vector *v, int chunk) { return LMB_STEP_HEAD + v->chunk[chunk].at; }

static bool holds(const lmb_device_bucket *b, size_t at) { return at >= b->lo && at < b->lo + b->n; }

/* ---- who owns what ---- */

/* Whole chunks of a bucket, as equal in numbers as they can be, and this rank's among them. */
static void share_bucket(nccl_sum *s, const lmb_device_bucket *b, lmb_device_part *mine)
{
    const lmb_device_vector *v = &s->v;
    size_t begin = head_end(b), n = b->lo + b->n - begin;

    *mine = (lmb_device_part){ 0, 0 };
    for (int i = 0; i < v->n_chunks; i++) {
        if (!holds(b, place(v, i)))
            continue;
        size_t middle = place(v, i) - begin + (size_t)v->chunk[i].n / 2;
        s->owner[i] = (int)(middle * (size_t)s->c->size / n);
        if (s->owner[i] != s->c->rank)
            continue;
        mine->first = mine->last ? mine->first : i;
        mine->last = i + 1;
    }
}

static lmb_nccl_op op_of(const lmb_step_chunk *c)
{
    return c->reduce == LMB_REDUCE_MIN   ? LMB_NCCL_LEAST
           : c->reduce == LMB_REDUCE_MAX ? LMB_NCCL_GREATEST
                                         : LMB_NCCL_ADD;
}

/* A range ends where the next one begins: what lies between chunks is 0 everywhere. */
static void cut_bucket(nccl_sum *s, const lmb_device_bucket *b, int *n)
{
    const lmb_device_vector *v = &s->v;
    int begin = *n;

    if (b->lo < LMB_STEP_HEAD)
        s->range[(*n)++] = (range){ b->lo, LMB_STEP_HEAD - b->lo, LMB_NCCL_ADD, -1 };
    for (int i = 0, open = -1; i < v->n_chunks; i++) {
        if (!holds(b, place(v, i)))
            continue;
        range r = { open < 0 ? head_end(b) : place(v, i), 0, op_of(&v->chunk[i]), s->owner ? s->owner[i] : -1 };
        if (open >= 0 && s->range[open].op == r.op && s->range[open].owner == r.owner)
            continue;
        open = *n;
        s->range[(*n)++] = r;
    }
    for (int k = begin; k < *n; k++)
        s->range[k].n = (k + 1 < *n ? s->range[k + 1].lo : b->lo + b->n) - s->range[k].lo;
}

static void drop_room(nccl_sum *s)
{
    if (s->half)
        s->api->free(s->half);
    free(s->owner);
    free(s->part);
    free(s->range);
    free(s->piece);
    free(s->first);
    s->half = NULL;
    s->owner = NULL;
    s->part = NULL;
    s->range = NULL;
    s->piece = NULL;
    s->first = NULL;
}

static lmb_status make_room(nccl_sum *s, lmb_error *err)
{
    size_t chunks = (size_t)s->v.n_chunks + 1, buckets = (size_t)s->v.n_buckets + 1;
    void *half = NULL;

    s->owner = s->o.sharded ? calloc(chunks, sizeof *s->owner) : NULL;
    s->part = calloc(buckets, sizeof *s->part);
    s->range = calloc(chunks + buckets, sizeof *s->range);
    s->piece = calloc(chunks + buckets, sizeof *s->piece);
    s->first = calloc(buckets + 1, sizeof *s->first);
    if ((s->o.sharded && !s->owner) || !s->part || !s->range || !s->piece || !s->first)
        return NOMEM(err);
    if (!s->o.narrow)
        return LMB_OK;
    int code = s->api->alloc((LMB_STEP_HEAD + s->v.count) * sizeof *s->half, &half);
    if (code != LMB_NCCL_OK)
        return LMB_FAIL(err, LMB_E_NOMEM,
                        "no memory on the GPU for %zu gradients in bf16: %s; set train.reduce_type=f32", s->v.count,
                        s->api->text(code));
    s->half = half;
    return LMB_OK;
}

static lmb_status divide(lmb_device_sum *base, const lmb_device_vector *v, int *n_parts, const lmb_device_part **part,
                         lmb_error *err)
{
    nccl_sum *s = of(base);
    int n = 0, parts = 0;

    s->v = *v;
    drop_room(s); /* of a resident step before this one */
    LMB_TRY(make_room(s, err));
    for (int b = v->n_buckets - 1; b >= 0 && s->owner; b--) { /* parts in the order of the state */
        share_bucket(s, &v->bucket[b], &s->part[parts]);
        parts += s->part[parts].last > s->part[parts].first;
    }
    for (int b = 0; b < v->n_buckets; b++) {
        s->first[b] = n;
        cut_bucket(s, &v->bucket[b], &n);
    }
    s->first[v->n_buckets] = n;
    *n_parts = s->owner ? parts : -1;
    *part = s->part;
    return LMB_OK;
}

static lmb_status prepare(lmb_device_sum *s, float *sum, float *state, lmb_error *err)
{
    (void)err;
    of(s)->v.sum = sum;
    of(s)->v.state = state;
    return LMB_OK;
}

/* ---- a step ---- */

static lmb_status begin(lmb_device_sum *s, int64_t step, lmb_error *err)
{
    (void)err;
    of(s)->step = step;
    return LMB_OK;
}

/* Gradients travel narrow; sums over samples, minima and maxima do not. */
static bool narrow(const nccl_sum *s, const range *r)
{
    return s->half && r->op == LMB_NCCL_ADD && r->lo >= LMB_STEP_HEAD;
}

static lmb_status ready(lmb_device_sum *base, int bucket, lmb_error *err)
{
    nccl_sum *s = of(base);
    const lmb_device_bucket *b = &s->v.bucket[bucket];
    int from = s->first[bucket], n = s->first[bucket + 1] - from, me = s->c->rank;
    size_t at = head_end(b);

    if (s->half && b->lo + b->n > at)
        LMB_TRY(lmb_nccl_narrow(s->nccl, s->v.sum + at, s->half + at, b->lo + b->n - at, s->v.stream, err));
    for (int i = 0; i < n; i++) {
        const range *r = &s->range[from + i];
        bool small = narrow(s, r);
        s->piece[i] = (lmb_nccl_piece){ small ? (void *)(s->half + r->lo) : (void *)(s->v.sum + r->lo), r->n,
                                        small ? LMB_NCCL_BF16 : LMB_NCCL_F32, r->op, r->owner };
    }
    LMB_TRY(lmb_nccl_reduce(s->nccl, label(s, bucket), s->piece, n, s->v.stream, err));
    for (int i = 0; i < n; i++) {
        const range *r = &s->range[from + i];
        if (narrow(s, r) && (r->owner < 0 || r->owner == me))
            LMB_TRY(lmb_nccl_widen(s->nccl, s->half + r->lo, s->v.sum + r->lo, r->n, err));
    }
    return LMB_OK;
}

static lmb_status join(lmb_device_sum *s, lmb_error *err)
{
    return lmb_nccl_release(of(s)->nccl, of(s)->v.stream, err);
}

static lmb_status share(lmb_device_sum *base, double *v, size_t n, lmb_error *err)
{
    nccl_sum *s = of(base);
    const lmb_nccl_piece p = { v, n, LMB_NCCL_F64, LMB_NCCL_ADD, -1 };

    LMB_TRY(lmb_nccl_reduce(s->nccl, label(s, -1), &p, 1, s->v.stream, err));
    return join(base, err);
}

/* Where the numbers are made and wanted, so that no other stream is waited for; behind buckets that are under way all
 * the same, as a communicator does one thing at a time. */
static lmb_status statistics(lmb_device_sum *base, double *v, size_t n, lmb_error *err)
{
    nccl_sum *s = of(base);

    return lmb_nccl_sum_on(s->nccl, label(s, -1), "statistics of all ranks", v, n, LMB_NCCL_F64, s->o.stream, err);
}

/* A vector of the state's layout, without a head: each owner's ranges to everybody. */
static lmb_status gather(lmb_device_sum *base, float *vector, lmb_error *err)
{
    nccl_sum *s = of(base);
    int n = 0;

    for (int i = 0; i < s->first[s->v.n_buckets]; i++) {
        const range *r = &s->range[i];
        if (r->owner >= 0)
            s->piece[n++] =
                (lmb_nccl_piece){ vector + (r->lo - LMB_STEP_HEAD), r->n, LMB_NCCL_F32, LMB_NCCL_ADD, r->owner };
    }
    if (n == 0)
        return LMB_OK;
    LMB_TRY(lmb_nccl_spread(s->nccl, label(s, -1), s->piece, n, s->v.stream, err));
    return join(base, err);
}

static lmb_status weights(lmb_device_sum *s, lmb_error *err) { return gather(s, of(s)->v.state, err); }

/* Between ranks of MPI: nothing is under way on the GPUs that could wait for it. */
static lmb_status agree(lmb_device_sum *base, bool *yes, lmb_error *err)
{
    lmb_comm *c = of(base)->c;
    char mine = *yes, *all = malloc((size_t)c->size);

    if (!all)
        return NOMEM(err);
    lmb_status st = c->gather_all(c, &mine, all, 1, err);
    for (int r = 0; r < c->size && st == LMB_OK; r++)
        *yes = *yes && all[r];
    free(all);
    return st;
}

static void record(lmb_device_sum *s, bool on) { lmb_nccl_record(of(s)->nccl, on); }
static void replayed(lmb_device_sum *s, int64_t step) { lmb_nccl_replayed(of(s)->nccl, step); }

static lmb_status wait(lmb_device_sum *s, int64_t step, lmb_error *err)
{
    return lmb_nccl_wait_for(of(s)->nccl, of(s)->v.stream, step, err);
}

static lmb_status reach(lmb_device_sum *s, lmb_device_mark *m, int64_t step, lmb_error *err)
{
    return lmb_nccl_wait_event(of(s)->nccl, m, step, err);
}

static void close_sum(lmb_device_sum *base)
{
    nccl_sum *s = of(base);

    lmb_nccl_close(s->nccl);
    drop_room(s);
    free(s);
}

lmb_status lmbi_device_nccl_open(lmb_comm *c, const lmb_nccl_api *api, const lmbi_device_nccl_options *o,
                                 lmb_device_sum **out, lmb_error *err)
{
    nccl_sum *s = calloc(1, sizeof *s);

    if (!s)
        return NOMEM(err);
    *s = (nccl_sum){ .base = { .name = s->name, .divide = divide, .prepare = prepare, .begin = begin, .ready = ready,
                               .join = join, .share = share, .statistics = statistics, .weights = weights,
                               .gather = gather, .agree = agree, .record = record, .replayed = replayed, .wait = wait,
                               .reach = reach, .close = close_sum },
                     .c = c,
                     .api = api,
                     .o = *o };
    snprintf(s->name, sizeof s->name, "NCCL over %d GPUs", c->size);
    lmb_status st = lmb_nccl_open(c, api, &o->nccl, &s->nccl, err);
    if (st != LMB_OK) {
        free(s);
        return st;
    }
    s->base.captures = lmb_nccl_records(s->nccl);
    s->base.same_bits = o->nccl.fixed_order || c->size == 2; /* of two summands the order does not matter */
    *out = &s->base;
    return LMB_OK;
}

void lmbi_device_nccl_watch(lmb_device_sum *s, lmb_watch *w) { lmb_nccl_watch(of(s)->nccl, w); }
void lmbi_device_nccl_abort(lmb_device_sum *s) { lmb_nccl_abort(of(s)->nccl); }
