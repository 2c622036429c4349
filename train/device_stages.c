/* train/device_stages.c - see device_stages.h. */
#include "train/device_stages.h"

#include <stdio.h>
#include <stdlib.h>

#include "comm/group.h"

/* Chunks [first, first + n) of the whole state: a rank's, which has them from chunk `local` on. */
typedef struct run {
    int first, n, owner, local;
} run;

typedef struct stages_sum {
    lmb_device_sum base;
    lmb_comm *c, *alike; /* all; those with the same stages */
    int of_one;
    lmb_nccl *nccl;
    lmb_device_sum *replicas; /* NULL: one pipeline */
    lmb_device_vector v;
    const lmb_state_layout *layout;
    const int *owner;
    int n_runs, n_chunks;
    run *run;
    lmb_nccl_piece *piece; /* [n_runs + 1] */
    double *part;          /* device [n_chunks] */
    int64_t step;
    char name[64];
} stages_sum;

static stages_sum *of(lmb_device_sum *s) { return (stages_sum *)s; }

static void drop_room(stages_sum *s)
{
    if (s->part)
        s->v.device->free(s->v.device, s->part);
    free(s->run);
    free(s->piece);
    s->part = NULL;
    s->run = NULL;
    s->piece = NULL;
    s->n_runs = s->n_chunks = 0;
}

static lmb_status find_runs(stages_sum *s, lmb_error *err)
{
    const lmb_state_layout *l = s->layout;
    int *local = calloc((size_t)s->of_one, sizeof *local);

    s->run = calloc((size_t)l->n + 1, sizeof *s->run);
    s->piece = calloc((size_t)l->n + 2, sizeof *s->piece);
    if (!local || !s->run || !s->piece) {
        free(local);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the chunks of %d segments", l->n);
    }
    for (int i = 0; i < l->n; i++) {
        int n = (int)((l->segment[i].count + LMB_STEP_CHUNK - 1) / LMB_STEP_CHUNK), owner = s->owner[i];
        run *last = s->n_runs ? &s->run[s->n_runs - 1] : NULL;
        if (last && last->owner == owner)
            last->n += n;
        else
            s->run[s->n_runs++] = (run){ s->n_chunks, n, owner, local[owner] };
        s->n_chunks += n;
        local[owner] += n;
    }
    free(local);
    return LMB_OK;
}

static lmb_status divide(lmb_device_sum *base, const lmb_device_vector *v, int *n_parts, const lmb_device_part **part,
                         lmb_error *err)
{
    stages_sum *s = of(base);

    drop_room(s); /* of a resident step before this one */
    s->v = *v;
    *n_parts = -1; /* a rank steps all that it has */
    *part = NULL;
    LMB_TRY(find_runs(s, err));
    return s->replicas ? s->replicas->divide(s->replicas, v, n_parts, part, err) : LMB_OK;
}

static lmb_status prepare(lmb_device_sum *base, float *sum, float *state, lmb_error *err)
{
    stages_sum *s = of(base);
    lmb_device *d = s->v.device;
    void *memory = NULL;

    s->v.sum = sum;
    s->v.state = state;
    LMB_TRY(d->alloc(d, sizeof(double) * ((size_t)s->n_chunks + 1), &memory, err));
    s->part = memory;
    return s->replicas ? s->replicas->prepare(s->replicas, sum, state, err) : LMB_OK;
}

/* Where one communicator has failed nothing comes of the other, either, and what waits for both must end. */
static lmb_status end_both(stages_sum *s, lmb_status st)
{
    if (st == LMB_OK || !s->replicas)
        return st;
    lmb_nccl_abort(s->nccl);
    lmbi_device_nccl_abort(s->replicas);
    return st;
}

static lmb_status begin(lmb_device_sum *base, int64_t step, lmb_error *err)
{
    stages_sum *s = of(base);
    s->step = step;
    return s->replicas ? s->replicas->begin(s->replicas, step, err) : LMB_OK;
}

static lmb_status ready(lmb_device_sum *base, int bucket, lmb_error *err)
{
    stages_sum *s = of(base);
    return s->replicas ? end_both(s, s->replicas->ready(s->replicas, bucket, err)) : LMB_OK;
}

static lmb_status join(lmb_device_sum *base, lmb_error *err)
{
    stages_sum *s = of(base);
    return s->replicas ? end_both(s, s->replicas->join(s->replicas, err)) : LMB_OK;
}

