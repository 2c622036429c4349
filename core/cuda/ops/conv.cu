/* core/cuda/ops/conv.cu - convolutions by their definition: what runs when cuDNN has nothing for a shape, and on the
 * host.
 *
 * Idea: one thread an output element, one team a weight. Operands are walked by strides, so that both orders are one
 * body. Every sum gathers, in f32 for feature maps as the references do, in double for gradients of weights, which are
 * long. Where channels are few, a block to each weight would read all of dy for it: there these are sums down columns
 * (maps.h).
 *   source   core/ops/{conv,conv_act,conv_grad}.c
 */
#include "core/cuda/ops/conv.h"

namespace lmb {
namespace {

struct geometry { int n, c, h, w, k, oh, ow, kh, kw, sh, sw, dh, dw, ph, pw, group; };

geometry geometry_of(const lmb_call *c)
{
    lmb_conv v = lmb_conv_of_call(c);
    return { (int)v.n, (int)v.c, (int)v.h, (int)v.w, (int)v.k, (int)v.oh, (int)v.ow, (int)v.kh, (int)v.kw,
             (int)v.sh, (int)v.sw, (int)v.dh, (int)v.dw, (int)v.ph, (int)v.pw, (int)v.group };
}

/* Of [a][b][h][w], kept in this order or as [a][h][w][b]. */
struct strides { int a, b, h, w; };
strides strides_of(bool last, int b, int h, int w)
{
    return last ? strides{ b * h * w, 1, w * b, b } : strides{ b * h * w, h * w, w, 1 };
}

/* Element i of such a tensor. */
struct place { int a, b, h, w; };
template <bool last> LMB_BODY place place_of(int i, int b, int h, int w)
{
    return last ? place{ i / (b * h * w), i % b, i / (w * b) % h, i / b % w }
                : place{ i / (b * h * w), i / (h * w) % b, i / w % h, i % w };
}

template <class T, bool nhwc> struct forward {
    const T *x, *w;
    const float *b;
    const T *add;
    T *y;
    geometry g;
    strides sx, sw;
    char function;
    float lo, hi;
    LMB_BODY void operator()(int i) const
    {
        place at = place_of<nhwc>(i, g.k, g.oh, g.ow);
        int cg = g.c / g.group, first = at.b / (g.k / g.group) * cg;
        float sum = b ? b[at.b] : 0;
        for (int c = 0; c < cg; c++)
            for (int r = 0; r < g.kh; r++) {
                int line = at.h * g.sh - g.ph + r * g.dh;
                if (line < 0 || line >= g.h)
                    continue;
                for (int s = 0; s < g.kw; s++) {
                    int column = at.w * g.sw - g.pw + s * g.dw;
                    if (column >= 0 && column < g.w)
                        sum += (float)w[at.b * sw.a + c * sw.b + r * sw.h + s * sw.w] *
                               (float)x[at.a * sx.a + (first + c) * sx.b + line * sx.h + column * sx.w];
                }
            }
        sum += add ? (float)add[i] : 0;
        put(&y[i], function == 'R'   ? (sum < 0 ? 0 : sum)
                   : function == 'C' ? (sum < lo   ? lo
                                        : sum > hi ? hi
                                                   : sum)
                                     : sum);
    }
};
template <class T, bool nhwc> struct grad_data {
    const T *dy, *w;
    T *dx;
    geometry g;
    strides sy, sw;
    LMB_BODY void operator()(int i) const
    {
        place at = place_of<nhwc>(i, g.c, g.h, g.w);
        int cg = g.c / g.group, kg = g.k / g.group, group = at.b / cg;
        float sum = 0;
        for (int k = group * kg; k < (group + 1) * kg; k++)
            for (int r = 0; r < g.kh; r++) {
                int p = at.h + g.ph - r * g.dh;
                if (p < 0 || p % g.sh || p / g.sh >= g.oh)
                    continue;
                for (int s = 0; s < g.kw; s++) {
                    int q = at.w + g.pw - s * g.dw;
                    if (q >= 0 && q % g.sw == 0 && q / g.sw < g.ow)
                        sum += (float)w[k * sw.a + at.b % cg * sw.b + r * sw.h + s * sw.w] *
                               (float)dy[at.a * sy.a + k * sy.b + p / g.sh * sy.h + q / g.sw * sy.w];
                }
            }
        put(&dx[i], sum);
    }
};
/* The gradient is f32 and in plain order, whatever the maps are. */
template <class T> struct grad_weights {
    const T *dy, *x;
    float *dw;
    geometry g;
    strides sx, sy;
    template <class Team> LMB_BODY void operator()(Team t, int i) const
    {
        place at = place_of<false>(i, g.c / g.group, g.kh, g.kw);
        int channel = at.a / (g.k / g.group) * (g.c / g.group) + at.b, area = g.oh * g.ow;
        double sum = 0;
        for (int j = t.lane(); j < g.n * area; j += t.lanes()) {
            int n = j / area, p = j / g.ow % g.oh, q = j % g.ow;
            int line = p * g.sh - g.ph + at.h * g.dh, column = q * g.sw - g.pw + at.w * g.dw;
            if (line >= 0 && line < g.h && column >= 0 && column < g.w)
                sum += (float)dy[n * sy.a + at.a * sy.b + p * sy.h + q * sy.w] *
                       (float)x[n * sx.a + channel * sx.b + line * sx.h + column * sx.w];
        }
        sum = t.sum(sum);
        if (t.lane() == 0)
            dw[i] = (float)sum;
    }
};

/* Of a depthwise convolution over NHWC maps: one row of taps for all channels, each a column. */
constexpr int most_taps = 3;
template <class T> struct depthwise_weights {
    const T *dy, *x;
    float *dw;
    geometry g;
    int r;
    template <int V> LMB_BODY void add(int i, int channel, double s[most_taps][V]) const
    {
        int at = i / g.c, q = at % g.ow, p = at / g.ow % g.oh, line = p * g.sh - g.ph + r * g.dh;
        if (line < 0 || line >= g.h)
            return;
        pack<V> d = load<V>(dy, i);
        for (int t = 0; t < most_taps;
             t++) { /* a number of turns that the compiler knows keeps the sums in registers */
            int column = q * g.sw - g.pw + t * g.dw;
            if (t >= g.kw || column < 0 || column >= g.w)
                continue;
            pack<V> v = load<V>(x, ((at / (g.oh * g.ow) * g.h + line) * g.w + column) * g.c + channel);
            for (int k = 0; k < V; k++)
                s[t][k] += (double)d.v[k] * v.v[k];
        }
    }
    LMB_BODY void finish(int channel, const double s[most_taps]) const
    {
        for (int t = 0; t < g.kw; t++)
            dw[(channel * g.kh + r) * g.kw + t] = (float)s[t];
    }
};

/* Of a convolution over NHWC pictures, of few channels: one row of taps for all filters, each a column, so that dy is
 * read as it lies, once a row, and a pixel's numbers by a whole warp at once. */
constexpr int stem_channels = 3, stem_taps = 7;
template <class T, int S> struct stem_weights {
    static constexpr int sums = S * stem_channels;
    const T *dy, *x;
    float *dw;
    geometry g;
    int r;
    template <int V> LMB_BODY void add(int i, int, double s[sums][V]) const
    {
        int at = i / g.k, q = at % g.ow, p = at / g.ow % g.oh, line = p * g.sh - g.ph + r * g.dh;
        if (line < 0 || line >= g.h)
            return;
        pack<V> d = load<V>(dy, i);
        const T *row = x + (int64_t)((at / (g.oh * g.ow) * g.h + line) * g.w) * g.c;
        for (int t = 0; t < S; t++) {
            int column = q * g.sw - g.pw + t * g.dw;
            if (t >= g.kw || column < 0 || column >= g.w)
                continue;
            for (int c = 0; c < stem_channels; c++) {
                if (c >= g.c)
                    continue;
                double v = (float)row[column * g.c + c];
                for (int k = 0; k < V; k++)
                    s[t * stem_channels + c][k] += (double)d.v[k] * v;
            }
        }
    }
    LMB_BODY void finish(int k, const double s[sums]) const
    {
        for (int t = 0; t < g.kw; t++)
            for (int c = 0; c < g.c; c++)
                dw[((k * g.c + c) * g.kh + r) * g.kw + t] = (float)s[t * stem_channels + c];
    }
};

template <class Form> struct geometry_kernel {
    typedef Form form;
    geometry g;
    strides sx, sy, sw;
    static bool accepts(const lmb_call *c, const char **why) { return conv_accepts<Form>(c, why); }
    void take(const lmb_call *c)
    {
        g = geometry_of(c);
        sx = strides_of(Form::nhwc, g.c, g.h, g.w), sy = strides_of(Form::nhwc, g.k, g.oh, g.ow);
        sw = strides_of(Form::nhwc, g.c / g.group, g.kh, g.kw);
    }
};

template <class Form> struct forward_kernel : geometry_kernel<Form> {
    conv_ending end = {};
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        this->take(c);
        end = ending_of(c);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        typedef typename Form::type T;
        return each(r, lmb_shape_count(&r->out[0].shape),
                    forward<T, Form::nhwc>{ in<const T>(r, 0), in<const T>(r, 1), in<const float>(r, 2),
                                            in<const T>(r, 3), out<T>(r, 0), this->g, this->sx, this->sw, end.function,
                                            end.lo, end.hi },
                    err);
    }
};
template <class Form, bool weights> struct gradient_kernel : geometry_kernel<Form> {
    bool depthwise = false, stem = false;
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *)
    {
        this->take(c);
        const geometry &g = this->g;
        depthwise = weights && Form::nhwc && g.group == g.c && g.k == g.c && g.kw <= most_taps;
        stem = weights && Form::nhwc && !depthwise && g.group == 1 && g.c <= stem_channels && g.kw <= stem_taps;
        if (depthwise)
            *scratch = column_bytes<most_taps>(g.n * g.oh * g.ow, g.c);
        else if (stem && g.kw <= most_taps)
            *scratch = column_bytes<most_taps * stem_channels>(g.n * g.oh * g.ow, g.k);
        else if (stem)
            *scratch = column_bytes<stem_taps * stem_channels>(g.n * g.oh * g.ow, g.k);
        return LMB_OK;
    }
    template <int S, class T> lmb_status run_stem(const lmb_run *r, const T *dy, const T *x, lmb_error *err)
    {
        const geometry &g = this->g;
        for (int row = 0; row < g.kh; row++)
            LMB_TRY((columns<S * stem_channels>(r, g.n * g.oh * g.ow, g.k, false, (double *)r->scratch,
                                                stem_weights<T, S>{ dy, x, out<float>(r, 0), g, row }, err)));
        return LMB_OK;
    }
    template <class T> lmb_status run_depthwise(const lmb_run *r, const T *dy, const T *x, lmb_error *err)
    {
        const geometry &g = this->g;
        for (int row = 0; row < g.kh; row++)
            LMB_TRY((columns<most_taps>(r, g.n * g.oh * g.ow, g.c, in_groups(r, g.c), (double *)r->scratch,
                                        depthwise_weights<T>{ dy, x, out<float>(r, 0), g, row }, err)));
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        typedef typename Form::type T;
        int64_t n = lmb_shape_count(&r->out[0].shape);
        const T *dy = in<const T>(r, 0), *b = in<const T>(r, 1);
        if (depthwise)
            return run_depthwise<T>(r, dy, b, err);
        if (stem)
            return this->g.kw <= most_taps ? run_stem<most_taps>(r, dy, b, err) : run_stem<stem_taps>(r, dy, b, err);
        if constexpr (weights)
            return teams(r, n, grad_weights<T>{ dy, b, out<float>(r, 0), this->g, this->sx, this->sy }, err);
        else
            return each(r, n, grad_data<T, Form::nhwc>{ dy, b, out<T>(r, 0), this->g, this->sy, this->sw }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
#define CONV(prefix, name, Form)                                                                                       \
    const lmb_kernel lmbi_cuda_##prefix##_conv = conv_row<forward_kernel<Form>>(name ":conv", "Conv", "");             \
    const lmb_kernel lmbi_cuda_##prefix##_conv_act =                                                                   \
        conv_row<forward_kernel<Form>>(name ":conv_act", "ConvAct", "limbeck");                                        \
    const lmb_kernel lmbi_cuda_##prefix##_conv_grad_data =                                                             \
        conv_row<gradient_kernel<Form, false>>(name ":conv_grad_data", "ConvGradData", "limbeck");                     \
    const lmb_kernel lmbi_cuda_##prefix##_conv_grad_weights =                                                          \
        conv_row<gradient_kernel<Form, true>>(name ":conv_grad_weights", "ConvGradWeights", "limbeck")
CONV(op, "cuda", plain_f32);
CONV(nhwc, "cuda-nhwc", nhwc_f32);
CONV(bf16, "cuda-bf16", nhwc_bf16);
}
