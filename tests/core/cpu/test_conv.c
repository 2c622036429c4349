/* Mirrors core/cpu/conv.c, conv_loops.h: the loops of convolutions that gather and multiply, in every vector width,
 * against sums in double.
 */
#include "tests/core/cpu/sums.h"

/* Strides beyond the kernel, pads on one side, taps that never meet a pixel, tails of channels in
 * each vector width, several blocks of rows, a depth beyond one panel. */
static const lmb_conv shapes[] = {
    { .n = 2, .c = 3, .h = 9, .w = 8, .k = 16, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 1, .group = 1 },
    { .n = 3, .c = 1, .h = 12, .w = 13, .k = 6, .kh = 5, .kw = 5,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .ph = 2, .pw = 2, .ph2 = 2, .pw2 = 2, .group = 1 },
    { .n = 2, .c = 16, .h = 8, .w = 8, .k = 37, .kh = 3, .kw = 3,
      .sh = 2, .sw = 2, .dh = 1, .dw = 1, .ph = 1, .pw = 1, .ph2 = 1, .pw2 = 0, .group = 1 },
    { .n = 1, .c = 24, .h = 7, .w = 5, .k = 8, .kh = 1, .kw = 1,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .group = 1 },
    { .n = 2, .c = 17, .h = 9, .w = 6, .k = 5, .kh = 1, .kw = 1,
      .sh = 3, .sw = 2, .dh = 1, .dw = 1, .group = 1 },
    { .n = 1, .c = 70, .h = 6, .w = 6, .k = 34, .kh = 3, .kw = 3,
      .sh = 1, .sw = 1, .dh = 2, .dw = 2, .ph = 2, .pw = 2, .ph2 = 2, .pw2 = 2, .group = 1 },
    { .n = 2, .c = 12, .h = 6, .w = 7, .k = 8, .kh = 2, .kw = 3,
      .sh = 1, .sw = 2, .dh = 1, .dw = 1, .ph = 0, .pw = 2, .ph2 = 1, .pw2 = 0, .group = 4 },
    { .n = 9, .c = 32, .h = 16, .w = 16, .k = 32, .kh = 1, .kw = 1,
      .sh = 1, .sw = 1, .dh = 1, .dw = 1, .group = 1 },
    { .n = 1, .c = 4, .h = 3, .w = 4, .k = 4, .kh = 2, .kw = 2,
      .sh = 5, .sw = 3, .dh = 1, .dw = 3, .ph = 1, .pw = 0, .ph2 = 0, .pw2 = 4, .group = 2 },
};

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
                at[m] = ((m / (p->rows * p->cols) * g.oh + p->y + m / p->cols % p->rows * g.jump_y) * g.ow + p->x +
                         m % p->cols * g.jump_x) *
                        g.k;
            const float *w = t.w + i * c * k * g.kernel;
            lmbi_pack(l, w, p->tap, p->taps, c, backward ? k * g.kernel : g.kernel, k,
                      backward ? g.kernel : c * g.kernel, 1, b);
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

/* Finished products: all heights of a tile, tails of columns, with and without bias and sum. */
START_TEST(direct_products)
{
    static const int64_t columns[] = { 3, 16, 21, 37, 64 };
    const lmbi_conv_loops *list[4];
    for (const lmbi_conv_loops *const *l = lmbi_conv_choices(list); *l; l++)
        for (int64_t rows = 1; rows <= 29; rows += rows < 14 ? 1 : 5)
            for (int j = 0; j < LMB_COUNT(columns); j++) {
                int64_t n = columns[j], depth = 1 + rows * 3 % 20;
                float *a = numbers((size_t)(rows * depth), 1), *w = numbers((size_t)(n * depth), 2),
                      *bias = numbers((size_t)n, 3);
                float *add = numbers((size_t)(rows * n), 4), *y = unwritten(rows * n),
                      *b = unwritten(lmbi_packed(*l, depth, n));
                bool with = (rows + j) % 2;
                lmbi_conv_end e = { with ? bias : NULL, with ? add : NULL, with ? -0.75f : -INFINITY,
                                    with ? 1.5f : INFINITY };
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

LMB_TEST_MAIN("core/cpu/conv", add_loop(products_of_every_vector_width, LMB_COUNT(shapes)); add(direct_products);)
