/* core/cuda/ops/move.cu - elements that only change their place: Transpose, Concat, Slice, Pad, BroadcastTo and
 * gradients.
 *
 * Idea: all but Concat and Pad are a walk by strides (core/cuda/ops/grid.h): the result's element i comes from, or goes
 * to, one offset. Gradients that add up what met in one place gather instead of scattering, so that no atomics are
 * needed.
 */
#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/attrs.h"
#include "core/ops/common.h"

namespace lmb {
namespace {

template <class T> struct gather {
    const T *x;
    T *y;
    walk w;
    LMB_BODY void operator()(int i) const { y[i] = x[w.at(i)]; }
};

/* y[i] = x[w(i)] for elements of any size. */
lmb_status run_gather(const lmb_run *r, const walk &w, int64_t n, lmb_error *err)
{
    const void *x = r->in[0].data;
    void *y = r->out[0].data;
    switch (lmb_dtype_bytes(r->in[0].dtype)) {
    case 1: return each(r, n, gather<uint8_t>{ (const uint8_t *)x, (uint8_t *)y, w }, err);
    case 2: return each(r, n, gather<uint16_t>{ (const uint16_t *)x, (uint16_t *)y, w }, err);
    case 4: return each(r, n, gather<uint32_t>{ (const uint32_t *)x, (uint32_t *)y, w }, err);
    default: return each(r, n, gather<uint64_t>{ (const uint64_t *)x, (uint64_t *)y, w }, err);
    }
}

bool any_type(const lmb_call *c, const char **why)
{
    *why = "an operand has 2^31 elements or more";
    return small_enough(c);
}

struct moving {
    walk w = {};
    static bool accepts(const lmb_call *c, const char **why) { return any_type(c, why); }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        return run_gather(r, w, lmb_shape_count(&r->out[0].shape), err);
    }
};

struct copy_kernel : moving { /* Reshape, Flatten, Identity, when they are no view */
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        w.n = 1, w.d[0] = (int)lmb_shape_count(&c->out[0].shape), w.stride[0] = 1;
        return LMB_OK;
    }
};

struct broadcast_kernel : moving {
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        w = broadcast(c->out[0].shape, c->in[0].shape);
        return LMB_OK;
    }
};

/* Strides of a row-major tensor. */
void strides_of(const lmb_shape *s, int stride[LMB_MAX_DIMS])
{
    int step = 1;
    for (int i = s->n - 1; i >= 0; i--) {
        stride[i] = step;
        step *= (int)s->d[i];
    }
}

struct transpose_kernel : moving {
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_transpose_attr *a = (const lmb_transpose_attr *)c->attr;
        int stride[LMB_MAX_DIMS], n = c->in[0].shape.n;
        strides_of(&c->in[0].shape, stride);
        w.n = n;
        for (int i = 0; i < n; i++) {
            w.d[i] = (int)c->out[0].shape.d[i];
            w.stride[i] = stride[a->perm.n ? a->perm.v[i] : n - 1 - i];
        }
        return LMB_OK;
    }
};

walk walk_of_cut(const int64_t *begin, const int64_t *step, const lmb_shape *part, const lmb_shape *whole)
{
    walk w = {};
    int stride[LMB_MAX_DIMS];
    strides_of(whole, stride);
    w.n = part->n;
    for (int i = 0; i < part->n; i++) {
        w.d[i] = (int)part->d[i];
        w.stride[i] = stride[i] * (int)step[i];
        w.first += stride[i] * (int)begin[i];
    }
    return w;
}

struct slice_kernel : moving {
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        lmbi_cut s;
        LMB_TRY(lmbi_slice_of(c->in, c->n_in, &s, err));
        w = walk_of_cut(s.begin, s.step, &s.out, &c->in[0].shape);
        return LMB_OK;
    }
};

struct zero {
    float *y;
    LMB_BODY void operator()(int i) const { y[i] = 0; }
};
struct scatter {
    const float *x;
    float *y;
    walk w;
    LMB_BODY void operator()(int i) const { y[w.at(i)] = x[i]; }
};

