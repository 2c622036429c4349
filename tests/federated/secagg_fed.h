/* tests/federated/secagg_fed.h - a federation of honest clients under secure aggregation, over real sockets. */
#ifndef LMB_TESTS_FEDERATED_SECAGG_FED_H
#define LMB_TESTS_FEDERATED_SECAGG_FED_H

#include "core/base/config.h"
#include "tests/federated/raw.h"

static world_client people[8];

typedef struct fed {
    world w;
    world_client *c;
    lmb_config *secure, *privacy, *client;
    uint8_t admin[LMB_SIGN_SECRET]; /* who signs the roster, when cfg.admin says so */
    char admin_text[65];
    int n;
} fed;

static inline lmb_config *parse(const char *text)
{
    lmb_config *out = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "test", &out, &err));
    return out;
}

static inline void fed_open(fed *f, const char *secure, int clients)
{
    memset(f, 0, sizeof *f);
    world_open(&f->w);
    memset(people, 0, sizeof people);
    f->c = people;
    f->secure = parse(secure);
    f->w.cfg.secure_aggregation = lmb_config_root(f->secure);
    f->w.cfg.target = f->w.cfg.minimum = clients;
    f->w.cfg.rounds = 2;
    f->n = clients;
}

/* One after the other, so that client k is number k + 1. */
static inline void fed_clients(fed *f, int n)
{
    for (int k = 0; k < n; k++) {
        char words[64];
        snprintf(words, sizeof words, "client %d (tester", k + 1);
        world_client_start(&f->w, &f->c[k], k, lmb_server_port(f->w.server));
        ck_assert(world_says(&f->w, words));
    }
}

static inline void fed_join(fed *f, int n)
{
    world_join(&f->w);
    for (int k = 0; k < n; k++) {
        world_client_join(&f->c[k]);
        ck_assert_msg(f->c[k].status == LMB_OK, "client %d: %s", k, f->c[k].error.msg);
    }
}

static inline void fed_close(fed *f)
{
    world_close(&f->w);
    lmb_config_destroy(f->secure);
    lmb_config_destroy(f->privacy);
    lmb_config_destroy(f->client);
}

#endif
