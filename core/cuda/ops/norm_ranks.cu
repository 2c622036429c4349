/* core/cuda/ops/norm_ranks.cu - batch normalisation over the rows of all ranks, and its gradients, over maps in any
 * form.
 *
 * Idea: each rank sums its own rows in one reading, one exchange on the same stream makes the sums those of all ranks
 * (lmb_rank_sums, which on GPUs is NCCL's), and a second pass normalises. What travels is as in
 * core/ops/batch_norm_ranks.c: the number of rows, and of each channel the sums of x and x^2; backwards, so that
 * nothing but x is kept, these again with those of dy and dy x, weighed by this rank's share of the batch. Sums are
 * double; a channel in plain order is a team's, a column of NHWC maps goes as in maps.h.
 *   source   core/ops/batch_norm_ranks.c
 */
#include "core/cuda/ops/maps.h"
#include "core/cuda/ops/table.h"
#include "core/ops/batch_norm.h"

namespace lmb {
namespace {

constexpr int forward_sums = 2, backward_sums = 4; /* x, x^2; dy, dy x */

/* Statistics of all ranks' rows, from what has travelled: [0] the rows, then a channel's sums. */
struct of_all {
    double count, mean, variance;
    LMB_BODY of_all(const double *all, const double *s)
    {
        count = all[0];
        mean = count > 0 ? s[0] / count : 0;
        double v = count > 0 ? s[1] / count - mean * mean : 0;
        variance = v > 0 ? v : 0;
    }
};

/* ---- this rank's sums ---- */

template <class T, bool nhwc, int K> struct own_sums {
    const T *x, *dy; /* dy: K is backward_sums */
    double *all, *own; /* [1 + K c], [K c] or NULL */
    double share;
    maps<nhwc> m;
    template <int V> LMB_BODY void add(int i, int, double s[K][V]) const
    {
        pack<V> v = load<V>(x, i), d = K == backward_sums ? load<V>(dy, i) : pack<V>();
        for (int k = 0; k < V; k++) {
            s[0][k] += v.v[k];
            s[1][k] += (double)v.v[k] * v.v[k];
            if (K == backward_sums) {
                s[K - 2][k] += d.v[k];
                s[K - 1][k] += (double)d.v[k] * v.v[k];
            }
        }
    }
    LMB_BODY void finish(int c, const double s[K]) const
    {
        if (c == 0)
            all[0] = m.count();
        for (int k = 0; k < K; k++) {
            all[1 + K * c + k] = k < forward_sums ? s[k] : s[k] * share;
            if (own)
                own[K * c + k] = s[k];
        }
    }
    /* a channel of plain maps */
    template <class Team> LMB_BODY void operator()(Team t, int c) const
    {
        double s[K][1], total[K];
        for (int k = 0; k < K; k++)
            s[k][0] = 0;
        for (int i = t.lane(); i < m.count(); i += t.lanes())
            add<1>(m.at(i / m.area, c, i % m.area), c, s);
        for (int k = 0; k < K; k++)
            total[k] = t.sum(s[k][0]);
        if (t.lane() == 0)
            finish(c, total);
    }
};

/* ---- what comes back ---- */

struct line { float f, shift; }; /* y = f x + shift */

struct settle {
    const double *all;
    const float *scale, *bias, *mean, *var;
    float *new_mean, *new_var;
    line *a; /* [c] */
    float epsilon, momentum;
    LMB_BODY void operator()(int c) const
    {
        of_all s(all, all + 1 + forward_sums * c);
        double keep = momentum;
        if (new_mean)
            new_mean[c] = (float)(keep * mean[c] + (1 - keep) * s.mean);
        if (new_var)
            new_var[c] = (float)(keep * var[c] + (1 - keep) * s.variance);
        float f = (float)(scale[c] / sqrt(s.variance + epsilon));
        a[c] = line{ f, (float)(bias[c] - s.mean * f) };
    }
};

template <class T, bool nhwc> struct apply {
    const T *x;
    T *y;
    const line *a; /* [c] */
    maps<nhwc> m;
    template <int V> LMB_BODY void at(int i) const
    {
        pack<V> v = load<V>(x, i);
        int c = m.channel(i);
        for (int k = 0; k < V; k++)
            v.v[k] = a[c + k].f * v.v[k] + a[c + k].shift;
        store<V>(y, i, v);
    }
};

/* dx = f (dy - sum - (x - mean) inverse product), the two sums shared out over the rows. */
struct slope { double f, mean, inverse, sum, product; };

struct settle_grad {
    const double *all, *own;
    const float *scale;
    float *dscale, *db;
    slope *a; /* [c] */
    double share;
    float epsilon;
    LMB_BODY void operator()(int c) const
    {
        const double *s = all + 1 + backward_sums * c, *mine = own + backward_sums * c;
        of_all of(all, s);
        double inverse = 1 / sqrt(of.variance + epsilon), per = of.count > 0 ? 1 / of.count / share : 0;
        if (db)
            db[c] = (float)mine[2];
        if (dscale)
            dscale[c] = (float)(inverse * (mine[3] - of.mean * mine[2]));
        a[c] = slope{ scale[c] * inverse, of.mean, inverse, s[2] * per, inverse * (s[3] - of.mean * s[2]) * per };
    }
};

template <class T, bool nhwc> struct apply_grad {
    const T *dy, *x;
    T *dx;
    const slope *a; /* [c] */
    maps<nhwc> m;
    template <int V> LMB_BODY void at(int i) const
    {
        pack<V> v = load<V>(x, i), d = load<V>(dy, i);
        int c = m.channel(i);
        for (int k = 0; k < V; k++) {
            const slope &p = a[c + k];
            v.v[k] = (float)(p.f * (d.v[k] - p.sum - (v.v[k] - p.mean) * p.inverse * p.product));
        }
        store<V>(dx, i, v);
    }
};

template <class Form, bool gradient> struct ranks_kernel {
    typedef Form form;
    typedef typename Form::type T;
    static constexpr int K = gradient ? backward_sums : forward_sums;
    maps<Form::nhwc> m;
    float epsilon, momentum;
    size_t sums; /* bytes of scratch before what travels */
    static bool accepts(const lmb_call *c, const char **why)
    {
        if (!(Form::nhwc ? two_dimensions(c, gradient, why) : all_f32(c, 0, why)))
            return false;
        *why = "statistics of this rank's batch, or known ones";
        return ((const lmb_batch_norm_attr *)c->attr)->training_mode == LMB_NORM_RANKS;
    }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *)
    {
        const lmb_batch_norm_attr *a = (const lmb_batch_norm_attr *)c->attr;
        m = maps_of<Form::nhwc>(&c->in[gradient].shape);
        epsilon = a->epsilon, momentum = a->momentum;
        sums = Form::nhwc ? column_bytes<K>(m.count(), m.c) : 0;
        *scratch = sums + sizeof(double) * (1 + 2 * K * (size_t)m.c) + sizeof(slope) * (size_t)m.c;
        return LMB_OK;
    }
    /* What travels begins a new line of memory when `sums` does; then the own sums, then a channel's numbers. */
    double *all(const lmb_run *r) const { return (double *)((char *)r->scratch + sums); }
    double *own(const lmb_run *r) const { return all(r) + 1 + K * m.c; }
    void *numbers(const lmb_run *r) const { return own(r) + K * m.c; }

