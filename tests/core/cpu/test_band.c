/* Mirrors core/cpu/band.c: 3x3 and one filter a channel, in every vector width, against sums in double; and in plans
 * against the reference.
 */
#include "core/check/check.h"
#include "core/cpu/band.h"
#include "core/cpu/cpu.h"
#include "tests/core/cpu/sums.h"

/* 3x3 and a filter a channel: few channels and many, both strides, images with hardly a pixel that is not at an
 * edge. */
static const lmb_conv bands[] = {
    { .n = 2, .c = 8, .h = 13, .w = 12, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 2, .c = 40, .h = 7, .w = 9, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 2, .c = 29, .h = 9, .w = 12, .kh = 3, .kw = 3,
      .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 1, .c = 16, .h = 10, .w = 11, .kh = 3, .kw = 3,
      .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 0, .pw = 2, .ph2 = 1, .pw2 = 1 },
    { .n = 3, .c = 4, .h = 6, .w = 16, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 2, .pw = 0, .ph2 = 0, .pw2 = 2 },
    { .n = 1, .c = 2, .h = 3, .w = 14, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 0, .pw = 2, .ph2 = 0, .pw2 = 1 },
    { .n = 1, .c = 17, .h = 3, .w = 3, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 2, .c = 32, .h = 4, .w = 3, .kh = 3, .kw = 3,
      .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
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
            float *w = unwritten(9 * lmbi_band_row(&g, (*l)->lanes)), *scratch = unwritten(lmbi_band_floats(&g)),
                  *y = unwritten(v.n * to);
            lmbi_band_pack(&g, &taps, (*l)->lanes, t.w, w);
            for (int64_t n = 0; n < v.n; n++)
                (*l)->convolve(&g, (backward ? t.y : t.x) + n * from, w, &e, scratch, y + n * to);
            near(y, backward ? t.want_x : t.want_y, (size_t)(v.n * to),
                 backward ? "gradient of the input" : "convolution");
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
    lmb_op_case c = { "ConvAct", "band",
                      { { LMB_CASE_FIXED, { 4, { v->n, v->c, v->h, v->w } }, -1, 1, { 0 } },
                        { LMB_CASE_FIXED, { 4, { v->c, 1, 3, 3 } }, -1, 1, { 0 } },
                        { LMB_CASE_FIXED, { 1, { v->c } }, -1, 1, { 0 } } },
                      { LMB_AINT("group", v->c), LMB_AINTS("pads", v->ph, v->pw, v->ph2, v->pw2),
                        LMB_AINTS("strides", v->sh, v->sw), LMB_ATEXT("function", "Clip"),
                        LMB_AREAL("lo", -0.5f), LMB_AREAL("hi", 0.75f) }, 0, 3e-5f };
    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_check_case(&c, own, 1, NULL, &err));
}
END_TEST

LMB_TEST_MAIN("core/cpu/band", add_loop(bands_of_every_vector_width, LMB_COUNT(bands));
              add_loop(bands_in_plans, LMB_COUNT(bands));)
