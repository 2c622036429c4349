/* Mirrors federated/server_secagg.c, client_secagg.c, session.c, secure.c: secure rounds over real sockets. What comes out
 * is the plain sum of integers of those that are in it, to the last bit, whoever left at which stage; and what either side
 * must refuse is refused with a sentence.
 */
#include <math.h>

#include "core/base/config.h"
#include "tests/federated/raw.h"

static world_client people[8];

typedef struct fed {
    world w;
    world_client *c;
    lmb_config *secure, *privacy, *client;
    int n;
} fed;

static lmb_config *parse(const char *text)
{
    lmb_config *out = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "test", &out, &err));
    return out;
}

static void fed_open(fed *f, const char *secure, int clients)
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
static void fed_clients(fed *f, int n)
{
    for (int k = 0; k < n; k++) {
        char words[64];
        snprintf(words, sizeof words, "client %d (tester", k + 1);
        world_client_start(&f->w, &f->c[k], k, lmb_server_port(f->w.server));
        ck_assert(world_says(&f->w, words));
    }
}

static void fed_join(fed *f, int n)
{
    world_join(&f->w);
    for (int k = 0; k < n; k++) {
        world_client_join(&f->c[k]);
        ck_assert_msg(f->c[k].status == LMB_OK, "client %d: %s", k, f->c[k].error.msg);
    }
}

static void fed_close(fed *f)
{
    world_close(&f->w);
    lmb_config_destroy(f->secure);
    lmb_config_destroy(f->privacy);
    lmb_config_destroy(f->client);
}

static float *model_of(const char *secure, int clients)
{
    fed f;
    float *model = malloc(WORLD_N * sizeof *model);
    fed_open(&f, secure, clients);
    world_start(&f.w);
    fed_clients(&f, clients);
    fed_join(&f, clients);
    ck_assert_uint_eq(f.w.reports[2].updates, (unsigned)clients);
    ck_assert_uint_eq(f.w.reports[2].examples, 10u * (unsigned)(clients * (clients + 1) / 2));
    ck_assert_uint_eq(f.w.reports[2].clients.n, 0); /* nobody's metrics */
    memcpy(model, lmb_server_model(f.w.server), WORLD_N * sizeof *model);
    fed_close(&f);
    return model;
}

START_TEST(hidden_or_in_the_clear_the_sum_is_the_same)
{
    float *open = model_of("{mode: off, clip: 4}", 4), *hidden = model_of("{clip: 4}", 4);
    ck_assert_mem_eq(open, hidden, WORLD_N * sizeof *open);
    /* and it is the mean: clients k pull half of the way to k + 1, with weights 10, 20, 30, 40: to 3 */
    for (int i = 0; i < WORLD_N; i++) {
        double to = 3 + (i % 3) * 0.01, from = (i % 7) * 0.1f;
        ck_assert_double_lt(fabs(hidden[i] - (to - 0.25 * (to - from))), 4.0 / 32767);
    }
    free(open);
    free(hidden);
}
END_TEST

LMB_TEST_MAIN("federated/secagg_rounds", add(hidden_or_in_the_clear_the_sum_is_the_same);)
