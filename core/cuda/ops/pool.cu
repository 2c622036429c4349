/* core/cuda/ops/pool.cu - windows over up to three spatial dimensions: MaxPool, AveragePool and their gradients.
 *
 * Idea: gradients gather. An input element asks every window that covers it; for maxima the windows' winners were
 * written down first, so nothing is added by atomics and the result is the same run after run.
 *   source   core/ops/pool.c, whose choice of the first maximum in row-major order this keeps
 */
#include "core/cuda/ops/maps.h"
#include "core/cuda/ops/table.h"
#include "core/ops/pool.h"

namespace lmb {
namespace {

struct pooling {
    int in[3], out[3], kernel[3], stride[3], dilation[3], before[3], after[3], n, c;
    LMB_BODY int area_in() const { return in[0] * in[1] * in[2]; }
    LMB_BODY int area_out() const { return out[0] * out[1] * out[2]; }
    int64_t count_out() const { return (int64_t)n * c * area_out(); }
};

lmb_status pooling_of(const lmb_call *c, const lmb_shape *x, pooling *p, lmb_error *err)
{
    lmb_pooling g;
    LMB_TRY(lmb_pooling_of((const lmb_pool_attr *)c->attr, x, &g, err));
    for (int i = 0; i < 3; i++) {
        p->in[i] = (int)g.in[i], p->out[i] = (int)g.out[i], p->kernel[i] = (int)g.kernel[i],
        p->stride[i] = (int)g.stride[i];
        p->dilation[i] = (int)g.dilation[i], p->before[i] = (int)g.before[i], p->after[i] = (int)g.after[i];
    }
    p->n = (int)g.n, p->c = (int)g.c;
    return LMB_OK;
}

/* One window: taps [lo, hi) of each dimension lie inside the input. */
struct window {
    int start[3], lo[3], hi[3];
    LMB_BODY window(const pooling &p, int o)
    {
        int at[3] = { o / (p.out[1] * p.out[2]), o / p.out[2] % p.out[1], o % p.out[2] };
        for (int i = 0; i < 3; i++) {
            int d = p.dilation[i];
            start[i] = at[i] * p.stride[i] - p.before[i];
            lo[i] = start[i] >= 0 ? 0 : (-start[i] + d - 1) / d;
            hi[i] = p.in[i] - start[i] <= 0 ? 0 : (p.in[i] - start[i] + d - 1) / d;
            hi[i] = hi[i] > p.kernel[i] ? p.kernel[i] : hi[i];
        }
    }
    LMB_BODY int tap(const pooling &p, int a, int b, int c) const
    {
        return ((start[0] + a * p.dilation[0]) * p.in[1] + start[1] + b * p.dilation[1]) * p.in[2] + start[2] +
               c * p.dilation[2];
    }
    /* What an average divides by. */
    LMB_BODY double divisor(const pooling &p, bool include_pad) const
    {
        double n = 1;
        for (int i = 0; i < 3; i++) {
            int padded = (p.in[i] + p.after[i] - start[i] + p.dilation[i] - 1) / p.dilation[i];
            padded = padded > p.kernel[i] ? p.kernel[i] : padded;
            n *= include_pad ? padded : hi[i] - lo[i];
        }
        return n;
    }
    /* First maximum, -1 when nothing lies inside. */
    template <class T> LMB_BODY int winner(const pooling &p, const T *x, int step) const
    {
        int best = -1;
        for (int a = lo[0]; a < hi[0]; a++)
            for (int b = lo[1]; b < hi[1]; b++)
                for (int c = lo[2]; c < hi[2]; c++) {
                    int t = tap(p, a, b, c);
                    if (best < 0 || (float)x[t * step] > (float)x[best * step])
                        best = t;
                }
        return best;
    }
};

/* Calls f(o) for every window o of a map that has a tap on input element i. */
template <class F> LMB_BODY void covering(const pooling &p, int i, F &f)
{
    int at[3] = { i / (p.in[1] * p.in[2]), i / p.in[2] % p.in[1], i % p.in[2] }, lo[3], hi[3];
    for (int k = 0; k < 3; k++) { /* windows whose span covers at[k]; with dilation not all of them touch it */
        int v = at[k] + p.before[k], span = (p.kernel[k] - 1) * p.dilation[k];
        lo[k] = v - span <= 0 ? 0 : (v - span + p.stride[k] - 1) / p.stride[k];
        hi[k] = v / p.stride[k] < p.out[k] ? v / p.stride[k] : p.out[k] - 1;
    }
    for (int a = lo[0]; a <= hi[0]; a++)
        for (int b = lo[1]; b <= hi[1]; b++)
            for (int c = lo[2]; c <= hi[2]; c++)
                if ((at[0] + p.before[0] - a * p.stride[0]) % p.dilation[0] == 0 &&
                    (at[1] + p.before[1] - b * p.stride[1]) % p.dilation[1] == 0 &&
                    (at[2] + p.before[2] - c * p.stride[2]) % p.dilation[2] == 0)
                    f((a * p.out[1] + b) * p.out[2] + c);
}

/* Element i of maps with `area` pixels: its pixel, and where its map begins in other maps of as many channels. */
template <bool nhwc> struct spot {
    maps<nhwc> m;
    int image, channel, pixel;
    LMB_BODY spot(const pooling &p, int area, int i)
        : m{ p.n, p.c, area }, image(m.image(i)), channel(m.channel(i)), pixel(m.pixel(i))
    {
    }
    LMB_BODY int begin(int area) const { return nhwc ? image * area * m.c + channel : (image * m.c + channel) * area; }
};

template <class T, bool nhwc> struct max_pool {
    const T *x;
    T *y;             /* NULL: not wanted */
    long long *index; /* as ONNX counts, NULL: not wanted */
    int *winner;      /* in its map, NULL: not wanted */
    pooling p;
    bool column_major;
    LMB_BODY void operator()(int i) const
    {
        spot<nhwc> s(p, p.area_out(), i);
        const T *from = x + s.begin(p.area_in());
        int best = window(p, s.pixel).winner(p, from, s.m.step());
        if (y)
            put(&y[i], best < 0 ? 0 : (float)from[best * s.m.step()]);
        if (winner)
            winner[i] = best;
        if (index && best >= 0 && column_major) {
            int c = best % p.in[2], b = best / p.in[2] % p.in[1], a = best / (p.in[1] * p.in[2]);
            best = (c * p.in[1] + b) * p.in[0] + a;
        }
        if (index)
            index[i] = best < 0 ? -1 : (long long)(s.image * p.c + s.channel) * p.area_in() + best;
    }
};
template <class T, bool nhwc> struct max_pool_grad {
    const T *dy;
    const int *winner;
    T *dx;
    pooling p;
    struct collect {
        const T *dy;
        const int *winner;
        int me, step;
        float sum;
        LMB_BODY void operator()(int o) { sum += winner[o * step] == me ? (float)dy[o * step] : 0; }
    };
    LMB_BODY void operator()(int i) const
    {
        spot<nhwc> s(p, p.area_in(), i);
        int from = s.begin(p.area_out());
        collect f = { dy + from, winner + from, s.pixel, s.m.step(), 0 };
        covering(p, f.me, f);
        put(&dx[i], f.sum);
    }
};
template <class T, bool nhwc> struct average_pool {
    const T *x;
    T *y;
    pooling p;
    bool include_pad;
    LMB_BODY void operator()(int i) const
    {
        spot<nhwc> s(p, p.area_out(), i);
        const T *from = x + s.begin(p.area_in());
        window w(p, s.pixel);
        double sum = 0, n = w.divisor(p, include_pad);
        for (int a = w.lo[0]; a < w.hi[0]; a++)
            for (int b = w.lo[1]; b < w.hi[1]; b++)
                for (int c = w.lo[2]; c < w.hi[2]; c++)
                    sum += (float)from[w.tap(p, a, b, c) * s.m.step()];
        put(&y[i], n > 0 ? (float)(sum / n) : 0);
    }
};
template <class T, bool nhwc> struct average_pool_grad {
    const T *dy;
    T *dx;
    pooling p;
    bool include_pad;
    struct collect {
        const T *dy;
        const pooling &p;
        bool include_pad;
        int step;
        float sum;
        LMB_BODY void operator()(int o) { sum += (float)((float)dy[o * step] / window(p, o).divisor(p, include_pad)); }
    };
    LMB_BODY void operator()(int i) const
    {
        spot<nhwc> s(p, p.area_in(), i);
        collect f = { dy + s.begin(p.area_out()), p, include_pad, s.m.step(), 0 };
        covering(p, s.pixel, f);
        put(&dx[i], f.sum);
    }
};

template <class Form> struct max_pool_kernel {
    typedef Form form;
    typedef typename Form::type T;
    pooling p;
    bool column_major;
    static bool accepts(const lmb_call *c, const char **why)
    {
        *why = "numbers are not f32, too many, or not a map of two dimensions";
        bool maps = c->in[0].shape.n == 4 && !(c->n_out > 1 && c->out[1].present);
        return c->in[0].dtype == LMB_F32 && small_enough(c) && (maps || !Form::nhwc);
    }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        column_major = ((const lmb_pool_attr *)c->attr)->storage_order != 0;
        return pooling_of(c, &c->in[0].shape, &p, err);
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        return each(
            r, p.count_out(),
            max_pool<T, Form::nhwc>{ in<const T>(r, 0), out<T>(r, 0), out<long long>(r, 1), nullptr, p, column_major },
            err);
    }
};
template <class Form> struct max_pool_grad_kernel {
    typedef Form form;
    typedef typename Form::type T;
    pooling p;
    static bool accepts(const lmb_call *c, const char **why)
    {
        return Form::nhwc ? two_dimensions(c, 0, why) : all_f32(c, 0, why);
    }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *err)
    {
        LMB_TRY(pooling_of(c, &c->out[0].shape, &p, err));
        *scratch = sizeof(int) * (size_t)p.count_out();
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        int *winner = (int *)r->scratch;
        LMB_TRY((each(r, p.count_out(),
                      max_pool<T, Form::nhwc>{ in<const T>(r, 1), nullptr, nullptr, winner, p, false }, err)));
        return each(r, lmb_shape_count(&r->out[0].shape),
                    max_pool_grad<T, Form::nhwc>{ in<const T>(r, 0), winner, out<T>(r, 0), p }, err);
    }
};
template <class Form, bool gradient> struct average_kernel {
    typedef Form form;
    typedef typename Form::type T;
    pooling p;
    bool include_pad;
    static bool accepts(const lmb_call *c, const char **why)
    {
        return Form::nhwc ? two_dimensions(c, 0, why) : all_f32(c, 0, why);
    }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        include_pad = ((const lmb_pool_attr *)c->attr)->count_include_pad != 0;
        return pooling_of(c, gradient ? &c->out[0].shape : &c->in[0].shape, &p, err);
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        int64_t n = lmb_shape_count(&r->out[0].shape);
        return gradient
                   ? each(r, n, average_pool_grad<T, Form::nhwc>{ in<const T>(r, 0), out<T>(r, 0), p, include_pad },
                          err)
                   : each(r, n, average_pool<T, Form::nhwc>{ in<const T>(r, 0), out<T>(r, 0), p, include_pad }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
#define POOL(prefix, name, Form)                                                                                       \
    const lmb_kernel lmbi_cuda_##prefix##_max_pool =                                                                   \
        map_kernel<max_pool_kernel<Form>>(name ":max_pool", "MaxPool", "");                                            \
    const lmb_kernel lmbi_cuda_##prefix##_max_pool_grad =                                                              \
        map_kernel<max_pool_grad_kernel<Form>>(name ":max_pool_grad", "MaxPoolGrad", "limbeck");                       \
    const lmb_kernel lmbi_cuda_##prefix##_average_pool =                                                               \
        map_kernel<average_kernel<Form, false>>(name ":average_pool", "AveragePool", "");                              \
    const lmb_kernel lmbi_cuda_##prefix##_average_pool_grad =                                                          \
        map_kernel<average_kernel<Form, true>>(name ":average_pool_grad", "AveragePoolGrad", "limbeck")
POOL(op, "cuda", plain_f32);
POOL(nhwc, "cuda-nhwc", nhwc_f32);
POOL(bf16, "cuda-bf16", nhwc_bf16);
}
