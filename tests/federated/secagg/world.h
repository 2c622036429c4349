/* tests/federated/secagg/world.h - a federation for secure sums in one process: roster, clients, server.
 *
 * Every key is a function of the client's number, so two worlds of the same size hold the same secrets. A world with
 * `fresh` set draws as in real life instead.
 */
#ifndef LMB_TESTS_SECAGG_WORLD_H
#define LMB_TESTS_SECAGG_WORLD_H

#include <sodium.h>
#include <string.h>

#include "comm/bytes.h"
#include "federated/secagg/client.h"
#include "federated/secagg/server.h"
#include "tests/check_main.h"
#include "tests/federated/secagg/signed_roster.h"

enum { WORLD_MAX = 24, WORLD_LENGTH = 19, WORLD_FIRST_ID = 3 };

typedef struct world {
    uint32_t n;
    lmb_secagg_session session;
    lmb_secagg_trust trust;
    lmb_secagg_shape shape;
    lmb_roster roster;
    uint8_t admin_public[LMB_SIGN_PUBLIC], admin_secret[LMB_SIGN_SECRET];
    uint32_t ids[WORLD_MAX];
    uint8_t sign_secret[WORLD_MAX][LMB_SIGN_SECRET];
    uint8_t seed[WORLD_MAX][LMB_SECAGG_SEED];
    int64_t plain[WORLD_MAX][WORLD_LENGTH + 1]; /* each client's vector */
    lmb_secagg_client *client[WORLD_MAX];
    lmb_str out[WORLD_MAX]; /* what a client said last */
    lmb_ring_vector masked[WORLD_MAX];
    lmb_secagg_server *server;
} world;

/* Ids with gaps, so that a place in a list is never mistaken for a number. */
static inline uint32_t world_id(uint32_t i) { return WORLD_FIRST_ID + 7 * i; }

static inline void world_keys(world *w)
{
    lmb_roster_row rows[WORLD_MAX];
    lmb_str bytes = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;
    uint8_t seed[32] = { 1 };

    crypto_sign_seed_keypair(w->admin_public, w->admin_secret, seed);
    for (uint32_t i = 0; i < w->n; i++) {
        lmb_put_u32(seed, 1000 + i);
        w->ids[i] = rows[i].id = world_id(i);
        crypto_sign_seed_keypair(rows[i].key, w->sign_secret[i], seed);
        lmb_put_u32(w->seed[i], i + 1);
    }
    ck_ok(signed_roster(rows, w->n, &w->session.federation, w->admin_secret, &bytes, &err));
    ck_ok(lmb_roster_open(&w->roster, (const uint8_t *)bytes.text, bytes.n, &w->session.federation, w->admin_public,
                          &err));
    lmb_str_free(&bytes);
}

static inline world world_make(uint32_t n, lmb_secagg_mode mode, uint32_t degree, uint32_t threshold)
{
    world w = { .n = n, .shape = { degree, threshold } };
    w.session.round = 5;
    w.session.mode = mode;
    w.session.model = lmb_hash_of("model", 5);
    w.session.coding = (lmb_secagg_coding){ .length = WORLD_LENGTH, .clients = n, .weight_max = 9, .value_bits = 8,
                                            .clip = 1 };
    w.session.coding.ring_bits = lmb_secagg_coding_ring(&w.session.coding);
    w.trust = lmb_secagg_trust_default(mode);
    w.trust.adversaries = w.trust.dropouts = 0;
    for (uint32_t i = 0; i < n; i++)
        for (int k = 0; k <= WORLD_LENGTH; k++)
            w.plain[i][k] = k == WORLD_LENGTH ? 1 + i % 9 : (int64_t)((i * 7919 + (uint32_t)k * 104729) % 255) - 127;
    world_keys(&w);
    return w;
}

static inline lmb_secagg_client_setup world_client_setup(world *w, uint32_t i)
{
    lmb_secagg_client_setup s = { .session = &w->session, .roster = &w->roster, .id = w->ids[i],
                                  .sign_secret = w->sign_secret[i], .trust = w->trust, .seed = w->seed[i] };
    return s;
}

static inline void world_join(world *w, uint32_t i)
{
    lmb_secagg_client_setup s = world_client_setup(w, i);
    lmb_error err = LMB_ERROR_INIT;
    lmb_str_clear(&w->out[i]);
    ck_ok(lmb_secagg_client_create(&s, &w->client[i], &w->out[i], &err));
}