    lmb_status exchange(const lmb_run *r, lmb_error *err) const
    {
        const lmb_rank_sums *s = r->step->ranks;
        size_t n = 1 + K * (size_t)m.c;
        if (s && r->queue && !s->sum_there)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "statistics of all ranks have no way between their GPUs");
        return !s ? LMB_OK : r->queue ? s->sum_there(s->ctx, all(r), n, err) : s->sum(s->ctx, all(r), n, err);
    }
    lmb_status add_up(const lmb_run *r, bool groups, double share, lmb_error *err) const
    {
        own_sums<T, Form::nhwc, K> f = { in<const T>(r, gradient), gradient ? in<const T>(r, 0) : nullptr, all(r),
                                         gradient ? own(r) : nullptr, share, m };
        if constexpr (Form::nhwc)
            return columns<K>(r, m.count(), m.c, groups, (double *)r->scratch, f, err);
        else
            return teams(r, m.c, f, err);
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        double share = r->step->ranks ? r->step->ranks->share : 1;
        bool groups = Form::nhwc && in_groups(r, m.c);
        int64_t n = (int64_t)m.count() * m.c;

        LMB_TRY(add_up(r, groups, share, err));
        LMB_TRY(exchange(r, err));
        if constexpr (gradient) {
            slope *a = (slope *)numbers(r);
            LMB_TRY((each(r, m.c,
                          settle_grad{ all(r), own(r), in<const float>(r, 2), out<float>(r, 1), out<float>(r, 2), a,
                                       share, epsilon },
                          err)));
            T *dx = out<T>(r, 0);
            return dx ? each_group<T>(r, n, m.c, groups,
                                      apply_grad<T, Form::nhwc>{ in<const T>(r, 0), in<const T>(r, 1), dx, a, m }, err)
                      : LMB_OK;
        } else {
            line *a = (line *)numbers(r);
            LMB_TRY((each(r, m.c,
                          settle{ all(r), in<const float>(r, 1), in<const float>(r, 2), in<const float>(r, 3),
                                  in<const float>(r, 4), out<float>(r, 1), out<float>(r, 2), a, epsilon, momentum },
                          err)));
            T *y = out<T>(r, 0);
            apply<T, Form::nhwc> f = { in<const T>(r, 0), y, a, m };
            return y ? each_group<T>(r, n, m.c, groups, f, err) : LMB_OK;
        }
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
#define ROWS(prefix, name, Form)                                                                                      \
    const lmb_kernel lmbi_cuda_##prefix##norm_ranks =                                                                 \
        map_kernel<ranks_kernel<Form, false>>(name ":norm_ranks", "BatchNormalization", "");                          \
    const lmb_kernel lmbi_cuda_##prefix##norm_ranks_grad =                                                            \
        map_kernel<ranks_kernel<Form, true>>(name ":norm_ranks_grad", "BatchNormGrad", "limbeck")
ROWS(, "cuda", plain_f32);
ROWS(nhwc_, "cuda-nhwc", nhwc_f32);
ROWS(bf16_, "cuda-bf16", nhwc_bf16);
}
