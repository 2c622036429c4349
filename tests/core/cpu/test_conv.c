/* Mirrors core/cpu/conv.c, depthwise.c, gemm.c: every vector width against sums in double, and every case of an op that our
 * own kernels take, through a plan, against the reference. */
#include "core/cpu/conv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/check/check.h"
#include "core/cpu/band.h"
#include "core/cpu/cpu.h"
#include "core/cpu/stem.h"
#include "core/graph/autodiff.h"
#include "tests/check_main.h"

/* Sizes are filled in by `shape_of`. Strides beyond the kernel, pads on one side, taps that never meet a pixel, tails of
 * channels in each vector width, several blocks of rows, a depth beyond one panel. */
static const lmb_conv shapes[] = {
    { .n = 2, .c = 3, .h = 9, .w = 8, .k = 16, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1, .group = 1 },
    { .n = 3, .c = 1, .h = 12, .w = 13, .k = 6, .kh = 5, .kw = 5, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 2, .pw = 2, .ph2 = 2, .pw2 = 2, .group = 1 },
    { .n = 2, .c = 16, .h = 8, .w = 8, .k = 37, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 0, .group = 1 },
    { .n = 1, .c = 24, .h = 7, .w = 5, .k = 8, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .group = 1 },
    { .n = 2, .c = 17, .h = 9, .w = 6, .k = 5, .kh = 1, .kw = 1, .sh = 3, .sw = 2, .dh = 1, .dw = 1, .group = 1 },
    { .n = 1, .c = 70, .h = 6, .w = 6, .k = 34, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 2, .dw = 2, .ph = 2, .pw = 2, .ph2 = 2, .pw2 = 2, .group = 1 },
    { .n = 2, .c = 12, .h = 6, .w = 7, .k = 8, .kh = 2, .kw = 3, .sh = 1, .sw = 2, .dh = 1, .dw = 1, .ph = 0, .pw = 2, .ph2 = 1, .pw2 = 0, .group = 4 },
    { .n = 9, .c = 32, .h = 16, .w = 16, .k = 32, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .group = 1 },
    { .n = 1, .c = 4, .h = 3, .w = 4, .k = 4, .kh = 2, .kw = 2, .sh = 5, .sw = 3, .dh = 1, .dw = 3, .ph = 1, .pw = 0, .ph2 = 0, .pw2 = 4, .group = 2 },
};

enum { MADE_UP = 100 }; /* seeds */

/* One filter a channel. */
static const lmb_conv deep[] = {
    { .n = 2, .c = 16, .h = 8, .w = 9, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 2, .c = 29, .h = 9, .w = 12, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 1, .c = 21, .h = 11, .w = 10, .kh = 5, .kw = 5, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 2, .pw = 2, .ph2 = 2, .pw2 = 2 },
    { .n = 3, .c = 16, .h = 12, .w = 11, .kh = 5, .kw = 5, .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 2, .pw = 1, .ph2 = 2, .pw2 = 2 },
    { .n = 2, .c = 16, .h = 7, .w = 11, .kh = 2, .kw = 1, .sh = 3, .sw = 2, .dh = 1, .dw = 1, .ph = 1 },
    { .n = 2, .c = 16, .h = 1, .w = 9, .kh = 2, .kw = 3, .sh = 3, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .pw2 = 1 },
    { .n = 2, .c = 16, .h = 7, .w = 7, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 3, .pw = 4, .ph2 = 0, .pw2 = 3 },
    { .n = 1, .c = 18, .h = 2, .w = 3, .kh = 4, .kw = 7, .sh = 1, .sw = 3, .dh = 2, .dw = 2, .ph = 6, .pw = 9, .ph2 = 5, .pw2 = 4 },
};

static lmb_conv shape_of(const lmb_conv *v)
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
static float *numbers(size_t n, uint32_t index)
{
    lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, index);
    float *f = malloc(sizeof *f * (n + 1));
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < n; i++)
        f[i] = lmb_rand_uniform(&r, (uint32_t)i) * 2 - 1;
    f[n] = NAN;
    return f;
}

