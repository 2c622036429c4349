/* federated/secagg/messages.c - see messages.h. */
#include "federated/secagg/messages.h"

#include "comm/bytes.h"

enum { PIECE = 512 }; /* bytes of the largest head or entry */

#define SID(S) LMB_WIRE(S, sid, BYTES, LMB_HASH_BYTES)

static const lmb_wire_field advertise_rows[] = {
    SID(lmb_secagg_advertise),
    LMB_WIRE(lmb_secagg_advertise, keys.id, U32, 0),
    LMB_WIRE(lmb_secagg_advertise, keys.box, BYTES, LMB_SECAGG_KEY),
    LMB_WIRE(lmb_secagg_advertise, keys.mask, BYTES, LMB_SECAGG_KEY),
    LMB_WIRE(lmb_secagg_advertise, keys.signature, BYTES, LMB_SIGNATURE),
    LMB_WIRE_LAST,
};
static const lmb_wire_field keys_head_rows[] = {
    SID(lmb_secagg_keys_head),
    LMB_WIRE(lmb_secagg_keys_head, clients, U32, 0),
    LMB_WIRE(lmb_secagg_keys_head, threshold, U32, 0),
    LMB_WIRE_LAST,
};
static const lmb_wire_field keys_rows[] = {
    LMB_WIRE(lmb_secagg_keys, id, U32, 0),
    LMB_WIRE(lmb_secagg_keys, box, BYTES, LMB_SECAGG_KEY),
    LMB_WIRE(lmb_secagg_keys, mask, BYTES, LMB_SECAGG_KEY),
    LMB_WIRE(lmb_secagg_keys, signature, BYTES, LMB_SIGNATURE),
    LMB_WIRE_LAST,
};
static const lmb_wire_field shares_head_rows[] = {
    SID(lmb_secagg_shares_head),
    LMB_WIRE(lmb_secagg_shares_head, commitment, BYTES, LMB_HASH_BYTES),
    LMB_WIRE_LAST,
};
static const lmb_wire_field head_rows[] = { SID(lmb_secagg_head), LMB_WIRE_LAST };
static const lmb_wire_field box_rows[] = {
    LMB_WIRE(lmb_secagg_box, id, U32, 0),
    LMB_WIRE(lmb_secagg_box, box, BYTES, LMB_SECAGG_BOX),
    LMB_WIRE_LAST,
};
static const lmb_wire_field masked_rows[] = {
    SID(lmb_secagg_masked),
    LMB_WIRE(lmb_secagg_masked, bytes, U64, 0),
    LMB_WIRE_LAST,
};
static const lmb_wire_field consistent_rows[] = {
    SID(lmb_secagg_consistent),
    LMB_WIRE(lmb_secagg_consistent, signature, BYTES, LMB_SIGNATURE),
    LMB_WIRE_LAST,
};
static const lmb_wire_field id_rows[] = { LMB_WIRE(lmb_secagg_id, id, U32, 0), LMB_WIRE_LAST };
static const lmb_wire_field consent_rows[] = {
    LMB_WIRE(lmb_secagg_consent, id, U32, 0),
    LMB_WIRE(lmb_secagg_consent, signature, BYTES, LMB_SIGNATURE),
    LMB_WIRE_LAST,
};
static const lmb_wire_field reveal_rows[] = {
    LMB_WIRE(lmb_secagg_reveal, id, U32, 0),
    LMB_WIRE(lmb_secagg_reveal, share, BYTES, LMB_SHAMIR_SHARE),
    LMB_WIRE_LAST,
};

