/* federated/members.c - see members.h. */
#include "federated/members.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "federated/journal_parts.h"

const char *const lmb_client_state_names[] = { "waiting", "approved", "revoked", NULL };

/* ---- tokens ---- */

lmb_status lmb_journal_add_token(lmb_journal *j, const lmb_token *t, int64_t expires, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "INSERT INTO tokens (id, psk, expires) VALUES (?, ?, ?)", &q, err));
    sqlite3_bind_blob(q, 1, t->id, LMB_TOKEN_ID, SQLITE_STATIC);
    sqlite3_bind_blob(q, 2, t->psk, LMB_NOISE_KEY, SQLITE_STATIC);
    sqlite3_bind_int64(q, 3, expires);
    return finish_write(j, q, err);
}

lmb_status lmb_journal_token(lmb_journal *j, const uint8_t id[LMB_TOKEN_ID], uint8_t psk[LMB_NOISE_KEY], lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    bool row;
    LMB_TRY(prepare(j, "SELECT psk FROM tokens WHERE id = ?", &q, err));
    sqlite3_bind_blob(q, 1, id, LMB_TOKEN_ID, SQLITE_STATIC);
    st = step(j, q, &row, err);
    if (st == LMB_OK && (!row || !column_blob(q, 0, psk, LMB_NOISE_KEY)))
        st = LMB_FAIL(err, LMB_E_DENIED, "the invite's token was never issued here");
    sqlite3_finalize(q);
    return st;
}

/* Who used it, and is it still good? */
static lmb_status check_token(lmb_journal *j, const uint8_t id[LMB_TOKEN_ID], const uint8_t client[LMB_NOISE_KEY],
                              int64_t now, lmb_error *err)
{
    sqlite3_stmt *q;
    uint8_t used_by[LMB_NOISE_KEY];
    lmb_status st;
    bool row;
    LMB_TRY(prepare(j, "SELECT expires, used_by FROM tokens WHERE id = ?", &q, err));
    sqlite3_bind_blob(q, 1, id, LMB_TOKEN_ID, SQLITE_STATIC);
    st = step(j, q, &row, err);
    if (st == LMB_OK && !row)
        st = LMB_FAIL(err, LMB_E_DENIED, "the invite's token was never issued here");
    if (st == LMB_OK && column_blob(q, 1, used_by, LMB_NOISE_KEY)) {
        if (memcmp(used_by, client, LMB_NOISE_KEY) != 0)
            st = LMB_FAIL(err, LMB_E_DENIED,
                          "the invite was used already, by another client; each works once, ask for a new one");
    } else if (st == LMB_OK && sqlite3_column_int64(q, 0) < now) {
        st = LMB_FAIL(err, LMB_E_DENIED, "the invite expired %lld s ago; ask for a new one",
                      (long long)(now - sqlite3_column_int64(q, 0)));
    }
    sqlite3_finalize(q);
    return st;
}

/* ---- clients ---- */

#define COLUMNS "id, name, last_time, sign, state, seen, rounds, examples, public"

static lmb_status read_client(lmb_journal *j, sqlite3_stmt *q, lmb_journal_client *out, lmb_error *err)
{
    lmb_journal_client c = { .id = sqlite3_column_int64(q, 0), .last_time = (uint64_t)sqlite3_column_int64(q, 2),
                             .seen = sqlite3_column_int64(q, 5), .rounds = (uint64_t)sqlite3_column_int64(q, 6),
                             .examples = (uint64_t)sqlite3_column_int64(q, 7) };
    const char *name = (const char *)sqlite3_column_text(q, 1);
    int state = sqlite3_column_int(q, 4);

    if (!column_blob(q, 3, c.sign, sizeof c.sign) || !column_blob(q, 8, c.public_key, sizeof c.public_key) ||
        state < LMB_CLIENT_WAITING || state > LMB_CLIENT_REVOKED)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s/journal.db is damaged: client %" PRId64 " has no keys, or a state that there is not",
                        j->dir, c.id);
    snprintf(c.name, sizeof c.name, "%s", name ? name : "");
    c.state = (lmb_client_state)state;
    *out = c;
    return LMB_OK;
}

