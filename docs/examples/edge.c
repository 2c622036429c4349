/* docs/examples/edge.c - the least that runs a model: raw pixels in (one plane a channel, row by row), classes out.
 *     cc edge.c $(pkg-config --cflags --libs limbeck-edge) -o edge && ./edge MODEL.lmb < PIXELS */
#include <stdio.h>
#include <stdlib.h>
#include "core/edge/lmb.h"

int main(int argc, char **argv)
{
    static unsigned char file[1 << 24], image[1 << 20]; /* a microcontroller has the file in flash */
    FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
    size_t n = f ? fread(file, 1, sizeof file, f) : 0, got;
    char why[200] = "usage: edge MODEL.lmb < PIXELS";
    lmb_edge_model m;
    lmb_edge_tensor x, y;
    if (!n || lmb_edge_open(file, n, &m, why, sizeof why) != LMB_EDGE_OK)
        return fprintf(stderr, "%s\n", why), 1;
    lmb_edge_tensor_at(&m, 0, &x);
    lmb_edge_tensor_at(&m, m.n_ops, &y);
    void *prepared = malloc(lmb_edge_prepare_bytes(&m)), *arena = malloc(lmb_edge_arena_bytes(&m));
    float *scores = malloc(y.bytes);
    if (!prepared || !arena || !scores || x.bytes > sizeof image || y.type != LMB_EDGE_F32)
        return fprintf(stderr, "no memory, or no scores in floats\n"), 1;
    lmb_edge_prepare(&m, prepared);
    while ((got = fread(image, 1, x.bytes, stdin)) == x.bytes) {
        uint32_t best = 0;
        lmb_edge_run(&m, arena, image, scores);
        for (uint32_t i = 1; i < y.count; i++)
            best = scores[i] > scores[best] ? i : best;
        printf("%u\n", best);
    }
    free(prepared), free(arena), free(scores), fclose(f);
    return got ? fprintf(stderr, "the last %zu bytes are no image, which has %u\n", got, x.bytes), 1 : 0;
}
