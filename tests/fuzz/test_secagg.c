/* Mirrors federated/secagg/messages.c, roster.c and what client and server do with what they read: bytes of the other
 * side, which may be anything. A message that is accepted says the same when written again; a client that refused one
 * gives nothing to later ones; a server that refused one still takes the right one, and its sum stays exact. */
#include "tests/federated/secagg/world.h"
#define FUZZ_SUITE "secagg"
#include "tests/fuzz/fuzz.h"

enum { N = 5, ROUNDS = 20000, STATE_ROUNDS = 1500, MESSAGE_MAX = 4096 };

typedef union any_head {
    lmb_secagg_advertise advertise;
    lmb_secagg_keys_head keys;
    lmb_secagg_shares_head shares;
    lmb_secagg_masked masked;
    lmb_secagg_consistent consistent;
    lmb_secagg_head head;
} any_head;

typedef union any_entry {
    lmb_secagg_keys keys;
    lmb_secagg_box box;
    lmb_secagg_consent consent;
    lmb_secagg_reveal reveal;
    lmb_secagg_id id;
} any_entry;

/* ---- messages ---- */

static bool has_entries(unsigned type)
{
    return type != LMB_SECAGG_ADVERTISE && type != LMB_SECAGG_MASKED && type != LMB_SECAGG_CONSISTENT;
}

static void message_target(const uint8_t *data, size_t bytes)
{
    any_head head;
    any_entry entry;
    lmb_secagg_entries e = { 0 };
    lmb_str again = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;
    unsigned type = bytes && data[0] >= 1 && data[0] < LMB_SECAGG_TYPES ? data[0] : LMB_SECAGG_KEYS;

    if (lmb_secagg_read((lmb_secagg_type)type, data, bytes, &head, has_entries(type) ? &e : NULL, &err) != LMB_OK) {
        ck_assert_int_eq(err.status, LMB_E_FORMAT);
        ck_assert_uint_gt(strlen(err.msg), 10);
        return;
    }
    ck_ok(lmb_secagg_write((lmb_secagg_type)type, &head, e.n, &again, &err));
    for (uint32_t i = 0; i < e.n; i++) {
        lmb_secagg_entry(&e, i, &entry);
        ck_ok(lmb_secagg_write_entry((lmb_secagg_type)type, &entry, &again, &err));
    }
    ck_assert_uint_eq(again.n, bytes);
    ck_assert_mem_eq(again.text, data, bytes);
    lmb_str_free(&again);
}

/* ---- a real session's messages as seeds ---- */

typedef struct recorded {
    uint8_t bytes[MESSAGE_MAX];
    size_t n;
} recorded;
static recorded to_client[LMB_SECAGG_STAGE_UNMASK], to_server[LMB_SECAGG_STAGE_UNMASK];
static lmb_secagg_mode mode;

static void keep(recorded *r, const lmb_str *m)
{
    ck_assert_uint_le(m->n, sizeof r->bytes);
    memcpy(r->bytes, m->text, m->n);
    r->n = m->n;
}

static world make(void)
{
    return world_make(N, mode, 4, 3);
}

/* What client 1 hears and says in each stage of a session where client 4 leaves before its vector. */
static void record(void)
{
    world w = make();
    lmb_error err = LMB_ERROR_INIT;
    world_serve(&w);
    for (uint32_t i = 0; i < N; i++)
        world_join(&w, i);
    for (lmb_secagg_stage s; (s = lmb_secagg_server_stage(w.server)) < LMB_SECAGG_STAGE_UNMASK;) {
        for (uint32_t i = 0; i < N; i++) {
            lmb_str m = LMB_STR_INIT;
            if (!lmb_secagg_server_owes(w.server, w.ids[i]) || (i == 4 && s == LMB_SECAGG_STAGE_MASK))
                continue;
            if (s != LMB_SECAGG_STAGE_ADVERTISE) {
                ck_ok(lmb_secagg_server_message(w.server, w.ids[i], &m, &err));
                if (i == 1)
                    keep(&to_client[s], &m);
                lmb_str_free(&m);
                ck_ok(world_tell(&w, i, &err));
            }
            if (s == LMB_SECAGG_STAGE_MASK) {
                ck_ok(world_mask(&w, i, &err));
                if (i == 1)
                    keep(&to_server[s], &w.out[i]);
                ck_ok(world_upload(&w, i, &err));
                continue;
            }
            if (i == 1)
                keep(&to_server[s], &w.out[i]);
            ck_ok(world_send(&w, i, &err));
        }
        ck_ok(lmb_secagg_server_advance(w.server, &err));
    }
    world_free(&w);
}

