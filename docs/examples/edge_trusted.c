/* docs/examples/edge_trusted.c - a model in a file that others may have touched, run where it lies (edge.c reads it
 * into memory and believes it): with the public key that `limbeck sign` printed it runs only what the key's owner has
 * signed, and with a file for the number of the last release nothing older than that.
 *
 *     edge_trusted MODEL.lmb PIXELS [PUBLIC-KEY [LAST]]      PIXELS: images of bytes, one plane a channel, row by row
 *     cc edge_trusted.c $(pkg-config --cflags --libs limbeck-edge libsodium) -o edge_trusted
 *
 * From here on nobody may write into the file itself, which is read as long as the model runs: an update is a new file
 * under the same name (rename). Where that can not be had, read it into memory before it is opened, as edge.c does.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/edge/laid.h"

/* A signature is the signer's key, 32 bytes, and Ed25519 over all bytes before it, 64. */
static int signed_by(void *key, const uint8_t *bytes, size_t n, const uint8_t *signature, size_t signature_bytes)
{
    return signature_bytes == 96 && memcmp(signature, key, 32) == 0 &&
           crypto_sign_verify_detached(signature + 32, bytes, n, key) == 0;
}

/* The number in a file, one line: 0 where there is no file. One that can not be read, or holds anything else, is no
 * reason to run what is older. */
static int read_last(const char *path, uint64_t *last)
{
    char line[24], *end;
    FILE *f = fopen(path, "r");
    if (!f)
        return errno == ENOENT;
    size_t n = fread(line, 1, sizeof line - 1, f);
    int ok = !ferror(f);
    fclose(f);
    line[n] = errno = 0;
    *last = strtoull(line, &end, 10);
    end += *end == '\n';
    return ok && line[0] >= '0' && line[0] <= '9' && errno == 0 && end == line + n;
}

/* Whole or not at all, as power can go at any time: the number, then its new name in the folder. */
static int write_last(const char *path, uint64_t last)
{
    char part[4096];
    int n = snprintf(part, sizeof part, "%s.part", path);
    FILE *f = n < (int)sizeof part ? fopen(part, "w") : NULL;
    if (!f)
        return 0;
    int ok = fprintf(f, "%" PRIu64 "\n", last) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;
    if (fclose(f) != 0 || !ok || rename(part, path) != 0)
        return 0;
    int folder = open(dirname(part), O_RDONLY | O_DIRECTORY);
    ok = folder >= 0 && fsync(folder) == 0;
    return (folder < 0 || close(folder) == 0) && ok;
}

int main(int argc, char **argv)
{
    uint8_t key[32];
    lmb_edge_trust trust = { signed_by, key, 0 }; /* the last: the least release that may run */
    char why[200];
    lmb_edge_model m;
    lmb_edge_tensor x, y;
    if (argc < 3 || sodium_init() < 0 ||
        (argc > 3 && (strlen(argv[3]) != 64 || sodium_hex2bin(key, 32, argv[3], 64, NULL, NULL, NULL))))
        return fprintf(stderr, "usage: edge_trusted MODEL.lmb PIXELS [PUBLIC-KEY, 64 hexadecimal digits, [LAST]]\n"), 1;
    if (argc > 4 && !read_last(argv[4], &trust.minimum_release))
        return fprintf(stderr, "%s: not a file with the number of a release that can be read\n", argv[4]), 1;
    int model = open(argv[1], O_RDONLY);
    FILE *pixels = fopen(argv[2], "rb");
    off_t n = lseek(model, 0, SEEK_END);
    void *file = n > 0 ? mmap(NULL, (size_t)n, PROT_READ, MAP_PRIVATE, model, 0) : MAP_FAILED;
    if (file == MAP_FAILED || !pixels)
        return fprintf(stderr, "cannot read %s\n", pixels ? argv[1] : argv[2]), 1;
    if ((argc > 3 ? lmb_edge_open_trusted(file, (size_t)n, &trust, &m, why, sizeof why)
                  : lmb_edge_open(file, (size_t)n, &m, why, sizeof why)) != LMB_EDGE_OK)
        return fprintf(stderr, "%s: %s\n", argv[1], why), 1;
    if (argc > 4 && m.release > trust.minimum_release && !write_last(argv[4], m.release))
        return fprintf(stderr, "%s can not be written\n", argv[4]), 1;
    lmb_edge_use_laid(&m, NULL, 0); /* weights in the order of these kernels, if the file has them, stay in it */
    lmb_edge_tensor_at(&m, 0, &x);
    lmb_edge_tensor_at(&m, m.n_ops, &y);
    void *prepared = malloc(lmb_edge_prepare_bytes(&m)), *arena = malloc(lmb_edge_arena_bytes(&m));
    void *image = malloc(x.bytes);
    float *scores = malloc(y.bytes);
    if (!prepared || !arena || !image || !scores || y.type != LMB_EDGE_F32)
        return fprintf(stderr, "no memory, or no scores in floats\n"), 1;
    lmb_edge_prepare(&m, prepared);
    size_t got;
    while ((got = fread(image, 1, x.bytes, pixels)) == x.bytes) {
        uint32_t best = 0;
        lmb_edge_run(&m, arena, image, scores); /* y.count scores, one a class: the largest is the answer */
        for (uint32_t i = 1; i < y.count; i++)
            best = scores[i] > scores[best] ? i : best;
        printf("%u\n", best);
    }
    free(prepared), free(arena), free(image), free(scores), fclose(pixels);
    return got ? fprintf(stderr, "%s: the last %zu bytes are no image, which has %u\n", argv[2], got, x.bytes), 1 : 0;
}
