/* Mirrors federated/server_secagg.c, client_secagg.c, session.c, secure.c: secure rounds over real sockets. What comes out
 * is the plain sum of integers of those that are in it, to the last bit, whoever left at which stage; and what either side
 * must refuse is refused with a sentence.
 */
#include <math.h>
#include <sqlite3.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "federated/papers.h"
#include "federated/secagg/client.h"
#include "federated/session.h"
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

static float *model_of(const char *secure, int clients, int64_t device)
{
    fed f;
    float *model = malloc(WORLD_N * sizeof *model);
    fed_open(&f, secure, clients);
    f.w.cfg.device = device;
    world_start(&f.w);
    fed_clients(&f, clients);
    fed_join(&f, clients);
    if (device == LMB_SERVER_CUDA) /* where there is none, with a sentence; else on the played one */
        ck_assert(world_says(&f.w, getenv("LMB_CUDA_MODULE") ? "masks come off on a played GPU" : "masks come off on the processor: "));
    ck_assert_uint_eq(f.w.reports[2].updates, (unsigned)clients);
    ck_assert_uint_eq(f.w.reports[2].examples, 10u * (unsigned)(clients * (clients + 1) / 2));
    ck_assert_uint_eq(f.w.reports[2].clients.n, 0); /* nobody's metrics */
    memcpy(model, lmb_server_model(f.w.server), WORLD_N * sizeof *model);
    fed_close(&f);
    return model;
}

START_TEST(hidden_or_in_the_clear_the_sum_is_the_same)
{
    float *open = model_of("{mode: off, clip: 4}", 4, LMB_SERVER_CPU), *hidden = model_of("{clip: 4}", 4, LMB_SERVER_CPU);
    float *by_gpu = model_of("{clip: 4}", 4, LMB_SERVER_CUDA);
    ck_assert_mem_eq(open, hidden, WORLD_N * sizeof *open);
    ck_assert_mem_eq(open, by_gpu, WORLD_N * sizeof *open);
    /* and it is the mean: clients k pull half of the way to k + 1, with weights 10, 20, 30, 40: to 3 */
    for (int i = 0; i < WORLD_N; i++) {
        double to = 3 + (i % 3) * 0.01, from = (i % 7) * 0.1f;
        ck_assert_double_lt(fabs(hidden[i] - (to - 0.25 * (to - from))), 4.0 / 32767);
    }
    free(open);
    free(hidden);
    free(by_gpu);
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

/* The server's next message of the sum. */
static lmb_message_pieces next(partner *p)
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
static void hear(partner *p)
{
    lmb_message_pieces in = next(p);
    lmb_str_clear(&p->reply);
    ck_ok(lmb_secagg_client_take(p->sum, in.bytes, in.total, &p->reply, &err));
    lmb_pieces_drop(&in);
}

static void answer(partner *p) { say(p, p->reply.text, p->reply.n); }

/* What the admin does, with all that have enrolled. */
static void sign_roster(fed *f)
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
static void partner_join(fed *f, partner *p, int k)
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

static void partner_begin(partner *p)
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

/* The people who run the federation send it away: it hears so. */
static void revoke_partner(world *w, partner *p)
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
static float *model_with(const char *secure, place last, unsigned updates, bool revoked)
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

START_TEST(a_client_leaves_at_every_stage)
{
    static const struct {
        place last;
        bool malicious, in_sum, revoked;
    } rows[] = {
        { AT_TASK, false, false }, { AT_KEYS, false, false }, { AT_SHARES, false, false }, { AT_HALF, false, false },
        { AT_VECTOR, false, true }, { AT_END, false, true },  { AT_SHARES, true, false },  { AT_HALF, true, false },
        { AT_VECTOR, true, true },  { AT_CONSENT, true, true }, { AT_END, true, true },
        { AT_KEYS, false, false, true }, { AT_SHARES, false, false, true }, { AT_HALF, false, false, true },
        { AT_VECTOR, false, true, true }, { AT_CONSENT, true, true, true },
    };
    float *with = model_with("{mode: off, clip: 4}", AT_END, 5, false),
          *without = model_with("{mode: off, clip: 4}", AT_TASK, 4, false);
    ck_assert_mem_ne(with, without, WORLD_N * sizeof *with);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float *model = model_with(rows[i].malicious ? "{clip: 4, mode: malicious}" : "{clip: 4}", rows[i].last,
                                  rows[i].in_sum ? 5 : 4, rows[i].revoked);
        ck_assert_msg(memcmp(model, rows[i].in_sum ? with : without, WORLD_N * sizeof *model) == 0, "case %zu", i);
        free(model);
    }
    free(with);
    free(without);
}
END_TEST

