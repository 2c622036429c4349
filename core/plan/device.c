/* core/plan/device.c - a run on a device: what goes there, what comes back. See device.h. */
#include "core/plan/device.h"

#include <stdlib.h>
#include <string.h>

#include "core/plan/internal.h"

static bool is_source(const lmb_plan *p, int v)
{
    return v < p->g->n_values && p->value[v].bindable && p->value[v].storage >= 0 &&
           p->g->value[v].role != LMB_ROLE_ACTIVATION;
}

static bool is_result(const lmb_plan *p, int v)
{
    return v < p->g->n_values && p->value[v].bindable && p->value[v].storage >= 0 &&
           p->g->value[v].role == LMB_ROLE_ACTIVATION;
}

static void *place(const lmb_plan *p, int v) { return p->arena + p->storage[p->value[v].storage].offset; }

/* Host memory of inputs and outputs that the caller has not bound. */
static lmb_status make_mirrors(lmb_plan *p, lmb_error *err)
{
    p->mirror = calloc((size_t)p->n_values + 1, sizeof *p->mirror);
    if (!p->mirror)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a plan on %s", p->device->name);
    for (int v = 0; v < p->g->n_values; v++) {
        if (!is_result(p, v) && !(is_source(p, v) && p->g->value[v].role == LMB_ROLE_INPUT))
            continue;
        int k = lmbi_plan_outward(p, v);
        p->mirror[k] = calloc(1, p->value[k].bytes + 1);
        if (!p->mirror[k])
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes of '%s'", p->value[k].bytes, p->value[k].name);
    }
    return LMB_OK;
}

lmb_status lmbi_device_prepare(lmb_plan *p, lmb_error *err)
{
    lmb_device *d = p->device;

    LMB_TRY(make_mirrors(p, err));
    for (int v = 0; v < p->g->n_values; v++) /* constants once; so is state that nobody binds */
        if (p->value[v].storage >= 0 && p->storage[p->value[v].storage].data)
            LMB_TRY(d->upload(d, place(p, v), p->storage[p->value[v].storage].data, p->value[v].bytes, err));
    return d->finish(d, err);
}

void lmbi_device_end(lmb_plan *p)
{
    for (int v = 0; p->mirror && v < p->n_values; v++)
        free(p->mirror[v]);
    free(p->mirror);
    lmbi_device_drop_clocks(p);
    if (p->arena)
        p->device->free(p->device, p->arena);
}

static lmb_status send(lmb_plan *p, const lmb_step_info *step, lmb_step_info *there, lmb_error *err)
{
    lmb_device *d = p->device;

    *there = *step;
    if (step->sample && p->samples_bytes) {
        LMB_TRY(d->upload(d, p->arena + p->samples_offset, step->sample, p->samples_bytes, err));
        there->sample = (const uint32_t *)(p->arena + p->samples_offset);
    }
    for (int v = 0; v < p->g->n_values; v++) {
        const void *from = p->value[v].bound ? p->value[v].bound : p->mirror[v];
        if (is_source(p, v) && from && !p->value[v].there)
            LMB_TRY(d->upload(d, place(p, v), from, p->value[v].bytes, err));
    }
    return LMB_OK;
}

static lmb_status fetch(lmb_plan *p, lmb_error *err)
{
    lmb_device *d = p->device;

    for (int v = 0; v < p->g->n_values; v++) {
        int k = is_result(p, v) ? lmbi_plan_outward(p, v) : -1;
        if (k >= 0 && !p->value[k].there)
            LMB_TRY(d->download(d, p->value[k].bound ? p->value[k].bound : p->mirror[k], place(p, k), p->value[k].bytes,
                                err));
    }
    return d->finish(d, err);
}

/* A step without a kernel here: its operands to the host, the reference (or a change of form) there, results back. */
static lmb_status by_host(lmb_plan *p, lmbi_step *s, const lmb_step_info *step, lmb_error *err)
{
    lmb_device *d = p->device;
    lmb_tensor *t = calloc((size_t)(s->n_in + s->n_out + 1), sizeof *t);
    void *scratch = malloc(s->scratch + 64);
    lmb_status st = t && scratch ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a step on the host");

    for (int k = 0; st == LMB_OK && k < s->n_in + s->n_out; k++) {
        size_t bytes = lmb_shape_bytes(&s->tensor[k].shape, s->tensor[k].dtype);
        t[k] = s->tensor[k];
        if (!t[k].data)
            continue;
        t[k].data = malloc(bytes + 1);
        if (!t[k].data)
            st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a step on the host");
        else if (k < s->n_in)
            st = d->download(d, t[k].data, s->tensor[k].data, bytes, err);
    }
    if (st == LMB_OK)
        st = d->finish(d, err);
    if (st == LMB_OK && s->node) {
        lmb_run r = { s->node->attr, s->n_in, s->n_out, t, t + s->n_in,
            (char *)scratch + (64 - (uintptr_t)scratch % 64), step, NULL, NULL };
        st = s->node->op->run(&r, err);
    } else if (st == LMB_OK) {
        lmbi_convert(&t[0], p->value[s->in[0]].layout, &t[1], p->value[s->out[0]].layout);
    }
    for (int k = s->n_in; st == LMB_OK && k < s->n_in + s->n_out; k++)
        if (t[k].data)
            st = d->upload(d, s->tensor[k].data, t[k].data, lmb_shape_bytes(&t[k].shape, t[k].dtype), err);
    if (st == LMB_OK)
        st = d->finish(d, err);
    for (int k = 0; t && k < s->n_in + s->n_out; k++)
        if (s->tensor[k].data)
            free(t[k].data);
    free(t);
    free(scratch);
    return st;
}

