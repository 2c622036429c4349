/* tests/core/cpu/sums.h - convolutions as sums in double, tap by tap: forward, and both gradients. What every kernel of
 * core/cpu is held against.
 */
#ifndef LMB_TESTS_CORE_CPU_SUMS_H
#define LMB_TESTS_CORE_CPU_SUMS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/random.h"
#include "core/cpu/conv.h"
#include "tests/check_main.h"

/* The sizes of the result are filled in; a shape without groups is one filter a channel. */
static inline lmb_conv shape_of(const lmb_conv *v)
{
    lmb_conv s = *v;
    if (!s.group)
        s.group = s.k = s.c;
    s.oh = (s.h + s.ph + s.ph2 - (s.kh - 1) * s.dh - 1) / s.sh + 1;
    s.ow = (s.w + s.pw + s.pw2 - (s.kw - 1) * s.dw - 1) / s.sw + 1;
    ck_assert(s.oh > 0 && s.ow > 0);
    return s;
}

typedef struct tensors { float *x, *w, *y; size_t nx, nw, ny; double *want_x, *want_w, *want_y; } tensors;

/* NaN beyond the end: what is read there spoils a result that a test looks at. (The sanitizer sees reads of heap.) */
static inline float *numbers(size_t n, uint32_t index)
{
    lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, index);
    float *f = malloc(sizeof *f * (n + 1));
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < n; i++)
        f[i] = lmb_rand_uniform(&r, (uint32_t)i) * 2 - 1;
    f[n] = NAN;
    return f;
}

static inline float *unwritten(int64_t n)
{
    float *f = malloc(sizeof *f * (size_t)(n + 1));
    ck_assert_ptr_nonnull(f);
    memset(f, 0xff, sizeof *f * (size_t)(n + 1));
    return f;
}

/* Random tensors, channels last (weights plain), and the three results. */
static inline tensors make(const lmb_conv *v)
{
    int64_t cg = v->c / v->group, kg = v->k / v->group;
    tensors t = { .nx = (size_t)(v->n * v->h * v->w * v->c), .nw = (size_t)(v->k * cg * v->kh * v->kw),
                  .ny = (size_t)(v->n * v->oh * v->ow * v->k) };

    t.x = numbers(t.nx, 1), t.w = numbers(t.nw, 2), t.y = numbers(t.ny, 3);
    t.want_x = calloc(t.nx, sizeof(double)), t.want_w = calloc(t.nw, sizeof(double));
    t.want_y = calloc(t.ny, sizeof(double));
    ck_assert(t.want_x && t.want_w && t.want_y);
    for (int64_t n = 0; n < v->n; n++)
        for (int64_t o = 0; o < v->oh * v->ow; o++)
            for (int64_t tap = 0; tap < v->kh * v->kw; tap++) {
                int64_t iy = o / v->ow * v->sh - v->ph + tap / v->kw * v->dh,
                        ix = o % v->ow * v->sw - v->pw + tap % v->kw * v->dw;
                if (iy < 0 || iy >= v->h || ix < 0 || ix >= v->w)
                    continue;
                for (int64_t k = 0; k < v->k; k++)
                    for (int64_t c = 0; c < cg; c++) {
                        int64_t xi = ((n * v->h + iy) * v->w + ix) * v->c + k / kg * cg + c;
                        int64_t wi = (k * cg + c) * v->kh * v->kw + tap, yi = (n * v->oh * v->ow + o) * v->k + k;
                        t.want_y[yi] += (double)t.x[xi] * t.w[wi];
                        t.want_x[xi] += (double)t.y[yi] * t.w[wi];
                        t.want_w[wi] += (double)t.y[yi] * t.x[xi];
                    }
            }
    return t;
}

static inline void drop(tensors *t)
{
    free(t->x), free(t->w), free(t->y), free(t->want_x), free(t->want_w), free(t->want_y);
}

static inline void near(const float *got, const double *want, size_t n, const char *what)
{
    double scale = 1e-6, worst = 0;
    for (size_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs(want[i]));
        worst = fabs(got[i] - want[i]) <= worst ? worst : fabs(got[i] - want[i]);
    }
    ck_assert_msg(worst <= 3e-6 * scale, "%s: off by %g of %g", what, worst, scale);
}

#endif
