/* train/pipeline.c - see pipeline.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/plan/device_step.h"
#include "train/pipeline_internal.h"

#define NOMEM(err) LMB_FAIL((err), LMB_E_NOMEM, "no memory for a pipeline")

lmb_status lmbi_pipeline_ranks(const lmb_pipeline_config *c, int ranks, int *of_one, lmb_error *err)
{
    int stages = (int)c->stages, one = ranks < stages ? ranks : stages;

    if (stages % one || ranks % one)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "train.pipeline.stages is %d, which %d ranks can not share out evenly; use a number of stages that is "
            "a multiple of the ranks, or of which the ranks are a multiple",
            stages, ranks);
    *of_one = one;
    return LMB_OK;
}

/* Between devices a microbatch travels while two others are worked on, so that one more is under way for each rank. */
int lmbi_pipeline_in_flight(int ranks, int rank, bool devices)
{
    int behind = ranks - 1 - rank;
    return devices ? 2 * behind + 1 : behind + 1;
}

/* ---- setting up ---- */

static void drop(lmbi_form *f, int copies)
{
    for (int i = 0; f->copy && i < copies; i++)
        lmbi_copy_destroy(f->copy[i]);
    free(f->copy);
    lmbi_cuts_destroy(f->cuts);
    memset(f, 0, sizeof *f);
}

static lmb_status make_form(lmbi_pipeline *p, lmbi_form *f, int64_t rows, lmb_error *err)
{
    f->rows = rows;
    LMB_TRY(lmbi_cuts_make(p->o.model, p->o.loss, rows, p->o.stages, p->end, &f->cuts, err));
    if (p->first > 0)
        LMB_TRY(lmbi_cuts_block(f->cuts, p->first - 1, &f->in_bytes, err));
    LMB_TRY(lmbi_cuts_block(f->cuts, p->first + p->n - 1, &f->out_bytes, err));
    f->copy = calloc((size_t)(p->in_flight * p->n), sizeof *f->copy);
    return f->copy ? LMB_OK : NOMEM(err);
}

lmb_status lmbi_pipeline_form(lmbi_pipeline *p, int64_t rows, lmbi_form **out, lmb_error *err)
{
    lmbi_form *oldest = &p->form[1];

    for (int i = 0; i < LMBI_FORMS; i++) {
        lmbi_form *f = &p->form[i];
        if (f->cuts && f->rows == rows) {
            f->used = ++p->clock;
            *out = f;
            return LMB_OK;
        }
        if (i > 1 && f->used < oldest->used)
            oldest = f;
    }
    drop(oldest, p->in_flight * p->n);
    lmb_status st = make_form(p, oldest, rows, err);
    if (st != LMB_OK) {
        drop(oldest, p->in_flight * p->n);
        return st;
    }
    oldest->used = ++p->clock;
    *out = oldest;
    return LMB_OK;
}

/* Where to cut. All ranks count alike; what was measured, now or by an earlier process, is rank 0's word. */
static lmb_status choose_cuts(lmbi_pipeline *p, lmb_error *err)
{
    const lmbi_pipeline_options *o = &p->o;
    lmb_comm *c = o->comm;
    lmbi_cuts *cuts = NULL;

    if (!o->timed || (c->rank == 0 && !o->end)) {
        lmbi_stage_options so = { .backends = o->backends, .loss = o->loss, .small_memory = o->small_memory };
        LMB_TRY(o->timed ? lmbi_cuts_timed(o->model, o->rows, o->stages, &so, &cuts, err)
                         : lmbi_cuts_make(o->model, o->loss, o->rows, o->stages, NULL, &cuts, err));
        for (int k = 0; k < o->stages; k++)
            p->end[k] = cuts->stage[k].end;
        lmbi_cuts_destroy(cuts);
    } else if (c->rank == 0) {
        memcpy(p->end, o->end, sizeof *p->end * (size_t)o->stages);
    }
    return o->timed ? c->broadcast(c, p->end, sizeof *p->end * (size_t)o->stages, 0, err) : LMB_OK;
}

