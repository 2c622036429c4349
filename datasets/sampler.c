/* datasets/sampler.c - see sampler.h. */
#include "datasets/sampler.h"

#include "core/base/random.h"

int64_t lmb_sampler_batches(int64_t n, int64_t batch) { return n / batch + (n % batch != 0); }

void lmb_sampler_order(uint64_t seed, uint32_t epoch, bool shuffle, uint32_t n, uint32_t *order)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_SHUFFLE, epoch, 0);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    if (shuffle)
        lmb_rand_shuffle(&r, order, n);
}

void lmb_sampler_batch(int64_t n, int64_t batch, int64_t index, int64_t *first, int64_t *count)
{
    *first = index * batch;
    *count = n - *first < batch ? n - *first : batch;
}
