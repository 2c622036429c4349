/* federated/journal_rounds.c - what of a round must survive, see journal.h: who is at work, whose update waits in the
 * buffer of an asynchronous server, and what is known of clients, by which a selection goes. So a server that was
 * killed asks nobody else, and draws as it would have drawn. */
#include <math.h>

#include "federated/journal_parts.h"

const char lmbi_journal_rounds_schema[] =
    "CREATE TABLE IF NOT EXISTS turns (client INTEGER PRIMARY KEY, turn INTEGER NOT NULL, version INTEGER NOT NULL, model BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS buffer (turn INTEGER PRIMARY KEY, client INTEGER NOT NULL, version INTEGER NOT NULL, model BLOB NOT NULL,"
    " head BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS known (client INTEGER PRIMARY KEY, examples INTEGER NOT NULL, loss REAL, last INTEGER NOT NULL,"
    " seconds REAL NOT NULL);"
    "CREATE TABLE IF NOT EXISTS told (client INTEGER PRIMARY KEY);";

static lmb_status write_turn(lmb_journal *j, const lmb_journal_turn *t, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "INSERT OR REPLACE INTO turns (client, turn, version, model) VALUES (?, ?, ?, ?)", &q, err));
    sqlite3_bind_int64(q, 1, t->client);
    sqlite3_bind_int64(q, 2, (sqlite3_int64)t->turn);
    sqlite3_bind_int64(q, 3, (sqlite3_int64)t->version);
    sqlite3_bind_blob(q, 4, &t->model, LMB_HASH_BYTES, SQLITE_STATIC);
    return finish_write(j, q, err);
}

static lmb_status write_known(lmb_journal *j, const lmb_journal_known *k, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "INSERT OR REPLACE INTO known (client, examples, loss, last, seconds) VALUES (?, ?, ?, ?, ?)",
                    &q, err));
    sqlite3_bind_int64(q, 1, k->client);
    sqlite3_bind_int64(q, 2, (sqlite3_int64)k->examples);
    if (isfinite(k->loss))
        sqlite3_bind_double(q, 3, k->loss);
    sqlite3_bind_int64(q, 4, (sqlite3_int64)k->last);
    sqlite3_bind_double(q, 5, k->seconds);
    return finish_write(j, q, err);
}

/* What people see of it: an update that went into a model. */
static lmb_status count_update(lmb_journal *j, const lmb_journal_known *k, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "UPDATE clients SET rounds = rounds + 1, examples = examples + ? WHERE id = ?", &q, err));
    sqlite3_bind_int64(q, 1, (sqlite3_int64)k->examples);
    sqlite3_bind_int64(q, 2, k->client);
    return finish_write(j, q, err);
}

static lmb_status on_client(lmb_journal *j, const char *sql, int64_t client, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, sql, &q, err));
    sqlite3_bind_int64(q, 1, client);
    return finish_write(j, q, err);
}

lmb_status lmb_journal_ask(lmb_journal *j, const lmb_journal_state *s, const lmb_journal_turn *turn, size_t n,
                           lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;

    LMB_TRY(run(j, "BEGIN IMMEDIATE", err));
    st = prepare(j, "UPDATE federation SET turn = ?, share = ?", &q, err);
    if (st == LMB_OK) {
        sqlite3_bind_int64(q, 1, (sqlite3_int64)s->turn);
        sqlite3_bind_double(q, 2, s->share);
        st = finish_write(j, q, err);
    }
    if (st == LMB_OK)
        st = run(j, "DELETE FROM told", err); /* there is more to do after all */
    for (size_t i = 0; st == LMB_OK && i < n; i++)
        st = write_turn(j, &turn[i], err);
    return end(j, st, err);
}

lmb_status lmb_journal_release(lmb_journal *j, int64_t client, lmb_error *err)
{
    return on_client(j, "DELETE FROM turns WHERE client = ?", client, err);
}

static lmb_status write_buffered(lmb_journal *j, const lmb_journal_turn *t, const void *head, size_t bytes,
                                 lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "INSERT INTO buffer (turn, client, version, model, head) VALUES (?, ?, ?, ?, ?)", &q, err));
    sqlite3_bind_int64(q, 1, (sqlite3_int64)t->turn);
    sqlite3_bind_int64(q, 2, t->client);
    sqlite3_bind_int64(q, 3, (sqlite3_int64)t->version);
    sqlite3_bind_blob(q, 4, &t->model, LMB_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(q, 5, head, (int)bytes, SQLITE_STATIC);
    return finish_write(j, q, err);
}

lmb_status lmb_journal_buffer(lmb_journal *j, const lmb_journal_turn *turn, const void *head, size_t bytes,
                              const lmb_journal_known *known, lmb_error *err)
{
    LMB_TRY(run(j, "BEGIN IMMEDIATE", err));
    lmb_status st = write_buffered(j, turn, head, bytes, err);
    if (st == LMB_OK)
        st = lmb_journal_release(j, turn->client, err);
    if (st == LMB_OK)
        st = write_known(j, known, err);
    if (st == LMB_OK)
        st = count_update(j, known, err);
    return end(j, st, err);
}

