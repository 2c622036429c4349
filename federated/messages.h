/* federated/messages.h - what client and server say to each other, one struct and one table of rows a message.
 *
 * A conversation (record type = message; record.message = number of the transfer a CHUNK belongs to):
 *
 *    client                                server
 *    HELLO    who I am             ->
 *                                  <-      TASK      train this model in this round
 *    WANT     a blob, from byte x  ->
 *                                  <-      CHUNK ... (record.offset is the place in the blob)
 *    ALIVE    steps done           ->                while it trains
 *    UPDATE   what I will upload   ->
 *                                  <-      HAVE      go on from byte x
 *    CHUNK ...                     ->
 *                                  <-      ACCEPTED, or REFUSED with a sentence
 *    FAILED   a sentence           ->                it could not train
 *                                  <-      DONE      the federation has ended
 *
 * Blobs (model, graph, settings, update) are named by their BLAKE2b-256. Chunks travel in order, so what a
 * receiver has is one number, and after a lost connection the transfer goes on from there.
 * WANT from the blob's very end says that the receiver has all of it.
 *
 *   version  HELLO.version; a server refuses what it does not speak with a sentence
 */
#ifndef LMB_FEDERATED_MESSAGES_H
#define LMB_FEDERATED_MESSAGES_H

#include "comm/channel.h"
#include "comm/wire.h"
#include "core/base/hash.h"
#include "federated/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_FED_VERSION = 3, LMB_FED_SENTENCE = 400, LMB_FED_NAME = 64 };

typedef enum {
    LMB_MSG_HELLO = 1,
    LMB_MSG_TASK = 2,
    LMB_MSG_WANT = 3,
    LMB_MSG_CHUNK = 4, /* the body is the blob's bytes */
    LMB_MSG_ALIVE = 5,
    LMB_MSG_UPDATE = 6,
    LMB_MSG_HAVE = 7,
    LMB_MSG_ACCEPTED = 8,
    LMB_MSG_REFUSED = 9,
    LMB_MSG_FAILED = 10,
    LMB_MSG_DONE = 11
} lmb_message_type;

typedef struct lmb_blob_id {
    lmb_hash hash;
    uint64_t bytes;
} lmb_blob_id;

typedef struct lmb_hello {
    uint32_t version;
    char name[LMB_FED_NAME]; /* chosen by the client, for people to read */
    uint8_t sign[LMB_SIGN_PUBLIC]; /* its long-term signing key, and by that key a signature over this very session */
    uint8_t proof[LMB_SIGNATURE];
} lmb_hello;

typedef struct lmb_task_message {
    uint64_t round;
    lmb_hash layout;
    uint64_t n; /* floats in the model */
    lmb_blob_id model, graph, settings;
    char codec[LMB_CODEC_TEXT]; /* how the update is to be encoded (federated/codec.h), with this seed */
    uint64_t seed;
    double clip; /* > 0: a private federation, the L2 norm of the change is at most so much; no examples, no metrics are told */
} lmb_task_message;

typedef struct lmb_want {
    lmb_blob_id blob;
    uint64_t offset;
} lmb_want;

typedef struct lmb_alive {
    uint64_t round, steps;
} lmb_alive;

typedef struct lmb_update_message {
    uint64_t round;
    lmb_hash layout, model; /* the model it was trained from */
    uint64_t n, examples;
    char codec[LMB_CODEC_TEXT]; /* the task's */
    uint32_t within;            /* with a clip: 1 when the change was not above it, 0 when it was cut */
    lmb_blob_id blob;
    lmb_figures metrics;
} lmb_update_message;

typedef struct lmb_round_note { /* ACCEPTED (no sentence), REFUSED, FAILED, DONE */
    uint64_t round;
    uint32_t status; /* REFUSED: 0 this update; 1 this client, do not come back as you are */
    char sentence[LMB_FED_SENTENCE];
} lmb_round_note;

extern const lmb_wire_field lmb_hello_rows[], lmb_task_rows[], lmb_want_rows[], lmb_alive_rows[], lmb_update_rows[],
    lmb_note_rows[];

/* Rows and name of a message; NULL for CHUNK and for numbers that are no message. */
const lmb_wire_field *lmb_message_rows(unsigned type, const char **name);
LMB_MUST_CHECK lmb_status lmb_message_send(lmb_channel *c, lmb_message_type type, const void *message, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_message_read(const lmb_record *r, void *message, lmb_error *err);

/* Fill in hello->sign and hello->proof for this channel, whose handshake is done; and check them. The version of a
 * HELLO is looked at first: what follows it may have another form.
 *   errors  E_UNSUPPORTED another version; E_DENIED a proof of another key or session */
void lmb_hello_prove(lmb_hello *hello, const lmb_channel *c, const uint8_t sign_secret[LMB_SIGN_SECRET]);
LMB_MUST_CHECK lmb_status lmb_hello_read(const lmb_record *r, const lmb_channel *c, lmb_hello *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
