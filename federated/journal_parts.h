/* federated/journal_parts.h - what the files of the journal share: journal.c (the file, the state), members.c (clients,
 * tokens), journal_rounds.c (who is at work, what waits, what is known of clients). Not for others: the names are
 * short. */
#ifndef LMB_FEDERATED_JOURNAL_PARTS_H
#define LMB_FEDERATED_JOURNAL_PARTS_H

#include <sqlite3.h>
#include <string.h>

#include "federated/journal.h"

struct lmb_journal {
    sqlite3 *db;
    lmb_crash *crash; /* NULL: never */
    char dir[3800];
    int64_t data_version; /* as last seen by lmb_journal_changed; 0: not yet */
};

static inline lmb_status fail(const lmb_journal *j, lmb_error *err)
{
    int rc = sqlite3_errcode(j->db);
    const char *advice = rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT
                             ? "; restore it from a backup or begin in a new state_dir"
                         : rc == SQLITE_FULL ? "; free some and start again"
                                             : "";
    return LMB_FAIL(err, LMB_E_IO, "%s/journal.db: %s%s", j->dir, sqlite3_errmsg(j->db), advice);
}

static inline lmb_status run(lmb_journal *j, const char *sql, lmb_error *err)
{
    return sqlite3_exec(j->db, sql, NULL, NULL, NULL) == SQLITE_OK ? LMB_OK : fail(j, err);
}

static inline lmb_status prepare(lmb_journal *j, const char *sql, sqlite3_stmt **st, lmb_error *err)
{
    return sqlite3_prepare_v2(j->db, sql, -1, st, NULL) == SQLITE_OK ? LMB_OK : fail(j, err);
}

/* Run to the first row or the end, and say which. */
static inline lmb_status step(lmb_journal *j, sqlite3_stmt *st, bool *row, lmb_error *err)
{
    int rc = sqlite3_step(st);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? LMB_OK : fail(j, err);
}

static inline lmb_status finish_write(lmb_journal *j, sqlite3_stmt *st, lmb_error *err)
{
    bool row;
    lmb_status s = step(j, st, &row, err);
    sqlite3_finalize(st);
    return s;
}

/* A blob column of exactly n bytes; false when it is anything else (a damaged file). */
static inline bool column_blob(sqlite3_stmt *st, int column, void *out, int n)
{
    const void *p = sqlite3_column_blob(st, column);
    if (!p || sqlite3_column_bytes(st, column) != n)
        return false;
    memcpy(out, p, (size_t)n);
    return true;
}

/* End a transaction that `st` is the outcome of. */
static inline lmb_status end(lmb_journal *j, lmb_status st, lmb_error *err)
{
    if (st == LMB_OK) {
        lmb_crash_at(j->crash, LMB_CRASH_ROW_WRITTEN);
        st = run(j, "COMMIT", err);
    }
    if (st != LMB_OK)
        run(j, "ROLLBACK", NULL);
    return st;
}

/* journal_rounds.c */
extern const char lmbi_journal_rounds_schema[];
/* The rows of a round that is over; inside the transaction of its commit. */
LMB_MUST_CHECK lmb_status lmbi_journal_round_over(lmb_journal *j, const lmb_journal_round *r, lmb_error *err);

#endif
