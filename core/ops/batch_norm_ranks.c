/* core/ops/batch_norm_ranks.c - batch normalisation over the rows of all ranks, as if one rank had them all.
 *
 * Idea: each rank sums its rows, x and x^2 of every channel in double, and one exchange a layer makes them those of
 * the whole batch. Backwards the same sums travel once more with those of dy and dy x, again one exchange, so that
 * nothing but x is kept. Every rank's loss is the mean over its own rows, and is weighed by its share of the batch
 * afterwards; sums of dy are therefore weighed before they travel, and divided by the own share when they come back.
 * Gradients of scale and bias are the own rows' alone: they are summed with all other gradients. Without ranks
 * (lmb_step_info) it is training_mode 1.
 *
 *   rounding  sums of squares in double lose what is below 1e-16 of the square of the mean, far less than f32 inputs
 *             have
 *   source    Ioffe and Szegedy 2015, section 3; Peng et al. 2018, MegDet, arXiv:1711.07240, section 3.2 (over ranks)
 */
#include "core/ops/batch_norm_ranks.h"

#include <math.h>

#include "core/ops/batch_norm.h"

/* Sums of a channel; what travels is [1 + SUMS * channels], the number of rows first. */
enum { X, XX, FORWARD, DY = FORWARD, DYX, SUMS };

typedef struct dims {
    int64_t n, c, area;
} dims;

static dims dims_of(const lmb_shape *s)
{
    dims d = { s->d[0], s->d[1], 1 };
    for (int i = 2; i < s->n; i++)
        d.area *= s->d[i];
    return d;
}

/* What travels, and the own sums beside it. */
size_t lmbi_norm_ranks_scratch(const lmb_call *c)
{
    return sizeof(double) * (1 + 2 * SUMS * (size_t)c->in[0].shape.d[1]);
}

static void sum_channel(const float *x, const float *dy, dims d, int64_t c, double *s)
{
    for (int k = 0; k < (dy ? SUMS : FORWARD); k++)
        s[k] = 0;
    for (int64_t n = 0; n < d.n; n++)
        for (int64_t i = 0; i < d.area; i++) {
            int64_t at = (n * d.c + c) * d.area + i;
            double v = x[at];
            s[X] += v;
            s[XX] += v * v;
            if (dy) {
                s[DY] += dy[at];
                s[DYX] += dy[at] * v;
            }
        }
}

static lmb_status over_ranks(const lmb_run *r, double *v, size_t n, lmb_error *err)
{
    const lmb_rank_sums *s = r->step->ranks;
    return s ? s->sum(s->ctx, v, n, err) : LMB_OK;
}

static double mean_of(const double *s, double count) { return count > 0 ? s[X] / count : 0; }

static double variance_of(const double *s, double count)
{
    double mean = mean_of(s, count), v = count > 0 ? s[XX] / count - mean * mean : 0;
    return v > 0 ? v : 0;
}

lmb_status lmbi_norm_ranks_run(const lmb_run *r, lmb_error *err)
{
    const lmb_batch_norm_attr *a = r->attr;
    const float *x = r->in[0].data, *scale = r->in[1].data, *b = r->in[2].data,
                *old[2] = { r->in[3].data, r->in[4].data };
    float *y = r->out[0].data,
          *next[2] = { r->n_out > 1 ? r->out[1].data : NULL, r->n_out > 2 ? r->out[2].data : NULL };
    dims d = dims_of(&r->in[0].shape);
    double *all = r->scratch, m = a->momentum;

    all[0] = (double)(d.n * d.area);
    for (int64_t c = 0; c < d.c; c++)
        sum_channel(x, NULL, d, c, all + 1 + FORWARD * c);
    LMB_TRY(over_ranks(r, all, 1 + FORWARD * (size_t)d.c, err));
    for (int64_t c = 0; c < d.c; c++) {
        const double *s = all + 1 + FORWARD * c;
        double mean = mean_of(s, all[0]), var = variance_of(s, all[0]);
        if (next[0])
            next[0][c] = (float)(m * old[0][c] + (1 - m) * mean);
        if (next[1])
            next[1][c] = (float)(m * old[1][c] + (1 - m) * var);
        float f = (float)(scale[c] / sqrt(var + a->epsilon)), shift = (float)(b[c] - mean * f);
        for (int64_t n = 0; n < d.n; n++)
            for (int64_t i = 0; i < d.area; i++) {
                int64_t k = (n * d.c + c) * d.area + i;
                y[k] = f * x[k] + shift;
            }
    }
    return LMB_OK;
}

/* One channel: `own` are this rank's sums, `s` those of all, with dy weighed. */
static void grad_channel(const lmb_run *r, dims d, int64_t c, const double *own, const double *s, double count,
                         double share)
{
    const lmb_batch_norm_attr *a = r->attr;
    const float *dy = r->in[0].data, *x = r->in[1].data, *scale = r->in[2].data;
    float *dx = r->out[0].data, *dscale = r->out[1].data, *db = r->out[2].data;
    double mean = mean_of(s, count), inv = 1 / sqrt(variance_of(s, count) + a->epsilon);
    double m1 = count > 0 ? s[DY] / count / share : 0,
           m2 = count > 0 ? inv * (s[DYX] - mean * s[DY]) / count / share : 0;

    if (db)
        db[c] = (float)own[DY];
    if (dscale)
        dscale[c] = (float)(inv * (own[DYX] - mean * own[DY]));
    for (int64_t n = 0; dx && n < d.n; n++)
        for (int64_t i = 0; i < d.area; i++) {
            int64_t k = (n * d.c + c) * d.area + i;
            dx[k] = (float)(scale[c] * inv * (dy[k] - m1 - (x[k] - mean) * inv * m2));
        }
}

lmb_status lmbi_norm_ranks_grad(const lmb_run *r, lmb_error *err)
{
    dims d = dims_of(&r->in[0].shape);
    double *all = r->scratch, *own = all + 1 + SUMS * d.c, share = r->step->ranks ? r->step->ranks->share : 1;

    all[0] = (double)(d.n * d.area);
    for (int64_t c = 0; c < d.c; c++) {
        double *s = all + 1 + SUMS * c, *mine = own + SUMS * c;
        sum_channel(r->in[1].data, r->in[0].data, d, c, mine);
        for (int k = 0; k < SUMS; k++)
            s[k] = mine[k] * (k < FORWARD ? 1 : share);
    }
    LMB_TRY(over_ranks(r, all, 1 + SUMS * (size_t)d.c, err));
    for (int64_t c = 0; c < d.c; c++)
        grad_channel(r, d, c, own + SUMS * c, all + 1 + SUMS * c, all[0], share);
    return LMB_OK;
}
