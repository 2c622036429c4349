/* core/ops/kl_divergence.c - how far a student's softened prediction is from its teacher's.
 *
 *   KLDivergence      student, teacher logits [N, K], attribute temperature T
 *                     -> scalar, mean over rows of sum_k p_k (log p_k - log q_k),
 *                        p = softmax(teacher / T), q = softmax(student / T); without the factor T^2
 *   KLDivergenceGrad  dloss, student, teacher -> dstudent = dloss (q - p) / (T N)
 *   The teacher is data: no gradient flows to it.
 *   source   Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2; f32, sums in double
 */
#include <math.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"

static const lmb_attr_row rows[] = { LMB_A_REAL(lmb_kl_attr, temperature, 1.0f), LMB_A_END };

static lmb_status check(const lmb_call *c, int student, lmb_error *err)
{
    float t = ((const lmb_kl_attr *)c->attr)->temperature;

    for (int i = 0; i < c->n_in; i++)
        LMB_TRY(lmbi_want(c, i, LMB_F32, "operand", err));
    if (c->in[student].shape.n != 2 || !lmb_shape_equal(&c->in[student].shape, &c->in[student + 1].shape)) {
        char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
        return LMB_FAIL(err, LMB_E_SHAPE, "student logits %s and teacher logits %s; both must be one [N, K]",
                        lmb_shape_text(&c->in[student].shape, a, sizeof a),
                        lmb_shape_text(&c->in[student + 1].shape, b, sizeof b));
    }
    if (!(t > 0) || isinf(t))
        return LMB_FAIL(err, LMB_E_ARG, "temperature %g; it must be finite and above 0", (double)t);
    return LMB_OK;
}

static lmb_status kl_infer(const lmb_call *c, lmb_error *err)
{
    LMB_TRY(check(c, 0, err));
    c->out[0].dtype = LMB_F32;
    c->out[0].shape = (lmb_shape){ 0 };
    return LMB_OK;
}

static lmb_status kl_run(const lmb_run *r, lmb_error *err)
{
    int64_t rows_n = r->in[0].shape.d[0], k = r->in[0].shape.d[1];
    double t = ((const lmb_kl_attr *)r->attr)->temperature, total = 0;

    (void)err;
    for (int64_t n = 0; n < rows_n; n++) {
        const float *s = (const float *)r->in[0].data + n * k, *p = (const float *)r->in[1].data + n * k;
        double ls = lmbi_log_sum_exp(s, k, -1, t), lp = lmbi_log_sum_exp(p, k, -1, t);
        for (int64_t i = 0; i < k; i++) {
            double log_p = p[i] / t - lp;
            total += exp(log_p) * (log_p - (s[i] / t - ls));
        }
    }
    *(float *)r->out[0].data = rows_n ? (float)(total / (double)rows_n) : 0;
    return LMB_OK;
}

static lmb_status kl_grad(lmb_grad *g, lmb_error *err)
{
    if (g->wanted[1])
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a gradient for the teacher's logits of %s", g->node->name);
    g->din[0] = lmb_emit(g->b, "KLDivergenceGrad", NULL, LMB_IN(g->dout[0], g->node->in[0], g->node->in[1]),
                         LMB_ATTRS(LMB_AREAL("temperature", ((const lmb_kl_attr *)g->node->attr)->temperature)));
    return LMB_OK;
}

static void cost(const lmb_call *c, lmb_cost *out) { out->flops = 8.0 * (double)lmb_shape_count(&c->in[1].shape); }

const lmb_op lmb_op_kl_divergence = {
    .name = "KLDivergence", .domain = "limbeck", .summary = "mean KL(softmax(teacher/T) || softmax(student/T))",
    .source = "arXiv:1503.02531, section 2", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_kl_attr), .attrs = rows, .infer = kl_infer, .grad = kl_grad, .cost = cost, .run = kl_run,
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
    int64_t rows_n = r->in[1].shape.d[0], k = r->in[1].shape.d[1];
    double t = ((const lmb_kl_attr *)r->attr)->temperature, f = *(const float *)r->in[0].data / (t * (double)rows_n);

    (void)err;
    for (int64_t n = 0; n < rows_n; n++) {
        const float *s = (const float *)r->in[1].data + n * k, *p = (const float *)r->in[2].data + n * k;
        float *d = (float *)r->out[0].data + n * k;
        double ls = lmbi_log_sum_exp(s, k, -1, t), lp = lmbi_log_sum_exp(p, k, -1, t);
        for (int64_t i = 0; i < k; i++)
            d[i] = (float)(f * (exp(s[i] / t - ls) - exp(p[i] / t - lp)));
    }
    return LMB_OK;
}

const lmb_op lmb_op_kl_divergence_grad = {
    .name = "KLDivergenceGrad", .domain = "limbeck", .summary = "gradient of KLDivergence for the student",
    .source = "arXiv:1503.02531, section 2.1", .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1,
    .attr_size = sizeof(lmb_kl_attr), .attrs = rows, .infer = grad_infer, .cost = cost, .run = grad_run,
};
