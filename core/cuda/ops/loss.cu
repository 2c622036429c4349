/* core/cuda/ops/loss.cu - cross-entropy, KL divergence, whole and decoupled, and their gradients.
 *
 * Idea: a row of logits is a team's. Losses of all rows are added up by one team in a second kernel, in the order of
 * rows, so that no atomics are needed and results are the same run after run. A label that is no class makes the loss
 * NaN: a kernel has nobody to tell; the readers of data sets refuse such labels before.
 *   source   core/ops/{cross_entropy,kl_divergence,decoupled_kl}.c
 */
#include "core/cuda/ops/lines.h"
#include "core/ops/cross_entropy.h"

namespace lmb {
namespace {

/* log of the sum of exp(x / t) over a line; every lane gets it. */
template <class Team> LMB_BODY double log_sum_exp(Team team, const float *x, int n, int inner, double t)
{
    double m = -INFINITY, sum = 0;
    for (int i = team.lane(); i < n; i += team.lanes())
        m = x[i * inner] / t > m ? x[i * inner] / t : m;
    m = team.largest(m);
    for (int i = team.lane(); i < n; i += team.lanes())
        sum += exp(x[i * inner] / t - m);
    return m + log(team.sum(sum));
}

/* ---- sums of what rows left in scratch ---- */

/* loss = sum of values, divided by the sum of weights when it is a mean; both lie in scratch. */
struct total {
    const double *value, *weight; /* weight NULL: divide by `rows` when mean */
    float *loss;
    double *weights; /* where the sum of weights goes as well; NULL: nowhere */
    int rows;
    bool mean;
    template <class Team> LMB_BODY void operator()(Team t, int) const
    {
        double v = 0, w = 0;
        for (int i = t.lane(); i < rows; i += t.lanes()) {
            v += value ? value[i] : 0;
            w += weight ? weight[i] : 1;
        }
        v = t.sum(v), w = t.sum(w);
        if (t.lane() != 0)
            return;
        if (loss)
            *loss = (float)(mean ? (w != 0 ? v / w : 0) : v);
        if (weights)
            *weights = w;
    }
};

/* ---- cross-entropy ---- */

struct labels {
    const void *data;
    bool wide;
    const float *weight; /* of each class; NULL: 1 */
    int64_t ignore;
    int classes;
    LMB_BODY int64_t at(int i) const { return wide ? ((const long long *)data)[i] : ((const int *)data)[i]; }
    LMB_BODY bool good(int64_t label) const { return label >= 0 && label < classes; }
    /* 0 when it is to be ignored, NaN when it is no class */
    LMB_BODY double weight_of(int64_t label) const
    {
        return label == ignore ? 0.0 : !good(label) ? NAN : weight ? (double)weight[label] : 1.0;
    }
};

struct cross_entropy {
    const float *x;
    float *each, *log_prob; /* NULL: not wanted */
    double *value, *weight;
    labels y;
    lines l;
    template <class Team> LMB_BODY void operator()(Team t, int row) const
    {
        int base = l.base(row);
        int64_t label = y.at(row);
        double lse = log_sum_exp(t, x + base, l.n, l.inner, 1.0), w = y.weight_of(label);
        for (int i = t.lane(); log_prob && i < l.n; i += t.lanes())
            log_prob[base + i * l.inner] = (float)(x[base + i * l.inner] - lse);
        if (t.lane() != 0)
            return;
        double v = w == 0 ? 0 : y.good(label) ? w * (lse - x[base + (int)label * l.inner]) : NAN;
        if (each)
            each[row] = (float)v;
        value[row] = v, weight[row] = w;
    }
};
struct label_weight {
    double *weight;
    labels y;
    LMB_BODY void operator()(int i) const { weight[i] = y.weight_of(y.at(i)); }
};
struct cross_entropy_grad {
    const float *dloss, *x;
    float *dx;
    const double *weights; /* sum over all rows; NULL: no mean */
    bool each;
    labels y;
    lines l;
    template <class Team> LMB_BODY void operator()(Team t, int row) const
    {
        int base = l.base(row);
        int64_t label = y.at(row);
        double lse = log_sum_exp(t, x + base, l.n, l.inner, 1.0), f = y.weight_of(label) * (each ? dloss[row] : *dloss);
        if (weights)
            f = *weights != 0 ? f / *weights : 0;
        for (int i = t.lane(); i < l.n; i += t.lanes()) {
            int at = base + i * l.inner;
            dx[at] = (float)(f * (exp(x[at] - lse) - (i == label)));
        }
    }
};

template <bool gradient> struct cross_entropy_kernel {
    lines l;
    int64_t ignore;
    char reduction;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 2u << gradient, why); }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *)
    {
        const lmb_cross_entropy_attr *a = (const lmb_cross_entropy_attr *)c->attr;
        l = lines_of(&c->in[gradient].shape, 1);
        ignore = a->ignore_index, reduction = *a->reduction;
        *scratch = ((size_t)l.count * 2 + 1) * sizeof(double);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const float *x = in<const float>(r, gradient);
        labels y = { r->in[gradient + 1].data, r->in[gradient + 1].dtype == LMB_S64, in<const float>(r, gradient + 2),
                     ignore, l.n };
        double *value = (double *)r->scratch, *weight = value + l.count, *weights = weight + l.count;
        if (!gradient) {
            bool none = reduction == 'n';
            LMB_TRY(teams(r, l.count,
                          cross_entropy{ x, none ? out<float>(r, 0) : nullptr, out<float>(r, 1), value, weight, y, l },
                          err));
            return none ? LMB_OK
                        : teams(r, 1, total{ value, weight, out<float>(r, 0), nullptr, (int)l.count, reduction == 'm' },
                                err);
        }
        if (reduction == 'm') {
            LMB_TRY(each(r, l.count, label_weight{ weight, y }, err));
            LMB_TRY(teams(r, 1, total{ nullptr, weight, nullptr, weights, (int)l.count, false }, err));
        }
        return teams(r, l.count,
                     cross_entropy_grad{ in<const float>(r, 0), x, out<float>(r, 0),
                                         reduction == 'm' ? weights : nullptr, reduction == 'n', y, l },
                     err);
    }
};

