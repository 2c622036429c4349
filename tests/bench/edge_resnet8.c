/* tests/bench/edge_resnet8.c - latency of the MLPerf Tiny image classifier: ResNet-8, int8, random weights.
 *
 *     edge_resnet8 [runs [FILE]]      FILE: also write the model there
 *
 * 12,501,632 multiply-accumulates and 77,706 parameters, as mlcommons/tiny's pretrainedResnet_quant.tflite.
 * Weights do not change the time; one thread. Prints one line a kernel set, and what monitoring adds to the fastest.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/edge/lmb.h"
#include "core/edge/monitor.h"
#include "core/edge/write.h"

static uint32_t state = 1;

static uint32_t next(void) /* a linear congruential generator does for weights nobody looks at */
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static int conv(lmb_edge_writer *w, int x, uint32_t channels, uint16_t k, uint16_t stride, int relu)
{
    static int8_t weights[64 * 64 * 9];
    static float scales[64];
    static int32_t bias[64];
    lmb_edge_tensor t;
    if (lmb_edge_write_tensor(w, x, &t) != LMB_EDGE_OK)
        return -1;
    for (size_t i = 0; i < sizeof weights; i++)
        weights[i] = (int8_t)(next() % 255);
    for (int i = 0; i < 64; i++) {
        scales[i] = 0.002f;
        bias[i] = (int32_t)(next() % 2000) - 1000;
    }
    /* TensorFlow's SAME: what does not divide evenly goes to the end. */
    uint16_t total = (uint16_t)(k > stride ? k - stride : 0), before = total / 2, after = (uint16_t)(total - before);
    lmb_edge_conv op = { x, { 0.05f, relu ? 0 : 128, 0, 255 }, channels, 1, { k, k }, { stride, stride }, { 1, 1 },
                         { before, before, after, after }, weights, scales, bias, "conv" };
    return lmb_edge_write_conv(w, &op);
}

static int block(lmb_edge_writer *w, int x, uint32_t channels, uint16_t stride)
{
    lmb_edge_quant y = { 0.06f, 0, 0, 255 };
    int main_path = conv(w, conv(w, x, channels, 3, stride, 1), channels, 3, 1, 0);
    int shortcut = stride > 1 ? conv(w, x, channels, 1, stride, 0) : x;
    return lmb_edge_write_add(w, main_path, shortcut, y, "add");
}

static lmb_edge_status build(lmb_edge_buffer *file, char *why, size_t cap)
{
    static int8_t weights[640];
    static float scales[10];
    lmb_edge_quant q = { 1 / 255.0f, 0, 0, 255 }, pooled = { 0.04f, 0, 0, 255 };
    lmb_edge_writer *w = lmb_edge_writer_create();
    if (!w)
        return LMB_EDGE_E_NOMEM;
    for (int i = 0; i < 640; i++)
        weights[i] = (int8_t)(next() % 255);
    for (int i = 0; i < 10; i++)
        scales[i] = 0.01f;
    int x = conv(w, lmb_edge_write_input(w, 32, 32, 3, LMB_EDGE_CHW, q, "image"), 16, 3, 1, 1);
    x = block(w, x, 16, 1);
    x = block(w, x, 32, 2);
    x = block(w, x, 64, 2);
    x = lmb_edge_write_global_average(w, x, pooled, "pooled");
    lmb_edge_gemm top = { x, { 0.2f, 128, 0, 255 }, 10, weights, scales, NULL, "logits" };
    lmb_edge_write_dequantise(w, lmb_edge_write_gemm(w, &top), "scores");
    lmb_edge_status s = lmb_edge_write_finish(w, 0, file, why, cap);
    lmb_edge_writer_destroy(w);
    return s;
}

