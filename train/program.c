/* train/program.c - see program.h. */
#include "train/program_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/autodiff.h"
#include "core/ops/gemm.h"
#include "core/passes/rewrite.h"
#include "train/metrics.h"

enum { FEWEST_NUMBERS = 1 << 16 }; /* of a gradient that is worth keeping as a product */
lmb_status lmb_model_classes(const lmb_graph *g, int *classes, lmb_error *err)
{
    if (lmb_graph_input(g, 0) == LMB_NONE || lmb_graph_input(g, 1) != LMB_NONE || g->n_outputs < 1)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a model needs one input and at least one output");
    const lmb_value *y = &g->value[g->output[0].value];
    if (y->dtype != LMB_F32 || y->shape.n != 2 || y->shape.d[1] < 2) {
        char text[LMB_SHAPE_TEXT];
        return LMB_FAIL(err, LMB_E_SHAPE, "the model's first output is %s %s; logits f32 [N, classes] are needed",
                        lmb_dtype_name(y->dtype), lmb_shape_text(&y->shape, text, sizeof text));
    }
    *classes = (int)y->shape.d[1];
    return LMB_OK;
}

lmb_status lmb_model_rows(const lmb_graph *g, int64_t rows, lmb_error *err)
{
    const lmb_shape *y = &g->value[g->output[0].value].shape;

    if (y->n < 1 || y->d[0] != rows)
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "the model's first output has %lld of %lld rows; a model must answer each sample by itself: "
                        "does one of its operators work along dimension 0, or is an answer constant?",
                        (long long)(y->n ? y->d[0] : 1), (long long)rows);
    return LMB_OK;
}

/* Rows of what is dropped from are samples: each draws by its number in the data set. */
static lmb_status check_dropouts(const lmb_graph *g, int64_t rows, lmb_error *err)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        bool draws = (n->op->flags & LMB_OP_RANDOM) && (n->n_in == 1 ? !n->op->grad : n->n_in > 2);
        const lmb_shape *x = &g->value[n->in[0]].shape;
        if (draws && (x->n < 1 || x->d[0] != rows))
            return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                            "%s drops from %lld rows, and the batch has %lld samples; put it where a row is a sample",
                            n->name, (long long)(x->n ? x->d[0] : 1), (long long)rows);
    }
    return LMB_OK;
}

lmb_status lmb_program_create(const lmb_graph *model, const lmb_loss *loss, const lmb_backend *const *backends,
                              lmb_program **out, lmb_error *err)
{
    int classes = 0;
    LMB_TRY(lmb_model_classes(model, &classes, err));
    lmb_program *p = calloc(1, sizeof *p);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a program");
    p->model = model;
    p->loss = *loss;
    p->backends = backends;
    p->memory = SIZE_MAX;
    p->scale = 1;
    p->classes = classes;
    lmb_status st = lmb_state_layout_create(model, &p->layout, err);
    if (st != LMB_OK) {
        free(p);
        return st;
    }
    *out = p;
    return LMB_OK;
}

static void drop(lmbi_compiled *c)
{
    lmb_plan_destroy(c->plan);
    lmb_graph_destroy(c->g);
    free(c->source);
    free(c->result);
    free(c->product);
    free(c->ready);
    memset(c, 0, sizeof *c);
}

void lmb_program_destroy(lmb_program *p)
{
    if (!p)
        return;
    for (int i = 0; i < LMBI_PLANS; i++)
        drop(&p->plan[i]);
    lmb_state_layout_destroy(p->layout);
    free(p);
}

const lmb_state_layout *lmb_program_layout(const lmb_program *p) { return p->layout; }
int lmb_program_classes(const lmb_program *p) { return p->classes; }

