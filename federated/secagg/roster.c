/* federated/secagg/roster.c - see roster.h. */
#include "federated/secagg/roster.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "comm/bytes.h"
#include "federated/secagg/graph.h"

enum { AT_VERSION = 8, AT_FEDERATION = 16, HEAD = AT_FEDERATION + LMB_HASH_BYTES, ROW = 4 + LMB_SIGN_PUBLIC };

static const char magic[4] = { 'L', 'M', 'B', 'R' };

static lmb_hash what_is_signed(const uint8_t *bytes, size_t n)
{
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck roster");
    lmb_hash_add(&h, bytes, n);
    return lmb_hash_end(&h);
}

static int by_key(const void *a, const void *b)
{
    return memcmp(((const lmb_roster_row *)a)->key, ((const lmb_roster_row *)b)->key, LMB_SIGN_PUBLIC);
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const lmb_roster_row *)a)->id, y = ((const lmb_roster_row *)b)->id;
    return (x > y) - (x < y);
}

/* The same key under two numbers would let one client stand on both sides of a pair. */
static lmb_status check_rows(const lmb_roster_row *row, uint32_t n, lmb_error *err)
{
    lmb_roster_row *sorted;
    lmb_status st = LMB_OK;
    for (uint32_t i = 1; i < n; i++)
        if (row[i].id <= row[i - 1].id)
            return LMB_FAIL(err, LMB_E_FORMAT, "roster: client %u comes after client %u; the numbers must ascend",
                            row[i].id, row[i - 1].id);
    sorted = malloc((n ? n : 1) * sizeof *sorted);
    if (!sorted)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a roster of %u clients", n);
    memcpy(sorted, row, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_key);
    for (uint32_t i = 1; i < n && st == LMB_OK; i++)
        if (by_key(&sorted[i], &sorted[i - 1]) == 0)
            st = LMB_FAIL(err, LMB_E_FORMAT, "roster: clients %u and %u have the same key", sorted[i - 1].id,
                          sorted[i].id);
    free(sorted);
    return st;
}

lmb_status lmb_roster_write(const lmb_roster_row *row, uint32_t n, uint64_t version, const lmb_hash *federation,
                            lmb_str *out, lmb_error *err)
{
    uint8_t head[HEAD], one[ROW];

    if (n < 1 || n > LMB_SECAGG_CLIENTS)
        return LMB_FAIL(err, LMB_E_ARG, "a roster has from 1 to %d clients, not %u", LMB_SECAGG_CLIENTS, n);
    LMB_TRY(check_rows(row, n, err));
    memcpy(head, magic, sizeof magic);
    lmb_put_u32(head + 4, n);
    lmb_put_u64(head + AT_VERSION, version);
    memcpy(head + AT_FEDERATION, federation->b, sizeof federation->b);
    lmb_str_add_n(out, head, sizeof head);
    for (uint32_t i = 0; i < n; i++) {
        lmb_put_u32(one, row[i].id);
        memcpy(one + 4, row[i].key, LMB_SIGN_PUBLIC);
        lmb_str_add_n(out, one, sizeof one);
    }
    return lmb_str_check(out, err);
}

lmb_status lmb_roster_sign(const uint8_t *unsigned_roster, size_t n, const uint8_t admin_secret[LMB_SIGN_SECRET],
                           lmb_str *out, lmb_error *err)
{
    uint8_t signature[LMB_SIGNATURE];
    lmb_roster r;

    LMB_TRY(lmb_roster_open(&r, unsigned_roster, n, NULL, NULL, err));
    crypto_sign_detached(signature, NULL, r.hash.b, sizeof r.hash.b, admin_secret);
    lmb_roster_close(&r);
    lmb_str_add_n(out, unsigned_roster, n);
    lmb_str_add_n(out, signature, sizeof signature);
    return lmb_str_check(out, err);
}

static lmb_status read_head(lmb_roster *r, const uint8_t *bytes, size_t n, bool is_signed, lmb_error *err)
{
    size_t body;
    if (n < HEAD || memcmp(bytes, magic, sizeof magic) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "this is no roster: it does not begin with LMBR");
    r->n = lmb_get_u32(bytes + 4);
    body = HEAD + (size_t)r->n * ROW;
    if (is_signed && r->n >= 1 && n == body)
        return LMB_FAIL(err, LMB_E_DENIED, "the roster is not signed; the federation's admin does that");
    if (r->n < 1 || r->n > LMB_SECAGG_CLIENTS || n != body + (is_signed ? LMB_SIGNATURE : 0))
        return LMB_FAIL(err, LMB_E_FORMAT, "a roster of %u clients in %zu bytes; it has from 1 to %d and no other size",
                        r->n, n, LMB_SECAGG_CLIENTS);
    r->version = lmb_get_u64(bytes + AT_VERSION);
    memcpy(r->federation.b, bytes + AT_FEDERATION, sizeof r->federation.b);
    r->hash = what_is_signed(bytes, body);
    return LMB_OK;
}

lmb_status lmb_roster_open(lmb_roster *r, const uint8_t *bytes, size_t n, const lmb_hash *federation,
                           const uint8_t admin_public[LMB_SIGN_PUBLIC], lmb_error *err)
{
    lmb_roster made = { 0 };
    lmb_status st;

    LMB_TRY(read_head(&made, bytes, n, admin_public != NULL, err));
    if (admin_public &&
        crypto_sign_verify_detached(bytes + n - LMB_SIGNATURE, made.hash.b, sizeof made.hash.b, admin_public) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the roster is not signed by this federation's admin; get it again from them");
    if (federation && memcmp(&made.federation, federation, sizeof made.federation) != 0)
        return LMB_FAIL(err, LMB_E_DENIED, "the roster is of another federation");
    made.row = malloc(made.n * sizeof *made.row);
    if (!made.row)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a roster of %u clients", made.n);
    for (uint32_t i = 0; i < made.n; i++) {
        made.row[i].id = lmb_get_u32(bytes + HEAD + (size_t)i * ROW);
        memcpy(made.row[i].key, bytes + HEAD + (size_t)i * ROW + 4, LMB_SIGN_PUBLIC);
    }
    st = check_rows(made.row, made.n, err);
    if (st != LMB_OK) {
        free(made.row);
        return st;
    }
    *r = made;
    return LMB_OK;
}

void lmb_roster_close(lmb_roster *r)
{
    free(r->row);
    r->row = NULL;
    r->n = 0;
}

const uint8_t *lmb_roster_key(const lmb_roster *r, uint32_t id)
{
    lmb_roster_row want = { id, { 0 } };
    const lmb_roster_row *hit = r->n ? bsearch(&want, r->row, r->n, sizeof *r->row, by_id) : NULL;
    return hit ? hit->key : NULL;
}
