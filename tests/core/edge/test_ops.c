/* tests/core/edge/test_ops.c - every op on every kernel set against the formulas of lmb.h, written once more.
 *
 * The reference here works in CHW with the weights as ONNX has them, sums in 64 bits and shares no code with the
 * library, so that it also checks the writer's permutations, the layouts at both ends, and padding. */
#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "core/edge/lmb.h"
#include "core/edge/write.h"
#include "tests/check_main.h"

static lmb_rand stream;
static uint32_t drawn;

static void setup(uint64_t row)
{
    stream = lmb_rand_at(41, LMB_RAND_TEST, 0, row);
    drawn = 0;
}

static uint32_t below(uint32_t n) { return lmb_rand_below(&stream, drawn++, n); }

static void *zeros(size_t n)
{
    void *p = calloc(n ? n : 1, 1);
    ck_assert_ptr_nonnull(p);
    return p;
}

/* Random, or as extreme as can be: the largest sums. */
static void fill(uint8_t *p, size_t n, int extreme)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(extreme ? (below(2) ? 255 : 0) : below(256));
}

static void fill_weights(int8_t *p, size_t n, int extreme)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (int8_t)(extreme ? (extreme == 1 ? -128 : 127) : (int)below(256) - 128);
}

static uint8_t quantise(float v, const lmb_edge_quant *y)
{
    double q = nearbyint((double)v) + y->zero_point;
    return (uint8_t)(q < y->lo ? y->lo : q > y->hi ? y->hi : q);
}

