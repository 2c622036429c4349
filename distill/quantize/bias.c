/* distill/quantize/bias.c - see bias.h. */
#include "distill/quantize/bias.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/conv.h"
#include "core/ops/gemm.h"
#include "core/ops/quantize.h"
#include "core/passes/rewrite.h"
#include "distill/quantize/calibrate.h"
#include "distill/quantize/steps.h"

typedef struct means {
    lmb_graph *g;
    lmb_vid *point;
    int *node;
    int n;
    int64_t widest;
} means; /* node: of qat, for each point */

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* ---- layers without a bias ---- */

static bool lacks_bias(const lmb_graph *g, const lmb_node *n)
{
    if ((!is(n, "Conv") && !is(n, "Gemm")) || (n->n_in > 2 && n->in[2] != LMB_NONE) ||
        g->value[n->in[1]].role != LMB_ROLE_PARAMETER)
        return false;
    const lmb_gemm_attr *a = is(n, "Gemm") ? n->attr : NULL;
    return !a || (a->transB && a->beta == 1);
}

static lmb_status bias_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    if (!lacks_bias(r->old, n))
        return LMB_OK;
    const lmb_value *w = &r->old->value[n->in[1]];
    lmb_node like = *n;
    char name[200];

    snprintf(name, sizeof name, "%.180s.bias", w->name);
    lmb_vid operand[3] = {
        in[0], in[1], lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, name, LMB_F32, LMB_SHAPE(w->shape.d[0]), NULL)
    };
    like.n_in = 3;
    LMB_TRY(lmb_builder_status(&r->b));
    r->b.g->value[operand[2]].decay = 0;
    *done = true;
    return lmb_graph_node_like(r->b.g, &like, operand, out, err);
}

lmb_status lmb_pass_zero_bias(const lmb_graph *folded, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = bias_node };
    return lmb_rewrite_run(&r, folded, out, NULL, err);
}

/* ---- the mean of each channel ---- */

/* Memory of a point: how many samples, then a sum for each channel of the mean over its pixels. */
static void see(void *ctx, int k, void *memory, const float *x, const lmb_shape *shape, int64_t n)
{
    int64_t channels = shape->d[1], pixels = lmb_shape_count(shape) / (shape->d[0] * channels);
    double *sum = memory;

    (void)ctx, (void)k;
    sum[0] = (double)n;
    for (int64_t i = 0; i < n * channels; i++) {
        double s = 0;
        for (int64_t p = 0; p < pixels; p++)
            s += x[i * pixels + p];
        sum[1 + i % channels] += s / (double)pixels;
    }
}

static void merge(void *ctx, int k, void *into, const void *batch)
{
    const means *m = ctx;
    int64_t channels = m->g->value[m->point[k]].shape.d[1];

    for (int64_t i = 0; i <= channels; i++)
        ((double *)into)[i] += ((const double *)batch)[i];
}

/* ---- what is corrected ---- */

/* A layer of qat with a stored bias and weights that are rounded; its FakeQuant. */
static const lmb_node *rounded(const lmb_graph *qat, const lmb_node *n)
{
    if ((!is(n, "Conv") && !is(n, "Gemm")) || n->n_in < 3 || n->in[2] == LMB_NONE ||
        qat->value[n->in[2]].role != LMB_ROLE_PARAMETER)
        return NULL;
    const lmb_shape *w = &qat->value[n->in[1]].shape;
    int fake = qat->value[n->in[1]].node;
    if (w->n < 2 || w->d[0] != lmb_shape_count(&qat->value[n->in[2]].shape))
        return NULL;
    if (fake == LMB_NONE || !is(&qat->node[fake], "FakeQuant"))
        return NULL;
    int scale = qat->value[qat->node[fake].in[1]].node;
    return scale != LMB_NONE && is(&qat->node[scale], "WeightScale") && qat->value[qat->node[fake].in[0]].data
               ? &qat->node[fake]
               : NULL;
}

