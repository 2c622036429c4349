/* datasets/sampler.h - which samples make batch b of epoch e.
 *
 * Idea: a pure function of (seed, epoch, n, batch size). Any rank can tell any batch, so nobody has to be told, and to
 * resume in the middle of an epoch is to begin at (epoch, batch). The last batch may be short; no sample is dropped,
 * none comes twice.
 */
#ifndef LMB_DATASETS_SAMPLER_H
#define LMB_DATASETS_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Batches in an epoch: n / batch, rounded up. */
int64_t lmb_sampler_batches(int64_t n, int64_t batch);
/* Order of the samples in an epoch, [n] caller storage: a shuffle keyed by (seed, epoch), or 0, 1, 2, ... */
void lmb_sampler_order(uint64_t seed, uint32_t epoch, bool shuffle, uint32_t n, uint32_t *order);
/* Batch `index` is order[*first .. *first + *count). */
void lmb_sampler_batch(int64_t n, int64_t batch, int64_t index, int64_t *first, int64_t *count);

#ifdef __cplusplus
}
#endif
#endif
