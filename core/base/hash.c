/* core/base/hash.c - see hash.h. */
#include "core/base/hash.h"

#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(lmb_hasher), "lmb_hasher holds libsodium's state");

void lmb_hash_begin(lmb_hasher *h)
{
    crypto_generichash_init((crypto_generichash_state *)h, NULL, 0, LMB_HASH_BYTES);
}

void lmb_hash_add(lmb_hasher *h, const void *data, size_t n)
{
    crypto_generichash_update((crypto_generichash_state *)h, data, n);
}

void lmb_hash_add_text(lmb_hasher *h, const char *text)
{
    uint64_t n = strlen(text);
    uint8_t prefix[8];

    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)(n >> (8 * i));
    lmb_hash_add(h, prefix, sizeof prefix);
    lmb_hash_add(h, text, n);
}

lmb_hash lmb_hash_end(lmb_hasher *h)
{
    lmb_hash out;
    crypto_generichash_final((crypto_generichash_state *)h, out.b, sizeof out.b);
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
