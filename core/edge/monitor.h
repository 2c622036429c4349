/* core/edge/monitor.h - what a deployed model sees and says, counted where it runs.
 *
 * Idea: a model that was right on the test set is wrong on other inputs, and nobody tells it. Beside each prediction a
 * few counters go up: how long it took, how sure it was, what it answered, and a histogram of a few pixels. Counters of
 * the calibration set, made by the same functions, are the reference; `limbeck monitor` compares. Of the samples, which
 * stay where they are, only the caller's numbers are kept: of those that were least certain and of those that were
 * least like the reference.
 *
 *     lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape)), &shape);
 *     lmb_monitor_expect(k, m.monitor, m.monitor_bytes);               if the model has a reference
 *     lmb_edge_run(&m, arena, image, scores);
 *     lmb_monitor_add(k, number, image, scores, nanoseconds);          after each prediction; 0: nobody measured it
 *     n = lmb_monitor_write(k, buffer);                                now and then: a file of a few kB
 *
 * Cost: LMB_MONITOR_PIXELS pixels are looked at in each image, others in the next. No allocation, no libm, no clock.
 * Beside a C export (c_source.h), whose header has the shape, it is monitor.c, monitor_check.c, monitor_file.c and
 * crc32c.c.
 *
 *   bins     times: four an octave of nanoseconds, the first (below 5) of predictions that nobody timed. margins: of
 *            the best answer against the second, 1 / (1 + exp(-margin)), twenty from 0.5 to 1. inputs: sixteen of the
 *            256 values
 *   limits   the first 16 channels; answers are counted of classifiers with at most 1024 classes
 *   threads  one at a time; give each thread its own
 *
 * The file, little-endian:
 *     0 magic 89 'L' 'M' 'N' 0D 0A 1A 0A; 8 u16 version 2, u16 0; 12 u32 CRC-32C of all that follows
 *     16 u32 channels, classes, pixels looked at in an image, unsure, strange, model; 40 u64 predictions, release
 *     56 u32 times[160], u32 margins[20]
 *     channels of { u64 sum, squares, squares of image sums, u64 bins[16] }; u32 answers[classes]
 *     samples { u64 number, f32 score, u32 answer }: the unsure, then the strange
 * Version 1, which is read too, has 0 for the model and no release: it does not say what it counted. Readers refuse
 * sums that so many predictions cannot have, scores that are not finite and answers that are no class.
 */
#ifndef LMB_CORE_EDGE_MONITOR_H
#define LMB_CORE_EDGE_MONITOR_H

#include "core/edge/lmb.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LMB_MONITOR_TIMES = 160,
    LMB_MONITOR_MARGINS = 20,
    LMB_MONITOR_BINS = 16,
    LMB_MONITOR_CHANNELS = 16,
    LMB_MONITOR_CLASSES = 1024,
    LMB_MONITOR_KEEP = 32,   /* samples in each list     */
    LMB_MONITOR_PIXELS = 32, /* looked at in an image    */
    LMB_MONITOR_BITS = 37,   /* of a number of predictions, after which nothing is counted: no sum overflows */
    LMB_MONITOR_MOST = 16384 /* bytes of any file, and of memory to read it into */
};

/* What is run; a C export, which has no lmb_edge_model, has it as NAME_SHAPE. */
typedef struct lmb_monitor_shape {
    uint32_t channels, pixels; /* of the input                                      */
    int planes;                /* the input lies as planes (CHW)                    */
    uint32_t classes;          /* of the output; 0: it is no classifier             */
    float scale;               /* of one step of a u8 output; 0: the output is f32  */
    uint32_t model;            /* lmb_monitor_model; 0: nobody says which           */
    uint64_t release;          /* of the file; 0: it has none                       */
} lmb_monitor_shape;

/* Which network it is, whatever reference, release, signature, packing or layout its file has: the CRC-32C of four u32,
 * those of the sections TENS, OPS, WTS and QNT; never 0. Against mistakes; forgers are signatures' work. */
uint32_t lmb_monitor_model(const lmb_edge_model *m);
void lmb_monitor_shape_of(const lmb_edge_model *m, lmb_monitor_shape *shape);

typedef struct lmb_monitor_sample {
    uint64_t number;
    float score; /* unsure: margin, in units of the output; strange: distance in standard deviations */
    uint32_t answer;
} lmb_monitor_sample;

typedef struct lmb_monitor_channel {
    uint64_t sum, squares;  /* of the values looked at            */
    uint64_t image_squares; /* of the sums of single images       */
    uint64_t bins[LMB_MONITOR_BINS];
} lmb_monitor_channel;

/* Fields may be read. */
typedef struct lmb_monitor {
    lmb_monitor_shape shape;
    uint32_t channels, classes, looked; /* counted; pixels looked at in an image */
    uint64_t predictions;
    uint32_t times[LMB_MONITOR_TIMES], margins[LMB_MONITOR_MARGINS]; /* stop at their largest value */
    uint32_t n_unsure, n_strange;
    lmb_monitor_sample unsure[LMB_MONITOR_KEEP], strange[LMB_MONITOR_KEEP];
    int expects;
    float mean[LMB_MONITOR_CHANNELS], steps[LMB_MONITOR_CHANNELS]; /* of image sums in the reference; 1 / deviation */
    lmb_monitor_channel *channel;                                  /* [channels] */
    uint32_t *answers;                                             /* [classes]  */
} lmb_monitor;

/* All counters zero, in memory of the caller, aligned to 8 (malloc's is). Again, to begin anew. */
size_t lmb_monitor_bytes(const lmb_monitor_shape *shape);
lmb_monitor *lmb_monitor_init(void *memory, const lmb_monitor_shape *shape);

/* From here on, keep what is unlike the reference (bytes of a monitor file).  errors  E_FORMAT: no monitor file, or one
 * of another model; nothing has changed */
lmb_edge_status lmb_monitor_expect(lmb_monitor *k, const void *reference, size_t n);

/* One prediction. `input`, `output`: as lmb_edge_run had them; `number`: by which the caller finds the sample again;
 * `nanoseconds`: by the caller's clock, 0 without one. */
void lmb_monitor_add(lmb_monitor *k, uint64_t number, const uint8_t *input, const void *output, uint64_t nanoseconds);

/* The file; `out` has room for lmb_monitor_file_bytes(k). */
size_t lmb_monitor_file_bytes(const lmb_monitor *k);
size_t lmb_monitor_write(const lmb_monitor *k, void *out);

/* The counters of a file, in `memory` of LMB_MONITOR_MOST bytes. NULL, and a sentence: not a whole monitor file,
 * or one that contradicts itself. */
lmb_monitor *lmb_monitor_read(const void *file, size_t n, void *memory, char *why, size_t why_cap);

/* The bin of a time, and its lower end, in nanoseconds. */
uint32_t lmb_monitor_time_bin(uint64_t nanoseconds);
uint64_t lmb_monitor_bin_time(uint32_t bin);

#ifdef __cplusplus
}
#endif
#endif
