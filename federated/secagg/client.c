/* federated/secagg/client.c - see client.h. */
#include "federated/secagg/client.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "comm/vault.h"

typedef enum { WAIT_KEYS, WAIT_BOXES, WAIT_VECTOR, WAIT_DROPPED, WAIT_CONSENTS, DONE, DEAD } stage;

typedef struct peer {
    uint32_t id;
    bool shared;  /* its box was passed on: it is in everyone's masks                       */
    bool held;    /* and opened: we have its shares                                         */
    bool dropped; /* sent no vector                                                         */
    uint8_t box[LMB_SECAGG_KEY], mask[LMB_SECAGG_KEY]; /* its public keys                   */
    uint8_t open[32];                                  /* opens its box                     */
    lmb_mask pair;                                     /* the mask between it and us        */
    uint8_t shares[2 * LMB_SHAMIR_SHARE];              /* of its own mask, of its mask key  */
} peer;

struct lmb_secagg_client {
    stage at;
    uint32_t id, threshold, clients_min, neighbours_min, n_peers;
    lmb_hash sid, dropped;
    uint64_t round;
    lmb_secagg_coding coding;
    lmb_secagg_trust trust;
    const lmb_roster *roster;
    lmb_status (*spend)(void *ctx, uint64_t round, lmb_error *err);
    void *ctx;
    lmb_secagg_keys keys;                    /* as advertised */
    uint8_t sign_secret[LMB_SIGN_SECRET];    /* secrets from here on */
    uint8_t seed[LMB_SECAGG_SEED], box_secret[32], mask_secret[32], own[32];
    peer *peers; /* [n_peers], ids ascending */
};

/* ---- life ---- */

static void drop_peers(lmb_secagg_client *c)
{
    lmb_secret_free(c->peers);
    c->peers = NULL;
    c->n_peers = 0;
}

static void finish(lmb_secagg_client *c, stage at)
{
    drop_peers(c);
    sodium_memzero(c->sign_secret, sizeof c->sign_secret);
    sodium_memzero(c->seed, sizeof c->seed);
    sodium_memzero(c->box_secret, sizeof c->box_secret);
    sodium_memzero(c->mask_secret, sizeof c->mask_secret);
    sodium_memzero(c->own, sizeof c->own);
    c->at = at;
}

static lmb_status check_setup(const lmb_secagg_client_setup *s, lmb_error *err)
{
    const uint8_t *listed = lmb_roster_key(s->roster, s->id);
    LMB_TRY(lmb_secagg_coding_check(&s->session->coding, err));
    if (s->trust.mode != s->session->mode)
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure aggregation: the session's mode is not the one this client is set up for");
    if (!listed)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: this client, %u, is not in the roster", s->id);
    if (sodium_memcmp(listed, s->sign_secret + LMB_SIGN_SECRET - LMB_SIGN_PUBLIC, LMB_SIGN_PUBLIC) != 0)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: the roster has another key for client %u", s->id);
    return LMB_OK;
}

lmb_status lmb_secagg_client_create(const lmb_secagg_client_setup *s, lmb_secagg_client **out, lmb_str *reply,
                                    lmb_error *err)
{
    lmb_secagg_client *c;
    lmb_secagg_advertise m;
    lmb_status st;

    LMB_TRY(check_setup(s, err));
    c = lmb_secret_new(sizeof *c);
    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a client of secure aggregation");
    c->id = s->id;
    c->clients_min = s->clients_min ? s->clients_min : 3;
    c->neighbours_min = s->neighbours_min;
    c->sid = lmb_secagg_sid(s->session, s->roster);
    c->round = s->session->round;
    c->coding = s->session->coding;
    c->trust = s->trust;
    c->roster = s->roster;
    c->spend = s->spend;
    c->ctx = s->ctx;
    memcpy(c->sign_secret, s->sign_secret, sizeof c->sign_secret);
    if (s->seed)
        memcpy(c->seed, s->seed, sizeof c->seed);
    else
        randombytes_buf(c->seed, sizeof c->seed);
    lmbi_secagg_derive(c->seed, "box key", c->box_secret);
    lmbi_secagg_derive(c->seed, "mask key", c->mask_secret);
    lmbi_secagg_derive(c->seed, "own mask", c->own);
    c->keys.id = c->id;
    crypto_scalarmult_base(c->keys.box, c->box_secret);
    crypto_scalarmult_base(c->keys.mask, c->mask_secret);
    lmbi_secagg_keys_sign(&c->sid, &c->keys, c->sign_secret);
    m.sid = c->sid;
    m.keys = c->keys;
    st = lmb_secagg_write(LMB_SECAGG_ADVERTISE, &m, 0, reply, err);
    if (st != LMB_OK) {
        lmb_secagg_client_destroy(c);
        return st;
    }
    *out = c;
    return LMB_OK;
}

