/* core/ops/decoupled_kl.c - a teacher's softened prediction in two parts: how sure it is of the label, and how it ranks
 * the rest.
 *
 *   DecoupledKL      student, teacher logits [N, K], labels [N] (s32, s64); attributes temperature T, alpha, beta
 *                    -> scalar, mean over rows of alpha TC + beta NC, without the factor T^2; p, q the teacher's and
 *                       the student's softmax of logits / T, y the label, p^ and q^ of the classes other than y alone
 *                       TC = p_y log(p_y / q_y) + (1 - p_y) log((1 - p_y) / (1 - q_y))
 *                       NC = sum over k other than y of p^_k log(p^_k / q^_k)
 *   DecoupledKLGrad  dloss, student, teacher, labels -> dstudent, dloss / (T N) times
 *                       y: alpha (q_y - p_y)     k: alpha q^_k (p_y - q_y) + beta (q^_k - p^_k)
 *   KL is TC + (1 - p_y) NC: a teacher that is sure of the label says little there of the others, however it ranks
 *   them. The teacher is data: no gradient flows to it. errors: E_ARG when a label lies outside [0, K)
 *   source   Zhao et al. 2022, arXiv:2203.08679, section 3; f32, sums in double
 */
#include <math.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"

static const lmb_attr_row rows[] = { LMB_A_REAL(lmb_decoupled_attr, temperature, 1.0f),
                                     LMB_A_REAL(lmb_decoupled_attr, alpha, 1.0f),
                                     LMB_A_REAL(lmb_decoupled_attr, beta, 1.0f), LMB_A_END };

static lmb_status check(const lmb_call *c, int student, lmb_error *err)
{
    const lmb_decoupled_attr *a = c->attr;
    const lmb_type *s = &c->in[student], *p = &c->in[student + 1], *y = &c->in[student + 2];

    for (int i = 0; i < student + 2; i++)
        LMB_TRY(lmbi_want(c, i, LMB_F32, "operand", err));
    if (y->dtype != LMB_S64 && y->dtype != LMB_S32)
        return LMB_FAIL(err, LMB_E_SHAPE, "labels have type %s; s32 or s64 are needed", lmb_dtype_name(y->dtype));
    if (s->shape.n != 2 || s->shape.d[1] < 2 || !lmb_shape_equal(&s->shape, &p->shape) || y->shape.n != 1 ||
        y->shape.d[0] != s->shape.d[0]) {
        char ts[LMB_SHAPE_TEXT], tp[LMB_SHAPE_TEXT], ty[LMB_SHAPE_TEXT];
        return LMB_FAIL(
            err, LMB_E_SHAPE,
            "student logits %s, teacher logits %s, labels %s; they must be one [N, K] of at least 2 classes, and [N]",
            lmb_shape_text(&s->shape, ts, sizeof ts), lmb_shape_text(&p->shape, tp, sizeof tp),
            lmb_shape_text(&y->shape, ty, sizeof ty));
    }
    if (!(a->temperature > 0) || isinf(a->temperature))
        return LMB_FAIL(err, LMB_E_ARG, "temperature %g; it must be finite and above 0", (double)a->temperature);
    return LMB_OK;
}

static lmb_status forward_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(check(c, 0, err));
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = (lmb_shape){ 0 };
    return LMB_OK;
}

/* One row of logits: logs of the label's share, of that of all others, and of the sum over the others. */
typedef struct split { double label, others, sum; } split;

static split split_of(const float *x, int64_t k, int64_t y, double t)
{
    double all = lmbi_log_sum_exp(x, k, -1, t), others = lmbi_log_sum_exp(x, k, y, t);
    return (split){ x[y] / t - all, others - all, others };
}

