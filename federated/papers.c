/* federated/papers.c - see papers.h. */
#include "federated/papers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "comm/bytes.h"
#include "federated/journal_parts.h"

/* *data NULL: there is no such paper. None is ever written empty. */
static lmb_status read_paper(lmb_journal *j, const char *name, void **data, size_t *n, lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    bool row;

    *data = NULL;
    *n = 0;
    LMB_TRY(prepare(j, "SELECT bytes FROM papers WHERE name = ?", &q, err));
    sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    st = step(j, q, &row, err);
    if (st == LMB_OK && row && sqlite3_column_bytes(q, 0) <= 0) {
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s/journal.db is damaged: '%s' in it is empty", j->dir, name);
    } else if (st == LMB_OK && row) {
        const void *p = sqlite3_column_blob(q, 0);
        *n = (size_t)sqlite3_column_bytes(q, 0);
        *data = p ? malloc(*n) : NULL;
        if (*data)
            memcpy(*data, p, *n);
        else
            st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes of the journal", *n);
    }
    sqlite3_finalize(q);
    return st;
}

static lmb_status write_paper(lmb_journal *j, const char *name, const void *data, size_t n, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "INSERT OR REPLACE INTO papers (name, bytes) VALUES (?, ?)", &q, err));
    sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(q, 2, data, n, SQLITE_STATIC);
    return finish_write(j, q, err);
}

/* One of `bytes` bytes; *there false: none, and nothing is written. */
static lmb_status read_exactly(lmb_journal *j, const char *name, void *out, size_t bytes, bool *there, lmb_error *err)
{
    void *data;
    size_t n;

    LMB_TRY(read_paper(j, name, &data, &n, err));
    *there = n == bytes;
    if (*there)
        memcpy(out, data, n);
    free(data);
    return !n || *there ? LMB_OK
                        : LMB_FAIL(err, LMB_E_FORMAT, "%s/journal.db is damaged: '%s' in it has %zu bytes of %zu",
                                   j->dir, name, n, bytes);
}

lmb_status lmb_journal_federation(lmb_journal *j, lmb_hash *out, lmb_error *err)
{
    bool there;

    LMB_TRY(read_exactly(j, "federation", out->b, sizeof out->b, &there, err));
    return there ? LMB_OK
                 : LMB_FAIL(err, LMB_E_FORMAT, "%s/journal.db is damaged: the federation's name is missing", j->dir);
}

/* ---- secure sums ---- */

lmb_status lmb_journal_last_sum(lmb_journal *j, uint64_t *number, lmb_error *err)
{
    uint8_t bytes[8];
    bool there;

    LMB_TRY(read_exactly(j, "secure-sum", bytes, sizeof bytes, &there, err));
    *number = there ? lmb_get_u64(bytes) : 0;
    if (!there || (*number && *number < UINT64_MAX))
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_FORMAT, "%s/journal.db is damaged: its number of the last secure sum is not one",
                    j->dir);
}

lmb_status lmb_journal_next_sum(lmb_journal *j, uint64_t *number, lmb_error *err)
{
    uint8_t bytes[8];

    LMB_TRY(lmb_journal_last_sum(j, number, err));
    lmb_put_u64(bytes, ++*number);
    return write_paper(j, "secure-sum", bytes, sizeof bytes, err);
}

/* ---- the roster ---- */

lmb_status lmb_journal_admin(lmb_journal *j, uint8_t key[LMB_SIGN_PUBLIC], bool *known, lmb_error *err)
{
    return read_exactly(j, "admin", key, LMB_SIGN_PUBLIC, known, err);
}

lmb_status lmb_journal_set_admin(lmb_journal *j, const uint8_t key[LMB_SIGN_PUBLIC], lmb_error *err)
{
    uint8_t before[LMB_SIGN_PUBLIC];
    bool known;

    LMB_TRY(lmb_journal_admin(j, before, &known, err));
    return known && memcmp(before, key, sizeof before) == 0 ? LMB_OK
                                                            : write_paper(j, "admin", key, LMB_SIGN_PUBLIC, err);
}

lmb_status lmb_journal_roster(lmb_journal *j, void **bytes, size_t *n, lmb_error *err)
{
    return read_paper(j, "roster", bytes, n, err);
}

