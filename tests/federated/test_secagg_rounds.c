/* Mirrors federated/server_secagg.c, client_secagg.c, session.c, secure.c: secure rounds over real sockets. What comes out
 * is the plain sum of integers of those that are in it, to the last bit, whoever left at which stage; and what either side
 * must refuse is refused with a sentence.
 */
#include <math.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "federated/secagg/client.h"
#include "federated/session.h"
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

/* ---- a client that leaves, or cheats ---- */

typedef enum { AT_TASK, AT_KEYS, AT_SHARES, AT_HALF, AT_VECTOR, AT_CONSENT, AT_END } place;

/* Speaks the protocol step by step, by hand. */
typedef struct partner {
    raw r;
    int k;
    lmb_task_message task;
    uint8_t *session;
    lmb_session_head head;
    lmb_roster roster;
    lmb_secagg_client *sum; /* NULL in mode off */
    lmb_str reply;
    uint8_t *packed;
    size_t bytes;
} partner;

static uint8_t *fetch(partner *p, const lmb_blob_id *id)
{
    lmb_want want = { .blob = *id };
    uint8_t *data = malloc(id->bytes + 1);
    lmb_record rec;
    ck_ok(lmb_message_send(p->r.channel, LMB_MSG_WANT, &want, &err));
    raw_flush(&p->r);
    for (uint64_t have = 0; have < id->bytes; have += rec.bytes) {
        ck_assert(raw_wait(&p->r, LMB_MSG_CHUNK, &rec));
        ck_assert_uint_eq(rec.offset, have);
        memcpy(data + have, rec.body, rec.bytes);
    }
    return data;
}

static void say(partner *p, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        lmb_record rec = lmb_piece_at(bytes, n, at);
        ck_ok(lmb_channel_send(p->r.channel, &rec, &err));
        at += rec.bytes;
    }
    raw_flush(&p->r);
}

/* The server's next message of the sum, answered into p->reply. */
static void hear(partner *p)
{
    lmb_message_pieces in = { 0 };
    lmb_record rec;
    bool whole = false;
    while (!whole) {
        ck_assert(raw_wait(&p->r, LMB_MSG_SECAGG, &rec));
        ck_ok(lmb_pieces_take(&in, &rec, 1 << 20, &whole, &err));
    }
    lmb_str_clear(&p->reply);
    ck_ok(lmb_secagg_client_take(p->sum, in.bytes, in.total, &p->reply, &err));
    lmb_pieces_drop(&in);
}

static void answer(partner *p) { say(p, p->reply.text, p->reply.n); }

/* Connects and waits for the task: the last of a round's clients. `sign`: its key, NULL: a fresh one. */
static void partner_join(fed *f, partner *p, int k, const uint8_t *sign)
{
    lmb_token t;
    lmb_record rec;

    memset(p, 0, sizeof *p);
    t = raw_invite(&f->w, &p->r);
    if (sign)
        memcpy(p->r.sign_secret, sign, sizeof p->r.sign_secret);
    p->k = k;
    raw_open(&p->r, lmb_server_port(f->w.server), &t, 0);
    ck_assert(raw_shake(&p->r));
    raw_hello(&p->r, LMB_FED_VERSION);
    ck_assert(raw_wait(&p->r, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &p->task, &err));
    ck_assert_str_eq(p->task.codec, "ring");
}

static void partner_begin(partner *p)
{
    const uint8_t *roster;
    size_t n;
    p->session = fetch(p, &p->task.session);
    ck_ok(lmb_session_read(p->session, p->task.session.bytes, &p->head, &roster, &n, &err));
    if (p->head.mode == LMB_SECURE_OFF)
        return;
    ck_ok(lmb_roster_open(&p->roster, roster, n, &p->head.federation, p->head.admin, &err));
    lmb_secagg_session session = lmb_session_of(&p->head, &p->task);
    lmb_secagg_client_setup setup = { .session = &session, .roster = &p->roster, .sign_secret = p->r.sign_secret,
                                      .trust = lmb_secagg_trust_default(session.mode) };
    for (uint32_t i = 0; i < p->roster.n; i++)
        if (memcmp(p->roster.row[i].key, lmb_sign_public(p->r.sign_secret), LMB_SIGN_PUBLIC) == 0)
            setup.id = p->roster.row[i].id;
    ck_ok(lmb_secagg_client_create(&setup, &p->sum, &p->reply, &err));
}

