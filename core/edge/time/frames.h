/* core/edge/time/frames.h - what a search (launch/device.c) and a device (limbeck-time, serve.h) say to each other.
 *
 * Idea: whatever runs a command on a device carries bytes both ways: ssh, adb shell, docker exec, qemu. The search
 * asks, the device answers, a frame each. Neither believes the other: kinds and lengths have bounds, and all bytes a
 * checksum, which also finds a terminal on the way that changes ends of lines.
 *
 * A frame, little-endian, floats as IEEE binary64:
 *     0   4     magic 89 'L' 'T' 1A
 *     4   u32   kind
 *     8   u32   bytes of the body
 *     12  u32   CRC-32C of the 12 bytes before and the body
 *     16        body
 *
 *     kind          asked                                    answered
 *     1 hello       u32 version, 0D 0A                       u32 version, 0D 0A; then, each ended by 00: the kernels
 *                                                            that models run with, the processor, why there is no
 *                                                            energy (empty: there is)
 *     2 model       a whole .lmb, which what follows is of   nothing
 *     3 op          u32 number                               f64 microseconds
 *     4 whole       f64 sum of the ops, f64 deadline (us)    f64 p50, p99, throughput, share of late runs
 *     5 energy      nothing                                  f64 microjoules a prediction, 0: it can not be read
 *     6 sorry       never                                    to anything: a sentence why not; the device goes on
 * Another version may say all but the first six bytes of a hello in another way.
 */
#ifndef LMB_CORE_EDGE_TIME_FRAMES_H
#define LMB_CORE_EDGE_TIME_FRAMES_H

#include "core/edge/time/measure.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    LMB_FRAME_HELLO = 1,
    LMB_FRAME_MODEL,
    LMB_FRAME_OP,
    LMB_FRAME_WHOLE,
    LMB_FRAME_ENERGY,
    LMB_FRAME_SORRY
} lmb_frame_kind;

enum {
    LMB_FRAME_VERSION = 1,
    LMB_FRAME_FIRST = 0x89, /* byte of the magic: no text begins so */
    LMB_FRAME_HEAD = 16,
    LMB_FRAME_BODY = 1024, /* at most, of all but models */
    LMB_FRAME_MODEL_BODY = 1 << 28,
    LMB_FRAME_NAME = 96
};

typedef struct lmb_frame_hello {
    uint32_t version;
    char kernels[LMB_FRAME_NAME], processor[LMB_FRAME_NAME], no_energy[LMB_ENERGY_PATH + 80];
} lmb_frame_hello;

/* ---- frames ---- */

void lmb_frame_seal(uint8_t head[LMB_FRAME_HEAD], lmb_frame_kind kind, const void *body, size_t n);
/* Kind and length of what follows. NULL, or what is wrong, in words that follow "what came ". */
const char *lmb_frame_open(const uint8_t head[LMB_FRAME_HEAD], lmb_frame_kind *kind, size_t *n);
/* Are the bytes those that were sent? */
bool lmb_frame_intact(const uint8_t head[LMB_FRAME_HEAD], const void *body, size_t n);

/* ---- bodies: put gives the bytes written; get is false where a body is not what it should be ---- */

size_t lmb_frame_put_hello(uint8_t body[LMB_FRAME_BODY], const lmb_frame_hello *h);
/* asked: version alone. Of another version nothing but the version is read. */
bool lmb_frame_get_hello(const uint8_t *body, size_t n, bool asked, lmb_frame_hello *out);
size_t lmb_frame_put_op(uint8_t body[LMB_FRAME_BODY], uint32_t op);
bool lmb_frame_get_op(const uint8_t *body, size_t n, uint32_t *op);
/* `count` numbers, all finite and none negative. */
size_t lmb_frame_put_numbers(uint8_t body[LMB_FRAME_BODY], const double *v, int count);
bool lmb_frame_get_numbers(const uint8_t *body, size_t n, double *v, int count);
size_t lmb_frame_put_timing(uint8_t body[LMB_FRAME_BODY], const lmb_timing *t);
bool lmb_frame_get_timing(const uint8_t *body, size_t n, lmb_timing *t); /* energy 0 */

#ifdef __cplusplus
}
#endif
#endif
