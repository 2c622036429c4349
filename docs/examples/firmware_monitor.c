/* docs/examples/firmware_monitor.c - a C export that counts for `limbeck monitor`, without an operating system's help:
 * no heap, no libm, no .lmb. Images come from stdin here and counters go to stdout; on a device that is a camera and a
 * radio.
 *
 *     limbeck export mine.lmb --to c --out firmware            mine.c and mine.h, with the reference of mine.lmb
 *     cc -std=c99 -I. -Ifirmware docs/examples/firmware_monitor.c firmware/mine.c core/edge/monitor.c \
 *         core/edge/monitor_check.c core/edge/monitor_file.c core/edge/crc32c.c -o firmware_monitor
 */
#include "mine.h"

#include <stdio.h>

#include "core/edge/monitor.h"

int main(void)
{
    static const lmb_monitor_shape shape = MINE_SHAPE;
    static uint64_t memory[LMB_MONITOR_MOST / 8]; /* lmb_monitor_bytes(&shape) are in use */
    static uint8_t image[MINE_INPUT], counters[LMB_MONITOR_MOST];
    static float scores[MINE_OUTPUT];
    uint64_t number = 0;

    lmb_monitor *k = lmb_monitor_init(memory, &shape);
    if (lmb_monitor_expect(k, mine_reference, MINE_REFERENCE_BYTES) != LMB_EDGE_OK)
        return 1;
    while (fread(image, 1, sizeof image, stdin) == sizeof image) {
        mine_run(image, scores);
        lmb_monitor_add(k, number++, image, scores, 0); /* nanoseconds of the device's timer, if it has one */
    }
    size_t n = lmb_monitor_write(k, counters);
    return fwrite(counters, 1, n, stdout) != n;
}
