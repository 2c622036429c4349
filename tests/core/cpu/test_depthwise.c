/* Mirrors core/cpu/depthwise.c: one filter a channel, in every vector width, against sums in double. */
#include "tests/core/cpu/sums.h"

/* One filter a channel. */
static const lmb_conv deep[] = {
    { .n = 2, .c = 16, .h = 8, .w = 9, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 2, .c = 29, .h = 9, .w = 12, .kh = 3, .kw = 3,
      .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1 },
    { .n = 1, .c = 21, .h = 11, .w = 10, .kh = 5, .kw = 5,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 2, .pw = 2, .ph2 = 2, .pw2 = 2 },
    { .n = 3, .c = 16, .h = 12, .w = 11, .kh = 5, .kw = 5,
      .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 2, .pw = 1, .ph2 = 2, .pw2 = 2 },
    { .n = 2, .c = 16, .h = 7, .w = 11, .kh = 2, .kw = 1,
      .sh = 3, .sw = 2, .dh = 1, .dw = 1, .ph = 1 },
    { .n = 2, .c = 16, .h = 1, .w = 9, .kh = 2, .kw = 3,
      .sh = 3, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .pw2 = 1 },
    { .n = 2, .c = 16, .h = 7, .w = 7, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 3, .pw = 4, .ph2 = 0, .pw2 = 3 },
    { .n = 1, .c = 18, .h = 2, .w = 3, .kh = 4, .kw = 7,
      .sh = 1, .sw = 3, .dh = 2, .dw = 2, .ph = 6, .pw = 9, .ph2 = 5, .pw2 = 4 },
};

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
                l->depthwise(&g, p, (backward ? t.y : t.x) + n * g.h * g.w * g.c, w,
                             (backward ? dx : y) + n * g.oh * g.ow * g.c);
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

LMB_TEST_MAIN("core/cpu/depthwise", add_loop(depthwise_of_every_vector_width, LMB_COUNT(deep));)
