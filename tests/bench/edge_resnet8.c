/* tests/bench/edge_resnet8.c - latency of the edge runtime on the ResNet-8 of MLPerf Tiny with random weights.
 *
 *   edge_resnet8 [RUNS]     one line for each set of kernels this machine has: median and 99th percentile of RUNS
 *                           single inferences (default 2000) after as many to warm up, one thread
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/core/edge/nets.h"

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(net_file f, const char *kernels, const uint8_t *input, int runs)
{
    lmb_edge_model m;
    if (lmb_edge_open(f.data, f.bytes, &m, NULL, 0) != LMB_EDGE_OK || lmb_edge_use(&m, kernels) != LMB_EDGE_OK)
        return 1;
    const size_t prepare = lmb_edge_prepare_bytes(&m);
    void *prepared = malloc(prepare + 1), *arena = malloc(lmb_edge_arena_bytes(&m));
    double *us = malloc((size_t)runs * sizeof *us);
    uint8_t out[10];
    int bad = !prepared || !arena || !us || lmb_edge_prepare(&m, prepared, prepare) != LMB_EDGE_OK;
    for (int i = 0; i < 2 * runs && !bad; i++) {
        double start = now_us();
        bad = lmb_edge_run(&m, arena, input, out) != LMB_EDGE_OK;
        us[i % runs] = now_us() - start;
    }
    if (!bad) {
        qsort(us, (size_t)runs, sizeof *us, ascending);
        printf("%-12s p50 %8.1f us  p99 %8.1f us  %6.1f MAC/ns  arena %zu B  packed %zu B  file %zu B\n", kernels,
               us[runs / 2], us[runs * 99 / 100], (double)lmb_edge_macs(&m) / us[runs / 2] * 1e-3,
               lmb_edge_arena_bytes(&m), prepare, f.bytes);
    }
    free(prepared);
    free(arena);
    free(us);
    return bad;
}

int main(int argc, char **argv)
{
    const int runs = argc > 1 ? atoi(argv[1]) : 2000;
    uint8_t input[32 * 32 * 3];
    uint64_t seed = 1;
    net_file f = net_resnet8(7);
    int bad = runs < 1 || !f.data;
    net_random_bytes(&seed, input, sizeof input);
    for (int i = 0; !bad && lmb_edge_kernels_at(i); i++)
        bad = measure(f, lmb_edge_kernels_at(i), input, runs);
    free(f.data);
    return bad;
}