/* ---- lost connections, restarts ---- */

static void alive(partner *p, double seconds)
{
    lmb_alive m = { .round = 1 };
    for (double end = lmb_seconds() + seconds; lmb_seconds() < end; usleep(100000)) {
        ck_ok(lmb_message_send(p->r.channel, LMB_MSG_ALIVE, &m, &err));
        raw_flush(&p->r);
    }
}

/* The connection is lost; the same client comes back, and is told the task again. */
static void come_back(fed *f, partner *p, uint64_t time)
{
    lmb_task_message task;
    lmb_record rec;
    raw_close(&p->r);
    raw_open(&p->r, lmb_server_port(f->w.server), NULL, time);
    ck_assert(raw_shake(&p->r));
    raw_hello(&p->r, LMB_FED_VERSION);
    ck_assert(raw_wait(&p->r, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &task, &err));
    ck_assert_mem_eq(&task.session, &p->task.session, sizeof task.session);
}

/* Everybody's connection is lost at every stage: the partner's because it hangs up, the others' because the server finds
 * them silent for too long while the partner takes its time. It all goes on. */
START_TEST(connections_are_lost_at_every_stage)
{
    float *with = model_with("{mode: off, clip: 4}", AT_END, 5, false);
    lmb_record rec;
    partner p;
    fed f;

    fed_open(&f, "{clip: 4}", 5);
    f.w.cfg.rounds = 1;
    f.w.cfg.idle_s = 4;
    f.w.cfg.gather_s = 1000;
    f.w.cfg.target = f.w.cfg.minimum = 5;
    world_start(&f.w);
    fed_clients(&f, 4);
    partner_join(&f, &p, 4);
    partner_begin(&p);
    come_back(&f, &p, 1);
    answer(&p);
    alive(&p, 4.5);
    come_back(&f, &p, 2); /* KEYS comes again */
    answer(&p);           /* ADVERTISE once more: it changes nothing */
    hear(&p);
    alive(&p, 4.5);
    come_back(&f, &p, 3);
    lmb_message_pieces again = next(&p); /* KEYS once more */
    ck_assert_uint_eq(again.bytes[0], LMB_SECAGG_KEYS);
    lmb_pieces_drop(&again);
    answer(&p); /* SHARES */
    hear(&p);
    alive(&p, 4.5);
    partner_vector(&f.w, &p);
    lmb_update_message m = partner_update(&p);
    answer(&p);
    partner_upload(&p, &m, p.bytes / 2);
    ck_assert(raw_wait(&p.r, LMB_MSG_HAVE, &rec));
    alive(&p, 4.5);
    come_back(&f, &p, 4);
    answer(&p);
    ck_ok(lmb_message_send(p.r.channel, LMB_MSG_UPDATE, &m, &err));
    ck_assert(raw_wait(&p.r, LMB_MSG_HAVE, &rec));
    lmb_want have;
    ck_ok(lmb_message_read(&rec, &have, &err));
    ck_assert_uint_eq(have.offset, p.bytes / 2 / LMB_RECORD_BODY * LMB_RECORD_BODY + p.bytes / 2 % LMB_RECORD_BODY); /* nothing is sent twice */
    for (size_t at = have.offset; at < p.bytes; at += LMB_RECORD_BODY) {
        lmb_record c = { LMB_MSG_CHUNK, 0, at, p.packed + at, p.bytes - at < LMB_RECORD_BODY ? p.bytes - at : LMB_RECORD_BODY };
        ck_ok(lmb_channel_send(p.r.channel, &c, &err));
    }
    raw_flush(&p.r);
    ck_assert(raw_wait(&p.r, LMB_MSG_ACCEPTED, &rec));
    come_back(&f, &p, 5);
    ck_ok(lmb_message_send(p.r.channel, LMB_MSG_UPDATE, &m, &err)); /* as if ACCEPTED had been lost */
    raw_flush(&p.r);
    hear(&p); /* DROPPED */
    alive(&p, 4.5);
    answer(&p);
    ck_assert(raw_wait(&p.r, LMB_MSG_DONE, &rec));
    raw_close(&p.r);
    p.r.channel = NULL;
    fed_join(&f, 4);
    ck_assert(world_said(&f.w, "was silent for 4 s"));
    ck_assert_uint_eq(f.w.reports[1].updates, 5);
    ck_assert_mem_eq(lmb_server_model(f.w.server), with, WORLD_N * sizeof *with);
    partner_close(&p);
    fed_close(&f);
    free(with);
}
END_TEST