void lmb_secagg_client_destroy(lmb_secagg_client *c)
{
    if (!c)
        return;
    finish(c, DEAD);
    lmb_secret_free(c);
}

bool lmb_secagg_client_wants_vector(const lmb_secagg_client *c) { return c->at == WAIT_VECTOR; }
bool lmb_secagg_client_done(const lmb_secagg_client *c) { return c->at == DONE; }

static lmb_status check_sid(const lmb_secagg_client *c, const lmb_hash *sid, lmb_error *err)
{
    if (memcmp(sid->b, c->sid.b, sizeof sid->b) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the message is of another session: not this round, model, roster or settings");
    return LMB_OK;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const peer *)a)->id, y = ((const peer *)b)->id;
    return (x > y) - (x < y);
}

static peer *find_peer(lmb_secagg_client *c, uint32_t id)
{
    peer want = { .id = id };
    return c->n_peers ? bsearch(&want, c->peers, c->n_peers, sizeof want, by_id) : NULL;
}

/* Lists ascend: nobody is named twice, and there is one way to write a list. */
static lmb_status ascends(uint32_t i, uint32_t before, uint32_t id, const char *list, lmb_error *err)
{
    if (i > 0 && id <= before)
        return LMB_FAIL(err, LMB_E_DENIED, "%s names client %u after client %u; each once, in ascending order", list,
                        id, before);
    return LMB_OK;
}

/* ---- KEYS -> SHARES ---- */

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, LMB_SECAGG_KEY); }

static lmb_status check_distinct(const lmb_secagg_entries *e, lmb_error *err)
{
    uint8_t(*all)[LMB_SECAGG_KEY] = malloc((size_t)e->n * 2 * sizeof *all);
    lmb_status st = LMB_OK;
    if (!all)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %u keys", 2 * e->n);
    for (uint32_t i = 0; i < e->n; i++) {
        lmb_secagg_keys k;
        lmb_secagg_entry(e, i, &k);
        memcpy(all[2 * i], k.box, sizeof k.box);
        memcpy(all[2 * i + 1], k.mask, sizeof k.mask);
    }
    qsort(all, 2 * (size_t)e->n, sizeof *all, by_bytes);
    for (uint32_t i = 1; i < 2 * e->n && st == LMB_OK; i++)
        if (by_bytes(all[i], all[i - 1]) == 0)
            st = LMB_FAIL(err, LMB_E_DENIED, "KEYS holds the same public key twice");
    free(all);
    return st;
}

/* One entry is our own, exactly as advertised; the others become peers. */
static lmb_status take_entry(lmb_secagg_client *c, const lmb_secagg_keys *k, bool *own, lmb_error *err)
{
    peer *p;
    if (k->id == c->id) {
        if (memcmp(k->box, c->keys.box, sizeof k->box) != 0 || memcmp(k->mask, c->keys.mask, sizeof k->mask) != 0)
            return LMB_FAIL(err, LMB_E_DENIED, "KEYS holds other keys for this client than it advertised");
        *own = true;
        return LMB_OK;
    }
    LMB_TRY(lmbi_secagg_keys_check(&c->sid, k, c->roster, err));
    p = &c->peers[c->n_peers++];
    p->id = k->id;
    memcpy(p->box, k->box, sizeof p->box);
    memcpy(p->mask, k->mask, sizeof p->mask);
    return LMB_OK;
}

static lmb_status check_graph(lmb_secagg_client *c, const lmb_secagg_keys_head *head, uint32_t degree, lmb_error *err)
{
    lmb_secagg_shape shape = { degree, head->threshold };
    if (head->clients > c->coding.clients || head->clients > c->roster->n)
        return LMB_FAIL(err, LMB_E_DENIED, "the server speaks of %u clients; the session has %u at most, the roster %u",
                        head->clients, c->coding.clients, c->roster->n);
    if (head->clients < c->clients_min)
        return LMB_FAIL(err, LMB_E_PEER, "%u clients take part, this client wants %u at least", head->clients,
                        c->clients_min);
    if (degree < c->neighbours_min)
        return LMB_FAIL(err, LMB_E_DENIED, "the server gives %u neighbours, this client wants %u at least", degree,
                        c->neighbours_min);
    return lmb_secagg_shape_check(head->clients, &shape, &c->trust, err);
}

