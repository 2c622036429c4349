/* launch/desk_roster.c - the verbs of `limbeck federation` that are about the roster and the admin who signs it. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "federated/papers.h"
#include "launch/desk.h"

enum { ROSTER_FILE_MAX = 64 << 20 };

/* ---- the roster ---- */

static lmb_status admin_secret(const lmb_args *a, uint8_t secret[LMB_SIGN_SECRET], lmb_error *err)
{
    const char *path = lmb_args_get(a, "key", NULL);
    if (!path)
        return LMB_FAIL(err, LMB_E_ARG,
                        "give --key FILE, the admin's key; `limbeck federation admin-key FILE` makes one");
    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_ARG, "%s is not there; `limbeck federation admin-key %s` makes the admin's key",
                        path, path);
    lmb_secret_lock(secret, LMB_SIGN_SECRET);
    return lmb_sign_file(path, secret, err);
}

static lmb_status sign_bytes(const lmb_args *a, const void *bytes, size_t n, uint8_t admin[LMB_SIGN_PUBLIC],
                             lmb_str *out, lmb_error *err)
{
    uint8_t secret[LMB_SIGN_SECRET];
    lmb_status st = admin_secret(a, secret, err);
    if (st == LMB_OK)
        st = lmb_roster_sign(bytes, n, secret, out, err);
    if (st == LMB_OK)
        memcpy(admin, lmb_sign_public(secret), LMB_SIGN_PUBLIC);
    lmb_secret_wipe(secret, sizeof secret);
    return st;
}

static lmb_status parse_admin(const char *text, uint8_t key[LMB_SIGN_PUBLIC], bool *is, lmb_error *err)
{
    *is = text && *text;
    return *is ? lmb_public_parse(text, key, err) : LMB_OK;
}

/* Whose signature counts here: the configured admin's, else that of the admin whose roster the server has, else the one
 * that is named. So a folder without a configuration does not take a roster from just anybody. */
static lmb_status admin_of(const desk *d, const char *named, uint8_t key[LMB_SIGN_PUBLIC], bool *known, lmb_error *err)
{
    uint8_t wanted[LMB_SIGN_PUBLIC];
    char text[LMB_PUBLIC_TEXT];
    bool is_named, configured;

    LMB_TRY(parse_admin(named, wanted, &is_named, err));
    LMB_TRY(parse_admin(d->server.admin, key, &configured, err));
    *known = configured;
    if (!configured)
        LMB_TRY(lmb_journal_admin(d->journal, key, known, err));
    if (*known && is_named && memcmp(key, wanted, sizeof wanted) != 0) {
        lmb_public_format(key, text);
        return LMB_FAIL(
            err, LMB_E_DENIED,
            "this federation's admin has the key %s (%s), not that one; another admin takes a CONFIG.yaml whose "
            "federation.server.admin names it",
            text, configured ? "federation.server.admin" : "which its state folder keeps");
    }
    if (!*known && is_named)
        memcpy(key, wanted, sizeof wanted);
    *known = *known || is_named;
    return LMB_OK;
}

lmb_status lmbi_desk_sign(desk *d, lmb_error *err)
{
    lmb_str plain = LMB_STR_INIT, done = LMB_STR_INIT;
    uint8_t admin[LMB_SIGN_PUBLIC], ours[LMB_SIGN_PUBLIC];
    char text[LMB_PUBLIC_TEXT];
    bool known;
    lmb_status st = lmb_journal_roster_export(d->journal, &plain, err);

    if (st == LMB_OK)
        st = sign_bytes(d->args, plain.text, plain.n, admin, &done, err);
    if (st == LMB_OK) {
        lmb_public_format(admin, text); /* who holds the key names it */
        st = admin_of(d, text, ours, &known, err);
    }
    if (st == LMB_OK)
        st = lmb_journal_roster_import(d->journal, done.text, done.n, admin, err);
    if (st == LMB_OK)
        printf("the roster is signed\n");
    lmb_str_free(&plain);
    lmb_str_free(&done);
    return st;
}

