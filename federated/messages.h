/* federated/messages.h - what client and server say to each other, one struct and one table of rows a message.
 *
 * A conversation (record type = message; record.message = number of the transfer a CHUNK belongs to):
 *
 *    client                                server
 *    HELLO    who I am             ->
 *                                  <-      TASK      train this model in this round
 *    WANT     a blob, from byte x  ->
 *                                  <-      CHUNK ... (record.offset is the place in the blob)
 *    ALIVE    steps done           ->                after HELLO, then now and then
 *                                  <-      ALIVE     the same: a line that carries nothing back is dead
 *    UPDATE   what I will upload   ->
 *                                  <-      HAVE      go on from byte x
 *    CHUNK ...                     ->
 *                                  <-      ACCEPTED, or REFUSED with a sentence
 *    SECAGG ...                   <->  SECAGG ...    in a secure round: before the training, and after ACCEPTED
 *    FAILED   a sentence           ->                it could not train
 *                                  <-      LATER     no work for now, or none any more in this round: come back in s
 *                                          seconds
 *                                  <-      DONE      the federation has ended
 *                                  <-      ROSTER    who the clients are, signed; a blob, WANT and CHUNK have number 1
 *                                  <-      KEY       the server's next key: use it from the next connection on
 *    ROTATE   my next keys         ->
 *                                  <-      ROTATED   they are known
 *
 * A round's number on the wire is that of a *turn*: the round's own, or, from an asynchronous server, one that no two
 * tasks share. LATER takes a turn's task away without blame; a client that is to come back hangs up.
 *
 * Blobs (model, graph, settings, update) are named by their BLAKE2b-256. Chunks travel in order, so what a
 * receiver has is one number, and after a lost connection the transfer goes on from there.
 * A chunk of any size a record holds is taken; LMB_CHUNK bytes are sent, because a server with thousands of connections
 * holds a part of one for each.
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

enum { LMB_CHUNK = 8192, LMB_FED_VERSION = 3, LMB_FED_SENTENCE = 400, LMB_FED_NAME = 64 };

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
    LMB_MSG_DONE = 11,
    LMB_MSG_SECAGG = 12, /* a piece of a secure sum's message, both ways: federated/session.h */
    LMB_MSG_ROSTER = 13,
    LMB_MSG_LATER = 14,
    LMB_MSG_KEY = 15,
    LMB_MSG_ROTATE = 16,
    LMB_MSG_ROTATED = 17
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
    lmb_blob_id session; /* of a secure sum (federated/session.h); 0 bytes: none */
    char download[LMB_CODEC_TEXT]; /* how the model is encoded, with seed 0 */
    char codec[LMB_CODEC_TEXT]; /* how the update is to be encoded (federated/codec.h), with this seed */
    uint64_t seed;
    double clip; /* > 0: a private federation, the L2 norm of the change is at most so much; no examples, no metrics are
                    told */
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

typedef struct lmb_later {
    uint64_t round;  /* whose task is void; 0: none, its result is wanted then */
    double seconds;  /* 0: stay */
    char sentence[LMB_FED_SENTENCE];
} lmb_later;
#define LMB_LATER_MOST 86400.0 /* seconds */

typedef struct lmb_roster_message {
    lmb_blob_id roster;
    uint64_t version;
} lmb_roster_message;
enum { LMB_ROSTER_TRANSFER = 1 }; /* record.message of its WANT and CHUNKs */

typedef struct lmb_key_message { /* KEY: of the server; ROTATED: of the client, again */
    uint8_t key[LMB_NOISE_KEY];
} lmb_key_message;

typedef struct lmb_rotate_message { /* both proofs are over this session and the new keys */
    uint8_t key[LMB_NOISE_KEY], sign[LMB_SIGN_PUBLIC];
    uint8_t old_proof[LMB_SIGNATURE], new_proof[LMB_SIGNATURE];
} lmb_rotate_message;

extern const lmb_wire_field lmb_hello_rows[], lmb_task_rows[], lmb_want_rows[], lmb_alive_rows[], lmb_update_rows[],
    lmb_note_rows[], lmb_later_rows[], lmb_roster_rows[], lmb_key_rows[], lmb_rotate_rows[];

/* Rows and name of a message; NULL for CHUNK and for numbers that are no message. */
const lmb_wire_field *lmb_message_rows(unsigned type, const char **name);
LMB_MUST_CHECK lmb_status lmb_message_send(lmb_channel *c, lmb_message_type type, const void *message, lmb_error *err);
/* The same with a number for the transfer that it begins. */
LMB_MUST_CHECK lmb_status lmb_message_send_as(lmb_channel *c, lmb_message_type type, uint32_t transfer,
                                              const void *message, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_message_read(const lmb_record *r, void *message, lmb_error *err);

/* Fill in hello->sign and hello->proof for this channel, whose handshake is done; and check them. The version of a
 * HELLO is looked at first: what follows it may have another form.
 *   errors  E_UNSUPPORTED another version; E_DENIED a proof of another key or session */
void lmb_hello_prove(lmb_hello *hello, const lmb_channel *c, const uint8_t sign_secret[LMB_SIGN_SECRET]);
LMB_MUST_CHECK lmb_status lmb_hello_read(const lmb_record *r, const lmb_channel *c, lmb_hello *out, lmb_error *err);
/* The same for a change of keys: m->key is filled in already, the signing keys are the old and the new one. */
void lmb_rotate_prove(lmb_rotate_message *m, const lmb_channel *c, const uint8_t old_secret[LMB_SIGN_SECRET],
                      const uint8_t new_secret[LMB_SIGN_SECRET]);
LMB_MUST_CHECK lmb_status lmb_rotate_check(const lmb_rotate_message *m, const lmb_channel *c,
                                           const uint8_t old_sign[LMB_SIGN_PUBLIC], lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
