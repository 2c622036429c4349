/* core/ops/cross_entropy.c - softmax cross-entropy against integer labels.
 *
 *   SoftmaxCrossEntropyLoss   scores [N, C, d1, ...], labels [N, d1, ...] (s32, s64), weights [C] (optional)
 *                             -> loss (scalar, or [N, d1, ...] with reduction none) [, log_prob as scores]
 *     l[n] = -w[label] log softmax(scores)[label];  ignore_index: 0
 *     reduction mean divides by the sum of the weights used, sum does not
 *   SoftmaxCrossEntropyLossGrad   dloss, scores, labels, weights -> dscores
 *   errors   E_ARG when a label lies outside [0, C)
 *   source   ONNX SoftmaxCrossEntropyLoss-13; f32 (forward also f64), sums in double
 */
#include <math.h>
#include <string.h>

#include "core/ops/common.h"
#include "core/ops/cross_entropy.h"

typedef lmb_cross_entropy_attr loss_attr;
static const lmb_attr_row rows[] = {
    LMB_A_TEXT(loss_attr, reduction, "mean"), LMB_A_INT(loss_attr, ignore_index, INT64_MIN), LMB_A_END
};

static lmb_status check_labels(const lmb_call *c, int scores, int labels, int weights, lmb_error *err)
{
    const lmb_shape *s = &c->in[scores].shape, *l = &c->in[labels].shape;

    if (c->in[labels].dtype != LMB_S64 && c->in[labels].dtype != LMB_S32)
        return LMB_FAIL(err, LMB_E_SHAPE, "labels have type %s; s32 or s64 are needed",
                        lmb_dtype_name(c->in[labels].dtype));
    const char *reduction = ((const loss_attr *)c->attr)->reduction;
    if (strcmp(reduction, "mean") && strcmp(reduction, "sum") && strcmp(reduction, "none"))
        return LMB_FAIL(err, LMB_E_ARG, "reduction '%s'; it must be mean, sum or none", reduction);
    bool fits = s->n >= 2 && l->n == s->n - 1 && l->d[0] == s->d[0];
    for (int i = 1; fits && i < l->n; i++)
        fits = l->d[i] == s->d[i + 1];
    if (!fits) {
        char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
        return LMB_FAIL(err, LMB_E_SHAPE, "labels %s do not fit scores %s", lmb_shape_text(l, a, sizeof a),
                        lmb_shape_text(s, b, sizeof b));
    }
    if (c->n_in > weights && c->in[weights].present &&
        (c->in[weights].dtype != c->in[scores].dtype || c->in[weights].shape.n != 1 ||
         c->in[weights].shape.d[0] != s->d[1]))
        return LMB_FAIL(err, LMB_E_SHAPE, "weights must be [%lld] of the scores' type", (long long)s->d[1]);
    return LMB_OK;
}

static lmb_status loss_infer(const lmb_call *c, lmb_error *err)
{
    const loss_attr *a = c->attr;

    if (c->in[0].dtype != LMB_F32 && c->in[0].dtype != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "scores of %s", lmb_dtype_name(c->in[0].dtype));
    LMB_TRY(check_labels(c, 0, 1, 2, err));
    c->out[0].dtype = c->in[0].dtype;
    c->out[0].shape = strcmp(a->reduction, "none") == 0 ? c->in[1].shape : (lmb_shape){ 0 };
    if (c->n_out > 1) {
        c->out[1].dtype = c->in[0].dtype;
        c->out[1].shape = c->in[0].shape;
    }
    return LMB_OK;
}

typedef struct problem {
    const lmb_tensor *scores, *labels, *weights; /* weights NULL: all 1 */
    int64_t n, c, inner, ignore;
} problem;

static problem problem_of(const lmb_run *r, int scores)
{
    const lmb_shape *s = &r->in[scores].shape;
    problem p = { &r->in[scores], &r->in[scores + 1], NULL, s->d[0], s->d[1], 1,
                  ((const loss_attr *)r->attr)->ignore_index };
    if (r->n_in > scores + 2 && r->in[scores + 2].data)
        p.weights = &r->in[scores + 2];
    for (int i = 2; i < s->n; i++)
        p.inner *= s->d[i];
    return p;
}