static float *unwritten(int64_t n)
{
    float *f = malloc(sizeof *f * (size_t)(n + 1));
    ck_assert_ptr_nonnull(f);
    memset(f, 0xff, sizeof *f * (size_t)(n + 1));
    return f;
}

/* Random tensors, channels last (weights plain), and the three results. */
static tensors make(const lmb_conv *v)
{
    int64_t cg = v->c / v->group, kg = v->k / v->group;
    tensors t = { .nx = (size_t)(v->n * v->h * v->w * v->c), .nw = (size_t)(v->k * cg * v->kh * v->kw),
                  .ny = (size_t)(v->n * v->oh * v->ow * v->k) };

    t.x = numbers(t.nx, 1), t.w = numbers(t.nw, 2), t.y = numbers(t.ny, 3);
    t.want_x = calloc(t.nx, sizeof(double)), t.want_w = calloc(t.nw, sizeof(double)), t.want_y = calloc(t.ny, sizeof(double));
    ck_assert(t.want_x && t.want_w && t.want_y);
    for (int64_t n = 0; n < v->n; n++)
        for (int64_t o = 0; o < v->oh * v->ow; o++)
            for (int64_t tap = 0; tap < v->kh * v->kw; tap++) {
                int64_t iy = o / v->ow * v->sh - v->ph + tap / v->kw * v->dh, ix = o % v->ow * v->sw - v->pw + tap % v->kw * v->dw;
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

static void drop(tensors *t)
{
    free(t->x), free(t->w), free(t->y), free(t->want_x), free(t->want_w), free(t->want_y);
}

static void near(const float *got, const double *want, size_t n, const char *what)
{
    double scale = 1e-6, worst = 0;
    for (size_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs(want[i]));
        worst = fabs(got[i] - want[i]) <= worst ? worst : fabs(got[i] - want[i]);
    }
    ck_assert_msg(worst <= 3e-6 * scale, "%s: off by %g of %g", what, worst, scale);
}

/* y = conv(x, w), or dx from dy: gathered row by row, multiplied in two unequal blocks. */
static void check_products(const lmbi_conv_loops *l, const lmb_conv *v, bool backward)
{
    lmb_error err = LMB_ERROR_INIT;
    tensors t = make(v);
    lmbi_taps g;

    ck_ok(lmbi_taps_create(v, backward, &g, &err));
    int64_t c = g.c / g.group, k = g.k / g.group, result = g.n * g.oh * g.ow * g.k;
    float *y = unwritten(result);
    for (int64_t f = 0; f < g.phases; f++)
        for (int64_t i = 0; i < g.group; i++) {
            const lmbi_phase *p = &g.phase[f];
            int64_t depth = p->taps * c, ld = depth + 3, all = g.n * p->rows * p->cols;
            float *b = unwritten(lmbi_packed(l, depth, k)), *rows = unwritten(lmbi_up(all, l->tall) * ld);
            int64_t *at = malloc(sizeof *at * (size_t)(all + 1));
            for (int64_t m = 0; m < all; m++)
                at[m] = ((m / (p->rows * p->cols) * g.oh + p->y + m / p->cols % p->rows * g.jump_y) * g.ow + p->x + m % p->cols * g.jump_x) * g.k;
            const float *w = t.w + i * c * k * g.kernel;
            lmbi_pack(l, w, p->tap, p->taps, c, backward ? k * g.kernel : g.kernel, k, backward ? g.kernel : c * g.kernel, 1, b);
            int64_t some = all / 3, source = i * c;
            for (int64_t m = 0; m < all; m += some + 1) {
                int64_t count = all - m < some + 1 ? all - m : some + 1;
                l->gather(&g, p, (backward ? t.y : t.x) + source, m, count, rows, ld);
                l->multiply(rows, ld, count, depth, b, k, y + i * k, at + m, false);
                l->multiply(rows, ld, count, depth, b, k, y + i * k, at + m, true); /* and once more: twice the sum */
            }
            free(b), free(rows), free(at);
        }
    for (int64_t i = 0; i < result; i++)
        y[i] /= 2;
    near(y, backward ? t.want_x : t.want_y, (size_t)result, backward ? "gradient of the input" : "convolution");
    lmbi_taps_free(&g);
    free(y);
    drop(&t);
}

static void check_columns(const lmbi_conv_loops *l, const lmb_conv *v)
{
    lmb_error err = LMB_ERROR_INIT;
    tensors t = make(v);
    lmbi_taps g;

    ck_ok(lmbi_taps_create(v, false, &g, &err));
    int64_t c = g.c / g.group, k = g.k / g.group, depth = g.kernel * c, all = g.n * g.oh * g.ow;
    int64_t ld = lmbi_up(depth, l->rows), lds = lmbi_up(k, l->lanes);
    float *dw = unwritten((int64_t)t.nw), *rows = unwritten(all * ld), *dy = unwritten(all * lds);
    float *s = calloc((size_t)(ld * lds), sizeof *s);
    for (int64_t i = 0; i < g.group; i++) {
        memset(s, 0, sizeof *s * (size_t)(ld * lds));
        l->gather(&g, g.phase, t.x + i * c, 0, all, rows, ld);
        for (int64_t r = 0; r < all; r++)
            memcpy(dy + r * lds, t.y + r * g.k + i * k, sizeof *dy * (size_t)k);
        l->columns(rows, ld, ld, dy, lds, lds, all, s, lds);
        for (int64_t o = 0; o < k; o++)
            for (int64_t j = 0; j < depth; j++)
                dw[((i * k + o) * c + j % c) * g.kernel + g.tap[j / c].weight] = s[j * lds + o];
    }
    near(dw, t.want_w, t.nw, "gradient of the weights");
    lmbi_taps_free(&g);
    free(dw), free(rows), free(dy), free(s);
    drop(&t);
}

START_TEST(products_of_every_vector_width)
{
    const lmbi_conv_loops *list[4];
    lmb_conv v = shape_of(&shapes[_i]);
    for (const lmbi_conv_loops *const *l = lmbi_conv_choices(list); *l; l++) {
        check_products(*l, &v, false);
        check_products(*l, &v, true);
        check_columns(*l, &v);
    }
}
END_TEST

/* The same over padded images: the same bits. */
static void check_padded(const lmbi_conv_loops *l, const lmbi_taps *g, const tensors *t, const float *want)
{
    lmb_error err = LMB_ERROR_INIT;
    const float *x = g->backward ? t->y : t->x;
    int64_t result = g->oh * g->ow * g->c;
    float *image = calloc((size_t)(g->tall * g->side * g->c), sizeof *image), *y = unwritten(result);
    float *w = malloc(sizeof *w * (size_t)(g->kernel * g->c));
    lmbi_taps padded;

    ck_assert(image && w);
    ck_ok(lmbi_taps_padded(g, &padded, &err));
    for (int64_t i = 0; i < g->kernel * g->c; i++)
        w[i] = t->w[i % g->c * g->kernel + g->tap[i / g->c].weight];
    for (int64_t n = 0; n < g->n; n++) {
        lmbi_pad(g, x + n * g->h * g->w * g->c, image);
        l->depthwise(&padded, padded.phase, image, w, y);
        for (int64_t i = 0; i < result; i++)
            ck_assert_msg(y[i] == want[n * result + i], "padded: %g, not %g", y[i], want[n * result + i]);
    }
    lmbi_taps_free(&padded);
    free(image), free(y), free(w);
}

static void check_depthwise(const lmbi_conv_loops *l, const lmb_conv *v)
{
    lmb_error err = LMB_ERROR_INIT;
    tensors t = make(v);
    lmbi_taps g;
    float *y = unwritten((int64_t)t.ny), *dx = unwritten((int64_t)t.nx), *dw = unwritten((int64_t)t.nw);
    float *w = malloc(sizeof *w * (t.nw + 1)), *s = unwritten(v->kh * v->kw * lmbi_up(v->c, l->lanes));

    for (int backward = 0; backward < 2; backward++) {
        ck_ok(lmbi_taps_create(v, backward, &g, &err));
        for (int64_t f = 0; f < g.phases; f++) {
            const lmbi_phase *p = &g.phase[f];
            for (int64_t i = 0; i < p->taps * g.c; i++)
                w[i] = t.w[i % g.c * g.kernel + p->tap[i / g.c].weight];
            for (int64_t n = 0; n < g.n; n++)
                l->depthwise(&g, p, (backward ? t.y : t.x) + n * g.h * g.w * g.c, w, (backward ? dx : y) + n * g.oh * g.ow * g.c);
        }
        if (g.phases == 1 && g.taps == g.kernel)
            check_padded(l, &g, &t, backward ? dx : y);
        lmbi_taps_free(&g);
    }
    near(y, t.want_y, t.ny, "depthwise");
    near(dx, t.want_x, t.nx, "gradient of the input");
    ck_ok(lmbi_taps_create(v, false, &g, &err));
    float *image = calloc((size_t)(g.tall * g.side * g.c), sizeof *image);
    memset(s, 0, sizeof *s * (size_t)(g.kernel * lmbi_up(g.c, l->lanes)));
    for (int64_t n = 0; n < g.n; n++) {
        lmbi_pad(&g, t.x + n * g.h * g.w * g.c, image);
        l->depthwise_gradient(&g, image, t.y + n * g.oh * g.ow * g.c, s);
    }
    free(image);
    for (int64_t c = 0; c < g.c; c++)
        for (int64_t i = 0; i < g.kernel; i++) {
            int64_t b = c / l->lanes * l->lanes, first = b + l->lanes <= g.c ? b : g.c - l->lanes;
            dw[c * g.kernel + g.tap[i].weight] = s[i * lmbi_up(g.c, l->lanes) + b + c - first];
        }
    near(dw, t.want_w, t.nw, "gradient of the weights");
    lmbi_taps_free(&g);
    free(y), free(dx), free(dw), free(w), free(s);
    drop(&t);
}

START_TEST(depthwise_of_every_vector_width)
{
    const lmbi_conv_loops *list[4];
    lmb_conv v = shape_of(&deep[_i]);
    for (const lmbi_conv_loops *const *l = lmbi_conv_choices(list); *l; l++)
        check_depthwise(*l, &v);
}
END_TEST

/* Finished products: all heights of a tile, tails of columns, with and without bias and sum. */
START_TEST(direct_products)
{
    static const int64_t columns[] = { 3, 16, 21, 37, 64 };
    const lmbi_conv_loops *list[4];
    for (const lmbi_conv_loops *const *l = lmbi_conv_choices(list); *l; l++)
        for (int64_t rows = 1; rows <= 29; rows += rows < 14 ? 1 : 5)
            for (int j = 0; j < LMB_COUNT(columns); j++) {
                int64_t n = columns[j], depth = 1 + rows * 3 % 20;
                float *a = numbers((size_t)(rows * depth), 1), *w = numbers((size_t)(n * depth), 2), *bias = numbers((size_t)n, 3);
                float *add = numbers((size_t)(rows * n), 4), *y = unwritten(rows * n), *b = unwritten(lmbi_packed(*l, depth, n));
                bool with = (rows + j) % 2;
                lmbi_conv_end e = { with ? bias : NULL, with ? add : NULL, with ? -0.75f : -INFINITY, with ? 1.5f : INFINITY };
                lmbi_pack(*l, w, NULL, 1, depth, 1, n, depth, 1, b);
                (*l)->direct(a, rows, depth, b, n, &e, y);
                for (int64_t i = 0; i < rows * n; i++) {
                    double v = with ? (double)bias[i % n] + add[i] : 0;
                    for (int64_t d = 0; d < depth; d++)
                        v += (double)a[i / n * depth + d] * w[i % n * depth + d];
                    v = fmin(fmax(v, e.lo), e.hi);
                    ck_assert_msg(fabs(y[i] - v) < 1e-5, "%d rows, %d columns: %g, not %g", (int)rows, (int)n, y[i], v);
                }
                ck_assert_msg(isnan(y[rows * n]), "written beyond the end");
                free(a), free(w), free(bias), free(add), free(y), free(b);
            }
}
END_TEST

/* 3x3 and a filter a channel: few channels and many, both strides, images with hardly a pixel that is not at an edge. */
static const lmb_conv bands[] = {
    { .n = 2, .c = 8, .h = 13, .w = 12, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 2, .c = 40, .h = 7, .w = 9, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 2, .c = 29, .h = 9, .w = 12, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 1, .c = 16, .h = 10, .w = 11, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 0, .pw = 2, .ph2 = 1, .pw2 = 1 },
    { .n = 3, .c = 4, .h = 6, .w = 16, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 2, .pw = 0, .ph2 = 0, .pw2 = 2 },
    { .n = 1, .c = 2, .h = 3, .w = 14, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 0, .pw = 2, .ph2 = 0, .pw2 = 1 },
    { .n = 1, .c = 17, .h = 3, .w = 3, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 2, .c = 32, .h = 4, .w = 3, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
};

START_TEST(bands_of_every_vector_width)
{
    const lmbi_conv_end e = { .lo = -INFINITY, .hi = INFINITY };
    const lmbi_band_loops *list[4];
    lmb_conv v = shape_of(&bands[_i]);
    lmb_error err = LMB_ERROR_INIT;
    tensors t = make(&v);

    for (int backward = 0; backward < (v.sw == 1 ? 2 : 1); backward++) {
        lmbi_taps taps;
        lmbi_band g;
        ck_ok(lmbi_taps_create(&v, backward, &taps, &err));
        ck_assert(lmbi_band_of(&taps, &v, &g));
        ck_assert_ptr_nonnull(lmbi_band_choices(&g, list)[0]);
        for (const lmbi_band_loops *const *l = list; *l; l++) {
            int64_t from = g.h * g.w * g.c, to = g.oh * g.ow * g.c;
            float *w = unwritten(9 * lmbi_band_row(&g, (*l)->lanes)), *scratch = unwritten(lmbi_band_floats(&g)), *y = unwritten(v.n * to);
            lmbi_band_pack(&g, &taps, (*l)->lanes, t.w, w);
            for (int64_t n = 0; n < v.n; n++)
                (*l)->convolve(&g, (backward ? t.y : t.x) + n * from, w, &e, scratch, y + n * to);
            near(y, backward ? t.want_x : t.want_y, (size_t)(v.n * to), backward ? "gradient of the input" : "convolution");
            free(w), free(scratch), free(y);
        }
        lmbi_taps_free(&taps);
    }
    drop(&t);
}
END_TEST

/* With bias and limits, through plans. */
START_TEST(bands_in_plans)
{
    const lmb_conv *v = &bands[_i];
    const lmb_backend *own[3];
    lmb_error err = LMB_ERROR_INIT;
    lmb_op_case c = { "ConvAct", "band", { { LMB_CASE_FIXED, { 4, { v->n, v->c, v->h, v->w } }, -1, 1, { 0 } },
                      { LMB_CASE_FIXED, { 4, { v->c, 1, 3, 3 } }, -1, 1, { 0 } }, { LMB_CASE_FIXED, { 1, { v->c } }, -1, 1, { 0 } } },
                      { LMB_AINT("group", v->c), LMB_AINTS("pads", v->ph, v->pw, v->ph2, v->pw2), LMB_AINTS("strides", v->sh, v->sw),
                        LMB_ATEXT("function", "Clip"), LMB_AREAL("lo", -0.5f), LMB_AREAL("hi", 0.75f) }, 0, 3e-5f };
    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_check_case(&c, own, 1, NULL, &err));
}
END_TEST

/* Few channels, with channels of the result that fill a group of 8, do not, and begin a second one. */
static const lmb_conv few[] = {
    { .n = 2, .c = 3, .h = 9, .w = 32, .k = 8, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1, .group = 1 },
    { .n = 2, .c = 1, .h = 12, .w = 28, .k = 6, .kh = 5, .kw = 5, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 2, .pw = 2, .ph2 = 2, .pw2 = 2, .group = 1 },
    { .n = 1, .c = 4, .h = 5, .w = 97, .k = 11, .kh = 2, .kw = 4, .sh = 1, .sw = 2, .dh = 2, .dw = 1, .ph = 0, .pw = 2, .ph2 = 1, .pw2 = 0, .group = 1 },
    { .n = 3, .c = 2, .h = 4, .w = 15, .k = 1, .kh = 3, .kw = 1, .sh = 3, .sw = 1, .dh = 1, .dw = 1, .ph = 4, .ph2 = 3, .group = 1 },
    { .n = 1, .c = 1, .h = 1, .w = 50, .k = 3, .kh = 1, .kw = 5, .sh = 1, .sw = 2, .dh = 1, .dw = 3, .ph = 0, .pw = 9, .ph2 = 0, .pw2 = 30, .group = 1 },
    { .n = 2, .c = 4, .h = 45, .w = 96, .k = 8, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1, .group = 1 },
    { .n = 1, .c = 2, .h = 3, .w = 40, .k = 8, .kh = 3, .kw = 3, .sh = 1, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 0, .group = 1 },
};

static void check_stem(const lmbi_stem_loops *l, const lmb_conv *v)
{
    lmb_error err = LMB_ERROR_INIT;
    lmbi_conv_end e = { .lo = -INFINITY, .hi = INFINITY };
    tensors t = make(v);
    lmbi_stem g;

    ck_ok(lmbi_stem_create(v, l->lanes, &g, &err));
    float *planes = calloc((size_t)lmbi_stem_planes(&g), sizeof *planes), *w = unwritten(lmbi_stem_packed(&g));
    float *x = malloc(sizeof *x * (t.nx + 1)), *y = unwritten((int64_t)t.ny);
    int64_t area = v->h * v->w, image = v->c * area;
    ck_assert(planes && x);
    lmbi_stem_pack(&g, t.w, w);
    for (int64_t i = 0; i < v->n * image; i++) /* channels first */
        x[i] = t.x[i / image * image + i % area * v->c + i / area % v->c];
    for (int64_t n = 0; n < v->n; n++)
        for (int64_t row = 0; row < g.oh; row += g.rows) {
            l->split(&g, x + n * image, row, planes);
            l->convolve(&g, planes, w, &e, row, y + n * v->oh * v->ow * v->k);
        }
    near(y, t.want_y, t.ny, "stem");
    free(planes), free(w), free(x), free(y), free(g.at);
    drop(&t);
}

START_TEST(stems_of_every_vector_width)
{
    lmb_conv v = shape_of(&few[_i]);
    check_stem(&lmbi_stem_plain, &v);
    if (lmbi_stem_choice()->lanes > lmbi_stem_plain.lanes)
        check_stem(lmbi_stem_choice(), &v);
#if defined(__x86_64__)
    if (lmbi_stem_choice()->lanes > lmbi_stem_avx2.lanes)
        check_stem(&lmbi_stem_avx2, &v);
#endif
}
END_TEST

/* With bias and activation, through plans. */
START_TEST(stems_in_plans)
{
    const lmb_conv *v = &few[_i];
    const lmb_backend *own[3];
    lmb_error err = LMB_ERROR_INIT;
    lmb_op_case c = { "ConvAct", "stem", { { LMB_CASE_FIXED, { 4, { v->n, v->c, v->h, v->w } }, -1, 1, { 0 } },
                      { LMB_CASE_FIXED, { 4, { v->k, v->c, v->kh, v->kw } }, -1, 1, { 0 } },
                      { LMB_CASE_FIXED, { 1, { v->k } }, -1, 1, { 0 } } },
                      { LMB_AINTS("pads", v->ph, v->pw, v->ph2, v->pw2), LMB_AINTS("dilations", v->dh, v->dw),
                        LMB_AINTS("strides", v->sh, v->sw), LMB_ATEXT("function", "Relu") }, 0, 3e-5f };
    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_check_case(&c, own, 1, NULL, &err));
}
END_TEST

