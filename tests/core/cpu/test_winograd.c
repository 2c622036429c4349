/* Mirrors core/cpu/winograd.c: every vector width against sums in double, and that plans choose it. */
#include "core/cpu/winograd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bf16.h"
#include "core/base/compiler.h"
#include "core/check/check.h"
#include "core/cpu/cpu.h"
#include "tests/check_main.h"

/* Shapes that tiles like to get wrong: whole, cut at both ends, asymmetric pads, more channels on either side. */
static const lmb_conv shapes[] = {
    { .n = 2, .c = 16, .h = 8, .w = 8, .k = 16, .oh = 8, .ow = 8, .ph = 1, .pw = 1 },
    { .n = 3, .c = 16, .h = 7, .w = 9, .k = 48, .oh = 7, .ow = 9, .ph = 1, .pw = 1 },
    { .n = 1, .c = 32, .h = 10, .w = 6, .k = 16, .oh = 8, .ow = 4, .ph = 0, .pw = 0 },
    { .n = 2, .c = 48, .h = 5, .w = 5, .k = 32, .oh = 7, .ow = 6, .ph = 2, .pw = 1 },
    { .n = 3, .c = 144, .h = 5, .w = 6, .k = 80, .oh = 5, .ow = 6, .ph = 1, .pw = 1 }, /* several bands of channels */
    { .n = 20, .c = 64, .h = 9, .w = 9, .k = 64, .oh = 9, .ow = 9, .ph = 1, .pw = 1 }, /* several blocks of tiles */
};

typedef struct tensors { float *x, *w, *b, *y; size_t nx, nw, ny; } tensors;

static float *numbers(size_t n, uint32_t index)
{
    lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, index);
    float *f = malloc(sizeof *f * (n + 1));
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < n; i++)
        f[i] = lmb_bf16_get(lmb_bf16_of(lmb_rand_uniform(&r, (uint32_t)i) * 2 - 1));
    return f;
}

static tensors make(const lmb_conv *v)
{
    tensors t = { .nx = (size_t)(v->n * v->h * v->w * v->c), .nw = (size_t)(v->k * v->c * 9),
                  .ny = (size_t)(v->n * v->oh * v->ow * v->k) };
    t.x = numbers(t.nx, 1);
    t.w = numbers(t.nw, 2);
    t.b = numbers((size_t)v->k, 3);
    t.y = numbers(t.ny, 4);
    return t;
}

static void drop(tensors *t)
{
    free(t->x);
    free(t->w);
    free(t->b);
    free(t->y);
}

/* Calls add(x index, w index, y index) for every multiplication of the convolution. */
#define EACH_PRODUCT(v, X, W, Y, what)                                                                           \
    for (int64_t n = 0; n < (v)->n; n++)                                                                         \
        for (int64_t oy = 0; oy < (v)->oh; oy++)                                                                 \
            for (int64_t ox = 0; ox < (v)->ow; ox++)                                                             \
                for (int64_t i = 0; i < 9; i++) {                                                                \
                    int64_t iy = oy + i / 3 - (v)->ph, ix = ox + i % 3 - (v)->pw;                                \
                    if (iy < 0 || iy >= (v)->h || ix < 0 || ix >= (v)->w)                                        \
                        continue;                                                                                \
                    for (int64_t k = 0; k < (v)->k; k++)                                                         \
                        for (int64_t c = 0; c < (v)->c; c++) {                                                   \
                            size_t X = (size_t)(((n * (v)->h + iy) * (v)->w + ix) * (v)->c + c);                 \
                            size_t W = (size_t)((k * (v)->c + c) * 9 + i);                                       \
                            size_t Y = (size_t)(((n * (v)->oh + oy) * (v)->ow + ox) * (v)->k + k);               \
                            what;                                                                                \
                        }                                                                                        \
                }

/* f32: 3e-6 of the largest. bf16: 1.5 % of the typical number, and no more than 6 % of the largest. */
static void near(const float *got, const double *want, size_t n, bool half, const char *what)
{
    double scale = 0, worst = 0, squares = 0, errors = 0;
    for (size_t i = 0; i < n; i++) {
        double e = fabs(got[i] - want[i]);
        scale = fmax(scale, fabs(want[i]));
        worst = fmax(worst, e);
        squares += want[i] * want[i];
        errors += e * e;
    }
    ck_assert_msg(worst <= (half ? 0.06 : 3e-6) * scale, "%s: off by %g of %g", what, worst, scale);
    ck_assert_msg(sqrt(errors) <= 0.015 * sqrt(squares), "%s: errors of %g of %g", what, sqrt(errors), sqrt(squares));
}

