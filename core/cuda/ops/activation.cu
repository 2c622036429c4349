/* core/cuda/ops/activation.cu - Relu, Clip, their gradients, and the sum of two alike, over numbers kept in f32 or
 * bf16.
 *
 * Idea: one element at a time, whatever the order; maps in groups of neighbours. Formulas as in
 * core/ops/{relu,clip,binary}.c.
 */
#include <float.h>

#include "core/cuda/ops/maps.h"
#include "core/cuda/ops/table.h"

namespace lmb {
namespace {

struct limits {
    const float *lo, *hi; /* NULL: none */
    LMB_BODY float low() const { return lo ? *lo : -FLT_MAX; }
    LMB_BODY float high() const { return hi ? *hi : FLT_MAX; }
};

/* y = op(x), or of two operands */
struct relu { LMB_BODY float operator()(float x, float, const limits &) const { return x < 0.0f ? 0.0f : x; } };
struct relu_grad {
    LMB_BODY float operator()(float dy, float x, const limits &) const { return x > 0.0f ? dy : 0.0f; }
};
struct clip {
    LMB_BODY float operator()(float x, float, const limits &l) const
    {
        float v = x < l.low() ? l.low() : x;
        return v > l.high() ? l.high() : v;
    }
};
struct clip_grad {
    LMB_BODY float operator()(float dy, float x, const limits &l) const
    {
        return x >= l.low() && x <= l.high() ? dy : 0.0f;
    }
};
struct sum { LMB_BODY float operator()(float a, float b, const limits &) const { return a + b; } };

template <class T, class Op, int operands> struct pointwise {
    const T *a, *b;
    T *y;
    limits l;
    template <int V> LMB_BODY void at(int i) const
    {
        pack<V> u = load<V>(a, i), v = operands > 1 ? load<V>(b, i) : pack<V>();
        for (int k = 0; k < V; k++)
            u.v[k] = Op()(u.v[k], operands > 1 ? v.v[k] : 0, l);
        store<V>(y, i, u);
    }
};

/* Rows that keep bf16 take maps alone: other tensors are small, and stay f32. */
template <class Form, class Op, int operands> struct pointwise_kernel {
    typedef Form form;
    typedef typename Form::type T;
    static bool accepts(const lmb_call *c, const char **why)
    {
        if (!(sizeof(T) == 2 ? two_dimensions(c, 0, why) : all_f32(c, 0, why)))
            return false;
        *why = "the operands differ in shape";
        return operands == 1 || lmb_shape_equal(&c->in[0].shape, &c->in[1].shape);
    }
    lmb_status prepare(const lmb_call *, size_t *, lmb_error *) { return LMB_OK; }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        int64_t n = lmb_shape_count(&r->out[0].shape);
        limits l = { in<const float>(r, operands), in<const float>(r, operands + 1) };
        bool groups = r->out[0].shape.n == 4 && in_groups(r, n);
        return each_group<T>(r, n, n, groups,
                             pointwise<T, Op, operands>{ in<const T>(r, 0), in<const T>(r, 1), out<T>(r, 0), l }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
#define POINTWISE(prefix, name, Form)                                                                                  \
    const lmb_kernel lmbi_cuda_##prefix##_relu =                                                                       \
        map_kernel<pointwise_kernel<Form, relu, 1>>(name ":relu", "Relu", "", bf16_maps, true);                        \
    const lmb_kernel lmbi_cuda_##prefix##_relu_grad =                                                                  \
        map_kernel<pointwise_kernel<Form, relu_grad, 2>>(name ":relu_grad", "ReluGrad", "limbeck", bf16_maps, true);   \
    const lmb_kernel lmbi_cuda_##prefix##_clip =                                                                       \
        map_kernel<pointwise_kernel<Form, clip, 1>>(name ":clip", "Clip", "", bf16_maps, true);                        \
    const lmb_kernel lmbi_cuda_##prefix##_clip_grad =                                                                  \
        map_kernel<pointwise_kernel<Form, clip_grad, 2>>(name ":clip_grad", "ClipGrad", "limbeck", bf16_maps, true)
POINTWISE(op, "cuda", plain_f32);
POINTWISE(bf16, "cuda-bf16", nhwc_bf16);
const lmb_kernel lmbi_cuda_alike_add =
    map_kernel<pointwise_kernel<plain_f32, sum, 2>>("cuda:add_alike", "Add", "", bf16_maps, true);
const lmb_kernel lmbi_cuda_bf16_add =
    map_kernel<pointwise_kernel<nhwc_bf16, sum, 2>>("cuda-bf16:add", "Add", "", bf16_maps, true);
}
