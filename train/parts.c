/* train/parts.c - see parts.h. */
#include "train/parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/threads.h"

#define NOMEM(err) LMB_FAIL((err), LMB_E_NOMEM, "no memory to divide the state among ranks")

/* ---- dividing ---- */

static size_t pieces_of(const lmb_segment *s) { return (s->count + LMBI_PIECE - 1) / LMBI_PIECE; }

static lmbi_parts *cut_pieces(const lmb_state_layout *l, lmb_comm *c, int groups)
{
    lmbi_parts *p = calloc(1, sizeof *p);
    size_t n = 0;

    for (int i = 0; i < l->n; i++)
        n += pieces_of(&l->segment[i]);
    if (p && !(p->piece = calloc(n + 1, sizeof *p->piece))) {
        free(p);
        return NULL;
    }
    if (!p)
        return NULL;
    p->layout = l;
    p->comm = c;
    p->groups = groups;
    p->me = c->rank % groups;
    for (int i = 0; i < l->n; i++)
        for (size_t at = 0; at < l->segment[i].count; at += LMBI_PIECE) {
            size_t left = l->segment[i].count - at;
            p->piece[p->n_pieces++] =
                (lmbi_piece){ i, 0, l->segment[i].offset + at, left < LMBI_PIECE ? left : LMBI_PIECE };
        }
    return p;
}

/* Runs of all owners, and the own ranges, from who owns which piece. from: see lmbi_parts_stages; NULL: as in the
 * state. */
static lmb_status join(lmbi_parts *p, const size_t *from, lmb_error *err)
{
    size_t *count = calloc((size_t)p->groups, sizeof *count);
    int *pieces = calloc((size_t)p->groups, sizeof *pieces);

    p->run = calloc((size_t)p->n_pieces + 1, sizeof *p->run);
    p->own = calloc((size_t)p->n_pieces + 1, sizeof *p->own);
    for (int i = 0; i < p->n_pieces && count && pieces && p->run && p->own; i++) {
        const lmbi_piece *x = &p->piece[i];
        lmbi_run *r = p->n_runs ? &p->run[p->n_runs - 1] : NULL;
        lmbi_range *o = p->n_own ? &p->own[p->n_own - 1] : NULL;
        if (r && r->owner == x->owner)
            r->n += x->n;
        else
            p->run[p->n_runs++] = (lmbi_run){ x->owner, x->offset, x->n, count[x->owner] };
        size_t base = p->layout->segment[x->segment].offset;
        if (x->owner == p->me && o && o->segment == x->segment && o->offset + o->n == x->offset)
            o->n += x->n;
        else if (x->owner == p->me)
            p->own[p->n_own++] = (lmbi_range){ x->segment, x->offset, x->n, count[x->owner],
                                               (from ? from[x->segment] : base) + x->offset - base };
        count[x->owner] += x->n;
        pieces[x->owner]++;
        p->most = pieces[x->owner] > p->most ? pieces[x->owner] : p->most;
    }
    size_t told = (size_t)p->most + LMBI_SUMS;
    p->mine = calloc(told, sizeof *p->mine);
    p->all = calloc(told * (size_t)p->comm->size, sizeof *p->all);
    bool ok = count && pieces && p->run && p->own && p->mine && p->all;
    p->own_count = ok ? count[p->me] : 0;
    free(count);
    free(pieces);
    return ok ? LMB_OK : NOMEM(err);
}

static lmb_status finish(lmb_status st, lmbi_parts *p, lmbi_parts **out)
{
    if (st == LMB_OK)
        *out = p;
    else
        lmbi_parts_destroy(p);
    return st;
}

lmb_status lmbi_parts_whole(const lmb_state_layout *l, lmb_comm *c, lmbi_parts **out, lmb_error *err)
{
    lmbi_parts *p = cut_pieces(l, c, 1);
    return p ? finish(join(p, NULL, err), p, out) : NOMEM(err);
}

/* Whole pieces, as equal as they can be; positions count from the bucket's front. Sums over samples in front are of the
 * first part. */
