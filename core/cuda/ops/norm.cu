/* core/cuda/ops/norm.cu - batch normalisation, alone and fused with a sum and an activation, and its gradients.
 *
 * Idea: one team a channel walks its elements two or three times; a channel of 64 images of 32 x 32 is 256 KB, which stays in
 * the second-level cache between the passes. Statistics in double, as the references have them.
 *   source   core/ops/{batch_norm,batch_norm_act}.c
 */
#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/batch_norm.h"

namespace lmb {
namespace {

struct channels {
    int n, c, area;
    LMB_BODY int count() const { return n * area; }
    LMB_BODY int at(int i, int channel) const { return (i / area * c + channel) * area + i % area; }
};

channels channels_of(const lmb_shape *s)
{
    channels d = { (int)s->d[0], (int)s->d[1], 1 };
    for (int i = 2; i < s->n; i++)
        d.area *= (int)s->d[i];
    return d;
}

struct activation {
    char function; /* 'R'elu, 'C'lip, 0 */
    float lo, hi;
    LMB_BODY float of(float v) const
    {
        return function == 'R' ? (v < 0 ? 0 : v) : function == 'C' ? (v < lo ? lo : v > hi ? hi : v) : v;
    }
    LMB_BODY bool passes(float v) const { return function == 'R' ? v > 0 : function == 'C' ? v >= lo && v <= hi : true; }
};

template <class Team> LMB_BODY void statistics(Team t, const float *x, const channels &d, int c, double *mean, double *var)
{
    double sum = 0, square = 0, count = d.count();
    for (int i = t.lane(); i < d.count(); i += t.lanes())
        sum += x[d.at(i, c)];
    *mean = count > 0 ? t.sum(sum) / count : 0;
    for (int i = t.lane(); i < d.count(); i += t.lanes()) {
        double v = x[d.at(i, c)] - *mean;
        square += v * v;
    }
    *var = count > 0 ? t.sum(square) / count : 0;
}

/* ---- BatchNormalization ---- */

struct normalise {
    const float *x, *scale, *bias, *mean, *var;
    float *y, *new_mean, *new_var;
    channels d;
    float epsilon, momentum;
    bool training;
    template <class Team> LMB_BODY void operator()(Team t, int c) const
    {
        double m = mean[c], v = var[c];
        if (training) {
            double old_m = m, old_v = v, keep = momentum;
            statistics(t, x, d, c, &m, &v);
            if (t.lane() == 0 && new_mean)
                new_mean[c] = (float)(keep * old_m + (1 - keep) * m);
            if (t.lane() == 0 && new_var)
                new_var[c] = (float)(keep * old_v + (1 - keep) * v);
        }
        float f = (float)(scale[c] / sqrt(v + epsilon)), shift = (float)(bias[c] - m * f);
        for (int i = t.lane(); i < d.count(); i += t.lanes()) {
            int k = d.at(i, c);
            y[k] = f * x[k] + shift;
        }
    }
};
struct normalise_grad {
    const float *dy, *x, *scale, *mean, *var;
    float *dx, *dscale, *db;
    channels d;
    float epsilon;
    bool training;
    template <class Team> LMB_BODY void operator()(Team t, int c) const
    {
        double m = mean[c], v = var[c], sum = 0, product = 0, count = d.count();
        if (training)
            statistics(t, x, d, c, &m, &v);
        double inv = 1 / sqrt(v + epsilon);
        for (int i = t.lane(); i < d.count(); i += t.lanes()) {
            int k = d.at(i, c);
            sum += dy[k];
            product += dy[k] * (x[k] - m) * inv;
        }
        sum = t.sum(sum), product = t.sum(product);
        if (t.lane() == 0 && db)
            db[c] = (float)sum;
        if (t.lane() == 0 && dscale)
            dscale[c] = (float)product;
        double m1 = training ? sum / count : 0, m2 = training ? product / count : 0;
        for (int i = t.lane(); dx && i < d.count(); i += t.lanes()) {
            int k = d.at(i, c);
            dx[k] = (float)(scale[c] * inv * (dy[k] - m1 - (x[k] - m) * inv * m2));
        }
    }
};

template <bool gradient> struct norm_kernel {
    channels d;
    lmb_batch_norm_attr a;
    static bool accepts(const lmb_call *c, const char **why)
    {
        *why = "statistics of all ranks are the reference's";
        return ((const lmb_batch_norm_attr *)c->attr)->training_mode != LMB_NORM_RANKS && all_f32(c, 0, why);
    }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        d = channels_of(&c->in[0].shape);
        a = *(const lmb_batch_norm_attr *)c->attr;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const float *p[5];
        float *q[3];
        for (int i = 0; i < 5; i++)
            p[i] = in<const float>(r, i);
        for (int i = 0; i < 3; i++)
            q[i] = out<float>(r, i);
        bool training = a.training_mode != 0;
        return gradient ? teams(r, d.c, normalise_grad{ p[0], p[1], p[2], p[3], p[4], q[0], q[1], q[2], d, a.epsilon, training }, err)
                        : teams(r, d.c, normalise{ p[0], p[1], p[2], p[3], p[4], q[0], q[1], q[2], d, a.epsilon, a.momentum, training }, err);
    }
};

/* ---- fused with what follows ---- */

struct norm_act {
    const float *x, *scale, *bias, *mean, *var, *add;
    float *y, *new_mean, *new_var, *saved_mean, *saved_inverse;
    channels d;
    float epsilon, momentum;
    activation a;
    template <class Team> LMB_BODY void operator()(Team t, int c) const
    {
        double m, v, keep = momentum;
        statistics(t, x, d, c, &m, &v);
        float m32 = (float)m, inverse = (float)(1 / sqrt(v + epsilon)), f = scale[c] * inverse, shift = bias[c] - m32 * f;
        if (t.lane() == 0) {
            if (new_mean)
                new_mean[c] = (float)(keep * mean[c] + (1 - keep) * m);
            if (new_var)
                new_var[c] = (float)(keep * var[c] + (1 - keep) * v);
            if (saved_mean)
                saved_mean[c] = m32;
            if (saved_inverse)
                saved_inverse[c] = inverse;
        }
        for (int i = t.lane(); y && i < d.count(); i += t.lanes()) {
            int k = d.at(i, c);
            y[k] = a.of(f * x[k] + shift + (add ? add[k] : 0));
        }
    }
};
struct norm_act_grad {
    const float *dy, *x, *scale, *bias, *saved_mean, *saved_inverse;
    float *dx, *dscale, *db;
    channels d;
    activation a;
    template <class Team> LMB_BODY void operator()(Team t, int c) const
    {
        float m = saved_mean[c], inverse = saved_inverse[c], f = scale[c] * inverse, shift = bias[c] - m * f;
        double sum = 0, product = 0, share = d.count() ? 1.0 / d.count() : 0;
        for (int i = t.lane(); i < d.count(); i += t.lanes()) {
            int k = d.at(i, c);
            if (a.passes(f * x[k] + shift)) {
                sum += dy[k];
                product += (double)dy[k] * (x[k] - m) * inverse;
            }
        }
        sum = t.sum(sum), product = t.sum(product);
        if (t.lane() == 0 && dscale)
            dscale[c] = (float)product;
        if (t.lane() == 0 && db)
            db[c] = (float)sum;
        for (int i = t.lane(); dx && i < d.count(); i += t.lanes()) {
            int k = d.at(i, c);
            double g = a.passes(f * x[k] + shift) ? dy[k] : 0, hat = (double)(x[k] - m) * inverse;
            dx[k] = (float)(f * (g - sum * share - hat * product * share));
        }
    }
};

struct norm_apply {
    const float *x, *scale, *bias, *mean, *inverse;
    float *y;
    channels d;
    activation a;
    LMB_BODY void operator()(int i) const
    {
        int c = i / d.area % d.c;
        float f = scale[c] * inverse[c], shift = bias[c] - mean[c] * f;
        y[i] = a.of(f * x[i] + shift);
    }
};
struct norm_apply_kernel {
    norm_apply k = {};
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_batch_norm_act_attr *a = (const lmb_batch_norm_act_attr *)c->attr;
        k.d = channels_of(&c->in[0].shape);
        k.a = activation{ *a->function, a->lo, a->hi };
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        k.x = in<const float>(r, 0), k.scale = in<const float>(r, 1), k.bias = in<const float>(r, 2);
        k.mean = in<const float>(r, 3), k.inverse = in<const float>(r, 4), k.y = out<float>(r, 0);
        return each(r, lmb_shape_count(&r->out[0].shape), k, err);
    }
};

