/* core/cuda/ops/maps.cu - where feature maps begin and end: another form of the same numbers, GlobalAveragePool and the
 * BroadcastTo of its gradient, BiasGrad, over NHWC maps.
 *
 * Idea: neighbouring threads take neighbouring channels. What comes out of a global pooling is f32, and so is its
 * gradient.
 *   source   core/ops/{global_pool,sum_to}.c, core/plan/layout.c
 */
#include "core/cuda/ops/maps.h"
#include "core/cuda/ops/table.h"

namespace lmb {
namespace {

/* ---- another form ---- */

template <class From, class To> struct change {
    const From *x;
    To *y;
    maps<false> plain;
    maps<true> nhwc;
    bool was_nhwc, is_nhwc;
    LMB_BODY void operator()(int i) const
    {
        int image = plain.image(i), k = i;
        if (was_nhwc != is_nhwc)
            k = is_nhwc ? plain.at(image, nhwc.channel(i), nhwc.pixel(i))
                        : nhwc.at(image, plain.channel(i), plain.pixel(i));
        put(&y[i], (float)x[k]);
    }
};

template <class From, class To> lmb_status change_as(const lmb_tensor *from, lmb_layout before, const lmb_tensor *to,
                                                     lmb_layout after, void *queue, lmb_error *err)
{
    lmb_run r = {};
    r.queue = queue;
    maps<false> plain = { 1, 1, 1 };
    if (before != after)
        plain = maps_of<false>(&from->shape);
    change<From, To> c = { (const From *)from->data,  (To *)to->data,          plain, { plain.n, plain.c, plain.area },
                           before == LMB_LAYOUT_NHWC, after == LMB_LAYOUT_NHWC };
    return each(&r, lmb_shape_count(&from->shape), c, err);
}

/* ---- global pooling ---- */

template <class T> struct area_mean {
    const T *x;
    float *y;
    maps<true> m;
    LMB_BODY void operator()(int i) const
    {
        double s = 0;
        for (int k = 0; k < m.area; k++)
            s += (float)x[m.at(i / m.c, i % m.c, k)];
        y[i] = m.area ? (float)(s / m.area) : 0.0f;
    }
};
template <class T> struct area_fill {
    const float *x;
    T *y;
    maps<true> m;
    template <int V> LMB_BODY void at(int i) const
    {
        pack<V> v;
        for (int k = 0; k < V; k++)
            v.v[k] = x[m.image(i) * m.c + m.channel(i) + k];
        store<V>(y, i, v);
    }
};

template <class Form> struct mean_kernel {
    typedef Form form;
    static bool accepts(const lmb_call *c, const char **why) { return two_dimensions(c, 0, why); }
    lmb_status prepare(const lmb_call *, size_t *, lmb_error *) { return LMB_OK; }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        maps<true> m = maps_of<true>(&r->in[0].shape);
        typedef typename Form::type T;
        return each(r, (int64_t)m.n * m.c, area_mean<T>{ in<const T>(r, 0), out<float>(r, 0), m }, err);
    }
};
template <class Form> struct fill_kernel {
    typedef Form form;
    static bool accepts(const lmb_call *c, const char **why)
    {
        const lmb_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
        if (!two_dimensions(c, 0, why))
            return false;
        *why = "only [N, C, 1, 1] to [N, C, H, W]";
        return y->n == 4 && x->d[0] == y->d[0] && x->d[1] == y->d[1] && x->d[2] == 1 && x->d[3] == 1;
    }
    lmb_status prepare(const lmb_call *, size_t *, lmb_error *) { return LMB_OK; }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        maps<true> m = maps_of<true>(&r->out[0].shape);
        typedef typename Form::type T;
        return each_group<T>(r, (int64_t)m.count() * m.c, m.c, in_groups(r, m.c),
                             area_fill<T>{ in<const float>(r, 0), out<T>(r, 0), m }, err);
    }
};

/* ---- biases ---- */

template <class T> struct bias_sum {
    const T *dy;
    float *db;
    template <int V> LMB_BODY void add(int i, int, double s[1][V]) const
    {
        pack<V> v = load<V>(dy, i);
        for (int k = 0; k < V; k++)
            s[0][k] += v.v[k];
    }
    LMB_BODY void finish(int c, const double s[1]) const { db[c] = (float)s[0]; }
};
template <class Form> struct bias_kernel {
    typedef Form form;
    maps<true> m;
    static bool accepts(const lmb_call *c, const char **why) { return two_dimensions(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *)
    {
        m = maps_of<true>(&c->in[0].shape);
        *scratch = column_bytes<1>(m.count(), m.c);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        typedef typename Form::type T;
        return columns<1>(r, m.count(), m.c, in_groups(r, m.c), (double *)r->scratch,
                          bias_sum<T>{ in<const T>(r, 0), out<float>(r, 0) }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
lmb_status lmbi_cuda_convert(const lmb_tensor *from, lmb_layout before, const lmb_tensor *to, lmb_layout after,
                             lmb_cuda_queue *q, lmb_error *err)
{
    bool shorter = from->dtype == LMB_BF16, shorten = to->dtype == LMB_BF16;
    if ((!shorter && from->dtype != LMB_F32) || (!shorten && to->dtype != LMB_F32) ||
        lmb_shape_count(&from->shape) > INT32_MAX)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "only numbers in f32 and bf16, fewer than 2^31, change their form on a GPU");
    return shorter ? (shorten ? change_as<bf16, bf16>(from, before, to, after, q, err)
                              : change_as<bf16, float>(from, before, to, after, q, err))
                   : (shorten ? change_as<float, bf16>(from, before, to, after, q, err)
                              : change_as<float, float>(from, before, to, after, q, err));
}

#define ENDS(prefix, name, Form)                                                                                       \
    const lmb_kernel lmbi_cuda_##prefix##_global_average_pool =                                                        \
        map_kernel<mean_kernel<Form>>(name ":global_average", "GlobalAveragePool", "", bf16_first);                    \
    const lmb_kernel lmbi_cuda_##prefix##_broadcast_to =                                                               \
        map_kernel<fill_kernel<Form>>(name ":broadcast_to", "BroadcastTo", "limbeck", bf16_result);                    \
    const lmb_kernel lmbi_cuda_##prefix##_bias_grad =                                                                  \
        map_kernel<bias_kernel<Form>>(name ":bias_grad", "BiasGrad", "limbeck", bf16_first)
ENDS(nhwc, "cuda-nhwc", nhwc_f32);
ENDS(bf16, "cuda-bf16", nhwc_bf16);
}
