/* tests/core/cuda/errors.h - how far convolutions, their gradients and products are from sums in double, in units of
 * the sum of the magnitudes of what is multiplied: f32 1e-5, TF32 1e-3, bf16 1e-2. For the host (test_errors.c) and a
 * GPU (test_gpu_errors.c) alike. Nothing may stay unwritten: results begin as NaN. */
#ifndef LMB_TESTS_CORE_CUDA_ERRORS_H
#define LMB_TESTS_CORE_CUDA_ERRORS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bf16.h"
#include "core/base/random.h"
#include "core/cuda/device.h"
#include "core/graph/autodiff.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"

static const double bounds[LMB_CUDA_PRECISIONS] = { 1e-5, 1e-3, 1e-2 };

#define ck_ok_at(call, e)                   \
    do {                                    \
        if ((call) != LMB_OK)               \
            ck_abort_msg("%s", (e)->msg); \
    } while (0)

/* n, c, h, w, k, kernel, stride, padding, groups */
typedef struct shape { int n, c, h, w, k, r, s, p, g; } shape;
static const shape shapes[] = {
    { 3, 16, 9, 7, 24, 3, 1, 1, 1 }, { 2, 3, 15, 15, 8, 7, 2, 3, 1 },    { 4, 32, 6, 6, 64, 1, 1, 0, 1 },
    { 2, 24, 8, 8, 48, 1, 2, 0, 1 }, { 2, 12, 11, 10, 12, 3, 2, 1, 12 }, { 2, 20, 7, 9, 30, 3, 1, 1, 5 },
    { 3, 3, 9, 8, 40, 3, 1, 1, 1 },  { 4, 1, 12, 10, 6, 5, 1, 2, 1 },
    { 1, 5, 6, 7, 3, 5, 1, 2, 1 },   { 33, 70, 1, 1, 10, 1, 1, 0, 1 },   { 64, 128, 1, 1, 96, 1, 1, 0, 1 },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct sums { double *value, *size; float *got; int64_t n; } sums;

static sums sums_of(int64_t n)
{
    sums s = { calloc((size_t)n, sizeof(double)), calloc((size_t)n, sizeof(double)), malloc((size_t)n * sizeof(float)),
               n };
    for (int64_t i = 0; i < n; i++)
        s.got[i] = NAN;
    return s;
}

static void within(sums *s, double bound, const char *what, int which)
{
    for (int64_t i = 0; i < s->n; i++) {
        double error = fabs(s->got[i] - s->value[i]);
        ck_assert_msg(error <= bound * s->size[i] + 1e-30,
                      "%s of shape %d at %lld: %g instead of %g, off by %g of the magnitudes", what, which,
                      (long long)i, (double)s->got[i], s->value[i], error / s->size[i]);
    }
    free(s->value);
    free(s->size);
    free(s->got);
}

/* Numbers that bf16 holds, so that all precisions are given the same. */
static float *numbers(int64_t n, uint64_t which)
{
    lmb_rand r = lmb_rand_at(11, LMB_RAND_TEST, 0, which);
    float *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = lmb_bf16_get(lmb_bf16_of(lmb_rand_normal(&r, (uint32_t)i)));
    return v;
}

static void count(sums *s, int64_t i, float a, float b)
{
    s->value[i] += (double)a * b;
    s->size[i] += fabs((double)a * b);
}

/* y = w x, dx = w dy, dw = dy x, by definition. */
static void by_definition(const shape *q, const float *x, const float *w, const float *dy, sums *y, sums *dx, sums *dw)
{
    int oh = (q->h + 2 * q->p - q->r) / q->s + 1, ow = (q->w + 2 * q->p - q->r) / q->s + 1, cg = q->c / q->g,
        kg = q->k / q->g;
    for (int n = 0; n < q->n; n++)
        for (int k = 0; k < q->k; k++)
            for (int i = 0; i < oh * ow; i++)
                for (int j = 0; j < cg * q->r * q->r; j++) {
                    int row = i / ow * q->s - q->p + j / q->r % q->r, column = i % ow * q->s - q->p + j % q->r;
                    if (row < 0 || row >= q->h || column < 0 || column >= q->w)
                        continue;
                    int64_t at_y = ((int64_t)n * q->k + k) * oh * ow + i, at_w = (int64_t)k * cg * q->r * q->r + j;
                    int64_t at_x = (((int64_t)n * q->c + k / kg * cg + j / (q->r * q->r)) * q->h + row) * q->w + column;
                    count(y, at_y, w[at_w], x[at_x]);
                    count(dx, at_x, w[at_w], dy[at_y]);
                    count(dw, at_w, dy[at_y], x[at_x]);
                }
}

/* The shapes of x, w and y; a picture of one pixel is a row of a matrix. */
static void shapes_of(const shape *q, lmb_shape *x, lmb_shape *w, lmb_shape *y)
{
    int oh = (q->h + 2 * q->p - q->r) / q->s + 1, ow = (q->w + 2 * q->p - q->r) / q->s + 1;
    *x = LMB_SHAPE(q->n, q->c, q->h, q->w), *w = LMB_SHAPE(q->k, q->c / q->g, q->r, q->r),
    *y = LMB_SHAPE(q->n, q->k, oh, ow);
    if (q->h * q->w == 1)
        x->n = w->n = y->n = 2;
}

/* loss = sum of y dy, so that dy is the gradient of y; outputs y, dx, dw. */
static lmb_graph *graph_of(const shape *q, const lmb_shape *sx, const lmb_shape *sw, const lmb_shape *sy,
                           const float *x, const float *w, lmb_vid *dy, lmb_vid out[3], lmb_error *e)
{
    lmb_graph *g, *with;
    lmb_vid wrt[2];
    ck_ok_at(lmb_graph_create(&g, e), e);
    lmb_builder b = lmb_builder_of(g, e);
    wrt[0] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "x", LMB_F32, *sx, x);
    wrt[1] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, *sw, w);
    *dy = lmb_emit_value(&b, LMB_ROLE_INPUT, "dy", LMB_F32, *sy, NULL);
    lmb_vid y = sx->n == 2 ? lmb_emit(&b, "Gemm", "y", LMB_IN(wrt[0], wrt[1]), LMB_ATTRS(LMB_AINT("transB", 1)))
                           : lmb_emit(&b, "Conv", "y", LMB_IN(wrt[0], wrt[1]),
                                      LMB_ATTRS(LMB_AINT("group", q->g), LMB_AINTS("strides", q->s, q->s),
                                                LMB_AINTS("pads", q->p, q->p, q->p, q->p)));
    lmb_vid loss = lmb_emit(&b, "ReduceSum", "loss", LMB_IN(lmb_emit(&b, "Mul", "z", LMB_IN(y, *dy), LMB_NO_ATTRS)),
                            LMB_ATTRS(LMB_AINT("keepdims", 0)));
    ck_ok_at(lmb_builder_status(&b), e);
    ck_ok_at(lmb_autodiff(g, loss, wrt, 2, &with, out + 1, e), e);
    out[0] = y;
    static const char *const names[] = { "y", "dx", "dw" };
    for (int i = 0; i < 3; i++)
        ck_ok_at(lmb_graph_output_add(with, names[i], out[i], e), e);
    lmb_graph_destroy(g);
    return with;
}

