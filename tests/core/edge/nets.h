/* tests/core/edge/nets.h - random numbers, small networks and a runner shared by the tests of core/edge, its
 * benchmark and its fuzz target. Every buffer has exactly the size the interface asks for, so that ASan sees a read
 * beyond it. */
#ifndef LMB_TESTS_CORE_EDGE_NETS_H
#define LMB_TESTS_CORE_EDGE_NETS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/edge/lmb.h"
#include "core/edge/write.h"

/* xorshift64*: Vigna 2016, An experimental exploration of Marsaglia's xorshift generators, scrambled. */
static inline uint32_t net_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 2685821657736338717ull) >> 32);
}

static inline void net_random_bytes(uint64_t *state, void *dst, size_t n)
{
    unsigned char *p = (unsigned char *)dst;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)net_random(state);
}

/* A file in memory as a device would have it: exact size, aligned by malloc. */
typedef struct net_file {
    unsigned char *data;
    size_t bytes;
} net_file;

static inline net_file net_finish(lmb_edge_writer *w, int output)
{
    lmb_edge_buffer b = { NULL, 0, 0 };
    net_file f = { NULL, 0 };
    char why[200] = "";
    if (lmb_edge_writer_finish(w, output, &b, why, sizeof why) == LMB_EDGE_OK) {
        f.data = (unsigned char *)malloc(b.bytes);
        f.bytes = b.bytes;
        memcpy(f.data, b.data, b.bytes);
    } else {
        fprintf(stderr, "writer: %s\n", why);
    }
    free(b.data);
    lmb_edge_writer_destroy(w);
    return f;
}

/* Open and run with the named kernels (NULL: those open chose). Returns the output, caller frees; NULL on failure. */
static inline uint8_t *net_run(net_file f, const char *kernels, const uint8_t *input, size_t *out_bytes)
{
    lmb_edge_model m;
    char why[200] = "";
    if (lmb_edge_open(f.data, f.bytes, &m, why, sizeof why) != LMB_EDGE_OK) {
        fprintf(stderr, "open: %s\n", why);
        return NULL;
    }
    if (kernels && lmb_edge_use(&m, kernels) != LMB_EDGE_OK)
        return NULL;
    void *prepared = malloc(lmb_edge_prepare_bytes(&m) + 1), *arena = malloc(lmb_edge_arena_bytes(&m));
    *out_bytes = lmb_edge_tensor_bytes(&m.tensors[m.output]);
    uint8_t *out = (uint8_t *)malloc(*out_bytes);
    memset(arena, 0xa5, lmb_edge_arena_bytes(&m));
    if (lmb_edge_prepare(&m, prepared, lmb_edge_prepare_bytes(&m)) != LMB_EDGE_OK ||
        lmb_edge_run(&m, arena, input, out) != LMB_EDGE_OK) {
        free(out);
        out = NULL;
    }
    free(prepared);
    free(arena);
    return out;
}

static inline lmb_edge_window net_window(int kernel, int stride, int pad_before, int pad_after)
{
    lmb_edge_window v = { kernel,     kernel,     stride,    stride,    1, 1,
                          pad_before, pad_before, pad_after, pad_after };
    return v;
}

/* A k x k convolution with random weights and ReLU, scaled so that its output spreads over 0..255. */
static inline int net_conv(lmb_edge_writer *w, uint64_t *seed, const char *name, int src, int in, int out, int groups,
                           lmb_edge_window win, int relu)
{
    const int products = win.kernel_h * win.kernel_w * (in / groups), n = out * products;
    int8_t *weights = (int8_t *)malloc((size_t)n);
    float *scale = (float *)malloc((size_t)out * sizeof *scale);
    int32_t *bias = (int32_t *)malloc((size_t)out * sizeof *bias);
    lmb_edge_quant y = { 0.05f, relu ? 0 : 131, 0, 255 };
    net_random_bytes(seed, weights, (size_t)n);
    for (int i = 0; i < out; i++) {
        scale[i] = (0.5f + (float)(net_random(seed) % 1024) / 1024.0f) * 0.02f / sqrtf((float)products);
        bias[i] = (int32_t)(net_random(seed) % 4001) - 2000;
    }
    int t = lmb_edge_write_conv(w, name, src, out, groups, &win, weights, scale, bias, y);
    free(weights);
    free(scale);
    free(bias);
    return t;
}

