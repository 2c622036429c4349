/* Mirrors federated/members.c, papers.c, server_people.c and client_trust.c: what people decide beside a running
 * server, and what clients believe of it. */
#include <sodium.h>
#include <sys/stat.h>

#include "federated/papers.h"
#include "tests/federated/raw.h"

/* What `limbeck federation` does: the journal, from another connection. */
static lmb_journal *desk(world *w)
{
    lmb_journal *j;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_journal_open(w->state, &j, &err));
    return j;
}

static void decide(world *w, const char *who, lmb_client_state state)
{
    lmb_journal *j = desk(w);
    lmb_journal_client c;
    ck_ok(lmb_journal_pick(j, who, &c, &err));
    ck_ok(lmb_journal_set_state(j, c.id, state, &err));
    lmb_journal_close(j);
}

static size_t wait_enrolled(world *w, size_t want)
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

static void keys(const char *dir, const char *name, char out[65])
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(out, 1, 64, f), 64);
    out[64] = 0;
    fclose(f);
}

static void shell(const char *fmt, ...)
{
    char cmd[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    ck_assert_int_eq(system(cmd), 0);
}

/* A client of before, without an invite; the server has another port. */
static void come_back(world *w, world_client *c, int k)
{
    c->invite[0] = 0;
    shell("sed -i 's/:[0-9]*:/:%d:/' %s/server.txt", lmb_server_port(w->server), c->state);
    world_client_start(w, c, k, 0);
}

/* ---- states ---- */

/* Two on one state would take each other's place on the server, and could answer one secure sum twice. */
START_TEST(one_client_a_folder)
{
    lmb_local_trainer trainer = { world_train, NULL };
    lmb_client_config cfg;
    lmb_client *first, *second;
    char dir[] = "/tmp/lmb-one-XXXXXX", cmd[64];

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    lmb_fields_default(lmb_client_fields, &cfg);
    cfg.state_dir = dir;
    static const char invite[] =
        "lmb1:127.0.0.1:7510:WEYxlmcgduP84SROU-vTzDqiR0D7FFTznXkISb_wm2M:8dC0LBWcGDKRP323T7WsEw";
    ck_ok(lmb_client_create(&cfg, invite, &trainer, NULL, &first, &err));
    ck_assert_int_eq(lmb_client_create(&cfg, invite, &trainer, NULL, &second, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "another client is running"));
    lmb_client_destroy(first);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_client_create(&cfg, invite, &trainer, NULL, &second, &err));
    lmb_client_destroy(second);
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    ck_assert_int_eq(system(cmd), 0);
}
END_TEST

