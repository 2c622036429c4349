/* core/check/check.c - see check.h.
 *
 * The outputs of the case are projected on fixed random vectors, sum_i r_i y_i, which is the scalar that is
 * differentiated: one backward pass gives all gradients, two forward passes each finite difference.
 */
#include "core/check/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bf16.h"
#include "core/graph/autodiff.h"

/* Roundings of a backend that may add up in one result, beside those of its inputs, which are rounded for the reference
 * too. */
enum { ROUNDINGS = 4 };
enum { MOST_NUMBERS = 1 << 24 };

typedef struct trial {
    const lmb_op_case *c;
    uint64_t seed;
    double rounding; /* > 0: inputs are numbers that bf16 holds exactly */
    bool magnitudes; /* they have no signs */
    lmb_graph *g;
    lmb_vid in[LMB_CASE_INPUTS], out[LMB_MAX_OUT], loss;
    int n_in, n_out;
    lmb_vid wrt[LMB_CASE_INPUTS];
    int n_wrt;
} trial;

static void fill(const lmb_case_input *x, lmb_rand r, void *data)
{
    int64_t n = lmb_shape_count(&x->shape);
    float *f = data;

    if (x->kind == LMB_CASE_SPREAD) { /* a shuffled ladder: no two values are near, none is near 0 */
        uint32_t *order = malloc(sizeof *order * (size_t)(n + 1));
        for (int64_t i = 0; order && i < n; i++)
            order[i] = (uint32_t)i;
        if (order)
            lmb_rand_shuffle(&r, order, (uint32_t)n);
        for (int64_t i = 0; order && i < n; i++)
            f[i] = ((float)order[i] - (float)n / 2 + 0.55f) * 0.1f;
        free(order);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float u = x->lo + (x->hi - x->lo) * lmb_rand_uniform(&r, (uint32_t)i);
        if (x->kind == LMB_CASE_LABELS)
            ((int64_t *)data)[i] = (int64_t)lmb_rand_below(&r, (uint32_t)i, (uint32_t)x->hi);
        else if (x->kind == LMB_CASE_BYTES)
            ((int8_t *)data)[i] = (int8_t)(int)floorf(u);
        else
            f[i] = u;
    }
}

static lmb_status add_input(trial *t, int i, lmb_builder *b)
{
    const lmb_case_input *x = &t->c->in[i];
    uint8_t flag = x->lo != 0;
    lmb_dtype type = x->kind == LMB_CASE_LABELS ? LMB_S64 : x->kind == LMB_CASE_BYTES ? (x->lo >= 0 ? LMB_U8 : LMB_S8)
                     : LMB_F32;
    void *data = calloc((size_t)lmb_shape_count(&x->shape) + 1, 8);

    if (!data)
        return LMB_FAIL(b->err, LMB_E_NOMEM, "no memory for a case");
    fill(x, lmb_rand_at(t->seed, LMB_RAND_TEST, 0, (uint64_t)i), data);
    for (int64_t k = 0, n = lmb_shape_count(&x->shape); t->rounding > 0 && type == LMB_F32 && k < n; k++)
        ((float *)data)[k] = lmb_bf16_get(lmb_bf16_of(((float *)data)[k]));
    for (int64_t k = 0, n = lmb_shape_count(&x->shape); t->magnitudes && type == LMB_F32 && k < n; k++)
        ((float *)data)[k] = fabsf(((float *)data)[k]);
    switch (x->kind) {
    case LMB_CASE_NONE: t->in[i] = LMB_NONE; break;
    case LMB_CASE_INTS: t->in[i] = lmb_emit_ints(b, x->ints.v, x->ints.n); break;
    case LMB_CASE_SCALAR: t->in[i] = lmb_emit_scalar(b, x->lo); break;
    case LMB_CASE_BOOL:
        t->in[i] = lmb_emit_value(b, LMB_ROLE_CONSTANT, "flag", LMB_BOOL, (lmb_shape){ 0 }, &flag);
        break;
    case LMB_CASE_SMOOTH:
    case LMB_CASE_SPREAD:
        t->in[i] = lmb_emit_value(b, LMB_ROLE_PARAMETER, "in", type, x->shape, data);
        t->wrt[t->n_wrt++] = t->in[i];
        break;
    default: t->in[i] = lmb_emit_value(b, LMB_ROLE_CONSTANT, "in", type, x->shape, data); break;
    }
    free(data);
    return lmb_builder_status(b);
}