/* From the first pipeline to all ranks: after the sums over pipelines all have the same. */
static lmb_status whole(lmb_device_sum *base, const double *mine, double **part, int *n, lmb_error *err)
{
    stages_sum *s = of(base);
    lmb_device *d = s->v.device;
    int pieces = 0;

    for (int i = 0; i < s->n_runs; i++) {
        const run *r = &s->run[i];
        if (r->owner == s->c->rank % s->of_one)
            LMB_TRY(d->copy(d, s->part + r->first, mine + r->local, sizeof *mine * (size_t)r->n, err));
        s->piece[pieces++] = (lmb_nccl_piece){ s->part + r->first, (size_t)r->n, LMB_NCCL_F64, LMB_NCCL_ADD, r->owner };
    }
    s->piece[pieces++] = (lmb_nccl_piece){ s->v.sum, LMB_STEP_HEAD, LMB_NCCL_F32, LMB_NCCL_ADD, s->of_one - 1 };
    *part = s->part;
    *n = s->n_chunks;
    lmb_status st = lmb_nccl_spread(s->nccl, (lmb_nccl_label){ s->step, -1 }, s->piece, pieces, s->v.stream, err);
    return end_both(s, st == LMB_OK ? lmb_nccl_release(s->nccl, s->v.stream, err) : st);
}

/* Between ranks of MPI: nothing is under way on the GPUs that could wait for it. */
static lmb_status agree(lmb_device_sum *base, bool *yes, lmb_error *err)
{
    lmb_comm *c = of(base)->c;
    char mine = *yes, *all = malloc((size_t)c->size);
    lmb_status st = all ? c->gather_all(c, &mine, all, 1, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for ranks");

    for (int r = 0; r < c->size && st == LMB_OK; r++)
        *yes = *yes && all[r];
    free(all);
    return st;
}

static lmb_status wait(lmb_device_sum *base, int64_t step, lmb_error *err)
{
    stages_sum *s = of(base);
    return end_both(s, lmb_nccl_wait_for(s->nccl, s->v.stream, step, err));
}

static lmb_status reach(lmb_device_sum *base, lmb_device_mark *m, int64_t step, lmb_error *err)
{
    stages_sum *s = of(base);
    return end_both(s, lmb_nccl_wait_event(s->nccl, m, step, err));
}

static void close_sum(lmb_device_sum *base)
{
    stages_sum *s = of(base);

    if (s->replicas)
        s->replicas->close(s->replicas);
    lmb_nccl_close(s->nccl);
    lmb_comm_close(s->alike);
    drop_room(s);
    free(s);
}

lmb_status lmbi_device_stages_open(lmb_comm *c, const lmb_nccl_api *api, const lmbi_device_nccl_options *o, int of_one,
                                   lmb_device_sum **out, lmb_error *err)
{
    stages_sum *s = calloc(1, sizeof *s);

    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what is between GPUs");
    s->base = (lmb_device_sum){ .name = s->name, .divide = divide, .prepare = prepare, .begin = begin, .ready = ready,
                                .join = join, .agree = agree, .wait = wait, .reach = reach, .whole = whole,
                                .close = close_sum };
    s->c = c;
    s->of_one = of_one;
    snprintf(s->name, sizeof s->name, "stages on %d GPUs", c->size);
    lmb_status st = lmb_nccl_open(c, api, &o->nccl, &s->nccl, err);
    if (st == LMB_OK && c->size > of_one) {
        st = lmb_comm_group(c, of_one, &s->alike, err);
        if (st == LMB_OK)
            st = lmbi_device_nccl_open(s->alike, api, o, &s->replicas, err);
    }
    if (st != LMB_OK) {
        close_sum(&s->base);
        return st;
    }
    *out = &s->base;
    return LMB_OK;
}

lmb_nccl *lmbi_device_stages_nccl(const lmb_device_sum *s) { return ((const stages_sum *)s)->nccl; }

void lmbi_device_stages_owners(lmb_device_sum *s, const lmb_state_layout *l, const int *owner)
{
    of(s)->layout = l;
    of(s)->owner = owner;
}

void lmbi_device_stages_watch(lmb_device_sum *s, lmb_watch *w)
{
    lmb_nccl_watch(of(s)->nccl, w);
    if (of(s)->replicas)
        lmbi_device_nccl_watch(of(s)->replicas, w);
}