static const struct {
    const char *name;
    const lmb_wire_field *head, *entry; /* entry NULL: it has none */
} table[LMB_SECAGG_TYPES] = {
    [LMB_SECAGG_ADVERTISE] = { "ADVERTISE", advertise_rows, NULL },
    [LMB_SECAGG_KEYS] = { "KEYS", keys_head_rows, keys_rows },
    [LMB_SECAGG_SHARES] = { "SHARES", shares_head_rows, box_rows },
    [LMB_SECAGG_BOXES] = { "BOXES", head_rows, box_rows },
    [LMB_SECAGG_MASKED] = { "MASKED", masked_rows, NULL },
    [LMB_SECAGG_DROPPED] = { "DROPPED", head_rows, id_rows },
    [LMB_SECAGG_CONSISTENT] = { "CONSISTENT", consistent_rows, NULL },
    [LMB_SECAGG_CONSENTS] = { "CONSENTS", head_rows, consent_rows },
    [LMB_SECAGG_REVEAL] = { "REVEAL", head_rows, reveal_rows },
};

/* All fields have a fixed size here. */
static size_t size_of(const lmb_wire_field *f)
{
    size_t n = 0;
    for (; f->kind != LMB_WIRE_END; f++)
        n += f->kind == LMB_WIRE_U32 ? 4 : f->kind == LMB_WIRE_U64 ? 8 : f->limit;
    return n;
}

const char *lmb_secagg_type_name(unsigned type)
{
    return type < LMB_SECAGG_TYPES && table[type].name ? table[type].name : "?";
}

static lmb_status append(const char *name, const lmb_wire_field *rows, const void *in, lmb_str *out, lmb_error *err)
{
    uint8_t b[PIECE];
    size_t n;
    LMB_TRY(lmb_wire_write(name, rows, in, b, sizeof b, &n, err));
    lmb_str_add_n(out, b, n);
    return LMB_OK;
}

lmb_status lmb_secagg_write(lmb_secagg_type type, const void *head, uint32_t entries, lmb_str *out, lmb_error *err)
{
    uint8_t b[4] = { (uint8_t)type };
    lmb_str_add_n(out, b, 1);
    LMB_TRY(append(table[type].name, table[type].head, head, out, err));
    if (table[type].entry) {
        lmb_put_u32(b, entries);
        lmb_str_add_n(out, b, 4);
    }
    return lmb_str_check(out, err);
}

lmb_status lmb_secagg_write_entry(lmb_secagg_type type, const void *entry, lmb_str *out, lmb_error *err)
{
    return append(table[type].name, table[type].entry, entry, out, err);
}

lmb_status lmb_secagg_read(lmb_secagg_type type, const uint8_t *bytes, size_t n, void *head,
                           lmb_secagg_entries *entries, lmb_error *err)
{
    const char *name = table[type].name;
    size_t head_bytes = size_of(table[type].head), start = 1 + head_bytes + (table[type].entry ? 4 : 0);
    lmb_secagg_entries e = { type, NULL, 0, 0 };

    if (n < 1 || bytes[0] != (uint8_t)type)
        return LMB_FAIL(err, LMB_E_FORMAT, "message %s is expected now, not %s", name,
                        n < 1 ? "nothing" : lmb_secagg_type_name(bytes[0]));
    if (n < start)
        return LMB_FAIL(err, LMB_E_FORMAT, "message %s ends after %zu bytes, its head takes %zu", name, n, start);
    LMB_TRY(lmb_wire_read(name, table[type].head, bytes + 1, table[type].entry ? head_bytes : n - 1, head, err));
    if (!table[type].entry)
        return LMB_OK;
    e.at = bytes + start;
    e.each = size_of(table[type].entry);
    e.n = lmb_get_u32(bytes + 1 + head_bytes);
    if ((n - start) % e.each || (n - start) / e.each != e.n)
        return LMB_FAIL(err, LMB_E_FORMAT, "message %s announces %u entries of %zu bytes and has %zu bytes of them",
                        name, e.n, e.each, n - start);
    *entries = e;
    return LMB_OK;
}

void lmb_secagg_entry(const lmb_secagg_entries *e, uint32_t i, void *entry)
{
    /* fixed sizes, checked in lmb_secagg_read: there is nothing left that could fail */
    (void)!lmb_wire_read(table[e->type].name, table[e->type].entry, e->at + i * e->each, e->each, entry, NULL);
}
