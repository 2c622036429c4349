/* launch/cmd_federation.c - `limbeck federation`: what people decide about a federation, beside its running server.
 *
 * Each verb works on the journal in the server's state_dir (federated/members.h, papers.h); a running server notices
 * within a second. What is about the roster is in desk_roster.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/base/file.h"
#include "federated/board.h"
#include "federated/board_http.h"
#include "launch/desk.h"
#include "launch/stage.h"

static const char usage[] =
    "usage: limbeck federation VERB WHERE [...]\n\n"
    "WHERE is the server's CONFIG.yaml, or its state_dir. All works beside a running server, which notices within a "
    "second.\n\n"
    "  invite CONFIG [--port N]         print one invite: address, server key, one-time token; good for "
    "federation.invite_ttl_s\n"
    "  list WHERE                       clients: number, state, fingerprint, last seen, rounds, examples, name\n"
    "  approve WHERE CLIENT...          CLIENT: a number or the beginning of a fingerprint (4 digits or more)\n"
    "  revoke WHERE CLIENT...           for good; its connection is ended\n"
    "  rotate WHERE [--overlap-days N]  change the server's key; both are answered to for N days (7), and clients are "
    "told\n"
    "  status WHERE                     rounds and clients, from the running server or what it left\n\n"
    "  admin-key FILE                   make the admin's key in FILE (0600; anywhere but on the server) and print its "
    "public half\n"
    "  sign WHERE --key FILE            sign the roster of approved clients\n"
    "  export-roster WHERE FILE         the same in three steps, when the key is on another machine: carry FILE "
    "there,\n"
    "  sign-roster FILE OUT --key FILE  look at what it prints, carry OUT back,\n"
    "  import-roster WHERE FILE [--admin PUBLIC]   and give it to the server (admin: federation.server.admin, else who "
    "signed before)\n";

static lmb_status open_config(desk *d, lmb_error *err)
{
    LMB_TRY(lmb_job_open(d->args->word[1], d->args, LMB_JOB_DATA_ONLY, &d->job, err));
    d->has_job = true;
    LMB_TRY(lmb_federation_of(&d->job, &d->c, err));
    return lmb_federation_server(&d->job, &d->c, &d->server, d->dir, err);
}

static lmb_status open_desk(desk *d, const lmb_args *a, lmb_error *err)
{
    struct stat info;
    char path[4096];

    d->args = a;
    if (stat(a->word[1], &info) == 0 && S_ISDIR(info.st_mode)) {
        lmb_fields_default(lmb_server_fields, &d->server);
        d->server.state_dir = a->word[1];
    } else {
        LMB_TRY(open_config(d, err));
    }
    if (strcmp(a->word[0], "invite") == 0) /* may come before the first start of the server */
        return LMB_OK;
    LMB_TRY(lmb_path_join(path, sizeof path, d->server.state_dir, "journal.db", err));
    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_ARG, "%s: no federation was served there yet", d->server.state_dir);
    return lmb_journal_open(d->server.state_dir, &d->journal, err);
}

static void close_desk(desk *d)
{
    lmb_journal_close(d->journal);
    if (d->has_job)
        lmb_job_close(&d->job);
}

/* ---- clients ---- */

static lmb_status invite(desk *d, lmb_error *err)
{
    char text[LMB_SERVER_INVITE];
    int64_t port = 0;

    if (!d->has_job)
        return LMB_FAIL(err, LMB_E_ARG, "an invite names host and port: give the server's CONFIG.yaml, not its folder");
    LMB_TRY(lmb_args_int(d->args, "port", d->server.port, 1, 65535, &port, err));
    if (port == 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "which port? federation.server.port is 0; give --port with what `limbeck serve` printed");
    LMB_TRY(lmb_server_invite(d->server.state_dir, d->c.host, (int)port, d->c.invite_ttl_s, text, err));
    printf("%s\n", text);
    return LMB_OK;
}

static lmb_status list(desk *d, lmb_error *err)
{
    lmb_journal_client *c;
    size_t n;

    LMB_TRY(lmb_journal_clients(d->journal, &c, &n, err));
    printf("client  state     fingerprint       last seen (UTC)      rounds    examples  name\n");
    for (size_t i = 0; i < n; i++) {
        char print[LMB_FINGERPRINT], seen[32] = "-";
        time_t when = (time_t)c[i].seen;
        struct tm t;
        if (when && gmtime_r(&when, &t))
            strftime(seen, sizeof seen, "%Y-%m-%d %H:%M:%S", &t);
        lmb_fingerprint(c[i].sign, print);
        printf("%6" PRId64 "  %-8s  %s  %-19s  %6" PRIu64 "  %10" PRIu64 "  %s\n", c[i].id,
               lmb_client_state_names[c[i].state], print, seen, c[i].rounds, c[i].examples, c[i].name);
    }
    free(c);
    return LMB_OK;
}