template <bool gradient> struct norm_act_kernel {
    channels d;
    float epsilon, momentum;
    activation act;
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_batch_norm_act_attr *a = (const lmb_batch_norm_act_attr *)c->attr;
        d = channels_of(&c->in[gradient].shape);
        epsilon = a->epsilon, momentum = a->momentum;
        act = activation{ *a->function, a->lo, a->hi };
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
        if (!gradient && d.count() == 0)
            return LMB_OK;
        return gradient ? teams(r, d.c, norm_act_grad{ p[0], p[1], p[2], p[3], p[4], p[5], q[0], q[1], q[2], d, act }, err)
                        : teams(r, d.c, norm_act{ p[0], p[1], p[2], p[3], p[4], p[5], q[0], q[1], q[2], q[3], q[4], d, epsilon, momentum, act },
                                err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_batch_norm = kernel<norm_kernel<false>>("cuda:batch_norm", "BatchNormalization", "");
const lmb_kernel lmbi_cuda_op_batch_norm_grad = kernel<norm_kernel<true>>("cuda:batch_norm_grad", "BatchNormGrad", "limbeck");
const lmb_kernel lmbi_cuda_op_batch_norm_act = kernel<norm_act_kernel<false>>("cuda:batch_norm_act", "BatchNormAct", "limbeck");
const lmb_kernel lmbi_cuda_op_batch_norm_apply = kernel<norm_apply_kernel>("cuda:batch_norm_apply", "BatchNormApply", "limbeck");
const lmb_kernel lmbi_cuda_op_batch_norm_act_grad = kernel<norm_act_kernel<true>>("cuda:batch_norm_act_grad", "BatchNormActGrad", "limbeck");
}
