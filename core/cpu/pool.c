/* core/cpu/pool.c - pooling and its gradients over NHWC activations: loops run along the channels.
 *
 *   MaxPool, AveragePool (1-D and 2-D, dilation 1), their gradients; GlobalAveragePool; BroadcastTo of one number a
 *   channel over the area (its gradient); BiasGrad.
 */
#include "core/ops/pool.h"

#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/kernels.h"
#include "core/cpu/pool_disjoint.h"
#include "core/cpu/pool_window.h"

static bool window_ok(const lmb_call *c, const char **why)
{
    const lmb_pool_attr *a = c->attr;
    *why = "only f32, 1-D or 2-D, without dilation or indices";
    if (!lmbi_is_map(&lmbi_operand(c, LMB_OUT(c, 0))->shape) || c->in[0].dtype != LMB_F32 ||
        (c->n_out > 1 && c->out[1].present))
        return false;
    for (int i = 0; i < a->dilations.n; i++)
        if (a->dilations.v[i] != 1)
            return false;
    return true;
}

/* One window after another, inlined into loops that LMB_HOT compiles for each processor. */
#define INLINE __attribute__((always_inline)) static inline

INLINE void max_rows(const float *LMB_RESTRICT x, float *LMB_RESTRICT y, int64_t C)
{
    for (int64_t c = 0; c < C; c++)
        y[c] = x[c] > y[c] ? x[c] : y[c];
}

INLINE void add_rows(const float *LMB_RESTRICT x, float *LMB_RESTRICT y, int64_t C)
{
    for (int64_t c = 0; c < C; c++)
        y[c] += x[c];
}

INLINE void take(const float *LMB_RESTRICT x, const float *LMB_RESTRICT best, float *LMB_RESTRICT left,
                 float *LMB_RESTRICT dx, int64_t C)
{
    for (int64_t c = 0; c < C; c++) {
        float d = left[c], b = best[c], mine = x[c] == b ? d : 0.0f;
        mine = b != b ? d : mine;
        dx[c] += mine;
        left[c] = d - mine; /* mine is d or 0: exactly what is left */
    }
}

INLINE void scale_row(float *y, float f, int64_t C)
{
    for (int64_t c = 0; c < C; c++)
        y[c] *= f;
}

INLINE void add_scaled(const float *LMB_RESTRICT x, float *LMB_RESTRICT y, float f, int64_t C)
{
    for (int64_t c = 0; c < C; c++)
        y[c] += f * x[c];
}

LMB_HOT static void max_all(lmb_pooling p, const float *LMB_RESTRICT x, float *LMB_RESTRICT out)
{
    EACH_WINDOW {
        float *y = out + OUT_AT;
        window w = window_at(&p, oy, ox, false);
        if (w.y0 >= w.y1 || w.x0 >= w.x1) {
            memset(y, 0, sizeof *y * (size_t)p.c);
            continue;
        }
        memcpy(y, x + IN_AT(w.y0, w.x0), sizeof *y * (size_t)p.c);
        for (int64_t yy = w.y0; yy < w.y1; yy++)
            for (int64_t xx = w.x0; xx < w.x1; xx++)
                max_rows(x + IN_AT(yy, xx), y, p.c);
    }
}

static lmb_status max_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmb_pooling p;
    (void)state;
    LMB_TRY(lmb_pooling_of(r->attr, &r->in[0].shape, &p, err));
    if (lmbi_pool_is_disjoint(&p))
        lmbi_max_disjoint(&p, r->in[0].data, r->out[0].data);
    else
        max_all(p, r->in[0].data, r->out[0].data);
    return LMB_OK;
}

LMB_HOT static void average_all(lmb_pooling p, bool include_pad, const float *LMB_RESTRICT x, float *LMB_RESTRICT out)
{
    EACH_WINDOW {
        float *y = out + OUT_AT;
        window w = window_at(&p, oy, ox, include_pad);
        memset(y, 0, sizeof *y * (size_t)p.c);
        for (int64_t yy = w.y0; yy < w.y1; yy++)
            for (int64_t xx = w.x0; xx < w.x1; xx++)
                add_rows(x + IN_AT(yy, xx), y, p.c);
        scale_row(y, w.n > 0 ? (float)(1.0 / w.n) : 0, p.c);
    }
}

