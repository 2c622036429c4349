/* train/pipeline_device.c - stages of a pipeline on GPUs: microbatches flow, and nobody waits on the host. See
 * pipeline.h.
 *
 * Idea: a rank's messages are groups of letters (lmb_nccl_swap) on NCCL's stream, in an order that is the same for all:
 * in turns, one for what goes forwards and one for what comes back,
 *
 *     compute stream   F(k)         B(j)          F(k + 1)      B(j + 1)
 *     NCCL's stream          A(k)         G(j)           A(k + 1)
 *
 * A(k)  what k has become goes to the rank behind, and what k + 1 is made of comes from the one in front
 * G(j)  the gradient of j goes to the one in front, and that of j + 1 comes from the one behind
 *
 * so each group has the time of one piece of work to travel, and what it brings is needed after that. A group begins
 * when all work before it is done, and ends when its letters have arrived; the work after it waits for the groups
 * before it. What comes from in front lands in memory of its own, as the copy that it is for may still be at work;
 * gradients come where they are read.
 *
 * Nobody waits for ever: with j = k - 2 (ranks behind), a group waits, at the neighbours, for groups with a smaller
 * k + 2 (rank) only, or for gradients that are further on their way back.
 *
 * All copies are made before the first letter: making one waits for the device, which would wait for the neighbours;
 * for their letters of the step before, the host waits as it does everywhere, with a limit.
 */
#include <stdio.h>

#include "train/pipeline_internal.h"

/* A batch under way on this rank. Groups of letters have numbers, from 1. */
typedef struct flow {
    lmbi_pipeline *p;
    const lmbi_flow_there *f;
    int posted, seen;         /* groups on NCCL's stream; those that the queue has waited for */
    int activation, gradient; /* the groups that bring the next ones */
    lmb_error *err;
} flow;

static lmb_status copy_of(const flow *w, int i, int k, lmbi_copy **out)
{
    return lmbi_pipeline_copy(w->p, w->f->first[i + 1] - w->f->first[i], i, k, out, w->err);
}

static bool made(const flow *w, int i)
{
    const lmbi_pipeline *p = w->p;

    for (int f = 0; f < LMBI_FORMS; f++) {
        if (!p->form[f].copy || p->form[f].rows != w->f->first[i + 1] - w->f->first[i])
            continue;
        for (int k = 0; k < p->n; k++)
            if (!p->form[f].copy[i % p->in_flight * p->n + k])
                return false;
        return true;
    }
    return false;
}

static bool all_made(const flow *w)
{
    bool all = w->p->me == 0 || w->p->landing;

    for (int i = 0; i < w->f->n; i++)
        all = all && made(w, i);
    return all;
}

static lmb_status make_copies(const flow *w)
{
    lmbi_pipeline *p = w->p;
    lmbi_copy *c;

    if (all_made(w))
        return LMB_OK;
    LMB_TRY(w->f->settle(w->f->ctx, w->err));
    for (int i = 0; i < w->f->n; i++)
        for (int k = 0; k < p->n; k++)
            LMB_TRY(copy_of(w, i, k, &c));
    return p->me == 0 || p->landing ? LMB_OK
                                    : p->device->alloc(p->device, p->form[0].in_bytes + 64, &p->landing, w->err);
}

/* ---- letters ---- */

/* What the queue gets from now on finds what group `number` has brought. */
static lmb_status see(flow *w, int number)
{
    if (number <= w->seen)
        return LMB_OK;
    LMB_TRY(lmb_nccl_release(w->p->o.nccl, w->p->device->stream, w->err));
    w->seen = w->posted;
    return LMB_OK;
}

static lmb_status post(flow *w, const char *what, const lmb_nccl_letter *l, int n)
{
    if (n == 0)
        return LMB_OK;
    LMB_TRY(lmb_nccl_swap(w->p->o.nccl, (lmb_nccl_label){ w->f->step, -1 }, what, l, n, w->p->device->stream, w->err));
    w->seen = w->posted++;
    return LMB_OK;
}

/* A(k): activations. */
static lmb_status post_forwards(flow *w, int k)
{
    lmbi_pipeline *p = w->p;
    int me = p->o.comm->rank, n = 0;
    bool give = k >= 0 && p->me < p->o.ranks - 1, get = k + 1 < w->f->n && p->me > 0;
    lmb_nccl_letter l[2];
    lmbi_copy *c;
    char what[64];

    if (give) {
        LMB_TRY(copy_of(w, k, p->n - 1, &c));
        l[n++] = (lmb_nccl_letter){ me + 1, lmbi_copy_out(c), NULL, lmbi_copy_out_bytes(c) / sizeof(float) };
    }
    if (get) {
        LMB_TRY(copy_of(w, k + 1, 0, &c));
        l[n++] = (lmb_nccl_letter){ me - 1, NULL, p->landing, lmbi_copy_in_bytes(c) / sizeof(float) };
    }
    if (give && get)
        snprintf(what, sizeof what, "activations %d to rank %d, %d from rank %d", k, me + 1, k + 1, me - 1);
    else
        snprintf(what, sizeof what, "activations %d %s rank %d", give ? k : k + 1, give ? "to" : "from",
                 give ? me + 1 : me - 1);
    LMB_TRY(post(w, what, l, n));
    w->activation = get ? w->posted : w->activation;
    return LMB_OK;
}

