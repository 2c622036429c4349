/* tests/federated/people.h - what people do beside a running server: at the desk, with an admin's key, with a client's
 * folder.
 */
#ifndef LMB_TESTS_FEDERATED_PEOPLE_H
#define LMB_TESTS_FEDERATED_PEOPLE_H

#include <sodium.h>

#include "federated/papers.h"
#include "tests/federated/raw.h"

/* What `limbeck federation` does: the journal, from another connection. */
static inline lmb_journal *desk(world *w)
{
    lmb_journal *j;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_journal_open(w->state, &j, &err));
    return j;
}

static inline void decide(world *w, const char *who, lmb_client_state state)
{
    lmb_journal *j = desk(w);
    lmb_journal_client c;
    ck_ok(lmb_journal_pick(j, who, &c, &err));
    ck_ok(lmb_journal_set_state(j, c.id, state, &err));
    lmb_journal_close(j);
}

static inline size_t wait_enrolled(world *w, size_t want)
{
    double end = lmb_seconds() + 60;
    size_t n = 0;
    while (n < want && lmb_seconds() < end) {
        lmb_journal_client *list;
        lmb_journal *j = desk(w);
        ck_ok(lmb_journal_clients(j, &list, &n, &err));
        free(list);
        lmb_journal_close(j);
        usleep(20000);
    }
    ck_assert_uint_eq(n, want);
    return n;
}

static inline void shell(const char *fmt, ...)
{
    char cmd[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    ck_assert_int_eq(system(cmd), 0);
}

/* A client of before, without an invite; the server has another port. */
static inline void come_back(world *w, world_client *c, int k)
{
    c->invite[0] = 0;
    shell("sed -i 's/:[0-9]*:/:%d:/' %s/server.txt", lmb_server_port(w->server), c->state);
    world_client_start(w, c, k, 0);
}

typedef struct admin {
    uint8_t public_key[LMB_SIGN_PUBLIC], secret[LMB_SIGN_SECRET];
    char text[LMB_PUBLIC_TEXT];
} admin;

static inline admin make_admin(void)
{
    admin a;
    ck_assert_int_ge(sodium_init(), 0);
    crypto_sign_keypair(a.public_key, a.secret);
    lmb_public_format(a.public_key, a.text);
    return a;
}

#endif