struct slice_grad_kernel {
    walk w;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_slice_grad_attr *a = (const lmb_slice_grad_attr *)c->attr;
        w = walk_of_cut(a->starts.v, a->steps.v, &c->in[0].shape, &c->out[0].shape);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        LMB_TRY(each(r, lmb_shape_count(&r->out[0].shape), zero{ out<float>(r, 0) }, err));
        return each(r, lmb_shape_count(&r->in[0].shape), scatter{ in<const float>(r, 0), out<float>(r, 0), w }, err);
    }
};

/* ---- Concat: one copy an operand ---- */

template <class T> struct put_part {
    const T *x;
    T *y;
    int part, row, offset;
    LMB_BODY void operator()(int i) const { y[i / part * row + offset + i % part] = x[i]; }
};

struct concat_kernel {
    int inner = 1, axis = 0;
    static bool accepts(const lmb_call *c, const char **why) { return any_type(c, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        LMB_TRY(lmbi_axis(((const lmb_axis_attr *)c->attr)->axis, c->out[0].shape.n, &axis, err));
        for (int i = axis + 1; i < c->out[0].shape.n; i++)
            inner *= (int)c->out[0].shape.d[i];
        return LMB_OK;
    }
    template <class T> lmb_status parts(const lmb_run *r, lmb_error *err)
    {
        int offset = 0, row = (int)r->out[0].shape.d[axis] * inner;
        for (int k = 0; k < r->n_in; k++) {
            int part = (int)r->in[k].shape.d[axis] * inner;
            LMB_TRY(each(r, lmb_shape_count(&r->in[k].shape),
                         put_part<T>{ (const T *)r->in[k].data, (T *)r->out[0].data, part, row, offset }, err));
            offset += part;
        }
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        switch (lmb_dtype_bytes(r->out[0].dtype)) {
        case 1: return parts<uint8_t>(r, err);
        case 2: return parts<uint16_t>(r, err);
        case 4: return parts<uint32_t>(r, err);
        default: return parts<uint64_t>(r, err);
        }
    }
};

/* ---- Pad ---- */

struct padding {
    int n, x[LMB_MAX_DIMS], y[LMB_MAX_DIMS], before[LMB_MAX_DIMS];
    char mode; /* 'c'onstant, 'r'eflect, 'e'dge */
    /* Offset in x of element i of the padded tensor, or -1 for the padding value. */
    LMB_BODY int source(int i) const
    {
        int offset = 0, stride = 1;
        for (int k = n - 1; k >= 0; k--) {
            int at = i % y[k] - before[k];
            i /= y[k];
            if (at < 0 || at >= x[k]) {
                if (mode == 'c')
                    return -1;
                if (mode == 'e')
                    at = at < 0 ? 0 : x[k] - 1;
                else
                    at = at < 0 ? -at : 2 * (x[k] - 1) - at;
            }
            offset += at * stride;
            stride *= x[k];
        }
        return offset;
    }
};
struct pad {
    const float *x, *value;
    float *y;
    padding p;
    LMB_BODY void operator()(int i) const
    {
        int from = p.source(i);
        y[i] = from >= 0 ? x[from] : value ? *value : 0;
    }
};
/* dx[i] is the sum of dy over all that came from i; along one dimension that are at most the place itself and, by mode,
 * reflections or the whole edge. The places are few: all of a dimension are looked at only for the edge. */
struct pad_grad {
    const float *dy;
    float *dx;
    padding p;
    LMB_BODY void operator()(int i) const
    {
        int at[LMB_MAX_DIMS], pick[LMB_MAX_DIMS] = { 0 };
        for (int k = p.n - 1, rest = i; k >= 0; k--) {
            at[k] = rest % p.x[k];
            rest /= p.x[k];
        }
        double sum = 0;
        for (;;) { /* over every combination of candidates, one dimension each */
            int o = 0, k;
            bool inside = true;
            for (k = 0; k < p.n && inside; k++) {
                int c = candidate(k, at[k], pick[k]);
                inside = c >= 0 && c < p.y[k];
                o = o * p.y[k] + c;
            }
            sum += inside ? dy[o] : 0;
            for (k = p.n - 1; k >= 0; k--) {
                if (++pick[k] < candidates(k, at[k]))
                    break;
                pick[k] = 0;
            }
            if (k < 0)
                break;
        }
        dx[i] = (float)sum;
    }
    LMB_BODY int candidates(int k, int at) const
    {
        int left = p.before[k] > 0 ? p.before[k] : 0,
            right = p.y[k] - p.before[k] - p.x[k] > 0 ? p.y[k] - p.before[k] - p.x[k] : 0;
        if (p.mode == 'r')
            return 3;
        return p.mode == 'e' ? 1 + (at == 0 ? left : 0) + (at == p.x[k] - 1 ? right : 0) : 1;
    }
    LMB_BODY int candidate(int k, int at, int pick) const
    {
        int home = at + p.before[k], left = p.before[k] > 0 ? p.before[k] : 0;
        if (pick == 0)
            return home;
        if (p.mode == 'r') { /* mirrored at the first and at the last element, which are their own mirrors */
            if (pick == 1)
                return at > 0 && at <= p.before[k] ? p.before[k] - at : -1;
            int mirror = p.before[k] + 2 * (p.x[k] - 1) - at;
            return at < p.x[k] - 1 ? mirror : -1;
        }
        pick--;
        if (at == 0 && pick < left)
            return pick;
        return p.before[k] + p.x[k] + (pick - (at == 0 ? left : 0));
    }
};

void padding_of(padding *p, const lmb_shape *x, const lmb_shape *y, const char *mode)
{
    p->n = x->n;
    p->mode = *mode;
    for (int i = 0; i < x->n; i++)
        p->x[i] = (int)x->d[i], p->y[i] = (int)y->d[i];
}

struct pad_kernel {
    padding p = {};
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 2, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        padding_of(&p, &c->in[0].shape, &c->out[0].shape, ((const lmb_pad_attr *)c->attr)->mode);
        for (int i = 0; i < p.n; i++)
            p.before[i] = (int)lmbi_index_at(&c->in[1], i);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        return each(r, lmb_shape_count(&r->out[0].shape),
                    pad{ in<const float>(r, 0), in<const float>(r, 2), out<float>(r, 0), p }, err);
    }
};
struct pad_grad_kernel {
    padding p = {};
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_pad_attr *a = (const lmb_pad_attr *)c->attr;
        padding_of(&p, &c->out[0].shape, &c->in[0].shape, a->mode);
        for (int i = 0; i < p.n; i++)
            p.before[i] = (int)a->pads.v[i];
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        return each(r, lmb_shape_count(&r->out[0].shape), pad_grad{ in<const float>(r, 0), out<float>(r, 0), p }, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_reshape = kernel<copy_kernel>("cuda:copy", "Reshape", "");
const lmb_kernel lmbi_cuda_op_flatten = kernel<copy_kernel>("cuda:copy", "Flatten", "");
const lmb_kernel lmbi_cuda_op_identity = kernel<copy_kernel>("cuda:copy", "Identity", "");
const lmb_kernel lmbi_cuda_op_transpose = kernel<transpose_kernel>("cuda:transpose", "Transpose", "");
const lmb_kernel lmbi_cuda_op_concat = kernel<concat_kernel>("cuda:concat", "Concat", "");
const lmb_kernel lmbi_cuda_op_slice = kernel<slice_kernel>("cuda:slice", "Slice", "");
const lmb_kernel lmbi_cuda_op_slice_grad = kernel<slice_grad_kernel>("cuda:slice_grad", "SliceGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_pad = kernel<pad_kernel>("cuda:pad", "Pad", "");
const lmb_kernel lmbi_cuda_op_pad_grad = kernel<pad_grad_kernel>("cuda:pad_grad", "PadGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_broadcast_to = kernel<broadcast_kernel>("cuda:broadcast_to", "BroadcastTo", "limbeck");
}
