/* comm/invite.h - the one string that lets a client join.
 *
 * Idea: an invite says where the server is, which key it must prove, and carries a one-time token:
 *
 *     lmb1:fed.example.org:7100:<server public key>:<token>        (base64url without padding)
 *
 * An IPv6 address stands in brackets. The token never travels: both sides derive an identifier from it, sent in
 * the clear, and a pre-shared key for the handshake. The server stores only those two, so that its journal does
 * not hold the invites it gave out.
 *
 *   errors   E_FORMAT names the part of the invite that is wrong, never the token
 */
#ifndef LMB_COMM_INVITE_H
#define LMB_COMM_INVITE_H

#include <stdint.h>

#include "comm/keys.h"
#include "comm/noise.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_HOST_MAX = 254, LMB_TOKEN_BYTES = 16, LMB_TOKEN_ID = 16, LMB_INVITE_MAX = 400 };

typedef struct lmb_invite {
    char host[LMB_HOST_MAX]; /* name or address, brackets removed */
    uint16_t port;
    uint8_t server_public[LMB_NOISE_KEY];
    uint8_t token[LMB_TOKEN_BYTES];
} lmb_invite;

/* What the server keeps of a token. */
typedef struct lmb_token {
    uint8_t id[LMB_TOKEN_ID];
    uint8_t psk[LMB_NOISE_KEY];
} lmb_token;

/* Could an invite name this host? */
LMB_MUST_CHECK lmb_status lmb_invite_check_host(const char *host, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_invite_format(const lmb_invite *in, char out[LMB_INVITE_MAX], lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_invite_parse(const char *text, lmb_invite *out, lmb_error *err);
lmb_token lmb_token_derive(const uint8_t token[LMB_TOKEN_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
