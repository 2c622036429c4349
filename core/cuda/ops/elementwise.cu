/* core/cuda/ops/elementwise.cu - one element at a time: smooth activations, arithmetic with broadcasting, quantisation,
 * dropout. activation.cu has Relu, Clip and sums of maps. Formulas and their order are the references'
 * (core/ops/{unary,binary,quantize,dropout}.c).
 */
#include <string.h>

#include "core/base/random.h"
#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/attrs.h"
#include "core/ops/quantize.h"

namespace lmb {
namespace {

/* ---- activations ---- */

enum function { LEAKY_RELU, SIGMOID, HARD_SIGMOID, HARD_SWISH, TANH, NO_FUNCTION };

LMB_BODY double limited(double v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

struct unary {
    function f;
    float alpha, beta;
    const float *x;
    float *y;
    LMB_BODY double value(double v) const
    {
        switch (f) {
        case LEAKY_RELU: return v < 0 ? alpha * v : v;
        case SIGMOID: return 1 / (1 + exp(-v));
        case HARD_SIGMOID: return limited(alpha * v + beta);
        case HARD_SWISH: return v * limited(v / 6 + 0.5);
        default: return tanh(v);
        }
    }
    LMB_BODY void operator()(int i) const { y[i] = (float)value(x[i]); }
};
struct unary_grad {
    function f;
    float alpha, beta;
    const float *dy, *x, *y;
    float *dx;
    LMB_BODY double slope(double v, double w) const
    {
        switch (f) {
        case LEAKY_RELU: return v < 0 ? alpha : 1;
        case SIGMOID: return w * (1 - w);
        case HARD_SIGMOID: return w > 0 && w < 1 ? alpha : 0;
        case HARD_SWISH: return v <= -3 ? 0 : v >= 3 ? 1 : v / 3 + 0.5;
        default: return 1 - w * w;
        }
    }
    LMB_BODY void operator()(int i) const { dx[i] = (float)(dy[i] * slope(x[i], y[i])); }
};

function function_of(const char *name)
{
    static const char *const names[] = { "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh" };
    for (int i = 0; i < NO_FUNCTION; i++)
        if (strcmp(names[i], name) == 0)
            return (function)i;
    return NO_FUNCTION;
}

struct unary_kernel {
    unary k = {};
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        k.f = function_of(c->op->name);
        if (c->op->attr_size) {
            const lmb_unary_attr *a = (const lmb_unary_attr *)c->attr;
            k.alpha = a->alpha, k.beta = a->beta;
        }
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        k.x = in<const float>(r, 0), k.y = out<float>(r, 0);
        return each(r, lmb_shape_count(&r->out[0].shape), k, err);
    }
};

struct unary_grad_kernel {
    unary_grad k = {};
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_unary_attr *a = (const lmb_unary_attr *)c->attr;
        k.f = function_of(a->function), k.alpha = a->alpha, k.beta = a->beta;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        k.dy = in<const float>(r, 0), k.x = in<const float>(r, 1), k.y = in<const float>(r, 2), k.dx = out<float>(r, 0);
        return each(r, lmb_shape_count(&r->out[0].shape), k, err);
    }
};

/* ---- arithmetic ---- */

enum arithmetic { ADD, SUB, MUL, DIV };

template <arithmetic op, bool same> struct binary {
    const float *a, *b;
    float *y;
    walk wa, wb;
    LMB_BODY void operator()(int i) const
    {
        float u = a[same ? i : wa.at(i)], v = b[same ? i : wb.at(i)];
        y[i] = op == ADD ? u + v : op == SUB ? u - v : op == MUL ? u * v : u / v;
    }
};

template <arithmetic op> struct binary_kernel {
    walk wa, wb;
    bool same;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        same = lmb_shape_equal(&c->in[0].shape, &c->in[1].shape);
        wa = broadcast(c->out[0].shape, c->in[0].shape), wb = broadcast(c->out[0].shape, c->in[1].shape);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const float *a = in<const float>(r, 0), *b = in<const float>(r, 1);
        int64_t n = lmb_shape_count(&r->out[0].shape);
        return same ? each(r, n, binary<op, true>{ a, b, out<float>(r, 0), wa, wb }, err)
                    : each(r, n, binary<op, false>{ a, b, out<float>(r, 0), wa, wb }, err);
    }
};

/* ---- quantisation ---- */

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

/* ---- dropout ---- */

/* Philox4x32-10 as core/base/random.c has it; Salmon et al., SC11. */
LMB_BODY void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4] = { counter[0], counter[1], counter[2], counter[3] }, k0 = key[0], k1 = key[1];
    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)p1, c[3] = (uint32_t)p0, c[0] = n0, c[2] = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

