/* core/base/hash.c - see hash.h. */
#include "core/base/hash.h"

#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(lmb_hasher), "lmb_hasher is too small");
_Static_assert(_Alignof(crypto_generichash_state) <= _Alignof(lmb_hasher), "lmb_hasher is not aligned");

static crypto_generichash_state *state(lmb_hasher *h) { return (crypto_generichash_state *)(void *)h->opaque; }

void lmb_hash_begin(lmb_hasher *h)
{
    /* Picks the fastest implementation, once and under libsodium's own lock. A failure to find random
     * bytes does not matter here: the portable code is in place before. */
    int ready = sodium_init();
    (void)ready;
    crypto_generichash_init(state(h), NULL, 0, LMB_HASH_BYTES);
}

void lmb_hash_add(lmb_hasher *h, const void *data, size_t n)
{
    if (n)
        crypto_generichash_update(state(h), data, n);
}

void lmb_hash_add_text(lmb_hasher *h, const char *text)
{
    uint64_t n = strlen(text);
    uint8_t prefix[8];

    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)(n >> (8 * i));
    lmb_hash_add(h, prefix, sizeof prefix);
    lmb_hash_add(h, text, (size_t)n);
}

lmb_hash lmb_hash_end(lmb_hasher *h)
{
    lmb_hash out;
    crypto_generichash_final(state(h), out.b, sizeof out.b);
    return out;
}

lmb_hash lmb_hash_of(const void *data, size_t n)
{
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, data, n);
    return lmb_hash_end(&h);
}

void lmb_hash_hex(const lmb_hash *h, char hex[LMB_HASH_HEX])
{
    sodium_bin2hex(hex, LMB_HASH_HEX, h->b, sizeof h->b);
}
