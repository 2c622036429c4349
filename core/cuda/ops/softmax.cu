/* core/cuda/ops/softmax.cu - along one axis: Softmax, LogSoftmax, LpNormalization and their gradients. A line is a
 * team's.
 *   source   core/ops/{softmax,lp_normalization}.c
 */
#include "core/cuda/ops/lines.h"

namespace lmb {
namespace {

/* ---- Softmax ---- */

template <bool logarithm> struct softmax {
    const float *x;
    float *y;
    lines l;
    template <class Team> LMB_BODY void operator()(Team t, int line) const
    {
        const float *p = x + l.base(line);
        float *q = y + l.base(line);
        double m = -INFINITY, sum = 0;
        for (int i = t.lane(); i < l.n; i += t.lanes())
            m = p[i * l.inner] > m ? p[i * l.inner] : m;
        m = t.largest(m);
        for (int i = t.lane(); i < l.n; i += t.lanes())
            sum += exp((double)p[i * l.inner] - m);
        sum = t.sum(sum);
        double log_sum = log(sum);
        for (int i = t.lane(); i < l.n; i += t.lanes()) {
            double v = (double)p[i * l.inner] - m;
            q[i * l.inner] = (float)(logarithm ? v - log_sum : exp(v) / sum);
        }
    }
};
template <bool logarithm> struct softmax_grad {
    const float *dy, *y;
    float *dx;
    lines l;
    template <class Team> LMB_BODY void operator()(Team t, int line) const
    {
        int base = l.base(line);
        double sum = 0;
        for (int i = t.lane(); i < l.n; i += t.lanes()) {
            int at = base + i * l.inner;
            sum += logarithm ? (double)dy[at] : (double)dy[at] * y[at];
        }
        sum = t.sum(sum);
        for (int i = t.lane(); i < l.n; i += t.lanes()) {
            int at = base + i * l.inner;
            dx[at] = (float)(logarithm ? dy[at] - exp((double)y[at]) * sum : y[at] * (dy[at] - sum));
        }
    }
};

template <bool logarithm, bool gradient> struct softmax_kernel {
    lines l;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        int axis = 0;
        LMB_TRY(lmbi_axis(((const lmb_axis_attr *)c->attr)->axis, c->in[0].shape.n, &axis, err));
        l = lines_of(&c->in[0].shape, axis);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const float *a = in<const float>(r, 0), *b = in<const float>(r, 1);
        return gradient ? teams(r, l.count, softmax_grad<logarithm>{ a, b, out<float>(r, 0), l }, err)
                        : teams(r, l.count, softmax<logarithm>{ a, out<float>(r, 0), l }, err);
    }
};

/* ---- LpNormalization ---- */

template <class Team> LMB_BODY double length(Team t, const float *x, const lines &l, bool square)
{
    double sum = 0;
    for (int i = t.lane(); i < l.n; i += t.lanes()) {
        double v = x[i * l.inner];
        sum += square ? v * v : fabs(v);
    }
    sum = t.sum(sum);
    return square ? sqrt(sum) : sum;
}

struct normalization {
    const float *x;
    float *y;
    lines l;
    bool square;
    template <class Team> LMB_BODY void operator()(Team t, int line) const
    {
        int base = l.base(line);
        double norm = length(t, x + base, l, square);
        for (int i = t.lane(); i < l.n; i += t.lanes()) {
            int at = base + i * l.inner;
            y[at] = norm > 0 ? (float)(x[at] / norm) : 0;
        }
    }
};
struct normalization_grad {
    const float *dy, *x;
    float *dx;
    lines l;
    bool square;
    template <class Team> LMB_BODY void operator()(Team t, int line) const
    {
        int base = l.base(line);
        double norm = length(t, x + base, l, square), dot = 0;
        for (int i = t.lane(); i < l.n; i += t.lanes()) {
            int at = base + i * l.inner;
            dot += norm > 0 ? dy[at] * (x[at] / norm) : 0;
        }
        dot = t.sum(dot);
        for (int i = t.lane(); i < l.n; i += t.lanes()) {
            int at = base + i * l.inner;
            double u = square ? x[at] / (norm > 0 ? norm : 1) : (x[at] > 0) - (x[at] < 0);
            dx[at] = norm > 0 ? (float)((dy[at] - u * dot) / norm) : 0;
        }
    }
};

template <bool gradient> struct normalization_kernel {
    lines l;
    bool square;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        const lmb_lp_attr *a = (const lmb_lp_attr *)c->attr;
        int axis = 0;
        LMB_TRY(lmbi_axis(a->axis, c->in[0].shape.n, &axis, err));
        l = lines_of(&c->in[0].shape, axis);
        square = a->p == 2;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const float *a = in<const float>(r, 0), *b = in<const float>(r, 1);
        return gradient ? teams(r, l.count, normalization_grad{ a, b, out<float>(r, 0), l, square }, err)
                        : teams(r, l.count, normalization{ a, out<float>(r, 0), l, square }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_softmax = kernel<softmax_kernel<false, false>>("cuda:softmax", "Softmax", "");
const lmb_kernel lmbi_cuda_op_log_softmax = kernel<softmax_kernel<true, false>>("cuda:log_softmax", "LogSoftmax", "");
const lmb_kernel lmbi_cuda_op_softmax_grad =
    kernel<softmax_kernel<false, true>>("cuda:softmax_grad", "SoftmaxGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_log_softmax_grad =
    kernel<softmax_kernel<true, true>>("cuda:log_softmax_grad", "LogSoftmaxGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_lp_normalization =
    kernel<normalization_kernel<false>>("cuda:lp_normalization", "LpNormalization", "");
const lmb_kernel lmbi_cuda_op_lp_normalization_grad =
    kernel<normalization_kernel<true>>("cuda:lp_normalization_grad", "LpNormalizationGrad", "limbeck");
}
