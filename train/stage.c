/* train/stage.c - see stage.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/autodiff.h"
#include "train/metrics.h"
#include "train/stage_internal.h"

#define NOMEM(err) LMB_FAIL((err), LMB_E_NOMEM, "no memory for a stage of a pipeline")

/* ---- a compiled copy ---- */

float *lmbi_copy_in(lmbi_copy *c) { return c->n_in ? (float *)(void *)lmbi_copy_block(c, false, false) : NULL; }
float *lmbi_copy_in_gradient(lmbi_copy *c) { return c->n_in ? (float *)(void *)lmbi_copy_block(c, false, true) : NULL; }
float *lmbi_copy_out(lmbi_copy *c) { return c->n_out ? (float *)(void *)lmbi_copy_block(c, true, false) : NULL; }
float *lmbi_copy_out_gradient(lmbi_copy *c)
{
    return c->n_out ? (float *)(void *)lmbi_copy_block(c, true, true) : NULL;
}
size_t lmbi_copy_bytes(const lmbi_copy *c)
{
    return lmb_plan_describe(c->plan).arena_bytes + 2 * (c->in_room + c->out_room);
}
size_t lmbi_copy_in_bytes(const lmbi_copy *c) { return c->in_bytes; }
size_t lmbi_copy_out_bytes(const lmbi_copy *c) { return c->out_bytes; }

static lmb_status list(lmbi_copy *c, int at, lmbi_crosser **out, int *n, size_t *bytes, lmb_error *err)
{
    const lmb_graph *g = c->c->g;
    bool *crosses = NULL;
    size_t place = 0;
    lmb_status st = lmbi_cuts_crossing(c->c, at, &crosses, bytes, err);

    *out = st == LMB_OK ? calloc((size_t)g->n_values + 1, sizeof **out) : NULL;
    if (st == LMB_OK && !*out)
        st = NOMEM(err);
    for (int v = 0; v < g->n_values && st == LMB_OK; v++)
        if (crosses[v]) {
            (*out)[(*n)++] =
                (lmbi_crosser){ v, c->map[v], LMB_NONE, LMB_NONE, place, lmbi_cuts_padded(&g->value[v]), false };
            place += lmbi_cuts_padded(&g->value[v]);
        }
    free(crosses);
    return st;
}

/* Inputs for the gradients that come from behind, and what they are gradients of. */
static lmb_status add_seeds(lmbi_copy *c, lmb_graph *stage, int begin, lmb_vid *of, lmb_vid *seed, int *n,
                            lmb_error *err)
{
    char name[160];

    for (int i = 0; i < c->n_out; i++) {
        lmbi_crosser *x = &c->out[i];
        const lmb_value *v = &c->c->g->value[x->whole];
        x->through = v->node < begin;
        if (x->here == LMB_NONE || !c->c->trained[x->whole])
            continue;
        snprintf(name, sizeof name, "behind/%.120s", v->name);
        LMB_TRY(lmb_graph_value(stage, LMB_ROLE_INPUT, name, LMB_F32, &v->shape, NULL, &x->seed, err));
        of[*n] = x->here;
        seed[(*n)++] = x->seed;
    }
    if (c->last) {
        of[*n] = c->map[c->c->loss];
        seed[(*n)++] = LMB_NONE;
    }
    return LMB_OK;
}

static int ask_for(const lmbi_copy *c, const lmb_graph *stage, lmb_vid *wrt)
{
    int n = 0;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].here != LMB_NONE && c->c->trained[c->in[i].whole])
            wrt[n++] = c->in[i].here;
    for (int v = 0; v < stage->n_values; v++)
        if (stage->value[v].role == LMB_ROLE_PARAMETER && !stage->value[v].frozen)
            wrt[n++] = v;
    return n;
}

static lmb_status add_output(lmb_graph *g, const char *what, int number, lmb_vid v, lmb_error *err)
{
    char name[40];

    if (v == LMB_NONE || g->value[v].role != LMB_ROLE_ACTIVATION)
        return LMB_OK;
    for (int i = 0; i < g->n_outputs; i++)
        if (g->output[i].value == v)
            return LMB_OK;
    snprintf(name, sizeof name, "%s%d", what, number);
    return lmb_graph_output_add(g, name, v, err);
}