/* What world_train would make of round 1, as integers, hidden. Leaves MASKED in p->reply. */
static void partner_vector(const world *w, partner *p)
{
    lmb_secagg_coding c = lmb_session_coding(&p->head, WORLD_N);
    uint8_t seed[LMB_SECAGG_SEED];
    float *x = malloc(WORLD_N * sizeof *x);
    lmb_ring_vector v;

    for (int i = 0; i < WORLD_N; i++)
        x[i] = 0.5f * ((float)(p->k + 1) + (float)(i % 3) * 0.01f - w->initial[i]);
    lmb_session_seed(&p->task, seed);
    ck_ok(lmb_ring_init(&v, c.ring_bits, WORLD_N + 1, &err));
    ck_ok(lmb_secagg_encode(&c, x, (uint64_t)(10 * (p->k + 1)), seed, &v, &err));
    lmb_str_clear(&p->reply);
    if (p->sum)
        ck_ok(lmb_secagg_client_mask(p->sum, &v, NULL, &p->reply, &err));
    p->bytes = lmb_pack_bytes(c.ring_bits, WORLD_N + 1);
    p->packed = malloc(p->bytes);
    lmb_pack(&v, 0, v.n, p->packed);
    lmb_ring_deinit(&v);
    free(x);
}

static lmb_update_message partner_update(const partner *p)
{
    lmb_update_message m = { .round = p->task.round, .layout = p->task.layout, .model = p->task.model.hash, .n = p->task.n, .examples = 1,
                             .blob = { lmb_hash_of(p->packed, p->bytes), p->bytes } };
    strcpy(m.codec, "ring");
    return m;
}

static void partner_upload(partner *p, const lmb_update_message *m, size_t bytes)
{
    ck_ok(lmb_message_send(p->r.channel, LMB_MSG_UPDATE, m, &err));
    raw_flush(&p->r);
    for (size_t at = 0; at < bytes; at += LMB_RECORD_BODY) {
        lmb_record rec = { LMB_MSG_CHUNK, 0, at, p->packed + at, bytes - at < LMB_RECORD_BODY ? bytes - at : LMB_RECORD_BODY };
        ck_ok(lmb_channel_send(p->r.channel, &rec, &err));
    }
    raw_flush(&p->r);
}

/* Takes part until `last`, which it does not do. */
static void partner_play(const world *w, partner *p, place last)
{
    lmb_record rec;
    if (last == AT_TASK)
        return;
    partner_begin(p);
    if (p->sum) {
        answer(p); /* ADVERTISE */
        if (last == AT_KEYS)
            return;
        hear(p);
        if (last == AT_SHARES)
            return;
        answer(p);
        hear(p); /* BOXES */
    }
    partner_vector(w, p);
    if (p->sum)
        answer(p); /* MASKED */
    lmb_update_message m = partner_update(p);
    partner_upload(p, &m, last == AT_HALF ? p->bytes / 2 : p->bytes);
    if (last == AT_HALF)
        return;
    ck_assert(raw_wait(&p->r, LMB_MSG_ACCEPTED, &rec));
    if (!p->sum || last == AT_VECTOR)
        return;
    hear(p);
    if (last == AT_CONSENT)
        return;
    answer(p);
    if (!lmb_secagg_client_done(p->sum)) {
        hear(p);
        answer(p);
    }
    ck_assert(lmb_secagg_client_done(p->sum));
}

static void partner_close(partner *p)
{
    if (p->r.channel)
        raw_close(&p->r);
    lmb_secagg_client_destroy(p->sum);
    lmb_roster_close(&p->roster);
    lmb_str_free(&p->reply);
    free(p->session);
    free(p->packed);
}

