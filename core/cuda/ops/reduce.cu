/* core/cuda/ops/reduce.cu - many to one: sums and means over axes, global pooling, bias gradients, observed ranges.
 *
 * Idea: every one of them is the same walk twice. The axes that stay give the number of teams, the axes that go are
 * what a team adds up; both are walks over strides of x.
 */
#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/attrs.h"
#include "core/ops/common.h"

namespace lmb {
namespace {

/* x cut into `rows` groups of `count` elements. */
struct groups { walk row, member; int rows, count; };

groups groups_of(const lmb_shape *x, const lmb_shape *kept) /* kept: x's rank, 1 where summed */
{
    groups g = {};
    int stride = 1, s[LMB_MAX_DIMS];
    for (int i = x->n - 1; i >= 0; i--) {
        s[i] = stride;
        stride *= (int)x->d[i];
    }
    g.rows = g.count = 1;
    for (int i = 0; i < x->n; i++) {
        bool goes = kept->d[i] == 1 && x->d[i] != 1;
        walk *w = goes ? &g.member : &g.row;
        w->d[w->n] = (int)x->d[i], w->stride[w->n++] = s[i];
        *(goes ? &g.count : &g.rows) *= (int)x->d[i];
    }
    return g;
}

struct sum_groups {
    const float *x;
    float *y;
    groups g;
    template <class Team> LMB_BODY void operator()(Team t, int row) const
    {
        double s = 0;
        int base = g.row.at(row);
        for (int i = t.lane(); i < g.count; i += t.lanes())
            s += x[base + g.member.at(i)];
        s = t.sum(s);
        if (t.lane() == 0)
            y[row] = (float)s;
    }
};
struct mean_groups { /* divides, as the references do */
    sum_groups s;
    template <class Team> LMB_BODY void operator()(Team t, int row) const
    {
        double v = 0;
        int base = s.g.row.at(row);
        for (int i = t.lane(); i < s.g.count; i += t.lanes())
            v += s.x[base + s.g.member.at(i)];
        v = t.sum(v);
        if (t.lane() == 0)
            s.y[row] = s.g.count ? (float)(v / s.g.count) : 0.0f;
    }
};

template <bool mean> struct sum_kernel {
    groups g;
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        sum_groups s = { in<const float>(r, 0), out<float>(r, 0), g };
        return mean ? teams(r, g.rows, mean_groups{ s }, err) : teams(r, g.rows, s, err);
    }
};

struct sum_to_kernel : sum_kernel<false> {
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
        lmb_shape kept = *x;
        for (int i = 0; i < x->n; i++)
            kept.d[i] = i < x->n - y->n ? 1 : y->d[i - (x->n - y->n)];
        g = groups_of(x, &kept);
        return LMB_OK;
    }
};

template <bool mean> struct reduce_kernel : sum_kernel<mean> {
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 2, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        lmb_shape kept;
        LMB_TRY(lmbi_kept_shape((const lmb_reduce_attr *)c->attr, &c->in[0].shape, c->n_in > 1 ? &c->in[1] : nullptr,
                                &kept, err));
        this->g = groups_of(&c->in[0].shape, &kept);
        return LMB_OK;
    }
};

/* Axes 0 and 1 stay (pooling), or axis 1 alone (a bias). */
template <bool pooling> struct channel_kernel : sum_kernel<pooling> {
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        lmb_shape kept = c->in[0].shape;
        for (int i = 0; i < kept.n; i++)
            kept.d[i] = i == 1 || (pooling && i == 0) ? kept.d[i] : 1;
        this->g = groups_of(&c->in[0].shape, &kept);
        return LMB_OK;
    }
};

/* ---- maxima ---- */

struct max_pool_all {
    const float *x;
    float *y;
    int area;
    template <class Team> LMB_BODY void operator()(Team t, int row) const
    {
        double v = -INFINITY;
        for (int i = t.lane(); i < area; i += t.lanes())
            v = x[row * area + i] > v ? x[row * area + i] : v;
        v = t.largest(v);
        if (t.lane() == 0)
            y[row] = area ? (float)v : 0.0f;
    }
};
/* dy to the first maximum: the smallest index among those that hold it. */
struct max_pool_all_grad {
    const float *dy, *x;
    float *dx;
    int area;
    template <class Team> LMB_BODY void operator()(Team t, int row) const
    {
        double v = -INFINITY, first = -2147483648.0;
        for (int i = t.lane(); i < area; i += t.lanes())
            v = x[row * area + i] > v ? x[row * area + i] : v;
        v = t.largest(v);
        for (int i = t.lane(); i < area; i += t.lanes())
            if (x[row * area + i] == v && -i > first)
                first = -i;
        first = t.largest(first);
        for (int i = t.lane(); i < area; i += t.lanes())
            dx[row * area + i] = i == (int)-first ? dy[row] : 0.0f;
    }
};

template <bool gradient> struct global_max_kernel {
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *, size_t *, lmb_error *) { return LMB_OK; }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const lmb_shape *s = &r->in[gradient].shape;
        int64_t rows = s->d[0] * s->d[1], area = rows ? lmb_shape_count(s) / rows : 0;
        const float *a = in<const float>(r, 0), *b = in<const float>(r, 1);
        return gradient ? teams(r, rows, max_pool_all_grad{ a, b, out<float>(r, 0), (int)area }, err)
                        : teams(r, rows, max_pool_all{ a, out<float>(r, 0), (int)area }, err);
    }
};

/* ---- what is seen of an activation, and its scale ---- */

