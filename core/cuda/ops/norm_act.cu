/* core/cuda/ops/norm_act.cu - batch normalisation fused with a sum and an activation, its gradients, and the inference
 * form alone, over maps in any form.
 *
 * Idea: in plain order a team takes a channel, whose elements stay in the second-level cache between its passes. In
 * NHWC a channel is a column: two sums a column in one reading (`columns`), then one pass over all elements.
 * Statistics are double.
 *   source   core/ops/{batch_norm,batch_norm_act}.c
 */
#include "core/cuda/ops/maps.h"
#include "core/cuda/ops/table.h"
#include "core/ops/batch_norm.h"

namespace lmb {
namespace {

struct activation {
    char function; /* 'R'elu, 'C'lip, 0 */
    float lo, hi;
    LMB_BODY float of(float v) const
    {
        return function == 'R' ? (v < 0 ? 0 : v) : function == 'C' ? (v < lo ? lo : v > hi ? hi : v) : v;
    }
    LMB_BODY bool passes(float v) const
    {
        return function == 'R' ? v > 0 : function == 'C' ? v >= lo && v <= hi : true;
    }
};

struct affine { float f, shift; }; /* y = f x + shift */

/* What every body needs to know, and the part of scratch with a number or two a channel. */
size_t scratch_of(const maps<true> &m, bool sums, size_t a_channel)
{
    return (sums ? column_bytes<2>(m.count(), m.c) : 0) + a_channel * (size_t)m.c;
}

template <class T, bool nhwc> struct apply_affine {
    const T *x, *add;
    T *y;
    const affine *a; /* [c] */
    maps<nhwc> m;
    activation act;
    template <int V> LMB_BODY void at(int i) const
    {
        pack<V> v = load<V>(x, i), plus = add ? load<V>(add, i) : pack<V>();
        int c = m.channel(i);
        for (int k = 0; k < V; k++)
            v.v[k] = act.of(a[c + k].f * v.v[k] + a[c + k].shift + (add ? plus.v[k] : 0));
        store<V>(y, i, v);
    }
};

/* ---- BatchNormAct ---- */

template <class T, bool nhwc> struct forward {
    const T *x, *add;
    const float *scale, *bias, *mean, *var;
    T *y;
    float *new_mean, *new_var, *saved_mean, *saved_inverse;
    affine *a; /* [c], of columns */
    maps<nhwc> m;
    float epsilon, momentum;
    activation act;
    LMB_BODY affine settle(int c, double mu, double v, bool writes) const
    {
        double keep = momentum;
        float m32 = (float)mu, inverse = (float)(1 / sqrt(v + epsilon)), f = scale[c] * inverse;
        if (writes && new_mean)
            new_mean[c] = (float)(keep * mean[c] + (1 - keep) * mu);
        if (writes && new_var)
            new_var[c] = (float)(keep * var[c] + (1 - keep) * v);
        if (writes && saved_mean)
            saved_mean[c] = m32;
        if (writes && saved_inverse)
            saved_inverse[c] = inverse;
        return affine{ f, bias[c] - m32 * f };
    }
    /* a channel of plain maps */
    template <class Team> LMB_BODY void operator()(Team t, int c) const
    {
        double sum = 0, square = 0, count = m.count();
        for (int i = t.lane(); i < m.count(); i += t.lanes())
            sum += (float)x[m.at(i / m.area, c, i % m.area)];
        double mu = t.sum(sum) / count;
        for (int i = t.lane(); i < m.count(); i += t.lanes()) {
            double v = (float)x[m.at(i / m.area, c, i % m.area)] - mu;
            square += v * v;
        }
        affine of_c = settle(c, mu, t.sum(square) / count, t.lane() == 0);
        for (int i = t.lane(); y && i < m.count(); i += t.lanes()) {
            int k = m.at(i / m.area, c, i % m.area);
            put(&y[k], act.of(of_c.f * (float)x[k] + of_c.shift + (add ? (float)add[k] : 0)));
        }
    }
    /* a column */
    template <int V> LMB_BODY void add_up(int i, double s[2][V]) const
    {
        pack<V> v = load<V>(x, i);
        for (int k = 0; k < V; k++) {
            s[0][k] += v.v[k];
            s[1][k] += (double)v.v[k] * v.v[k];
        }
    }
    LMB_BODY void finish(int c, const double s[2]) const
    {
        double mu = s[0] / m.count(), v = s[1] / m.count() - mu * mu;
        a[c] = settle(c, mu, v > 0 ? v : 0, true);
    }
};

/* ---- its gradients ---- */

/* Of a channel; sums already shared out, tilt: that of products, twice times 1 / deviation. Sums are in double; what is
 * done with each element is f32, which spares it conversions. */
struct slopes { float f, shift, mean, inverse, sum, tilt; };

template <class T, bool nhwc> struct backward {
    const T *dy, *x;
    const float *scale, *bias, *saved_mean, *saved_inverse;
    T *dx;
    float *dscale, *db;
    slopes *a; /* [c], of columns */
    maps<nhwc> m;
    activation act;
    LMB_BODY slopes begin(int c) const
    {
        float f = scale[c] * saved_inverse[c];
        return slopes{ f, bias[c] - saved_mean[c] * f, saved_mean[c], saved_inverse[c], 0, 0 };
    }
    LMB_BODY void count(const slopes &p, float v, float d, double *sum, double *product) const
    {
        if (act.passes(p.f * v + p.shift)) {
            *sum += d;
            *product += d * (v - p.mean);
        }
    }
    LMB_BODY void settle(int c, slopes *p, double sum, double product, bool writes) const
    {
        product *= p->inverse;
        if (writes && dscale)
            dscale[c] = (float)product;
        if (writes && db)
            db[c] = (float)sum;
        p->sum = (float)(sum / m.count()), p->tilt = (float)(product / m.count() * p->inverse);
    }
    LMB_BODY float slope(const slopes &p, float v, float d) const
    {
        float g = act.passes(p.f * v + p.shift) ? d : 0;
        return p.f * (g - p.sum - (v - p.mean) * p.tilt);
    }
    template <class Team> LMB_BODY void operator()(Team t, int c) const
    {
        slopes p = begin(c);
        double sum = 0, product = 0;
        for (int i = t.lane(); i < m.count(); i += t.lanes()) {
            int k = m.at(i / m.area, c, i % m.area);
            count(p, (float)x[k], (float)dy[k], &sum, &product);
        }
        sum = t.sum(sum), product = t.sum(product);
        settle(c, &p, sum, product, t.lane() == 0);
        for (int i = t.lane(); dx && i < m.count(); i += t.lanes()) {
            int k = m.at(i / m.area, c, i % m.area);
            put(&dx[k], slope(p, (float)x[k], (float)dy[k]));
        }
    }
    template <int V> LMB_BODY void add_up(int i, int column, double s[2][V]) const
    {
        pack<V> v = load<V>(x, i), d = load<V>(dy, i);
        for (int k = 0; k < V; k++)
            count(begin(column + k), v.v[k], d.v[k], &s[0][k], &s[1][k]);
    }
    LMB_BODY void finish(int c, const double s[2]) const
    {
        slopes p = begin(c);
        settle(c, &p, s[0], s[1], true);
        a[c] = p;
    }
    /* after `columns` */
    template <int V> LMB_BODY void at(int i) const
    {
        pack<V> v = load<V>(x, i), d = load<V>(dy, i);
        int c = m.channel(i);
        for (int k = 0; k < V; k++)
            v.v[k] = slope(a[c + k], v.v[k], d.v[k]);
        store<V>(dx, i, v);
    }
};

/* The names that `columns` calls. */
template <class F> struct forward_columns {
    F f;
    template <int V> LMB_BODY void add(int i, int, double s[2][V]) const { f.template add_up<V>(i, s); }
    LMB_BODY void finish(int c, const double s[2]) const { f.finish(c, s); }
};
template <class F> struct backward_columns {
    F f;
    template <int V> LMB_BODY void add(int i, int c, double s[2][V]) const { f.template add_up<V>(i, c, s); }
    LMB_BODY void finish(int c, const double s[2]) const { f.finish(c, s); }
};

template <class Form, bool gradient> struct norm_act_kernel {
    typedef Form form;
    typedef typename Form::type T;
    maps<Form::nhwc> m;
    float epsilon, momentum;
    activation act;
    static bool accepts(const lmb_call *c, const char **why)
    {
        return Form::nhwc ? two_dimensions(c, gradient, why) : all_f32(c, 0, why);
    }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *)
    {
        const lmb_batch_norm_act_attr *a = (const lmb_batch_norm_act_attr *)c->attr;
        m = maps_of<Form::nhwc>(&c->in[gradient].shape);
        epsilon = a->epsilon, momentum = a->momentum;
        act = activation{ *a->function, a->lo, a->hi };
        if (Form::nhwc)
            *scratch = scratch_of(maps<true>{ m.n, m.c, m.area }, true, gradient ? sizeof(slopes) : sizeof(affine));
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const float *p[6];
        float *q[5];
        for (int i = 0; i < 6; i++)
            p[i] = in<const float>(r, i);
        for (int i = 0; i < 5; i++)
            q[i] = out<float>(r, i);
        if (m.count() == 0)
            return LMB_OK;
        [[maybe_unused]] double *part = (double *)r->scratch;
        void *a_channel = Form::nhwc ? (char *)r->scratch + column_bytes<2>(m.count(), m.c) : nullptr;
        [[maybe_unused]] bool groups = in_groups(r, m.c);
        [[maybe_unused]] int64_t n = (int64_t)m.count() * m.c;
        if constexpr (gradient) {
            backward<T, Form::nhwc> f = { in<const T>(r, 0),
                                          in<const T>(r, 1),
                                          p[2],
                                          p[3],
                                          p[4],
                                          p[5],
                                          out<T>(r, 0),
                                          q[1],
                                          q[2],
                                          (slopes *)a_channel,
                                          m,
                                          act };
            if constexpr (Form::nhwc) {
                LMB_TRY((columns<2>(r, m.count(), m.c, groups, part, backward_columns<decltype(f)>{ f }, err)));
                return f.dx ? each_group<T>(r, n, m.c, groups, f, err) : LMB_OK;
            } else {
                return teams(r, m.c, f, err);
            }
        } else {
            forward<T, Form::nhwc> f = { in<const T>(r, 0),
                                         in<const T>(r, 5),
                                         p[1],
                                         p[2],
                                         p[3],
                                         p[4],
                                         out<T>(r, 0),
                                         q[1],
                                         q[2],
                                         q[3],
                                         q[4],
                                         (affine *)a_channel,
                                         m,
                                         epsilon,
                                         momentum,
                                         act };
            if constexpr (Form::nhwc) {
                LMB_TRY((columns<2>(r, m.count(), m.c, groups, part, forward_columns<decltype(f)>{ f }, err)));
                apply_affine<T, true> apply = { f.x, f.add, f.y, f.a, m, act };
                return f.y ? each_group<T>(r, n, m.c, groups, apply, err) : LMB_OK;
            } else {
                return teams(r, m.c, f, err);
            }
        }
    }
};

/* ---- known statistics: BatchNormApply, and BatchNormalization in its inference form ---- */

struct known {
    const float *scale, *bias, *mean, *spread; /* spread: the inverse deviation, or the variance */
    affine *a;
    float epsilon;
    bool variance;
    LMB_BODY void operator()(int c) const
    {
        if (variance) {
            double f = scale[c] / sqrt((double)spread[c] + epsilon);
            a[c] = affine{ (float)f, (float)(bias[c] - mean[c] * (double)(float)f) };
        } else {
            float f = scale[c] * spread[c];
            a[c] = affine{ f, bias[c] - mean[c] * f };
        }
    }
};

template <class Form, bool apply> struct known_kernel {
    typedef Form form;
    typedef typename Form::type T;
    maps<Form::nhwc> m;
    activation act = {};
    float epsilon = 0;
    static bool accepts(const lmb_call *c, const char **why)
    {
        if (!(Form::nhwc ? two_dimensions(c, 0, why) : all_f32(c, 0, why)))
            return false;
        *why = "statistics of the batch";
        return apply || !((const lmb_batch_norm_attr *)c->attr)->training_mode;
    }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *)
    {
        m = maps_of<Form::nhwc>(&c->in[0].shape);
        if (apply) {
            const lmb_batch_norm_act_attr *a = (const lmb_batch_norm_act_attr *)c->attr;
            act = activation{ *a->function, a->lo, a->hi };
        } else {
            epsilon = ((const lmb_batch_norm_attr *)c->attr)->epsilon;
        }
        *scratch = sizeof(affine) * (size_t)m.c;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        affine *a = (affine *)r->scratch;
        LMB_TRY((each(r, m.c,
                      known{ in<const float>(r, 1), in<const float>(r, 2), in<const float>(r, 3), in<const float>(r, 4),
                             a, epsilon, !apply },
                      err)));
        return each_group<T>(r, (int64_t)m.count() * m.c, m.c, Form::nhwc && in_groups(r, m.c),
                             apply_affine<T, Form::nhwc>{ in<const T>(r, 0), nullptr, out<T>(r, 0), a, m, act }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_batch_norm_act =
    map_kernel<norm_act_kernel<plain_f32, false>>("cuda:batch_norm_act", "BatchNormAct", "limbeck");
const lmb_kernel lmbi_cuda_op_batch_norm_act_grad =
    map_kernel<norm_act_kernel<plain_f32, true>>("cuda:batch_norm_act_grad", "BatchNormActGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_batch_norm_apply =
    map_kernel<known_kernel<plain_f32, true>>("cuda:batch_norm_apply", "BatchNormApply", "limbeck");
#define NHWC(prefix, name, Form)                                                                                       \
    const lmb_kernel lmbi_cuda_##prefix##_batch_norm_act =                                                             \
        map_kernel<norm_act_kernel<Form, false>>(name ":batch_norm_act", "BatchNormAct", "limbeck");                   \
    const lmb_kernel lmbi_cuda_##prefix##_batch_norm_act_grad =                                                        \
        map_kernel<norm_act_kernel<Form, true>>(name ":batch_norm_act_grad", "BatchNormActGrad", "limbeck");           \
    const lmb_kernel lmbi_cuda_##prefix##_batch_norm_apply =                                                           \
        map_kernel<known_kernel<Form, true>>(name ":batch_norm_apply", "BatchNormApply", "limbeck");                   \
    const lmb_kernel lmbi_cuda_##prefix##_batch_norm =                                                                 \
        map_kernel<known_kernel<Form, false>>(name ":batch_norm", "BatchNormalization", "")
NHWC(nhwc, "cuda-nhwc", nhwc_f32);
NHWC(bf16, "cuda-bf16", nhwc_bf16);
}