/* The numbers of f, which bf16 holds, in bf16; malloc'd. */
static uint16_t *narrow(const float *f, size_t n)
{
    uint16_t *h = malloc(sizeof *h * (n + 1));
    ck_assert_ptr_nonnull(h);
    for (size_t i = 0; i < n; i++)
        h[i] = lmb_bf16_of(f[i]);
    return h;
}

static void widen(const uint16_t *h, float *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        f[i] = lmb_bf16_get(h[i]);
}

static float *scratch_for(const lmbi_winograd *g)
{
    int64_t k = g->k > LMBI_BAND ? g->k : LMBI_BAND;
    int64_t maps = lmbi_winograd_points(g->block, g->c) + lmbi_winograd_points(g->block, k);
    size_t n = (size_t)(maps + lmbi_winograd_points(g->c, k)) * sizeof(float);
    float *s = aligned_alloc(64, (n + 63) / 64 * 64);
    ck_assert_ptr_nonnull(s);
    memset(s, 0xff, n); /* NaN: whatever is read must have been written */
    return s;
}

/* at_once: all tiles in one block, weights in bands. */
static void check_loops(const lmbi_winograd_loops *l, const lmb_conv *v, bool half, bool at_once)
{
    lmbi_winograd g = lmbi_winograd_of(v, false), back = lmbi_winograd_of(v, true);
    lmbi_winograd_lengthen(&g, at_once ? g.tiles : l->longer);
    lmbi_winograd_lengthen(&back, at_once ? back.tiles : 1);
    tensors t = make(v);
    const lmbi_winograd_end ends[2] = { { t.b, NULL, -INFINITY, INFINITY }, { NULL, NULL, -INFINITY, INFINITY } };
    double *want_y = calloc(t.ny, sizeof *want_y), *want_x = calloc(t.nx, sizeof *want_x),
           *want_w = calloc(t.nw, sizeof *want_w);
    float *y = malloc(sizeof *y * t.ny), *dx = malloc(sizeof *dx * t.nx), *dw = malloc(sizeof *dw * t.nw);
    float *u = malloc(sizeof *u * (size_t)lmbi_winograd_points(v->c, v->k));
    float *s = scratch_for(&g), *sb = scratch_for(&back);

    uint16_t *hx = narrow(t.x, t.nx), *hy = narrow(t.y, t.ny); /* and their results come here too */
    const void *in = half ? (void *)hx : t.x, *out = half ? (void *)hy : t.y;

    ck_assert(want_y && want_x && want_w && y && dx && dw && u);
    for (size_t i = 0; i < t.ny; i++)
        want_y[i] = t.b[i % (size_t)v->k];
    EACH_PRODUCT(v, xi, wi, yi, want_y[yi] += (double)t.x[xi] * t.w[wi]; want_x[xi] += (double)t.y[yi] * t.w[wi];
                 want_w[wi] += (double)t.y[yi] * t.x[xi])
    uint16_t *made = malloc(sizeof *made * (t.nx + t.ny));
    ck_assert_ptr_nonnull(made);
    l->gradient(&g, in, out, dw, s);
    near(dw, want_w, t.nw, half, "gradient of the weights");
    if (at_once) {
        l->banded(&g, in, t.w, 0, &ends[0], half ? (void *)made : y, s);
    } else {
        l->weights(&g, t.w, 0, u);
        l->forward(&g, in, u, &ends[0], half ? (void *)made : y, s);
    }
    if (half)
        widen(made, y, t.ny);
    near(y, want_y, t.ny, half, "convolution");
    if (at_once) {
        l->banded(&back, out, t.w, 1, &ends[1], half ? (void *)made : dx, sb);
    } else {
        l->weights(&back, t.w, 1, u);
        l->forward(&back, out, u, &ends[1], half ? (void *)made : dx, sb);
    }
    if (half)
        widen(made, dx, t.nx);
    near(dx, want_x, t.nx, half, "gradient of the input");
    drop(&t);
    free(hx), free(hy), free(made);
    free(want_y), free(want_x), free(want_w), free(y), free(dx), free(dw), free(u), free(s), free(sb);
}