static void restart(fed *f)
{
    lmb_server_stop(f->w.server);
    usleep(100000);
    lmb_server_stop(f->w.server); /* at once, not politely */
    pthread_join(f->w.thread, NULL);
    ck_assert_int_eq(f->w.status, LMB_E_STOPPED);
    f->w.cfg.port = lmb_server_port(f->w.server);
    lmb_server_destroy(f->w.server);
    world_start(&f->w);
}

/* A server that is gone in the middle of a session begins another: the round is repeated with secrets of its own, and the
 * result is the same. */
START_TEST(a_restarted_server_begins_another_session)
{
    float *open = model_of("{mode: off, clip: 4}", 4, LMB_SERVER_CPU);
    fed f;
    fed_open(&f, "{clip: 4}", 4);
    for (int k = 0; k < 4; k++)
        people[k].seconds = k == 3 ? 4 : 0;
    world_start(&f.w);
    fed_clients(&f, 4);
    ck_assert(world_says(&f.w, "round 1 begins"));
    for (int i = 0; i < 6000 && !(people[0].trained && people[1].trained && people[2].trained); i++)
        usleep(10000);
    usleep(500000); /* three vectors are there, one is not */
    people[3].seconds = 0;
    restart(&f);
    fed_join(&f, 4);
    ck_assert_mem_eq(lmb_server_model(f.w.server), open, WORLD_N * sizeof *open);
    ck_assert_int_eq(people[0].trained, 3);
    fed_close(&f);
    free(open);
}
END_TEST

/* Somebody's hand in the journal, while no server runs. */
static void meddle(const char *state_dir, const char *sql)
{
    char path[300];
    sqlite3 *db;

    ck_ok(lmb_path_join(path, sizeof path, state_dir, "journal.db", &err));
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* A number that damage made would be one that clients have answered: the server says so, and does not begin. */
START_TEST(a_damaged_number_is_told)
{
    static const char *const damaged[] = { "x'07'", "x'0000000000000000'", "x'ffffffffffffffff'",
                                           "x'010000000000000000'", "'garbage'", "x''", "NULL" };
    char sql[120];
    fed f;

    fed_open(&f, "{clip: 4}", 3);
    ck_ok(lmb_server_create(&f.w.cfg, &f.w.job, &f.w.server, &err)); /* makes the folder */
    lmb_server_destroy(f.w.server);
    f.w.server = NULL;
    for (size_t k = 0; k < sizeof damaged / sizeof *damaged; k++) {
        lmb_server *s = NULL;
        err = (lmb_error)LMB_ERROR_INIT;
        snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO papers (name, bytes) VALUES ('secure-sum', %s)", damaged[k]);
        meddle(f.w.state, sql);
        ck_assert_msg(lmb_server_create(&f.w.cfg, &f.w.job, &s, &err) == LMB_E_FORMAT, "'%s'", damaged[k]);
        ck_assert_msg(strstr(err.msg, "number of the last secure sum") || strstr(err.msg, "'secure-sum' in it"), "%s",
                      err.msg);
    }
    fed_close(&f);
}
END_TEST

/* Whoever shortens the admin's key makes nobody's word count, not anybody's. */
START_TEST(a_damaged_admin_is_told)
{
    static const char *const damaged[] = { "x'07'", "x''", "NULL" };
    char sql[120];
    fed f;

    fed_open(&f, "{clip: 4}", 3);
    for (size_t k = 0; k < sizeof damaged / sizeof *damaged; k++) {
        uint8_t key[LMB_SIGN_PUBLIC];
        lmb_journal *j;
        bool known;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_journal_open(f.w.state, &j, &err));
        snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO papers (name, bytes) VALUES ('admin', %s)", damaged[k]);
        meddle(f.w.state, sql);
        ck_assert_msg(lmb_journal_admin(j, key, &known, &err) == LMB_E_FORMAT, "'%s'", damaged[k]);
        ck_assert_ptr_nonnull(strstr(err.msg, "'admin' in it"));
        lmb_journal_close(j);
    }
    fed_close(&f);
}
END_TEST