lmb_status lmbi_desk_export_roster(desk *d, lmb_error *err)
{
    lmb_str plain = LMB_STR_INIT;
    if (d->args->n_words != 3)
        return LMB_FAIL(err, LMB_E_ARG, "write `limbeck federation export-roster WHERE FILE`");
    lmb_status st = lmb_journal_roster_export(d->journal, &plain, err);
    if (st == LMB_OK)
        st = lmb_file_write(d->args->word[2], plain.text, plain.n, err);
    lmb_str_free(&plain);
    return st;
}

lmb_status lmbi_desk_import_roster(desk *d, lmb_error *err)
{
    uint8_t key[LMB_SIGN_PUBLIC];
    void *bytes;
    size_t n;
    bool known;

    if (d->args->n_words != 3)
        return LMB_FAIL(err, LMB_E_ARG, "write `limbeck federation import-roster WHERE FILE`");
    LMB_TRY(admin_of(d, lmb_args_get(d->args, "admin", NULL), key, &known, err));
    if (!known)
        return LMB_FAIL(err, LMB_E_ARG,
                        "no roster came here before, so whose signature counts? give --admin PUBLIC, what `limbeck "
                        "federation admin-key` "
                        "printed, or the CONFIG.yaml with federation.server.admin");
    LMB_TRY(lmb_file_read(d->args->word[2], ROSTER_FILE_MAX, &bytes, &n, err));
    lmb_status st = lmb_journal_roster_import(d->journal, bytes, n, key, err);
    free(bytes);
    return st == LMB_OK ? LMB_OK : lmb_error_context(err, "%s", d->args->word[2]);
}

/* ---- without a federation at hand ---- */

lmb_status lmbi_desk_admin_key(const lmb_args *a, lmb_error *err)
{
    uint8_t secret[LMB_SIGN_SECRET];
    char text[LMB_PUBLIC_TEXT];
    lmb_status st;

    if (a->n_words != 2)
        return LMB_FAIL(err, LMB_E_ARG, "write `limbeck federation admin-key FILE`");
    lmb_secret_lock(secret, sizeof secret);
    st = lmb_sign_file(a->word[1], secret, err);
    if (st == LMB_OK) {
        lmb_public_format(lmb_sign_public(secret), text);
        printf("%s\n", text);
    }
    lmb_secret_wipe(secret, sizeof secret);
    return st;
}

lmb_status lmbi_desk_sign_roster(const lmb_args *a, lmb_error *err)
{
    lmb_str done = LMB_STR_INIT;
    uint8_t admin[LMB_SIGN_PUBLIC];
    lmb_roster r;
    void *bytes;
    size_t n;

    if (a->n_words != 3)
        return LMB_FAIL(err, LMB_E_ARG, "write `limbeck federation sign-roster FILE OUT --key FILE`");
    LMB_TRY(lmb_file_read(a->word[1], ROSTER_FILE_MAX, &bytes, &n, err));
    lmb_status st = lmb_roster_open(&r, bytes, n, NULL, NULL, err);
    if (st != LMB_OK) {
        lmb_error_context(err, "%s", a->word[1]);
    } else { /* what is signed is said */
        printf("roster %" PRIu64 " of federation %02x%02x%02x%02x:\n", r.version, r.federation.b[0], r.federation.b[1],
               r.federation.b[2], r.federation.b[3]);
        for (uint32_t i = 0; i < r.n; i++) {
            char print[LMB_FINGERPRINT];
            lmb_fingerprint(r.row[i].key, print);
            printf("%6u  %s\n", r.row[i].id, print);
        }
        lmb_roster_close(&r);
        st = sign_bytes(a, bytes, n, admin, &done, err);
    }
    if (st == LMB_OK)
        st = lmb_file_write(a->word[2], done.text, done.n, err);
    lmb_str_free(&done);
    free(bytes);
    return st;
}
