/* tests/federated/secagg_partner.h - one client of a secure sum that speaks the protocol step by step, by hand: it can
 * leave at any stage, come back, or cheat. The others are honest (secagg_fed.h). */
#ifndef LMB_TESTS_FEDERATED_SECAGG_PARTNER_H
#define LMB_TESTS_FEDERATED_SECAGG_PARTNER_H

#include "federated/papers.h"
#include "federated/secagg/client.h"
#include "federated/session.h"
#include "tests/federated/secagg_fed.h"

typedef enum { AT_TASK, AT_KEYS, AT_SHARES, AT_HALF, AT_VECTOR, AT_CONSENT, AT_END } place;

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

static inline uint8_t *fetch(partner *p, const lmb_blob_id *id)
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

static inline void say(partner *p, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        lmb_record rec = lmb_piece_at(bytes, n, at);
        ck_ok(lmb_channel_send(p->r.channel, &rec, &err));
        at += rec.bytes;
    }
    raw_flush(&p->r);
}

/* The server's next message of the sum. */
static inline lmb_message_pieces next(partner *p)
{
    lmb_message_pieces in = { 0 };
    lmb_record rec;
    bool whole = false;
    while (!whole) {
        ck_assert(raw_wait(&p->r, LMB_MSG_SECAGG, &rec));
        ck_ok(lmb_pieces_take(&in, &rec, 1 << 20, &whole, &err));
    }
    return in;
}

/* And the answer to it in p->reply. */
static inline void hear(partner *p)
{
    lmb_message_pieces in = next(p);
    lmb_str_clear(&p->reply);
    ck_ok(lmb_secagg_client_take(p->sum, in.bytes, in.total, &p->reply, &err));
    lmb_pieces_drop(&in);
}

static inline void answer(partner *p) { say(p, p->reply.text, p->reply.n); }

/* What the admin does, with all that have enrolled. */
static inline void sign_roster(fed *f)
{
    uint8_t admin_public[LMB_SIGN_PUBLIC];
    lmb_str plain = LMB_STR_INIT, done = LMB_STR_INIT;
    lmb_journal *j;

    memcpy(admin_public, lmb_sign_public(f->admin), sizeof admin_public);
    ck_ok(lmb_journal_open(f->w.state, &j, &err));
    ck_ok(lmb_journal_roster_export(j, &plain, &err));
    ck_ok(lmb_roster_sign((uint8_t *)plain.text, plain.n, f->admin, &done, &err));
    ck_ok(lmb_journal_roster_import(j, done.text, done.n, admin_public, &err));
    lmb_journal_close(j);
    lmb_str_free(&plain);
    lmb_str_free(&done);
}

/* Connects and waits for the task: the last of a round's clients. */
static inline void partner_join(fed *f, partner *p, int k)
{
    lmb_token t;
    lmb_record rec;

    memset(p, 0, sizeof *p);
    t = raw_invite(&f->w, &p->r);
    p->k = k;
    raw_open(&p->r, lmb_server_port(f->w.server), &t, 0);
    ck_assert(raw_shake(&p->r));
    raw_hello(&p->r, LMB_FED_VERSION);
    if (*f->w.cfg.admin) {
        raw_flush(&p->r);
        ck_assert(world_says(&f->w, "(mallory"));
        sign_roster(f);
    }
    ck_assert(raw_wait(&p->r, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &p->task, &err));
    ck_assert_str_eq(p->task.codec, "ring");
}

static inline void partner_begin(partner *p)
{
    const uint8_t *roster;
    size_t n;
    p->session = fetch(p, &p->task.session);
    ck_ok(lmb_session_read(p->session, p->task.session.bytes, &p->head, &roster, &n, &err));
    if (p->head.mode == LMB_SECURE_OFF)
        return;
    ck_ok(lmb_roster_open(&p->roster, roster, n, NULL, p->head.admin, &err));
    lmb_secagg_session session = lmb_session_of(&p->head, &p->task);
    lmb_secagg_client_setup setup = { .session = &session, .roster = &p->roster, .sign_secret = p->r.sign_secret,
                                      .trust = lmb_secagg_trust_default(session.mode) };
    for (uint32_t i = 0; i < p->roster.n; i++)
        if (memcmp(p->roster.row[i].key, lmb_sign_public(p->r.sign_secret), LMB_SIGN_PUBLIC) == 0)
            setup.id = p->roster.row[i].id;
    ck_ok(lmb_secagg_client_create(&setup, &p->sum, &p->reply, &err));
}