static double real(const lmb_tensor *t, int64_t i)
{
    return t->dtype == LMB_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static void put(const lmb_tensor *t, int64_t i, double v)
{
    if (t->dtype == LMB_F64)
        ((double *)t->data)[i] = v;
    else
        ((float *)t->data)[i] = (float)v;
}

/* Label of row i and its weight; weight 0 when it is to be ignored. */
static lmb_status label_of(const problem *p, int64_t i, int64_t *label, double *weight, lmb_error *err)
{
    *label =
        p->labels->dtype == LMB_S64 ? ((const int64_t *)p->labels->data)[i] : ((const int32_t *)p->labels->data)[i];
    *weight = 0;
    if (*label == p->ignore)
        return LMB_OK;
    if (*label < 0 || *label >= p->c)
        return LMB_FAIL(err, LMB_E_ARG, "label %lld of row %lld; the scores have %lld classes", (long long)*label,
                        (long long)i, (long long)p->c);
    *weight = p->weights ? real(p->weights, *label) : 1.0;
    return LMB_OK;
}

/* log of the sum of exp over the classes of row i; the row starts at `base` with step p->inner. */
static double log_sum_exp(const problem *p, int64_t base)
{
    double m = -INFINITY, sum = 0;
    for (int64_t k = 0; k < p->c; k++)
        m = fmax(m, real(p->scores, base + k * p->inner));
    for (int64_t k = 0; k < p->c; k++)
        sum += exp(real(p->scores, base + k * p->inner) - m);
    return m + log(sum);
}

static int64_t row_base(const problem *p, int64_t i) { return i / p->inner * p->c * p->inner + i % p->inner; }

static lmb_status loss_run(const lmb_run *r, lmb_error *err)
{
    const char *reduction = ((const loss_attr *)r->attr)->reduction;
    problem p = problem_of(r, 0);
    double total = 0, weights = 0;

    for (int64_t i = 0; i < p.n * p.inner; i++) {
        int64_t label, base = row_base(&p, i);
        double w, lse = log_sum_exp(&p, base);
        LMB_TRY(label_of(&p, i, &label, &w, err));
        double l = w != 0 ? w * (lse - real(p.scores, base + label * p.inner)) : 0;
        total += l;
        weights += w;
        if (reduction[0] == 'n')
            put(&r->out[0], i, l);
        for (int64_t k = 0; r->n_out > 1 && r->out[1].data && k < p.c; k++)
            put(&r->out[1], base + k * p.inner, real(p.scores, base + k * p.inner) - lse);
    }
    if (reduction[0] == 'm')
        put(&r->out[0], 0, weights != 0 ? total / weights : 0);
    else if (reduction[0] == 's')
        put(&r->out[0], 0, total);
    return LMB_OK;
}

static lmb_status loss_grad(lmb_grad *g, lmb_error *err)
{
    const loss_attr *a = g->node->attr;
    const lmb_vid *in = g->node->in;
    lmb_vid operands[4] = { g->dout[0], in[0], in[1], g->node->n_in > 2 ? in[2] : LMB_NONE };

    if (g->node->n_out > 1 && g->dout[1] != LMB_NONE)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a loss that depends on log_prob of %s", g->node->name);
    if (g->dout[0] != LMB_NONE)
        g->din[0] =
            lmb_emit(g->b, "SoftmaxCrossEntropyLossGrad", NULL, operands, 4,
                     LMB_ATTRS(LMB_ATEXT("reduction", a->reduction), LMB_AINT("ignore_index", a->ignore_index)));
    return LMB_OK;
}

static void cost(const lmb_call *c, lmb_cost *out) { out->flops = 4.0 * (double)lmb_shape_count(&c->in[0].shape); }

const lmb_op lmb_op_cross_entropy = {
    .name = "SoftmaxCrossEntropyLoss", .domain = "", .summary = "-log softmax(scores)[label]",
    .source = "ONNX SoftmaxCrossEntropyLoss-13", .since = 13, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 2,
    .attr_size = sizeof(loss_attr), .attrs = rows, .infer = loss_infer, .grad = loss_grad, .cost = cost,
    .run = loss_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dloss", err));
    LMB_TRY(lmbi_want(c, 1, LMB_F32, "scores", err));
    LMB_TRY(check_labels(c, 1, 2, 3, err));
    if (strcmp(((const loss_attr *)c->attr)->reduction, "none") != 0)
        LMB_TRY(lmbi_want_number(c, 0, "dloss", err));
    else if (!lmb_shape_equal(&c->in[0].shape, &c->in[2].shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "dloss and the labels have different shapes");
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = c->in[1].shape;
    return LMB_OK;
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    const char *reduction = ((const loss_attr *)r->attr)->reduction;
    problem p = problem_of(r, 1);
    const float *dloss = r->in[0].data;
    float *dx = r->out[0].data;
    double weights = 0, w;
    int64_t label;

    for (int64_t i = 0; i < p.n * p.inner; i++) {
        LMB_TRY(label_of(&p, i, &label, &w, err));
        weights += w;
    }
    for (int64_t i = 0; i < p.n * p.inner; i++) {
        int64_t base = row_base(&p, i);
        double lse = log_sum_exp(&p, base);
        LMB_TRY(label_of(&p, i, &label, &w, err));
        double f = w * (reduction[0] == 'n' ? dloss[i] : dloss[0]);
        if (reduction[0] == 'm')
            f = weights != 0 ? f / weights : 0;
        for (int64_t k = 0; k < p.c; k++) {
            int64_t at = base + k * p.inner;
            dx[at] = (float)(f * (exp(real(p.scores, at) - lse) - (k == label)));
        }
    }
    return LMB_OK;
}

const lmb_op lmb_op_cross_entropy_grad = {
    .name = "SoftmaxCrossEntropyLossGrad", .domain = "limbeck", .summary = "softmax(scores) - one-hot(label), scaled",
    .source = "gradient of SoftmaxCrossEntropyLoss", .min_in = 3, .max_in = 4, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(loss_attr), .attrs = rows, .infer = grad_infer, .cost = cost, .run = grad_run,
};
