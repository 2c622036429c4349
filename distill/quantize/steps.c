/* distill/quantize/steps.c - see steps.h. */
#include "distill/quantize/steps.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/attrs.h"
#include "core/ops/quantize.h"
#include "core/passes/fold.h"

static const float least = 1e-8f;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* ---- what ranges and weights say ---- */

lmb_status lmbi_range_scale(const lmb_graph *g, const lmb_node *n, float *scale, float *zero, lmb_error *err)
{
    const lmb_node *observe = &g->node[g->value[n->in[0]].node];
    lmb_tensor in[2], made[2] = { { LMB_F32, { 0 }, scale }, { LMB_F32, { 0 }, zero } };
    lmb_step_info no_step = { 0, 0, NULL };

    for (int i = 0; i < 2; i++)
        in[i] = (lmb_tensor){ LMB_F32, { 0 }, (void *)g->value[observe->in[1 + i]].data };
    if (*(float *)in[0].data > *(float *)in[1].data)
        return LMB_FAIL(err, LMB_E_ARG, "the observer %s has seen nothing; train or calibrate before freezing",
                        g->value[observe->in[1]].name);
    lmb_run run = { n->attr, 2, 2, in, made, NULL, &no_step, NULL, NULL };
    return n->op->run(&run, err);
}

lmb_status lmbi_weight_scale(const lmb_graph *g, const lmb_node *n, float *scale, lmb_error *err)
{
    const lmb_value *w = &g->value[n->in[0]];
    lmb_tensor in = { LMB_F32, w->shape, (void *)w->data }, made = { LMB_F32, g->value[n->out[0]].shape, scale };
    lmb_step_info no_step = { 0, 0, NULL };
    lmb_run run = { n->attr, 1, 1, &in, &made, NULL, &no_step, NULL, NULL };
    return n->op->run(&run, err);
}

/* ---- becoming parameters ---- */

static lmb_vid step_parameter(lmb_rewrite *r, const char *name, lmb_shape shape, const float *start)
{
    char buf[220];
    snprintf(buf, sizeof buf, "%.200s.step", name);
    lmb_vid v = lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, buf, LMB_F32, shape, start);
    if (v != LMB_NONE)
        r->b.g->value[v].decay = 0;
    return lmb_emit(&r->b, "Clip", NULL, LMB_IN(v, lmb_emit_scalar(&r->b, least)), LMB_NO_ATTRS);
}

/* 2 mean|w| / sqrt(top) of each row, at most max|w| / top, which WeightScale says. */
static lmb_status weight_steps(lmb_rewrite *r, const lmb_node *n, lmb_vid *out, lmb_error *err)
{
    const lmb_graph *g = r->old;
    const lmb_value *w = &g->value[n->in[0]];
    int reader = lmb_sole_reader(g, n->out[0]);
    int64_t k = w->shape.d[0], each = lmb_shape_count(&w->shape) / (k ? k : 1);
    double top = (double)((const lmb_weight_scale_attr *)n->attr)->top;

    if (!w->data || reader < 0)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: only stored weights can have learned steps", n->name);
    float *step = malloc(sizeof *step * (size_t)(k + 1));
    if (!step)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld steps", (long long)k);
    lmb_status st = lmbi_weight_scale(g, n, step, err);
    for (int64_t c = 0; st == LMB_OK && c < k; c++) {
        double sum = 0;
        for (int64_t i = 0; i < each; i++)
            sum += fabs((double)((const float *)w->data)[c * each + i]);
        double lsq = 2 * sum / (double)(each ? each : 1) / sqrt(top);
        step[c] = lsq > 0 && lsq < step[c] ? (float)lsq : step[c];
    }
    if (st == LMB_OK) {
        out[0] = step_parameter(r, w->name, LMB_SHAPE(k), step);
        st = lmb_builder_status(&r->b);
    }
    free(step);
    return st;
}

/* RangeToScale: a step and a zero point of the stored range. Its FakeQuant lends the name. */
static lmb_status activation_step(lmb_rewrite *r, const lmb_node *n, lmb_vid *out, lmb_error *err)
{
    int reader = lmb_sole_reader(r->old, n->out[0]);
    float scale, zero;

    LMB_TRY(lmbi_range_scale(r->old, n, &scale, &zero, err));
    out[0] = step_parameter(r, reader >= 0 ? r->old->node[reader].name : n->name, (lmb_shape){ 0 }, &scale);
    out[1] = lmb_emit_scalar(&r->b, zero);
    return lmb_builder_status(&r->b);
}

static lmb_status steps_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                             lmb_error *err)
{
    *done = true;
    if (is(n, "ObserveRange")) {
        out[0] = out[1] = LMB_NONE;
        return LMB_OK;
    }
    if (is(n, "RangeToScale"))
        return activation_step(r, n, out, err);
    if (is(n, "WeightScale"))
        return weight_steps(r, n, out, err);
    if (!is(n, "FakeQuant")) {
        *done = false;
        return LMB_OK;
    }
    const lmb_fake_quant_attr *a = n->attr;
    out[0] = lmb_emit(
        &r->b, "FakeQuant", n->name, in, n->n_in,
        LMB_ATTRS(LMB_AINT("axis", a->axis), LMB_AINT("lo", a->lo), LMB_AINT("hi", a->hi), LMB_AINT("learn", 1)));
    return lmb_builder_status(&r->b);
}

static lmb_status drop_observer(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    (void)err;
    if (r->old->value[v].role == LMB_ROLE_OBSERVER) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_steps(const lmb_graph *observed, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = steps_node, .value = drop_observer };
    return lmb_rewrite_run(&r, observed, out, NULL, err);
}

/* ---- freezing ---- */

bool lmbi_is_step(const lmb_graph *g, const lmb_node *n)
{
    int i = is(n, "Clip") && g->value[n->in[0]].role == LMB_ROLE_PARAMETER ? lmb_sole_reader(g, n->out[0]) : -1;
    return i >= 0 && is(&g->node[i], "FakeQuant") && g->node[i].in[1] == n->out[0];
}

lmb_status lmbi_freeze_step(lmb_rewrite *r, const lmb_node *n, lmb_vid *out, lmb_error *err)
{
    const lmb_value *v = &r->old->value[n->in[0]];
    int64_t k = lmb_shape_count(&v->shape);
    float *step = malloc(sizeof *step * (size_t)(k + 1));

    if (!step)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld steps", (long long)k);
    for (int64_t i = 0; i < k; i++)
        step[i] = fmaxf(((const float *)v->data)[i], least);
    out[0] = lmb_emit_value(&r->b, LMB_ROLE_CONSTANT, v->name, LMB_F32, v->shape, step);
    free(step);
    return lmb_builder_status(&r->b);
}