static lmb_status run_step(lmb_plan *p, lmbi_step *s, const lmb_step_info *step, const lmb_step_info *there,
                           const lmb_step_there *recorded, lmb_error *err)
{
    lmb_device *d = p->device;

    if (!s->node && !s->convert)
        return d->copy(d, s->tensor[1].data, s->tensor[0].data,
                       lmb_shape_bytes(&s->tensor[0].shape, s->tensor[0].dtype), err);
    if (s->convert && d->convert) {
        lmb_error why = LMB_ERROR_INIT;
        lmb_status st =
            d->convert(d, &s->tensor[0], p->value[s->in[0]].layout, &s->tensor[1], p->value[s->out[0]].layout, &why);
        if (st != LMB_E_UNSUPPORTED)
            return st == LMB_OK ? st : LMB_FAIL(err, st, "%s", why.msg);
    }
    if (!s->kernel)
        return by_host(p, s, step, err);
    lmb_run r = { s->node->attr, s->n_in, s->n_out, s->tensor, s->tensor + s->n_in, p->arena + p->scratch_offset,
        there, d->queue, recorded };
    return s->kernel->run(s->state, &r, err);
}

lmb_status lmbi_device_step(lmb_plan *p, int i, const lmb_step_info *step, const lmb_step_info *there,
                            const lmb_step_there *recorded, lmb_error *err)
{
    lmbi_step *s = &p->step[i];

    if (run_step(p, s, step, there, recorded, err) == LMB_OK)
        return LMB_OK;
    return lmb_error_context(err, "node %s (%s) on %s", s->node ? s->node->name : "-", s->label, p->device->name);
}

/* The first run is not timed: kernels choose their ways in it. */
lmb_status lmbi_device_run(lmb_plan *p, const lmb_step_info *step, lmb_error *err)
{
    lmb_step_info there;

    LMB_TRY(send(p, step, &there, err));
    if (p->timing && p->begun && p->device->stamp)
        LMB_TRY(lmbi_device_timed(p, step, &there, err));
    else
        for (int i = 0; i < p->n_steps; i++)
            LMB_TRY(lmbi_device_step(p, i, step, &there, NULL, err));
    LMB_TRY(fetch(p, err));
    p->begun = true;
    for (int i = 0; p->on_step && i < p->n_steps; i++) /* results are there all at once */
        p->on_step(p->on_step_ctx, i);
    return LMB_OK;
}

bool lmbi_device_leaves(const lmb_plan *p, int i)
{
    const lmbi_step *s = &p->step[i];

    return !s->kernel && (s->node || (s->convert && !p->device->convert));
}

/* What would have to leave the device in the middle of a run: a sentence about it. */
static lmb_status check_stays(const lmb_plan *p, lmb_error *err)
{
    for (int i = 0; i < p->n_steps; i++) {
        const lmbi_step *s = &p->step[i];
        if (lmbi_device_leaves(p, i))
            return LMB_FAIL(
                err, LMB_E_UNSUPPORTED, "%s %s has no kernel on %s and makes a trip to the host in every step",
                s->node ? s->node->op->name : "a change of layout", s->node ? s->node->name : "", p->device->name);
    }
    for (int v = 0; v < p->g->n_values; v++)
        if (is_source(p, v) && p->g->value[v].role == LMB_ROLE_INPUT && !p->value[v].there)
            return LMB_FAIL(err, LMB_E_ARG, "input %s is not bound on %s", p->value[v].name, p->device->name);
    return LMB_OK;
}

lmb_status lmbi_device_enqueue(lmb_plan *p, int begin, int end, const lmb_step_info *step, const lmb_step_there *there,
                               lmb_error *err)
{
    LMB_TRY(check_stays(p, err));
    for (int i = begin; i < end; i++) {
        LMB_TRY(lmbi_device_step(p, i, step, step, there, err));
        if (p->on_step)
            p->on_step(p->on_step_ctx, i);
    }
    return LMB_OK;
}