static lmb_status average_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_pool_attr *a = r->attr;
    lmb_pooling p;
    (void)state;
    LMB_TRY(lmb_pooling_of(a, &r->in[0].shape, &p, err));
    average_all(p, a->count_include_pad != 0, r->in[0].data, r->out[0].data);
    return LMB_OK;
}

/* The first maximum of each window, channel by channel, takes dy. best, left: [C], the largest and the dy that nobody
 * has taken yet. (A window that starts with NaN has no larger element: its first takes.) */
LMB_HOT static void max_grad_all(lmb_pooling p, const float *LMB_RESTRICT dy, const float *LMB_RESTRICT x,
                                 float *LMB_RESTRICT dx, float *LMB_RESTRICT best, float *LMB_RESTRICT left)
{
    EACH_WINDOW {
        window w = window_at(&p, oy, ox, false);
        if (w.y0 >= w.y1 || w.x0 >= w.x1)
            continue;
        memcpy(best, x + IN_AT(w.y0, w.x0), sizeof *best * (size_t)p.c);
        memcpy(left, dy + OUT_AT, sizeof *left * (size_t)p.c);
        for (int64_t yy = w.y0; yy < w.y1; yy++)
            for (int64_t xx = w.x0; xx < w.x1; xx++)
                max_rows(x + IN_AT(yy, xx), best, p.c);
        for (int64_t yy = w.y0; yy < w.y1; yy++)
            for (int64_t xx = w.x0; xx < w.x1; xx++)
                take(x + IN_AT(yy, xx), best, left, dx + IN_AT(yy, xx), p.c);
    }
}

static lmb_status max_grad_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    (void)state, (void)err;
    *scratch = (size_t)c->in[0].shape.d[1] * (2 * sizeof(float));
    return LMB_OK;
}

static lmb_status max_grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmb_pooling p;
    (void)state;
    LMB_TRY(lmb_pooling_of(r->attr, &r->out[0].shape, &p, err));
    if (lmbi_pool_is_disjoint(&p)) {
        lmbi_max_disjoint_grad(&p, r->in[0].data, r->in[1].data, r->out[0].data);
        return LMB_OK;
    }
    memset(r->out[0].data, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    max_grad_all(p, r->in[0].data, r->in[1].data, r->out[0].data, r->scratch, (float *)r->scratch + p.c);
    return LMB_OK;
}

LMB_HOT static void average_grad_all(lmb_pooling p, bool include_pad, const float *LMB_RESTRICT dy_all,
                                     float *LMB_RESTRICT dx)
{
    EACH_WINDOW {
        const float *dy = dy_all + OUT_AT;
        window w = window_at(&p, oy, ox, include_pad);
        for (int64_t yy = w.y0; yy < w.y1; yy++)
            for (int64_t xx = w.x0; xx < w.x1; xx++)
                add_scaled(dy, dx + IN_AT(yy, xx), w.n > 0 ? (float)(1.0 / w.n) : 0, p.c);
    }
}

static lmb_status average_grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_pool_attr *a = r->attr;
    lmb_pooling p;
    (void)state;
    LMB_TRY(lmb_pooling_of(a, &r->out[0].shape, &p, err));
    memset(r->out[0].data, 0, lmb_shape_bytes(&r->out[0].shape, LMB_F32));
    average_grad_all(p, a->count_include_pad != 0, r->in[0].data, r->out[0].data);
    return LMB_OK;
}

#define POOL(lower, text, Op, Domain, fn, ...)                                                       \
    const lmb_kernel lmbi_cpu_##lower = { .name = "nhwc:" text, .op = Op, .domain = Domain, .accepts = window_ok, \
                                          .layout = lmbi_all_nhwc, .run = fn, __VA_ARGS__ }
POOL(max_pool, "max_pool", "MaxPool", "", max_run, );
POOL(max_pool_grad, "max_pool_grad", "MaxPoolGrad", "limbeck", max_grad_run, .create = max_grad_create);
POOL(average_pool, "average_pool", "AveragePool", "", average_run, );
POOL(average_pool_grad, "average_pool_grad", "AveragePoolGrad", "limbeck", average_grad_run, );