/* The server forgets which numbers it has used, or plays an old one again: clients that have answered do not do so twice,
 * not even after they were started anew. */
START_TEST(a_sum_is_answered_once)
{
    fed f;
    fed_open(&f, "{clip: 4}", 4);
    f.w.cfg.rounds = 1;
    world_start(&f.w);
    fed_clients(&f, 4);
    fed_join(&f, 4);
    lmb_server_destroy(f.w.server);
    meddle(f.w.state, "DELETE FROM papers WHERE name = 'secure-sum'");
    f.w.cfg.rounds = 2;
    world_start(&f.w);
    for (int k = 0; k < 4; k++) {
        f.c[k].invite[0] = 0; /* the port is another one */
        world_client_start(&f.w, &f.c[k], k, lmb_server_port(f.w.server));
    }
    fed_join(&f, 4);
    ck_assert(world_said(&f.w, "it could not train: the server begins secure sum 1; this client has answered number 1, and answers each once"));
    ck_assert(!f.w.reports[2].committed && f.w.reports[2].updates == 0);
    fed_close(&f);
}
END_TEST

/* ---- what is refused ---- */

/* One client of five does not keep to the protocol. The others' sum is what it is without it. */
typedef enum { WRONG_SESSION, OVERSIZE, AHEAD, NOT_SIGNED, LATE, METRICS, EXAMPLES, SHORT, ANOTHER_CODEC, BAD_HASH, NO_MASKED } offence;

static void offend(const world *w, partner *p, offence what)
{
    uint8_t junk[100] = { 0 };
    lmb_record rec = { LMB_MSG_SECAGG, UINT32_MAX, 0, junk, sizeof junk };

    partner_begin(p);
    switch (what) {
    case WRONG_SESSION: p->reply.text[1] ^= 1; answer(p); return;
    case NOT_SIGNED: p->reply.text[p->reply.n - 1] ^= 1; answer(p); return;
    case OVERSIZE: ck_ok(lmb_channel_send(p->r.channel, &rec, &err)); raw_flush(&p->r); return;
    case AHEAD:
        junk[0] = LMB_SECAGG_REVEAL;
        say(p, junk, sizeof junk);
        return;
    default: break;
    }
    answer(p);
    hear(p);
    answer(p);
    hear(p);
    partner_vector(w, p);
    lmb_update_message m = partner_update(p);
    if (what == LATE) { /* it says that it can not, is let go, and sends its vector all the same */
        lmb_round_note note = { .round = 1, .sentence = "no time" };
        ck_ok(lmb_message_send(p->r.channel, LMB_MSG_FAILED, &note, &err));
        ck_assert(raw_wait(&p->r, LMB_MSG_REFUSED, &rec));
    }
    if (what != NO_MASKED)
        answer(p);
    if (what == METRICS)
        lmb_figures_add(&m.metrics, "loss", 1);
    if (what == EXAMPLES)
        m.examples = 50;
    if (what == SHORT)
        m.blob.bytes--;
    if (what == ANOTHER_CODEC)
        strcpy(m.codec, "f32");
    if (what == BAD_HASH)
        p->packed[7] ^= 1;
    ck_ok(lmb_message_send(p->r.channel, LMB_MSG_UPDATE, &m, &err));
    raw_flush(&p->r);
    if (what == METRICS || what == BAD_HASH || what == NO_MASKED)
        partner_upload(p, &m, p->bytes);
}

