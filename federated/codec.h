/* federated/codec.h - how the numbers of an update become bytes, and bytes numbers again.
 *
 * Idea: a codec is a const row of functions. It encodes a whole vector, on the client, and decodes it in blocks of
 * LMB_CODEC_BLOCK values, on the server, so that a server never holds a decoded update. A payload is the blocks one
 * after the other, and may be compressed by zstd as a whole. There are no headers: the configuration, the seed and the
 * number of values, which both sides know, say what every byte means.
 *
 * Whatever is random in an encoding comes from the seed, which the server gives with the task: a client that was killed
 * encodes the same change to the same bytes.
 *
 * The flags say what may be combined with what; an impossible pair is a configuration error:
 *   lossless    decoding gives the same bits
 *   seeded      encoding depends on the seed
 *   has_memory  what was left out is kept and added to the next change (error feedback, federated/residual.h):
 *               no bound on the size of a change holds for what is sent
 *   alone       the error of a value depends on that value alone: numbers of different kinds may stand in one vector
 *   sparse      most values are left out: single updates can not be compared value by value
 *   fixed       the number of bytes follows from the number of values
 *   slack       the L2 norm of what is decoded exceeds that of what was encoded by no more than this share
 *
 *   errors   what is decoded came from outside: E_FORMAT, E_NUMERIC with a sentence fit for both logs
 *   threads  all functions are pure
 */
#ifndef LMB_FEDERATED_CODEC_H
#define LMB_FEDERATED_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/field.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

enum { LMB_CODEC_BLOCK = 16384, LMB_CODEC_TEXT = 160, LMB_CODEC_CONFIG = 32 };

/* Exactly `bytes` bytes into `out`; E_FORMAT when the payload has fewer. */
typedef struct lmb_codec_source {
    lmb_status (*read)(void *ctx, void *out, size_t bytes, lmb_error *err);
    void *ctx;
} lmb_codec_source;

/* Every row's options begin with these, and its fields hold LMB_CODEC_COMMON. */
typedef struct lmb_codec_common {
    int64_t zstd;
} lmb_codec_common;
#define LMB_CODEC_COMMON LMB_INT(lmb_codec_common, zstd, 0, 0, 19, "", "level of zstd over the payload; 0: none")

typedef struct lmb_codec {
    const char *name, *help, *source;
    bool lossless, seeded, has_memory, alone, sparse, fixed;
    double slack;
    const lmb_field *fields; /* INT and REAL alone */
    size_t config_bytes;     /* <= LMB_CODEC_CONFIG */

    /* Bytes of n values before zstd: at most, exactly when fixed. */
    uint64_t (*bytes)(const void *config, uint64_t n);
    /* The n values, finite, into out[bytes(n)]; *bytes of them. */
    lmb_status (*encode)(const void *config, uint64_t seed, const float *values, size_t n, uint8_t *out, size_t *bytes,
                         lmb_error *err);
    /* Block `block`, of `count` values. What comes out need not be finite. */
    lmb_status (*decode)(const void *config, uint64_t seed, uint64_t block, size_t count, const lmb_codec_source *from,
                         float *out, lmb_error *err);
} lmb_codec;

/* NULL-terminated; one line a codec. */
extern const lmb_codec *const lmb_codecs[];

/* A codec and its options. */
typedef struct lmb_codec_spec {
    const lmb_codec *codec;
    union {
        lmb_codec_common common;
        uint64_t align[LMB_CODEC_CONFIG / 8];
    } config;
    char text[LMB_CODEC_TEXT]; /* all of it in one line, the same for equal specs: how client and server name it */
} lmb_codec_spec;

/* `codec: int8`, `codec: {name: int8, zstd: 3}`; NULL is f32.
 *   errors  E_ARG with the place; E_UNSUPPORTED when zstd is asked for and this program was built without */
LMB_MUST_CHECK lmb_status lmb_codec_open(const struct lmb_tree *tree, lmb_codec_spec *out, lmb_error *err);
/* Its payload is the values as they lie in memory. */
static inline bool lmb_codec_plain(const lmb_codec_spec *s) { return s->codec->lossless && !s->config.common.zstd; }
/* From another side's `text`. */
LMB_MUST_CHECK lmb_status lmb_codec_parse(const char *text, lmb_codec_spec *out, lmb_error *err);

/* The seed of a client's update: of the federation's seed, the round and the client's number. */
uint64_t lmb_codec_seed(uint64_t federation, uint64_t round, int64_t client);

/* Bytes of a payload at most; exactly when *exact. */
uint64_t lmb_codec_limit(const lmb_codec_spec *s, uint64_t n, bool *exact);

/* *out is malloc'd. E_NOMEM. */
LMB_MUST_CHECK lmb_status lmb_codec_encode(const lmb_codec_spec *s, uint64_t seed, const float *values, size_t n,
                                           uint8_t **out, size_t *bytes, lmb_error *err);

/* Decode n values from a payload of `bytes` bytes, block by block, in order. Each value is finite when `take` gets it.
 *   errors  E_NUMERIC for a value that is not, E_FORMAT for bytes that are no such payload, are too few or too many,
 *           or decompress to more than n values can take; what `take` returns */
LMB_MUST_CHECK lmb_status lmb_codec_decode(const lmb_codec_spec *s, uint64_t seed, size_t n, uint64_t bytes,
                                           const lmb_codec_source *from,
                                           lmb_status (*take)(void *ctx, size_t at, const float *values, size_t count,
                                                              lmb_error *err),
                                           void *ctx, lmb_error *err);
/* The same from memory into out[n]. */
LMB_MUST_CHECK lmb_status lmb_codec_decode_all(const lmb_codec_spec *s, uint64_t seed, const void *data, size_t bytes,
                                               float *out, size_t n, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