/* 0: there is none. The bytes in the journal were checked when they came. */
static lmb_status current_version(lmb_journal *j, uint64_t *version, lmb_error *err)
{
    void *bytes;
    size_t n;
    lmb_roster r = { 0 };
    lmb_status st = LMB_OK;

    LMB_TRY(lmb_journal_roster(j, &bytes, &n, err));
    if (bytes)
        st = lmb_roster_open(&r, bytes, n > LMB_SIGNATURE ? n - LMB_SIGNATURE : 0, NULL, NULL, err);
    *version = r.version;
    lmb_roster_close(&r);
    free(bytes);
    return st;
}

lmb_status lmb_journal_roster_export(lmb_journal *j, lmb_str *out, lmb_error *err)
{
    lmb_journal_client *list;
    lmb_roster_row *rows;
    lmb_hash federation;
    uint64_t version;
    uint32_t k = 0;
    lmb_status st;
    size_t n;

    LMB_TRY(lmb_journal_federation(j, &federation, err));
    LMB_TRY(current_version(j, &version, err));
    LMB_TRY(lmb_journal_clients(j, &list, &n, err));
    rows = calloc(n + 1, sizeof *rows);
    for (size_t i = 0; rows && i < n; i++)
        if (list[i].state == LMB_CLIENT_APPROVED) {
            rows[k].id = (uint32_t)list[i].id;
            memcpy(rows[k++].key, list[i].sign, LMB_SIGN_PUBLIC);
        }
    st = !rows ? LMB_FAIL(err, LMB_E_NOMEM, "no memory for a roster of %zu clients", n)
         : !k  ? LMB_FAIL(err, LMB_E_ARG, "no client is approved: there is nothing to sign")
               : lmb_roster_write(rows, k, version + 1, &federation, out, err);
    free(rows);
    free(list);
    return st;
}

/* A client that was revoked since the roster was exported must not come back by it. */
static lmb_status check_rows(lmb_journal *j, const lmb_roster *r, lmb_error *err)
{
    lmb_journal_client *list;
    size_t n, i = 0;
    lmb_status st = LMB_OK;

    LMB_TRY(lmb_journal_clients(j, &list, &n, err));
    for (uint32_t k = 0; k < r->n && st == LMB_OK; k++) {
        while (i < n && list[i].id < (int64_t)r->row[k].id)
            i++;
        if (i == n || list[i].id != (int64_t)r->row[k].id || list[i].state != LMB_CLIENT_APPROVED ||
            memcmp(list[i].sign, r->row[k].key, LMB_SIGN_PUBLIC) != 0)
            st = LMB_FAIL(err, LMB_E_ARG,
                          "the roster names client %u, who is not approved here under that key; export and "
                          "sign it again",
                          r->row[k].id);
    }
    free(list);
    return st;
}

static lmb_status import(lmb_journal *j, const void *bytes, size_t n, const lmb_roster *r,
                         const uint8_t admin[LMB_SIGN_PUBLIC], lmb_error *err)
{
    uint64_t version;
    LMB_TRY(current_version(j, &version, err));
    if (r->version <= version)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the roster has version %" PRIu64 ", the one that is there %" PRIu64 "; export and sign "
                        "it again",
                        r->version, version);
    LMB_TRY(check_rows(j, r, err));
    LMB_TRY(lmb_journal_set_admin(j, admin, err));
    return write_paper(j, "roster", bytes, n, err);
}

lmb_status lmb_journal_roster_import(lmb_journal *j, const void *bytes, size_t n,
                                     const uint8_t admin_public[LMB_SIGN_PUBLIC], lmb_error *err)
{
    lmb_hash federation;
    lmb_roster r;
    lmb_status st;

    LMB_TRY(lmb_journal_federation(j, &federation, err));
    LMB_TRY(lmb_roster_open(&r, bytes, n, &federation, admin_public, err));
    st = run(j, "BEGIN IMMEDIATE", err);
    if (st == LMB_OK) {
        st = import(j, bytes, n, &r, admin_public, err);
        if (st == LMB_OK)
            st = run(j, "COMMIT", err);
        if (st != LMB_OK)
            run(j, "ROLLBACK", NULL);
    }
    lmb_roster_close(&r);
    return st;
}

/* ---- the server's key ---- */

lmb_status lmb_journal_rotation(lmb_journal *j, int64_t *ends, lmb_error *err)
{
    bool there;

    *ends = 0;
    return read_exactly(j, "rotation", ends, sizeof *ends, &there, err);
}

lmb_status lmb_journal_set_rotation(lmb_journal *j, int64_t ends, lmb_error *err)
{
    return write_paper(j, "rotation", &ends, sizeof ends, err);
}
