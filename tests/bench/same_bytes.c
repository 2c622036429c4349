/* tests/bench/same_bytes.c - one integer model over a file of images, its logits as raw floats: what same_bytes.sh
 * compiles for each processor and compares. Standard C and core/edge alone, so that emulated processors without an
 * operating system run it.
 *
 *   same_bytes MODEL.lmb KERNELS IMAGES SKIP COUNT OUT    by core/edge; KERNELS: a name, or - for the best
 *   same_bytes IMAGES SKIP COUNT OUT                      the C export that EXPORT_HEADER names (model_run)
 *
 * IMAGES holds records of SKIP bytes and an image, as CIFAR's binary files do.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EXPORT_HEADER
#include EXPORT_HEADER
enum { FIRST = 1 };
typedef struct network { uint32_t in, out; } network;

static int network_open(network *n, char **argv)
{
    (void)argv;
    n->in = MODEL_INPUT;
    n->out = MODEL_OUTPUT;
    return 0;
}

static void network_run(network *n, const uint8_t *x, float *y)
{
    (void)n;
    model_run(x, y);
}
#else
#include "core/edge/lmb.h"
enum { FIRST = 3 };
typedef struct network { uint32_t in, out; lmb_edge_model m; void *arena; } network;

static void *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    long size = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    void *bytes = size > 0 ? malloc((size_t)size) : NULL;

    *n = (size_t)size;
    if (bytes && (fseek(f, 0, SEEK_SET) != 0 || fread(bytes, 1, *n, f) != *n))
        bytes = NULL;
    if (f)
        fclose(f);
    return bytes;
}

static int network_open(network *n, char **argv)
{
    size_t bytes;
    char why[200] = "it can not be read";
    void *file = read_file(argv[1], &bytes), *prepared;
    lmb_edge_tensor x, y;

    if (!file || lmb_edge_open(file, bytes, &n->m, why, sizeof why) != LMB_EDGE_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], why);
        return 1;
    }
    if (strcmp(argv[2], "-") != 0 && lmb_edge_use(&n->m, argv[2]) != LMB_EDGE_OK) {
        fprintf(stderr, "no kernels '%s' here\n", argv[2]);
        return 1;
    }
    lmb_edge_tensor_at(&n->m, 0, &x);
    lmb_edge_tensor_at(&n->m, n->m.n_ops, &y);
    n->in = x.bytes;
    n->out = y.count;
    prepared = malloc(lmb_edge_prepare_bytes(&n->m) + 1);
    n->arena = malloc(lmb_edge_arena_bytes(&n->m));
    if (!prepared || !n->arena)
        return 1;
    lmb_edge_prepare(&n->m, prepared);
    return 0;
}

static void network_run(network *n, const uint8_t *x, float *y)
{
    if (lmb_edge_run(&n->m, n->arena, x, y) != LMB_EDGE_OK)
        exit(1);
}
#endif

int main(int argc, char **argv)
{
    static network n;
    if (argc != FIRST + 4 || network_open(&n, argv) != 0)
        return 2;
    FILE *images = fopen(argv[FIRST], "rb"), *out = fopen(argv[FIRST + 3], "wb");
    size_t skip = (size_t)atol(argv[FIRST + 1]);
    long count = atol(argv[FIRST + 2]);
    uint8_t *record = malloc(skip + n.in);
    float *logits = malloc(sizeof *logits * n.out);

    if (!images || !out || !record || !logits)
        return 2;
    for (long i = 0; i < count; i++) {
        if (fread(record, 1, skip + n.in, images) != skip + n.in)
            return 2;
        network_run(&n, record + skip, logits);
        if (fwrite(logits, sizeof *logits, n.out, out) != n.out)
            return 2;
    }
    return fclose(out) == 0 ? 0 : 2;
}
