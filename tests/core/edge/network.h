/* tests/core/edge/network.h - a small network with every kind of op, for tests that need a whole file. */
#ifndef LMB_TESTS_CORE_EDGE_NETWORK_H
#define LMB_TESTS_CORE_EDGE_NETWORK_H

#include "core/edge/write.h"

enum { NETWORK_IN = 6 * 5 * 3, NETWORK_OUT = 7, NETWORK_SIGNATURE = 96 };

/* With weights of so many bits, in the file narrow or a byte each. */
static inline lmb_edge_status small_network_of(int bits, int narrow, lmb_edge_buffer *file, char *why, size_t why_cap)
{
    const int in_file = narrow ? bits : 8;
    int8_t weights[17 * 6 * 5 * 27];
    float scales[32];
    int32_t bias[32];
    const uint16_t two[2] = { 2, 2 }, one[2] = { 1, 1 }, pads[4] = { 0, 1, 1, 0 };
    const lmb_edge_quant image = { 0.02f, 120, 0, 255 }, relu = { 0.1f, 0, 0, 255 }, open = { 0.09f, 131, 3, 250 };
    lmb_edge_writer *w = lmb_edge_writer_create();
    if (!w)
        return LMB_EDGE_E_NOMEM;
    for (size_t i = 0; i < sizeof weights; i++)
        weights[i] = (int8_t)((int8_t)(i * 2654435761u >> 24) >> (8 - bits));
    for (int i = 0; i < 32; i++) {
        scales[i] = 0.001f * (float)(i + 1);
        bias[i] = 100 * i - 1000;
    }
    int x = lmb_edge_write_input(w, 6, 5, 3, LMB_EDGE_CHW, image, "image");
    lmb_edge_conv first = { x, relu, 17, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, weights, scales, bias,
                            "first", in_file };
    int a = lmb_edge_write_conv(w, &first);
    lmb_edge_conv deep = { a, open, 17, 17, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, weights, scales, NULL,
                           "deep", in_file };
    int b = lmb_edge_write_conv(w, &deep);
    int sum = lmb_edge_write_add(w, a, b, relu, "sum");
    int other = lmb_edge_write_requantise(w, b, relu, "other");
    int pair[2] = { sum, other };
    int both = lmb_edge_write_concat(w, pair, 2, "both");
    int pool = lmb_edge_write_max_pool(w, both, two, two, one, pads, 0, 200, "pool");
    lmb_edge_conv grouped = { pool, open, 4, 2, { 1, 2 }, { 1, 1 }, { 1, 2 }, { 0, 0, 0, 0 }, weights, scales, bias,
                              "grouped", in_file };
    int g = lmb_edge_write_conv(w, &grouped);
    int mean = lmb_edge_write_global_average(w, pool, relu, "mean");
    lmb_edge_gemm hidden = { g, relu, 34, weights, scales, NULL, "hidden", in_file };
    float wide[34];
    for (int i = 0; i < 34; i++)
        wide[i] = 0.003f;
    hidden.weight_scales = wide;
    int h = lmb_edge_write_gemm(w, &hidden);
    lmb_edge_gemm top = { lmb_edge_write_add(w, mean, h, relu, "joined"), open, NETWORK_OUT, weights, scales, bias,
                          "logits", in_file };
    lmb_edge_write_dequantise(w, lmb_edge_write_gemm(w, &top), "scores");
    lmb_edge_write_meta(w, "producer", "limbeck test");
    lmb_edge_write_meta(w, "labels", "a,b,c,d,e,f,g");
    lmb_edge_status s = lmb_edge_write_finish(w, NETWORK_SIGNATURE, file, why, why_cap);
    lmb_edge_writer_destroy(w);
    return s;
}

static inline lmb_edge_status small_network(lmb_edge_buffer *file, char *why, size_t why_cap)
{
    return small_network_of(8, 0, file, why, why_cap);
}

#endif
