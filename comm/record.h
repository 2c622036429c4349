/* comm/record.h - sealed records: what travels once a handshake has left two keys.
 *
 * Idea: each direction is a libsodium secretstream. Its state moves on with every record, so a record that was
 * changed, repeated, left out or put in another order does not open, and the last one is tagged FINAL, so a cut
 * connection cannot pass for a finished one. A fresh key is derived after every GiB.
 *
 * On the wire (numbers little-endian):
 *    1.  u32   bytes that follow, 33 to LMB_RECORD_SEALED
 *    2.  secretstream of
 *          u8   type      what the body is; the meaning belongs to whoever uses the channel
 *          u8 x 3         zero
 *          u32  message   which request or transfer it belongs to
 *          u64  offset    place of the body within that transfer, bytes
 *          body           at most LMB_RECORD_BODY bytes
 *
 *   source   libsodium, crypto_secretstream_xchacha20poly1305
 *   errors   E_DENIED when a record does not open, E_FORMAT when it breaks the layout; the stream is then dead
 *   threads  distinct streams are independent
 */
#ifndef LMB_COMM_RECORD_H
#define LMB_COMM_RECORD_H

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LMB_RECORD_BODY = 32768,
    LMB_RECORD_HEAD = 16,
    LMB_RECORD_PLAIN = LMB_RECORD_HEAD + LMB_RECORD_BODY,
    LMB_RECORD_SEALED = LMB_RECORD_PLAIN + 17, /* secretstream adds 17 bytes */
    LMB_RECORD_FRAME = 4 + LMB_RECORD_SEALED,
    LMB_RECORD_AROUND = LMB_RECORD_FRAME - LMB_RECORD_BODY, /* bytes on the wire besides the body */
    LMB_RECORD_START = 24 /* bytes of the secretstream header */
};

typedef struct lmb_record {
    uint8_t type;
    uint32_t message;
    uint64_t offset;
    const uint8_t *body; /* borrowed; NULL when bytes is 0 */
    size_t bytes;
} lmb_record;

typedef struct lmb_record_stream {
    crypto_secretstream_xchacha20poly1305_state state;
    uint64_t sealed; /* bytes since the last fresh key                          */
    bool closed;     /* FINAL was sent or received, or the stream is dead       */
} lmb_record_stream;

/* Begin a direction: the sender writes `start`, the receiver is given it. */
void lmb_record_sender(lmb_record_stream *s, const uint8_t key[32], uint8_t start[LMB_RECORD_START]);
LMB_MUST_CHECK lmb_status lmb_record_receiver(lmb_record_stream *s, const uint8_t key[32],
                                              const uint8_t start[LMB_RECORD_START], lmb_error *err);

/* One record into `out` (LMB_RECORD_FRAME bytes), length prefix included. */
LMB_MUST_CHECK lmb_status lmb_record_seal(lmb_record_stream *s, const lmb_record *r, bool final, uint8_t *out,
                                          size_t *out_bytes, lmb_error *err);
/* Number of bytes a frame announces after its prefix; E_FORMAT outside the limits. */
LMB_MUST_CHECK lmb_status lmb_record_frame(const uint8_t prefix[4], size_t *bytes, lmb_error *err);
/* Open what followed the prefix into `plain` (LMB_RECORD_PLAIN bytes); out->body points into it. */
LMB_MUST_CHECK lmb_status lmb_record_open(lmb_record_stream *s, const uint8_t *sealed, size_t bytes, uint8_t *plain,
                                          lmb_record *out, bool *final, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
