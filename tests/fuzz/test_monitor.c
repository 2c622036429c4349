/* Mirrors core/edge/monitor_file.c: counters that a device in the field sends home. What is taken says the same when it
 * is written again. The checksum is made right, so that what lies behind it is met. */
#define FUZZ_SUITE "monitor"
#include "tests/fuzz/fuzz.h"

#include <sodium.h>

#include "core/edge/internal.h"
#include "core/edge/monitor.h"

enum { ROUNDS = 10000 };

static void file_target(const uint8_t *data, size_t bytes)
{
    char why[200] = "";
    uint8_t *file, *again;
    void *memory;
    lmb_monitor *k;

    if (bytes < 16)
        return;
    file = malloc(bytes);
    memory = malloc(LMB_MONITOR_MOST);
    memcpy(file, data, bytes);
    uint32_t crc = lmbi_edge_crc32c(0, file + 16, bytes - 16);
    for (int i = 0; i < 4; i++)
        file[12 + i] = (uint8_t)(crc >> 8 * i);
    k = lmb_monitor_read(file, bytes, memory, why, sizeof why);
    if (k) {
        ck_assert_uint_eq(lmb_monitor_file_bytes(k), bytes);
        again = malloc(bytes);
        ck_assert_uint_eq(lmb_monitor_write(k, again), bytes);
        ck_assert_mem_eq(again + 48, file + 48, bytes - 48);
        (void)lmb_monitor_expect(k, file, bytes);
        free(again);
    } else {
        ck_assert_uint_gt(strlen(why), 10);
    }
    free(memory);
    free(file);
}

START_TEST(files)
{
    static const lmb_monitor_shape shape[2] = { { 3, 20, 1, 4, 0.5f }, { 1, 700, 0, 0, 0 } };
    static uint8_t file[2][LMB_MONITOR_MOST];
    fuzz_seed seeds[2];

    for (int s = 0; s < 2; s++) {
        lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape[s])), &shape[s]);
        uint8_t input[700], output[16] = { 0 };
        for (uint32_t i = 0; i < 60; i++) {
            memset(input, (int)(i * 4), sizeof input);
            output[i % 4] = (uint8_t)(i + 9);
            lmb_monitor_add(k, i, input, output, 1000 * (i + 1));
        }
        seeds[s] = (fuzz_seed){ file[s], lmb_monitor_write(k, file[s]) };
        free(k);
    }
    fuzz_run(file_target, seeds, 2, ROUNDS);
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/monitor", add(files);)
#endif