START_TEST(messages)
{
    fuzz_seed seeds[2 * LMB_SECAGG_STAGE_UNMASK];
    size_t n = 0;
    mode = LMB_SECAGG_MALICIOUS;
    record();
    for (int s = 0; s < LMB_SECAGG_STAGE_UNMASK; s++) {
        if (to_client[s].n)
            seeds[n++] = (fuzz_seed){ to_client[s].bytes, to_client[s].n };
        seeds[n++] = (fuzz_seed){ to_server[s].bytes, to_server[s].n };
    }
    ck_assert_uint_eq(n, 9); /* each type once */
    fuzz_run(message_target, seeds, n, ROUNDS);
}
END_TEST

/* The same seeds with the stage in front: what a side hears in it. */
typedef struct staged {
    uint8_t bytes[MESSAGE_MAX + 1];
    fuzz_seed seed;
} staged;

static size_t stage_seeds(const recorded *r, staged *out)
{
    size_t n = 0;
    for (int s = 0; s < LMB_SECAGG_STAGE_UNMASK; s++) {
        if (!r[s].n)
            continue;
        out[n].bytes[0] = (uint8_t)s;
        memcpy(out[n].bytes + 1, r[s].bytes, r[s].n);
        out[n].seed = (fuzz_seed){ out[n].bytes, r[s].n + 1 };
        n++;
    }
    return n;
}

static void begin(lmb_secagg_mode m)
{
    mode = m;
    memset(to_client, 0, sizeof to_client);
    memset(to_server, 0, sizeof to_server);
    record();
}

/* ---- a client, brought to a stage, then fed with anything ---- */

static lmb_secagg_stage stage;

static void feed_client(const uint8_t *data, size_t bytes)
{
    world w = make();
    lmb_str reply = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;

    world_join(&w, 1);
    for (int s = LMB_SECAGG_STAGE_SHARE; s < (int)stage; s++) {
        if (!to_client[s].n)
            continue;
        ck_ok(lmb_secagg_client_take(w.client[1], to_client[s].bytes, to_client[s].n, &reply, &err));
        if (s == LMB_SECAGG_STAGE_MASK)
            ck_ok(world_mask(&w, 1, &err));
    }
    lmb_str_clear(&reply);
    if (lmb_secagg_client_take(w.client[1], data, bytes, &reply, &err) != LMB_OK) {
        ck_assert_uint_gt(strlen(err.msg), 10);
        lmb_str_clear(&reply);
        err = (lmb_error)LMB_ERROR_INIT; /* the right one comes too late */
        ck_assert_int_eq(lmb_secagg_client_take(w.client[1], to_client[stage].bytes, to_client[stage].n, &reply, &err),
                         LMB_E_DENIED);
        ck_assert_uint_eq(reply.n, 0);
    }
    lmb_str_free(&reply);
    world_free(&w);
}

static void client_begin(void) { begin(LMB_SECAGG_MALICIOUS); }

static void client_target(const uint8_t *data, size_t bytes)
{
    if (!bytes || data[0] >= LMB_SECAGG_STAGE_UNMASK || !to_client[data[0]].n)
        return;
    stage = (lmb_secagg_stage)data[0];
    feed_client(data + 1, bytes - 1);
}

START_TEST(clients)
{
    static staged with[LMB_SECAGG_STAGE_UNMASK];
    fuzz_seed seeds[LMB_SECAGG_STAGE_UNMASK];
    client_begin();
    size_t n = stage_seeds(to_client, with);
    ck_assert_uint_eq(n, 4);
    for (size_t i = 0; i < n; i++)
        seeds[i] = with[i].seed;
    fuzz_run(client_target, seeds, n, STATE_ROUNDS);
}
END_TEST

/* ---- a server in the middle of a session; what it refuses must leave no trace ---- */

static world at[LMB_SECAGG_STAGE_UNMASK];

/* Make at[s] meet stage s. */
static void bring(int s)
{
    world_run(&at[s], s == 0 ? LMB_SECAGG_STAGE_ADVERTISE : (lmb_secagg_stage)(s - 1));
    if (s == LMB_SECAGG_STAGE_ADVERTISE) {
        lmb_secagg_server_destroy(at[s].server);
        world_serve(&at[s]);
    }
}