START_TEST(every_vector_width_is_right)
{
    const lmbi_winograd_loops *list[4];
    for (const lmbi_winograd_loops *const *l = lmbi_winograd_choices(list); *l; l++)
        for (int at_once = 0; at_once < 2; at_once++)
            check_loops(*l, &shapes[_i], false, at_once);
}
END_TEST

#if defined(LMB_CPU_BF16)
START_TEST(bf16_is_near)
{
    const lmb_backend *list[LMB_CPU_BACKENDS];
    lmb_error err = LMB_ERROR_INIT;
    bool able = lmb_cpu_backends_bf16("cpu", list, &err) == LMB_OK; /* this processor */
    for (int at_once = 0; able && at_once < 2; at_once++)
        check_loops(&lmbi_winograd_bf16, &shapes[_i], true, at_once);
}
END_TEST
#define ADD_BF16 add_loop(bf16_is_near, LMB_COUNT(shapes));
#else
#define ADD_BF16
#endif

/* Through plans, which provide the memory: channels that are worked on in bands, forward and by both gradients. */
START_TEST(deep_convolutions_are_right)
{
#define MAPS { LMB_CASE_FIXED, { 4, { 6, 208, 5, 7 } }, -1, 1, { 0 } }
#define KERNEL { LMB_CASE_FIXED, { 4, { 208, 208, 3, 3 } }, -1, 1, { 0 } }
#define PADS LMB_AINTS("pads", 1, 1, 1, 1)
    static const lmb_op_case cases[] = {
        { "Conv", "of 208 to 208", { MAPS, KERNEL }, { PADS } },
        { "ConvGradData", "of 208 to 208", { MAPS, KERNEL }, { PADS, LMB_AINTS("shape", 6, 208, 5, 7) } },
        { "ConvGradWeights", "of 208 to 208", { MAPS, MAPS }, { PADS, LMB_AINTS("shape", 208, 208, 3, 3) }, 0, 3e-5f },
    };
    const lmb_backend *cpu[3];
    lmb_error err = LMB_ERROR_INIT;
    int checked;

    ck_ok(lmb_cpu_backends("cpu", cpu, &err));
    ck_ok(lmb_check_case(&cases[_i], cpu, 1, &checked, &err));
    ck_assert_int_gt(checked, 0);
}
END_TEST

/* Through a plan, against the reference; and chosen by "cpu", never by "onednn". */
START_TEST(plans_choose_it)
{
    static const lmb_op_case c = { "Conv", "3x3 of 16", { { LMB_CASE_FIXED, { 4, { 3, 16, 12, 12 } }, -1, 1, { 0 } },
                                   { LMB_CASE_FIXED, { 4, { 16, 16, 3, 3 } }, -1, 1, { 0 } },
                                   { LMB_CASE_FIXED, { 1, { 16 } }, -1, 1, { 0 } } },
                                   { LMB_AINTS("pads", 1, 1, 1, 1) } };
    const lmb_backend *cpu[3];
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *g;
    int checked;

    ck_ok(lmb_cpu_backends("cpu", cpu, &err));
    ck_ok(lmb_check_case(&c, cpu, 1, &checked, &err));
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(3, 16, 12, 12), NULL);
    lmb_vid w = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, LMB_SHAPE(16, 16, 3, 3), NULL);
    lmb_emit_output(&b, "y", lmb_emit(&b, "Conv", "c", LMB_IN(x, w), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1))));
    ck_ok(lmb_builder_status(&b));
    for (int fast = 0; fast < 2; fast++) {
        const lmb_backend *list[3];
        lmb_plan *p;
        bool used = false;
        if (lmb_cpu_backends(fast ? "cpu" : "onednn", list, &err) != LMB_OK)
            continue; /* a build without oneDNN */
        lmb_plan_options o = { .backends = list };
        ck_ok(lmb_plan_compile(g, &o, &p, &err));
        for (int i = 0; i < lmb_plan_steps(p); i++)
            used |= strcmp(lmb_plan_step_at(p, i).kernel, "winograd:conv") == 0;
        ck_assert_int_eq(used, fast);
        lmb_plan_destroy(p);
    }
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("core/cpu/winograd", add_loop(every_vector_width_is_right, LMB_COUNT(shapes)); ADD_BF16
              add_loop(deep_convolutions_are_right, 3); add(plans_choose_it);)
