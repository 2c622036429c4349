/* tests/fuzz/edge_open.c - libFuzzer: bytes of a .lmb file (clang, -DLMB_FUZZ=ON).
 *
 *     build/fuzz/tests/core/edge/fuzz_edge_open -max_len=4096
 *
 * An even first byte: the rest is the file. An odd one: the rest are patches { u16 offset, u8 value } of a valid
 * small network, which gets deep without a corpus; with bit 1 as well, of that network packed; the bits above say how
 * wide its weights are, and bit 7 that they are laid out for all kernel sets too. Checksums are made right in all cases,
 * what is packed is unpacked, and what is laid out is used.
 */
#include <string.h>

#include "core/edge/packed.h"
#include "tests/core/edge/hostile.h"
#include "tests/core/edge/network.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void patch(uint8_t *file, size_t n, const uint8_t *data, size_t size)
{
    for (; size >= 3; data += 3, size -= 3)
        file[(data[0] | (size_t)data[1] << 8) % n] = data[2];
}

static void pack(lmb_edge_buffer *file)
{
    lmb_edge_buffer packed = { NULL, 0, 0 };
    if (lmb_edge_pack(file->data, file->size, 0, &packed, NULL, 0) != LMB_EDGE_OK)
        abort();
    free(file->data);
    *file = packed;
}

static void lay_out(lmb_edge_buffer *file)
{
    lmb_edge_buffer laid = { NULL, 0, 0 };
    const char *sets[LMB_EDGE_LAID_SETS];
    for (int i = 0; i < LMB_EDGE_LAID_SETS; i++)
        sets[i] = lmb_edge_layouts(i);
    if (lmb_edge_write_laid(file->data, file->size, sets, LMB_EDGE_LAID_SETS, &laid, NULL, 0) != LMB_EDGE_OK)
        abort();
    free(file->data);
    *file = laid;
}

static void try_packed(const uint8_t *file, size_t n)
{
    size_t bytes;
    if (lmb_edge_unpacked_bytes(file, n, &bytes, NULL, 0) != LMB_EDGE_OK || !bytes || bytes > 1 << 22)
        return;
    uint8_t *plain = malloc(bytes);
    if (plain && lmb_edge_unpack(file, n, plain, bytes, NULL, 0) == LMB_EDGE_OK)
        try_file(plain, bytes);
    free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lmb_edge_buffer file = { NULL, 0, 0 };
    if (size < 2)
        return 0;
    if (data[0] & 1) {
        int bits = 2 + (data[0] >> 2 & 31) % 7;
        if (small_network_of(bits, 1, &file, NULL, 0) != LMB_EDGE_OK)
            abort();
        if (data[0] & 128)
            lay_out(&file);
        if (data[0] & 2)
            pack(&file);
        patch(file.data, file.size, data + 1, size - 1);
    } else {
        file.size = size - 1;
        file.data = malloc(file.size);
        if (!file.data)
            return 0;
        memcpy(file.data, data + 1, file.size);
    }
    reseal(file.data, file.size);
    try_file(file.data, file.size);
    try_packed(file.data, file.size);
    free(file.data);
    return 0;
}
