/* tests/fuzz/edge_open.c - libFuzzer on the `.lmb` reader and kernels. Built with -DLMB_FUZZ=ON and clang:
 *
 *   fuzz_edge_open -write-seed FILE      a valid file to start from
 *   fuzz_edge_open CORPUS/
 */
#include "tests/fuzz/edge_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (*argc == 3 && strcmp((*argv)[1], "-write-seed") == 0) {
        net_file f = net_every_kind(3);
        FILE *to = fopen((*argv)[2], "wb");
        int bad = !to || fwrite(f.data, 1, f.bytes, to) != f.bytes || fclose(to) != 0;
        free(f.data);
        exit(bad);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *copy = (unsigned char *)malloc(size + 1); /* aligned, of exact size for ASan but one byte */
    char why[200];
    memcpy(copy, data, size);
    edge_fix_checksums(copy, size);
    edge_try(copy, size, why, sizeof why);
    free(copy);
    return 0;
}
