/* tests/core/edge/test_products.c - convolutions and matrices on every kernel set against the formulas of lmb.h. */
#include "tests/core/edge/formulas.h"

/* ---- conv ------------------------------------------------------------------------------------------------- */

typedef struct conv_row {
    uint32_t h, w, c, channels, groups;
    uint16_t kernel[2], stride[2], dilation[2], pads[4];
} conv_row;

static const conv_row convs[] = {
    { 8, 8, 16, 16, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },   /* ResNet */
    { 9, 33, 3, 16, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },   /* first layer; tiles that overlap */
    { 7, 20, 1, 5, 1, { 5, 5 }, { 1, 1 }, { 1, 1 }, { 2, 2, 2, 2 } },    /* one channel, ragged output */
    { 8, 8, 16, 32, 1, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 0, 0, 1, 1 } },   /* stride, pads at the end */
    { 8, 8, 16, 32, 1, { 1, 1 }, { 2, 2 }, { 1, 1 }, { 0, 0, 0, 0 } },   /* shortcut */
    { 6, 5, 32, 64, 1, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 } },   /* pointwise: one long row */
    { 4, 4, 7, 35, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },    /* odd channels */
    { 5, 9, 13, 80, 1, { 2, 3 }, { 1, 2 }, { 1, 1 }, { 1, 0, 0, 2 } },   /* asymmetric everything */
    { 9, 9, 5, 17, 1, { 3, 3 }, { 1, 1 }, { 2, 3 }, { 2, 3, 2, 3 } },    /* dilated */
    { 9, 9, 4, 16, 1, { 3, 3 }, { 2, 1 }, { 3, 1 }, { 0, 0, 0, 0 } },    /* dilated in one direction */
    { 1, 40, 2, 48, 1, { 1, 9 }, { 1, 1 }, { 1, 1 }, { 0, 4, 0, 4 } },   /* one-dimensional */
    { 3, 3, 3, 1, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 } },     /* one output */
    { 1, 1, 130, 66, 1, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 } },  /* one pixel */
    { 8, 2, 8, 96, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },    /* rows narrower than a tile */
    { 7, 7, 16, 16, 16, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },  /* depthwise */
    { 8, 9, 21, 21, 21, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 0, 0, 1, 1 } },  /* depthwise, ragged */
    { 6, 6, 40, 40, 40, { 5, 4 }, { 1, 1 }, { 1, 2 }, { 2, 3, 2, 3 } },  /* depthwise, even, dilated */
    { 9, 10, 16, 16, 16, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 } }, /* depthwise, stride, few channels */
    { 7, 13, 8, 8, 8, { 3, 5 }, { 1, 3 }, { 2, 1 }, { 2, 3, 1, 4 } },    /* the same, asymmetric */
    { 6, 11, 2, 2, 2, { 2, 3 }, { 3, 2 }, { 1, 2 }, { 0, 4, 0, 0 } },    /* two channels, far pads */
    { 6, 5, 4, 4, 4, { 3, 3 }, { 1, 65535 }, { 1, 1 }, { 1, 1, 1, 1 } }, /* a stride beyond the row */
    { 6, 7, 100, 100, 100, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 } }, /* many, ragged */
    { 5, 5, 3, 3, 3, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 } },     /* depthwise 1x1 */
    { 6, 6, 12, 8, 4, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },    /* groups */
    { 5, 5, 6, 12, 6, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },    /* channel multiplier 2 */
    { 4, 4, 8, 16, 1, { 7, 7 }, { 3, 3 }, { 1, 1 }, { 6, 6, 6, 6 } },    /* windows that see one corner only */
};

static int64_t conv_sum(const conv_row *r, const uint8_t *x, int zp, const int8_t *w, uint32_t o, int64_t oy,
                        int64_t ox)
{
    int64_t sum = 0;
    uint32_t per_group = r->c / r->groups, first = o / (r->channels / r->groups) * per_group;
    for (uint32_t c = 0; c < per_group; c++)
        for (int ky = 0; ky < r->kernel[0]; ky++)
            for (int kx = 0; kx < r->kernel[1]; kx++) {
                int64_t y = oy * r->stride[0] - r->pads[0] + ky * r->dilation[0];
                int64_t z = ox * r->stride[1] - r->pads[1] + kx * r->dilation[1];
                if (y < 0 || z < 0 || y >= r->h || z >= r->w)
                    continue;
                int64_t q = x[((first + c) * r->h + (size_t)y) * r->w + (size_t)z];
                sum += (q - zp) * w[((o * per_group + c) * r->kernel[0] + (size_t)ky) * r->kernel[1] + (size_t)kx];
            }
    return sum;
}

