/* federated/secagg/stream.c - see stream.h. */
#include "federated/secagg/stream.h"

#include <sodium.h>
#include <string.h>

#include "comm/bytes.h"

void lmbi_stream_open(lmbi_stream *s, const uint8_t seed[LMB_SECAGG_SEED])
{
    memcpy(s->key, seed, sizeof s->key);
    s->used = sizeof s->word / sizeof *s->word;
    s->block = 0;
}

static void refill(lmbi_stream *s)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    uint8_t bytes[sizeof s->word];
    memset(bytes, 0, sizeof bytes);
    crypto_stream_chacha20_ietf_xor_ic(bytes, bytes, sizeof bytes, nonce, s->block, s->key);
    for (size_t i = 0; i < sizeof s->word / sizeof *s->word; i++)
        s->word[i] = lmb_get_u64(bytes + 8 * i);
    sodium_memzero(bytes, sizeof bytes);
    s->block += sizeof bytes / 64; /* 2^32 blocks of 64 bytes: 256 GiB */
    s->used = 0;
}

uint64_t lmbi_stream_u64(lmbi_stream *s)
{
    if (s->used == sizeof s->word / sizeof *s->word)
        refill(s);
    return s->word[s->used++];
}

uint32_t lmbi_stream_below(lmbi_stream *s, uint32_t bound)
{
    uint64_t v, limit = UINT64_MAX - UINT64_MAX % bound; /* a multiple of bound: each residue as often */
    do
        v = lmbi_stream_u64(s);
    while (v >= limit);
    return (uint32_t)(v % bound);
}

void lmbi_stream_close(lmbi_stream *s)
{
    sodium_memzero(s, sizeof *s);
}