/* y, dx, dw into s[0..2].got. */
static void run_shape(const lmb_backend *backend, const shape *q, const float *x, const float *w, const float *d,
                      sums s[3])
{
    const lmb_backend *list[] = { backend, NULL };
    lmb_plan_options o = { .backends = list };
    lmb_step_info info = { 1, 0, NULL };
    lmb_error e = LMB_ERROR_INIT;
    lmb_shape sx, sw, sy;
    lmb_vid dy, out[3];
    lmb_plan *p;

    shapes_of(q, &sx, &sw, &sy);
    lmb_graph *g = graph_of(q, &sx, &sw, &sy, x, w, &dy, out, &e);
    ck_ok_at(lmb_plan_compile(g, &o, &p, &e), &e);
    ck_ok_at(lmb_plan_bind(p, dy, (float *)d, &e), &e);
    for (int i = 0; i < 3; i++)
        ck_ok_at(lmb_plan_bind(p, out[i], s[i].got, &e), &e);
    ck_ok_at(lmb_plan_run(p, &info, &e), &e);
    lmb_plan_destroy(p);
    lmb_graph_destroy(g);
}

static void check_shape(const lmb_backend *backend, int which, double bound)
{
    const shape *q = &shapes[which];
    lmb_shape sx, sw, sy;

    shapes_of(q, &sx, &sw, &sy);
    float *x = numbers(lmb_shape_count(&sx), 1), *w = numbers(lmb_shape_count(&sw), 2),
          *d = numbers(lmb_shape_count(&sy), 3);
    sums s[3] = { sums_of(lmb_shape_count(&sy)), sums_of(lmb_shape_count(&sx)), sums_of(lmb_shape_count(&sw)) };
    static const char *const names[] = { "y", "dx", "dw" };
    by_definition(q, x, w, d, &s[0], &s[1], &s[2]);
    run_shape(backend, q, x, w, d, s);
    for (int i = 0; i < 3; i++)
        within(&s[i], bound, names[i], which);
    free(x);
    free(w);
    free(d);
}
#endif
