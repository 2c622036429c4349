/* train/program.c - see program.h. */
#include "train/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/autodiff.h"
#include "core/passes/rewrite.h"
#include "train/metrics.h"

enum { MAX_PLANS = 4 };

typedef struct compiled {
    int64_t n;
    lmb_graph *g;
    lmb_plan *plan;
    lmb_vid x, y, loss, logits;
    const float *state;
    float *out;
} compiled;

struct lmb_program {
    const lmb_graph *model;
    lmb_loss loss;
    const lmb_backend *const *backends;
    lmb_state_layout *layout;
    int classes;
    compiled plan[MAX_PLANS];
    int n_plans;
};

/* The number of classes, if the model is one we can train: one input, first output [N, K] f32. */
static lmb_status check_model(const lmb_graph *g, int *classes, lmb_error *err)
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

lmb_status lmb_program_create(const lmb_graph *model, const lmb_loss *loss, const lmb_backend *const *backends,
                              lmb_program **out, lmb_error *err)
{
    int classes = 0;
    LMB_TRY(check_model(model, &classes, err));
    lmb_program *p = calloc(1, sizeof *p);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a program");
    p->model = model;
    p->loss = *loss;
    p->backends = backends;
    p->classes = classes;
    lmb_status st = lmb_state_layout_create(model, &p->layout, err);
    if (st != LMB_OK) {
        free(p);
        return st;
    }
    *out = p;
    return LMB_OK;
}

static void drop(compiled *c)
{
    lmb_plan_destroy(c->plan);
    lmb_graph_destroy(c->g);
    memset(c, 0, sizeof *c);
}

void lmb_program_destroy(lmb_program *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_plans; i++)
        drop(&p->plan[i]);
    lmb_state_layout_destroy(p->layout);
    free(p);
}

const lmb_state_layout *lmb_program_layout(const lmb_program *p) { return p->layout; }
int lmb_program_classes(const lmb_program *p) { return p->classes; }

/* Training form + loss + gradients for n rows; c->g ends with outputs "loss" and "logits". */
static lmb_status build_graph(lmb_program *p, compiled *c, lmb_vid *wrt, lmb_vid *grad, int *n_wrt, lmb_error *err)
{
    lmb_graph *forward = NULL;
    lmb_status st;

    LMB_TRY(lmb_pass_train_form(p->model, c->n, &forward, err));
    lmb_builder b = lmb_builder_of(forward, err);
    c->x = lmb_graph_input(forward, 0);
    c->logits = forward->output[0].value;
    c->y = lmb_emit_value(&b, LMB_ROLE_INPUT, "labels", LMB_S64, LMB_SHAPE(c->n), NULL);
    c->loss = p->loss.build(p->loss.ctx, &b, c->x, c->logits, c->y);
    forward->n_outputs = 0; /* only what training reads */
    lmb_emit_output(&b, "loss", c->loss);
    lmb_emit_output(&b, "logits", c->logits);
    st = lmb_builder_status(&b);
    *n_wrt = 0;
    for (int v = 0; v < forward->n_values && st == LMB_OK; v++)
        if (forward->value[v].role == LMB_ROLE_PARAMETER && !forward->value[v].frozen)
            wrt[(*n_wrt)++] = v;
    if (st == LMB_OK)
        st = lmb_autodiff(forward, c->loss, wrt, *n_wrt, &c->g, grad, err);
    lmb_graph_destroy(forward);
    return st;
}

/* Outputs of the plan that land in the flat vector: gradients, and next content. */
static lmb_status add_outputs(compiled *c, const lmb_vid *grad, int n_wrt, lmb_error *err)
{
    char name[32];
    for (int i = 0; i < n_wrt; i++) {
        if (grad[i] == LMB_NONE)
            continue;
        snprintf(name, sizeof name, "gradient%d", i);
        LMB_TRY(lmb_graph_output_add(c->g, name, grad[i], err));
    }
    return LMB_OK;
}

typedef struct sources { lmb_vid *wrt, *grad; int n; } sources;

static lmb_status compile(lmb_program *p, compiled *c, lmb_error *err)
{
    sources s = { malloc(sizeof(lmb_vid) * ((size_t)p->layout->n + 1)), malloc(sizeof(lmb_vid) * ((size_t)p->layout->n + 1)), 0 };
    lmb_plan_options o = { .backends = p->backends, .update_state = true };
    lmb_status st = s.wrt && s.grad ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compile a program");

    if (st == LMB_OK)
        st = build_graph(p, c, s.wrt, s.grad, &s.n, err);
    if (st == LMB_OK)
        st = add_outputs(c, s.grad, s.n, err);
    if (st == LMB_OK)
        st = lmb_plan_compile(c->g, &o, &c->plan, err);
    free(s.wrt);
    free(s.grad);
    return st;
}

static lmb_status plan_for(lmb_program *p, int64_t n, compiled **out, lmb_error *err)
{
    for (int i = 0; i < p->n_plans; i++)
        if (p->plan[i].n == n) {
            *out = &p->plan[i];
            return LMB_OK;
        }
    if (p->n_plans == MAX_PLANS) /* keep the first, usual size */
        drop(&p->plan[--p->n_plans]);
    compiled *c = &p->plan[p->n_plans];
    memset(c, 0, sizeof *c);
    c->n = n;
    lmb_status st = compile(p, c, err);
    if (st != LMB_OK) {
        drop(c);
        return st;
    }
    p->n_plans++;
    *out = c;
    return LMB_OK;
}

