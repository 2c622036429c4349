/* launch/run_federation.c - the federation of `limbeck run`: a server and its clients, processes on this machine.
 *
 * Idea: the server says where it listens; each client gets an invite of its own, through a pipe, and a slice of the
 * clients' samples. A client that fails is reported; whether a round can do without it the server decides.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/threads.h"
#include "federated/server.h"
#include "launch/run.h"

enum { GOODBYE_S = 15 };

static const char *const invite_line[] = { "federation", "invite", LMBI_CONFIG, "--port", LMBI_PORT, NULL };
static const char *const join_line[] = {
    "join", LMBI_CONFIG, "--invite", LMBI_INVITE, "--data-slice", LMBI_SLICE, NULL
};

typedef struct fed {
    lmb_child child[LMB_CHILDREN_MAX]; /* 0: the server */
    char name[LMB_CHILDREN_MAX][16];
    bool told[LMB_CHILDREN_MAX];       /* its end has been reported */
    int n, clients;
    char port[8];
} fed;

static void on_server_line(void *ctx, const char *line)
{
    fed *f = ctx;
    const char *colon = strrchr(line, ':');

    printf("%s\n", line);
    fflush(stdout);
    dprintf(f->child[0].log, "%s\n", line);
    if (strncmp(line, "listening on ", 13) == 0 && colon)
        snprintf(f->port, sizeof f->port, "%.7s", colon + 1);
}

/* An invite is a secret: it goes to the client, not to a log. */
static void on_invite(void *ctx, const char *line)
{
    if (*line)
        snprintf(ctx, LMB_SERVER_INVITE, "%s", line);
}

/* Tend everything once; a client that failed is reported, the server decides what becomes of the round. */
static lmb_status tend(const lmbi_run *r, fed *f, lmb_error *err)
{
    int failed = 0;

    lmb_children_tend(f->child, f->n, 200);
    if (*r->interrupted)
        return lmbi_run_stop(r, f->child, f->n, err);
    for (int i = 1; i < f->n; i++) {
        lmb_error why = LMB_ERROR_INIT;
        if (f->child[i].running || (!f->child[i].exit_code && !f->child[i].signal))
            continue;
        failed++;
        if (!f->told[i] && lmb_child_fail(&f->child[i], &why) != LMB_OK)
            fprintf(stderr, "%s; the federation goes on without it\n", why.msg);
        f->told[i] = true;
    }
    if (f->child[0].running && f->clients && failed == f->clients) {
        lmb_error why = LMB_ERROR_INIT;
        lmb_status st = lmb_child_fail(&f->child[1], &why);
        lmb_children_end(f->child, f->n, LMBI_RUN_PATIENCE_S, r->interrupted);
        return LMB_FAIL(err, st, "no client is left; %.400s", why.msg);
    }
    return LMB_OK;
}

static lmb_status get_invite(lmbi_run *r, const fed *f, char invite[LMB_SERVER_INVITE], lmb_error *err)
{
    lmb_child c = { .name = "federation invite", .log = -1, .on_line = on_invite, .ctx = invite };
    lmbi_words by = { r->config, f->port, NULL, NULL };

    *invite = 0;
    LMB_TRY(lmbi_run_start(r, &c, invite_line, &by, NULL, err));
    while (lmb_children_tend(&c, 1, 200))
        ;
    if (c.exit_code || !*invite)
        return lmb_child_fail(&c, err);
    return LMB_OK;
}

static lmb_status start_clients(lmbi_run *r, fed *f, int k, lmb_error *err)
{
    for (int i = 0; i < k && f->child[0].running; i++) {
        char invite[LMB_SERVER_INVITE], slice[32];
        lmbi_words by = { r->config, f->port, invite, slice };
        lmb_child *c = &f->child[f->n];

        LMB_TRY(get_invite(r, f, invite, err));
        snprintf(slice, sizeof slice, "%d/%d", i, k);
        snprintf(f->name[f->n], sizeof f->name[0], "client-%d", i);
        *c = (lmb_child){ .name = f->name[f->n], .log = r->log };
        LMB_TRY(lmbi_run_start(r, c, join_line, &by, NULL, err));
        f->n++;
        LMB_TRY(tend(r, f, err));
    }
    f->clients = f->n - 1;
    return LMB_OK;
}

static lmb_status federate(lmbi_run *r, const lmbi_step *s, fed *f, int k, lmb_error *err)
{
    lmbi_words by = { .config = r->config };
    lmb_child *server = &f->child[0];

    *server = (lmb_child){ .name = s->name, .log = r->log, .on_line = on_server_line, .ctx = f };
    LMB_TRY(lmbi_run_start(r, server, s->argv, &by, NULL, err));
    f->n = 1;
    while (!*f->port && server->running)
        LMB_TRY(tend(r, f, err));
    LMB_TRY(start_clients(r, f, k, err));
    while (server->running)
        LMB_TRY(tend(r, f, err));
    if (server->exit_code)
        return lmb_child_fail(server, err);
    /* The server has said goodbye to all that are connected; one that just is not gets no second chance. */
    double until = lmb_seconds() + GOODBYE_S;
    while (lmb_children_tend(f->child, f->n, 100) && lmb_seconds() < until && !*r->interrupted)
        ;
    return LMB_OK;
}

lmb_status lmbi_run_federation(lmbi_run *r, const lmbi_step *s, lmb_error *err)
{
    int k = (int)r->federation.clients;

    if (k >= LMB_CHILDREN_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "federation.clients is %d; `limbeck run` starts at most %d on one machine", k,
                        LMB_CHILDREN_MAX - 1);
    fed *f = calloc(1, sizeof *f);
    if (!f)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a federation of %d clients", k);
    lmb_status st = federate(r, s, f, k, err);
    lmb_children_end(f->child, f->n, LMBI_RUN_PATIENCE_S, r->interrupted);
    free(f);
    return st;
}