static int by_time(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;
    return d < 0 ? -1 : d > 0;
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void measure(lmb_edge_model *m, int runs, double *us)
{
    static uint8_t image[32 * 32 * 3];
    float scores[10];
    void *memory = malloc(lmb_edge_prepare_bytes(m)), *arena = malloc(lmb_edge_arena_bytes(m));
    if (!memory || !arena)
        abort();
    for (size_t i = 0; i < sizeof image; i++)
        image[i] = (uint8_t)next();
    lmb_edge_prepare(m, memory);
    for (int i = -runs / 10; i < runs; i++) {
        double start = now_us();
        lmb_edge_run(m, arena, image, scores);
        if (i >= 0)
            us[i] = now_us() - start;
    }
    qsort(us, (size_t)runs, sizeof *us, by_time);
    printf("%-11s p50 %8.1f us  p95 %8.1f us  min %8.1f us  arena %zu B  prepared %zu B\n", lmb_edge_kernels_of(m),
           us[runs / 2], us[runs - 1 - runs / 20], us[0], lmb_edge_arena_bytes(m), lmb_edge_prepare_bytes(m));
    free(memory);
    free(arena);
}

/* With and without, in turns: what else the machine does meets both. */
static void measure_monitor(lmb_edge_model *m, int runs, double *us)
{
    static uint8_t image[32 * 32 * 3];
    float scores[10];
    double *with = us, *without = us + runs;
    lmb_monitor_shape shape;
    lmb_monitor_shape_of(m, &shape);
    void *memory = malloc(lmb_edge_prepare_bytes(m)), *arena = malloc(lmb_edge_arena_bytes(m));
    void *counters = malloc(lmb_monitor_bytes(&shape));
    if (!memory || !arena || !counters)
        abort();
    lmb_monitor *k = lmb_monitor_init(counters, &shape);
    lmb_edge_prepare(m, memory);
    for (int i = 0; i < 2 * runs; i++) {
        for (size_t p = 0; p < 64; p++)
            image[next() % sizeof image] = (uint8_t)next();
        double start = now_us();
        lmb_edge_run(m, arena, image, scores);
        if (i & 1)
            lmb_monitor_add(k, (uint64_t)i, image, scores, (uint64_t)(1e3 * (now_us() - start)));
        *(i & 1 ? &with[i / 2] : &without[i / 2]) = now_us() - start;
    }
    qsort(with, (size_t)runs, sizeof *us, by_time);
    qsort(without, (size_t)runs, sizeof *us, by_time);
    printf("%-11s p50 %8.2f us  with lmb_monitor_add %8.2f us  %zu B of counters\n", lmb_edge_kernels_of(m),
           without[runs / 2], with[runs / 2], lmb_monitor_bytes(&shape));
    free(memory);
    free(arena);
    free(counters);
}

int main(int argc, char **argv)
{
    int runs = argc > 1 ? atoi(argv[1]) : 2000, usable;
    char why[200];
    lmb_edge_buffer file = { NULL, 0, 0 };
    lmb_edge_model m;
    if (runs < 1 || build(&file, why, sizeof why) != LMB_EDGE_OK ||
        lmb_edge_open(file.data, file.size, &m, why, sizeof why) != LMB_EDGE_OK) {
        fprintf(stderr, "edge_resnet8: %s\n", runs < 1 ? "usage: edge_resnet8 [runs [FILE]]" : why);
        return 1;
    }
    if (argc > 2) {
        FILE *f = fopen(argv[2], "wb");
        if (!f || fwrite(file.data, 1, file.size, f) != file.size || fclose(f) != 0) {
            perror(argv[2]);
            return 1;
        }
    }
    printf("ResNet-8: %llu MACs, %llu parameters, file %zu B\n", (unsigned long long)lmb_edge_macs(&m),
           (unsigned long long)lmb_edge_parameters(&m), file.size);
    double *us = malloc((size_t)runs * 2 * sizeof *us);
    if (!us)
        return 1;
    const char *name;
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++) {
        if (usable && lmb_edge_use(&m, name) == LMB_EDGE_OK)
            measure(&m, strcmp(name, "scalar") == 0 && runs > 100 ? 100 : runs, us);
    }
    if (lmb_edge_open(file.data, file.size, &m, why, sizeof why) == LMB_EDGE_OK) /* again: the fastest set */
        measure_monitor(&m, runs, us);
    free(us);
    free(file.data);
    return 0;
}