lmb_status lmb_program_plan(lmb_program *p, int64_t n, const lmb_plan **out, lmb_error *err)
{
    compiled *c;
    LMB_TRY(plan_for(p, n, &c, err));
    *out = c->plan;
    return LMB_OK;
}

/* Bind state and results; done again only when the caller's vectors have moved. */
static lmb_status bind(lmb_program *p, compiled *c, const lmb_program_step *s, lmb_error *err)
{
    if (c->state == s->state && c->out == s->out)
        return LMB_OK;
    memset(s->out, 0, sizeof *s->out * p->layout->count);
    for (int i = 0; i < p->layout->n; i++) {
        const lmb_segment *seg = &p->layout->segment[i];
        lmb_vid v = lmb_graph_find(c->g, seg->name);
        if (v == LMB_NONE)
            continue;
        LMB_TRY(lmb_plan_bind(c->plan, v, (float *)s->state + seg->offset, err));
        lmb_vid from = c->g->value[v].next;
        char name[32];
        if (seg->role == LMB_ROLE_PARAMETER && !seg->frozen) {
            int k = 0;
            for (int j = 0; j < i; j++)
                k += p->layout->segment[j].role == LMB_ROLE_PARAMETER && !p->layout->segment[j].frozen;
            snprintf(name, sizeof name, "gradient%d", k);
            from = lmb_graph_find_output(c->g, name);
        }
        if (from != LMB_NONE)
            LMB_TRY(lmb_plan_bind(c->plan, from, s->out + seg->offset, err));
    }
    c->state = s->state;
    c->out = s->out;
    return LMB_OK;
}

lmb_status lmb_program_run(lmb_program *p, lmb_program_step *s, lmb_error *err)
{
    compiled *c;

    LMB_TRY(plan_for(p, s->n, &c, err));
    LMB_TRY(bind(p, c, s, err));
    LMB_TRY(lmb_plan_bind(c->plan, c->x, (void *)s->x, err));
    LMB_TRY(lmb_plan_bind(c->plan, c->y, (void *)s->y, err));
    LMB_TRY(lmb_plan_run(c->plan, s->info, err));
    s->loss = *(const float *)lmb_plan_data(c->plan, c->loss);
    const float *logits = lmb_plan_data(c->plan, c->logits);
    s->correct = 0;
    for (int64_t i = 0; i < s->n; i++)
        s->correct += lmb_argmax(logits + i * p->classes, p->classes) == s->y[i];
    return LMB_OK;
}

/* ---- inference ---- */

struct lmb_predictor {
    lmb_graph *g;
    lmb_plan *plan;
    lmb_state_layout *layout;
    int64_t batch, numbers;
    int classes;
    float *x;
};

void lmb_predictor_destroy(lmb_predictor *p)
{
    if (!p)
        return;
    lmb_plan_destroy(p->plan);
    lmb_state_layout_destroy(p->layout);
    lmb_graph_destroy(p->g);
    free(p->x);
    free(p);
}

lmb_status lmb_predictor_create(const lmb_graph *model, const lmb_backend *const *backends, int64_t batch,
                                lmb_predictor **out, lmb_error *err)
{
    lmb_plan_options o = { .backends = backends };
    int classes = 0;
    LMB_TRY(check_model(model, &classes, err));
    lmb_predictor *p = calloc(1, sizeof *p);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a predictor");
    p->batch = batch;
    p->classes = classes;
    lmb_status st = lmb_pass_rebatch(model, batch, &p->g, err);
    if (st == LMB_OK)
        st = lmb_state_layout_create(p->g, &p->layout, err);
    if (st == LMB_OK)
        st = lmb_plan_compile(p->g, &o, &p->plan, err);
    if (st == LMB_OK) {
        p->numbers = lmb_shape_count(&p->g->value[lmb_graph_input(p->g, 0)].shape);
        p->x = calloc((size_t)p->numbers + 1, sizeof *p->x);
        if (!p->x)
            st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a batch of %lld", (long long)batch);
    }
    if (st == LMB_OK)
        st = lmb_plan_bind(p->plan, lmb_graph_input(p->g, 0), p->x, err);
    if (st != LMB_OK) {
        lmb_predictor_destroy(p);
        return st;
    }
    *out = p;
    return LMB_OK;
}

lmb_status lmb_predictor_run(lmb_predictor *p, const float *state, const float *x, int64_t n, const float **logits,
                             lmb_error *err)
{
    if (state)
        LMB_TRY(lmb_plan_bind_state(p->plan, p->layout, (float *)state, err));
    memcpy(p->x, x, sizeof *x * (size_t)(n * (p->numbers / p->batch)));
    LMB_TRY(lmb_plan_run(p->plan, NULL, err));
    *logits = lmb_plan_data(p->plan, p->g->output[0].value);
    return LMB_OK;
}

int lmb_predictor_classes(const lmb_predictor *p) { return p->classes; }