/* The cases of every op by "own", and that the kernel of ours is the one that ran where there is one. */
START_TEST(cases_of_the_check)
{
    const lmb_op_case *c = &lmb_op_cases[_i];
    const lmb_backend *own[3];
    lmb_error err = LMB_ERROR_INIT;
    int checked;

    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_check_case(c, own, 1, &checked, &err));
    ck_assert_int_gt(checked, 0);
}
END_TEST

/* A convolution that a seed makes up, forward and both gradients. */
START_TEST(convolutions_made_up)
{
    lmb_rand r = lmb_rand_at(_i + 1, LMB_RAND_TEST, 1, 0);
    uint32_t i = 0;
#define UP_TO(lo, hi) ((int64_t)(lo) + (int64_t)lmb_rand_below(&r, i++, (uint32_t)((hi) - (lo) + 1)))
    int64_t kh = UP_TO(1, 4), kw = UP_TO(1, 5), dh = UP_TO(1, 2), dw = UP_TO(1, 3), h = UP_TO(1, 12), w = UP_TO(1, 26);
    int64_t group = UP_TO(1, 3), cg = UP_TO(1, 7), kg = UP_TO(1, 18), p[4] = { UP_TO(0, 3), UP_TO(0, 3), UP_TO(0, 3), UP_TO(0, 3) };
    const lmb_backend *own[3];
    lmb_error err = LMB_ERROR_INIT;

    if (UP_TO(0, 2) == 0) { /* depthwise */
        group = UP_TO(4, 21);
        cg = kg = 1;
    }
    while (h + p[0] + p[2] < (kh - 1) * dh + 1)
        h++;
    while (w + p[1] + p[3] < (kw - 1) * dw + 1)
        w++;
    lmb_op_case c = { "Conv", "made up", { { LMB_CASE_SMOOTH, { 4, { 2, group * cg, h, w } }, -1, 1, { 0 } },
                      { LMB_CASE_SMOOTH, { 4, { group * kg, cg, kh, kw } }, -1, 1, { 0 } } },
                      { LMB_AINT("group", group), LMB_AINTS("pads", p[0], p[1], p[2], p[3]), LMB_AINTS("dilations", dh, dw),
                        LMB_AINTS("strides", UP_TO(1, 3), UP_TO(1, 4)) }, 0, 3e-5f };
    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_check_case(&c, own, 1, NULL, &err));
}
END_TEST

