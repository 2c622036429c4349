/* federated/messages.c - see messages.h. */
#include "federated/messages.h"

#include <string.h>

#include "comm/bytes.h"

/* A blob's identity is two fields on the wire. */
#define BLOB(S, m) { LMB_WIRE_BYTES, #m ".hash", offsetof(S, m.hash), LMB_HASH_BYTES }, \
                   { LMB_WIRE_U64, #m ".bytes", offsetof(S, m.bytes), 0 }

const lmb_wire_field lmb_hello_rows[] = {
    LMB_WIRE(lmb_hello, version, U32, 0),
    LMB_WIRE(lmb_hello, name, TEXT, LMB_FED_NAME),
    LMB_WIRE(lmb_hello, sign, BYTES, LMB_SIGN_PUBLIC),
    LMB_WIRE(lmb_hello, proof, BYTES, LMB_SIGNATURE),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_task_rows[] = {
    LMB_WIRE(lmb_task_message, round, U64, 0),
    LMB_WIRE(lmb_task_message, layout, BYTES, LMB_HASH_BYTES),
    LMB_WIRE(lmb_task_message, n, U64, 0),
    BLOB(lmb_task_message, model),
    BLOB(lmb_task_message, graph),
    BLOB(lmb_task_message, settings),
    BLOB(lmb_task_message, session),
    LMB_WIRE(lmb_task_message, download, TEXT, LMB_CODEC_TEXT),
    LMB_WIRE(lmb_task_message, codec, TEXT, LMB_CODEC_TEXT),
    LMB_WIRE(lmb_task_message, seed, U64, 0),
    LMB_WIRE(lmb_task_message, clip, REAL, 0),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_want_rows[] = {
    BLOB(lmb_want, blob),
    LMB_WIRE(lmb_want, offset, U64, 0),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_alive_rows[] = {
    LMB_WIRE(lmb_alive, round, U64, 0),
    LMB_WIRE(lmb_alive, steps, U64, 0),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_update_rows[] = {
    LMB_WIRE(lmb_update_message, round, U64, 0),
    LMB_WIRE(lmb_update_message, layout, BYTES, LMB_HASH_BYTES),
    LMB_WIRE(lmb_update_message, model, BYTES, LMB_HASH_BYTES),
    LMB_WIRE(lmb_update_message, n, U64, 0),
    LMB_WIRE(lmb_update_message, examples, U64, 0),
    LMB_WIRE(lmb_update_message, codec, TEXT, LMB_CODEC_TEXT),
    LMB_WIRE(lmb_update_message, within, U32, 0),
    BLOB(lmb_update_message, blob),
    LMB_WIRE(lmb_update_message, metrics, METRICS, 0),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_note_rows[] = {
    LMB_WIRE(lmb_round_note, round, U64, 0),
    LMB_WIRE(lmb_round_note, status, U32, 0),
    LMB_WIRE(lmb_round_note, sentence, TEXT, LMB_FED_SENTENCE),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_roster_rows[] = {
    BLOB(lmb_roster_message, roster),
    LMB_WIRE(lmb_roster_message, version, U64, 0),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_key_rows[] = {
    LMB_WIRE(lmb_key_message, key, BYTES, LMB_NOISE_KEY),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_rotate_rows[] = {
    LMB_WIRE(lmb_rotate_message, key, BYTES, LMB_NOISE_KEY),
    LMB_WIRE(lmb_rotate_message, sign, BYTES, LMB_SIGN_PUBLIC),
    LMB_WIRE(lmb_rotate_message, old_proof, BYTES, LMB_SIGNATURE),
    LMB_WIRE(lmb_rotate_message, new_proof, BYTES, LMB_SIGNATURE),
    LMB_WIRE_LAST,
};
const lmb_wire_field lmb_later_rows[] = {
    LMB_WIRE(lmb_later, round, U64, 0),
    LMB_WIRE(lmb_later, seconds, REAL, 0),
    LMB_WIRE(lmb_later, sentence, TEXT, LMB_FED_SENTENCE),
    LMB_WIRE_LAST,
};

static const struct {
    const char *name;
    const lmb_wire_field *rows;
} table[] = {
    [LMB_MSG_HELLO] = { "HELLO", lmb_hello_rows },     [LMB_MSG_TASK] = { "TASK", lmb_task_rows },
    [LMB_MSG_WANT] = { "WANT", lmb_want_rows },        [LMB_MSG_ALIVE] = { "ALIVE", lmb_alive_rows },
    [LMB_MSG_UPDATE] = { "UPDATE", lmb_update_rows },  [LMB_MSG_HAVE] = { "HAVE", lmb_want_rows },
    [LMB_MSG_ACCEPTED] = { "ACCEPTED", lmb_note_rows }, [LMB_MSG_REFUSED] = { "REFUSED", lmb_note_rows },
    [LMB_MSG_FAILED] = { "FAILED", lmb_note_rows },    [LMB_MSG_DONE] = { "DONE", lmb_note_rows },
    [LMB_MSG_ROSTER] = { "ROSTER", lmb_roster_rows },  [LMB_MSG_KEY] = { "KEY", lmb_key_rows },
    [LMB_MSG_ROTATE] = { "ROTATE", lmb_rotate_rows },  [LMB_MSG_ROTATED] = { "ROTATED", lmb_key_rows },
    [LMB_MSG_LATER] = { "LATER", lmb_later_rows },
};

const lmb_wire_field *lmb_message_rows(unsigned type, const char **name)
{
    if (type >= sizeof table / sizeof *table)
        return NULL;
    *name = table[type].name;
    return table[type].rows;
}

lmb_status lmb_message_send(lmb_channel *c, lmb_message_type type, const void *message, lmb_error *err)
{
    return lmb_message_send_as(c, type, 0, message, err);
}

lmb_status lmb_message_send_as(lmb_channel *c, lmb_message_type type, uint32_t transfer, const void *message,
                               lmb_error *err)
{
    uint8_t buf[2048];
    const char *name = NULL;
    lmb_record r = { .type = (uint8_t)type, .message = transfer, .body = buf };
    const lmb_wire_field *rows = lmb_message_rows(type, &name);
    LMB_TRY(lmb_wire_write(name, rows, message, buf, sizeof buf, &r.bytes, err));
    return lmb_channel_send(c, &r, err);
}

lmb_status lmb_message_read(const lmb_record *r, void *message, lmb_error *err)
{
    const char *name = NULL;
    const lmb_wire_field *rows = lmb_message_rows(r->type, &name);
    if (!rows)
        return LMB_FAIL(err, LMB_E_FORMAT, "message type %u is not known here", r->type);
    return lmb_wire_read(name, rows, r->body, r->bytes, message, err);
}

/* ---- HELLO: who signs this session's hash holds the key now ---- */

static lmb_hash what_is_proved(const lmb_channel *c)
{
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck hello");
    lmb_hash_add(&h, lmb_channel_hash(c), LMB_NOISE_HASH);
    return lmb_hash_end(&h);
}

void lmb_hello_prove(lmb_hello *hello, const lmb_channel *c, const uint8_t sign_secret[LMB_SIGN_SECRET])
{
    lmb_hash what = what_is_proved(c);
    memcpy(hello->sign, lmb_sign_public(sign_secret), sizeof hello->sign);
    crypto_sign_detached(hello->proof, NULL, what.b, sizeof what.b, sign_secret);
}

lmb_status lmb_hello_read(const lmb_record *r, const lmb_channel *c, lmb_hello *out, lmb_error *err)
{
    lmb_hash what = what_is_proved(c);
    if (r->type != LMB_MSG_HELLO || r->bytes < 4)
        return LMB_FAIL(err, LMB_E_FORMAT, "the first message must be HELLO");
    if (lmb_get_u32(r->body) != LMB_FED_VERSION)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "the client speaks version %u, this server %d; update the older one",
                        lmb_get_u32(r->body), LMB_FED_VERSION);
    LMB_TRY(lmb_message_read(r, out, err));
    if (crypto_sign_verify_detached(out->proof, what.b, sizeof what.b, out->sign) != 0)
        return LMB_FAIL(err, LMB_E_DENIED, "the client does not prove the signing key that it shows");
    return LMB_OK;
}

static lmb_hash what_is_rotated(const lmb_rotate_message *m, const lmb_channel *c)
{
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck rotate");
    lmb_hash_add(&h, lmb_channel_hash(c), LMB_NOISE_HASH);
    lmb_hash_add(&h, m->key, sizeof m->key);
    lmb_hash_add(&h, m->sign, sizeof m->sign);
    return lmb_hash_end(&h);
}

void lmb_rotate_prove(lmb_rotate_message *m, const lmb_channel *c, const uint8_t old_secret[LMB_SIGN_SECRET],
                      const uint8_t new_secret[LMB_SIGN_SECRET])
{
    lmb_hash what;
    memcpy(m->sign, lmb_sign_public(new_secret), sizeof m->sign);
    what = what_is_rotated(m, c);
    crypto_sign_detached(m->old_proof, NULL, what.b, sizeof what.b, old_secret);
    crypto_sign_detached(m->new_proof, NULL, what.b, sizeof what.b, new_secret);
}

lmb_status lmb_rotate_check(const lmb_rotate_message *m, const lmb_channel *c, const uint8_t old_sign[LMB_SIGN_PUBLIC],
                            lmb_error *err)
{
    lmb_hash what = what_is_rotated(m, c);
    if (crypto_sign_verify_detached(m->old_proof, what.b, sizeof what.b, old_sign) != 0 ||
        crypto_sign_verify_detached(m->new_proof, what.b, sizeof what.b, m->sign) != 0)
        return LMB_FAIL(err, LMB_E_DENIED, "a change of keys that is not proved by the old and the new one");
    return LMB_OK;
}