/* Training form + loss + gradients for n rows; c->g ends with outputs "loss" and "logits". */
static lmb_status build_graph(lmb_program *p, lmbi_compiled *c, lmb_vid *wrt, lmb_vid *grad, int *n_wrt, lmb_error *err)
{
    lmb_graph *forward = NULL;
    lmb_status st;

    LMB_TRY(lmb_pass_train_form(p->model, c->n, &forward, err));
    st = lmb_model_rows(forward, c->n, err);
    if (st == LMB_OK)
        st = check_dropouts(forward, c->n, err);
    if (st != LMB_OK) {
        lmb_graph_destroy(forward);
        return st;
    }
    lmb_builder b = lmb_builder_of(forward, err);
    c->x = lmb_graph_input(forward, 0);
    c->logits = forward->output[0].value;
    c->y = lmb_emit_value(&b, LMB_ROLE_INPUT, "labels", LMB_S64, LMB_SHAPE(c->n), NULL);
    c->loss = p->loss.build(p->loss.ctx, &b, c->x, c->logits, c->y);
    c->scale = LMB_NONE;
    if (p->scale != 1 && lmb_builder_status(&b) == LMB_OK)
        c->scale = lmb_emit_value(&b, LMB_ROLE_INPUT, "loss_scale", LMB_F32,
                                  lmb_builder_value(&b, c->loss)->shape, NULL);
    forward->n_outputs = 0; /* only what training reads */
    lmb_emit_output(&b, "loss", c->loss);
    lmb_emit_output(&b, "logits", c->logits);
    st = lmb_builder_status(&b);
    *n_wrt = 0;
    for (int v = 0; v < forward->n_values && st == LMB_OK; v++)
        if (forward->value[v].role == LMB_ROLE_PARAMETER && !forward->value[v].frozen)
            wrt[(*n_wrt)++] = v;
    if (st == LMB_OK)
        st = lmb_autodiff_from(forward, &c->loss, &c->scale, 1, wrt, *n_wrt, &c->g, grad, err);
    c->feed = st == LMB_OK && p->loss.feed ? lmb_graph_find(c->g, LMB_LOSS_FEED) : LMB_NONE;
    lmb_graph_destroy(forward);
    return st;
}

/* Is the gradient v = scale a' b, large, and are both computed by the graph? Whatever the number of rows: all shards
 * must agree. */
static bool is_product(const lmb_graph *g, lmb_vid v, lmbi_compiled *c, int segment)
{
    const lmb_node *n = g->value[v].node == LMB_NONE ? NULL : &g->node[g->value[v].node];

    if (!n || strcmp(n->op->name, "Gemm") != 0 || (n->n_in > 2 && n->in[2] != LMB_NONE))
        return false;
    const lmb_gemm_attr *t = n->attr;
    const lmb_value *a = &g->value[n->in[0]], *b = &g->value[n->in[1]];
    if (!t->transA || t->transB || a->dtype != LMB_F32 || a->role != LMB_ROLE_ACTIVATION ||
        b->role != LMB_ROLE_ACTIVATION || lmb_shape_count(&g->value[v].shape) < FEWEST_NUMBERS)
        return false;
    c->product[segment].a = n->in[0];
    c->product[segment].b = n->in[1];
    c->product[segment].scale = t->alpha;
    return true;
}

static int segment_of(const lmb_program *p, const lmbi_compiled *c, lmb_vid v)
{
    for (int i = 0; i < p->layout->n; i++)
        if (lmb_graph_find(c->g, p->layout->segment[i].name) == v)
            return i;
    return -1;
}

/* Outputs of the plan that land in the flat vector: gradients here; next content is one by itself. */
static lmb_status add_outputs(const lmb_program *p, lmbi_compiled *c, const lmb_vid *wrt, const lmb_vid *grad,
                              int n_wrt, lmb_error *err)
{
    char name[32];
    for (int i = 0; i < n_wrt; i++) {
        if (grad[i] == LMB_NONE)
            continue;
        int k = c->keep ? segment_of(p, c, wrt[i]) : -1;
        bool product = k >= 0 && is_product(c->g, grad[i], c, k);
        snprintf(name, sizeof name, "gradient%d", i);
        LMB_TRY(lmb_graph_output_add(c->g, name, product ? c->product[k].a : grad[i], err));
        snprintf(name, sizeof name, "factor%d", i);
        if (product)
            LMB_TRY(lmb_graph_output_add(c->g, name, c->product[k].b, err));
    }
    return LMB_OK;
}

/* Which value of the graph fills which segment. */
static void find_results(const lmb_program *p, lmbi_compiled *c, const lmb_vid *wrt, const lmb_vid *grad, int n_wrt)
{
    for (int i = 0; i < p->layout->n; i++) {
        lmb_vid v = c->source[i] = lmb_graph_find(c->g, p->layout->segment[i].name);
        c->result[i] = v == LMB_NONE ? LMB_NONE : c->g->value[v].next;
        for (int k = 0; k < n_wrt && v != LMB_NONE; k++)
            if (wrt[k] == v)
                c->result[i] = c->product[i].a == LMB_NONE ? grad[k] : LMB_NONE;
    }
}

static void on_step(void *ctx, int step)
{
    lmbi_compiled *c = ctx;
    int first = c->first;

    while (first > 0 && c->ready[first - 1] <= step)
        first--;
    if (c->final && first < c->first)
        c->final(c->final_ctx, first);
    c->first = first;
}