static inline int net_gemm(lmb_edge_writer *w, uint64_t *seed, const char *name, int src, int in, int out)
{
    int8_t *weights = (int8_t *)malloc((size_t)in * (size_t)out);
    float *scale = (float *)malloc((size_t)out * sizeof *scale);
    lmb_edge_quant y = { 0.1f, 120, 0, 255 };
    net_random_bytes(seed, weights, (size_t)in * (size_t)out);
    for (int i = 0; i < out; i++)
        scale[i] = 0.02f / sqrtf((float)in);
    int t = lmb_edge_write_gemm(w, name, src, out, weights, scale, NULL, y);
    free(weights);
    free(scale);
    return t;
}

/* The ResNet-8 of MLPerf Tiny (image classification): 32x32x3, stages of 16, 32 and 64 channels, 10 classes;
 * 12,501,632 multiplications. TensorFlow's "same" padding: with stride 2 the border is on the right and below. */
static inline net_file net_resnet8(uint64_t seed)
{
    lmb_edge_writer *w = lmb_edge_writer_create();
    const lmb_edge_quant sum = { 0.06f, 0, 0, 255 }, mean = { 0.03f, 0, 0, 255 };
    int x = lmb_edge_write_input(w, "image", 32, 32, 3, 1.0f / 64, 128, 1);
    x = net_conv(w, &seed, "stem", x, 3, 16, 1, net_window(3, 1, 1, 1), 1);
    for (int stage = 0, in = 16; stage < 3; stage++) {
        const int out = 16 << stage, stride = stage ? 2 : 1;
        int y = net_conv(w, &seed, "a", x, in, out, 1, net_window(3, stride, stage ? 0 : 1, 1), 1);
        y = net_conv(w, &seed, "b", y, out, out, 1, net_window(3, 1, 1, 1), 0);
        if (stage)
            x = net_conv(w, &seed, "skip", x, in, out, 1, net_window(1, 2, 0, 0), 0);
        x = lmb_edge_write_add(w, "sum", x, y, sum);
        in = out;
    }
    x = lmb_edge_write_global_avg(w, "mean", x, mean);
    x = net_gemm(w, &seed, "logits", x, 64, 10);
    lmb_edge_write_meta(w, "producer", "tests/core/edge/nets.h");
    lmb_edge_write_meta(w, "labels", "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck");
    return net_finish(w, x);
}

/* A small network with every kind of step. */
static inline net_file net_every_kind(uint64_t seed)
{
    lmb_edge_writer *w = lmb_edge_writer_create();
    const lmb_edge_quant half = { 0.1f, 10, 10, 255 }, sum = { 0.08f, 3, 3, 200 }, mean = { 0.03f, 9, 0, 255 };
    int x = lmb_edge_write_input(w, "image", 9, 7, 3, 1.0f / 64, 128, 1), parts[3];
    x = net_conv(w, &seed, "stem", x, 3, 12, 1, net_window(3, 1, 1, 1), 1);
    parts[0] = net_conv(w, &seed, "depthwise", x, 12, 12, 12, net_window(3, 1, 1, 1), 1);
    parts[1] = net_conv(w, &seed, "grouped", x, 12, 8, 4, net_window(3, 1, 1, 1), 1);
    parts[2] = x;
    x = lmb_edge_write_concat(w, "joined", parts, 3);
    const lmb_edge_window pool = net_window(3, 2, 1, 1);
    x = lmb_edge_write_max_pool(w, "pool", x, &pool);
    int y = lmb_edge_write_requantize(w, "half", x, half);
    x = lmb_edge_write_add(w, "sum", x, y, sum);
    y = net_gemm(w, &seed, "hidden", x, 5 * 4 * 32, 33);
    parts[0] = y;
    parts[1] = lmb_edge_write_requantize(w, "same", lmb_edge_write_global_avg(w, "mean", x, mean),
                                         (lmb_edge_quant){ 0.1f, 120, 0, 255 });
    x = lmb_edge_write_concat(w, "features", parts, 2);
    x = net_gemm(w, &seed, "logits", x, 65, 5);
    lmb_edge_write_meta(w, "labels", "a,b,c,d,e");
    return net_finish(w, x);
}

#endif