static bool is_map(const lmb_call *c, const char **why)
{
    *why = "only 3-D and 4-D activations";
    return lmbi_is_map(&c->in[0].shape) && c->in[0].dtype == LMB_F32;
}

LMB_HOT static void global_all(const float *LMB_RESTRICT x, float *LMB_RESTRICT y, int64_t n, int64_t area, int64_t C)
{
    memset(y, 0, sizeof *y * (size_t)(n * C));
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < area; k++)
            add_rows(x + (i * area + k) * C, y + i * C, C);
        scale_row(y + i * C, 1.0f / (float)area, C);
    }
}

static lmb_status global_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->in[0].shape;
    (void)state, (void)err;
    global_all(r->in[0].data, r->out[0].data, s->d[0], lmbi_area(s), s->d[1]);
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_global_average_pool = {
    .name = "nhwc:global_average_pool", .op = "GlobalAveragePool", .domain = "", .accepts = is_map,
    .layout = lmbi_all_nhwc, .run = global_run,
};

static bool broadcast_ok(const lmb_call *c, const char **why)
{
    const lmb_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    *why = "only [N, C, 1, 1] to [N, C, H, W], or without H";
    return lmbi_is_map(x) && x->n == y->n && x->d[0] == y->d[0] && x->d[1] == y->d[1] && lmbi_area(x) == 1;
}

static lmb_status broadcast_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->out[0].shape;
    int64_t C = s->d[1], area = lmbi_area(s);
    (void)state, (void)err;
    for (int64_t n = 0; n < s->d[0]; n++)
        for (int64_t i = 0; i < area; i++)
            memcpy((float *)r->out[0].data + (n * area + i) * C, (const float *)r->in[0].data + n * C,
                   sizeof(float) * (size_t)C);
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_broadcast_area = {
    .name = "nhwc:broadcast", .op = "BroadcastTo", .domain = "limbeck", .accepts = broadcast_ok,
    .layout = lmbi_all_nhwc, .run = broadcast_run,
};

enum { BLOCK = 64 };

/* Rows of few channels are summed as longer ones of some pixels. */
static int64_t folded(int64_t channels)
{
    return channels < 32 ? 8 : 1;
}

/* Scratch: a row of doubles and one of floats. */
static lmb_status bias_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    (void)state, (void)err;
    *scratch = (size_t)(c->in[0].shape.d[1] * folded(c->in[0].shape.d[1])) * (sizeof(double) + sizeof(float));
    return LMB_OK;
}

/* Blocks of rows in f32, blocks in double, as in batch_norm.c. */
LMB_HOT static void sum_rows(const float *LMB_RESTRICT x, int64_t rows, int64_t C, double *LMB_RESTRICT sum,
                             float *LMB_RESTRICT part)
{
    memset(sum, 0, sizeof *sum * (size_t)C);
    for (int64_t r0 = 0; r0 < rows; r0 += BLOCK) {
        int64_t r1 = r0 + BLOCK < rows ? r0 + BLOCK : rows;
        memset(part, 0, sizeof *part * (size_t)C);
        for (int64_t r = r0; r < r1; r++)
            add_rows(x + r * C, part, C);
        for (int64_t c = 0; c < C; c++)
            sum[c] += part[c];
    }
}

static lmb_status bias_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *s = &r->in[0].shape;
    int64_t C = s->d[1], rows = s->d[0] * lmbi_area(s), fold = folded(C);
    double *sum = r->scratch;
    float *out = r->out[0].data;
    (void)state, (void)err;
    sum_rows(r->in[0].data, rows / fold, fold * C, sum, (float *)(sum + fold * C));
    for (int64_t c = 0; c < C; c++) {
        double all = 0;
        for (int64_t i = 0; i < fold; i++)
            all += sum[i * C + c];
        for (int64_t i = rows / fold * fold; i < rows; i++)
            all += ((const float *)r->in[0].data)[i * C + c];
        out[c] = (float)all;
    }
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_bias_grad = {
    .name = "nhwc:bias_grad", .op = "BiasGrad", .domain = "limbeck", .accepts = is_map, .layout = lmbi_all_nhwc,
    .create = bias_create, .run = bias_run,
};
