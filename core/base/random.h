/* core/base/random.h - counter-based random numbers (Philox4x32-10).
 *
 * Idea: a random number is a pure function of (seed, purpose, where), never of who asks or when. A
 * sample's augmentation is the same on 1 or 8 ranks, on any thread, before or after a resume; there is
 * no generator state to save.
 *
 *   key      (seed, purpose)                       one stream for each use
 *   counter  (epoch, global sample index or step, element / 4)
 *
 *   source   Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC11.
 *            Known answers of the Random123 distribution: tests/core/base/test_random.c.
 *   threads  all functions are pure
 *   note     not for cryptography; keys and masks come from libsodium
 */
#ifndef LMB_CORE_BASE_RANDOM_H
#define LMB_CORE_BASE_RANDOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a number is for. Values are part of every run's result: append, never renumber. */
typedef enum {
    LMB_RAND_INIT = 1,     /* initial weights: index = position of the segment */
    LMB_RAND_SHUFFLE = 2,  /* order of samples in an epoch                     */
    LMB_RAND_AUGMENT = 3,  /* crops, flips, cutout: index = global sample      */
    LMB_RAND_DROPOUT = 4,  /* index = global sample                            */
    LMB_RAND_PARTITION = 5,/* federated slices                                 */
    LMB_RAND_SPLIT = 6,    /* train / validation / test split                  */
    LMB_RAND_SELECT = 7,   /* client selection                                 */
    LMB_RAND_TEST = 8,     /* tests and `check op`                             */
    LMB_RAND_SYNTHETIC = 9,/* made-up data sets                                */
    LMB_RAND_CODEC = 10,   /* an update's encoding: index = its block          */
    LMB_RAND_TUNE = 11     /* choices of a search over recipes: index = trial  */
} lmb_rand_purpose;

typedef struct lmb_rand {
    uint32_t key[2];
    uint32_t counter[4]; /* [0] element / 4, [1] epoch, [2..3] index, low word first */
} lmb_rand;

/* The Philox4x32-10 block function: out[4] from counter[4] and key[2]. */
void lmb_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* A stream positioned at element 0 of (seed, purpose, epoch, index). */
lmb_rand lmb_rand_at(uint64_t seed, lmb_rand_purpose purpose, uint32_t epoch, uint64_t index);

/* Element `e` of the stream. */
uint32_t lmb_rand_u32(const lmb_rand *r, uint32_t e);
float lmb_rand_uniform(const lmb_rand *r, uint32_t e);                  /* [0, 1), 24 bits       */
float lmb_rand_normal(const lmb_rand *r, uint32_t e);                   /* mean 0, variance 1    */
uint32_t lmb_rand_below(const lmb_rand *r, uint32_t e, uint32_t bound); /* [0, bound), bound > 0 */

/* Fisher-Yates of the n numbers in `a`, a pure function of the stream. */
void lmb_rand_shuffle(const lmb_rand *r, uint32_t *a, uint32_t n);

#ifdef __cplusplus
}
#endif
#endif