/* Fast if that fits, else small. */
static lmb_status fit(const lmb_program *p, lmbi_compiled *c, lmb_error *err)
{
    lmb_plan_options o = { .backends = p->backends, .update_state = true, .frozen_exact = true, .choices = p->choices,
                           .no_memory = p->no_memory,
                           .max_bytes = p->memory == SIZE_MAX ? 0 : p->memory, .small_memory = p->memory == 0 };
    lmb_error local = LMB_ERROR_INIT;

    lmb_status st = lmb_plan_compile(c->g, &o, &c->plan, o.max_bytes ? &local : err);
    if (st == LMB_OK || !o.max_bytes)
        return st;
    if (st != LMB_E_NOMEM)
        return LMB_FAIL(err, st, "%s", local.msg);
    o.small_memory = true;
    return lmb_plan_compile(c->g, &o, &c->plan, err);
}

static lmb_status compile(lmb_program *p, lmbi_compiled *c, lmb_error *err)
{
    size_t n = (size_t)p->layout->n + 1;
    lmb_vid *wrt = malloc(sizeof *wrt * n), *grad = malloc(sizeof *grad * n);
    int n_wrt;
    lmb_status st = LMB_OK;

    c->source = malloc(sizeof *c->source * n);
    c->result = malloc(sizeof *c->result * n);
    c->ready = malloc(sizeof *c->ready * n);
    c->product = malloc(sizeof *c->product * n);
    for (size_t i = 0; c->product && i < n; i++)
        c->product[i].a = c->product[i].b = LMB_NONE;
    if (!wrt || !grad || !c->source || !c->result || !c->ready || !c->product)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to compile a program");
    if (st == LMB_OK)
        st = build_graph(p, c, wrt, grad, &n_wrt, err);
    if (st == LMB_OK)
        st = add_outputs(p, c, wrt, grad, n_wrt, err);
    if (st == LMB_OK)
        st = fit(p, c, err);
    if (st == LMB_OK) {
        find_results(p, c, wrt, grad, n_wrt);
        for (int i = p->layout->n - 1, latest = -1; i >= 0; i--) {
            int ready = c->result[i] == LMB_NONE ? -1 : lmb_plan_ready(c->plan, c->result[i]);
            for (int k = 0; k < 2 && c->product[i].a != LMB_NONE; k++) {
                int part = lmb_plan_ready(c->plan, k ? c->product[i].b : c->product[i].a);
                ready = part > ready ? part : ready;
            }
            c->ready[i] = latest = ready > latest ? ready : latest;
        }
        lmb_plan_on_step(c->plan, on_step, c);
    }
    free(wrt);
    free(grad);
    return st;
}

/* A free place, or the one that was left alone for longest; compiled plans know where they are and do not move. */
static lmbi_compiled *place_for(lmb_program *p)
{
    lmbi_compiled *oldest = &p->plan[0];

    for (int i = 1; i < LMBI_PLANS; i++)
        if (p->plan[i].used < oldest->used)
            oldest = &p->plan[i];
    drop(oldest);
    return oldest;
}

lmb_status lmbi_program_plan_for(lmb_program *p, int64_t n, bool keep, lmbi_compiled **out, lmb_error *err)
{
    p->clock++;
    for (int i = 0; i < LMBI_PLANS; i++)
        if (p->plan[i].used && p->plan[i].n == n && p->plan[i].keep == keep) {
            p->plan[i].used = p->clock;
            *out = &p->plan[i];
            return LMB_OK;
        }
    lmbi_compiled *c = place_for(p);
    c->n = n;
    c->keep = keep;
    c->used = p->clock;
    double from = lmb_trace_now(p->trace);
    lmb_status st = compile(p, c, err);
    lmb_trace_span(p->trace, p->lane, "compile", "compile the plan", NULL, from);
    if (st != LMB_OK) {
        drop(c);
        return st;
    }
    lmb_plan_trace(c->plan, p->trace, p->lane);
    *out = c;
    return LMB_OK;
}

void lmb_program_memory(lmb_program *p, size_t bytes) { p->memory = bytes; }
void lmb_program_loss_scale(lmb_program *p, float scale) { p->scale = scale; }
void lmb_program_describe_only(lmb_program *p) { p->no_memory = true; }
void lmb_program_choices(lmb_program *p, lmb_choices *choices) { p->choices = choices; }

