/* core/cuda/ops/quantize.cu - to integers and back, for whole tensors or channel by channel, and the pretence of it,
 * with straight-through gradients. Formulas and their order are the reference's (core/ops/quantize.c).
 */
#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/attrs.h"
#include "core/ops/quantize.h"

namespace lmb {
namespace {

struct around { int n, inner; }; /* element i has scale number (i / inner) % n */

around split(const lmb_shape &x, const lmb_shape &scale, int64_t axis)
{
    around a = { 1, 1 };
    if (scale.n == 0 || lmb_shape_count(&scale) == 1)
        return a;
    a.n = (int)scale.d[0];
    for (int i = (int)(axis < 0 ? axis + x.n : axis) + 1; i < x.n; i++)
        a.inner *= (int)x.d[i];
    return a;
}

/* A zero point or a quantised number, of whatever type it is. */
struct integers {
    const void *data;
    lmb_dtype type;
    LMB_BODY int at(int i) const
    {
        if (!data)
            return 0;
        switch (type) {
        case LMB_U8: return ((const uint8_t *)data)[i];
        case LMB_S8: return ((const int8_t *)data)[i];
        case LMB_S32: return ((const int32_t *)data)[i];
        default: return (int)((const float *)data)[i];
        }
    }
};

integers integers_of(const lmb_run *r, int i)
{
    return i < r->n_in ? integers{ r->in[i].data, r->in[i].dtype } : integers{ nullptr, LMB_F32 };
}

struct quantize {
    const float *x, *s;
    integers zero;
    around a;
    bool u8;
    void *q;
    LMB_BODY void operator()(int i) const
    {
        int k = i / a.inner % a.n;
        float z = (float)zero.at(k), v = rintf(x[i] / s[k]) + z, lo = u8 ? 0.0f : -128.0f, hi = u8 ? 255.0f : 127.0f;
        v = v < lo ? lo : v > hi ? hi : v == v ? v : z;
        if (u8)
            ((uint8_t *)q)[i] = (uint8_t)v;
        else
            ((int8_t *)q)[i] = (int8_t)v;
    }
};
struct dequantize {
    integers q, zero;
    const float *s;
    around a;
    float *y;
    LMB_BODY void operator()(int i) const
    {
        int k = i / a.inner % a.n;
        y[i] = (float)((long long)q.at(i) - zero.at(k)) * s[k];
    }
};
struct fake_quant {
    const float *x, *s;
    integers zero;
    around a;
    float lo, hi;
    float *y;
    LMB_BODY void operator()(int i) const
    {
        int k = i / a.inner % a.n;
        float z = (float)zero.at(k), q = rintf(x[i] / s[k]) + z;
        q = q < lo ? lo : q;
        q = q > hi ? hi : q;
        y[i] = (q - z) * s[k];
    }
};
struct fake_quant_grad {
    const float *dy, *x, *s;
    integers zero;
    around a;
    float lo, hi;
    float *dx;
    LMB_BODY void operator()(int i) const
    {
        int k = i / a.inner % a.n;
        float q = rintf(x[i] / s[k]) + (float)zero.at(k);
        dx[i] = q >= lo && q <= hi ? dy[i] : 0.0f;
    }
};

bool quantised_types(const lmb_call *c, const char **why)
{
    *why = "an operand has 2^31 elements or more";
    return small_enough(c);
}

struct quantize_kernel {
    around a;
    static bool accepts(const lmb_call *c, const char **why) { return quantised_types(c, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        a = split(c->in[0].shape, c->in[1].shape, ((const lmb_axis_attr *)c->attr)->axis);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        return each(r, lmb_shape_count(&r->out[0].shape),
                    quantize{ in<const float>(r, 0), in<const float>(r, 1), integers_of(r, 2), a,
                              r->out[0].dtype == LMB_U8, r->out[0].data },
                    err);
    }
};
struct dequantize_kernel : quantize_kernel {
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        return each(r, lmb_shape_count(&r->out[0].shape),
                    dequantize{ integers_of(r, 0), integers_of(r, 2), in<const float>(r, 1), a, out<float>(r, 0) },
                    err);
    }
};

template <bool gradient> struct fake_kernel {
    around a;
    float lo, hi;
    static bool accepts(const lmb_call *c, const char **why) { return quantised_types(c, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_fake_quant_attr *t = (const lmb_fake_quant_attr *)c->attr;
        a = split(c->in[gradient].shape, c->in[gradient + 1].shape, t->axis);
        lo = (float)t->lo, hi = (float)t->hi;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        int64_t n = lmb_shape_count(&r->out[0].shape);
        const float *p = in<const float>(r, 0), *q = in<const float>(r, 1);
        return gradient ? each(r, n,
                               fake_quant_grad{ p, q, in<const float>(r, 2), integers_of(r, 3), a, lo, hi,
                                                out<float>(r, 0) },
                               err)
                        : each(r, n, fake_quant{ p, q, integers_of(r, 2), a, lo, hi, out<float>(r, 0) }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_quantize = kernel<quantize_kernel>("cuda:quantize", "QuantizeLinear", "");
const lmb_kernel lmbi_cuda_op_dequantize = kernel<dequantize_kernel>("cuda:dequantize", "DequantizeLinear", "");
const lmb_kernel lmbi_cuda_op_fake_quant = kernel<fake_kernel<false>>("cuda:fake_quant", "FakeQuant", "limbeck", true);
const lmb_kernel lmbi_cuda_op_fake_quant_grad =
    kernel<fake_kernel<true>>("cuda:fake_quant_grad", "FakeQuantGrad", "limbeck", true);
}
