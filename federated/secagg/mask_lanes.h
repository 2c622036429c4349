/* federated/secagg/mask_lanes.h - ChaCha20 of many blocks at once, summed before it is written out.
 *
 * Idea: lane l of every vector is block l of the stream, so the twenty rounds are additions, exclusive ors and
 * rotations of whole vectors. A stream proper would now add the state the rounds began with and transpose. A sum of
 * masks needs neither for each mask: the results are added up as they lie, [group][word][lane], and once per block
 * of the vector the sum is transposed and gets the sum of the states at the beginning, which are known: constants,
 * keys and counters.
 *
 * A file of one instruction set defines NAME, TITLE, LANES, UNIT (its target attribute), have(), and TURN_16 and TURN_8
 * where it has better ones, and includes this file with LMBI_MASK_BODY. Where no kernel runs, mask.c takes libsodium's
 * stream.
 *
 *   source   RFC 8439, 2.3 and 2.4
 */
#ifndef LMB_FEDERATED_SECAGG_MASK_LANES_H
#define LMB_FEDERATED_SECAGG_MASK_LANES_H

#include "federated/secagg/mask.h"

enum { LMBI_MASK_WORDS = 16, LMBI_MASK_LANES_MAX = 16 };

typedef struct lmbi_mask_kernel {
    const char *name;
    uint32_t lanes; /* blocks in a group, a power of two */
    bool (*have)(void);
    /* sums[groups][16][lanes] += what the rounds leave of blocks counter, counter + 1, ...; ones = all bits: -=.
     * `sums` on a boundary of 64 bytes. */
    void (*rounds)(uint32_t *sums, uint32_t groups, uint32_t counter, const uint32_t key[8], uint32_t ones);
} lmbi_mask_kernel;

/* Fastest first, NULL at the end. */
extern const lmbi_mask_kernel *const lmbi_mask_kernels[];

/* lmb_mask_apply by this kernel, NULL: by libsodium's stream. */
LMB_MUST_CHECK lmb_status lmbi_mask_apply_by(const lmbi_mask_kernel *kernel, lmb_ring_vector *v, const lmb_mask *masks,
                                             size_t n_masks, lmb_pool *pool, lmb_error *err);

extern const lmbi_mask_kernel lmbi_mask_avx512, lmbi_mask_avx2, lmbi_mask_neon;

#if defined(__GNUC__) && defined(__x86_64__)
#define LMBI_MASK_X86 1
#elif defined(__GNUC__) && defined(__aarch64__)
#define LMBI_MASK_NEON 1
#endif

#endif

#ifdef LMBI_MASK_BODY
typedef uint32_t vec __attribute__((vector_size(4 * LANES), may_alias));

#define TURN(x, n) ((x) << (n) | (x) >> (32 - (n)))
#ifndef TURN_16
#define TURN_16(x) TURN(x, 16)
#define TURN_8(x) TURN(x, 8)
#endif
#define TURN_12(x) TURN(x, 12)
#define TURN_7(x) TURN(x, 7)

/* Four quarter rounds side by side, so that no instruction waits for the one before. */
#define LINE(a0, a1, a2, a3, b0, b1, b2, b3, d0, d1, d2, d3, turn)  \
    x[a0] += x[b0], x[a1] += x[b1], x[a2] += x[b2], x[a3] += x[b3]; \
    x[d0] ^= x[a0], x[d1] ^= x[a1], x[d2] ^= x[a2], x[d3] ^= x[a3]; \
    x[d0] = turn(x[d0]), x[d1] = turn(x[d1]), x[d2] = turn(x[d2]), x[d3] = turn(x[d3])
#define QUARTERS(b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3)   \
    LINE(0, 1, 2, 3, b0, b1, b2, b3, d0, d1, d2, d3, TURN_16);     \
    LINE(c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, TURN_12); \
    LINE(0, 1, 2, 3, b0, b1, b2, b3, d0, d1, d2, d3, TURN_8);      \
    LINE(c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, TURN_7)

UNIT static void rounds(uint32_t *sums, uint32_t groups, uint32_t counter, const uint32_t key[8], uint32_t ones)
{
    static const uint32_t count[LMBI_MASK_LANES_MAX] __attribute__((aligned(64))) = { 0, 1, 2,  3,  4,  5,  6,  7,
                                                                                      8, 9, 10, 11, 12, 13, 14, 15 };
    const vec zero = { 0 }, lane = *(const vec *)(const void *)count;
    for (uint32_t g = 0; g < groups; g++, counter += LANES) {
        vec x[LMBI_MASK_WORDS] = { zero + 0x61707865, zero + 0x3320646e, zero + 0x79622d32, zero + 0x6b206574,
                                   zero + key[0],     zero + key[1],     zero + key[2],     zero + key[3],
                                   zero + key[4],     zero + key[5],     zero + key[6],     zero + key[7],
                                   lane + counter,    zero,              zero,              zero };
        vec *sum = (vec *)(void *)(sums + (size_t)g * LMBI_MASK_WORDS * LANES);
        for (int i = 0; i < 10; i++) {
            QUARTERS(4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            QUARTERS(5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14);
        }
#define SUM(w) sum[w] += (x[w] ^ ones) - ones
        SUM(0), SUM(1), SUM(2), SUM(3), SUM(4), SUM(5), SUM(6), SUM(7);
        SUM(8), SUM(9), SUM(10), SUM(11), SUM(12), SUM(13), SUM(14), SUM(15);
#undef SUM
    }
}

const lmbi_mask_kernel NAME = { TITLE, LANES, have, rounds };
#endif
