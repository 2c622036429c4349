/* Mirrors core/edge/monitor_file.c: counters that a device in the field sends home. What is taken says the same when it
 * is written again. The checksum is made right, so that what lies behind it is met. */
#define FUZZ_SUITE "monitor"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <sodium.h>

#include "core/edge/internal.h"
#include "core/edge/monitor.h"

enum { ROUNDS = 10000 };

/* Whatever is taken can be averaged, printed and looked up. */
static void believable(const lmb_monitor *k)
{
    uint64_t times = 0;
    for (int i = 0; i < LMB_MONITOR_TIMES; i++)
        times += k->times[i];
    ck_assert(times <= k->predictions && k->channels && k->looked);
    for (uint32_t c = 0; c < k->channels; c++)
        ck_assert(k->channel[c].sum <= 255 * k->predictions * k->looked);
    for (uint32_t i = 0; i < k->n_unsure + k->n_strange; i++) {
        const lmb_monitor_sample *s = i < k->n_unsure ? &k->unsure[i] : &k->strange[i - k->n_unsure];
        ck_assert(s->score >= 0 && s->score < INFINITY && (s->answer < k->classes || !s->answer));
    }
}

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
        size_t head = file[8] == 1 ? 48 : 56;
        ck_assert_uint_eq(lmb_monitor_file_bytes(k), bytes - head + 56);
        again = malloc(bytes - head + 56);
        ck_assert_uint_eq(lmb_monitor_write(k, again), bytes - head + 56);
        ck_assert_mem_eq(again + 56, file + head, bytes - head);
        believable(k);
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
    static const lmb_monitor_shape shape[2] = { { 3, 20, 1, 4, 0.5f, 7, 9 }, { 1, 700, 0, 0, 0, 0, 0 } };
    static uint8_t file[3][LMB_MONITOR_MOST];
    fuzz_seed seeds[3];

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
    memcpy(file[2], file[1], 48); /* the second as version 1 has it */
    memcpy(file[2] + 48, file[1] + 56, seeds[1].bytes - 56);
    file[2][8] = 1;
    seeds[2] = (fuzz_seed){ file[2], seeds[1].bytes - 8 };
    fuzz_run(file_target, seeds, 3, ROUNDS);
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/monitor", add(files);)
#endif