/* Four elements of a row share one block of the generator. */
struct dropout {
    const float *x;
    float *y;
    uint8_t *mask;
    const uint32_t *sample; /* of each row; NULL: the row number */
    lmb_rand stream;        /* of sample 0 */
    const lmb_step_there *there; /* seed and epoch of a recorded run; NULL: those of `stream` */
    int width, quads;
    float keep;
    uint32_t threshold;
    LMB_BODY void operator()(int i) const
    {
        int row = i / quads, quad = i % quads;
        uint32_t key[2] = { there ? (uint32_t)there->seed : stream.key[0],
                            there ? (uint32_t)(there->seed >> 32) ^ ((uint32_t)LMB_RAND_DROPOUT << 24)
                                  : stream.key[1] };
        uint32_t counter[4] = { (uint32_t)quad, there ? there->epoch : stream.counter[1],
                                sample ? sample[row] : (uint32_t)row, stream.counter[3] },
                 word[4];
        philox(counter, key, word);
        for (int k = 0; k < 4 && 4 * quad + k < width; k++) {
            int at = row * width + 4 * quad + k;
            bool kept = word[k] >= threshold;
            y[at] = kept ? x[at] * keep : 0.0f;
            if (mask)
                mask[at] = kept;
        }
    }
};
struct pass {
    const float *x;
    float *y;
    uint8_t *mask;
    LMB_BODY void operator()(int i) const
    {
        y[i] = x[i];
        if (mask)
            mask[i] = 1;
    }
};

template <bool gradient> struct dropout_kernel {
    int64_t seed;
    float ratio;
    static bool accepts(const lmb_call *c, const char **why)
    {
        *why = "numbers are not f32, or too many";
        return c->in[0].dtype == LMB_F32 && small_enough(c);
    }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_dropout_attr *a = (const lmb_dropout_attr *)c->attr;
        bool training = c->n_in > 2 && c->in[2].present && c->in[2].data && *(const uint8_t *)c->in[2].data;
        seed = a->seed;
        ratio = gradient ? a->ratio : 0;
        if (!gradient && training)
            ratio = c->n_in > 1 && c->in[1].present && c->in[1].data
                        ? (c->in[1].dtype == LMB_F64 ? (float)*(const double *)c->in[1].data
                                                     : *(const float *)c->in[1].data)
                        : 0.5f;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const lmb_shape *s = &r->in[0].shape;
        int64_t rows = s->n ? s->d[0] : 1, width = rows ? lmb_shape_count(s) / rows : 0, quads = (width + 3) / 4;
        if (ratio == 0)
            return each(r, rows * width, pass{ in<const float>(r, 0), out<float>(r, 0), out<uint8_t>(r, 1) }, err);
        lmb_rand stream = lmb_rand_at(r->step->seed, LMB_RAND_DROPOUT, r->step->epoch, (uint64_t)seed << 32);
        return each(r, rows * quads,
                    dropout{ in<const float>(r, 0), out<float>(r, 0), out<uint8_t>(r, 1), r->step->sample, stream,
                             r->there, (int)width, (int)quads, 1.0f / (1.0f - ratio),
                             (uint32_t)(ratio * 16777216.0f) << 8 },
                    err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_leaky_relu = kernel<unary_kernel>("cuda:leaky_relu", "LeakyRelu", "", true, true);
const lmb_kernel lmbi_cuda_op_sigmoid = kernel<unary_kernel>("cuda:sigmoid", "Sigmoid", "", true, true);
const lmb_kernel lmbi_cuda_op_hard_sigmoid = kernel<unary_kernel>("cuda:hard_sigmoid", "HardSigmoid", "", true, true);
const lmb_kernel lmbi_cuda_op_hard_swish = kernel<unary_kernel>("cuda:hard_swish", "HardSwish", "", true, true);
const lmb_kernel lmbi_cuda_op_tanh = kernel<unary_kernel>("cuda:tanh", "Tanh", "", true, true);
const lmb_kernel lmbi_cuda_op_unary_grad =
    kernel<unary_grad_kernel>("cuda:unary_grad", "UnaryGrad", "limbeck", true, true);
const lmb_kernel lmbi_cuda_op_add = kernel<binary_kernel<ADD>>("cuda:add", "Add", "");
const lmb_kernel lmbi_cuda_op_sub = kernel<binary_kernel<SUB>>("cuda:sub", "Sub", "");
const lmb_kernel lmbi_cuda_op_mul = kernel<binary_kernel<MUL>>("cuda:mul", "Mul", "");
const lmb_kernel lmbi_cuda_op_div = kernel<binary_kernel<DIV>>("cuda:div", "Div", "");
const lmb_kernel lmbi_cuda_op_quantize = kernel<quantize_kernel>("cuda:quantize", "QuantizeLinear", "");
const lmb_kernel lmbi_cuda_op_dequantize = kernel<dequantize_kernel>("cuda:dequantize", "DequantizeLinear", "");
const lmb_kernel lmbi_cuda_op_fake_quant = kernel<fake_kernel<false>>("cuda:fake_quant", "FakeQuant", "limbeck", true);
const lmb_kernel lmbi_cuda_op_fake_quant_grad =
    kernel<fake_kernel<true>>("cuda:fake_quant_grad", "FakeQuantGrad", "limbeck", true);
const lmb_kernel lmbi_cuda_op_dropout = kernel<dropout_kernel<false>>("cuda:dropout", "Dropout", "");
const lmb_kernel lmbi_cuda_op_dropout_grad =
    kernel<dropout_kernel<true>>("cuda:dropout_grad", "DropoutGrad", "limbeck");
}