/* What the plan must leave: what crosses, gradients, and the loss. */
static lmb_status add_outputs(lmbi_copy *c, const lmb_vid *wrt, const lmb_vid *grad, int n, lmb_error *err)
{
    for (int i = 0; i < c->n_out; i++)
        if (!c->out[i].through)
            LMB_TRY(add_output(c->g, "out", i, c->out[i].here, err));
    if (c->last) {
        LMB_TRY(add_output(c->g, "loss", 0, c->map[c->c->loss], err));
        LMB_TRY(add_output(c->g, "logits", 0, c->map[c->c->logits], err));
    }
    for (int i = 0; i < n; i++) {
        LMB_TRY(add_output(c->g, "gradient", i, grad[i], err));
        for (int k = 0; k < c->n_in; k++)
            if (c->in[k].here == wrt[i])
                c->in[k].gradient = grad[i];
    }
    for (int i = 0; i < c->o.layout->n; i++) {
        lmb_vid v = c->source[i] = lmb_graph_find(c->g, c->o.layout->segment[i].name);
        c->result[i] = v == LMB_NONE ? LMB_NONE : c->g->value[v].next;
        lmbi_cuts_forget(c->g, v); /* a run binds the trainer's */
        for (int k = 0; k < n && v != LMB_NONE; k++)
            if (wrt[k] == v)
                c->result[i] = grad[k];
    }
    return LMB_OK;
}

static lmb_status compile(lmbi_copy *c, const lmb_graph *stage, const lmb_vid *of, const lmb_vid *seed, int n,
                          lmb_vid *wrt, lmb_vid *grad, lmb_error *err)
{
    int n_wrt = ask_for(c, stage, wrt);
    lmb_plan_options o = { .backends = c->o.backends, .update_state = true, .frozen_exact = true,
                           .later = seed, .n_later = c->last ? 0 : n,
                           .small_memory = c->o.small_memory };

    LMB_TRY(lmb_autodiff_from(stage, of, seed, n, wrt, n_wrt, &c->g, grad, err));
    LMB_TRY(add_outputs(c, wrt, grad, n_wrt, err));
    LMB_TRY(lmb_plan_compile(c->g, &o, &c->plan, err));
    lmb_plan_trace(c->plan, c->o.trace, LMB_LANE_TRAINING);
    return LMB_OK;
}

static lmb_status bind_blocks(lmbi_copy *c, lmb_error *err)
{
    c->in_room = c->in_bytes > c->o.in_room ? c->in_bytes : c->o.in_room;
    c->out_room = c->out_bytes > c->o.out_room ? c->out_bytes : c->o.out_room;
    if (c->device)
        return lmbi_copy_blocks_there(c, 2 * (c->in_room + c->out_room), err);
    c->memory = calloc(1, 2 * (c->in_room + c->out_room) + 64);
    if (!c->memory)
        return NOMEM(err);
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].here != LMB_NONE)
            LMB_TRY(lmb_plan_bind(c->plan, c->in[i].here, lmbi_copy_block(c, false, false) + c->in[i].at, err));
    for (int i = 0; i < c->n_out; i++) {
        if (!c->out[i].through)
            LMB_TRY(lmb_plan_bind(c->plan, c->out[i].here, lmbi_copy_block(c, true, false) + c->out[i].at, err));
        if (c->out[i].seed != LMB_NONE)
            LMB_TRY(lmb_plan_bind(c->plan, c->out[i].seed, lmbi_copy_block(c, true, true) + c->out[i].at, err));
    }
    return LMB_OK;
}

static lmb_status set_up(lmbi_copy *c, const lmb_stage *s, lmb_error *err)
{
    size_t values = (size_t)c->c->g->n_values * 2 + 2, segments = (size_t)c->o.layout->n + 1;
    lmb_graph *stage = NULL;
    int n = 0;

    lmb_vid *of = malloc(4 * values * sizeof *of), *seed = of + values, *wrt = seed + values, *grad = wrt + values;
    c->source = malloc(2 * segments * sizeof *c->source);
    c->result = c->source + segments;
    lmb_status st = of && c->source ? lmb_stages_extract(c->c->g, s->begin, s->end, &stage, &c->map, err) : NOMEM(err);
    if (st == LMB_OK)
        st = list(c, s->begin, &c->in, &c->n_in, &c->in_bytes, err);
    if (st == LMB_OK)
        st = list(c, s->end, &c->out, &c->n_out, &c->out_bytes, err);
    if (st == LMB_OK)
        st = add_seeds(c, stage, s->begin, of, seed, &n, err);
    if (st == LMB_OK)
        st = compile(c, stage, of, seed, n, wrt, grad, err);
    if (st == LMB_OK)
        st = bind_blocks(c, err);
    lmb_graph_destroy(stage);
    free(of);
    return st;
}