/* G(j): gradients. */
static lmb_status post_backwards(flow *w, int j)
{
    lmbi_pipeline *p = w->p;
    int me = p->o.comm->rank, n = 0;
    bool give = j >= 0 && p->me > 0, get = j + 1 < w->f->n && p->me < p->o.ranks - 1;
    lmb_nccl_letter l[2];
    lmbi_copy *c;
    char what[64];

    if (give) {
        LMB_TRY(copy_of(w, j, 0, &c));
        l[n++] = (lmb_nccl_letter){ me - 1, lmbi_copy_in_gradient(c), NULL, lmbi_copy_in_bytes(c) / sizeof(float) };
    }
    if (get) {
        LMB_TRY(copy_of(w, j + 1, p->n - 1, &c));
        l[n++] = (lmb_nccl_letter){ me + 1, NULL, lmbi_copy_out_gradient(c), lmbi_copy_out_bytes(c) / sizeof(float) };
    }
    if (give && get)
        snprintf(what, sizeof what, "gradients %d to rank %d, %d from rank %d", j, me - 1, j + 1, me + 1);
    else
        snprintf(what, sizeof what, "gradients %d %s rank %d", give ? j : j + 1, give ? "to" : "from",
                 give ? me - 1 : me + 1);
    LMB_TRY(post(w, what, l, n));
    w->gradient = get ? w->posted : w->gradient;
    return LMB_OK;
}

/* ---- work ---- */

static lmb_status forwards(flow *w, int i)
{
    lmbi_pipeline *p = w->p;
    lmb_device *d = p->device;
    lmbi_copy *c, *before = NULL;
    lmbi_stage_there there;

    LMB_TRY(w->f->place(w->f->ctx, i, &there, w->err));
    if (p->me > 0)
        LMB_TRY(see(w, w->activation));
    for (int k = 0; k < p->n; k++) {
        LMB_TRY(copy_of(w, i, k, &c));
        const void *from = before ? lmbi_copy_out(before) : p->landing;
        if (lmbi_copy_in(c) && from)
            LMB_TRY(d->copy(d, lmbi_copy_in(c), from, lmbi_copy_in_bytes(c), w->err));
        LMB_TRY(lmbi_copy_forward_there(c, &there, w->err));
        before = c;
    }
    return LMB_OK;
}

static lmb_status backwards(flow *w, int i)
{
    lmbi_pipeline *p = w->p;
    lmb_device *d = p->device;
    lmbi_copy *c, *behind = NULL;
    lmbi_stage_there there;

    LMB_TRY(w->f->place(w->f->ctx, i, &there, w->err));
    if (p->me < p->o.ranks - 1)
        LMB_TRY(see(w, w->gradient));
    for (int k = p->n - 1; k >= 0; k--) {
        LMB_TRY(copy_of(w, i, k, &c));
        if (behind)
            LMB_TRY(d->copy(d, lmbi_copy_out_gradient(c), lmbi_copy_in_gradient(behind), lmbi_copy_out_bytes(c),
                            w->err));
        LMB_TRY(lmbi_copy_backward_there(c, &there, w->err));
        behind = c;
    }
    return w->f->back(w->f->ctx, i, w->err);
}

static lmb_status schedule(flow *w)
{
    int n = w->f->n, ahead = w->p->in_flight - 1 < n ? w->p->in_flight - 1 : n;

    LMB_TRY(make_copies(w));
    LMB_TRY(post_forwards(w, -1));
    for (int k = 0; k < ahead; k++) {
        LMB_TRY(forwards(w, k));
        LMB_TRY(post_forwards(w, k));
    }
    LMB_TRY(post_backwards(w, -1));
    for (int j = 0; j < n; j++) {
        if (ahead + j < n) {
            LMB_TRY(forwards(w, ahead + j));
            LMB_TRY(post_forwards(w, ahead + j));
        }
        LMB_TRY(backwards(w, j));
        LMB_TRY(post_backwards(w, j));
    }
    return see(w, w->posted);
}

lmb_status lmbi_pipeline_enqueue(lmbi_pipeline *p, const lmbi_flow_there *f, lmb_error *err)
{
    flow w = { p, f, 0, 0, 0, 0, err };

    return f->n > 0 ? schedule(&w) : LMB_OK;
}

/* ---- what this rank reads ---- */

static bool reads(const lmbi_pipeline *p, lmb_vid v)
{
    const lmbi_cuts *c = p->form[0].cuts;

    for (int node = c->stage[p->first].begin; node < c->stage[p->first + p->n - 1].end; node++)
        for (int in = 0; in < c->g->node[node].n_in; in++)
            if (c->g->node[node].in[in] == v)
                return true;
    return false;
}

bool lmbi_pipeline_reads_x(const lmbi_pipeline *p) { return reads(p, p->form[0].cuts->x); }
bool lmbi_pipeline_ends_here(const lmbi_pipeline *p) { return p->me == p->o.ranks - 1; }
int lmbi_pipeline_ahead(const lmbi_pipeline *p) { return p->in_flight; }

lmb_status lmbi_pipeline_feed(lmbi_pipeline *p, int64_t rows, size_t *bytes, lmb_error *err)
{
    lmbi_form *f;

    *bytes = 0;
    if (p->form[0].cuts->feed == LMB_NONE || !lmbi_pipeline_ends_here(p))
        return LMB_OK;
    LMB_TRY(lmbi_pipeline_form(p, rows, &f, err));
    *bytes = lmb_shape_bytes(&f->cuts->g->value[f->cuts->feed].shape, f->cuts->g->value[f->cuts->feed].dtype);
    return LMB_OK;
}