lmb_status lmbi_journal_round_over(lmb_journal *j, const lmb_journal_round *r, lmb_error *err)
{
    if (r->turns)
        LMB_TRY(run(j, "DELETE FROM turns", err));
    if (r->buffer)
        LMB_TRY(run(j, "DELETE FROM buffer", err));
    for (size_t i = 0; i < r->n_known; i++) {
        LMB_TRY(write_known(j, &r->known[i], err));
        if (r->committed)
            LMB_TRY(count_update(j, &r->known[i], err));
    }
    return LMB_OK;
}

/* ---- reading back ---- */

static lmb_status read_turn(lmb_journal *j, sqlite3_stmt *q, lmb_journal_turn *t, lmb_error *err)
{
    *t = (lmb_journal_turn){ .client = sqlite3_column_int64(q, 0), .turn = (uint64_t)sqlite3_column_int64(q, 1),
                             .version = (uint64_t)sqlite3_column_int64(q, 2) };
    if (!column_blob(q, 3, &t->model, LMB_HASH_BYTES))
        return LMB_FAIL(err, LMB_E_FORMAT, "%s/journal.db is damaged: a turn has no model", j->dir);
    return LMB_OK;
}

lmb_status lmb_journal_turns(lmb_journal *j,
                             lmb_status (*take)(void *ctx, const lmb_journal_turn *t, const uint8_t public_key[32],
                                                lmb_error *err),
                             void *ctx, lmb_error *err)
{
    uint8_t key[32];
    lmb_journal_turn t;
    sqlite3_stmt *q;
    bool row = true;

    LMB_TRY(prepare(
        j,
        "SELECT client, turn, version, model, public FROM turns JOIN clients ON clients.id = client ORDER BY turn, client",
        &q, err));
    lmb_status st = LMB_OK;
    while (st == LMB_OK && (st = step(j, q, &row, err)) == LMB_OK && row) {
        st = read_turn(j, q, &t, err);
        if (st == LMB_OK && !column_blob(q, 4, key, sizeof key))
            st = LMB_FAIL(err, LMB_E_FORMAT, "%s/journal.db is damaged: client %lld has no key", j->dir,
                          (long long)t.client);
        if (st == LMB_OK)
            st = take(ctx, &t, key, err);
    }
    sqlite3_finalize(q);
    return st;
}

lmb_status lmb_journal_buffered(lmb_journal *j,
                                lmb_status (*take)(void *ctx, const lmb_journal_turn *t, const void *head, size_t bytes,
                                                   lmb_error *err),
                                void *ctx, lmb_error *err)
{
    lmb_journal_turn t;
    sqlite3_stmt *q;
    bool row = true;

    LMB_TRY(prepare(j, "SELECT client, turn, version, model, head FROM buffer ORDER BY turn", &q, err));
    lmb_status st = LMB_OK;
    while (st == LMB_OK && (st = step(j, q, &row, err)) == LMB_OK && row) {
        st = read_turn(j, q, &t, err);
        if (st == LMB_OK)
            st = take(ctx, &t, sqlite3_column_blob(q, 4), (size_t)sqlite3_column_bytes(q, 4), err);
    }
    sqlite3_finalize(q);
    return st;
}

lmb_status lmb_journal_known_of(lmb_journal *j, int64_t client, lmb_journal_known *out, lmb_error *err)
{
    sqlite3_stmt *q;
    bool row;

    *out = (lmb_journal_known){ .client = client, .loss = NAN };
    LMB_TRY(prepare(j, "SELECT examples, loss, last, seconds FROM known WHERE client = ?", &q, err));
    sqlite3_bind_int64(q, 1, client);
    lmb_status st = step(j, q, &row, err);
    if (st == LMB_OK && row) {
        out->examples = (uint64_t)sqlite3_column_int64(q, 0);
        out->loss = sqlite3_column_type(q, 1) == SQLITE_NULL ? NAN : sqlite3_column_double(q, 1);
        out->last = (uint64_t)sqlite3_column_int64(q, 2);
        out->seconds = sqlite3_column_double(q, 3);
    }
    sqlite3_finalize(q);
    return st;
}

lmb_status lmb_journal_told(lmb_journal *j, const int64_t *client, size_t n, lmb_error *err)
{
    lmb_status st = LMB_OK;

    LMB_TRY(run(j, "BEGIN IMMEDIATE", err));
    for (size_t i = 0; st == LMB_OK && i < n; i++)
        st = on_client(j, "INSERT OR IGNORE INTO told (client) VALUES (?)", client[i], err);
    return end(j, st, err);
}

lmb_status lmb_journal_untold(lmb_journal *j, uint64_t *n, lmb_error *err)
{
    sqlite3_stmt *q;
    bool row;

    LMB_TRY(prepare(j, "SELECT count(*) FROM clients WHERE id NOT IN (SELECT client FROM told)", &q, err));
    lmb_status st = step(j, q, &row, err);
    *n = st == LMB_OK && row ? (uint64_t)sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return st;
}
