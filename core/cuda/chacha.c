/* core/cuda/chacha.c - see chacha.h. */
#include "core/cuda/chacha.h"

#include <stdlib.h>
#include <string.h>

typedef struct sum { const lmb_cuda_api *api; lmb_device *d; void *numbers, *words, *result; } sum;

static lmb_status run(sum *s, void *numbers, uint64_t n, int bits, const uint32_t *words, uint32_t keys, lmb_error *err)
{
    size_t bytes = (size_t)n * (size_t)(bits / 8), key_bytes = lmb_chacha_words(keys) * sizeof *words;
    lmb_device *d = s->d;

    s->result = malloc(bytes);
    if (!s->result)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes of a sum", bytes);
    LMB_TRY(d->alloc(d, bytes, &s->numbers, err));
    LMB_TRY(d->alloc(d, key_bytes, &s->words, err));
    LMB_TRY(d->upload(d, s->numbers, numbers, bytes, err));
    LMB_TRY(d->upload(d, s->words, words, key_bytes, err));
    const uint32_t *there = s->words;
    lmb_chacha_job j = { .numbers = s->numbers, .n = n, .bits = bits, .keys = keys, .key = there,
                         .subtract = there + (size_t)keys * LMB_CHACHA_KEY_WORDS };
    LMB_TRY(s->api->chacha_add(&j, d->queue, err));
    LMB_TRY(d->download(d, s->result, s->numbers, bytes, err));
    LMB_TRY(d->finish(d, err));
    memcpy(numbers, s->result, bytes); /* not sooner: the caller's numbers stay as they are when it fails */
    return LMB_OK;
}

/* A device that fails here has failed before. */
static void wipe(sum *s, uint32_t keys)
{
    lmb_error ignored = LMB_ERROR_INIT;
    size_t bytes = lmb_chacha_words(keys) * sizeof(uint32_t);
    void *zeros = calloc(1, bytes);

    if (zeros && s->d->upload(s->d, s->words, zeros, bytes, &ignored) == LMB_OK)
        (void)!s->d->finish(s->d, &ignored);
    free(zeros);
}

lmb_status lmb_chacha_add(const lmb_cuda_api *api, lmb_device *device, void *numbers, uint64_t n, int bits,
                          const uint32_t *words, uint32_t keys, lmb_error *err)
{
    sum s = { .api = api, .d = device };

    if (!n || !keys)
        return LMB_OK;
    lmb_status st = run(&s, numbers, n, bits, words, keys, err);
    if (s.words) {
        wipe(&s, keys);
        device->free(device, s.words);
    }
    if (s.numbers)
        device->free(device, s.numbers);
    free(s.result);
    return st;
}
