/* core/cuda/ops/elementwise.cu - one element at a time: smooth activations, and arithmetic with broadcasting.
 * activation.cu has Relu, Clip and sums of maps. Formulas and their order are the references'
 * (core/ops/{unary,binary}.c).
 */
#include <string.h>

#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/attrs.h"

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
}