lmb_status lmbi_copy_create(const lmbi_cuts *cuts, int stage, const lmbi_stage_options *o, lmbi_copy **out,
                            lmb_error *err)
{
    lmbi_copy *c = calloc(1, sizeof *c);

    if (!c)
        return NOMEM(err);
    c->c = cuts;
    c->o = *o;
    c->device = o->backends && o->backends[0] ? o->backends[0]->device : NULL;
    c->rows = cuts->g->value[cuts->x].shape.d[0];
    c->last = stage == cuts->n - 1;
    lmb_status st = set_up(c, &cuts->stage[stage], err);
    if (st != LMB_OK) {
        lmbi_copy_destroy(c);
        return st;
    }
    *out = c;
    return LMB_OK;
}

void lmbi_copy_destroy(lmbi_copy *c)
{
    if (!c)
        return;
    lmb_plan_destroy(c->plan);
    lmb_graph_destroy(c->g);
    free(c->map);
    free(c->in);
    free(c->out);
    if (c->device && c->memory)
        c->device->free(c->device, c->memory);
    else
        free(c->memory);
    free(c->source);
    free(c);
}

/* ---- a run ---- */

static lmb_status bind_input(lmbi_copy *c, lmb_vid whole, const void *data, lmb_error *err)
{
    lmb_vid v = whole == LMB_NONE ? LMB_NONE : c->map[whole];
    return v == LMB_NONE ? LMB_OK : lmb_plan_bind(c->plan, v, (void *)data, err);
}

/* State and results; the vector for results is another one for each group of samples. */
static lmb_status bind_vectors(lmbi_copy *c, const lmbi_stage_run *r, lmb_error *err)
{
    for (int i = 0; i < c->o.layout->n; i++) {
        const lmb_segment *s = &c->o.layout->segment[i];
        if (c->source[i] != LMB_NONE && c->state != r->state)
            LMB_TRY(lmb_plan_bind(c->plan, c->source[i], r->state + s->offset, err));
        if (c->result[i] != LMB_NONE && c->to != r->out)
            LMB_TRY(lmb_plan_bind(c->plan, c->result[i], r->out + c->o.from[i], err));
    }
    c->state = r->state;
    c->to = r->out;
    return LMB_OK;
}

lmb_status lmbi_copy_forward(lmbi_copy *c, const lmbi_stage_run *r, lmb_error *err)
{
    LMB_TRY(bind_vectors(c, r, err));
    LMB_TRY(bind_input(c, c->c->x, r->x, err));
    LMB_TRY(bind_input(c, c->c->y, r->y, err));
    if (c->c->feed != LMB_NONE && c->map[c->c->feed] != LMB_NONE)
        LMB_TRY(c->o.loss->feed(c->o.loss->ctx, r->info, &r->place, c->rows, lmb_plan_data(c->plan, c->map[c->c->feed]),
                                err));
    LMB_TRY(lmb_plan_run_part(c->plan, 0, r->info, err));
    for (int i = 0; i < c->n_out; i++) {
        const lmbi_crosser *x = c->out[i].through ? lmbi_crosser_find(c->in, c->n_in, c->out[i].whole) : NULL;
        if (x)
            memcpy(lmbi_copy_block(c, true, false) + c->out[i].at, lmbi_copy_block(c, false, false) + x->at, x->bytes);
    }
    return LMB_OK;
}

/* Gradients of what crosses the cut in front: computed, or handed through. */
static void leave_gradients(lmbi_copy *c)
{
    for (int i = 0; i < c->n_in; i++) {
        const lmbi_crosser *x = &c->in[i];
        const lmbi_crosser *behind = x->here == LMB_NONE ? lmbi_crosser_find(c->out, c->n_out, x->whole) : NULL;
        size_t bytes = sizeof(float) * (size_t)lmb_shape_count(&c->c->g->value[x->whole].shape);
        char *to = lmbi_copy_block(c, false, true) + x->at;
        if (behind)
            memcpy(to, lmbi_copy_block(c, true, true) + behind->at, bytes);
        else if (x->gradient != LMB_NONE)
            memcpy(to, lmb_plan_data(c->plan, x->gradient), bytes);
    }
}

lmb_status lmbi_copy_backward(lmbi_copy *c, lmbi_stage_run *r, lmb_error *err)
{
    LMB_TRY(lmb_plan_run_part(c->plan, 1, r->info, err));
    leave_gradients(c);
    if (!c->last)
        return LMB_OK;
    const lmb_value *v = &c->c->g->value[c->c->logits];
    const float *logits = lmb_plan_data(c->plan, c->map[c->c->logits]);
    r->loss = *(const float *)lmb_plan_data(c->plan, c->map[c->c->loss]);
    r->correct = 0;
    for (int64_t i = 0; i < c->rows; i++)
        r->correct += lmb_argmax(logits + i * v->shape.d[1], (int)v->shape.d[1]) == r->y[i];
    return LMB_OK;
}