/* ---- KL divergence ---- */

struct kl {
    const float *s, *p;
    double *value;
    int k;
    double t;
    template <class Team> LMB_BODY void operator()(Team team, int row) const
    {
        const float *a = s + row * k, *b = p + row * k;
        double ls = log_sum_exp(team, a, k, 1, t), lp = log_sum_exp(team, b, k, 1, t), sum = 0;
        for (int i = team.lane(); i < k; i += team.lanes()) {
            double log_p = b[i] / t - lp;
            sum += exp(log_p) * (log_p - (a[i] / t - ls));
        }
        sum = team.sum(sum);
        if (team.lane() == 0)
            value[row] = sum;
    }
};
struct kl_grad {
    const float *dloss, *s, *p;
    float *d;
    int rows, k;
    double t;
    template <class Team> LMB_BODY void operator()(Team team, int row) const
    {
        const float *a = s + row * k, *b = p + row * k;
        double ls = log_sum_exp(team, a, k, 1, t), lp = log_sum_exp(team, b, k, 1, t), f = *dloss / (t * rows);
        for (int i = team.lane(); i < k; i += team.lanes())
            d[row * k + i] = (float)(f * (exp(a[i] / t - ls) - exp(b[i] / t - lp)));
    }
};

template <bool gradient> struct kl_kernel {
    int rows, k;
    double t;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *)
    {
        rows = (int)c->in[gradient].shape.d[0], k = (int)c->in[gradient].shape.d[1];
        t = ((const lmb_kl_attr *)c->attr)->temperature;
        *scratch = (size_t)rows * sizeof(double);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const float *a = in<const float>(r, 0), *b = in<const float>(r, 1);
        double *value = (double *)r->scratch;
        if constexpr (gradient) {
            (void)value;
            return teams(r, rows, kl_grad{ a, b, in<const float>(r, 2), out<float>(r, 0), rows, k, t }, err);
        } else {
            LMB_TRY(teams(r, rows, kl{ a, b, value, k, t }, err));
            return teams(r, 1, total{ value, nullptr, out<float>(r, 0), nullptr, rows, true }, err);
        }
    }
};

/* ---- KL divergence, decoupled ---- */

/* A row of logits: logs of the label's share, of that of all others, and of the sum over the others; every lane gets
 * it. */
struct split { double label, others, sum; };

