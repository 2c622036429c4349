/* federated/secagg/client_share.c - a client's first steps: it checks its neighbours' keys, and gives each a share
 * of its own secrets, in a box; then it opens theirs. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "comm/vault.h"
#include "federated/secagg/client_parts.h"

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

lmb_status lmbi_secagg_take_keys(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply, lmb_error *err)
{
    lmb_secagg_keys_head head;
    lmb_secagg_entries e;
    uint32_t before = 0;
    uint8_t *pairs;
    size_t pair_bytes;
    bool own = false;
    lmb_status st;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_KEYS, bytes, n, &head, &e, err));
    LMB_TRY(lmbi_secagg_client_sid(c, &head.sid, err));
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
        LMB_TRY(lmbi_secagg_client_ascends(i, before, k.id, "KEYS", err));
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

/* ---- BOXES ---- */

lmb_status lmbi_secagg_take_boxes(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_error *err)
{
    lmb_secagg_head head;
    lmb_secagg_entries e;
    uint32_t before = 0;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_BOXES, bytes, n, &head, &e, err));
    LMB_TRY(lmbi_secagg_client_sid(c, &head.sid, err));
    for (uint32_t i = 0; i < e.n; i++) {
        lmb_secagg_box box;
        peer *p;
        lmb_secagg_entry(&e, i, &box);
        LMB_TRY(lmbi_secagg_client_ascends(i, before, box.id, "BOXES", err));
        before = box.id;
        p = lmbi_secagg_client_peer(c, box.id);
        if (!p)
            return LMB_FAIL(err, LMB_E_DENIED, "BOXES holds one of client %u, which is no neighbour of client %u",
                            box.id, c->id);
        p->shared = true;
        p->held = lmbi_secagg_unseal(p->open, &c->sid, p->id, c->id, box.box, p->shares);
    }
    LMB_TRY(lmbi_secagg_client_enough(c, e.n, "shared their secrets", err));
    c->at = WAIT_VECTOR;
    return LMB_OK;
}