static lmb_status cut_bucket(lmbi_parts *p, const lmbi_bucket *b, int parts, size_t **out, lmb_error *err)
{
    size_t *cut = *out = calloc((size_t)parts + 1, sizeof *cut);
    int k = 1;

    if (!cut)
        return NOMEM(err);
    for (int i = 0; i < p->n_pieces; i++) {
        size_t begin = LMBI_SUMS + p->piece[i].offset;
        if (begin < b->lo || begin >= b->lo + b->n)
            continue;
        size_t middle = begin - b->lo + p->piece[i].n / 2;
        while (k < parts && middle >= b->n * (size_t)k / (size_t)parts)
            cut[k++] = begin - b->lo;
        p->piece[i].owner = lmb_comm_keeper(p->comm, k - 1);
    }
    while (k <= parts)
        cut[k++] = b->n;
    return LMB_OK;
}

lmb_status lmbi_parts_sharded(const lmb_state_layout *l, lmb_comm *c, lmbi_reducer *r, lmbi_parts **out, lmb_error *err)
{
    lmbi_parts *p = cut_pieces(l, c, c->size);
    int parts = lmb_comm_parts(c);
    lmb_status st = LMB_OK;

    if (!p)
        return NOMEM(err);
    p->n_buckets = lmbi_reducer_buckets(r);
    p->cut = calloc((size_t)p->n_buckets, sizeof *p->cut);
    p->weights_cut = calloc((size_t)parts + 1, sizeof *p->weights_cut);
    if (!p->cut || !p->weights_cut)
        return finish(NOMEM(err), p, out);
    for (int b = 0; b < p->n_buckets && st == LMB_OK; b++)
        st = cut_bucket(p, lmbi_reducer_bucket(r, b), parts, &p->cut[b], err);
    if (st == LMB_OK)
        st = join(p, NULL, err);
    if (st == LMB_OK)
        lmbi_reducer_scatter(r, (const size_t *const *)p->cut);
    return finish(st, p, out);
}

lmb_status lmbi_parts_stages(const lmb_state_layout *l, lmb_comm *c, int groups, const int *owner, const size_t *from,
                             int sums, lmbi_parts **out, lmb_error *err)
{
    lmbi_parts *p = cut_pieces(l, c, groups);

    if (!p)
        return NOMEM(err);
    p->sums = sums;
    p->lazy = true;
    for (int i = 0; i < p->n_pieces; i++)
        p->piece[i].owner = owner[p->piece[i].segment];
    return finish(join(p, from, err), p, out);
}

void lmbi_parts_destroy(lmbi_parts *p)
{
    if (!p)
        return;
    for (int b = 0; p->cut && b < p->n_buckets; b++)
        free(p->cut[b]);
    free(p->cut);
    free(p->weights_cut);
    free(p->piece);
    free(p->run);
    free(p->own);
    free(p->mine);
    free(p->all);
    free(p);
}

/* ---- a step ---- */