static lmb_status set_all(desk *d, lmb_client_state state, lmb_error *err)
{
    if (d->args->n_words < 3)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "which client? give a number or the beginning of a fingerprint, from `limbeck federation list`");
    for (int i = 2; i < d->args->n_words; i++) {
        char print[LMB_FINGERPRINT];
        lmb_journal_client c;
        LMB_TRY(lmb_journal_pick(d->journal, d->args->word[i], &c, err));
        LMB_TRY(lmb_journal_set_state(d->journal, c.id, state, err));
        lmb_fingerprint(c.sign, print);
        printf("client %" PRId64 " (%s, %s) is %s\n", c.id, c.name, print, lmb_client_state_names[state]);
    }
    return LMB_OK;
}

static lmb_status approve(desk *d, lmb_error *err) { return set_all(d, LMB_CLIENT_APPROVED, err); }
static lmb_status revoke(desk *d, lmb_error *err) { return set_all(d, LMB_CLIENT_REVOKED, err); }

static lmb_status rotate(desk *d, lmb_error *err)
{
    int64_t days;
    LMB_TRY(lmb_args_int(d->args, "overlap-days", 7, 1, 366, &days, err));
    LMB_TRY(lmb_server_rotate(d->server.state_dir, (double)days * 86400, err));
    printf("the server's key changes: both are answered to for %" PRId64
           " days; clients that come in that time know the new one, "
           "others need an invite\n",
           days);
    return LMB_OK;
}

static lmb_status status(desk *d, lmb_error *err)
{
    lmb_str text = LMB_STR_INIT;
    lmb_board_config page;
    lmb_status st = LMB_E_PEER;
    lmb_board now;

    if (d->server.status) {
        LMB_TRY(lmb_board_config_of(d->server.status, &page, err));
        st = lmb_board_get(&page, "/status.txt", &text, NULL);
    }
    if (st != LMB_OK) { /* nobody tells, or there is no page: the journal knows what is over */
        lmb_str_clear(&text);
        LMB_TRY(lmb_board_load(d->journal, &now, err));
        now.phase = "from the journal";
        lmb_board_text(&now, &text);
        lmb_board_free(&now);
    }
    st = lmb_str_check(&text, err);
    if (st == LMB_OK && text.n)
        fwrite(text.text, 1, text.n, stdout);
    lmb_str_free(&text);
    return st;
}

static const struct {
    const char *name;
    lmb_status (*at_desk)(desk *d, lmb_error *err);        /* needs a federation, */
    lmb_status (*alone)(const lmb_args *a, lmb_error *err); /* or does not         */
} verbs[] = {
    { "invite", invite, NULL },
    { "list", list, NULL },
    { "approve", approve, NULL },
    { "revoke", revoke, NULL },
    { "rotate", rotate, NULL },
    { "status", status, NULL },
    { "admin-key", NULL, lmbi_desk_admin_key },
    { "sign", lmbi_desk_sign, NULL },
    { "export-roster", lmbi_desk_export_roster, NULL },
    { "sign-roster", NULL, lmbi_desk_sign_roster },
    { "import-roster", lmbi_desk_import_roster, NULL },
};
enum { VERBS = sizeof verbs / sizeof *verbs };

static lmb_status unknown(const char *verb, lmb_error *err)
{
    const char *names[VERBS + 1] = { NULL };
    for (int i = 0; i < VERBS; i++)
        names[i] = verbs[i].name;
    const char *near = lmb_nearest(verb, names);
    return LMB_FAIL(err, LMB_E_ARG, "there is no `limbeck federation %.40s`%s%s; --help shows all", verb,
                    near ? "; did you mean " : "", near ? near : "");
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "port", "key", "admin", "overlap-days", NULL };
    lmb_args a;
    int k = 0;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (!a.n_words)
        return LMB_FAIL(err, LMB_E_ARG, "write `limbeck federation VERB ...`; --help shows all");
    while (k < VERBS && strcmp(verbs[k].name, a.word[0]) != 0)
        k++;
    if (k == VERBS)
        return unknown(a.word[0], err);
    if (verbs[k].alone)
        return verbs[k].alone(&a, err);
    if (a.n_words < 2)
        return LMB_FAIL(err, LMB_E_ARG,
                        "of which federation? write `limbeck federation %s CONFIG.yaml`, or the server's state_dir",
                        a.word[0]);
    desk *d = calloc(1, sizeof *d);
    if (!d)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory");
    lmb_status st = open_desk(d, &a, err);
    if (st == LMB_OK)
        st = verbs[k].at_desk(d, err);
    close_desk(d);
    free(d);
    return st;
}

const lmb_cmd lmb_cmd_federation = { "federation",
                                     "people and keys of a federation: invite, approve, revoke, sign, status", usage,
                                     run };