/* Segments of this rank, one behind another; theirs of other ranks have no place. */
static lmb_status divide(lmbi_pipeline *p, lmb_error *err)
{
    const lmb_state_layout *l = p->o.layout;
    size_t n = (size_t)l->n + 1;

    p->owner = calloc(n, sizeof *p->owner);
    p->from = calloc(n, sizeof *p->from);
    p->there = calloc(n, sizeof *p->there);
    p->offset = calloc(n, sizeof *p->offset);
    p->local.segment = calloc(n, sizeof *p->local.segment);
    if (!p->owner || !p->from || !p->there || !p->offset || !p->local.segment)
        return NOMEM(err);
    size_t there = 0;
    lmbi_cuts_owners(p->form[0].cuts, l, p->owner);
    for (int i = 0; i < l->n; i++) {
        p->owner[i] /= p->n;
        p->there[i] = LMBI_ELSEWHERE;
        if (p->owner[i] != p->me)
            continue;
        p->there[i] = there;
        there += (l->segment[i].count + LMB_STEP_ALIGN - 1) / LMB_STEP_ALIGN * LMB_STEP_ALIGN;
        p->offset[p->local.n] = l->segment[i].offset;
        p->from[i] = p->local.count;
        lmb_segment *s = &p->local.segment[p->local.n++];
        *s = l->segment[i];
        s->offset = p->local.count;
        p->local.count += s->count;
    }
    return LMB_OK;
}

lmb_status lmbi_pipeline_create(const lmbi_pipeline_options *o, lmbi_pipeline **out, lmb_error *err)
{
    lmbi_pipeline *p = calloc(1, sizeof *p);

    if (!p)
        return NOMEM(err);
    p->o = *o;
    p->me = o->comm->rank % o->ranks;
    p->n = o->stages / o->ranks;
    p->first = p->me * p->n;
    p->device = o->backends && o->backends[0] ? o->backends[0]->device : NULL;
    p->in_flight = lmbi_pipeline_in_flight(o->ranks, p->me, p->device != NULL);
    lmb_status st = choose_cuts(p, err);
    if (st == LMB_OK)
        st = make_form(p, &p->form[0], o->rows, err);
    if (st == LMB_OK)
        st = divide(p, err);
    if (st != LMB_OK) {
        lmbi_pipeline_destroy(p);
        return st;
    }
    *out = p;
    return LMB_OK;
}

void lmbi_pipeline_destroy(lmbi_pipeline *p)
{
    if (!p)
        return;
    lmbi_pipeline_leave(p);
    for (int i = 0; i < LMBI_FORMS; i++)
        drop(&p->form[i], p->in_flight * p->n);
    free(p->there);
    free(p->offset);
    free(p->local.segment);
    free(p->owner);
    free(p->from);
    free(p);
}

void lmbi_pipeline_leave(lmbi_pipeline *p)
{
    if (!p->device)
        return;
    for (int i = 0; i < LMBI_FORMS; i++)
        for (int k = 0; p->form[i].copy && k < p->in_flight * p->n; k++) {
            lmbi_copy_destroy(p->form[i].copy[k]);
            p->form[i].copy[k] = NULL;
        }
    if (p->landing)
        p->device->free(p->device, p->landing);
    p->landing = NULL;
}

void lmbi_pipeline_trace(lmbi_pipeline *p, lmb_trace *t) { p->trace = t; }
const int32_t *lmbi_pipeline_ends(const lmbi_pipeline *p) { return p->end; }
const lmb_state_layout *lmbi_pipeline_layout(const lmbi_pipeline *p) { return &p->local; }
const int *lmbi_pipeline_owners(const lmbi_pipeline *p) { return p->owner; }
const size_t *lmbi_pipeline_places(const lmbi_pipeline *p) { return p->from; }

const size_t *lmbi_pipeline_offsets(const lmbi_pipeline *p) { return p->offset; }

void lmbi_pipeline_times(const lmbi_pipeline *p, double *all, double *waited)
{
    *all = p->all;
    *waited = p->waited;
}

