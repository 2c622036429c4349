/* core/cpu/cross_entropy.c - softmax cross-entropy and its gradient over rows of f32 scores.
 *
 * The exponentials are a polynomial without branches, so that a row becomes vector instructions; they differ from exact
 * ones by 2e-7. What is summed is summed in double. A label out of range is left to the reference, which says so.
 *   source   the reduction x = n ln 2 + r and the polynomial: Cephes, expf
 */
#include "core/ops/cross_entropy.h"

#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/kernels.h"

/* exp(x) for x <= 0; below -87 it is the smallest normal number. */
__attribute__((always_inline)) static inline float exp_of(float x)
{
    const float to_whole = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    x = x < -87.0f ? -87.0f : x;
    float n = (x * 1.44269504f + to_whole) - to_whole, r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* e[i] = exp(x[i] - largest); the largest is returned. */
LMB_HOT static float exponentials(const float *LMB_RESTRICT x, int64_t n, float *LMB_RESTRICT e)
{
    float most = x[0];

    for (int64_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (int64_t i = 0; i < n; i++)
        e[i] = exp_of(x[i] - most);
    return most;
}

static double sum_of(const float *e, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += e[i];
    return sum;
}

/* What both read. */
typedef struct rows {
    const float *scores, *weights;
    const lmb_tensor *labels;
    int64_t n, c, ignore;
    char reduction;
} rows;

static rows rows_of(const lmb_run *r, int scores)
{
    const lmb_cross_entropy_attr *a = r->attr;
    const lmb_shape *s = &r->in[scores].shape;
    return (rows){ r->in[scores].data,
                   r->n_in > scores + 2 ? r->in[scores + 2].data : NULL,
                   &r->in[scores + 1],
                   s->d[0],
                   s->d[1],
                   a->ignore_index,
                   a->reduction[0] };
}

/* The label of row i and its weight, 0 when it is to be ignored; false: out of range. */
static bool label_of(const rows *p, int64_t i, int64_t *label, double *weight)
{
    *label =
        p->labels->dtype == LMB_S64 ? ((const int64_t *)p->labels->data)[i] : ((const int32_t *)p->labels->data)[i];
    *weight = 0;
    if (*label == p->ignore)
        return true;
    if (*label < 0 || *label >= p->c)
        return false;
    *weight = p->weights ? p->weights[*label] : 1.0;
    return true;
}

static bool accepts(const lmb_call *c, const char **why)
{
    int scores = strcmp(c->op->name, "SoftmaxCrossEntropyLoss") != 0;
    *why = "only f32 scores [N, C], without log_prob";
    return c->in[scores].dtype == LMB_F32 && c->in[scores].shape.n == 2 && c->in[scores].shape.d[1] > 0 &&
           (c->n_out < 2 || !c->out[1].present);
}

/* Scratch: the exponentials of a row. */
static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    (void)state, (void)err;
    *scratch = sizeof(float) * (size_t)c->in[0].shape.d[1];
    return LMB_OK;
}

static lmb_status loss_run(void *state, const lmb_run *r, lmb_error *err)
{
    rows p = rows_of(r, 0);
    double total = 0, weights = 0, w;
    float *y = r->out[0].data, *e = r->scratch;
    int64_t label;

    (void)state;
    for (int64_t i = 0; i < p.n; i++) {
        const float *x = p.scores + i * p.c;
        if (!label_of(&p, i, &label, &w))
            return lmb_op_cross_entropy.run(r, err);
        double l = 0;
        if (w != 0) {
            double most = exponentials(x, p.c, e);
            l = w * (most + log(sum_of(e, p.c)) - x[label]);
        }
        total += l;
        weights += w;
        if (p.reduction == 'n')
            y[i] = (float)l;
    }
    if (p.reduction == 'm')
        *y = (float)(weights != 0 ? total / weights : 0);
    else if (p.reduction == 's')
        *y = (float)total;
    return LMB_OK;
}

static lmb_status grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    rows p = rows_of(r, 1);
    const float *dloss = r->in[0].data;
    double weights = 0, w;
    int64_t label;

    (void)state;
    for (int64_t i = 0; i < p.n; i++, weights += w)
        if (!label_of(&p, i, &label, &w))
            return lmb_op_cross_entropy_grad.run(r, err);
    for (int64_t i = 0; i < p.n; i++) {
        float *dx = (float *)r->out[0].data + i * p.c;
        (void)label_of(&p, i, &label, &w);
        double f = w * (p.reduction == 'n' ? dloss[i] : dloss[0]);
        if (p.reduction == 'm')
            f = weights != 0 ? f / weights : 0;
        exponentials(p.scores + i * p.c, p.c, dx);
        float scale = (float)(f / sum_of(dx, p.c));
        for (int64_t k = 0; k < p.c; k++)
            dx[k] *= scale;
        if (w != 0)
            dx[label] -= (float)f;
    }
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_cross_entropy = {
    .name = "cpu:cross_entropy",
    .op = "SoftmaxCrossEntropyLoss",
    .domain = "",
    .accepts = accepts,
    .create = create,
    .run = loss_run,
};
const lmb_kernel lmbi_cpu_cross_entropy_grad = {
    .name = "cpu:cross_entropy_grad",
    .op = "SoftmaxCrossEntropyLossGrad",
    .domain = "limbeck",
    .accepts = accepts,
    .run = grad_run,
};