/* Operands without a single element, which a model's file may have: answered, by whatever backend. */
static const lmb_op_case nothing[] = {
    { "Conv", "no channels", { { LMB_CASE_SMOOTH, { 4, { 2, 0, 8, 32 } }, -1, 1, { 0 } }, { LMB_CASE_SMOOTH, { 4, { 8, 0, 3, 3 } }, -1, 1, { 0 } } },
      { LMB_AINTS("pads", 1, 1, 1, 1) }, 0, 0 },
    { "Conv", "no channels at all", { { LMB_CASE_SMOOTH, { 4, { 2, 0, 8, 8 } }, -1, 1, { 0 } }, { LMB_CASE_SMOOTH, { 4, { 0, 0, 3, 3 } }, -1, 1, { 0 } } },
      { LMB_AINTS("pads", 1, 1, 1, 1) }, 0, 0 },
    { "Conv", "no images", { { LMB_CASE_SMOOTH, { 4, { 0, 16, 8, 8 } }, -1, 1, { 0 } }, { LMB_CASE_SMOOTH, { 4, { 16, 16, 3, 3 } }, -1, 1, { 0 } } },
      { LMB_AINTS("pads", 1, 1, 1, 1) }, 0, 0 },
    { "Gemm", "no depth", { { LMB_CASE_SMOOTH, { 2, { 3, 0 } }, -1, 1, { 0 } }, { LMB_CASE_SMOOTH, { 2, { 0, 5 } }, -1, 1, { 0 } } }, { { 0 } }, 0, 0 },
    { "MaxPool", "no channels", { { LMB_CASE_SPREAD, { 4, { 2, 0, 4, 4 } }, -1, 1, { 0 } } }, { LMB_AINTS("kernel_shape", 2, 2) }, 0, 0 },
    { "GlobalAveragePool", "no channels", { { LMB_CASE_SMOOTH, { 4, { 2, 0, 4, 4 } }, -1, 1, { 0 } } }, { { 0 } }, 0, 0 },
    { "Relu", "nothing", { { LMB_CASE_SPREAD, { 4, { 2, 0, 4, 4 } }, -1, 1, { 0 } } }, { { 0 } }, 0, 0 },
};

