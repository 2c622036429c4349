/* comm/channel.h - a secure conversation without sockets: bytes in, records out, bytes to send.
 *
 * Idea: handshake and records are one state machine that never blocks and never touches a descriptor. The
 * server drives it from an event loop, the client from poll(), tests from two buffers.
 *
 *     feed bytes -> lmb_channel_next until it has none -> send what lmb_channel_output holds
 *
 * On the wire: client "LMB1" and u8 pattern (lmb_noise_pattern); handshake messages, each with a u16 length in
 * front; then from each side the secretstream start (24 bytes) and records. These five bytes and the server's
 * public key are the prologue, so a session cannot be spliced into another protocol version or federation.
 *
 * An enrolled client runs IK; its first message carries a number that only grows (a clock), so a recorded one
 * is noticed. A new client runs XXpsk3 with its invite; the first message names the token, and the server's key
 * is compared with the invite's. Nothing may be changed for a peer before its first record has opened: only
 * that proves that it is there now.
 *
 *   memory   about 2 KiB, locked (vault.h), and what waits: the part of a record that has arrived, what is to be sent
 *   errors   E_DENIED, E_FORMAT: the channel is dead, close the connection; the sentence says why
 *   threads  distinct channels are independent
 */
#ifndef LMB_COMM_CHANNEL_H
#define LMB_COMM_CHANNEL_H

#include "comm/invite.h"
#include "comm/record.h"
#include "comm/vault.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a server channel asks its owner; none of these may change state. */
typedef struct lmb_channel_gate {
    /* The key that belongs to a token identifier; E_DENIED when there is none. */
    lmb_status (*token)(void *ctx, const uint8_t id[LMB_TOKEN_ID], uint8_t psk[LMB_NOISE_KEY], lmb_error *err);
    /* Is `time` greater than all that this client has used? E_DENIED when not. */
    lmb_status (*fresh)(void *ctx, const uint8_t client[LMB_NOISE_KEY], uint64_t time, lmb_error *err);
    void *ctx;
    lmb_vault *vault; /* of lmb_channel_place bytes a place: where the channel lies; NULL: on pages of its own */
} lmb_channel_gate;

/* What a channel takes: its keys, and the state of both directions. */
extern const size_t lmb_channel_place;

typedef struct lmb_channel lmb_channel;

LMB_MUST_CHECK lmb_status lmb_channel_server(const uint8_t secret[LMB_NOISE_KEY], const lmb_channel_gate *gate,
                                             lmb_channel **out, lmb_error *err);
/* Before the first byte: a client may mean this key instead, while the server's key changes. */
void lmb_channel_also(lmb_channel *c, const uint8_t secret[LMB_NOISE_KEY]);
/* `token` NULL: enrolled already. `time` greater than at any earlier connection with this key. */
LMB_MUST_CHECK lmb_status lmb_channel_client(const uint8_t secret[LMB_NOISE_KEY],
                                             const uint8_t server_public[LMB_NOISE_KEY], const lmb_token *token,
                                             uint64_t time, lmb_channel **out, lmb_error *err);
void lmb_channel_destroy(lmb_channel *c); /* NULL is a no-op; keys are wiped */

/* Take what fits of n bytes; returns how many. 0 only when lmb_channel_next has work to do. */
size_t lmb_channel_feed(lmb_channel *c, const void *data, size_t n);
/* Work on what was fed. *got: `out` holds a record, its body valid until the next call on the channel. */
LMB_MUST_CHECK lmb_status lmb_channel_next(lmb_channel *c, lmb_record *out, bool *got, lmb_error *err);
/* When lmb_channel_next had nothing more: bytes that are missing of what has begun to arrive, or of its frame. 0: nothing
 * has begun, and the channel keeps no buffer. */
size_t lmb_channel_missing(const lmb_channel *c);

/* Queue a record. E_ARG before the handshake is done or after close. */
LMB_MUST_CHECK lmb_status lmb_channel_send(lmb_channel *c, const lmb_record *r, lmb_error *err);
/* Queue the final record: the other side then knows that nothing was cut off. No-op on a dead channel. */
void lmb_channel_close(lmb_channel *c);

/* Bytes waiting to be sent, and how many of them were. The pointer is valid until the next call. */
const void *lmb_channel_output(const lmb_channel *c, size_t *n);
void lmb_channel_sent(lmb_channel *c, size_t n);
/* The same bytes given away, for who writes later: to be freed by the caller. NULL when none wait. */
uint8_t *lmb_channel_take(lmb_channel *c, size_t *n);

bool lmb_channel_ready(const lmb_channel *c);  /* handshake done                                          */
bool lmb_channel_proven(const lmb_channel *c); /* and a record of the peer has opened                     */
bool lmb_channel_ended(const lmb_channel *c);  /* the peer's final record arrived: a clean end            */
bool lmb_channel_enrolling(const lmb_channel *c);
/* Once ready: the peer's public key; on a server also the client's time (IK) or token identifier (XXpsk3). */
const uint8_t *lmb_channel_peer(const lmb_channel *c);
uint64_t lmb_channel_time(const lmb_channel *c);
const uint8_t *lmb_channel_token(const lmb_channel *c);
/* Once ready: the hash of the handshake (LMB_NOISE_HASH bytes). Both sides have the same, no other session ever has it:
 * who signs it proves to hold a key here and now. */
const uint8_t *lmb_channel_hash(const lmb_channel *c);

#ifdef __cplusplus
}
#endif
#endif