/* Both secrets in shares for all peers: [peer][own mask, mask key]. */
static lmb_status split_secrets(const lmb_secagg_client *c, uint8_t *pairs, lmb_error *err)
{
    static const char *const dice[2] = { "shares of own mask", "shares of mask key" };
    const uint8_t *secret[2] = { c->own, c->mask_secret };
    uint64_t *x = malloc(c->n_peers * sizeof *x);
    uint8_t *shares = malloc((size_t)c->n_peers * LMB_SHAMIR_SHARE), seed[32];
    lmb_status st = LMB_OK;

    if (!x || !shares)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %u shares", c->n_peers);
    for (uint32_t i = 0; i < c->n_peers && st == LMB_OK; i++)
        x[i] = (uint64_t)c->peers[i].id + 1;
    for (int s = 0; s < 2 && st == LMB_OK; s++) {
        lmbi_secagg_derive(c->seed, dice[s], seed);
        st = lmb_shamir_split(secret[s], c->threshold, x, c->n_peers, seed, shares, err);
        for (uint32_t i = 0; i < c->n_peers && st == LMB_OK; i++)
            memcpy(pairs + (2 * (size_t)i + (size_t)s) * LMB_SHAMIR_SHARE, shares + (size_t)i * LMB_SHAMIR_SHARE,
                   LMB_SHAMIR_SHARE);
    }
    if (shares)
        sodium_memzero(shares, (size_t)c->n_peers * LMB_SHAMIR_SHARE);
    sodium_memzero(seed, sizeof seed);
    free(shares);
    free(x);
    return st;
}

static lmb_status write_shares(lmb_secagg_client *c, const uint8_t *pairs, lmb_str *reply, lmb_error *err)
{
    lmb_secagg_shares_head head = { c->sid, lmbi_secagg_commit(c->own, &c->sid, c->id) };
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_SHARES, &head, c->n_peers, reply, err));
    for (uint32_t i = 0; i < c->n_peers; i++) {
        peer *p = &c->peers[i];
        lmb_secagg_box box = { p->id, { 0 } };
        uint8_t key[32];
        LMB_TRY(lmbi_secagg_agree(c->box_secret, p->box, &c->sid, LMBI_KEY_BOX, c->id, p->id, key, err));
        lmbi_secagg_seal(key, &c->sid, c->id, p->id, pairs + 2 * (size_t)i * LMB_SHAMIR_SHARE, box.box);
        sodium_memzero(key, sizeof key);
        LMB_TRY(lmbi_secagg_agree(c->box_secret, p->box, &c->sid, LMBI_KEY_BOX, p->id, c->id, p->open, err));
        LMB_TRY(lmbi_secagg_pair_mask(c->mask_secret, p->mask, &c->sid, c->id, p->id, &p->pair, err));
        LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_SHARES, &box, reply, err));
    }
    return lmb_str_check(reply, err);
}

static lmb_status take_keys(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply, lmb_error *err)
{
    lmb_secagg_keys_head head;
    lmb_secagg_entries e;
    uint32_t before = 0;
    uint8_t *pairs;
    size_t pair_bytes;
    bool own = false;
    lmb_status st;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_KEYS, bytes, n, &head, &e, err));
    LMB_TRY(check_sid(c, &head.sid, err));
    if (e.n < 1)
        return LMB_FAIL(err, LMB_E_DENIED, "KEYS holds no keys");
    LMB_TRY(check_graph(c, &head, e.n - 1, err)); /* bounds e.n: by the roster */
    LMB_TRY(check_distinct(&e, err));
    c->threshold = head.threshold;
    c->peers = lmb_secret_new(e.n * sizeof *c->peers);
    if (!c->peers)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %u neighbours", e.n - 1);
    for (uint32_t i = 0; i < e.n; i++) {
        lmb_secagg_keys k;
        lmb_secagg_entry(&e, i, &k);
        LMB_TRY(ascends(i, before, k.id, "KEYS", err));
        LMB_TRY(take_entry(c, &k, &own, err));
        before = k.id;
    }
    if (!own)
        return LMB_FAIL(err, LMB_E_DENIED, "KEYS does not hold this client's own keys");
    pair_bytes = 2 * (size_t)c->n_peers * LMB_SHAMIR_SHARE;
    pairs = malloc(pair_bytes);
    if (!pairs)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the shares of %u neighbours", c->n_peers);
    st = split_secrets(c, pairs, err);
    if (st == LMB_OK)
        st = write_shares(c, pairs, reply, err);
    sodium_memzero(pairs, pair_bytes);
    free(pairs);
    if (st == LMB_OK)
        c->at = WAIT_BOXES;
    return st;
}