START_TEST(operands_may_be_empty)
{
    static const char *const names[] = { "own", "cpu", "portable" };
    const lmb_backend *list[3];
    lmb_error err = LMB_ERROR_INIT;

    for (int i = 0; i < LMB_COUNT(names); i++) {
        ck_ok(lmb_cpu_backends(names[i], list, &err));
        ck_ok(lmb_check_case(&nothing[_i], list, 1, NULL, &err));
    }
}
END_TEST

/* Nothing of a training step's products is left to a reference: convolutions of all kinds, a 1-D one, matrices, a loss. */
START_TEST(plans_choose_it)
{
    const lmb_backend *own[3];
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *g, *with;
    lmb_vid p[5], d[5], x, y, loss;
    lmb_plan *plan;

    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(4, 3, 9, 9), NULL);
    p[0] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "stem", LMB_F32, LMB_SHAPE(8, 3, 3, 3), NULL);
    p[1] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "depthwise", LMB_F32, LMB_SHAPE(8, 1, 3, 3), NULL);
    p[2] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "groups", LMB_F32, LMB_SHAPE(6, 4, 1, 1), NULL);
    p[3] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "line", LMB_F32, LMB_SHAPE(5, 6, 3), NULL);
    p[4] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "head", LMB_F32, LMB_SHAPE(7, 115), NULL);
    y = lmb_emit(&b, "Conv", NULL, LMB_IN(x, p[0]), LMB_ATTRS(LMB_AINTS("strides", 2, 2), LMB_AINTS("pads", 1, 1, 1, 1)));
    y = lmb_emit(&b, "Conv", NULL, LMB_IN(y, p[1]), LMB_ATTRS(LMB_AINT("group", 8), LMB_AINTS("pads", 1, 1, 1, 1)));
    y = lmb_emit(&b, "Conv", NULL, LMB_IN(y, p[2]), LMB_ATTRS(LMB_AINT("group", 2)));
    y = lmb_emit(&b, "Reshape", NULL, LMB_IN(y, lmb_emit_ints(&b, (int64_t[]){ 4, 6, 25 }, 3)), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Conv", NULL, LMB_IN(y, p[3]), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Gemm", NULL, LMB_IN(lmb_emit(&b, "Flatten", NULL, LMB_IN(y), LMB_NO_ATTRS), p[4]), LMB_ATTRS(LMB_AINT("transB", 1)));
    lmb_vid labels = lmb_emit_value(&b, LMB_ROLE_INPUT, "labels", LMB_S64, LMB_SHAPE(4), NULL);
    loss = lmb_emit(&b, "SoftmaxCrossEntropyLoss", NULL, LMB_IN(y, labels), LMB_NO_ATTRS);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_autodiff(g, loss, p, 5, &with, d, &err));
    for (int i = 0; i < 5; i++)
        ck_ok(lmb_graph_output_add(with, (char[]){ 'd', (char)('0' + i), 0 }, d[i], &err));
    lmb_plan_options o = { .backends = own };
    ck_ok(lmb_plan_compile(with, &o, &plan, &err));
    for (int i = 0; i < lmb_plan_steps(plan); i++) {
        lmb_plan_step s = lmb_plan_step_at(plan, i);
        ck_assert_msg(strcmp(s.kernel, "reference") != 0, "%s (%s) by the reference", s.node, s.op);
    }
    lmb_plan_destroy(plan);
    lmb_graph_destroy(with);
    lmb_graph_destroy(g);
}
END_TEST

static int count(void)
{
    int n = 0;
    while (lmb_op_cases[n].op)
        n++;
    return n;
}

LMB_TEST_MAIN("core/cpu/conv", add_loop(products_of_every_vector_width, LMB_COUNT(shapes));
              add_loop(depthwise_of_every_vector_width, LMB_COUNT(deep)); add(direct_products); add_loop(bands_of_every_vector_width, LMB_COUNT(bands)); add_loop(bands_in_plans, LMB_COUNT(bands));
              add_loop(stems_of_every_vector_width, LMB_COUNT(few));
              add_loop(stems_in_plans, LMB_COUNT(few)); add_loop(cases_of_the_check, count());
              add_loop(convolutions_made_up, MADE_UP); add_loop(operands_may_be_empty, LMB_COUNT(nothing)); add(plans_choose_it);)
