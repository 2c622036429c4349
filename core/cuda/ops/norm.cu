/* core/cuda/ops/norm.cu - batch normalisation alone, and its gradients; norm_act.cu has what it is fused with.
 *
 * Idea: one team a channel walks its elements two or three times; a channel of 64 images of 32 x 32 is 256 KB, which
 * stays in the second-level cache between the passes. Statistics in double, as the references have them.
 *   source   core/ops/batch_norm.c
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

template <class Team>
LMB_BODY void statistics(Team t, const float *x, const channels &d, int c, double *mean, double *var)
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
        return gradient
                   ? teams(r, d.c,
                           normalise_grad{ p[0], p[1], p[2], p[3], p[4], q[0], q[1], q[2], d, a.epsilon, training },
                           err)
                   : teams(r, d.c,
                           normalise{ p[0], p[1], p[2], p[3], p[4], q[0], q[1], q[2], d, a.epsilon, a.momentum,
                                      training },
                           err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_batch_norm = kernel<norm_kernel<false>>("cuda:batch_norm", "BatchNormalization", "");
const lmb_kernel lmbi_cuda_op_batch_norm_grad =
    kernel<norm_kernel<true>>("cuda:batch_norm_grad", "BatchNormGrad", "limbeck");
}