static lmb_status label_at(const lmb_tensor *labels, int64_t n, int64_t k, int64_t *y, lmb_error *err)
{
    *y = labels->dtype == LMB_S64 ? ((const int64_t *)labels->data)[n] : ((const int32_t *)labels->data)[n];
    if (*y < 0 || *y >= k)
        return LMB_FAIL(err, LMB_E_ARG, "label %lld of row %lld; the logits have %lld classes", (long long)*y,
                        (long long)n, (long long)k);
    return LMB_OK;
}

static lmb_status forward_run(const lmb_run *r, lmb_error *err)
{
    const lmb_decoupled_attr *a = r->attr;
    int64_t count = r->in[0].shape.d[0], k = r->in[0].shape.d[1], y;
    double t = a->temperature, total = 0;

    for (int64_t n = 0; n < count; n++) {
        const float *s = (const float *)r->in[0].data + n * k, *p = (const float *)r->in[1].data + n * k;
        LMB_TRY(label_at(&r->in[2], n, k, &y, err));
        split q = split_of(s, k, y, t), w = split_of(p, k, y, t);
        total += a->alpha * (exp(w.label) * (w.label - q.label) + exp(w.others) * (w.others - q.others));
        for (int64_t i = 0; i < k; i++)
            total += i != y ? a->beta * exp(p[i] / t - w.sum) * (p[i] / t - w.sum - (s[i] / t - q.sum)) : 0;
    }
    *(float *)r->out[0].data = count ? (float)(total / (double)count) : 0;
    return LMB_OK;
}

static lmb_status forward_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_decoupled_attr *a = g->node->attr;

    if (g->wanted[1])
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a gradient for the teacher's logits of %s", g->node->name);
    g->din[0] = lmb_emit(
        g->b, "DecoupledKLGrad", NULL, LMB_IN(g->dout[0], g->node->in[0], g->node->in[1], g->node->in[2]),
        LMB_ATTRS(LMB_AREAL("temperature", a->temperature), LMB_AREAL("alpha", a->alpha), LMB_AREAL("beta", a->beta)));
    return LMB_OK;
}

static void cost(const lmb_call *c, lmb_cost *out) { out->flops = 12.0 * (double)lmb_shape_count(&c->in[1].shape); }

const lmb_op lmb_op_decoupled_kl = {
    .name = "DecoupledKL",
    .domain = "limbeck",
    .summary = "divergence from a teacher: of the label's share, and among the other classes",
    .source = "arXiv:2203.08679, section 3",
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(lmb_decoupled_attr),
    .attrs = rows,
    .infer = forward_infer,
    .grad = forward_grad,
    .cost = cost,
    .run = forward_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(lmbi_want_number(c, 0, "dloss", err));
    LMB_TRY(check(c, 1, err));
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = c->in[1].shape;
    return LMB_OK;
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    const lmb_decoupled_attr *a = r->attr;
    int64_t count = r->in[1].shape.d[0], k = r->in[1].shape.d[1], y;
    double t = a->temperature, f = *(const float *)r->in[0].data / (t * (double)count);

    for (int64_t n = 0; n < count; n++) {
        const float *s = (const float *)r->in[1].data + n * k, *p = (const float *)r->in[2].data + n * k;
        float *d = (float *)r->out[0].data + n * k;
        LMB_TRY(label_at(&r->in[3], n, k, &y, err));
        split q = split_of(s, k, y, t), w = split_of(p, k, y, t);
        double surer = a->alpha * (exp(w.label) - exp(q.label));
        for (int64_t i = 0; i < k; i++) {
            double qi = exp(s[i] / t - q.sum), pi = exp(p[i] / t - w.sum);
            d[i] = (float)(f * (i == y ? -surer : qi * surer + a->beta * (qi - pi)));
        }
    }
    return LMB_OK;
}

const lmb_op lmb_op_decoupled_kl_grad = {
    .name = "DecoupledKLGrad", .domain = "limbeck", .summary = "gradient of DecoupledKL for the student",
    .source = "arXiv:2203.08679, section 3", .min_in = 4, .max_in = 4, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_decoupled_attr), .attrs = rows, .infer = grad_infer, .cost = cost, .run = grad_run,
};