/* A signing key is one client's: with it another could sign in its name. */
static lmb_status check_sign(lmb_journal *j, const lmb_journal_client *c, lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    bool row;
    LMB_TRY(prepare(j, "SELECT id FROM clients WHERE sign = ? AND public <> ?", &q, err));
    sqlite3_bind_blob(q, 1, c->sign, sizeof c->sign, SQLITE_STATIC);
    sqlite3_bind_blob(q, 2, c->public_key, sizeof c->public_key, SQLITE_STATIC);
    st = step(j, q, &row, err);
    if (st == LMB_OK && row)
        st = LMB_FAIL(err, LMB_E_DENIED,
                      "its signing key is client %lld's; remove its sign.key, so that it makes another",
                      (long long)sqlite3_column_int64(q, 0));
    sqlite3_finalize(q);
    return st;
}

static lmb_status spend(lmb_journal *j, const uint8_t id[LMB_TOKEN_ID], const lmb_journal_client *c, int64_t now,
                        lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(check_token(j, id, c->public_key, now, err));
    LMB_TRY(check_sign(j, c, err));
    LMB_TRY(prepare(j, "UPDATE tokens SET used_by = ? WHERE id = ?", &q, err));
    sqlite3_bind_blob(q, 1, c->public_key, sizeof c->public_key, SQLITE_STATIC);
    sqlite3_bind_blob(q, 2, id, LMB_TOKEN_ID, SQLITE_STATIC);
    LMB_TRY(finish_write(j, q, err));
    /* OR IGNORE would use up a number each time, and what depends on numbers could not be repeated. */
    LMB_TRY(prepare(j, "INSERT INTO clients (public, sign, name, last_time, state) SELECT ?1, ?2, ?3, 0, ?4"
                       " WHERE NOT EXISTS (SELECT 1 FROM clients WHERE public = ?1)", &q, err));
    sqlite3_bind_blob(q, 1, c->public_key, sizeof c->public_key, SQLITE_STATIC);
    sqlite3_bind_blob(q, 2, c->sign, sizeof c->sign, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, c->name, -1, SQLITE_STATIC);
    sqlite3_bind_int(q, 4, c->state);
    return finish_write(j, q, err);
}

lmb_status lmb_journal_enrol(lmb_journal *j, const uint8_t id[LMB_TOKEN_ID], const lmb_journal_client *client,
                             int64_t now, lmb_error *err)
{
    lmb_status st;
    LMB_TRY(run(j, "BEGIN IMMEDIATE", err));
    st = spend(j, id, client, now, err);
    if (st == LMB_OK)
        st = run(j, "COMMIT", err);
    if (st != LMB_OK)
        run(j, "ROLLBACK", NULL);
    return st;
}

lmb_status lmb_journal_find_client(lmb_journal *j, const uint8_t client[LMB_NOISE_KEY], lmb_journal_client *out,
                                   bool *found, lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    LMB_TRY(prepare(j, "SELECT " COLUMNS " FROM clients WHERE public = ?", &q, err));
    sqlite3_bind_blob(q, 1, client, LMB_NOISE_KEY, SQLITE_STATIC);
    st = step(j, q, found, err);
    if (st == LMB_OK && *found)
        st = read_client(j, q, out, err);
    sqlite3_finalize(q);
    return st;
}

lmb_status lmb_journal_seen(lmb_journal *j, const uint8_t client[LMB_NOISE_KEY], uint64_t time, int64_t now,
                            lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "UPDATE clients SET last_time = max(last_time, ?), seen = ? WHERE public = ?", &q, err));
    sqlite3_bind_int64(q, 1, (sqlite3_int64)time);
    sqlite3_bind_int64(q, 2, now);
    sqlite3_bind_blob(q, 3, client, LMB_NOISE_KEY, SQLITE_STATIC);
    return finish_write(j, q, err);
}

