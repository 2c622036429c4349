/* Mirrors core/cpu/stem.c: a network's first convolution, of few channels, in every vector width, against sums in
 * double; and in plans against the reference.
 */
#include "core/check/check.h"
#include "core/cpu/cpu.h"
#include "core/cpu/stem.h"
#include "tests/core/cpu/sums.h"

/* Few channels, with channels of the result that fill a group of 8, do not, and begin a second one. */
static const lmb_conv few[] = {
    { .n = 2, .c = 3, .h = 9, .w = 32, .k = 8, .kh = 3, .kw = 3,
      .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1, .group = 1 },
    { .n = 2, .c = 1, .h = 12, .w = 28, .k = 6, .kh = 5, .kw = 5,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 2, .pw = 2, .ph2 = 2, .pw2 = 2, .group = 1 },
    { .n = 1, .c = 4, .h = 5, .w = 97, .k = 11, .kh = 2, .kw = 4,
      .sh = 1, .sw = 2, .dh = 2, .dw = 1, .ph = 0, .pw = 2, .ph2 = 1, .pw2 = 0, .group = 1 },
    { .n = 3, .c = 2, .h = 4, .w = 15, .k = 1, .kh = 3, .kw = 1,
      .sh = 3, .sw = 1, .dh = 1, .dw = 1, .ph = 4, .ph2 = 3, .group = 1 },
    { .n = 1, .c = 1, .h = 1, .w = 50, .k = 3, .kh = 1, .kw = 5,
      .sh = 1, .sw = 2, .dh = 1, .dw = 3, .ph = 0, .pw = 9, .ph2 = 0, .pw2 = 30, .group = 1 },
    { .n = 2, .c = 4, .h = 45, .w = 96, .k = 8, .kh = 3, .kw = 3,
      .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1, .group = 1 },
    { .n = 1, .c = 2, .h = 3, .w = 40, .k = 8, .kh = 3, .kw = 3,
      .sh = 1, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 0, .group = 1 },
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

LMB_TEST_MAIN("core/cpu/stem", add_loop(stems_of_every_vector_width, LMB_COUNT(few));
              add_loop(stems_in_plans, LMB_COUNT(few));)