static void check_conv(const conv_row *r, int extreme, const lmb_edge_quant *xq, const lmb_edge_quant *yq)
{
    size_t in = (size_t)r->h * r->w * r->c, per_output = (size_t)r->kernel[0] * r->kernel[1] * (r->c / r->groups);
    uint8_t *x = zeros(in);
    int8_t *weights = zeros(per_output * r->channels);
    float *scales = zeros(r->channels * sizeof *scales);
    int32_t *bias = zeros(r->channels * sizeof *bias);
    fill(x, in, extreme);
    fill_weights(weights, per_output * r->channels, extreme);
    for (uint32_t o = 0; o < r->channels; o++) {
        scales[o] = 0.0002f * (float)(1 + below(100)) / (float)(1 + per_output / 8);
        bias[o] = (int32_t)below(20001) - 10000;
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    lmb_edge_conv op = { lmb_edge_write_input(w, r->h, r->w, r->c, LMB_EDGE_CHW, *xq, "x"), *yq, r->channels, r->groups,
                         { r->kernel[0], r->kernel[1] }, { r->stride[0], r->stride[1] },
                         { r->dilation[0], r->dilation[1] },
                         { r->pads[0], r->pads[1], r->pads[2], r->pads[3] }, weights, scales, bias, "y", 0 };
    lmb_edge_tensor y;
    ck_assert_int_eq(lmb_edge_write_tensor(w, lmb_edge_write_conv(w, &op), &y), LMB_EDGE_OK);
    lmb_edge_write_output_layout(w, LMB_EDGE_CHW);
    uint8_t *want = zeros(y.count);
    for (uint32_t o = 0, i = 0; o < r->channels; o++)
        for (uint32_t oy = 0; oy < y.h; oy++)
            for (uint32_t ox = 0; ox < y.w; ox++, i++) {
                float product = xq->scale * scales[o], m = product / yq->scale;
                int64_t acc = bias[o] + conv_sum(r, x, xq->zero_point, weights, o, oy, ox);
                want[i] = quantise((float)acc * m, yq);
            }
    check_model(w, x, want, y.count);
    free(x);
    free(weights);
    free(scales);
    free(bias);
    free(want);
}

START_TEST(convolutions)
{
    const lmb_edge_quant x = { 0.03f, 117, 0, 255 }, relu = { 0.05f, 12, 12, 255 }, all = { 0.04f, 128, 0, 255 };
    setup((uint64_t)_i);
    check_conv(&convs[_i], 0, &x, &all);
    check_conv(&convs[_i], 0, &x, &relu);
}
END_TEST

START_TEST(extreme_values)
{
    const lmb_edge_quant zero = { 0.5f, 0, 0, 255 }, top = { 0.5f, 255, 0, 255 }, y = { 1e-4f, 100, 7, 240 },
                         coarse = { 3e30f, 255, 0, 255 };
    setup(100 + (uint64_t)_i);
    repacked_only = 1;
    check_conv(&convs[_i], 1, &zero, &y);
    check_conv(&convs[_i], 2, &top, &y);
    check_conv(&convs[_i], 1, &top, &coarse);
}
END_TEST

/* Working memory follows from the image, not from a stride that is never taken. */
START_TEST(a_wide_stride_costs_no_memory)
{
    const lmb_edge_quant q = { 1.0f, 0, 0, 255 };
    const int8_t weights[2] = { 1, 2 };
    const float scales[2] = { 0.5f, 0.5f };
    lmb_edge_buffer file = { NULL, 0, 0 };
    lmb_edge_model m;
    char why[200] = "";
    const char *name;
    int usable;

    lmb_edge_writer *w = lmb_edge_writer_create();
    lmb_edge_conv op = { lmb_edge_write_input(w, 1000, 3, 2, LMB_EDGE_HWC, q, "x"), q, 2, 2, { 1, 1 }, { 1, 65535 },
                         { 1, 1 }, { 0, 0, 0, 0 }, weights, scales, NULL, "y", 0 };
    lmb_edge_write_conv(w, &op);
    ck_assert_msg(lmb_edge_write_finish(w, 0, &file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    lmb_edge_writer_destroy(w);
    ck_assert_msg(lmb_edge_open(file.data, file.size, &m, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++) {
        if (!usable)
            continue;
        ck_assert_int_eq(lmb_edge_use(&m, name), LMB_EDGE_OK);
        ck_assert_msg(lmb_edge_arena_bytes(&m) < 4 * 6000, "%s: %zu bytes", name, lmb_edge_arena_bytes(&m));
    }
    free(file.data);
}
END_TEST

/* Every number of channels up to past the widest vector, in and out: what is left over at the end of each loop. */
START_TEST(every_tail)
{
    const lmb_edge_quant x = { 0.03f, 117, 0, 255 }, y = { 0.05f, 12, 5, 250 };
    uint32_t n = (uint32_t)_i + 1, m = n * 29 % 71 + 1;
    const conv_row rows[] = {
        { 3, 5, n, m, 1, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 } },
        { 2, n, 3, m, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },
        { 3, 4, n, n, n, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },
        { 3, 5, n, n, n, { 2, 3 }, { 1, 2 }, { 1, 1 }, { 0, 1, 0, 1 } },
    };
    setup(1000 + (uint64_t)_i);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_conv(&rows[i], 0, &x, &y);
}
END_TEST

/* Sums that lie exactly between two integers go to the even one: 1 * w / 2 + 128 for w = -5..5. */
START_TEST(ties_go_to_even)
{
    int8_t weights[11];
    float scales[11];
    const uint8_t x = 1, want[11] = { 126, 126, 126, 127, 128, 128, 128, 129, 130, 130, 130 };
    for (int i = 0; i < 11; i++) {
        weights[i] = (int8_t)(i - 5); /* -2.5 -2 -1.5 -1 -0.5 0 0.5 1 1.5 2 2.5 */
        scales[i] = 0.5f;
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    const lmb_edge_quant q = { 1.0f, 0, 0, 255 }, y = { 1.0f, 128, 0, 255 };
    lmb_edge_gemm op = { lmb_edge_write_input(w, 1, 1, 1, LMB_EDGE_HWC, q, "x"), y, 11, weights, scales, NULL, "y", 0 };
    lmb_edge_write_gemm(w, &op);
    setup(200);
    check_model(w, &x, want, 11);
}
END_TEST

/* ---- gemm ------------------------------------------------------------------------------------------------- */

typedef struct gemm_row {
    uint32_t h, w, c, channels;
} gemm_row;

static const gemm_row gemms[] = { { 1, 1, 64, 10 }, { 4, 3, 5, 33 }, { 2, 2, 16, 128 }, { 1, 1, 1, 1 },
                                   { 7, 1, 3, 70 } };

START_TEST(gemm_takes_flattened_chw)
{
    const gemm_row *r = &gemms[_i];
    const lmb_edge_quant xq = { 0.02f, 9, 0, 255 }, yq = { 0.3f, 140, 0, 255 };
    size_t k = (size_t)r->h * r->w * r->c;
    uint8_t x[128], want[128];
    int8_t weights[128 * 128];
    float scales[128];
    int32_t bias[128];
    setup(300 + (uint64_t)_i);
    fill(x, k, 0);
    fill_weights(weights, k * r->channels, 0);
    for (uint32_t o = 0; o < r->channels; o++) {
        int64_t acc = bias[o] = (int32_t)below(2000) - 1000;
        scales[o] = 0.001f * (float)(1 + below(50));
        for (size_t i = 0; i < k; i++)
            acc += (x[i] - xq.zero_point) * weights[o * k + i];
        float product = xq.scale * scales[o], m = product / yq.scale;
        want[o] = quantise((float)acc * m, &yq);
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    lmb_edge_gemm op = { lmb_edge_write_input(w, r->h, r->w, r->c, LMB_EDGE_CHW, xq, "x"), yq, r->channels, weights,
                         scales, bias, "y", 0 };
    lmb_edge_write_gemm(w, &op);
    check_model(w, x, want, r->channels);
}
END_TEST

LMB_TEST_MAIN("core/edge/products", add_loop(convolutions, (int)(sizeof convs / sizeof convs[0]));
              add_loop(extreme_values, (int)(sizeof convs / sizeof convs[0])); add_loop(every_tail, 70);
              add(a_wide_stride_costs_no_memory); add(ties_go_to_even); add_loop(gemm_takes_flattened_chw, (int)(sizeof gemms / sizeof gemms[0]));)