void lmb_program_trace(lmb_program *p, lmb_trace *t, int lane)
{
    p->trace = t;
    p->lane = lane;
    for (int i = 0; i < LMBI_PLANS; i++)
        if (p->plan[i].used)
            lmb_plan_trace(p->plan[i].plan, t, lane);
}

lmb_status lmb_program_plan(lmb_program *p, int64_t n, bool factors, const lmb_plan **out, lmb_error *err)
{
    lmbi_compiled *c;
    LMB_TRY(lmbi_program_plan_for(p, n, factors, &c, err));
    *out = c->plan;
    return LMB_OK;
}

static size_t floats(const lmb_shape *s) { return (sizeof(float) * (size_t)lmb_shape_count(s) + 63) / 64 * 64 + 64; }

/* Memory for what a gradient is a product of, for the most rows that have come. Bound anew each time: plans of other
 * numbers of rows, and other threads' programs, share it. */
static lmb_status bind_factors(lmbi_compiled *c, int segment, lmb_factors *f, lmb_error *err)
{
    f->rows = 0;
    if (c->product[segment].a == LMB_NONE)
        return LMB_OK;
    const lmb_shape *a = &c->g->value[c->product[segment].a].shape, *b = &c->g->value[c->product[segment].b].shape;

    if (a->d[0] > f->room) {
        free(f->a);
        free(f->b);
        *f = (lmb_factors){ .a = aligned_alloc(64, floats(a)), .b = aligned_alloc(64, floats(b)), .room = a->d[0] };
        if (!f->a || !f->b)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld samples' parts of a gradient", (long long)a->d[0]);
    }
    f->rows = a->d[0];
    f->m = a->d[1];
    f->n = b->d[1];
    f->scale = c->product[segment].scale;
    LMB_TRY(lmb_plan_bind(c->plan, c->product[segment].a, f->a, err));
    return lmb_plan_bind(c->plan, c->product[segment].b, f->b, err);
}

void lmb_program_free_factors(lmb_factors *f, int n)
{
    for (int i = 0; f && i < n; i++) {
        free(f[i].a);
        free(f[i].b);
    }
    free(f);
}

/* Bind state and results, again only when the caller's vectors have moved. */
static lmb_status bind(lmb_program *p, lmbi_compiled *c, const lmb_program_step *s, lmb_error *err)
{
    for (int i = 0; s->factors && i < p->layout->n; i++)
        LMB_TRY(bind_factors(c, i, &s->factors[i], err));
    if (c->state == s->state && c->out == s->out)
        return LMB_OK;
    for (int i = 0; i < p->layout->n; i++) {
        const lmb_segment *seg = &p->layout->segment[i];
        if (c->source[i] != LMB_NONE)
            LMB_TRY(lmb_plan_bind(c->plan, c->source[i], (float *)s->state + seg->offset, err));
        if (c->result[i] != LMB_NONE)
            LMB_TRY(lmb_plan_bind(c->plan, c->result[i], s->out + seg->offset, err));
        else if (c->product[i].a == LMB_NONE)
            memset(s->out + seg->offset, 0, sizeof *s->out * seg->count);
    }
    c->state = s->state;
    c->out = s->out;
    return LMB_OK;
}

lmb_status lmb_program_run(lmb_program *p, lmb_program_step *s, lmb_error *err)
{
    lmbi_compiled *c;

    LMB_TRY(lmbi_program_plan_for(p, s->n, s->factors != NULL, &c, err));
    LMB_TRY(bind(p, c, s, err));
    LMB_TRY(lmb_plan_bind(c->plan, c->x, (void *)s->x, err));
    LMB_TRY(lmb_plan_bind(c->plan, c->y, (void *)s->y, err));
    if (c->feed != LMB_NONE)
        LMB_TRY(p->loss.feed(p->loss.ctx, s->info, &s->place, s->n, lmb_plan_data(c->plan, c->feed), err));
    if (c->scale != LMB_NONE)
        *(float *)lmb_plan_data(c->plan, c->scale) = p->scale;
    c->final = s->final;
    c->final_ctx = s->ctx;
    c->first = p->layout->n;
    lmb_status st = lmb_plan_run(c->plan, s->info, err);
    c->final = NULL;
    LMB_TRY(st);
    s->loss = *(const float *)lmb_plan_data(c->plan, c->loss);
    const float *logits = lmb_plan_data(c->plan, c->logits);
    s->correct = 0;
    for (int64_t i = 0; i < s->n; i++)
        s->correct += lmb_argmax(logits + i * p->classes, p->classes) == s->y[i];
    return LMB_OK;
}
