/* core/edge/crc32c.c - CRC-32C with a 16-entry table, half a byte a step, 64 bytes of constants; and with the
 * instruction for it that processors of the kernel sets have, eight bytes a step: opening a file reads every byte of
 * it. */
#include "core/edge/internal.h"

#if LMBI_EDGE_AVX512VNNI || LMBI_EDGE_AVXVNNI || LMBI_EDGE_AVX2
#define HAVE_EIGHT 1
#include <nmmintrin.h>

static int have_eight(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2");
}
__attribute__((target("sse4.2"))) static uint32_t eight(uint32_t crc, uint64_t v)
{
    return (uint32_t)_mm_crc32_u64(crc, v);
}
#elif (LMBI_EDGE_NEON || LMBI_EDGE_NEONDOT) && defined(__linux__)
#define HAVE_EIGHT 1
#include <sys/auxv.h>

static int have_eight(void) { return (getauxval(AT_HWCAP) >> 7 & 1) != 0; } /* HWCAP_CRC32 */
static uint32_t eight(uint32_t crc, uint64_t v)
{
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(v));
    return crc;
}
#endif

static const uint32_t nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t lmbi_edge_crc32c(uint32_t crc, const void *p, size_t n)
{
    const uint8_t *b = (const uint8_t *)p;
    crc = ~crc;
#if HAVE_EIGHT
    if (have_eight())
        for (uint64_t v; n >= 8; b += 8, n -= 8) {
            memcpy(&v, b, 8);
            crc = eight(crc, v);
        }
#endif
    for (size_t i = 0; i < n; i++) {
        crc ^= b[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}
