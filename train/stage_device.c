/* train/stage_device.c - a stage of a pipeline on a device: its blocks lie there, and what it does is put on the
 * device's queue. See stage.h. */
#include <stdlib.h>

#include "train/stage_internal.h"

static lmb_status bind(lmbi_copy *c, lmb_vid v, void *there, lmb_error *err)
{
    return v == LMB_NONE ? LMB_OK : lmb_plan_bind_there(c->plan, v, there, err);
}

static bool is_seed(const lmbi_copy *c, lmb_vid v) { return c->g->value[v].role == LMB_ROLE_INPUT; }

static lmb_status bind_blocks(lmbi_copy *c, lmb_error *err)
{
    for (int i = 0; i < c->n_in; i++)
        LMB_TRY(bind(c, c->in[i].here, lmbi_copy_block(c, false, false) + c->in[i].at, err));
    for (int i = c->n_in - 1; i >= 0; i--) { /* of several with one gradient the first has it, the others a copy */
        const lmbi_crosser *x = &c->in[i];
        if (x->gradient != LMB_NONE && !is_seed(c, x->gradient))
            LMB_TRY(bind(c, x->gradient, lmbi_copy_block(c, false, true) + x->at, err));
    }
    for (int i = 0; i < c->n_out; i++) {
        const lmbi_crosser *x = &c->out[i];
        if (!x->through)
            LMB_TRY(bind(c, x->here, lmbi_copy_block(c, true, false) + x->at, err));
        LMB_TRY(bind(c, x->seed, lmbi_copy_block(c, true, true) + x->at, err));
    }
    return LMB_OK;
}

/* What nothing fills is sent all the same: it is 0. */
lmb_status lmbi_copy_blocks_there(lmbi_copy *c, size_t bytes, lmb_error *err)
{
    lmb_device *d = c->device;
    void *memory = NULL, *zeros = calloc(1, bytes + 64);

    if (!zeros)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a stage of a pipeline");
    lmb_status st = d->alloc(d, bytes + 64, &memory, err);
    c->memory = memory;
    if (st == LMB_OK)
        st = d->upload(d, memory, zeros, bytes + 64, err);
    if (st == LMB_OK)
        st = d->finish(d, err);
    free(zeros);
    return st == LMB_OK ? bind_blocks(c, err) : st;
}

/* ---- a run ---- */

static lmb_status bind_input(lmbi_copy *c, lmb_vid whole, const void *there, const char *name, lmb_error *err)
{
    lmb_vid v = whole == LMB_NONE ? LMB_NONE : c->map[whole];

    if (v != LMB_NONE && !there)
        return LMB_FAIL(err, LMB_E_ARG, "a stage reads %s, which its rank's GPU does not have", name);
    return bind(c, v, (void *)there, err);
}

static lmb_status bind_vectors(lmbi_copy *c, const lmbi_stage_there *r, lmb_error *err)
{
    for (int i = 0; i < c->o.layout->n; i++) {
        size_t at = c->o.from[i];
        if (c->source[i] == LMB_NONE && c->result[i] == LMB_NONE)
            continue;
        if (at == LMBI_ELSEWHERE)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                            "%s is read by stages of two ranks; on GPUs a rank has its own numbers alone",
                            c->o.layout->segment[i].name);
        if (c->far.state != r->state)
            LMB_TRY(bind(c, c->source[i], r->state + at, err));
        if (c->far.out != r->out)
            LMB_TRY(bind(c, c->result[i], r->out + at, err));
    }
    return LMB_OK;
}

static lmb_status bind_all(lmbi_copy *c, const lmbi_stage_there *r, lmb_error *err)
{
    LMB_TRY(bind_vectors(c, r, err));
    LMB_TRY(bind_input(c, c->c->x, r->x, "samples", err));
    LMB_TRY(bind_input(c, c->c->y, r->y, "labels", err));
    LMB_TRY(bind_input(c, c->c->feed, r->feed, "what the loss is fed", err));
    if (c->last) {
        LMB_TRY(bind(c, c->map[c->c->loss], r->loss, err));
        LMB_TRY(bind(c, c->map[c->c->logits], r->logits, err));
    }
    c->far = *r;
    return LMB_OK;
}

lmb_status lmbi_copy_forward_there(lmbi_copy *c, const lmbi_stage_there *r, lmb_error *err)
{
    const lmb_step_info info = { 0, 0, r->sample }; /* seed and epoch: r->there */
    lmb_device *d = c->device;

    LMB_TRY(bind_all(c, r, err));
    LMB_TRY(lmb_plan_enqueue_part(c->plan, 0, &info, r->there, err));
    for (int i = 0; i < c->n_out; i++) {
        const lmbi_crosser *x = c->out[i].through ? lmbi_crosser_find(c->in, c->n_in, c->out[i].whole) : NULL;
        if (x)
            LMB_TRY(d->copy(d, lmbi_copy_block(c, true, false) + c->out[i].at,
                            lmbi_copy_block(c, false, false) + x->at, x->bytes, err));
    }
    return LMB_OK;
}

/* Where the gradient of what crosses the cut in front has been left, if not in its place: with another of the same, in
 * a block of what is handed through, or with the state's; else NULL. */
static const char *left_at(const lmbi_copy *c, int i)
{
    const lmbi_crosser *x = &c->in[i];

    if (x->here == LMB_NONE) {
        const lmbi_crosser *behind = lmbi_crosser_find(c->out, c->n_out, x->whole);
        return behind ? lmbi_copy_block(c, true, true) + behind->at : NULL;
    }
    if (x->gradient == LMB_NONE)
        return NULL;
    for (int k = 0; k < c->n_out; k++)
        if (c->out[k].seed == x->gradient)
            return lmbi_copy_block(c, true, true) + c->out[k].at;
    for (int k = 0; k < c->o.layout->n; k++)
        if (c->result[k] == x->gradient)
            return (const char *)(c->far.out + c->o.from[k]);
    for (int k = 0; k < i; k++)
        if (c->in[k].gradient == x->gradient)
            return lmbi_copy_block(c, false, true) + c->in[k].at;
    return NULL;
}

lmb_status lmbi_copy_backward_there(lmbi_copy *c, const lmbi_stage_there *r, lmb_error *err)
{
    const lmb_step_info info = { 0, 0, r->sample };
    lmb_device *d = c->device;

    LMB_TRY(lmb_plan_enqueue_part(c->plan, 1, &info, r->there, err));
    for (int i = 0; i < c->n_in; i++) {
        const char *from = left_at(c, i);
        size_t bytes = sizeof(float) * (size_t)lmb_shape_count(&c->c->g->value[c->in[i].whole].shape);
        if (from)
            LMB_TRY(d->copy(d, lmbi_copy_block(c, false, true) + c->in[i].at, from, bytes, err));
    }
    return LMB_OK;
}
