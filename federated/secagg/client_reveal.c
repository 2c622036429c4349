/* federated/secagg/client_reveal.c - a client's last steps: it hides its vector, and once it knows who left it gives
 * out one of two shares of each neighbour, never both, once. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "federated/secagg/client_parts.h"

/* ---- the vector ---- */

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
        lmbi_secagg_client_finish(c, DEAD);
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
    lmbi_secagg_client_finish(c, DONE);
    return LMB_OK;
}

static lmb_status drop_peer(lmb_secagg_client *c, uint32_t id, lmb_error *err)
{
    peer *p = lmbi_secagg_client_peer(c, id);
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

lmb_status lmbi_secagg_take_dropped(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply,
                                    lmb_error *err)
{
    lmb_secagg_consistent answer = { c->sid, { 0 } };
    lmb_secagg_head head;
    lmb_secagg_entries e;
    uint32_t before = 0, alive = 0;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_DROPPED, bytes, n, &head, &e, err));
    LMB_TRY(lmbi_secagg_client_sid(c, &head.sid, err));
    for (uint32_t i = 0; i < e.n; i++) {
        lmb_secagg_id one;
        lmb_secagg_entry(&e, i, &one);
        LMB_TRY(lmbi_secagg_client_ascends(i, before, one.id, "DROPPED", err));
        LMB_TRY(drop_peer(c, one.id, err));
        before = one.id;
    }
    for (uint32_t i = 0; i < c->n_peers; i++)
        alive += c->peers[i].shared && !c->peers[i].dropped;
    LMB_TRY(lmbi_secagg_client_enough(c, alive, "are said to have sent their vector", err));
    if (c->trust.mode == LMB_SECAGG_CURIOUS)
        return reveal(c, reply, err);
    c->dropped = lmbi_secagg_dropped_hash(&c->sid, &e);
    lmbi_secagg_consent_sign(&c->sid, &c->dropped, c->id, c->sign_secret, answer.signature);
    c->at = WAIT_CONSENTS;
    return lmb_secagg_write(LMB_SECAGG_CONSISTENT, &answer, 0, reply, err);
}

/* Malicious mode: so many neighbours were told the same that no other story can gather a threshold. */
lmb_status lmbi_secagg_take_consents(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply,
                                     lmb_error *err)
{
    lmb_secagg_head head;
    lmb_secagg_entries e;
    uint32_t before = 0;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_CONSENTS, bytes, n, &head, &e, err));
    LMB_TRY(lmbi_secagg_client_sid(c, &head.sid, err));
    for (uint32_t i = 0; i < e.n; i++) {
        lmb_secagg_consent one;
        const peer *p;
        lmb_secagg_entry(&e, i, &one);
        LMB_TRY(lmbi_secagg_client_ascends(i, before, one.id, "CONSENTS", err));
        before = one.id;
        p = lmbi_secagg_client_peer(c, one.id);
        if (!p || !p->shared || p->dropped)
            return LMB_FAIL(err, LMB_E_DENIED, "CONSENTS holds one of client %u, which is no neighbour that stayed",
                            one.id);
        LMB_TRY(lmbi_secagg_consent_check(&c->sid, &c->dropped, one.id, one.signature, c->roster, err));
    }
    LMB_TRY(lmbi_secagg_client_enough(c, e.n, "signed the list of survivors", err));
    return reveal(c, reply, err);
}