/* The layer of the float graph with the same weights: what it reads. */
static lmb_vid input_of(const lmb_graph *g, const char *weight)
{
    for (int i = 0; i < g->n_nodes; i++)
        if ((is(&g->node[i], "Conv") || is(&g->node[i], "Gemm")) &&
            strcmp(g->value[g->node[i].in[1]].name, weight) == 0)
            return g->node[i].in[0];
    return LMB_NONE;
}

static lmb_status find_points(means *m, const lmb_graph *qat, lmb_error *err)
{
    m->point = malloc(sizeof *m->point * ((size_t)qat->n_nodes + 1));
    m->node = malloc(sizeof *m->node * ((size_t)qat->n_nodes + 1));
    if (!m->point || !m->node)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to correct biases");
    for (int i = 0; i < qat->n_nodes; i++) {
        const lmb_node *fake = rounded(qat, &qat->node[i]);
        lmb_vid x = fake ? input_of(m->g, qat->value[fake->in[0]].name) : LMB_NONE;
        if (x == LMB_NONE || m->g->value[x].shape.n < 2)
            continue;
        m->point[m->n] = x;
        m->node[m->n++] = i;
        m->widest = m->g->value[x].shape.d[1] > m->widest ? m->g->value[x].shape.d[1] : m->widest;
    }
    return LMB_OK;
}

/* ---- correcting ---- */

/* bias[o] -= sum over (w_q - w)[o, i] mean[i] */
static lmb_status correct(lmb_graph *qat, const lmb_node *n, const double *sum, lmb_error *err)
{
    const lmb_node *fake = rounded(qat, n);
    const lmb_fake_quant_attr *a = fake->attr;
    const lmb_shape *shape = &qat->value[fake->in[0]].shape;
    const float *w = qat->value[fake->in[0]].data;
    int64_t rows = shape->d[0], columns = shape->d[1], taps = lmb_shape_count(shape) / (rows * columns);
    int64_t groups = is(n, "Conv") ? ((const lmb_conv_attr *)n->attr)->group : 1;
    float *scale = malloc(sizeof *scale * (size_t)(rows + 1)), *bias = malloc(sizeof *bias * (size_t)(rows + 1));
    lmb_status st = scale && bias ? lmbi_weight_scale(qat, &qat->node[qat->value[fake->in[1]].node], scale, err)
                                  : LMB_FAIL(err, LMB_E_NOMEM, "no memory to correct %s", n->name);

    for (int64_t o = 0; st == LMB_OK && o < rows; o++) {
        double shift = 0;
        for (int64_t i = 0; i < columns * taps; i++) {
            float v = w[o * columns * taps + i];
            double q = fmin(fmax(rintf(v / scale[o]), (double)a->lo), (double)a->hi) * scale[o];
            shift += (q - v) * sum[1 + o / (rows / groups) * columns + i / taps] / sum[0];
        }
        bias[o] = (float)(((const float *)qat->value[n->in[2]].data)[o] - shift);
    }
    if (st == LMB_OK)
        st = lmb_graph_set_data(qat, n->in[2], bias, err);
    free(scale);
    free(bias);
    return st;
}

lmb_status lmb_correct_bias(lmb_graph *qat, const lmb_graph *folded, const lmb_ptq_config *c, const lmb_dataset *train,
                            lmb_error *err)
{
    means m = { .g = NULL };
    lmb_calibration *run = NULL;
    void *sums = NULL;
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_pass_infer_form(folded, LMB_CALIBRATION_BATCH, &m.g, err));
    LMB_TRY_GOTO(st, done, find_points(&m, qat, err));
    LMB_TRY_GOTO(st, done, lmb_calibration_create(m.g, m.point, m.n, c, train, &run, err));
    const lmb_look look = { sizeof(double) * (size_t)(m.widest + 1), see, merge, &m };
    LMB_TRY_GOTO(st, done, lmb_calibration_pass(run, &look, &sums, err));
    for (int k = 0; k < m.n && st == LMB_OK; k++)
        st = correct(qat, &qat->node[m.node[k]], lmb_calibration_at(sums, &look, k), err);
done:
    lmb_calibration_destroy(run);
    lmb_graph_destroy(m.g);
    free(m.point);
    free(m.node);
    free(sums);
    return st;
}