static inline void world_serve(world *w)
{
    static const uint8_t ring_seed[LMB_SECAGG_SEED] = { 77 };
    lmb_secagg_server_setup s = { .session = &w->session, .roster = &w->roster, .cohort = w->ids, .n = w->n,
                                  .trust = w->trust, .shape = w->shape, .seed = ring_seed };
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_secagg_server_create(&s, &w->server, &err));
}

static inline void world_end(world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        lmb_secagg_client_destroy(w->client[i]);
        w->client[i] = NULL;
        lmb_str_clear(&w->out[i]);
        lmb_ring_deinit(&w->masked[i]);
    }
    lmb_secagg_server_destroy(w->server);
    w->server = NULL;
}

static inline void world_free(world *w)
{
    world_end(w);
    for (uint32_t i = 0; i < w->n; i++)
        lmb_str_free(&w->out[i]);
    lmb_roster_close(&w->roster);
}

/* Client -> server: what it said last. */
static inline lmb_status world_send(world *w, uint32_t i, lmb_error *err)
{
    return lmb_secagg_server_take(w->server, w->ids[i], (const uint8_t *)w->out[i].text, w->out[i].n, err);
}

/* Server -> client: this stage's message; the answer is in out. */
static inline lmb_status world_tell(world *w, uint32_t i, lmb_error *err)
{
    lmb_str m = LMB_STR_INIT;
    lmb_status st = lmb_secagg_server_message(w->server, w->ids[i], &m, err);
    lmb_str_clear(&w->out[i]);
    if (st == LMB_OK)
        st = lmb_secagg_client_take(w->client[i], (const uint8_t *)m.text, m.n, &w->out[i], err);
    lmb_str_free(&m);
    return st;
}

/* After BOXES: the client masks its vector. */
static inline lmb_status world_mask(world *w, uint32_t i, lmb_error *err)
{
    lmb_ring_vector *v = &w->masked[i];
    lmb_ring_deinit(v);
    LMB_TRY(lmb_ring_init(v, w->session.coding.ring_bits, WORLD_LENGTH + 1, err));
    for (size_t k = 0; k <= WORLD_LENGTH; k++)
        lmb_ring_set(v, k, (uint64_t)w->plain[i][k]);
    lmb_str_clear(&w->out[i]);
    return lmb_secagg_client_mask(w->client[i], v, NULL, &w->out[i], err);
}

/* And uploads it, in two blocks. */
static inline lmb_status world_upload(world *w, uint32_t i, lmb_error *err)
{
    const lmb_ring_vector *v = &w->masked[i];
    uint8_t packed[8 * (WORLD_LENGTH + 1)];
    LMB_TRY(lmb_secagg_server_vector(w->server, w->ids[i], (const uint8_t *)w->out[i].text, w->out[i].n, err));
    lmb_pack(v, 0, 8, packed);
    LMB_TRY(lmb_secagg_server_block(w->server, packed, 8, err));
    lmb_pack(v, 8, v->n - 8, packed);
    LMB_TRY(lmb_secagg_server_block(w->server, packed, v->n - 8, err));
    return lmb_secagg_server_vector_end(w->server, err);
}

/* Everyone does what it owes, up to and including `last`; the stage after it is open. */
static inline void world_run(world *w, lmb_secagg_stage last)
{
    lmb_error err = LMB_ERROR_INIT;
    world_serve(w);
    for (uint32_t i = 0; i < w->n; i++)
        world_join(w, i);
    for (;;) {
        lmb_secagg_stage now = lmb_secagg_server_stage(w->server);
        if (now > last || now >= LMB_SECAGG_STAGE_UNMASK)
            return;
        for (uint32_t i = 0; i < w->n; i++) {
            if (!lmb_secagg_server_owes(w->server, w->ids[i]))
                continue;
            if (now != LMB_SECAGG_STAGE_ADVERTISE)
                ck_ok(world_tell(w, i, &err));
            if (now == LMB_SECAGG_STAGE_MASK) {
                ck_ok(world_mask(w, i, &err));
                ck_ok(world_upload(w, i, &err));
            } else {
                ck_ok(world_send(w, i, &err));
            }
        }
        ck_assert_uint_eq(lmb_secagg_server_owed(w->server), 0);
        ck_ok(lmb_secagg_server_advance(w->server, &err));
    }
}

/* Is it exactly the sum of the clients for which in[i]? */
static inline bool world_sum_is(const world *w, const lmb_ring_vector *sum, const bool *in)
{
    for (size_t k = 0; k <= WORLD_LENGTH; k++) {
        int64_t want = 0;
        for (uint32_t i = 0; i < w->n; i++)
            want += in[i] ? w->plain[i][k] : 0;
        if (lmb_ring_signed(sum, k) != want)
            return false;
    }
    return true;
}

#endif