lmb_status lmbi_pipeline_copy(lmbi_pipeline *p, int64_t rows, int i, int k, lmbi_copy **out, lmb_error *err)
{
    const lmbi_form *main = &p->form[0];
    lmbi_form *f;

    LMB_TRY(lmbi_pipeline_form(p, rows, &f, err));
    lmbi_copy **c = &f->copy[i % p->in_flight * p->n + k];
    if (!*c) {
        lmbi_stage_options o = { .backends = p->o.backends, .loss = p->o.loss, .layout = p->o.layout,
                                 .from = p->device ? p->there : p->from,
                                 .small_memory = p->o.small_memory, .in_room = k ? 0 : main->in_bytes,
                                 .out_room = k < p->n - 1 ? 0 : main->out_bytes, .trace = p->trace };
        LMB_TRY(lmbi_copy_create(f->cuts, p->first + k, &o, c, err));
    }
    *out = *c;
    return LMB_OK;
}

/* ---- a batch ---- */

/* A batch under way on this rank. */
typedef struct flow { lmbi_pipeline *p; const lmbi_flow *f; lmb_error *err; } flow;

static lmb_status copy_of(flow *w, int i, int k, lmbi_copy **out)
{
    return lmbi_pipeline_copy(w->p, w->f->first[i + 1] - w->f->first[i], i, k, out, w->err);
}

static lmbi_stage_run run_of(const flow *w, int i)
{
    const lmbi_flow *f = w->f;
    int64_t at = f->first[i] - f->first[0];
    return (lmbi_stage_run){ .place = { f->place.shown, f->place.row + at, f->place.rows },
                             .x = f->x + at * f->sample,
                             .y = f->y + at,
                             .state = f->state,
                             .out = lmbi_reducer_slot(f->sums, i) + LMBI_SUMS };
}

static lmb_step_info info_of(const flow *w, int i)
{
    lmb_step_info info = w->f->info;
    info.sample += w->f->first[i] - w->f->first[0];
    return info;
}

static void trace(const flow *w, const char *what, int i, const char *detail, double from)
{
    char name[48];
    if (!lmb_trace_fine(w->p->trace))
        return;
    snprintf(name, sizeof name, "%s %d", what, i);
    lmb_trace_span(w->p->trace, LMB_LANE_TRAINING, "pipeline", name, detail, from);
}

static lmb_status forwards(flow *w, int i)
{
    lmbi_pipeline *p = w->p;
    lmbi_copy *c, *before = NULL;
    lmbi_stage_run r = run_of(w, i);
    lmb_step_info info = info_of(w, i);
    double from = lmb_trace_now(p->trace);

    r.info = &info;
    memset(r.out - LMBI_SUMS, 0, sizeof(float) * (LMBI_SUMS + p->local.count));
    for (int k = 0; k < p->n; k++) {
        LMB_TRY(copy_of(w, i, k, &c));
        if (before)
            memcpy(lmbi_copy_in(c), lmbi_copy_out(before), lmbi_copy_in_bytes(c));
        LMB_TRY(lmbi_copy_forward(c, &r, w->err));
        before = c;
    }
    trace(w, "forwards", i, NULL, from);
    return LMB_OK;
}

