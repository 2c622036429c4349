/* core/plan/run.c - binding memory and running the steps. See plan.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/plan/device.h"
#include "core/plan/internal.h"

int lmbi_plan_outward(const lmb_plan *p, lmb_vid v)
{
    for (int k = v; k >= 0; k = p->value[k].other)
        if (p->value[k].layout == LMB_LAYOUT_PLAIN && p->value[k].dtype == p->g->value[v].dtype)
            return k;
    return v;
}

/* Where steps find a value: on a device in the arena, unless the caller has memory there. */
static void *pointer(const lmb_plan *p, int v)
{
    const lmbi_pvalue *x = &p->value[v];
    if (x->there)
        return x->there;
    if (x->bound && !p->device)
        return x->bound;
    if (x->storage < 0)
        return NULL;
    const lmbi_storage *s = &p->storage[x->storage];
    return s->external ? (void *)s->data : p->arena + s->offset;
}

static lmbi_pvalue *bindable(lmb_plan *p, lmb_vid asked, lmb_error *err)
{
    lmb_vid v = lmbi_plan_value(p, asked);
    if (v == LMB_NONE || !p->value[v].bindable) {
        (void)LMB_FAIL(err, LMB_E_ARG, "value %s can not be bound: it is no input, state or output",
                    asked >= 0 && asked < p->asked->n_values ? p->asked->value[asked].name : "?");
        return NULL;
    }
    p->resolved = false;
    return &p->value[lmbi_plan_outward(p, v)];
}

lmb_status lmb_plan_bind(lmb_plan *p, lmb_vid asked, void *memory, lmb_error *err)
{
    lmbi_pvalue *v = bindable(p, asked, err);
    if (!v)
        return LMB_E_ARG;
    v->bound = memory;
    return LMB_OK;
}

lmb_status lmb_plan_bind_there(lmb_plan *p, lmb_vid asked, void *memory, lmb_error *err)
{
    lmbi_pvalue *v = bindable(p, asked, err);
    if (!v)
        return LMB_E_ARG;
    if (!p->device || (uintptr_t)memory % 64)
        return LMB_FAIL(err, LMB_E_ARG, "value %s can not be bound on a device: %s", v->name,
                        p->device ? "the memory is not aligned to 64 bytes" : "the plan runs on the host");
    v->there = memory;
    return LMB_OK;
}

lmb_status lmb_plan_bind_state(lmb_plan *p, const lmb_state_layout *l, float *state, lmb_error *err)
{
    for (int i = 0; i < l->n; i++)
        LMB_TRY(lmb_plan_bind(p, l->segment[i].value, state + l->segment[i].offset, err));
    return LMB_OK;
}

void *lmb_plan_data(const lmb_plan *p, lmb_vid asked)
{
    lmb_vid v = lmbi_plan_value(p, asked);
    if (v == LMB_NONE || !p->value[v].fixed || p->options.no_memory)
        return NULL;
    int k = lmbi_plan_outward(p, v);
    if (p->device)
        return p->value[k].bound ? p->value[k].bound : p->mirror[k];
    return pointer(p, k);
}

static void resolve(lmb_plan *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        lmbi_step *s = &p->step[i];
        for (int k = 0; k < s->n_in + s->n_out; k++) {
            if (s->in[k] < 0)
                continue;
            const lmbi_pvalue *x = &p->value[s->in[k]];
            s->tensor[k] = (lmb_tensor){ x->dtype, x->shape, pointer(p, s->in[k]) };
        }
    }
    p->resolved = true;
}

static lmb_status run_step(lmb_plan *p, lmbi_step *s, const lmb_step_info *step, lmb_error *err)
{
    const lmb_tensor *in = s->tensor, *out = s->tensor + s->n_in;

    if (!s->node) {
        if (s->convert)
            lmbi_convert(&in[0], p->value[s->in[0]].layout, &out[0], p->value[s->out[0]].layout);
        else
            memmove(out[0].data, in[0].data, lmb_shape_bytes(&in[0].shape, in[0].dtype));
        return LMB_OK;
    }
    lmb_run r = { s->node->attr, s->n_in, s->n_out, in, out, p->arena + p->scratch_offset, step, NULL, NULL };
    lmb_status st = s->kernel ? s->kernel->run(s->state, &r, err) : s->node->op->run(&r, err);
    if (st != LMB_OK)
        lmb_error_context(err, "node %s (%s)", s->node->name, s->label);
    return st;
}

void lmbi_plan_took(lmbi_step *s, double seconds)
{
    s->best = s->runs && s->best < seconds ? s->best : seconds;
    s->seconds += seconds;
    s->runs++;
}