/* loss = sum over f32 outputs of sum_i r_i y_i */
static void add_projection(trial *t, lmb_builder *b)
{
    t->loss = LMB_NONE;
    for (int k = 0; k < t->n_out && b->status == LMB_OK; k++) {
        const lmb_value *y = lmb_builder_value(b, t->out[k]);
        if (y->dtype != LMB_F32)
            continue;
        if (lmb_shape_count(&y->shape) > MOST_NUMBERS) {
            b->status = LMB_FAIL(b->err, LMB_E_UNSUPPORTED, "a result of %lld numbers; cases have at most %d",
                                 (long long)lmb_shape_count(&y->shape), MOST_NUMBERS);
            return;
        }
        lmb_case_input like = { .kind = LMB_CASE_FIXED, .shape = y->shape, .lo = -1, .hi = 1 };
        float *r = calloc((size_t)lmb_shape_count(&y->shape) + 1, sizeof *r);
        if (!r) {
            b->status = LMB_FAIL(b->err, LMB_E_NOMEM, "no memory for a case");
            return;
        }
        fill(&like, lmb_rand_at(t->seed, LMB_RAND_TEST, 1, (uint64_t)k), r);
        lmb_vid w = lmb_emit_value(b, LMB_ROLE_CONSTANT, "projection", LMB_F32, y->shape, r);
        free(r);
        lmb_vid dot = lmb_emit(b, "SumTo", NULL, LMB_IN(lmb_emit(b, "Mul", NULL, LMB_IN(t->out[k], w), LMB_NO_ATTRS)),
                               LMB_NO_ATTRS);
        t->loss = t->loss == LMB_NONE ? dot : lmb_emit(b, "Add", NULL, LMB_IN(t->loss, dot), LMB_NO_ATTRS);
    }
}

static lmb_status build(trial *t, lmb_error *err)
{
    const lmb_op_case *c = t->c;
    char name[32];
    int n_attr = 0;

    LMB_TRY(lmb_graph_create(&t->g, err));
    lmb_builder b = lmb_builder_of(t->g, err);
    for (int i = 0; i < LMB_CASE_INPUTS; i++)
        if (c->in[i].kind != LMB_CASE_NONE)
            t->n_in = i + 1;
    for (int i = 0; i < t->n_in; i++)
        LMB_TRY(add_input(t, i, &b));
    while (n_attr < LMB_CASE_ATTRS && c->attr[n_attr].name)
        n_attr++;
    t->n_out = c->n_out ? c->n_out : 1;
    lmb_emit_n(&b, c->op, "op", t->in, t->n_in, c->attr, n_attr, t->out, t->n_out);
    for (int k = 0; k < t->n_out; k++) {
        snprintf(name, sizeof name, "y%d", k);
        lmb_emit_output(&b, name, t->out[k]);
    }
    add_projection(t, &b);
    return lmb_builder_status(&b);
}

#define REPRO "limbeck check op %s --case %s --seed %llu"
#define REPRO_ARGS t->c->op, t->c->label, (unsigned long long)t->seed

/* Largest difference of two f32 results relative to the largest magnitude; other types must be equal. */
static lmb_status compare(const trial *t, const char *who, const char *what, const lmb_value *v, const void *got,
                          const void *want, double tolerance, lmb_error *err)
{
    int64_t n = lmb_shape_count(&v->shape), at = 0;
    double worst = 0, scale = 1e-6;

    if (v->dtype != LMB_F32) {
        if (memcmp(got, want, lmb_shape_bytes(&v->shape, v->dtype)))
            return LMB_FAIL(err, LMB_E_NUMERIC, "%s: %s differs from the reference; " REPRO, who, what, REPRO_ARGS);
        return LMB_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        double a = ((const float *)got)[i], b = ((const float *)want)[i], d = fabs(a - b);
        scale = fabs(b) > scale ? fabs(b) : scale;
        if (!(d <= worst)) {
            worst = d;
            at = i;
        }
    }
    if (worst <= tolerance * scale)
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_NUMERIC, "%s: %s[%lld] is %.9g, the reference has %.9g (largest magnitude %.3g); " REPRO,
                    who, what, (long long)at, (double)((const float *)got)[at], (double)((const float *)want)[at],
                    scale, REPRO_ARGS);
}