static void server_begin(lmb_secagg_mode m)
{
    begin(m);
    for (int s = 0; s < LMB_SECAGG_STAGE_UNMASK; s++)
        if (to_server[s].n) { /* none of CONSENT in curious mode */
            at[s] = make();
            bring(s);
        }
}

static void server_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_status st;
    world *w;
    if (!bytes || data[0] >= LMB_SECAGG_STAGE_UNMASK || !to_server[data[0]].n)
        return;
    w = &at[data[0]];
    if (data[0] == LMB_SECAGG_STAGE_MASK)
        st = lmb_secagg_server_vector(w->server, w->ids[1], data + 1, bytes - 1, &err);
    else
        st = lmb_secagg_server_take(w->server, w->ids[1], data + 1, bytes - 1, &err);
    if (st != LMB_OK) {
        ck_assert_uint_gt(strlen(err.msg), 10);
        return;
    }
    world_end(w); /* it was taken: begin anew, the next one meets the same stage */
    bring(data[0]);
}

/* After all that the right messages make the right sum. */
static void check_sum(world *w)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_ring_vector sum;
    uint32_t n;
    bool in[WORLD_MAX] = { true, true, true, true, true };
    for (uint32_t i = 0; i < N; i++) {
        ck_ok(world_tell(w, i, &err));
        ck_ok(world_send(w, i, &err));
    }
    ck_ok(lmb_secagg_server_advance(w->server, &err));
    ck_ok(lmb_secagg_server_finish(w->server, NULL, &sum, &n, &err));
    ck_assert(world_sum_is(w, &sum, in));
    lmb_ring_deinit(&sum);
}

START_TEST(servers)
{
    static staged with[LMB_SECAGG_STAGE_UNMASK];
    fuzz_seed seeds[LMB_SECAGG_STAGE_UNMASK];
    server_begin(_i ? LMB_SECAGG_MALICIOUS : LMB_SECAGG_CURIOUS);
    size_t n = stage_seeds(to_server, with);
    ck_assert_uint_eq(n, _i ? 5 : 4);
    for (size_t i = 0; i < n; i++)
        seeds[i] = with[i].seed;
    fuzz_run(server_target, seeds, n, 5 * STATE_ROUNDS);
    check_sum(&at[LMB_SECAGG_STAGE_REVEAL]);
    for (int s = 0; s < LMB_SECAGG_STAGE_UNMASK; s++)
        if (to_server[s].n)
            world_free(&at[s]);
}
END_TEST

/* ---- rosters ---- */

static world running;

static void roster_begin(void)
{
    mode = LMB_SECAGG_CURIOUS;
    running = make();
}

/* As it stands, and as an admin is shown one before it is signed: what is accepted then says the same when written
 * again. */
static void roster_target(const uint8_t *data, size_t bytes)
{
    lmb_roster r = { 0 };
    lmb_error err = LMB_ERROR_INIT;
    lmb_str again = LMB_STR_INIT;
    if (lmb_roster_open(&r, data, bytes, NULL, NULL, &err) == LMB_OK) {
        ck_ok(lmb_roster_write(r.row, r.n, r.version, &r.federation, &again, &err));
        ck_assert_uint_eq(again.n, bytes);
        ck_assert_mem_eq(again.text, data, bytes);
        lmb_str_free(&again);
        lmb_roster_close(&r);
    } else {
        ck_assert(err.status == LMB_E_FORMAT || err.status == LMB_E_ARG);
    }
    r = (lmb_roster){ 0 };
    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_roster_open(&r, data, bytes, &running.session.federation, running.admin_public, &err) == LMB_OK) {
        ck_assert_uint_eq(r.n, N); /* only the one that was signed */
        lmb_roster_close(&r);
    } else {
        ck_assert(err.status == LMB_E_FORMAT || err.status == LMB_E_DENIED);
    }
}

START_TEST(rosters)
{
    lmb_str m = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;
    fuzz_seed seeds[2];
    roster_begin();
    ck_ok(signed_roster(running.roster.row, N, &running.session.federation, running.admin_secret, &m, &err));
    seeds[0] = (fuzz_seed){ (const uint8_t *)m.text, m.n };
    seeds[1] = (fuzz_seed){ (const uint8_t *)m.text, m.n - crypto_sign_BYTES };
    fuzz_run(roster_target, seeds, 2, ROUNDS);
    lmb_str_free(&m);
    world_free(&running);
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/secagg", if (sodium_init() < 0) return 1; add(messages); add(clients); add_loop(servers, 2);
              add(rosters);)
#endif