lmb_status lmb_journal_rotate(lmb_journal *j, int64_t id, const uint8_t public_key[LMB_NOISE_KEY],
                              const uint8_t sign[LMB_SIGN_PUBLIC], lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    bool row;
    LMB_TRY(prepare(j, "UPDATE OR IGNORE clients SET public = ?, sign = ? WHERE id = ?", &q, err));
    sqlite3_bind_blob(q, 1, public_key, LMB_NOISE_KEY, SQLITE_STATIC);
    sqlite3_bind_blob(q, 2, sign, LMB_SIGN_PUBLIC, SQLITE_STATIC);
    sqlite3_bind_int64(q, 3, id);
    st = step(j, q, &row, err);
    sqlite3_finalize(q);
    if (st == LMB_OK && sqlite3_changes(j->db) != 1)
        return LMB_FAIL(err, LMB_E_DENIED, "one of the new keys is another client's");
    return st;
}

/* ---- what people do ---- */

lmb_status lmb_journal_clients(lmb_journal *j, lmb_journal_client **out, size_t *n, lmb_error *err)
{
    lmb_journal_client *list = NULL;
    size_t have = 0, cap = 0;
    sqlite3_stmt *q;
    lmb_status st;
    bool row;

    LMB_TRY(prepare(j, "SELECT " COLUMNS " FROM clients ORDER BY id", &q, err));
    while ((st = step(j, q, &row, err)) == LMB_OK && row) {
        if (have == cap) {
            cap = cap ? 2 * cap : 16;
            lmb_journal_client *more = realloc(list, cap * sizeof *list);
            if (!more) {
                st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a list of %zu clients", cap);
                break;
            }
            list = more;
        }
        LMB_TRY_GOTO(st, done, read_client(j, q, &list[have], err));
        have++;
    }
done:
    sqlite3_finalize(q);
    if (st != LMB_OK) {
        free(list);
        return st;
    }
    *out = list;
    *n = have;
    return LMB_OK;
}

lmb_status lmb_journal_pick(lmb_journal *j, const char *who, lmb_journal_client *out, lmb_error *err)
{
    size_t n, hits = 0, length = strlen(who);
    bool decimal = strspn(who, "0123456789") == length && length < 10;
    lmb_journal_client *list, hit = { 0 };

    if (!length || who[strspn(who, "0123456789abcdef")] || (!decimal && length < 4))
        return LMB_FAIL(err, LMB_E_ARG,
                        "'%.40s' is no client; give a number, or 4 digits or more of a fingerprint, from "
                        "`limbeck federation list`",
                        who);
    LMB_TRY(lmb_journal_clients(j, &list, &n, err));
    for (size_t i = 0; i < n; i++) {
        char print[LMB_FINGERPRINT];
        lmb_fingerprint(list[i].sign, print);
        if (decimal && list[i].id == strtoll(who, NULL, 10)) { /* digits alone are a number first */
            hit = list[i];
            hits = 1;
            break;
        }
        if (length >= 4 && strncmp(print, who, length) == 0) {
            hit = list[i];
            hits++;
        }
    }
    free(list);
    if (hits > 1)
        return LMB_FAIL(err, LMB_E_ARG, "'%.40s' begins %zu fingerprints; give more digits of the one that is meant",
                        who, hits);
    if (!hits)
        return LMB_FAIL(err, LMB_E_ARG, "'%.40s' is none of this federation's %zu clients", who, n);
    *out = hit;
    return LMB_OK;
}

lmb_status lmb_journal_set_state(lmb_journal *j, int64_t id, lmb_client_state state, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "UPDATE clients SET state = ? WHERE id = ? AND state <> ?", &q, err));
    sqlite3_bind_int(q, 1, state);
    sqlite3_bind_int64(q, 2, id);
    sqlite3_bind_int(q, 3, LMB_CLIENT_REVOKED);
    LMB_TRY(finish_write(j, q, err));
    if (sqlite3_changes(j->db) != 1)
        return LMB_FAIL(err, LMB_E_ARG,
                        "client %" PRId64 " is revoked, which is for good; invite it anew with new keys", id);
    return LMB_OK;
}

lmb_status lmb_journal_changed(lmb_journal *j, bool *changed, lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    bool row;
    LMB_TRY(prepare(j, "PRAGMA data_version", &q, err));
    st = step(j, q, &row, err);
    if (st == LMB_OK) {
        int64_t version = sqlite3_column_int64(q, 0);
        *changed = j->data_version && version != j->data_version;
        j->data_version = version;
    }
    sqlite3_finalize(q);
    return st;
}