template <class Team> LMB_BODY split split_of(Team team, const float *x, int k, int y, double t)
{
    double all = log_sum_exp(team, x, k, 1, t), m = -INFINITY, sum = 0;
    for (int i = team.lane(); i < k; i += team.lanes())
        m = i != y && x[i] / t > m ? x[i] / t : m;
    m = team.largest(m);
    for (int i = team.lane(); i < k; i += team.lanes())
        sum += i != y ? exp(x[i] / t - m) : 0;
    sum = m + log(team.sum(sum));
    return split{ x[y] / t - all, sum - all, sum };
}

struct decoupled {
    const float *s, *p;
    double *value;
    labels y;
    int k;
    double t, alpha, beta;
    template <class Team> LMB_BODY void operator()(Team team, int row) const
    {
        const float *a = s + row * k, *b = p + row * k;
        int64_t label = y.at(row);
        if (!y.good(label)) {
            if (team.lane() == 0)
                value[row] = NAN;
            return;
        }
        split q = split_of(team, a, k, (int)label, t), w = split_of(team, b, k, (int)label, t);
        double sum = 0;
        for (int i = team.lane(); i < k; i += team.lanes())
            sum += i != label ? exp(b[i] / t - w.sum) * (b[i] / t - w.sum - (a[i] / t - q.sum)) : 0;
        sum = team.sum(sum);
        if (team.lane() == 0)
            value[row] =
                alpha * (exp(w.label) * (w.label - q.label) + exp(w.others) * (w.others - q.others)) + beta * sum;
    }
};
struct decoupled_grad {
    const float *dloss, *s, *p;
    float *d;
    labels y;
    int rows, k;
    double t, alpha, beta;
    template <class Team> LMB_BODY void operator()(Team team, int row) const
    {
        const float *a = s + row * k, *b = p + row * k;
        int64_t label = y.at(row);
        bool good = y.good(label);
        split q = split_of(team, a, k, good ? (int)label : 0, t), w = split_of(team, b, k, good ? (int)label : 0, t);
        double f = good ? *dloss / (t * rows) : NAN, surer = alpha * (exp(w.label) - exp(q.label));
        for (int i = team.lane(); i < k; i += team.lanes()) {
            double qi = exp(a[i] / t - q.sum), pi = exp(b[i] / t - w.sum);
            d[row * k + i] = (float)(f * (i == label ? -surer : qi * surer + beta * (qi - pi)));
        }
    }
};

template <bool gradient> struct decoupled_kernel {
    int rows, k;
    bool wide;
    lmb_decoupled_attr a;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 1u << (gradient ? 3 : 2), why); }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *)
    {
        rows = (int)c->in[gradient].shape.d[0], k = (int)c->in[gradient].shape.d[1];
        wide = c->in[gradient + 2].dtype == LMB_S64;
        a = *(const lmb_decoupled_attr *)c->attr;
        *scratch = (size_t)rows * sizeof(double);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const float *first = in<const float>(r, 0), *second = in<const float>(r, 1);
        labels y = { r->in[gradient + 2].data, wide, nullptr, INT64_MIN, k };
        double *value = (double *)r->scratch;
        if constexpr (gradient) {
            (void)value;
            return teams(r, rows,
                         decoupled_grad{ first, second, in<const float>(r, 2), out<float>(r, 0), y, rows, k,
                                         a.temperature, a.alpha, a.beta },
                         err);
        } else {
            LMB_TRY(teams(r, rows, decoupled{ first, second, value, y, k, a.temperature, a.alpha, a.beta }, err));
            return teams(r, 1, total{ value, nullptr, out<float>(r, 0), nullptr, rows, true }, err);
        }
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_cross_entropy =
    kernel<cross_entropy_kernel<false>>("cuda:cross_entropy", "SoftmaxCrossEntropyLoss", "");
const lmb_kernel lmbi_cuda_op_cross_entropy_grad =
    kernel<cross_entropy_kernel<true>>("cuda:cross_entropy_grad", "SoftmaxCrossEntropyLossGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_kl_divergence = kernel<kl_kernel<false>>("cuda:kl_divergence", "KLDivergence", "limbeck");
const lmb_kernel lmbi_cuda_op_kl_divergence_grad =
    kernel<kl_kernel<true>>("cuda:kl_divergence_grad", "KLDivergenceGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_decoupled_kl =
    kernel<decoupled_kernel<false>>("cuda:decoupled_kl", "DecoupledKL", "limbeck");
const lmb_kernel lmbi_cuda_op_decoupled_kl_grad =
    kernel<decoupled_kernel<true>>("cuda:decoupled_kl_grad", "DecoupledKLGrad", "limbeck");
}