/* The outputs of graph g by one backend against the reference. */
static lmb_status compare_backend(const trial *t, const lmb_graph *g, const lmb_backend *const *backends,
                                  const char *who, int *checked, lmb_error *err)
{
    lmb_plan *ref = NULL, *fast = NULL;
    lmb_plan_options o = { .backends = backends };
    lmb_step_info step = { 7, 3, NULL };
    double allowed = t->c->tolerance > 0 ? t->c->tolerance : 1e-5;
    lmb_status st;

    for (int i = 0; backends[i]; i++)
        allowed = fmax(allowed, ROUNDINGS * backends[i]->rounding);
    LMB_TRY_GOTO(st, done, lmb_plan_compile(g, NULL, &ref, err));
    LMB_TRY_GOTO(st, done, lmb_plan_compile(g, &o, &fast, err));
    LMB_TRY_GOTO(st, done, lmb_plan_run(ref, &step, err));
    LMB_TRY_GOTO(st, done, lmb_plan_run(fast, &step, err));
    for (int i = 0; i < g->n_outputs; i++) {
        lmb_vid v = g->output[i].value;
        LMB_TRY_GOTO(st, done, compare(t, who, g->output[i].name, &g->value[v], lmb_plan_data(fast, v),
                                       lmb_plan_data(ref, v), allowed, err));
        ++*checked;
    }
done:
    lmb_plan_destroy(ref);
    lmb_plan_destroy(fast);
    return st;
}

static lmb_status loss_at(lmb_plan *p, lmb_vid loss, double *out, lmb_error *err)
{
    lmb_step_info step = { 7, 3, NULL };
    LMB_TRY(lmb_plan_run(p, &step, err));
    *out = *(const float *)lmb_plan_data(p, loss);
    return LMB_OK;
}

static lmb_status difference(const trial *t, lmb_plan *fwd, lmb_vid loss, float *x, int64_t i, float got, int input,
                             double scale, lmb_error *err)
{
    const float h = 0.01f, keep = *x;
    double up, down;

    *x = keep + h;
    LMB_TRY(loss_at(fwd, loss, &up, err));
    *x = keep - h;
    LMB_TRY(loss_at(fwd, loss, &down, err));
    *x = keep;
    double want = (up - down) / (2.0 * h);
    /* f32 losses of size s carry errors of about s 6e-8, which the difference blows up by 1 / (2 h) */
    double noise = 3e-5 * (fabs(up) + 1) / h * 0.1;
    if (fabs(want - got) > 0.01 * scale + noise)
        return LMB_FAIL(err, LMB_E_NUMERIC, "gradient of input %d at %lld is %.6g, finite difference %.6g; " REPRO,
                        input, (long long)i, (double)got, want, REPRO_ARGS);
    return LMB_OK;
}

