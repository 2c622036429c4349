/* core/cuda/ops/conv.cu - convolutions by their definition: what runs when cuDNN has nothing for a shape, and on the host.
 *
 * Idea: one thread an output element, one team a weight. Every sum gathers, in f32 for feature maps as the references do,
 * in double for gradients of weights, which are long.
 *   source   core/ops/{conv,conv_act,conv_grad}.c
 */
#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/conv.h"

namespace lmb {
namespace {

struct geometry { int n, c, h, w, k, oh, ow, kh, kw, sh, sw, dh, dw, ph, pw, group; };

geometry geometry_of(const lmb_call *c)
{
    lmb_conv v = lmb_conv_of_call(c);
    return { (int)v.n, (int)v.c, (int)v.h, (int)v.w, (int)v.k, (int)v.oh, (int)v.ow, (int)v.kh, (int)v.kw,
             (int)v.sh, (int)v.sw, (int)v.dh, (int)v.dw, (int)v.ph, (int)v.pw, (int)v.group };
}

struct forward {
    const float *x, *w, *b, *add;
    float *y;
    geometry g;
    char function;
    float lo, hi;
    LMB_BODY void operator()(int i) const
    {
        int q = i % g.ow, p = i / g.ow % g.oh, k = i / (g.ow * g.oh) % g.k, n = i / (g.ow * g.oh * g.k);
        int cg = g.c / g.group, first = k / (g.k / g.group) * cg;
        float sum = b ? b[k] : 0;
        for (int c = 0; c < cg; c++)
            for (int r = 0; r < g.kh; r++) {
                int row = p * g.sh - g.ph + r * g.dh;
                if (row < 0 || row >= g.h)
                    continue;
                const float *line = x + ((n * g.c + first + c) * g.h + row) * g.w, *weight = w + ((k * cg + c) * g.kh + r) * g.kw;
                for (int s = 0; s < g.kw; s++) {
                    int column = q * g.sw - g.pw + s * g.dw;
                    if (column >= 0 && column < g.w)
                        sum += weight[s] * line[column];
                }
            }
        sum += add ? add[i] : 0;
        y[i] = function == 'R' ? (sum < 0 ? 0 : sum) : function == 'C' ? (sum < lo ? lo : sum > hi ? hi : sum) : sum;
    }
};
struct grad_data {
    const float *dy, *w;
    float *dx;
    geometry g;
    LMB_BODY void operator()(int i) const
    {
        int column = i % g.w, row = i / g.w % g.h, c = i / (g.w * g.h) % g.c, n = i / (g.w * g.h * g.c);
        int cg = g.c / g.group, kg = g.k / g.group, group = c / cg;
        float sum = 0;
        for (int k = group * kg; k < (group + 1) * kg; k++)
            for (int r = 0; r < g.kh; r++) {
                int p = row + g.ph - r * g.dh;
                if (p < 0 || p % g.sh || p / g.sh >= g.oh)
                    continue;
                const float *line = dy + ((n * g.k + k) * g.oh + p / g.sh) * g.ow, *weight = w + ((k * cg + c % cg) * g.kh + r) * g.kw;
                for (int s = 0; s < g.kw; s++) {
                    int q = column + g.pw - s * g.dw;
                    if (q >= 0 && q % g.sw == 0 && q / g.sw < g.ow)
                        sum += weight[s] * line[q / g.sw];
                }
            }
        dx[i] = sum;
    }
};
struct grad_weights {
    const float *dy, *x;
    float *dw;
    geometry g;
    template <class Team> LMB_BODY void operator()(Team t, int i) const
    {
        int cg = g.c / g.group, s = i % g.kw, r = i / g.kw % g.kh, c = i / (g.kw * g.kh) % cg, k = i / (g.kw * g.kh * cg);
        int channel = k / (g.k / g.group) * cg + c, area = g.oh * g.ow;
        double sum = 0;
        for (int j = t.lane(); j < g.n * area; j += t.lanes()) {
            int n = j / area, p = j / g.ow % g.oh, q = j % g.ow;
            int row = p * g.sh - g.ph + r * g.dh, column = q * g.sw - g.pw + s * g.dw;
            if (row >= 0 && row < g.h && column >= 0 && column < g.w)
                sum += dy[((n * g.k + k) * g.oh + p) * g.ow + q] * x[((n * g.c + channel) * g.h + row) * g.w + column];
        }
        sum = t.sum(sum);
        if (t.lane() == 0)
            dw[i] = (float)sum;
    }
};

struct forward_kernel {
    geometry g;
    char function = 0;
    float lo = 0, hi = 0;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        g = geometry_of(c);
        if (c->op->attr_size == sizeof(lmb_conv_act_attr)) {
            const lmb_conv_act_attr *a = (const lmb_conv_act_attr *)c->attr;
            function = *a->function, lo = a->lo, hi = a->hi;
        }
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        return each(r, lmb_shape_count(&r->out[0].shape),
                    forward{ in<const float>(r, 0), in<const float>(r, 1), in<const float>(r, 2), in<const float>(r, 3), out<float>(r, 0), g,
                             function, lo, hi }, err);
    }
};
template <bool weights> struct gradient_kernel {
    geometry g;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        g = geometry_of(c);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        int64_t n = lmb_shape_count(&r->out[0].shape);
        const float *dy = in<const float>(r, 0), *b = in<const float>(r, 1);
        return weights ? teams(r, n, grad_weights{ dy, b, out<float>(r, 0), g }, err) : each(r, n, grad_data{ dy, b, out<float>(r, 0), g }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_conv = kernel<forward_kernel>("cuda:conv", "Conv", "");
const lmb_kernel lmbi_cuda_op_conv_act = kernel<forward_kernel>("cuda:conv_act", "ConvAct", "limbeck");
const lmb_kernel lmbi_cuda_op_conv_grad_data = kernel<gradient_kernel<false>>("cuda:conv_grad_data", "ConvGradData", "limbeck");
const lmb_kernel lmbi_cuda_op_conv_grad_weights = kernel<gradient_kernel<true>>("cuda:conv_grad_weights", "ConvGradWeights", "limbeck");
}
