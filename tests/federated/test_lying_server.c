/* Mirrors federated/client_trust.c: a client that believes an admin sees through a server that shows what rosters it
 * likes.
 */
#include <sys/stat.h>

#include "tests/federated/people.h"

/* A server that is not: it has the key and the token of an invite, and shows what rosters it likes. */
typedef struct evil {
    int listener, port;
    uint8_t secret[32];
    lmb_token token;
    lmb_str roster[2]; /* one after the other, on one connection */
    int n;
} evil;

static lmb_status evil_token(void *ctx, const uint8_t id[LMB_TOKEN_ID], uint8_t psk[32], lmb_error *e)
{
    (void)id, (void)e;
    memcpy(psk, ((evil *)ctx)->token.psk, 32);
    return LMB_OK;
}

static lmb_status evil_fresh(void *ctx, const uint8_t client[32], uint64_t time, lmb_error *e)
{
    (void)ctx, (void)client, (void)time, (void)e;
    return LMB_OK;
}

static void evil_open(evil *v, char invite[LMB_SERVER_INVITE])
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    lmb_invite in = { "127.0.0.1", 0, { 0 }, { 5 } };
    memset(v, 0, sizeof *v);
    v->listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(v->listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(v->listener, 4), 0);
    ck_assert_int_eq(getsockname(v->listener, (struct sockaddr *)&a, &n), 0);
    in.port = ntohs(a.sin_port);
    lmb_noise_keygen(v->secret, in.server_public);
    v->token = lmb_token_derive(in.token);
    ck_ok(lmb_invite_format(&in, invite, &err));
}

/* One connection: HELLO, the rosters, and then work. Returns the number of rosters that the client asked for. */
static void *evil_serve(void *arg)
{
    evil *v = arg;
    lmb_channel_gate gate = { evil_token, evil_fresh, v };
    lmb_task_message task = { .round = 1, .n = 4, .model = { .bytes = 16 }, .codec = "{name: f32, zstd: 0}" };
    lmb_record rec;
    lmb_want want;
    raw r = { .fd = accept(v->listener, NULL, NULL) };
    ck_ok(lmb_channel_server(v->secret, &gate, &r.channel, &err));
    if (raw_wait(&r, LMB_MSG_HELLO, &rec)) {
        for (int i = 0; i < v->n; i++) {
            lmb_roster_message m = { { lmb_hash_of(v->roster[i].text, v->roster[i].n), v->roster[i].n }, 1 };
            ck_ok(lmb_message_send(r.channel, LMB_MSG_ROSTER, &m, &err));
            raw_flush(&r);
            if (!raw_wait(&r, LMB_MSG_WANT, &rec) || lmb_message_read(&rec, &want, &err) != LMB_OK)
                break;
            lmb_record chunk = { LMB_MSG_CHUNK, rec.message, 0, (const uint8_t *)v->roster[i].text, v->roster[i].n };
            ck_ok(lmb_channel_send(r.channel, &chunk, &err));
            raw_flush(&r);
        }
        ck_ok(lmb_message_send(r.channel, LMB_MSG_TASK, &task, &err));
        raw_flush(&r);
        while (raw_next(&r, &rec))
            ;
    }
    raw_close(&r);
    return NULL;
}

static void add_roster(evil *v, const admin *a, const lmb_roster_row *rows, uint32_t n, uint64_t version,
                       char federation)
{
    lmb_hash f = lmb_hash_of(&federation, 1);
    lmb_str plain = LMB_STR_INIT;
    ck_ok(lmb_roster_write(rows, n, version, &f, &plain, &err));
    ck_ok(lmb_roster_sign((uint8_t *)plain.text, plain.n, a->secret, &v->roster[v->n++], &err));
    lmb_str_free(&plain);
}

static const struct {
    bool self;                /* the first roster names the client */
    bool second;              /* there is another, of: */
    uint64_t version;
    char federation, who;
    const char *sentence;
} lies[] = {
    { false, false, 0, 0, 0, "roster 5 of the admin does not name this client" },
    { true, true, 4, 'a', 1, "shows roster 4, this client has seen 5" },
    { true, true, 5, 'a', 9, "shows another roster 5 than this client has seen" },
    { true, true, 6, 'b', 1, "the roster is of another federation" },
    { true, true, 6, 'a', 0, "roster 6 of the admin does not name this client" },
};

START_TEST(a_client_sees_through_a_lying_server)
{
    admin a = make_admin();
    lmb_roster_row rows[2] = { { 1, { 0 } }, { 2, { 77 } } };
    uint8_t sign_secret[LMB_SIGN_SECRET];
    char path[160];
    world w;
    world_client c;
    pthread_t thread;
    evil v;

    err = (lmb_error)LMB_ERROR_INIT;
    memset(&c, 0, sizeof c);
    world_open(&w);
    evil_open(&v, c.invite);
    c.admin = a.text;
    snprintf(path, sizeof path, "%s/client-0", w.dir); /* its keys, made beforehand */
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/client-0/sign.key", w.dir);
    ck_ok(lmb_sign_file(path, sign_secret, &err));
    if (lies[_i].self)
        memcpy(rows[0].key, lmb_sign_public(sign_secret), LMB_SIGN_PUBLIC);
    add_roster(&v, &a, rows, 2, 5, 'a');
    if (lies[_i].second) {
        rows[1].key[0] = (uint8_t)lies[_i].who;
        if (!lies[_i].who)
            rows[0].key[0] ^= 1;
        add_roster(&v, &a, rows, 2, lies[_i].version, lies[_i].federation);
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, evil_serve, &v), 0);
    world_client_start(&w, &c, 0, 0);
    world_client_join(&c);
    pthread_join(thread, NULL);
    ck_assert_int_eq(c.status, LMB_E_DENIED);
    ck_assert_msg(strstr(c.error.msg, lies[_i].sentence) != NULL, "%s", c.error.msg);
    ck_assert_int_eq(c.trained, 0);
    for (int i = 0; i < v.n; i++)
        lmb_str_free(&v.roster[i]);
    close(v.listener);
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/lying_server",
              add_loop(a_client_sees_through_a_lying_server, sizeof lies / sizeof *lies);)