/* Up to 24 elements of each input, spread evenly. */
static lmb_status check_gradients(const trial *t, const lmb_graph *g, const lmb_vid *grads, int *checked,
                                  lmb_error *err)
{
    lmb_plan *fwd = NULL, *bwd = NULL;
    lmb_state_layout *l = NULL;
    float *state = NULL;
    lmb_status st;
    lmb_step_info step = { 7, 3, NULL };
    lmb_graph *only_loss = NULL;
    lmb_vid loss = t->loss;

    LMB_TRY_GOTO(st, done, lmb_graph_copy(t->g, &only_loss, err));
    LMB_TRY_GOTO(st, done, lmb_graph_output_add(only_loss, "loss", loss, err));
    LMB_TRY_GOTO(st, done, lmb_state_layout_create(t->g, &l, err));
    state = malloc(sizeof *state * (l->count + 1));
    if (!state) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a case");
        goto done;
    }
    lmb_state_from_graph(l, t->g, state);
    LMB_TRY_GOTO(st, done, lmb_plan_compile(only_loss, NULL, &fwd, err));
    LMB_TRY_GOTO(st, done, lmb_plan_compile(g, NULL, &bwd, err));
    LMB_TRY_GOTO(st, done, lmb_plan_bind_state(fwd, l, state, err));
    LMB_TRY_GOTO(st, done, lmb_plan_run(bwd, &step, err));
    for (int k = 0; k < t->n_wrt; k++) {
        const lmb_segment *s = &l->segment[k];
        const float *d = grads[k] == LMB_NONE ? NULL : lmb_plan_data(bwd, grads[k]);
        int64_t n = (int64_t)s->count, stride = n > 24 ? n / 24 : 1;
        double scale = 1e-3;
        for (int64_t i = 0; d && i < n; i++)
            scale = fabs(d[i]) > scale ? fabs(d[i]) : scale;
        for (int64_t i = 0; i < n; i += stride)
            LMB_TRY_GOTO(st, done, difference(t, fwd, loss, state + s->offset + i, i, d ? d[i] : 0, k, scale, err));
        ++*checked;
    }
    st = LMB_OK;
done:
    lmb_plan_destroy(fwd);
    lmb_plan_destroy(bwd);
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(only_loss);
    free(state);
    return st;
}

static lmb_status check_trial(trial *t, const lmb_backend *const *backends, int *checked, lmb_error *err)
{
    lmb_vid grads[LMB_CASE_INPUTS];
    lmb_graph *with = NULL;
    lmb_status st;
    char name[32];

    LMB_TRY(build(t, err));
    for (const lmb_backend *const *b = backends; b && *b; b++) {
        const lmb_backend *one[2] = { *b, NULL };
        LMB_TRY(compare_backend(t, t->g, one, (*b)->name, checked, err));
    }
    if (t->n_wrt == 0 || t->loss == LMB_NONE || !t->g->node[t->g->value[t->out[0]].node].op->grad)
        return LMB_OK;
    LMB_TRY(lmb_autodiff(t->g, t->loss, t->wrt, t->n_wrt, &with, grads, err));
    for (int k = 0; k < t->n_wrt; k++)
        if (grads[k] != LMB_NONE) {
            snprintf(name, sizeof name, "gradient %d", k);
            LMB_TRY_GOTO(st, done, lmb_graph_output_add(with, name, grads[k], err));
        }
    LMB_TRY_GOTO(st, done, check_gradients(t, with, grads, checked, err));
    for (const lmb_backend *const *b = backends; b && *b; b++) {
        const lmb_backend *one[2] = { *b, NULL };
        LMB_TRY_GOTO(st, done, compare_backend(t, with, one, (*b)->name, checked, err));
    }
done:
    lmb_graph_destroy(with);
    return st;
}

lmb_status lmb_check_case(const lmb_op_case *c, const lmb_backend *const *backends, uint64_t seed, int *checked,
                          lmb_error *err)
{
    trial t = { .c = c, .seed = seed };
    int n = 0;
    for (const lmb_backend *const *b = backends; b && *b; b++)
        t.rounding = fmax(t.rounding, (*b)->rounding);
    lmb_status st = check_trial(&t, backends, &n, err);

    lmb_graph_destroy(t.g);
    if (checked)
        *checked = n;
    if (st != LMB_OK)
        lmb_error_context(err, "%s, case %s", c->op, c->label);
    return st;
}

lmb_status lmb_case_graph(const lmb_op_case *c, uint64_t seed, bool rounded, bool magnitudes, lmb_graph **out,
                          lmb_error *err)
{
    trial t = { .c = c, .seed = seed, .rounding = rounded, .magnitudes = magnitudes };
    lmb_status st = build(&t, err);

    if (st == LMB_OK)
        *out = t.g;
    else
        lmb_graph_destroy(t.g);
    return st;
}
