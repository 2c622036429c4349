/* comm/release.c - see release.h. */
#include "comm/release.h"

#include <sodium.h>
#include <string.h>

void lmb_release_sign(const uint8_t secret[LMB_SIGN_SECRET], const uint8_t *message, size_t n,
                      uint8_t signature[LMB_RELEASE_SIGNATURE])
{
    memcpy(signature, lmb_sign_public(secret), LMB_SIGN_PUBLIC);
    crypto_sign_detached(signature + LMB_SIGN_PUBLIC, NULL, message, n, secret);
}

int lmb_release_verify(void *ctx, const uint8_t *message, size_t n, const uint8_t *signature, size_t signature_bytes)
{
    const lmb_release_keys *keys = ctx;

    if (signature_bytes != LMB_RELEASE_SIGNATURE)
        return 0;
    for (int i = 0; i < keys->n; i++)
        if (memcmp(keys->key[i], signature, LMB_SIGN_PUBLIC) == 0)
            return crypto_sign_verify_detached(signature + LMB_SIGN_PUBLIC, message, n, keys->key[i]) == 0;
    return 0;
}