static lmb_status run_steps(lmb_plan *p, int begin, int end, const lmb_step_info *step, lmb_error *err)
{
    static const lmb_step_info no_step = { 0, 0, NULL };

    if (p->options.no_memory)
        return LMB_FAIL(err, LMB_E_ARG, "a plan that was made to be described has no memory to run in");
    if (!p->resolved)
        resolve(p);
    if (p->device)
        return lmbi_device_run(p, step ? step : &no_step, err);
    lmb_trace *trace = lmb_trace_fine(p->trace) ? p->trace : NULL;
    for (int i = begin; i < end; i++) {
        double t = p->timing ? lmb_seconds() : 0, from = lmb_trace_now(trace);
        LMB_TRY(run_step(p, &p->step[i], step ? step : &no_step, err));
        lmb_trace_span(trace, p->lane, "op", p->step[i].label, p->step[i].node ? p->step[i].node->name : NULL, from);
        if (p->timing)
            lmbi_plan_took(&p->step[i], lmb_seconds() - t);
        if (p->on_step)
            p->on_step(p->on_step_ctx, i);
    }
    return LMB_OK;
}

lmb_status lmb_plan_run(lmb_plan *p, const lmb_step_info *step, lmb_error *err)
{
    return run_steps(p, 0, p->n_steps, step, err);
}

static lmb_status enqueue(lmb_plan *p, int begin, int end, const lmb_step_info *step, const lmb_step_there *there,
                          lmb_error *err)
{
    if (!p->device)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a plan on the host has no queue");
    if (p->options.no_memory)
        return LMB_FAIL(err, LMB_E_ARG, "a plan that was made to be described has no memory to run in");
    if (!p->resolved)
        resolve(p);
    return lmbi_device_enqueue(p, begin, end, step, there, err);
}

lmb_status lmb_plan_enqueue(lmb_plan *p, const lmb_step_info *step, const lmb_step_there *there, lmb_error *err)
{
    return enqueue(p, 0, p->n_steps, step, there, err);
}

lmb_status lmb_plan_enqueue_part(lmb_plan *p, int part, const lmb_step_info *step, const lmb_step_there *there,
                                 lmb_error *err)
{
    return enqueue(p, part ? p->pause : 0, part ? p->n_steps : p->pause, step, there, err);
}

lmb_status lmb_plan_run_part(lmb_plan *p, int part, const lmb_step_info *step, lmb_error *err)
{
    if (p->device)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a plan on %s runs in parts on its queue alone", p->device->name);
    return run_steps(p, part ? p->pause : 0, part ? p->n_steps : p->pause, step, err);
}

void lmb_plan_on_step(lmb_plan *p, void (*fn)(void *ctx, int step), void *ctx)
{
    p->on_step = fn;
    p->on_step_ctx = ctx;
}

void lmb_plan_trace(lmb_plan *p, lmb_trace *t, int lane)
{
    p->trace = t;
    p->lane = lane;
}

int lmb_plan_steps(const lmb_plan *p) { return p->n_steps; }

int lmb_plan_ready(const lmb_plan *p, lmb_vid asked)
{
    lmb_vid v = lmbi_plan_value(p, asked);
    int x = v == LMB_NONE ? -1 : lmbi_plan_outward(p, v), ready = -1;
    for (int i = 0; i < p->n_steps; i++)
        for (int k = 0; k < p->step[i].n_in + p->step[i].n_out; k++) /* in and out are one array */
            if (p->step[i].in[k] == x)
                ready = i;
    return ready;
}

void lmb_plan_timing(lmb_plan *p, bool on)
{
    p->timing = on;
    for (int i = 0; i < p->n_steps; i++) {
        p->step[i].seconds = p->step[i].best = 0;
        p->step[i].runs = 0;
    }
}

lmb_status lmb_plan_eval(const lmb_graph *g, const char *output, void *out, size_t bytes, lmb_error *err)
{
    lmb_vid v = lmb_graph_find_output(g, output);
    lmb_plan *p = NULL;
    lmb_status st;

    if (v == LMB_NONE)
        return LMB_FAIL(err, LMB_E_ARG, "the graph has no output '%s'", output);
    if (lmb_shape_bytes(&g->value[v].shape, g->value[v].dtype) != bytes)
        return LMB_FAIL(err, LMB_E_SHAPE, "output '%s' has %zu bytes, the caller expects %zu", output,
                        lmb_shape_bytes(&g->value[v].shape, g->value[v].dtype), bytes);
    LMB_TRY(lmb_plan_compile(g, NULL, &p, err));
    st = lmb_plan_run(p, NULL, err);
    if (st == LMB_OK && bytes)
        memcpy(out, lmb_plan_data(p, v), bytes);
    lmb_plan_destroy(p);
    return st;
}

void lmb_plan_destroy(lmb_plan *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_steps; i++) {
        lmbi_step *s = &p->step[i];
        lmbi_drop_state(s->kernel, s->state);
        free((char *)s->refused);
        free(s->in);
        free(s->tensor);
    }
    free(p->step);
    free(p->value);
    free(p->storage);
    if (p->device)
        lmbi_device_end(p);
    else
        free(p->arena);
    lmb_graph_destroy(p->fused);
    free(p->map);
    free(p->trained);
    free(p);
}