/* Eight sums side by side: a single one would wait for each addition. */
LMB_HOT static double sum_of_squares(const float *g, size_t n)
{
    double sum[8] = { 0 };
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += (double)g[i + (size_t)k] * g[i + (size_t)k];
    for (; i < n; i++)
        sum[0] += (double)g[i] * g[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

lmb_status lmbi_parts_norm(lmbi_parts *p, const float *v, float *sums, double *norm, lmb_error *err)
{
    size_t told = (size_t)p->most + LMBI_SUMS;
    int *next = calloc((size_t)p->groups, sizeof *next), k = LMBI_SUMS;
    lmb_status st = next ? LMB_OK : NOMEM(err);
    double sum = 0;

    for (int i = 0; i < LMBI_SUMS; i++)
        p->mine[i] = (double)sums[i];
    for (int i = 0; i < p->n_own; i++) {
        const lmbi_range *o = &p->own[i];
        bool counts = p->layout->segment[o->segment].role == LMB_ROLE_PARAMETER;
        for (size_t at = 0; at < o->n; at += LMBI_PIECE) /* as many as it has pieces */
            p->mine[k++] =
                counts ? sum_of_squares(v + o->from + at, o->n - at < LMBI_PIECE ? o->n - at : LMBI_PIECE) : 0;
    }
    const double *all = p->mine;
    if (st == LMB_OK && p->groups > 1) {
        st = p->comm->gather_all(p->comm, p->mine, p->all, told * sizeof *p->mine, err);
        all = p->all;
        for (int i = 0; i < LMBI_SUMS; i++)
            sums[i] = (float)all[(size_t)p->sums * told + (size_t)i];
    }
    for (int i = 0; i < p->n_pieces && st == LMB_OK; i++) {
        int owner = p->piece[i].owner;
        sum += all[(size_t)owner * told + LMBI_SUMS + (size_t)next[owner]++];
    }
    *norm = sqrt(sum);
    free(next);
    return st;
}

lmb_status lmbi_parts_weights(const lmbi_parts *p, const lmbi_reducer *r, float *state, float *scratch, lmb_error *err)
{
    int parts = lmb_comm_parts(p->comm);

    for (int b = 0; b < p->n_buckets; b++) {
        size_t front = lmbi_reducer_bucket(r, b)->lo, sums = front ? 0 : LMBI_SUMS;
        for (int k = 0; k <= parts; k++)
            p->weights_cut[k] = p->cut[b][k] < sums ? 0 : p->cut[b][k] - sums;
        LMB_TRY(lmb_comm_gather_parts(p->comm, state + (front + sums - LMBI_SUMS), scratch, p->weights_cut, err));
    }
    return LMB_OK;
}

/* ---- whole vectors ---- */

lmb_status lmbi_parts_share(const lmbi_parts *p, float *vector, lmb_error *err)
{
    for (int i = 0; i < p->n_runs && p->groups > 1; i++)
        LMB_TRY(
            p->comm->broadcast(p->comm, vector + p->run[i].offset, p->run[i].n * sizeof *vector, p->run[i].owner, err));
    return LMB_OK;
}

/* Where a run lies with its owner: among what it owns, or, in a vector of which it has its pages alone, where it lies
 * in the whole. */
static size_t place(const lmbi_run *r, bool sparse) { return sparse ? r->offset : r->at; }

static lmb_status to_first(const lmbi_parts *p, const float *part, bool sparse, float *whole, lmb_error *err)
{
    lmb_comm *c = p->comm;

    for (int i = 0; i < p->n_runs; i++) {
        const lmbi_run *r = &p->run[i];
        if (c->rank == 0 && r->owner == 0)
            memmove(whole + r->offset, part + place(r, sparse), r->n * sizeof *whole);
        else if (c->rank == 0)
            LMB_TRY(c->exchange(c, NULL, -1, whole + r->offset, r->owner, r->n * sizeof *whole, err));
        else if (c->rank == r->owner)
            LMB_TRY(c->exchange(c, part + place(r, sparse), 0, NULL, -1, r->n * sizeof *whole, err));
    }
    return LMB_OK;
}

static lmb_status from_first(const lmbi_parts *p, const float *whole, float *part, bool sparse, lmb_error *err)
{
    lmb_comm *c = p->comm;

    for (int i = 0; i < p->n_runs; i++) {
        const lmbi_run *r = &p->run[i];
        if (c->rank == 0 && p->me == r->owner)
            memmove(part + place(r, sparse), whole + r->offset, r->n * sizeof *whole);
        for (int to = r->owner; to < c->size && c->rank == 0; to += p->groups)
            if (to)
                LMB_TRY(c->exchange(c, whole + r->offset, to, NULL, -1, r->n * sizeof *whole, err));
        if (c->rank && p->me == r->owner)
            LMB_TRY(c->exchange(c, NULL, -1, part + place(r, sparse), 0, r->n * sizeof *whole, err));
    }
    return LMB_OK;
}

lmb_status lmbi_parts_gather(const lmbi_parts *p, const float *part, float *whole, lmb_error *err)
{
    return to_first(p, part, false, whole, err);
}

lmb_status lmbi_parts_scatter(const lmbi_parts *p, const float *whole, float *part, lmb_error *err)
{
    return from_first(p, whole, part, false, err);
}

/* ---- vectors of which each has its own pages ---- */

lmb_status lmbi_parts_collect(const lmbi_parts *p, float *vector, lmb_error *err)
{
    return to_first(p, vector, true, vector, err);
}
lmb_status lmbi_parts_spread(const lmbi_parts *p, float *vector, lmb_error *err)
{
    return from_first(p, vector, vector, true, err);
}

void lmbi_parts_forget(const lmbi_parts *p, float *vector)
{
    for (int i = 0; i < p->n_runs; i++)
        if (p->run[i].owner != p->me)
            lmb_memory_forget(vector + p->run[i].offset, p->run[i].n * sizeof *vector);
}

void lmbi_parts_copy(const lmbi_parts *p, float *to, const float *from)
{
    for (int i = 0; i < p->n_own; i++)
        memcpy(to + p->own[i].offset, from + p->own[i].offset, p->own[i].n * sizeof *to);
}