START_TEST(nobody_takes_part_before_approval)
{
    world w;
    world_client c[2];
    lmb_journal_client *list;
    lmb_journal *j;
    char print[LMB_FINGERPRINT];
    size_t n;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.approval = 1;
    w.cfg.rounds = 2;
    w.cfg.target = w.cfg.minimum = 2;
    world_start(&w);
    for (int k = 0; k < 2; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    wait_enrolled(&w, 2);
    ck_assert(world_says(&w, "waits for approval"));
    decide(&w, "1", LMB_CLIENT_APPROVED);
    usleep(1500000); /* one is not enough for a round */
    ck_assert(!world_said(&w, "round 1 begins"));
    j = desk(&w);
    ck_ok(lmb_journal_clients(j, &list, &n, &err));
    lmb_fingerprint(list[1].sign, print);
    ck_assert_int_eq(list[0].state, LMB_CLIENT_APPROVED);
    ck_assert_int_eq(list[1].state, LMB_CLIENT_WAITING);
    free(list);
    lmb_journal_close(j);
    decide(&w, print, LMB_CLIENT_APPROVED);
    ck_assert(world_says(&w, "round 1 begins with 2 clients"));
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    j = desk(&w);
    ck_ok(lmb_journal_clients(j, &list, &n, &err));
    for (int k = 0; k < 2; k++) {
        ck_assert_uint_eq(list[k].rounds, 2);
        ck_assert(list[k].examples == 20 || list[k].examples == 40);
        ck_assert_int_gt(list[k].seen, 1600000000);
    }
    free(list);
    lmb_journal_close(j);
    world_close(&w);
}
END_TEST

START_TEST(a_revoked_client_is_out_at_once_and_for_good)
{
    world w;
    world_client c[3];
    lmb_journal *j;
    lmb_journal_client who;
    char number[32];

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 1;
    w.cfg.target = 3;
    w.cfg.minimum = 2;
    w.cfg.gather_s = 300; /* all three are waited for */
    world_start(&w);
    for (int k = 0; k < 3; k++) {
        c[k].seconds =
            k == 2 ? 600 : 1.5; /* the third would train for long; the server is there while it tries again */
        c[k].lively = true;
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
        wait_enrolled(&w, (size_t)k + 1); /* so that its number is k + 1 */
    }
    ck_assert(world_says(&w, "round 1 begins with 3 clients"));
    snprintf(number, sizeof number, "%d", 3);
    double began = lmb_seconds();
    decide(&w, number, LMB_CLIENT_REVOKED);
    world_client_join(&c[2]);
    ck_assert(lmb_seconds() - began < 500); /* it does not train to the end */
    ck_assert_int_eq(c[2].status, LMB_E_DENIED);
    ck_assert_ptr_nonnull(strstr(c[2].error.msg, "client 3 (tester) was revoked"));
    world_join(&w);
    ck_assert_uint_eq(w.reports[1].updates, 2);
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    j = desk(&w); /* for good */
    ck_ok(lmb_journal_pick(j, "3", &who, &err));
    ck_assert_int_eq(who.state, LMB_CLIENT_REVOKED);
    ck_assert_int_eq(lmb_journal_set_state(j, 3, LMB_CLIENT_APPROVED, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_journal_pick(j, "4", &who, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_journal_pick(j, "abc", &who, &err), LMB_E_ARG); /* too few digits of a fingerprint */
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_journal_pick(j, "x'; --", &who, &err), LMB_E_ARG);
    lmb_journal_close(j);
    /* It comes back, with the same keys. */
    w.cfg.rounds = 3;
    lmb_server_destroy(w.server);
    world_start(&w);
    c[2].seconds = 0;
    come_back(&w, &c[2], 2);
    world_client_join(&c[2]);
    ck_assert_int_eq(c[2].status, LMB_E_DENIED);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* ---- the roster ---- */

typedef struct admin {
    uint8_t public_key[LMB_SIGN_PUBLIC], secret[LMB_SIGN_SECRET];
    char text[LMB_PUBLIC_TEXT];
} admin;

static admin make_admin(void)
{
    admin a;
    ck_assert_int_ge(sodium_init(), 0);
    crypto_sign_keypair(a.public_key, a.secret);
    lmb_public_format(a.public_key, a.text);
    return a;
}

/* Export, sign far away, import. */
static lmb_status sign(world *w, const admin *a, lmb_str *kept)
{
    lmb_str plain = LMB_STR_INIT, done = LMB_STR_INIT;
    lmb_journal *j = desk(w);
    ck_ok(lmb_journal_roster_export(j, &plain, &err));
    ck_ok(lmb_roster_sign((uint8_t *)plain.text, plain.n, a->secret, &done, &err));
    lmb_status st = lmb_journal_roster_import(j, done.text, done.n, a->public_key, &err);
    if (kept)
        lmb_str_add_n(kept, done.text, done.n);
    lmb_journal_close(j);
    lmb_str_free(&plain);
    lmb_str_free(&done);
    return st;
}

static void start_believers(world *w, world_client *c, int n, const admin *a)
{
    for (int k = 0; k < n; k++) {
        c[k].admin = a->text;
        world_client_start(w, &c[k], k, lmb_server_port(w->server));
    }
}

START_TEST(rounds_wait_for_the_signature)
{
    world w;
    world_client c[2];
    admin a = make_admin(), other = make_admin();
    lmb_str first = LMB_STR_INIT;
    lmb_journal *j;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.admin = a.text;
    w.cfg.rounds = 2;
    w.cfg.target = w.cfg.minimum = 2;
    world_start(&w);
    start_believers(&w, c, 2, &a);
    wait_enrolled(&w, 2);
    usleep(700000);
    ck_assert(!world_said(&w, "round 1 begins"));
    ck_ok(sign(&w, &a, &first));
    ck_assert(world_says(&w, "roster 1: 2 clients, signed by the admin"));
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    j = desk(&w); /* the journal takes no old, foreign or outdated roster, and remembers whose signature counts */
    uint8_t known_key[LMB_SIGN_PUBLIC];
    bool known;
    ck_ok(lmb_journal_admin(j, known_key, &known, &err));
    ck_assert(known);
    ck_assert_mem_eq(known_key, a.public_key, sizeof known_key);
    ck_assert_int_eq(lmb_journal_roster_import(j, first.text, first.n, a.public_key, &err), LMB_E_ARG);
    lmb_journal_close(j);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_str second = LMB_STR_INIT;
    ck_ok(sign(&w, &other,
               &second)); /* the wrong admin's own word against itself: a journal does not know who is right */
    j = desk(&w);
    ck_assert_int_eq(lmb_journal_roster_import(j, second.text, second.n, a.public_key, &err), LMB_E_DENIED);
    lmb_journal_close(j);
    lmb_str_free(&second);
    lmb_str_free(&first);
    world_close(&w);
}
END_TEST

/* A server that shows a client less than the admin's newest roster is left. */
START_TEST(no_way_back_to_an_old_roster)
{
    world w;
    world_client c[2];
    admin a = make_admin();

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.admin = a.text;
    w.cfg.rounds = 1;
    w.cfg.target = w.cfg.minimum = 2;
    world_start(&w);
    start_believers(&w, c, 2, &a);
    wait_enrolled(&w, 2);
    ck_ok(sign(&w, &a, NULL));
    world_join(&w);
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    lmb_server_destroy(w.server);
    shell("cp -r %s %s.old", w.state, w.state); /* roster 1 */
    ck_ok(sign(&w, &a, NULL));
    w.cfg.rounds = 2;
    world_start(&w);
    for (int k = 0; k < 2; k++)
        come_back(&w, &c[k], k);
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    lmb_server_destroy(w.server);
    shell("rm -r %s && mv %s.old %s", w.state, w.state, w.state);
    world_start(&w);
    come_back(&w, &c[0], 0);
    world_client_join(&c[0]);
    ck_assert_int_eq(c[0].status, LMB_E_DENIED);
    ck_assert_ptr_nonnull(strstr(c[0].error.msg, "shows roster 1, this client has seen 2"));
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* What a client is told by a server that has no signature, or another admin's. */
START_TEST(only_the_admins_word_counts)
{
    const bool another = _i;
    world w;
    world_client c;
    admin a = make_admin(), wrong = make_admin();

    memset(&c, 0, sizeof c);
    world_open(&w);
    if (another)
        w.cfg.admin = wrong.text;
    w.cfg.rounds = w.cfg.target = w.cfg.minimum = 1;
    world_start(&w);
    start_believers(&w, &c, 1, &a);
    if (another) {
        wait_enrolled(&w, 1);
        ck_ok(sign(&w, &wrong, NULL));
    }
    world_client_join(&c);
    ck_assert_int_eq(c.status, LMB_E_DENIED);
    ck_assert_msg(strstr(c.error.msg, another ? "not signed by this federation's admin" : "has shown no roster") !=
                      NULL,
                  "%s", c.error.msg);
    ck_assert_int_eq(c.trained, 0);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

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

/* A client that waits is told nothing of the model, and what it sends is not looked at. */
START_TEST(waiting_is_outside)
{
    world w;
    raw r;
    lmb_record rec;
    lmb_update_message u = { .round = 1, .n = WORLD_N, .examples = 5 };

    err = (lmb_error)LMB_ERROR_INIT;
    world_open(&w);
    w.cfg.approval = 1;
    w.cfg.target = w.cfg.minimum = 1;
    world_start(&w);
    lmb_token t = raw_invite(&w, &r);
    raw_open(&r, lmb_server_port(w.server), &t, 0);
    ck_assert(raw_shake(&r));
    raw_hello(&r, LMB_FED_VERSION);
    ck_assert(raw_wait(&r, LMB_MSG_REFUSED, &rec)); /* it waits */
    lmb_want want = { { lmb_hash_of(w.initial, WORLD_N * sizeof *w.initial), WORLD_N * sizeof *w.initial }, 0 };
    ck_ok(lmb_message_send(r.channel, LMB_MSG_WANT, &want, &err));
    ck_ok(lmb_message_send(r.channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(&r);
    decide(&w, "1", LMB_CLIENT_APPROVED);
    ck_assert(raw_next(&r, &rec)); /* the very next word is that of the round: no chunk, no HAVE, no refusal */
    ck_assert_int_eq(rec.type, LMB_MSG_TASK);
    raw_close(&r);
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    world_close(&w);
}
END_TEST

/* ---- new keys ---- */

START_TEST(a_client_changes_its_keys)
{
    world w;
    world_client c;
    char was[65], was_sign[65], is[65], is_sign[65];
    lmb_journal_client *list;
    lmb_journal *j;
    size_t n;

    memset(&c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = w.cfg.target = w.cfg.minimum = 1;
    world_start(&w);
    world_client_start(&w, &c, 0, lmb_server_port(w.server));
    world_join(&w);
    world_client_join(&c);
    keys(c.state, "client.key", was);
    keys(c.state, "sign.key", was_sign);
    for (int run = 0; run < 3; run++) { /* asked to; with its new keys; as if killed before the answer arrived */
        lmb_server_destroy(w.server);
        w.cfg.rounds++;
        world_start(&w);
        c.rotate = run == 0;
        if (run == 2) {
            for (int i = 0; i < 2; i++) {
                const char *name = i ? "sign.key" : "client.key";
                shell("cd %s && mv %s %s.next && (umask 077; echo %s > %s)", c.state, name, name, i ? was_sign : was,
                      name);
            }
        }
        come_back(&w, &c, 0);
        world_join(&w);
        world_client_join(&c);
        ck_assert_msg(c.status == LMB_OK, "run %d: %s", run, c.error.msg);
        keys(c.state, "client.key", is);
        keys(c.state, "sign.key", is_sign);
        ck_assert_str_ne(is, was);
        ck_assert_str_ne(is_sign, was_sign);
    }
    j = desk(&w);
    ck_ok(lmb_journal_clients(j, &list, &n, &err));
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(list[0].rounds, 4);
    free(list);
    lmb_journal_close(j);
    world_close(&w);
}
END_TEST

START_TEST(the_server_changes_its_key)
{
    world w;
    world_client c[2];
    char was[65], is[65], path[160];
    lmb_invite before, after;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 2;
    w.cfg.target = 2;
    w.cfg.minimum = 2;
    world_start(&w);
    keys(w.state, "server.key", was);
    world_client_start(&w, &c[0], 0, lmb_server_port(w.server));
    wait_enrolled(&w, 1);
    ck_ok(lmb_server_rotate(w.state, 600, &err));
    ck_assert_int_eq(lmb_server_rotate(w.state, 600, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert(world_says(&w, "both are answered to"));
    world_client_start(&w, &c[1], 1, lmb_server_port(w.server)); /* an invite for the new key */
    ck_ok(lmb_invite_parse(c[0].invite, &before, &err));
    ck_ok(lmb_invite_parse(c[1].invite, &after, &err));
    ck_assert_mem_ne(before.server_public, after.server_public, 32);
    world_join(&w); /* both took part, over either key */
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    lmb_server_destroy(w.server);
    lmb_journal *j = desk(&w);
    ck_ok(lmb_journal_set_rotation(j, (int64_t)time(NULL) - 1, &err)); /* its time is over */
    lmb_journal_close(j);
    w.cfg.rounds = 3;
    world_start(&w); /* the overlap ends with this start */
    keys(w.state, "server.key", is);
    ck_assert_str_ne(is, was);
    snprintf(path, sizeof path, "%s/server.key.next", w.state);
    ck_assert_int_ne(access(path, F_OK), 0);
    for (int k = 0; k < 2; k++) { /* they know the new key, without a new invite */
        come_back(&w, &c[k], k);
    }
    world_join(&w);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "%s", c[k].error.msg);
    }
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/people", add(nobody_takes_part_before_approval);
              add(a_revoked_client_is_out_at_once_and_for_good); add(rounds_wait_for_the_signature);
              add(no_way_back_to_an_old_roster); add_loop(only_the_admins_word_counts, 2);
              add_loop(a_client_sees_through_a_lying_server, sizeof lies / sizeof *lies); add(waiting_is_outside);
              add(a_client_changes_its_keys); add(the_server_changes_its_key); add(one_client_a_folder);)