/* Finish the model and demand `want` from each kernel set that this CPU can run. */
static void check_model(lmb_edge_writer *w, const uint8_t *input, const void *want, size_t bytes)
{
    char why[200] = "";
    lmb_edge_buffer file = { NULL, 0, 0 };
    ck_assert_msg(lmb_edge_write_finish(w, 0, &file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    lmb_edge_writer_destroy(w);
    int usable;
    const char *name;
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++) {
        lmb_edge_model m;
        if (!usable)
            continue;
        ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
        ck_assert_int_eq(lmb_edge_use(&m, name), LMB_EDGE_OK);
        void *memory = zeros(lmb_edge_prepare_bytes(&m)), *arena = zeros(lmb_edge_arena_bytes(&m));
        uint8_t *got = zeros(bytes);
        lmb_edge_prepare(&m, memory);
        ck_assert_int_eq(lmb_edge_run(&m, arena, input, got), LMB_EDGE_OK);
        for (size_t k = 0; k < bytes; k++)
            ck_assert_msg(got[k] == ((const uint8_t *)want)[k], "%s, row %llu: byte %zu is %d, not %d", name,
                          (unsigned long long)stream.counter[2], k, got[k], ((const uint8_t *)want)[k]);
        free(memory);
        free(arena);
        free(got);
    }
    free(file.data);
}

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
    check_conv(&convs[_i], 1, &zero, &y);
    check_conv(&convs[_i], 2, &top, &y);
    check_conv(&convs[_i], 1, &top, &coarse);
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

/* ---- the others ------------------------------------------------------------------------------------------- */

/* Both inputs of the add take all 65,536 pairs of values: x and table(x) shifted by the row. Input 256 x 1 x 1. */
START_TEST(add_of_every_pair)
{
    const lmb_edge_quant aq = { 0.013f, 7, 0, 255 }, bq = { 0.029f, 201, 0, 255 }, yq = { 0.031f, 99, 99, 255 };
    float ra = aq.scale / yq.scale, rb = bq.scale / yq.scale;
    float base = 99.0f - fmaf(ra, 7.0f, rb * 201.0f);
    uint8_t x[256], shifted[256], want[256];
    setup(400);
    for (int shift = 0; shift < 256; shift++) {
        for (int i = 0; i < 256; i++) {
            x[i] = (uint8_t)i;
            shifted[i] = (uint8_t)(i + shift);
            float v = fmaf(shifted[i], rb, fmaf((float)i, ra, base));
            double q = nearbyint((double)v);
            want[i] = (uint8_t)(q < 99 ? 99 : q > 255 ? 255 : q);
        }
        lmb_edge_writer *w = lmb_edge_writer_create();
        int a = lmb_edge_write_input(w, 256, 1, 1, LMB_EDGE_HWC, aq, "a");
        lmb_edge_write_add(w, a, lmb_edge_write_table(w, a, bq, shifted, "b"), yq, "y");
        check_model(w, x, want, 256);
    }
}
END_TEST

START_TEST(global_average)
{
    const lmb_edge_quant xq = { 0.02f, 33, 0, 255 }, yq = { 0.019f, 4, 4, 255 };
    uint8_t x[19 * 7 * 5], want[19];
    setup(500);
    fill(x, sizeof x, 0);
    float scaled = yq.scale * 35.0f, m = xq.scale / scaled;
    for (int c = 0; c < 19; c++) {
        int64_t sum = 0;
        for (int i = 0; i < 35; i++)
            sum += x[c * 35 + i] - 33;
        want[c] = quantise((float)sum * m, &yq);
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    lmb_edge_write_global_average(w, lmb_edge_write_input(w, 7, 5, 19, LMB_EDGE_CHW, xq, "x"), yq, "y");
    check_model(w, x, want, 19);
}
END_TEST

/* add(x, table(x)), and its maximum and its average over two pixels, of every number of channels. */
START_TEST(every_tail_of_the_others)
{
    enum { MOST = 140 };
    const lmb_edge_quant q = { 0.02f, 50, 0, 255 }, wide = { 0.05f, 70, 60, 240 };
    const uint16_t window[2] = { 1, 2 }, one[2] = { 1, 1 }, pads[4] = { 0, 0, 0, 0 };
    uint8_t x[2 * MOST], table[256], sum[2 * MOST], most[MOST], mean[MOST];
    uint32_t n = (uint32_t)_i + 1;
    float r = q.scale / wide.scale, base = 70.0f - fmaf(r, 50.0f, r * 50.0f), m = wide.scale / (q.scale * 2.0f);
    setup(2000 + (uint64_t)_i);
    fill(x, 2 * n, 0);
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i * 7 + 3);
    for (uint32_t i = 0; i < 2 * n; i++) {
        float v = fmaf(table[x[i]], r, fmaf(x[i], r, base));
        double rounded = nearbyint((double)v);
        sum[i] = (uint8_t)(rounded < 60 ? 60 : rounded > 240 ? 240 : rounded);
    }
    for (uint32_t c = 0; c < n; c++) {
        most[c] = sum[c] > sum[n + c] ? sum[c] : sum[n + c];
        mean[c] = quantise((float)(sum[c] + sum[n + c] - 140) * m, &q);
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    int in = lmb_edge_write_input(w, 1, 2, n, LMB_EDGE_HWC, q, "x");
    int both = lmb_edge_write_add(w, in, lmb_edge_write_table(w, in, q, table, "t"), wide, "sum");
    lmb_edge_write_max_pool(w, both, window, one, one, pads, 60, 240, "most");
    check_model(w, x, most, n);
    w = lmb_edge_writer_create();
    in = lmb_edge_write_input(w, 1, 2, n, LMB_EDGE_HWC, q, "x");
    both = lmb_edge_write_add(w, in, lmb_edge_write_table(w, in, q, table, "t"), wide, "sum");
    lmb_edge_write_global_average(w, both, q, "mean");
    check_model(w, x, mean, n);
}
END_TEST

START_TEST(max_pool)
{
    const lmb_edge_quant xq = { 0.02f, 50, 0, 255 };
    const uint16_t kernel[2] = { 3, 2 }, stride[2] = { 2, 1 }, dilation[2] = { 1, 2 }, pads[4] = { 1, 0, 1, 1 };
    uint8_t x[3 * 7 * 6], want[3 * 4 * 5];
    setup(600);
    fill(x, sizeof x, 0);
    for (int c = 0; c < 3; c++)
        for (int oy = 0; oy < 4; oy++)
            for (int ox = 0; ox < 5; ox++) {
                int best = 60;
                for (int ky = 0; ky < 3; ky++)
                    for (int kx = 0; kx < 2; kx++) {
                        int y = 2 * oy - 1 + ky, z = ox + 2 * kx;
                        if (y >= 0 && y < 7 && z < 6 && x[(c * 7 + y) * 6 + z] > best)
                            best = x[(c * 7 + y) * 6 + z];
                    }
                want[(c * 4 + oy) * 5 + ox] = (uint8_t)(best > 222 ? 222 : best);
            }
    lmb_edge_writer *w = lmb_edge_writer_create();
    int in = lmb_edge_write_input(w, 7, 6, 3, LMB_EDGE_CHW, xq, "x");
    lmb_edge_write_max_pool(w, in, kernel, stride, dilation, pads, 60, 222, "y");
    lmb_edge_write_output_layout(w, LMB_EDGE_CHW);
    check_model(w, x, want, sizeof want);
}
END_TEST

/* concat(x, swapped(x), x) in CHW is the three blocks one after the other. */
START_TEST(concat_and_table)
{
    const lmb_edge_quant q = { 0.02f, 50, 0, 255 };
    uint8_t x[5 * 6], table[256], want[3 * 5 * 6];
    setup(700);
    fill(x, sizeof x, 0);
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(255 - i);
    for (int i = 0; i < 30; i++) {
        want[i] = want[60 + i] = x[i];
        want[30 + i] = (uint8_t)(255 - x[i]);
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    int in = lmb_edge_write_input(w, 2, 3, 5, LMB_EDGE_CHW, q, "x");
    int three[3] = { in, lmb_edge_write_table(w, in, q, table, "t"), in };
    lmb_edge_write_concat(w, three, 3, "y");
    lmb_edge_write_output_layout(w, LMB_EDGE_CHW);
    check_model(w, x, want, sizeof want);
}
END_TEST

START_TEST(requantise_and_dequantise)
{
    const lmb_edge_quant xq = { 0.02f, 50, 0, 255 }, yq = { 0.05f, 128, 110, 200 };
    uint8_t x[256];
    float want[256];
    setup(800);
    for (int i = 0; i < 256; i++) {
        x[i] = (uint8_t)i;
        float real = (float)(i - 50) * 0.02f;
        want[i] = (float)(quantise(real / 0.05f, &yq) - 128) * 0.05f;
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    int in = lmb_edge_write_input(w, 16, 8, 2, LMB_EDGE_CHW, xq, "x");
    lmb_edge_write_dequantise(w, lmb_edge_write_requantise(w, in, yq, "q"), "y");
    lmb_edge_write_output_layout(w, LMB_EDGE_CHW);
    check_model(w, x, want, sizeof want);
}
END_TEST

/* Not an assertion: which sets the others ran on. */
START_TEST(kernel_sets)
{
    int usable;
    const char *name;
    printf("kernel sets:");
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++)
        if (usable)
            printf(" %s", name);
    printf("\n");
}
END_TEST

LMB_TEST_MAIN("core/edge/ops", add(kernel_sets); add_loop(convolutions, (int)(sizeof convs / sizeof convs[0]));
              add_loop(extreme_values, (int)(sizeof convs / sizeof convs[0])); add_loop(every_tail, 70);
              add_loop(every_tail_of_the_others, 140); add(ties_go_to_even);
              add_loop(gemm_takes_flattened_chw, (int)(sizeof gemms / sizeof gemms[0])); add(add_of_every_pair);
              add(global_average); add(max_pool); add(concat_and_table); add(requantise_and_dequantise);)