/* Four clients and one that plays until `last`. The roster of mode malicious is signed by somebody else. */
static float *model_with(const char *secure, bool roster, place last, unsigned updates)
{
    enum { N = 4 };
    static char client[160];
    char path[160], text[400], hex[65];
    uint8_t admin[LMB_SIGN_SECRET], admin_public[LMB_SIGN_PUBLIC], server_secret[32], server_public[32], sign[N + 1][LMB_SIGN_SECRET];
    lmb_roster_row rows[N + 1];
    lmb_str bytes = LMB_STR_INIT;
    lmb_hash federation;
    float *model = malloc(WORLD_N * sizeof *model);
    partner p;
    fed f;

    fed_open(&f, secure, N + 1);
    if (roster) {
        crypto_sign_keypair(admin_public, admin);
        sodium_bin2hex(hex, sizeof hex, admin_public, sizeof admin_public);
        for (int k = 0; k <= N; k++) {
            snprintf(path, sizeof path, "%s/client-%d", f.w.dir, k);
            ck_ok(lmb_file_make_dirs(path, &err));
            strcat(path, "/sign.key");
            ck_ok(lmb_sign_file(path, sign[k], &err));
            rows[k].id = (uint32_t)k + 101;
            memcpy(rows[k].key, lmb_sign_public(sign[k]), LMB_SIGN_PUBLIC);
        }
        ck_ok(lmb_file_make_dirs(f.w.state, &err));
        snprintf(path, sizeof path, "%s/server.key", f.w.state);
        ck_ok(lmb_key_file(path, server_secret, &err));
        lmb_noise_public(server_secret, server_public);
        federation = lmb_session_federation(server_public);
        ck_ok(lmb_roster_sign(rows, N + 1, &federation, admin, &bytes, &err));
        snprintf(path, sizeof path, "%s/roster", f.w.dir);
        ck_ok(lmb_file_write(path, bytes.text, bytes.n, &err));
        lmb_str_free(&bytes);
        snprintf(text, sizeof text, "{clip: 4, mode: malicious, roster: %s, admin: \"%s\"}", path, hex);
        lmb_config_destroy(f.secure);
        f.secure = parse(text);
        f.w.cfg.secure_aggregation = lmb_config_root(f.secure);
        snprintf(client, sizeof client, "{required: true, mode: malicious, admin: \"%s\"}", hex);
        f.client = parse(client);
        for (int k = 0; k < N; k++)
            people[k].secure = lmb_config_root(f.client);
    }
    f.w.cfg.rounds = 1;
    f.w.cfg.minimum = 4;
    f.w.cfg.reconnect_s = 0.2;
    f.w.cfg.gather_s = 1000;
    world_start(&f.w);
    fed_clients(&f, N);
    partner_join(&f, &p, N, roster ? sign[N] : NULL);
    partner_play(&f.w, &p, last);
    if (last == AT_END)
        ck_assert(raw_wait(&p.r, LMB_MSG_DONE, &(lmb_record){ 0 }));
    raw_close(&p.r);
    p.r.channel = NULL;
    fed_join(&f, N);
    ck_assert(f.w.reports[1].committed);
    ck_assert_uint_eq(f.w.reports[1].updates, updates);
    memcpy(model, lmb_server_model(f.w.server), WORLD_N * sizeof *model);
    partner_close(&p);
    fed_close(&f);
    return model;
}

START_TEST(a_client_leaves_at_every_stage)
{
    static const struct {
        place last;
        bool malicious, in_sum;
    } rows[] = {
        { AT_TASK, false, false }, { AT_KEYS, false, false }, { AT_SHARES, false, false }, { AT_HALF, false, false },
        { AT_VECTOR, false, true }, { AT_END, false, true },  { AT_SHARES, true, false },  { AT_HALF, true, false },
        { AT_VECTOR, true, true },  { AT_CONSENT, true, true }, { AT_END, true, true },
    };
    float *with = model_with("{mode: off, clip: 4}", false, AT_END, 5), *without = model_with("{mode: off, clip: 4}", false, AT_TASK, 4);
    ck_assert_mem_ne(with, without, WORLD_N * sizeof *with);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float *model = model_with("{clip: 4}", rows[i].malicious, rows[i].last, rows[i].in_sum ? 5 : 4);
        ck_assert_msg(memcmp(model, rows[i].in_sum ? with : without, WORLD_N * sizeof *model) == 0, "case %zu", i);
        free(model);
    }
    free(with);
    free(without);
}
END_TEST

LMB_TEST_MAIN("federated/secagg_rounds", add(hidden_or_in_the_clear_the_sum_is_the_same); add(a_client_leaves_at_every_stage);)