struct observe {
    const float *x, *old_lo, *old_hi;
    float *lo, *hi;
    int n;
    bool average;
    float momentum;
    template <class Team> LMB_BODY void operator()(Team t, int) const
    {
        double a = -INFINITY, b = -INFINITY;
        for (int i = t.lane(); i < n; i += t.lanes()) {
            a = -x[i] > a ? -x[i] : a;
            b = x[i] > b ? x[i] : b;
        }
        a = -t.largest(a), b = t.largest(b);
        if (t.lane() != 0)
            return;
        float u = n ? (float)a : 0, v = n ? (float)b : 0;
        if (*old_lo <= *old_hi) {
            u = average ? momentum * *old_lo + (1 - momentum) * u : fminf(*old_lo, u);
            v = average ? momentum * *old_hi + (1 - momentum) * v : fmaxf(*old_hi, v);
        }
        if (lo)
            *lo = u;
        if (hi)
            *hi = v;
    }
};
struct observe_kernel {
    bool average;
    float momentum;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_observe_attr *a = (const lmb_observe_attr *)c->attr;
        average = a->mode[1] == 'o';
        momentum = a->momentum;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        return teams(r, 1,
                     observe{ in<const float>(r, 0), in<const float>(r, 1), in<const float>(r, 2), out<float>(r, 0),
                              out<float>(r, 1), (int)lmb_shape_count(&r->in[0].shape), average, momentum },
                     err);
    }
};

/* The least 2^n >= s, as lmb_power_of_two. */
LMB_BODY float next_power(float s)
{
    int n;
    float m = frexpf(s, &n);
    return m == 0.5f ? s : ldexpf(1.0f, n);
}

struct range_to_scale {
    const float *lo, *hi;
    float *scale, *zero, top, half;
    bool symmetric, power;
    LMB_BODY void operator()(int) const
    {
        float a = fminf(*lo, 0), b = fmaxf(*hi, 0), s = symmetric ? fmaxf(-a, b) / (top - half) : (b - a) / top;
        if (!(s > 1e-8f) || isinf(s))
            s = 1.0f / top;
        s = power ? next_power(s) : s;
        if (scale)
            *scale = s;
        if (zero)
            *zero = symmetric ? half : fminf(fmaxf(rintf(-a / s), 0), top);
    }
};
struct range_kernel {
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *, size_t *, lmb_error *) { return LMB_OK; }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const lmb_range_to_scale_attr *a = (const lmb_range_to_scale_attr *)r->attr;
        return each(r, 1,
                    range_to_scale{ in<const float>(r, 0), in<const float>(r, 1), out<float>(r, 0), out<float>(r, 1),
                                    (float)a->top, (float)((a->top + 1) / 2), a->symmetric != 0, a->power_of_two != 0 },
                    err);
    }
};

struct weight_scale {
    const float *w;
    float *scale;
    groups g;
    float top;
    bool power;
    template <class Team> LMB_BODY void operator()(Team t, int row) const
    {
        double v = 0;
        int base = g.row.at(row);
        for (int i = t.lane(); i < g.count; i += t.lanes()) {
            float a = fabsf(w[base + g.member.at(i)]);
            v = a > v ? a : v;
        }
        float m = (float)t.largest(v);
        if (t.lane() == 0)
            scale[row] = step(m > 1e-12f ? m / top : 1.0f);
    }
    LMB_BODY float step(float s) const { return power ? next_power(s) : s; }
};
struct weight_scale_kernel {
    groups g;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        lmb_shape kept = c->in[0].shape;
        int axis = 0;
        LMB_TRY(lmbi_axis(((const lmb_weight_scale_attr *)c->attr)->axis, kept.n, &axis, err));
        for (int i = 0; i < kept.n; i++)
            kept.d[i] = i == axis ? kept.d[i] : 1;
        g = groups_of(&c->in[0].shape, &kept);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const lmb_weight_scale_attr *a = (const lmb_weight_scale_attr *)r->attr;
        return teams(r, g.rows,
                     weight_scale{ in<const float>(r, 0), out<float>(r, 0), g, (float)a->top, a->power_of_two != 0 },
                     err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_sum_to = kernel<sum_to_kernel>("cuda:sum_to", "SumTo", "limbeck");
const lmb_kernel lmbi_cuda_op_reduce_mean = kernel<reduce_kernel<true>>("cuda:reduce", "ReduceMean", "");
const lmb_kernel lmbi_cuda_op_reduce_sum = kernel<reduce_kernel<false>>("cuda:reduce", "ReduceSum", "");
const lmb_kernel lmbi_cuda_op_global_average_pool =
    kernel<channel_kernel<true>>("cuda:global_average", "GlobalAveragePool", "");
const lmb_kernel lmbi_cuda_op_bias_grad = kernel<channel_kernel<false>>("cuda:bias_grad", "BiasGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_global_max_pool =
    kernel<global_max_kernel<false>>("cuda:global_max", "GlobalMaxPool", "");
const lmb_kernel lmbi_cuda_op_global_max_pool_grad =
    kernel<global_max_kernel<true>>("cuda:global_max_grad", "GlobalMaxPoolGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_observe_range = kernel<observe_kernel>("cuda:observe", "ObserveRange", "limbeck");
const lmb_kernel lmbi_cuda_op_range_to_scale = kernel<range_kernel>("cuda:range_to_scale", "RangeToScale", "limbeck");
const lmb_kernel lmbi_cuda_op_weight_scale = kernel<weight_scale_kernel>("cuda:weight_scale", "WeightScale", "limbeck");
}