START_TEST(a_client_that_cheats_is_out)
{
    static const struct {
        offence what;
        const char *why;
    } rows[] = {
        { WRONG_SESSION, "speaks of another session" }, { NOT_SIGNED, "client 5" },
        { OVERSIZE, "a message of 4294967295 bytes for a secure sum" }, { AHEAD, "it could not train|owes|REVEAL|ADVERTISE" },
        { LATE, "it could not train: no time" }, { METRICS, "the update comes with metrics" }, { EXAMPLES, "allowed are 1 to 1" },
        { SHORT, "values take" }, { ANOTHER_CODEC, "this server asked for ring" }, { BAD_HASH, "its hash differs" },
        { NO_MASKED, "MASKED" },
    };
    float *without = model_with("{mode: off, clip: 4}", AT_TASK, 4, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        partner p;
        fed f;
        mark_point();
        fed_open(&f, "{clip: 4}", 5);
        f.w.cfg.rounds = 1;
        f.w.cfg.minimum = 4;
        f.w.cfg.reconnect_s = 0.1;
        f.w.cfg.gather_s = 1000;
        world_start(&f.w);
        fed_clients(&f, 4);
        partner_join(&f, &p, 4);
        offend(&f.w, &p, rows[i].what);
        ck_assert_msg(world_says(&f.w, "round 1 goes on without client 5"), "case %zu", i);
        if (!strchr(rows[i].why, '|'))
            ck_assert_msg(world_said(&f.w, rows[i].why), "case %zu: %s", i, f.w.text);
        raw_close(&p.r);
        p.r.channel = NULL;
        fed_join(&f, 4);
        ck_assert_uint_eq(f.w.reports[1].updates, 4);
        ck_assert_mem_eq(lmb_server_model(f.w.server), without, WORLD_N * sizeof *without);
        partner_close(&p);
        fed_close(&f);
    }
    free(without);
}
END_TEST