static lmb_status backwards(flow *w, int i)
{
    lmbi_pipeline *p = w->p;
    lmbi_copy *c, *behind = NULL;
    lmbi_stage_run r = run_of(w, i);
    lmb_step_info info = info_of(w, i);
    double from = lmb_trace_now(p->trace);

    r.info = &info;
    for (int k = p->n - 1; k >= 0; k--) {
        LMB_TRY(copy_of(w, i, k, &c));
        if (behind)
            memcpy(lmbi_copy_out_gradient(c), lmbi_copy_in_gradient(behind), lmbi_copy_out_bytes(c));
        LMB_TRY(lmbi_copy_backward(c, &r, w->err));
        behind = c;
    }
    float *sums = r.out - LMBI_SUMS;
    sums[LMBI_LOSS] = r.loss * (float)(w->f->first[i + 1] - w->f->first[i]); /* 0 but on the last rank */
    sums[LMBI_CORRECT] = (float)r.correct;
    for (int b = 0; b < lmbi_reducer_buckets(w->f->sums); b++)
        lmbi_reducer_done(w->f->sums, b);
    trace(w, "backwards", i, NULL, from);
    return LMB_OK;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* A message each way, or one way, with a neighbour: give and get may be NULL. */
static lmb_status swap(flow *w, int peer, const float *give, float *get, size_t bytes, int i, const char *name,
                       const char *what)
{
    lmbi_pipeline *p = w->p;
    double start = lmb_seconds(), span = lmb_trace_now(p->trace);

    lmb_watch_doing(w->f->watch, w->f->step, what, true);
    LMB_TRY(p->o.comm->exchange(p->o.comm, give, give ? peer : -1, get, get ? peer : -1, bytes, w->err));
    lmb_watch_doing(w->f->watch, w->f->step, "forward and backward", false);
    p->waited += lmb_seconds() - start;
    trace(w, name, i, what, span);
    return LMB_OK;
}

/* With the rank in front: the gradient of microbatch `give` goes, what microbatch `get` is made of comes; -1:
 * nothing. */
static lmb_status swap_in_front(flow *w, int give, int get)
{
    lmbi_copy *to = NULL, *from = NULL;

    if (w->p->me == 0 || (give < 0 && get < 0))
        return LMB_OK;
    if (give >= 0)
        LMB_TRY(copy_of(w, give, 0, &to));
    if (get >= 0)
        LMB_TRY(copy_of(w, get, 0, &from));
    size_t bytes = larger(to ? lmbi_copy_in_bytes(to) : 0, from ? lmbi_copy_in_bytes(from) : 0);
    return swap(w, w->p->o.comm->rank - 1, to ? lmbi_copy_in_gradient(to) : NULL, from ? lmbi_copy_in(from) : NULL,
                bytes, from ? get : give, "with the rank in front", from ? "activations come" : "gradients go");
}

/* With the rank behind: what microbatch `give` has become goes, the gradient of microbatch `get` comes; -1: nothing. */
static lmb_status swap_behind(flow *w, int give, int get)
{
    lmbi_copy *to = NULL, *from = NULL;
    int k = w->p->n - 1;

    if (w->p->me == w->p->o.ranks - 1)
        return LMB_OK;
    if (give >= 0)
        LMB_TRY(copy_of(w, give, k, &to));
    if (get >= 0)
        LMB_TRY(copy_of(w, get, k, &from));
    size_t bytes = larger(to ? lmbi_copy_out_bytes(to) : 0, from ? lmbi_copy_out_bytes(from) : 0);
    return swap(w, w->p->o.comm->rank + 1, to ? lmbi_copy_out(to) : NULL, from ? lmbi_copy_out_gradient(from) : NULL,
                bytes, from ? get : give, "with the rank behind", from ? "gradients come" : "activations go");
}

/* 1F1B: `ahead` microbatches forwards, then in turns, then those `ahead` backwards. */
static lmb_status schedule(flow *w)
{
    int n = w->f->n, ahead = w->p->in_flight - 1 < n ? w->p->in_flight - 1 : n, turns = n - ahead;

    for (int i = 0; i < ahead; i++) {
        LMB_TRY(swap_in_front(w, -1, i));
        LMB_TRY(forwards(w, i));
        LMB_TRY(swap_behind(w, i, -1));
    }
    if (turns > 0)
        LMB_TRY(swap_in_front(w, -1, ahead));
    for (int i = 0; i < turns; i++) {
        LMB_TRY(forwards(w, ahead + i));
        LMB_TRY(swap_behind(w, ahead + i, i));
        LMB_TRY(backwards(w, i));
        LMB_TRY(swap_in_front(w, i, i < turns - 1 ? ahead + i + 1 : -1));
    }
    for (int i = turns; i < n; i++) {
        LMB_TRY(swap_behind(w, -1, i));
        LMB_TRY(backwards(w, i));
        LMB_TRY(swap_in_front(w, i, -1));
    }
    return LMB_OK;
}

lmb_status lmbi_pipeline_run(lmbi_pipeline *p, const lmbi_flow *f, lmb_error *err)
{
    flow w = { p, f, err };
    double start = lmb_seconds();
    lmb_status st = schedule(&w);

    p->all += lmb_seconds() - start;
    return st;
}
