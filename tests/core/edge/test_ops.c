/* tests/core/edge/test_ops.c - every op but products (test_products.c) on every kernel set against the formulas of
 * lmb.h. */
#include "tests/core/edge/formulas.h"

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

LMB_TEST_MAIN("core/edge/ops", add(kernel_sets); add_loop(every_tail_of_the_others, 140); add(add_of_every_pair);
              add(global_average); add(max_pool); add(concat_and_table); add(requantise_and_dequantise);)
