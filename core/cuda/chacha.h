/* core/cuda/chacha.h - ChaCha20 keystreams on a vector, by a GPU.
 *
 *   source   RFC 8439: nonce 0, counter 0, words little-endian (federated/secagg/mask.h says what for)
 *   note     keys are wiped from the device's memory before it is given back
 *   threads  one at a time, as its device
 */
#ifndef LMB_CORE_CUDA_CHACHA_H
#define LMB_CORE_CUDA_CHACHA_H

#include "core/cuda/cuda.h"
#include "core/plan/device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_CHACHA_KEY_WORDS = 8 };

/* Words of so many keys: [n][8] of the keys, as the cipher reads them, then [n]: 0, or all bits where the stream is
 * subtracted. */
static inline size_t lmb_chacha_words(size_t keys) { return keys * (LMB_CHACHA_KEY_WORDS + 1); }

/* numbers[n] of `bits`, 32 or 64, in the host's memory and its order of bytes: += or -= the stream of each key. They
 * are untouched when it fails. A device without a queue is the host's memory: for checks.
 *   errors   E_DEVICE, E_NOMEM, E_UNSUPPORTED a vector longer than a GPU takes at once */
LMB_MUST_CHECK lmb_status lmb_chacha_add(const lmb_cuda_api *api, lmb_device *device, void *numbers, uint64_t n,
                                         int bits, const uint32_t *words, uint32_t keys, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