/* What a client insists on it gets, or it does not take part. */
START_TEST(a_client_refuses)
{
    static const struct {
        const char *server, *client, *why;
    } rows[] = {
        { NULL, "{required: true}", "the server does not offer secure aggregation, and this client takes part under nothing else" },
        { "{mode: off, clip: 4}", "{required: true}", "the server wants updates in the clear" },
        { "{clip: 4}", "{required: true, mode: malicious}", NULL },
        { "{clip: 4}", "{required: true, floor: 0.9}", "threshold" },
        { "{clip: 4}", "{clients_min: 9}", "4 clients take part, this client wants 9 at least" },
        { "{clip: 4, neighbours: 2, threshold: 2}", "{neighbours_min: 3}", "the server gives 2 neighbours, this client wants 3 at least" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fed f;
        mark_point();
        fed_open(&f, rows[i].server ? rows[i].server : "{}", 4);
        if (!rows[i].server)
            f.w.cfg.secure_aggregation = NULL;
        f.client = parse(rows[i].client);
        if (!rows[i].why) { /* the settings themselves */
            lmb_client_config cfg;
            lmb_client *c;
            lmb_fields_default(lmb_client_fields, &cfg);
            cfg.state_dir = f.w.dir;
            cfg.secure_aggregation = lmb_config_root(f.client);
            ck_assert_int_eq(lmb_client_create(&cfg, "", &(lmb_local_trainer){ 0 }, NULL, &c, &err), LMB_E_ARG);
            ck_assert_ptr_nonnull(strstr(err.msg, "the public key of the federation's admin (client.admin)"));
            fed_close(&f);
            continue;
        }
        f.w.cfg.rounds = 1;
        for (int k = 0; k < 4; k++)
            people[k].secure = lmb_config_root(f.client);
        world_start(&f.w);
        fed_clients(&f, 4);
        fed_join(&f, 4);
        ck_assert(!f.w.reports[1].committed);
        ck_assert_msg(world_said(&f.w, rows[i].why), "case %zu: %s", i, f.w.text);
        fed_close(&f);
    }
}
END_TEST

/* What could wrap, tell, or never succeed is refused before anyone joins. */
START_TEST(configurations)
{
    static const struct {
        const char *yaml, *why; /* why NULL: is taken */
    } rows[] = {
        { "{secure_aggregation: {clip: 0.1}}", NULL },
        { "{secure_aggregation: {clip: 0.1}, aggregator: fedadam}", NULL },
        { "{secure_aggregation: {}}", "secure_aggregation.clip is missing" },
        { "{secure_aggregation: {clip: 0.1, ring_bits: 20}}", "needs a ring of 30 bits, it has 20" },
        { "{secure_aggregation: {clip: 0.1, value_bits: 24, weight_max: 268435456}, target: 100000}", "needs a ring of" },
        { "{secure_aggregation: {clip: 0.1}, aggregator: median}", "aggregator median needs more than the sum" },
        { "{secure_aggregation: {clip: 0.1}, aggregator: krum}", "aggregator krum needs more than the sum" },
        { "{secure_aggregation: {clip: 0.1}, aggregator: scaffold}", "aggregator scaffold needs more than the sum" },
        { "{secure_aggregation: {clip: 0.1}, codec: int8}", "has its own encoding" },
        { "{secure_aggregation: {clip: 0.1}, clip_norm: 1}", "clip_norm (1) looks at single updates" },
        { "{secure_aggregation: {clip: 0.1}, target: 2}", "a sum is of 3 clients at least, and target is 2" },
        { "{secure_aggregation: {clip: 0.1, mode: malicious}}", "takes a roster that somebody else has signed" },
        { "{secure_aggregation: {clip: 0.1, mode: malicious}, admin: \"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"}", NULL },
        { "{secure_aggregation: {clip: 0.1, neighbours: 4}}", "are given together or not at all" },
        { "{secure_aggregation: {clip: 0.1, neighbours: 4, threshold: 5}}", "it is from 2 to that" },
        { "{secure_aggregation: {clip: 0.1, neighbours: 8, threshold: 2}}", "" },
        { "{secure_aggregation: {clip: 0.1, dropouts: 0.6}}", "dropouts" },
        { "{secure_aggregation: {clip: 0.1, who: 3}}", "who" },
        { "{secure_aggregation: {clip: 0.1}, mode: async}", "hides an update among those of the same round" },
        { "{secure_aggregation: {clip: 0.1}, over_select: 1.5}", "each of them costs the sum a neighbour" },
        { "{secure_aggregation: {clip: 0.1}, selection: by_loss}", "goes by what clients tell" },
        { "{secure_aggregation: {clip: 0.1}, selection: round_robin}", NULL },
        { "{secure_aggregation: {}, privacy: {clip: 0.5}}", NULL },
        { "{secure_aggregation: {noise: central}, privacy: {clip: 0.5, sampling: poisson, population: 100}}", NULL },
        { "{secure_aggregation: {}, privacy: {clip: 0.5, sampling: poisson, population: 100}}", "privacy.sampling must be all" },
        { "{secure_aggregation: {clip: 0.1}, privacy: {clip: 0.5}}", "leave the former out" },
        { "{secure_aggregation: {}, privacy: {clip: adaptive, noise_multiplier: 0.4, epsilon_budget: 100}}", "privacy.clip is adaptive" },
        { "{secure_aggregation: {mode: off}, privacy: {clip: 0.5}}", "hides nothing" },
        { "{secure_aggregation: {value_bits: 4}, privacy: {clip: 0.5}}", "take more value_bits" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmb_config *yaml = parse(rows[i].yaml);
        lmb_server_config c;
        ck_ok(lmb_fields_bind(lmb_server_fields, lmb_config_root(yaml), &c, &err));
        lmb_status st = lmb_server_check(&c, &err);
        ck_assert_msg((st == LMB_OK) == !rows[i].why, "%s: %s", rows[i].yaml, err.msg);
        if (rows[i].why)
            ck_assert_msg(strstr(err.msg, rows[i].why) != NULL, "%s: %s", rows[i].yaml, err.msg);
        lmb_config_destroy(yaml);
    }
}
END_TEST

/* ---- privacy ---- */

/* Each of four clients adds a part of the noise that three of them would be enough for; the sum has 4/3 of its variance, and
 * epsilon is that of a central server. */
START_TEST(noise_from_the_clients)
{
    enum { CLIP = 2 };
    double sum = 0, square = 0, fourth = 0, z = 1.5;
    fed f;

    fed_open(&f, "{}", 4);
    f.privacy = parse("{clip: 2, noise_multiplier: 1.5, epsilon_budget: 100}");
    f.w.cfg.privacy = lmb_config_root(f.privacy);
    f.w.cfg.minimum = 3;
    f.w.cfg.rounds = 1;
    world_start(&f.w);
    fed_clients(&f, 4);
    fed_join(&f, 4);
    for (size_t i = 0; i < WORLD_N; i++) {
        double mean = 0;
        for (int k = 0; k < 4; k++) { /* as in private_rounds; cut a little more, for what rounding adds */
            double norm = 0;
            for (size_t v = 0; v < 21; v++)
                norm += pow(0.5 * (k + 1 + (double)(v % 3) * 0.01 - (double)(v % 7) * 0.1), 2) / 21 * WORLD_N;
            mean += 0.25 * 0.5 * (k + 1 + (double)(i % 3) * 0.01 - (double)(i % 7) * 0.1) * CLIP * (1 - sqrt(WORLD_N) / 32767) / sqrt(norm);
        }
        double noise = (double)(lmb_server_model(f.w.server)[i] - f.w.initial[i]) - mean;
        sum += noise;
        square += noise * noise;
        fourth += pow(noise, 4);
    }
    double variance = square / WORLD_N, expected = pow(z * CLIP / 4, 2) * 4 / 3;
    ck_assert_double_lt(fabs(sum / WORLD_N), 5 * sqrt(expected / WORLD_N));
    ck_assert_double_lt(fabs(variance / expected - 1), 5 * sqrt(2.0 / WORLD_N));
    ck_assert_double_lt(fabs(fourth / WORLD_N / (variance * variance) - 3), 5 * sqrt(24.0 / WORLD_N));
    const lmb_round_report *r = &f.w.reports[1];
    ck_assert(r->is_private && r->committed && r->clip == CLIP);
    ck_assert_uint_eq(r->examples, 4);
    ck_assert(r->epsilon == lmb_privacy_epsilon(lmb_server_privacy(f.w.server)) && r->epsilon > 1 && r->epsilon < 5);
    fed_close(&f);
}
END_TEST

/* A floor under the noise: what three clients of the sum bring counts, what the server says that it adds does not. */
START_TEST(a_client_wants_noise)
{
    static const struct {
        const char *server, *client, *why; /* NULL: it takes part */
    } rows[] = {
        { "{}", "{required: true, noise_min: 1.5}", NULL },
        { "{}", "{required: true, noise_min: 1.6}",
          "clients add noise of 1.5 clips to a sum of 3, this client wants 1.6 at least" },
        { "{}", "{required: true, noise_min: 1.7, clients_min: 4}", NULL }, /* 1.5 times the root of 4/3 is 1.732 */
        { "{noise: central}", "{required: true, noise_min: 0.1}", "clients add noise of 0 clips" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fed f;
        mark_point();
        fed_open(&f, rows[i].server, 4);
        f.privacy = parse("{clip: 2, noise_multiplier: 1.5, epsilon_budget: 100}");
        f.w.cfg.privacy = lmb_config_root(f.privacy);
        f.w.cfg.minimum = 3;
        f.w.cfg.rounds = 1;
        f.client = parse(rows[i].client);
        for (int k = 0; k < 4; k++)
            people[k].secure = lmb_config_root(f.client);
        world_start(&f.w);
        fed_clients(&f, 4);
        fed_join(&f, 4);
        ck_assert_msg(f.w.reports[1].committed == !rows[i].why, "case %zu: %s", i, f.w.text);
        ck_assert_msg(!rows[i].why || world_said(&f.w, rows[i].why), "case %zu: %s", i, f.w.text);
        fed_close(&f);
    }
}
END_TEST

LMB_TEST_MAIN("federated/secagg_rounds", add(hidden_or_in_the_clear_the_sum_is_the_same);
              add(a_client_leaves_at_every_stage); add(connections_are_lost_at_every_stage);
              add(a_restarted_server_begins_another_session); add(a_sum_is_answered_once);
              add(a_damaged_number_is_told); add(a_damaged_admin_is_told); add(a_client_that_cheats_is_out); add(a_client_refuses);
              add(configurations); add(noise_from_the_clients); add(a_client_wants_noise);)
