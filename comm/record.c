/* comm/record.c - see record.h. */
#include "comm/record.h"

#include <string.h>

#include "comm/bytes.h"

_Static_assert(crypto_secretstream_xchacha20poly1305_ABYTES == 17, "the wire format counts on 17 bytes");
_Static_assert(crypto_secretstream_xchacha20poly1305_HEADERBYTES == LMB_RECORD_START,
               "the wire format counts on 24 bytes");

static const uint64_t rekey_after = 1ull << 30;

void lmb_record_sender(lmb_record_stream *s, const uint8_t key[32], uint8_t start[LMB_RECORD_START])
{
    memset(s, 0, sizeof *s);
    crypto_secretstream_xchacha20poly1305_init_push(&s->state, start, key);
}

lmb_status lmb_record_receiver(lmb_record_stream *s, const uint8_t key[32], const uint8_t start[LMB_RECORD_START],
                               lmb_error *err)
{
    memset(s, 0, sizeof *s);
    if (crypto_secretstream_xchacha20poly1305_init_pull(&s->state, start, key) != 0)
        return LMB_FAIL(err, LMB_E_DENIED, "the start of the encrypted stream is malformed");
    return LMB_OK;
}

lmb_status lmb_record_seal(lmb_record_stream *s, const lmb_record *r, bool final, uint8_t *out, size_t *out_bytes,
                           lmb_error *err)
{
    uint8_t plain[LMB_RECORD_PLAIN], tag = crypto_secretstream_xchacha20poly1305_TAG_MESSAGE;
    unsigned long long n = 0;

    if (s->closed)
        return LMB_FAIL(err, LMB_E_ARG, "nothing can be sent after the final record");
    if (r->bytes > LMB_RECORD_BODY)
        return LMB_FAIL(err, LMB_E_ARG, "record body has %zu bytes, the limit is %d", r->bytes, LMB_RECORD_BODY);
    memset(plain, 0, LMB_RECORD_HEAD);
    plain[0] = r->type;
    lmb_put_u32(plain + 4, r->message);
    lmb_put_u64(plain + 8, r->offset);
    if (r->bytes)
        memcpy(plain + LMB_RECORD_HEAD, r->body, r->bytes);
    s->sealed += r->bytes;
    if (final) {
        tag = crypto_secretstream_xchacha20poly1305_TAG_FINAL;
        s->closed = true;
    } else if (s->sealed >= rekey_after) {
        tag = crypto_secretstream_xchacha20poly1305_TAG_REKEY;
        s->sealed = 0;
    }
    crypto_secretstream_xchacha20poly1305_push(&s->state, out + 4, &n, plain, LMB_RECORD_HEAD + r->bytes, NULL, 0, tag);
    lmb_put_u32(out, (uint32_t)n);
    *out_bytes = 4 + (size_t)n;
    return LMB_OK;
}

lmb_status lmb_record_frame(const uint8_t prefix[4], size_t *bytes, lmb_error *err)
{
    uint32_t n = lmb_get_u32(prefix);
    if (n < LMB_RECORD_HEAD + 17 || n > LMB_RECORD_SEALED)
        return LMB_FAIL(err, LMB_E_FORMAT, "a record announces %u bytes; records have %d to %d", n,
                        LMB_RECORD_HEAD + 17, LMB_RECORD_SEALED);
    *bytes = n;
    return LMB_OK;
}

lmb_status lmb_record_open(lmb_record_stream *s, const uint8_t *sealed, size_t bytes, uint8_t *plain, lmb_record *out,
                           bool *final, lmb_error *err)
{
    unsigned long long n = 0;
    unsigned char tag = 0;

    if (s->closed)
        return LMB_FAIL(err, LMB_E_FORMAT, "a record arrived after the final one");
    if (bytes < LMB_RECORD_HEAD + 17 || bytes > LMB_RECORD_SEALED ||
        crypto_secretstream_xchacha20poly1305_pull(&s->state, plain, &n, &tag, sealed, bytes, NULL, 0) != 0) {
        s->closed = true;
        return LMB_FAIL(err, LMB_E_DENIED,
                        "a record does not authenticate: it was changed, repeated or reordered on the way");
    }
    if (plain[1] || plain[2] || plain[3]) {
        s->closed = true;
        return LMB_FAIL(err, LMB_E_FORMAT, "a record sets reserved bytes; the peer speaks a newer version");
    }
    out->type = plain[0];
    out->message = lmb_get_u32(plain + 4);
    out->offset = lmb_get_u64(plain + 8);
    out->bytes = (size_t)n - LMB_RECORD_HEAD;
    out->body = out->bytes ? plain + LMB_RECORD_HEAD : NULL;
    *final = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    s->closed = *final;
    return LMB_OK;
}