/* ---- BOXES, the vector ---- */

static lmb_status enough(const lmb_secagg_client *c, uint32_t neighbours, const char *did, lmb_error *err)
{
    if (neighbours < c->threshold || neighbours + 1 < c->clients_min)
        return LMB_FAIL(err, LMB_E_PEER,
                        "%u neighbours of client %u %s; it takes %u, and %u clients in all, to keep its update hidden",
                        neighbours, c->id, did, c->threshold, c->clients_min);
    return LMB_OK;
}

static lmb_status take_boxes(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_error *err)
{
    lmb_secagg_head head;
    lmb_secagg_entries e;
    uint32_t before = 0;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_BOXES, bytes, n, &head, &e, err));
    LMB_TRY(check_sid(c, &head.sid, err));
    for (uint32_t i = 0; i < e.n; i++) {
        lmb_secagg_box box;
        peer *p;
        lmb_secagg_entry(&e, i, &box);
        LMB_TRY(ascends(i, before, box.id, "BOXES", err));
        before = box.id;
        p = find_peer(c, box.id);
        if (!p)
            return LMB_FAIL(err, LMB_E_DENIED, "BOXES holds one of client %u, which is no neighbour of client %u",
                            box.id, c->id);
        p->shared = true;
        p->held = lmbi_secagg_unseal(p->open, &c->sid, p->id, c->id, box.box, p->shares);
    }
    LMB_TRY(enough(c, e.n, "shared their secrets", err));
    c->at = WAIT_VECTOR;
    return LMB_OK;
}

static lmb_status add_masks(lmb_secagg_client *c, lmb_ring_vector *v, lmb_pool *pool, lmb_error *err)
{
    lmb_mask *masks = malloc((c->n_peers + 1) * sizeof *masks);
    size_t n = 0;
    lmb_status st;
    if (!masks)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %u masks", c->n_peers + 1);
    lmbi_secagg_own_mask(c->own, &c->sid, c->id, &masks[n++]);
    for (uint32_t i = 0; i < c->n_peers; i++)
        if (c->peers[i].shared)
            masks[n++] = c->peers[i].pair;
    st = lmb_mask_apply(v, masks, n, pool, err);
    sodium_memzero(masks, (c->n_peers + 1) * sizeof *masks);
    free(masks);
    return st;
}

static lmb_status mask(lmb_secagg_client *c, lmb_ring_vector *v, lmb_pool *pool, lmb_str *reply, lmb_error *err)
{
    lmb_secagg_masked head = { c->sid, lmb_pack_bytes(v->bits, v->n) };
    if (c->at != WAIT_VECTOR)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: it is not the vector's turn");
    if (v->bits != c->coding.ring_bits || v->n != c->coding.length + 1)
        return LMB_FAIL(err, LMB_E_SHAPE, "a vector of %zu numbers of %u bits, the session has %llu of %u", v->n,
                        v->bits, (unsigned long long)c->coding.length + 1, c->coding.ring_bits);
    if (c->spend)
        LMB_TRY(c->spend(c->ctx, c->round, err));
    LMB_TRY(add_masks(c, v, pool, err));
    sodium_memzero(c->mask_secret, sizeof c->mask_secret); /* from here on only the neighbours could give them back */
    sodium_memzero(c->own, sizeof c->own);
    sodium_memzero(c->seed, sizeof c->seed);
    for (uint32_t i = 0; i < c->n_peers; i++)
        sodium_memzero(&c->peers[i].pair, sizeof c->peers[i].pair);
    c->at = WAIT_DROPPED;
    return lmb_secagg_write(LMB_SECAGG_MASKED, &head, 0, reply, err);
}

lmb_status lmb_secagg_client_mask(lmb_secagg_client *c, lmb_ring_vector *v, lmb_pool *pool, lmb_str *reply,
                                  lmb_error *err)
{
    lmb_status st = mask(c, v, pool, reply, err);
    if (st != LMB_OK)
        finish(c, DEAD);
    return st;
}

/* ---- DROPPED, CONSENTS -> REVEAL ---- */

static lmb_status reveal(lmb_secagg_client *c, lmb_str *reply, lmb_error *err)
{
    lmb_secagg_head head = { c->sid };
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_peers; i++)
        n += c->peers[i].held;
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_REVEAL, &head, n, reply, err));
    for (uint32_t i = 0; i < c->n_peers; i++) {
        const peer *p = &c->peers[i];
        lmb_secagg_reveal one = { p->id, { 0 } };
        if (!p->held)
            continue;
        memcpy(one.share, p->shares + (p->dropped ? LMB_SHAMIR_SHARE : 0), LMB_SHAMIR_SHARE);
        LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_REVEAL, &one, reply, err));
    }
    LMB_TRY(lmb_str_check(reply, err));
    finish(c, DONE);
    return LMB_OK;
}

