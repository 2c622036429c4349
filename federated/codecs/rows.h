/* federated/codecs/rows.h - what the codecs share, and their names for the table. */
#ifndef LMB_FEDERATED_CODECS_ROWS_H
#define LMB_FEDERATED_CODECS_ROWS_H

#include <string.h>

#include "core/base/random.h"
#include "federated/codec.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "payloads are little-endian, and written as they lie in memory");

extern const lmb_codec lmbi_codec_f32, lmbi_codec_bf16, lmbi_codec_int8, lmbi_codec_topk, lmbi_codec_rotation;

static inline size_t lmbi_block_count(uint64_t n, uint64_t block)
{
    uint64_t left = n - block * LMB_CODEC_BLOCK;
    return left < LMB_CODEC_BLOCK ? (size_t)left : LMB_CODEC_BLOCK;
}
static inline uint64_t lmbi_blocks_of(uint64_t n) { return (n + LMB_CODEC_BLOCK - 1) / LMB_CODEC_BLOCK; }

/* Words 4 q .. 4 q + 3 of block `block` of the seed. */
static inline void lmbi_codec_words(uint64_t seed, uint64_t block, uint32_t q, uint32_t out[4])
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_CODEC, 0, block);
    r.counter[0] = q;
    lmb_philox(r.counter, r.key, out);
}

/* zstd.c: over a whole payload. Without the library all of them are E_UNSUPPORTED. */
typedef struct lmbi_unzstd lmbi_unzstd;
bool lmbi_zstd_known(void);
uint64_t lmbi_zstd_limit(uint64_t bytes);
LMB_MUST_CHECK lmb_status lmbi_zstd(const uint8_t *in, size_t n, int level, uint8_t **out, size_t *bytes,
                                    lmb_error *err);
/* A source of decompressed bytes from `bytes` of another one. */
LMB_MUST_CHECK lmb_status lmbi_unzstd_open(const lmb_codec_source *from, uint64_t bytes, lmbi_unzstd **out,
                                           lmb_error *err);
lmb_status lmbi_unzstd_read(void *z, void *out, size_t bytes, lmb_error *err);
/* Nothing may be left, compressed or not. */
LMB_MUST_CHECK lmb_status lmbi_unzstd_end(lmbi_unzstd *z, lmb_error *err);
void lmbi_unzstd_close(lmbi_unzstd *z);

#endif
