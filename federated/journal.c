/* federated/journal.c - see journal.h. */
#include "federated/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "federated/journal_parts.h"

/* 2: the score of round 0; 3: the ledger of privacy; 4: signing keys and states of clients, who is at work,
 * what waits, what is known of clients; 5: how clients fare, the admin, the number of the last secure sum; 6: the hash
 * of the best model. Kept as the file's user_version. */
enum { VERSION = 6, NO_BEST_HASH = 5 };

static const char mode[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS federation (one INTEGER PRIMARY KEY CHECK (one = 1), round INTEGER,"
    " model_round INTEGER, layout BLOB, n INTEGER, model BLOB, state BLOB, state_bytes INTEGER, best_round INTEGER,"
    " best_score REAL, first_score REAL, ledger BLOB, async INTEGER, turn INTEGER, share REAL, best BLOB);"
    "CREATE TABLE IF NOT EXISTS clients (id INTEGER PRIMARY KEY AUTOINCREMENT, public BLOB UNIQUE NOT NULL,"
    " sign BLOB UNIQUE NOT NULL, name TEXT NOT NULL, last_time INTEGER NOT NULL, state INTEGER NOT NULL,"
    " seen INTEGER NOT NULL DEFAULT 0, rounds INTEGER NOT NULL DEFAULT 0, examples INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE IF NOT EXISTS tokens (id BLOB PRIMARY KEY, psk BLOB NOT NULL, expires INTEGER NOT NULL, used_by "
    "BLOB);"
    "CREATE TABLE IF NOT EXISTS reports (round INTEGER PRIMARY KEY, selected INTEGER, updates INTEGER, bytes_in INTEGER,"
    " bytes_out INTEGER, committed INTEGER, seconds REAL, score REAL, epsilon REAL);"
    "CREATE TABLE IF NOT EXISTS fares (round INTEGER NOT NULL, kind INTEGER NOT NULL, clients INTEGER NOT NULL,"
    " mean REAL NOT NULL, median REAL NOT NULL, worst REAL NOT NULL, PRIMARY KEY (round, kind));"
    "CREATE TABLE IF NOT EXISTS papers (name TEXT PRIMARY KEY, bytes BLOB);"
    "INSERT OR IGNORE INTO papers (name, bytes) VALUES ('federation', randomblob(32));";

/* Pages that are torn, rows that no index knows: found here, not in the middle of a round. */
static lmb_status check_pages(lmb_journal *j, lmb_error *err)
{
    sqlite3_stmt *q;
    bool row;

    LMB_TRY(prepare(j, "PRAGMA quick_check(1)", &q, err));
    lmb_status st = step(j, q, &row, err);
    const char *said = st == LMB_OK && row ? (const char *)sqlite3_column_text(q, 0) : "";
    if (st == LMB_OK && strcmp(said ? said : "", "ok") != 0)
        st = LMB_FAIL(err, LMB_E_FORMAT,
                      "%s/journal.db is damaged (%.100s); restore it from a backup or begin in a new state_dir", j->dir,
                      said ? said : "");
    sqlite3_finalize(q);
    return st;
}

/* An emptied file is a new journal to SQLite. Model files beside it, which are written after its tables, say that it
 * was not. */
static lmb_status check_emptied(lmb_journal *j, lmb_error *err)
{
    unsigned long long round;
    char end;
    DIR *d = opendir(j->dir);

    for (struct dirent *e; d && (e = readdir(d));)
        if (sscanf(e->d_name, "model-%llu.f3%c", &round, &end) == 2 && end == '2') {
            closedir(d);
            return LMB_FAIL(
                err, LMB_E_FORMAT,
                "%s/journal.db holds no federation, but the model of round %llu lies beside it: the journal was emptied; "
                "restore it from a backup or begin in a new state_dir",
                j->dir, round);
        }
    if (d)
        closedir(d);
    return LMB_OK;
}

/* One number, from a pragma or a query. */
static lmb_status number_of(lmb_journal *j, const char *sql, int64_t *out, lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    bool row;
    LMB_TRY(prepare(j, sql, &q, err));
    st = step(j, q, &row, err);
    *out = st == LMB_OK && row ? sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return st;
}

/* The tables, when the file is new; a refusal, when they are of another version. */
static lmb_status make_tables(lmb_journal *j, lmb_error *err)
{
    char text[64];
    int64_t tables, version;
    LMB_TRY(number_of(j, "SELECT count(*) FROM sqlite_master", &tables, err));
    LMB_TRY(number_of(j, "PRAGMA user_version", &version, err));
    snprintf(text, sizeof text, "PRAGMA user_version = %d", VERSION);
    if (tables && version == NO_BEST_HASH) { /* of the best model that is there only its length can be checked */
        LMB_TRY(run(j, "ALTER TABLE federation ADD COLUMN best BLOB", err));
        return run(j, text, err);
    }
    if (tables && version != VERSION)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s/journal.db is of another version than %d, which this program reads; begin in a "
                        "new state_dir",
                        j->dir, VERSION);
    if (tables)
        return LMB_OK;
    LMB_TRY(check_emptied(j, err));
    LMB_TRY(run(j, schema, err));
    LMB_TRY(run(j, lmbi_journal_rounds_schema, err));
    return run(j, text, err);
}

static lmb_status prepare_file(lmb_journal *j, lmb_error *err)
{
    LMB_TRY(run(j, mode, err));
    LMB_TRY(run(j, "BEGIN IMMEDIATE", err)); /* of two that open a new file, one makes the tables */
    LMB_TRY(end(j, make_tables(j, err), err));
    return check_pages(j, err);
}

lmb_status lmb_journal_open(const char *dir, lmb_journal **out, lmb_error *err)
{
    char path[4096];
    lmb_journal *j;
    lmb_status st;
    int fd;

    if (strlen(dir) >= sizeof j->dir || !*dir)
        return LMB_FAIL(err, LMB_E_ARG, "state_dir must be a path of 1 to %zu characters", sizeof j->dir - 1);
    LMB_TRY(lmb_file_make_private_dir(dir, err));
    j = calloc(1, sizeof *j);
    if (!j)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the journal");
    strcpy(j->dir, dir);
    snprintf(path, sizeof path, "%s/journal.db", dir);
    /* Tokens are as good as keys: SQLite gives its WAL files the mode of the database. */
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    if (sqlite3_open_v2(path, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK) {
        st = LMB_FAIL(err, LMB_E_IO, "%s: %s", path, j->db ? sqlite3_errmsg(j->db) : "out of memory");
    } else {
        sqlite3_busy_timeout(j->db, 10000);
        st = prepare_file(j, err);
    }
    if (st != LMB_OK) {
        lmb_journal_close(j);
        return st;
    }
    *out = j;
    return LMB_OK;
}

void lmb_journal_close(lmb_journal *j)
{
    if (!j)
        return;
    sqlite3_close(j->db);
    free(j);
}

void lmb_journal_crash(lmb_journal *j, lmb_crash *crash) { j->crash = crash; }

lmb_status lmb_journal_load(lmb_journal *j, lmb_journal_state *s, bool *found, lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_journal_state got = { 0 };
    lmb_status st;

    LMB_TRY(prepare(j,
                    "SELECT round, model_round, layout, n, model, state, state_bytes, best_round, best_score, async,"
                    " first_score, ledger, turn, share, best"
                    " FROM federation",
                    &q, err));
    st = step(j, q, found, err);
    if (st == LMB_OK && *found) {
        got.round = (uint64_t)sqlite3_column_int64(q, 0);
        got.model_round = (uint64_t)sqlite3_column_int64(q, 1);
        got.n = (uint64_t)sqlite3_column_int64(q, 3);
        got.state_bytes = (uint64_t)sqlite3_column_int64(q, 6);
        got.has_best = sqlite3_column_type(q, 7) != SQLITE_NULL;
        got.best_round = (uint64_t)sqlite3_column_int64(q, 7);
        got.best_score = sqlite3_column_double(q, 8);
        got.has_ledger = sqlite3_column_type(q, 11) != SQLITE_NULL;
        got.first_score = sqlite3_column_type(q, 10) == SQLITE_NULL ? NAN : sqlite3_column_double(q, 10);
        got.async = sqlite3_column_int(q, 9) != 0;
        got.turn = (uint64_t)sqlite3_column_int64(q, 12);
        got.share = sqlite3_column_double(q, 13);
        got.has_best_hash = got.has_best && column_blob(q, 14, &got.best, LMB_HASH_BYTES);
        if (!column_blob(q, 2, &got.layout, LMB_HASH_BYTES) || !column_blob(q, 4, &got.model, LMB_HASH_BYTES) ||
                 !column_blob(q, 5, &got.state, LMB_HASH_BYTES))
            st = LMB_FAIL(err, LMB_E_FORMAT, "%s/journal.db is damaged: a hash is missing", j->dir);
        else if (got.has_ledger && !column_blob(q, 11, &got.ledger, sizeof got.ledger))
            st = LMB_FAIL(err, LMB_E_FORMAT, "%s/journal.db is damaged: the ledger of privacy is", j->dir);
        else
            *s = got;
    }
    sqlite3_finalize(q);
    return st;
}

static lmb_status path_of(const lmb_journal *j, const char *kind, uint64_t round, const char *end, char *out,
                          size_t cap, lmb_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%" PRIu64 ".%s", kind, round, end);
    return lmb_path_join(out, cap, j->dir, name, err);
}

static lmb_status model_path(const lmb_journal *j, uint64_t round, char *out, size_t cap, lmb_error *err)
{
    return path_of(j, "model", round, "f32", out, cap, err);
}

static lmb_status write_row(lmb_journal *j, const lmb_journal_state *s, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(prepare(j, "INSERT OR REPLACE INTO federation (one, round, model_round, layout, n, model, state,"
                       " state_bytes, best_round, best_score, first_score, async, ledger, turn, share, best)"
                       " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    &q, err));
    sqlite3_bind_int64(q, 1, (sqlite3_int64)s->round);
    sqlite3_bind_int64(q, 2, (sqlite3_int64)s->model_round);
    sqlite3_bind_blob(q, 3, &s->layout, LMB_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(q, 4, (sqlite3_int64)s->n);
    sqlite3_bind_blob(q, 5, &s->model, LMB_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(q, 6, &s->state, LMB_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(q, 7, (sqlite3_int64)s->state_bytes);
    if (s->has_best) {
        sqlite3_bind_int64(q, 8, (sqlite3_int64)s->best_round);
        sqlite3_bind_double(q, 9, s->best_score);
    }
    if (!isnan(s->first_score))
        sqlite3_bind_double(q, 10, s->first_score);
    sqlite3_bind_int(q, 11, s->async);
    if (s->has_ledger)
        sqlite3_bind_blob(q, 12, &s->ledger, sizeof s->ledger, SQLITE_STATIC);
    sqlite3_bind_int64(q, 13, (sqlite3_int64)s->turn);
    sqlite3_bind_double(q, 14, s->share);
    if (s->has_best_hash)
        sqlite3_bind_blob(q, 15, &s->best, LMB_HASH_BYTES, SQLITE_STATIC);
    return finish_write(j, q, err);
}

/* Files of a round that the old state needed and the new one does not. */
static void forget(const lmb_journal *j, uint64_t round, const lmb_journal_state *s)
{
    char path[4096];
    if (round != s->model_round && path_of(j, "state", round, "bin", path, sizeof path, NULL) == LMB_OK)
        unlink(path);
    if (round != s->model_round && !(s->has_best && round == s->best_round) &&
        model_path(j, round, path, sizeof path, NULL) == LMB_OK)
        unlink(path);
}

static lmb_status write_round(lmb_journal *j, const lmb_journal_state *s, const lmb_journal_round *r, lmb_error *err)
{
    LMB_TRY(run(j, "BEGIN IMMEDIATE", err));
    lmb_status st = write_row(j, s, err);
    if (st == LMB_OK && r)
        st = lmbi_journal_round_over(j, r, err);
    return end(j, st, err);
}

lmb_status lmb_journal_commit(lmb_journal *j, lmb_journal_state *s, const float *model, const void *state,
                              const lmb_journal_round *r, lmb_error *err)
{
    lmb_journal_state old;
    char path[4096];
    bool had;

    LMB_TRY(lmb_journal_load(j, &old, &had, err));
    if (s->model_round == s->round && model) {
        s->model = lmb_hash_of(model, (size_t)s->n * sizeof *model);
        LMB_TRY(model_path(j, s->round, path, sizeof path, err));
        LMB_TRY(lmb_file_write(path, model, (size_t)s->n * sizeof *model, err));
        lmb_crash_at(j->crash, LMB_CRASH_MODEL_WRITTEN);
        s->state = lmb_hash_of(state, (size_t)s->state_bytes);
        if (s->state_bytes) {
            LMB_TRY(path_of(j, "state", s->round, "bin", path, sizeof path, err));
            LMB_TRY(lmb_file_write(path, state, (size_t)s->state_bytes, err));
            lmb_crash_at(j->crash, LMB_CRASH_STATE_WRITTEN);
        }
    }
    if (s->has_best && s->best_round == s->model_round) {
        s->has_best_hash = true;
        s->best = s->model;
    }
    LMB_TRY(write_round(j, s, r, err));
    lmb_crash_at(j->crash, LMB_CRASH_COMMITTED);
    if (had) {
        forget(j, old.model_round, s);
        if (old.has_best)
            forget(j, old.best_round, s);
    }
    lmb_crash_at(j->crash, LMB_CRASH_FORGOTTEN);
    return LMB_OK;
}

/* want NULL: nobody knows it. */
static lmb_status read_exact(const char *path, void *out, size_t bytes, const lmb_hash *want, lmb_error *err)
{
    void *data;
    size_t n;
    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_IO,
                        "%s is gone, the journal needs it; restore it from a backup or begin in a new state_dir", path);
    LMB_TRY(lmb_file_read(path, bytes, &data, &n, err));
    lmb_hash got = lmb_hash_of(data, n);
    bool same = n == bytes && (!want || memcmp(&got, want, sizeof got) == 0);
    if (same)
        memcpy(out, data, n);
    free(data);
    if (!same)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s does not match the journal; restore it from a backup or begin in a new state_dir",
                        path);
    return LMB_OK;
}

lmb_status lmb_journal_model(lmb_journal *j, const lmb_journal_state *s, float *model, void *state, lmb_error *err)
{
    char path[4096];
    LMB_TRY(model_path(j, s->model_round, path, sizeof path, err));
    LMB_TRY(read_exact(path, model, (size_t)s->n * sizeof *model, &s->model, err));
    if (!s->state_bytes)
        return LMB_OK;
    LMB_TRY(path_of(j, "state", s->model_round, "bin", path, sizeof path, err));
    return read_exact(path, state, (size_t)s->state_bytes, &s->state, err);
}

lmb_status lmb_journal_best(lmb_journal *j, const lmb_journal_state *s, float *model, lmb_error *err)
{
    char path[4096];
    LMB_TRY(model_path(j, s->best_round, path, sizeof path, err));
    return read_exact(path, model, (size_t)s->n * sizeof *model, s->has_best_hash ? &s->best : NULL, err);
}