static lmb_status drop_peer(lmb_secagg_client *c, uint32_t id, lmb_error *err)
{
    peer *p = find_peer(c, id);
    if (id == c->id)
        return LMB_FAIL(err, LMB_E_DENIED, "DROPPED names this client itself");
    if (!p && (c->trust.mode == LMB_SECAGG_CURIOUS || !lmb_roster_key(c->roster, id)))
        return LMB_FAIL(err, LMB_E_DENIED, "DROPPED names client %u, which is %s", id,
                        c->trust.mode == LMB_SECAGG_CURIOUS ? "no neighbour" : "not in the roster");
    if (p && !p->shared)
        return LMB_FAIL(err, LMB_E_DENIED, "DROPPED names client %u, which had left before it shared anything", id);
    if (p)
        p->dropped = true;
    return LMB_OK;
}

static lmb_status take_dropped(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply, lmb_error *err)
{
    lmb_secagg_consistent answer = { c->sid, { 0 } };
    lmb_secagg_head head;
    lmb_secagg_entries e;
    uint32_t before = 0, alive = 0;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_DROPPED, bytes, n, &head, &e, err));
    LMB_TRY(check_sid(c, &head.sid, err));
    for (uint32_t i = 0; i < e.n; i++) {
        lmb_secagg_id one;
        lmb_secagg_entry(&e, i, &one);
        LMB_TRY(ascends(i, before, one.id, "DROPPED", err));
        LMB_TRY(drop_peer(c, one.id, err));
        before = one.id;
    }
    for (uint32_t i = 0; i < c->n_peers; i++)
        alive += c->peers[i].shared && !c->peers[i].dropped;
    LMB_TRY(enough(c, alive, "are said to have sent their vector", err));
    if (c->trust.mode == LMB_SECAGG_CURIOUS)
        return reveal(c, reply, err);
    c->dropped = lmbi_secagg_dropped_hash(&c->sid, &e);
    lmbi_secagg_consent_sign(&c->sid, &c->dropped, c->id, c->sign_secret, answer.signature);
    c->at = WAIT_CONSENTS;
    return lmb_secagg_write(LMB_SECAGG_CONSISTENT, &answer, 0, reply, err);
}

/* Malicious mode: so many neighbours were told the same that no other story can gather a threshold. */
static lmb_status take_consents(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply, lmb_error *err)
{
    lmb_secagg_head head;
    lmb_secagg_entries e;
    uint32_t before = 0;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_CONSENTS, bytes, n, &head, &e, err));
    LMB_TRY(check_sid(c, &head.sid, err));
    for (uint32_t i = 0; i < e.n; i++) {
        lmb_secagg_consent one;
        const peer *p;
        lmb_secagg_entry(&e, i, &one);
        LMB_TRY(ascends(i, before, one.id, "CONSENTS", err));
        before = one.id;
        p = find_peer(c, one.id);
        if (!p || !p->shared || p->dropped)
            return LMB_FAIL(err, LMB_E_DENIED, "CONSENTS holds one of client %u, which is no neighbour that stayed",
                            one.id);
        LMB_TRY(lmbi_secagg_consent_check(&c->sid, &c->dropped, one.id, one.signature, c->roster, err));
    }
    LMB_TRY(enough(c, e.n, "signed the list of survivors", err));
    return reveal(c, reply, err);
}

lmb_status lmb_secagg_client_take(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply, lmb_error *err)
{
    lmb_status st = LMB_OK;
    switch (c->at) {
    case WAIT_KEYS: st = take_keys(c, bytes, n, reply, err); break;
    case WAIT_BOXES: st = take_boxes(c, bytes, n, err); break;
    case WAIT_VECTOR:
        st = LMB_FAIL(err, LMB_E_DENIED, "the server sent %s while this client owes its vector",
                      lmb_secagg_type_name(n ? bytes[0] : 0));
        break;
    case WAIT_DROPPED: st = take_dropped(c, bytes, n, reply, err); break;
    case WAIT_CONSENTS: st = take_consents(c, bytes, n, reply, err); break;
    case DONE:
        st = LMB_FAIL(err, LMB_E_DENIED, "this session was answered; it is answered once");
        return st;
    case DEAD:
        st = LMB_FAIL(err, LMB_E_DENIED, "this session has ended");
        return st;
    }
    if (st != LMB_OK)
        finish(c, DEAD);
    return st;
}