/* What world_train would make of round 1, as integers, hidden. Leaves MASKED in p->reply. */
static inline void partner_vector(const world *w, partner *p)
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

static inline lmb_update_message partner_update(const partner *p)
{
    lmb_update_message m = { .round = p->task.round, .layout = p->task.layout, .model = p->task.model.hash,
                             .n = p->task.n, .examples = 1,
                             .blob = { lmb_hash_of(p->packed, p->bytes), p->bytes } };
    strcpy(m.codec, "ring");
    return m;
}

static inline void partner_upload(partner *p, const lmb_update_message *m, size_t bytes)
{
    ck_ok(lmb_message_send(p->r.channel, LMB_MSG_UPDATE, m, &err));
    raw_flush(&p->r);
    for (size_t at = 0; at < bytes; at += LMB_RECORD_BODY) {
        lmb_record rec = { LMB_MSG_CHUNK, 0, at, p->packed + at,
                           bytes - at < LMB_RECORD_BODY ? bytes - at : LMB_RECORD_BODY };
        ck_ok(lmb_channel_send(p->r.channel, &rec, &err));
    }
    raw_flush(&p->r);
}

/* Takes part until `last`, which it does not do. */
static inline void partner_play(const world *w, partner *p, place last)
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

static inline void partner_close(partner *p)
{
    if (p->r.channel)
        raw_close(&p->r);
    lmb_secagg_client_destroy(p->sum);
    lmb_roster_close(&p->roster);
    lmb_str_free(&p->reply);
    free(p->session);
    free(p->packed);
}

/* The people who run the federation send it away: it hears so. */
static inline void revoke_partner(world *w, partner *p)
{
    lmb_journal_client *list;
    lmb_record rec;
    lmb_journal *j;
    size_t n;

    ck_ok(lmb_journal_open(w->state, &j, &err));
    ck_ok(lmb_journal_clients(j, &list, &n, &err));
    for (size_t i = 0; i < n; i++)
        if (strncmp(list[i].name, "mallory", 7) == 0)
            ck_ok(lmb_journal_set_state(j, list[i].id, LMB_CLIENT_REVOKED, &err));
    free(list);
    lmb_journal_close(j);
    ck_assert(raw_wait(&p->r, LMB_MSG_REFUSED, &rec));
}

/* Four clients and one that plays until `last`, and is revoked then, or leaves. */
static inline float *model_with(const char *secure, place last, unsigned updates, bool revoked)
{
    enum { N = 4 };
    uint8_t admin_public[LMB_SIGN_PUBLIC];
    bool malicious = strstr(secure, "malicious") != NULL;
    float *model = malloc(WORLD_N * sizeof *model);
    partner p;
    fed f;

    fed_open(&f, secure, N + 1);
    if (malicious) {
        crypto_sign_keypair(admin_public, f.admin);
        sodium_bin2hex(f.admin_text, sizeof f.admin_text, admin_public, sizeof admin_public);
        f.w.cfg.admin = f.admin_text;
        f.client = parse("{required: true, mode: malicious}");
        for (int k = 0; k < N; k++) {
            people[k].admin = f.admin_text;
            people[k].secure = lmb_config_root(f.client);
        }
    }
    f.w.cfg.rounds = 1;
    f.w.cfg.minimum = 4;
    f.w.cfg.reconnect_s = revoked ? 1000 : 0.1; /* nobody waits for who was revoked */
    f.w.cfg.gather_s = 1000;
    world_start(&f.w);
    fed_clients(&f, N);
    partner_join(&f, &p, N);
    partner_play(&f.w, &p, last);
    if (revoked)
        revoke_partner(&f.w, &p);
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

#endif
