/* docs/examples/edge_monitor.c - a device's whole program with counters for `limbeck monitor`: a model, raw images from
 * stdin, an answer for each. Needs core/edge, the C library and a clock.
 *
 *     edge_monitor MODEL.lmb DEVICE.mon < images      one image: one plane a channel, row by row, as tensor 0 says
 *     cc -std=c99 edge_monitor.c $(pkg-config --cflags --libs limbeck-edge) -o edge_monitor
 */
#define _POSIX_C_SOURCE 199309L /* for clock_gettime; on a microcontroller any timer will do */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/edge/monitor.h"

enum { MODEL_MOST = 1 << 24 };

static uint64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    static uint8_t file[MODEL_MOST], counters[LMB_MONITOR_MOST]; /* on a microcontroller the file lies in flash */
    FILE *f = argc == 3 ? fopen(argv[1], "rb") : NULL;
    size_t n = f ? fread(file, 1, sizeof file, f) : 0;
    lmb_monitor_shape shape;
    lmb_edge_tensor x, y;
    lmb_edge_model m;
    char why[200] = "cannot read it";

    if (f)
        fclose(f);
    if (!n || lmb_edge_open(file, n, &m, why, sizeof why) != LMB_EDGE_OK) /* of others' files: see edge_trusted.c */
        return fprintf(stderr, "usage: edge_monitor MODEL.lmb DEVICE.mon < images; %s\n", why), 1;
    lmb_edge_tensor_at(&m, 0, &x);
    lmb_edge_tensor_at(&m, m.n_ops, &y);
    lmb_monitor_shape_of(&m, &shape);
    void *prepared = malloc(lmb_edge_prepare_bytes(&m)), *arena = malloc(lmb_edge_arena_bytes(&m));
    void *memory = malloc(lmb_monitor_bytes(&shape));
    uint8_t *image = malloc(x.bytes);
    float *scores = malloc(y.bytes);
    if (!prepared || !arena || !memory || !image || !scores || y.type != LMB_EDGE_F32)
        return fprintf(stderr, "no memory, or no scores in floats\n"), 1;
    lmb_edge_prepare(&m, prepared);
    lmb_monitor *k = lmb_monitor_init(memory, &shape);
    lmb_monitor_expect(k, m.monitor, m.monitor_bytes); /* a model without a reference: nothing is strange */
    size_t got;
    for (uint64_t number = 0; (got = fread(image, 1, x.bytes, stdin)) == x.bytes; number++) {
        uint32_t best = 0;
        uint64_t from = nanoseconds();
        lmb_edge_run(&m, arena, image, scores);
        lmb_monitor_add(k, number, image, scores, nanoseconds() - from);
        for (uint32_t i = 1; i < y.count; i++)
            best = scores[i] > scores[best] ? i : best;
        printf("%lu\n", (unsigned long)best);
    }
    n = lmb_monitor_write(k, counters);
    free(prepared), free(arena), free(memory), free(image), free(scores);
    f = fopen(argv[2], "wb");
    if (!f || fwrite(counters, 1, n, f) != n || fclose(f) != 0)
        return fprintf(stderr, "%s can not be written\n", argv[2]), 1;
    return got ? fprintf(stderr, "the last %zu bytes are no image, which has %u\n", got, x.bytes), 1 : 0;
}
