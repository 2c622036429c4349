/* docs/examples/edge.c - a model on a machine with files, where it lies: raw pixels in, the number of a class out. With
 * the public key that `limbeck sign` printed it runs only what the key's owner has signed.
 *
 *     edge MODEL.lmb PIXELS [PUBLIC-KEY]      PIXELS: images of bytes, one plane a channel, row by row
 *     cc edge.c $(pkg-config --cflags --libs limbeck-edge libsodium) -o edge
 */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/edge/laid.h"

/* A signature is the signer's key, 32 bytes, and Ed25519 over all bytes before it, 64. */
static int signed_by(void *key, const uint8_t *bytes, size_t n, const uint8_t *signature, size_t signature_bytes)
{
    return signature_bytes == 96 && crypto_sign_verify_detached(signature + 32, bytes, n, key) == 0;
}

int main(int argc, char **argv)
{
    uint8_t key[32];
    const lmb_edge_trust trust = { signed_by, key, 0 }; /* 0: the least release; a device keeps the last one it ran */
    char why[200] = "usage: edge MODEL.lmb PIXELS [PUBLIC-KEY, 64 hexadecimal digits]";
    lmb_edge_model m;
    lmb_edge_tensor x, y;
    struct stat s;
    FILE *model = argc > 2 ? fopen(argv[1], "rb") : NULL, *pixels = argc > 2 ? fopen(argv[2], "rb") : NULL;
    int bad = !model || !pixels || fstat(fileno(model), &s) || sodium_init() < 0 ||
              (argc > 3 && (strlen(argv[3]) != 64 || sodium_hex2bin(key, 32, argv[3], 64, NULL, NULL, NULL)));
    void *file = bad ? MAP_FAILED : mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fileno(model), 0);

    if (file == MAP_FAILED || (argc > 3 ? lmb_edge_open_trusted(file, (size_t)s.st_size, &trust, &m, why, sizeof why)
                                        : lmb_edge_open(file, (size_t)s.st_size, &m, why, sizeof why)) != LMB_EDGE_OK)
        return fprintf(stderr, "%s\n", why), 1;
    lmb_edge_use_laid(&m, NULL, 0); /* weights in the order of these kernels, if the file has them, stay in it */
    lmb_edge_tensor_at(&m, 0, &x);
    lmb_edge_tensor_at(&m, m.n_ops, &y);
    void *prepared = malloc(lmb_edge_prepare_bytes(&m)), *arena = malloc(lmb_edge_arena_bytes(&m));
    void *image = malloc(x.bytes);
    float *scores = malloc(y.bytes);
    if (!prepared || !arena || !image || !scores || y.type != LMB_EDGE_F32)
        return fprintf(stderr, "no memory, or no scores in floats\n"), 1;
    lmb_edge_prepare(&m, prepared);
    while (fread(image, 1, x.bytes, pixels) == x.bytes) {
        uint32_t best = 0;
        lmb_edge_run(&m, arena, image, scores); /* y.count scores, one a class: the largest is the answer */
        for (uint32_t i = 1; i < y.count; i++)
            best = scores[i] > scores[best] ? i : best;
        printf("%u\n", best);
    }
    free(prepared), free(arena), free(image), free(scores), fclose(model), fclose(pixels);
    return 0;
}
