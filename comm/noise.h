/* comm/noise.h - the Noise handshake: two parties prove their keys to each other and share fresh secrets.
 *
 * Idea: a handshake is a short table of message patterns; each token in it (e, s, ee, es, se, ss, psk) does one
 * small thing to a running hash `h` and a running key `ck`. Two patterns are used:
 *
 *   IK      an enrolled client knows the server's key      -> e, es, s, ss      <- e, ee, se
 *   XXpsk3  a new client enrols with a one-time token      -> e   <- e, ee, s, es   -> s, se, psk
 *
 * Both are Noise_*_25519_ChaChaPoly_SHA256 out of libsodium primitives. The first message of IK can be
 * recorded and sent again by anyone: whoever reads it must change no state for it.
 *
 *   source   Perrin: The Noise Protocol Framework, revision 34; known answers of the cacophony vectors in
 *            tests/comm/test_noise.c
 *   owns     a lmb_noise lives in caller storage; lmb_noise_wipe erases its keys
 *   errors   E_DENIED when a message does not authenticate, or a key of the peer is of low order (the shared
 *            secret would be zero); the handshake is then dead. E_FORMAT when a message is too short or too long.
 *   threads  distinct handshakes are independent
 */
#ifndef LMB_COMM_NOISE_H
#define LMB_COMM_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LMB_NOISE_KEY = 32,      /* bytes of a public, secret or shared key                    */
    LMB_NOISE_HASH = 32,     /* bytes of the handshake hash                                */
    LMB_NOISE_TAG = 16,      /* bytes that encryption adds                                 */
    LMB_NOISE_MESSAGE = 1024 /* bytes of a handshake message at most, here (Noise: 65,535) */
};

typedef enum { LMB_NOISE_IK = 1, LMB_NOISE_XXPSK3 = 2 } lmb_noise_pattern; /* values are on the wire */

typedef struct lmb_noise_setup {
    lmb_noise_pattern pattern;
    bool initiator;
    const void *prologue; /* both sides must agree on it                            */
    size_t prologue_bytes;
    const uint8_t *secret;        /* (32) own static secret key                             */
    const uint8_t *remote_public; /* (32) needed by the initiator of IK; else NULL          */
    const uint8_t *psk;           /* (32) XXpsk3; may come later by lmb_noise_set_psk       */
    const uint8_t *ephemeral;     /* (32) NULL: a fresh random key; set by known-answer tests */
} lmb_noise_setup;

typedef struct lmb_noise {
    uint8_t h[LMB_NOISE_HASH]; /* handshake hash: names this very session once finished */
    uint8_t ck[LMB_NOISE_HASH], k[LMB_NOISE_KEY];
    uint64_t nonce;
    bool has_key, has_psk, has_rs, initiator, dead;
    int message; /* next message, counted from 0 */
    lmb_noise_pattern pattern;
    uint8_t s[LMB_NOISE_KEY], s_public[LMB_NOISE_KEY], e[LMB_NOISE_KEY], e_public[LMB_NOISE_KEY];
    uint8_t rs[LMB_NOISE_KEY]; /* the peer's static public key, once has_rs             */
    uint8_t re[LMB_NOISE_KEY], psk[LMB_NOISE_KEY];
} lmb_noise;

/* A fresh X25519 key pair, and the public key of a secret one. */
void lmb_noise_keygen(uint8_t secret[LMB_NOISE_KEY], uint8_t public_key[LMB_NOISE_KEY]);
void lmb_noise_public(const uint8_t secret[LMB_NOISE_KEY], uint8_t public_key[LMB_NOISE_KEY]);

LMB_MUST_CHECK lmb_status lmb_noise_begin(lmb_noise *n, const lmb_noise_setup *setup, lmb_error *err);
/* The responder of XXpsk3 learns from the first message which token is meant. */
void lmb_noise_set_psk(lmb_noise *n, const uint8_t psk[LMB_NOISE_KEY]);

/* Write the next message with `payload` inside; out holds LMB_NOISE_MESSAGE bytes.
 *   errors  E_ARG when it is not this side's turn, or the payload does not fit */
LMB_MUST_CHECK lmb_status lmb_noise_write(lmb_noise *n, const void *payload, size_t payload_bytes, uint8_t *out,
                                          size_t *out_bytes, lmb_error *err);
/* Read the peer's next message; payload holds LMB_NOISE_MESSAGE bytes. */
LMB_MUST_CHECK lmb_status lmb_noise_read(lmb_noise *n, const uint8_t *message, size_t bytes, uint8_t *payload,
                                         size_t *payload_bytes, lmb_error *err);
bool lmb_noise_my_turn(const lmb_noise *n);
bool lmb_noise_finished(const lmb_noise *n);

/* The two keys of a finished handshake, one a direction. */
void lmb_noise_split(const lmb_noise *n, uint8_t send[LMB_NOISE_KEY], uint8_t receive[LMB_NOISE_KEY]);
void lmb_noise_wipe(lmb_noise *n);

#ifdef __cplusplus
}
#endif
#endif
